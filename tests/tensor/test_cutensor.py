"""Contractions on a CUDA device, beyond what the conformance suite asks of every provider."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from planmath.bindings import cutensor
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.tensor import (
    BinaryContraction,
    Contraction,
    ContractionAlgo,
    ContractionAutotuneMode,
    ContractionCacheMode,
    TernaryContraction,
    binary_contraction,
    contract,
    ternary_contraction,
)
from planmath.tensor.problem import COMPUTE_OF
from planmath.tensor.providers import PROVIDERS
from planmath.tensor.providers.cutensor import CuTensorProvider
from tests.arrays import DEVICE_PACKAGES, HOST_PACKAGES, package_of, to_numpy, to_package
from tests.linalg.operands import dtype_of, place, random_values
from tests.tensor.operands import Case, gaps
from tests.tensor.reference import Reference, assert_near, reference
from tests.tensor.test_conformance import BINARY, TERNARY

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif((reason := CuTensorProvider().unavailable()) is not None, reason=str(reason)),
]


@pytest.fixture(params=DEVICE_PACKAGES)
def package(request):
    """A package whose arrays are on the device."""
    return request.param


def operands_of(kind, dtype, package):
    expr, *shapes = kind
    return expr, [place(random_values(shape, dtype, i), dtype, package) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("kind", ["nothing in order", "batch", "summed in one", "outer", "trace", "elementwise"])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "float16"])
@pytest.mark.parametrize("with_c", [False, True])
def test_every_algorithm(kind, dtype, with_c, package):
    expr, (a, b) = operands_of(BINARY[kind], dtype, package)
    shape = reference(expr, [a, b]).values.shape
    c = place(random_values(shape, dtype, 5), dtype, package) if with_c else None
    factors = {"alpha": 0.5, **({"beta": -2.0} if with_c else {})}
    expected = reference(expr, [a, b], c, **factors)
    with BinaryContraction(expr, a, b, c=c) as contraction:
        planned = 0
        for _ in working(contraction):
            planned += 1
            assert_near(contraction.execute(**factors), expected)
    assert planned > 1


@pytest.mark.parametrize("kind", TERNARY)
@pytest.mark.parametrize("dtype", ["float64", "complex64", "float16"])
def test_every_algorithm_of_three_operands(kind, dtype, package):
    expr, operands = operands_of(TERNARY[kind], dtype, package)
    d = place(random_values(reference(expr, operands).values.shape, dtype, 5), dtype, package)
    expected = reference(expr, operands, d, alpha=2.0, beta=0.5, steps=2)
    with TernaryContraction(expr, *operands, d=d) as contraction:
        orders = set()
        for algorithm in working(contraction):
            orders.add(algorithm.get("first"))
            assert_near(contraction.execute(alpha=2.0, beta=0.5), expected)
    assert orders == {"ab", "ac", "bc", *(["abc"] if dtype != "float16" else [])}


def working(operation):
    """The object planned for each of its algorithms in turn that the library has a plan for."""
    operation.plan()
    problem = operation._plan_made.problem
    for algorithm in CuTensorProvider().algorithms(problem):
        with suppress(UnavailableError):
            operation._make_plan(problem, operation._slots, [algorithm])
            yield algorithm


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_compute_types(dtype, package):
    """Each is used, unless the library lacks it; the default always is."""
    expr, (a, b) = operands_of(("ij,jk->ik", (64, 48), (48, 40)), dtype, package)
    exact = reference(expr, [a, b])
    used = []
    for compute in COMPUTE_OF[dtype]:
        with BinaryContraction(expr, a, b, options={"compute_type": compute}) as contraction:
            try:
                contraction.plan()
            except UnavailableError:
                continue
            r = contraction.execute()
        used.append(compute)
        coarse = 0.02 if compute.name in ("COMPUTE_TF32", "COMPUTE_16F", "COMPUTE_16BF") else 1e-5
        bound = exact.bound if compute == COMPUTE_OF[dtype][0] else coarse * np.abs(exact.values).max() + exact.bound
        assert_near(r, Reference(exact.values, bound))
    assert COMPUTE_OF[dtype][0] in used


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_operands_at_any_multiple_of_their_elements(dtype, package):
    """The plan was made with aligned operands; those that are not have a plan of their own."""
    shapes = (16, 24), (24, 8)
    aligned = [place(random_values(shape, dtype, i), dtype, package) for i, shape in enumerate(shapes)]
    shifted = []
    for i, shape in enumerate(shapes):
        row = place(random_values((1 + np.prod(shape),), dtype, 5 + i), dtype, package)
        shifted.append(row[1:].reshape(shape))
    out = place(np.zeros(1 + 16 * 8), dtype, package)[1:].reshape(16, 8)
    with BinaryContraction("ij,jk->ik", *aligned) as contraction:
        contraction.plan()
        for a, b in ((shifted[0], aligned[1]), aligned, shifted):
            contraction.reset_operands(a=a, b=b)
            expected = reference("ij,jk->ik", [a, b])
            assert_near(contraction.execute(), expected)
            assert contraction.execute(out=out) is out
            assert_near(out, expected)


def test_preferences(package):
    expr, (a, b) = operands_of(("abcd,dbea->ec", (8, 6, 4, 6), (6, 6, 8, 8)), "float32", package)
    with BinaryContraction(expr, a, b) as contraction:
        preference = contraction.plan_preference
        for name, value in (
            ("algo", ContractionAlgo.GETT), ("kernel_rank", 1), ("cache_mode", ContractionCacheMode.NONE),
            ("autotune_mode", ContractionAutotuneMode.INCREMENTAL), ("incremental_count", 2),
            ("algo", ContractionAlgo.TTGT), ("algo", ContractionAlgo.DEFAULT_PATIENT),
        ):  # fmt: skip
            setattr(preference, name, value)
            if name == "algo":
                preference.kernel_rank = 0
            contraction.plan()
            chosen = contraction._plan_made.chosen
            assert (chosen.get("algo"), chosen.get("kernel", 0)) == (preference.algo.name, preference.kernel_rank)
            assert_near(contraction.execute(), reference(expr, [a, b]))
        preference.algo, preference.kernel_rank = ContractionAlgo.GETT, 10_000
        with pytest.raises(UnavailableError, match="cuTENSOR has no plan"):
            contraction.plan()
        assert_near(contraction.execute(), reference(expr, [a, b]))


def test_incremental_autotuning_plans_anew_each_time(package):
    expr, (a, b) = operands_of(("abcd,dbea->ec", (8, 6, 4, 6), (6, 6, 8, 8)), "float32", package)
    with BinaryContraction(expr, a, b) as contraction:
        contraction.plan_preference.autotune_mode = ContractionAutotuneMode.INCREMENTAL
        plans = set()
        for _ in range(3):
            contraction.plan()
            plans.add(contraction._plan_made.prepared.programs[None])
            assert_near(contraction.execute(), reference(expr, [a, b]))
        assert len(plans) == 3


def test_plans_are_shared(package):
    expr, (a, b) = operands_of(("ij,jk->ik", (5, 7), (7, 3)), "float32", package)
    with BinaryContraction(expr, a, b) as first, BinaryContraction("xy,yz->xz", a, b) as second:
        first.plan()
        second.plan()
        assert first._plan_made.prepared is second._plan_made.prepared
        assert_near(first.execute(alpha=2.0), reference(expr, [a, b], alpha=2.0))
        assert_near(second.execute(), reference(expr, [a, b]))


def test_own_handle(package):
    expr, (a, b) = operands_of(("ij,jk->ik", (5, 7), (7, 3)), "float32", package)
    with devices.on(0):
        handle = cutensor.create()
    try:
        with BinaryContraction(expr, a, b, options={"handle": handle}) as contraction:
            contraction.plan()
            assert contraction._plan_made.problem.handle == handle
            assert_near(contraction.execute(), reference(expr, [a, b]))
    finally:
        from planmath.tensor.providers import cutensor as provider

        provider._prepared.cache_clear()  # its plans must go before it
        cutensor.destroy(handle)


def test_memory_limit(package):
    expr, operands = operands_of(("ij,jk,kl->il", (64, 32), (32, 64), (64, 16)), "float64", package)
    expected = reference(expr, operands, steps=2)
    with TernaryContraction(expr, *operands) as contraction:
        contraction.plan()
        assert_near(contraction.execute(), expected)
        enough = contraction._executor.workspace_size
    assert enough >= 8 * 32 * 16
    assert_near(ternary_contraction(expr, *operands, options={"memory_limit": enough}), expected)
    a, b = (place(random_values(shape, "float16"), "float16", package) for shape in [(3, 4, 2), (4, 5)])
    with pytest.raises(UnavailableError, match=r"needs at least 828 bytes .* allows 827"):
        binary_contraction("ijx,jk->ik", a, b, options={"memory_limit": 827})


def test_autotuning_records_and_keeps_operands(tuning_record, package):
    expr, (a, b) = operands_of(BINARY["nothing in order"], "float32", package)
    c = place(np.ones((6, 2)), "float32", package)
    with BinaryContraction(expr, a, b, c=c, out=c) as contraction:
        contraction.plan()
        contraction.autotune(iterations=2)
        best = contraction._plan_made.chosen
        np.testing.assert_array_equal(to_numpy(c), 1.0)
        assert contraction.execute(beta=0.0) is c
        assert_near(c, reference(expr, [a, b]))
        contraction.plan()
        assert (contraction._plan_made.origin, contraction._plan_made.chosen) == ("the tuning record", best)
    assert devices.device(0).name in tuning_record.read_text()


@pytest.mark.parametrize("package", HOST_PACKAGES)
@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("kind", ["nothing in order", "summed in one", "repeated batch", "scalar operand"])
def test_operands_on_the_host(kind, dtype, package):
    expr, (a, b) = operands_of(BINARY[kind], dtype, package)
    r = binary_contraction(expr, a, b, execution="cuda")
    assert package_of(r) == package
    assert_near(r, reference(expr, [a, b]))


def test_host_operands_backwards_and_with_gaps():
    case = Case("cutensor", "numpy", "float64")
    a, b, out = (case.operand(shape, gaps, seed=i) for i, shape in enumerate([(3, 4), (4, 5), (3, 5)]))
    memory = out.base.copy()
    r = binary_contraction("ij,jk->ik", a[::-1], b[::-1, ::-1], out=out, execution="cuda")
    assert r is out
    assert_near(out, reference("ij,jk->ik", [a[::-1], b[::-1, ::-1]]))
    between = np.ones(memory.shape, bool)
    between[::2, ::2] = False
    np.testing.assert_array_equal(out.base[between], memory[between])


@pytest.mark.parametrize("provider", ["gemm", "einsum"])
def test_operands_on_the_device_contracted_on_the_host(provider, package):
    expr, (a, b) = operands_of(BINARY["nothing in order"], "float64", package)
    r = binary_contraction(expr, a, b, execution="cpu", options={"provider": provider})
    assert package_of(r) == package
    assert_near(r, reference(expr, [a, b]))


@pytest.mark.parametrize("dtype", ["float64", "complex64", "float16"])
@pytest.mark.parametrize("limit", ["80%", 3000])
def test_any_number_of_operands(dtype, limit, package):
    expr, operands = operands_of(("ij,jk,kl,lm->mi", (8, 9), (9, 10), (10, 11), (11, 12)), dtype, package)
    expected = reference(expr, operands, steps=3)
    with Contraction(expr, *operands, options={"memory_limit": limit}) as contraction:
        contraction.plan()
        r = contraction.execute()
        assert (package_of(r), dtype_of(r)) == (package, dtype)
        assert_near(r, expected)
        assert "cutensor" in contraction.report()
        contraction.autotune(iterations=1)
        assert_near(contraction.execute(), expected)
        others = [place(random_values(tuple(x.shape), dtype, 7 + i), dtype, package) for i, x in enumerate(operands)]
        contraction.reset_operands(*others)
        out = contraction.empty_result()
        assert contraction.execute(out=out) is out
        assert_near(out, reference(expr, others, steps=3))


def test_contract_one_operand(package):
    (a,) = operands_of(("iij", (4, 4, 3)), "float64", package)[1]
    assert_near(contract("iij->j", a), reference("iij->j", [a]))


def test_contract_host_operands_on_the_device():
    a, b, c = (random_values(shape, "float64", i) for i, shape in enumerate([(8, 9), (9, 10), (10, 3)]))
    assert_near(contract("ij,jk,kl->il", a, b, c, execution="cuda"), reference("ij,jk,kl->il", [a, b, c], steps=2))


def test_what_only_the_cpu_has_is_named():
    a = to_package(np.ones((2, 2)), DEVICE_PACKAGES[0].values[0])
    with pytest.raises(UnavailableError, match="gemm: it computes on the CPU only"):
        binary_contraction("ij,jk", a, a, options={"provider": "gemm"})
    assert {p.name for p in PROVIDERS} == {"cutensor", "gemm", "einsum"}
