"""Generic products on a CUDA device."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.bindings import cublas, nvrtc
from planmath.core.cuda import devices
from planmath.linalg import Matmul, matmul
from tests.arrays import DEVICE_PACKAGES, HOST_PACKAGES, dtype_of, missing, package_of, to_numpy, to_package
from tests.generic import device_checks
from tests.generic.conformance import KINDS, PAIRS, check_products, dense, operand
from tests.generic.operands import Kind, laid, numbers, qualifiers
from tests.generic.test_triangular import KINDS as TRIANGULAR
from tests.generic.test_triangular import check_systems
from tests.sparse.cudss_checks import Place

MISSING = cublas.LIBRARY.missing or nvrtc.LIBRARY.missing or devices.missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

GE, SY, HE, TR, DG = map(Kind, ("ge", "sy", "he", "tr", "dg"))


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("left", range(len(KINDS)))
def test_products(package, left):
    for pair in PAIRS[left * len(KINDS) : (left + 1) * len(KINDS)]:
        for provider in ("cublas", "planmath"):
            check_products(pair, provider, package, draws=1)


@pytest.mark.parametrize("package", HOST_PACKAGES)
@pytest.mark.parametrize("kind", [GE, SY, HE, TR, DG], ids=lambda kind: kind.name)
def test_operands_on_the_host(package, kind):
    check_products((kind, GE), "planmath" if kind is DG else "cublas", package, execution="cuda")


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("kind", [GE, SY, HE, TR, DG], ids=lambda kind: kind.name)
def test_operands_on_the_device_and_work_on_the_host(package, kind):
    check_products((kind, GE), "planmath" if kind is DG else "blas", package, execution="cpu")


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("kind", [GE, SY, TR, DG], ids=lambda kind: kind.name)
def test_large_products(package, kind):
    """Extents at which libraries take other kernels, which may want temporary memory."""
    rng = np.random.default_rng(0)
    for n, m in ((1000, 700), (257, 2049), (2048, 16)):
        a, b = operand(rng, kind, n, n, (), "float64", "rows"), numbers(rng, (n, m), "float64")
        expected = dense(kind, a).astype(float) @ b
        with Matmul(to_package(a, package), to_package(b, package), qualifiers=qualifiers(kind, GE)) as product:
            product.plan()
            for way in product._plan_made.algorithms:
                product._add_program(way, way)
                np.testing.assert_allclose(to_numpy(product._execute(way, None)), expected, atol=1e-10)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("kind", [GE, TR, DG], ids=lambda kind: kind.name)
def test_large_batches(package, kind):
    """More matrices than a grid has blocks in one direction."""
    rng = np.random.default_rng(1)
    a, b = operand(rng, kind, 3, 3, (70_000,), "float32", "rows"), numbers(rng, (70_000, 3, 2), "float32")
    expected = dense(kind, a).astype("float64") @ b
    result = matmul(to_package(a, package), to_package(b, package), qualifiers=qualifiers(kind, GE))
    np.testing.assert_allclose(to_numpy(result), expected, atol=1e-5)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("kind", [GE, SY, TR, DG], ids=lambda kind: kind.name)
def test_a_factor_of_zero_reads_nothing(package, kind):
    rng = np.random.default_rng(2)
    values = numbers(rng, (7, 4), "float64")
    a = to_package(np.full((7,) if kind is DG else (7, 7), np.inf), package)
    b = to_package(np.full((7, 4), np.nan), package)
    for order in ("rows", "columns"):
        c = to_package(laid(values, order), package)
        with Matmul(a, b, c, beta=2.0, qualifiers=qualifiers(kind, GE, GE)) as product:
            product.plan()
            product.reset_operands(alpha=0.0)
            for way in product._plan_made.algorithms:
                product._add_program(way, way)
                np.testing.assert_array_equal(to_numpy(product._execute(way, None)), 2 * values)
    good, unread = to_package(operand(rng, kind, 7, 7, (), "float64", "rows"), package), b
    result = matmul(good, c, unread, beta=0.0, qualifiers=qualifiers(kind, GE, GE))
    np.testing.assert_allclose(to_numpy(result), dense(kind, to_numpy(good)).astype(float) @ values)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_dtypes(package, dtype):
    if package == "cupy" and dtype == "bfloat16":
        return  # which it lacks
    rng = np.random.default_rng(3)
    for kind in (GE, SY, TR, DG):
        a = operand(rng, kind, 9, 9, (2,), "float32", "rows").astype("float16")
        b = numbers(rng, (9, 4), "float32").astype("float16")
        arrays = [to_package(x, package) for x in (a, b)]
        if dtype == "bfloat16":
            arrays = [x.bfloat16() for x in arrays]
        result = matmul(*arrays, qualifiers=qualifiers(kind, GE))
        assert (package_of(result), dtype_of(result)) == (package, dtype)
        values = to_numpy(result.float() if package == "torch-cuda" else result)
        expected = dense(kind, a).astype(float) @ b.astype(float)
        np.testing.assert_allclose(values, expected, rtol=2e-2, atol=1e-1 if dtype == "bfloat16" else 1e-2)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_lists(package):
    rng = np.random.default_rng(5)
    kinds = [(GE, GE), (TR, GE), (GE, SY), (DG, GE), (GE, GE)]
    a = [operand(rng, left, 4 + i, 4 + i, (), "float64", "rows") for i, (left, _) in enumerate(kinds)]
    b = [operand(rng, right, 4 + i, 4 + i, (), "float64", "columns") for i, (_, right) in enumerate(kinds)]
    on_device = [[to_package(x, package) for x in operands] for operands in (a, b)]
    results = matmul(*on_device, alpha=2, qualifiers=[qualifiers(*pair) for pair in kinds])
    for (left, right), x, y, result in zip(kinds, a, b, results, strict=True):
        np.testing.assert_allclose(to_numpy(result), 2 * (dense(left, x) @ dense(right, y)).astype(float), atol=1e-12)


@pytest.mark.parametrize("kind", TRIANGULAR, ids=str)
def test_triangular_systems(kind):
    check_systems(kind, "cublas", "cuda")


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_autotuning(package, tuning_record):
    rng = np.random.default_rng(4)
    a, b = operand(rng, TR, 300, 300, (), "float32", "rows"), numbers(rng, (300, 40), "float32")
    arrays = [to_package(x, package) for x in (a, b)]
    expected = dense(TR, a).astype(float) @ b
    with Matmul(*arrays, qualifiers=qualifiers(TR, GE)) as product:
        product.plan()
        product.autotune(iterations=3)
        best = product._plan_made.chosen
        np.testing.assert_allclose(to_numpy(product.execute()), expected, atol=1e-3)
    with Matmul(*arrays, qualifiers=qualifiers(TR, GE)) as product:
        product.plan()
        assert (product._plan_made.origin, product._plan_made.chosen) == ("the tuning record", best)


@pytest.mark.parametrize("package", ["cupy", "torch-cuda"])
@pytest.mark.parametrize("name", [check.__name__ for check in device_checks.CHECKS])
def test_device_checks(name, package):
    if why := missing(package):
        pytest.skip(why)
    getattr(device_checks, name)(Place(package))
