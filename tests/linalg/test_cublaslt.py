"""What only products on a CUDA device have: kernels to choose from, addresses that matter, two memory spaces."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from planmath.bindings import cublasLt
from planmath.core import provider
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.linalg.advanced import (
    Algorithm,
    Matmul,
    MatmulEpilog,
    MatmulInnerShape,
    MatmulNumericalImplFlags,
    MatmulPlanPreferences,
    MatmulReductionScheme,
    matmul,
)
from planmath.linalg.advanced.capabilities import extents
from planmath.linalg.advanced.providers.cublaslt import sooner_first
from tests.arrays import DEVICE_PACKAGES, HOST_PACKAGES, package_of, to_numpy
from tests.linalg.operands import Case, cases, column_major, padded_rows, wide
from tests.linalg.reference import assert_near, assert_product, reference

E = MatmulEpilog
no_device = devices.missing()
needs_device = pytest.mark.skipif(no_device is not None, reason=str(no_device))
FLOATS = cases("float32", "float16")
ON_DEVICE = pytest.mark.parametrize("case", [p for p in FLOATS if p.values[0].on_device])


# Algorithms.


@pytest.mark.parametrize(
    ("proposals", "first"),
    [
        ([(20, 2), (55, 0)], 0),  # sooner launched by 0.7 microseconds, but second
        ([(55, 2), (20, 2), (55, 2)], 1),
        ([(21, 2), (21, 0), (20, 0)], 1),  # no second kernel
        ([(54, 2), (54, 2), (54, 0)], 2),
        ([(55, 2), (55, 2), (55, 2), (20, 0)], 0),  # the fourth is not looked at
        ([(55, 1)], 0),
    ],
)
def test_small_products_take_what_is_launched_sooner(proposals, first):
    algorithms = [
        provider.Algorithm("cublaslt", (("id", number), ("reduction_scheme", scheme), ("place", place)))
        for place, (number, scheme) in enumerate(proposals)
    ]
    ordered = [algorithm.get("place") for algorithm in sooner_first(list(algorithms))]
    assert ordered == [first, *(place for place in range(len(proposals)) if place != first)]


def test_extents():
    assert [extents(text) for text in ("128x64", "2x1x1", "64xAUTO", "UNDEFINED")] == [
        (128, 64),
        (2, 1, 1),
        (64, "AUTO"),
        "UNDEFINED",
    ]


def test_algorithms_of_the_cpu_have_no_kernels():
    with Matmul(np.eye(3), np.eye(3)) as mm:
        algorithm = mm.plan()[0]
    assert algorithm.capabilities is None
    for name in (
        "tile",
        "stages",
        "cluster_shape",
        "split_k",
        "reduction_scheme",
        "cta_swizzling",
        "custom_option",
        "inner_shape",
    ):
        assert getattr(algorithm, name) is None
        with pytest.raises(AttributeError, match=f"have no {name}; only those of cublaslt do"):
            setattr(algorithm, name, 1)


def test_bytes_of_an_algorithm_are_not_printed():
    algorithm = provider.Algorithm("cublaslt", (("id", 7), ("tile", "128x64"), ("_algorithm", "00" * 64)))
    assert str(algorithm) == "cublaslt(id=7, tile=128x64)"
    assert Algorithm(algorithm).knobs == {"id": 7, "tile": "128x64"}
    assert Algorithm(algorithm).tile == (128, 64)
    assert Algorithm(algorithm).algorithm_id == 7
    assert Algorithm.from_numpy(Algorithm(algorithm).as_numpy()) == Algorithm(algorithm)


def test_what_makes_algorithms_the_same():
    """Their settings: of the bytes by which the library knows an algorithm, some are different each time."""
    one, same, other = (
        provider.Algorithm("cublaslt", (("id", number), ("_algorithm", text * 64)))
        for number, text in ((7, "00"), (7, "01"), (8, "00"))
    )
    assert one == same != other
    assert hash(one) == hash(same)
    assert len({one, same, other}) == 2
    assert one != ("cublaslt", one.knobs)


@needs_device
def test_algorithms_describe_themselves():
    a = Case("cublaslt", "torch-cuda", "float16").operand((256, 256))
    with Matmul(a, a) as mm:
        algorithms = mm.plan()
        assert 1 <= len(algorithms) <= 8
        assert len(mm.plan(preferences={"limit": 1})) == 1
        for algorithm in algorithms:
            can = algorithm.capabilities
            assert algorithm.tile in can.tile_ids
            assert algorithm.stages in can.stages_ids or algorithm.stages == "UNDEFINED"
            assert algorithm.split_k >= 1
            assert isinstance(algorithm.reduction_scheme, MatmulReductionScheme)
            assert isinstance(algorithm.inner_shape, MatmulInnerShape)
            assert algorithm.algorithm_id in mm.applicable_algorithm_ids(limit=200)
        assert len(mm.applicable_algorithm_ids(limit=3)) == 3


@needs_device
def test_settings_of_an_algorithm():
    case = Case("cublaslt", "torch-cuda", "float32")
    a, b = case.operand((128, 300)), case.operand((300, 128), seed=1)
    with Matmul(a, b) as mm:
        algorithms = mm.plan()
        changed = 0
        for algorithm in algorithms:
            can = algorithm.capabilities
            with pytest.raises(ValueError, match="tile is"):
                algorithm.tile = (1, 1)
            with pytest.raises(ValueError, match="custom_option is"):
                algorithm.custom_option = can.custom_option_max + 1
            if can.splitk_support and can.reduction_scheme_mask & MatmulReductionScheme.COMPUTE_TYPE:
                before = hash(algorithm)
                algorithm.split_k, algorithm.reduction_scheme = 3, MatmulReductionScheme.COMPUTE_TYPE
                assert hash(algorithm) != before
            elif not can.splitk_support:
                with pytest.raises(ValueError, match="split_k is 3"):
                    algorithm.split_k = 3
            changed += algorithm.split_k == 3
            for _ in range(2):
                assert_product(mm.execute(algorithm=algorithm), case, a, b)
        assert changed or not any(x.capabilities.splitk_support for x in algorithms)
        assert_product(mm.execute(), case, a, b)


RELOADED = """
import sys
import numpy as np, torch
from planmath.linalg.advanced import Algorithm, Matmul
algorithm = Algorithm.from_numpy(np.load(sys.argv[1], allow_pickle=False))
a = torch.ones((256, 512), device="cuda", dtype=torch.float16)
with Matmul(a, a.mT) as mm:
    chosen = mm.plan(algorithms=[algorithm])
    assert chosen == [algorithm], (chosen, algorithm)
    assert (mm.execute() == 512).all()
print("done")
"""


@needs_device
def test_algorithms_are_reloaded_by_another_process(tmp_path):
    a = Case("cublaslt", "torch-cuda", "float16").operand((256, 512))
    with Matmul(a, a.mT) as mm:
        saved = mm.plan()[-1]
    np.save(tmp_path / "algorithm.npy", saved.as_numpy(), allow_pickle=False)
    run = subprocess.run(
        [sys.executable, "-c", RELOADED, str(tmp_path / "algorithm.npy")], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PLANMATH_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert run.stdout.strip() == "done", run.stderr


@needs_device
def test_algorithms_of_another_product():
    case = Case("cublaslt", "torch-cuda", "float16")
    double = case.like(np.ones((64, 64)), "float64")
    with Matmul(double, double) as mm:
        foreign = mm.plan()[0]
    a = case.operand((64, 64))
    with Matmul(a, a) as mm:
        with pytest.raises(ValueError, match="cannot compute this product"):
            mm.plan(algorithms=[foreign])
        mm.plan()
        with pytest.raises(ValueError, match="cannot compute this product"):
            mm.execute(algorithm=foreign)
        assert_product(mm.execute(), case, a, a)
        damaged = Algorithm(provider.Algorithm("cublaslt", (("id", 1), ("_algorithm", "xyz"))))
        with pytest.raises(ValueError, match="lacks the 64 bytes"):
            mm.plan(algorithms=damaged)


@needs_device
def test_preferences():
    case = Case("cublaslt", "torch-cuda", "float32")
    a, b = case.operand((64, 4096)), case.operand((4096, 64), seed=1)
    with Matmul(a, b) as mm:
        for preferences in (
            MatmulPlanPreferences(reduction_scheme_mask=MatmulReductionScheme.NONE),
            MatmulPlanPreferences(
                numerical_impl_mask=MatmulNumericalImplFlags.OP_TYPE_FMA
                | MatmulNumericalImplFlags.ACCUMULATOR_32F
                | MatmulNumericalImplFlags.INPUT_TYPE_32F
            ),
            MatmulPlanPreferences(limit=2),
        ):
            algorithms = mm.plan(preferences=preferences)
            assert 1 <= len(algorithms) <= preferences.limit
            if preferences.reduction_scheme_mask == MatmulReductionScheme.NONE:
                assert all(x.reduction_scheme == MatmulReductionScheme.NONE for x in mm.algorithms)
            for algorithm in algorithms:
                flags = algorithm.capabilities.numerical_impl_flags
                assert flags & ~int(preferences.numerical_impl_mask) == 0
                assert_product(mm.execute(algorithm=algorithm), case, a, b)
        with pytest.raises(UnavailableError, match="preferences restrict the choice"):
            mm.plan(preferences={"numerical_impl_mask": MatmulNumericalImplFlags.OP_TYPE_TENSOR_IMMA})
        assert_product(mm.execute(), case, a, b)


@needs_device
@pytest.mark.parametrize("options", [{"sm_count_target": 8}, {"memory_limit": 0}, {"memory_limit": "1 MiB"}], ids=str)
def test_options(options):
    case = Case("cublaslt", "torch-cuda", "float32")
    a, b = case.operand((64, 4096)), case.operand((4096, 64), seed=1)
    with Matmul(a, b, options=options) as mm:
        mm.plan()
        assert mm._executor.workspace_size <= {"1 MiB": 1 << 20, 0: 0}.get(options.get("memory_limit"), 1 << 30)
        assert_product(mm.execute(), case, a, b)


@needs_device
def test_alpha_of_zero_needs_memory():
    case = Case("cublaslt", "torch-cuda", "float32")
    a, b = case.operand((64, 4096)), case.operand((4096, 64), seed=1)
    with Matmul(a, b, options={"memory_limit": 0}) as mm:
        mm.plan()
        mm.reset_operands(alpha=0)
        with pytest.raises(UnavailableError, match=r"alpha is 0, .*memory_limit"):
            mm.execute()
        mm.reset_operands(alpha=1)
        assert_product(mm.execute(), case, a, b)


@needs_device
def test_handle_of_the_user():
    case = Case("cublaslt", "torch-cuda", "float32")
    a, b = case.operand((13, 21)), case.operand((21, 9), seed=1)
    handle = cublasLt.create()
    try:
        with Matmul(a, b, options={"handle": handle}) as mm:
            mm.plan()
            assert_product(mm.execute(), case, a, b)
    finally:
        cublasLt.destroy(handle)


@needs_device
@ON_DEVICE
def test_autotuning(case, tuning_record):
    a, b = case.operand((64, 300)), case.operand((300, 64), seed=1)
    with Matmul(a, b) as mm:
        mm.plan()
        mm.autotune(iterations=3)
        best = mm.algorithms[0]
        assert_product(mm.execute(), case, a, b)
    with Matmul(a, b) as mm:
        assert mm.plan()[0] == best
        assert "the tuning record" in repr(mm)
        assert_product(mm.execute(), case, a, b)


# Addresses.


@needs_device
@ON_DEVICE
def test_operands_and_results_at_any_address(case):
    """Planned for aligned ones, then for others: each time the kernel is one for what comes."""
    n = 64
    memory = case.operand((4 * n * n + 8,))
    places = {
        shift: [memory[i * n * n + shift : (i + 1) * n * n + shift].reshape(n, n) for i in range(4)]
        for shift in (0, 1, 4)
    }
    for planned in places.values():
        a, b, c, _ = planned
        with Matmul(a, b, c, beta=1.0) as mm:
            mm.plan()
            for others in places.values():
                mm.reset_operands(a=others[0], b=others[1], c=others[2])
                expected = reference(case, others[0], others[1], others[2], beta=1.0)
                assert_near(mm.execute(), expected)
                out = case.like(np.zeros(n * n + 8))
                for shift in (0, 1):
                    assert_near(mm.execute(out=out[shift : shift + n * n].reshape(n, n)), expected)


@needs_device
def test_bias_at_any_address():
    case = Case("cublaslt", "torch-cuda", "float16")
    a, memory = case.exact((64, 64)), case.exact((80,), seed=1)
    with Matmul(a, a) as mm:
        for planned in (0, 1):
            mm.plan(epilog=E.BIAS, epilog_inputs={"bias": memory[planned : planned + 64]})
            for shift in (0, 1, 2, 8):
                bias = memory[shift : shift + 64]
                mm.reset_operands(epilog_inputs={"bias": bias})
                np.testing.assert_array_equal(wide(mm.execute()), wide(a) @ wide(a) + wide(bias)[:, None])


@needs_device
def test_unaligned_integers():
    """Kernels for int8 have none for other addresses: an error before anything is launched, and the object stays."""
    case = Case("cublaslt", "torch-cuda", "int8")
    memory = case.operand((2 * 64 * 64 + 8,))
    aligned, b = memory[: 64 * 64].reshape(64, 64), memory[64 * 64 : 2 * 64 * 64].reshape(64, 64)
    with Matmul(aligned, b) as mm:
        mm.plan()
        shifted = memory[1 : 64 * 64 + 1].reshape(64, 64)
        mm.reset_operands(a=shifted)
        with pytest.raises(cublasLt.cuBLASLtError, match="cublasLtMatmul failed") as caught:
            mm.execute()
        assert "multiples of 16 bytes" in caught.value.__notes__[0]
        mm.reset_operands(a=aligned)
        assert_product(mm.execute(), case, aligned, b)
        assert_product(matmul(shifted, b), case, shifted, b)


# Two memory spaces.


@needs_device
@pytest.mark.parametrize("package", HOST_PACKAGES)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_operands_on_the_host(package, dtype):
    case = Case("cublaslt", package, dtype)
    for shape_a, shape_b, layout in (((13, 21), (21, 9), column_major), ((3, 5, 4), (4, 6), padded_rows)):
        a, b = case.operand(shape_a, layout), case.operand(shape_b, layout, seed=1)
        c = case.addend((*shape_a[:-1], shape_b[-1]), layout)
        result = matmul(a, b, c, alpha=2, beta=3, execution="cuda")
        assert package_of(result) == package
        assert_near(result, reference(case, a, b, c, alpha=2, beta=3))
        expected = reference(case, a, b, c, beta=1)
        with Matmul(a, b, c, beta=1, execution="cuda", options={"inplace": True}) as mm:
            mm.plan()
            assert mm.execute() is c
            assert_near(c, expected)


@needs_device
@pytest.mark.parametrize("package", HOST_PACKAGES)
def test_epilogs_of_operands_on_the_host(package):
    case = Case("cublaslt", package, "float32")
    a, b, bias = case.exact((13, 21)), case.exact((21, 9), seed=1), case.exact((13,), seed=2)
    with Matmul(a, b, execution="cuda") as mm:
        mm.plan(epilog=E.RELU_AUX_BIAS, epilog_inputs={"bias": bias})
        for new in (bias, case.exact((13,), seed=3)):
            mm.reset_operands(epilog_inputs={"bias": new})
            result, auxiliary = mm.execute()
            z = wide(a) @ wide(b) + wide(new)[:, None]
            np.testing.assert_array_equal(wide(result), np.maximum(z, 0))
            bits = np.unpackbits(to_numpy(auxiliary["relu_aux"]), axis=-2, bitorder="little")[:13]
            np.testing.assert_array_equal(bits, z >= 0)


@needs_device
@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_operands_on_the_device_and_work_on_the_host(package):
    case = Case("blas", package, "float32")
    a, b, c = case.operand((13, 21)), case.operand((21, 9), seed=1), case.addend((13, 9))
    result = matmul(a, b, c, beta=2, execution="cpu")
    assert package_of(result) == package
    assert_near(result, reference(case, a, b, c, beta=2))
    exact_a, exact_b, bias = case.exact((13, 21)), case.exact((21, 9), seed=1), case.exact((13,), seed=2)
    result, _ = matmul(exact_a, exact_b, epilog=E.RELU_AUX_BIAS, epilog_inputs={"bias": bias}, execution="cpu")
    expected = np.maximum(wide(exact_a) @ wide(exact_b) + wide(bias)[:, None], 0)
    np.testing.assert_array_equal(wide(result), expected)
