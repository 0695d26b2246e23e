"""Products of a matrix with its own transpose or adjoint, seen by the addresses: one triangle, and its mirror image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from planmath.linalg import Matmul, matmul
from planmath.linalg.generic.providers import PROVIDERS
from tests.arrays import to_numpy, to_package
from tests.generic.operands import Kind, assert_close, laid, numbers, qualifiers
from tests.providers import on_host

GE, SY, HE = Kind("ge"), Kind("sy"), Kind("he")
NAMES = [p.name for p in on_host(PROVIDERS) if p.unavailable() is None and p.name != "planmath"]
WIDE = {"float32": "longdouble", "float64": "longdouble", "complex64": "clongdouble", "complex128": "clongdouble"}


def swapped(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2)


def ways(product: Matmul) -> dict[str, object]:
    """The algorithms by the name of their routine."""
    return {way.get("product"): way for way in product._plan_made.algorithms}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("order", ["rows", "columns", "gaps"])
def test_squares(order, turned, name):
    rng = np.random.default_rng(3)
    for dtype, batch in itertools.product(WIDE, ((), (3,))):
        is_complex = dtype.startswith("complex")
        for conjugated in ([(False, False), (True, False), (False, True)] if is_complex else [(False, False)]):
            n, k = (65, 30) if order == "rows" else (131, 7)
            x = laid(numbers(rng, (*batch, n, k), dtype), order)
            a, b = (swapped(x), x) if turned else (x, swapped(x))
            kinds = [Kind("ge", conjugate=flag) for flag in conjugated]
            p, q = (kind.dense(array.astype(WIDE[dtype])) for kind, array in zip(kinds, (a, b), strict=True))
            with Matmul(a, b, alpha=-0.5, qualifiers=qualifiers(*kinds), options={"provider": name}) as product:
                product.plan()
                found = ways(product)
                routine = "herk" if any(conjugated) else "syrk"
                assert set(found) == {routine, "gemm"}
                for way in found.values():
                    product._add_program(way, way)
                    result = product._execute(way, None)
                    assert_close(np.array(result), -0.5 * (p @ q), 0.5 * (abs(p) @ abs(q)), dtype, k)
                result = product._execute(found[routine], None)
                np.testing.assert_array_equal(result, swapped(result).conj() if routine == "herk" else swapped(result))
                # other operands, which are none of each other's transpose any more
                other = laid(numbers(rng, x.shape, dtype), order)
                other = other if turned else swapped(other)
                product.reset_operands(b=other)
                result, y = product._execute(found[routine], None), kinds[1].dense(other.astype(WIDE[dtype]))
                assert_close(np.array(result), -0.5 * (p @ y), 0.5 * (abs(p) @ abs(y)), dtype, k)
                product.reset_operands(alpha=0)
                assert not np.array(product._execute(found[routine], None)).any()
                if is_complex:
                    product.reset_operands(b=b, alpha=1 + 2j)
                    result = product._execute(found[routine], None)
                    assert_close(np.array(result), (1 + 2j) * (p @ q), 3 * (abs(p) @ abs(q)), dtype, k)


@pytest.mark.parametrize("name", NAMES)
def test_with_c_one_triangle_does_only_where_the_result_is_said_to_be_symmetric(name):
    rng = np.random.default_rng(4)
    x, c = rng.standard_normal((80, 9)), rng.standard_normal((80, 80))
    z = x + 1j * rng.standard_normal(x.shape)
    for array, kind, other, expected in (
        (x, GE, GE, set()), (x, GE, SY, {"syrk"}), (x, GE, HE, {"syrk"}), (z, GE, SY, {"syrk"}),
        (z, Kind("ge", conjugate=True), HE, {"herk"}), (z, Kind("ge", conjugate=True), SY, set()),
    ):  # fmt: skip
        added = (c + c.T).astype(array.dtype) if expected else c.astype(array.dtype)
        for inplace in (False, True):
            given = laid(added, "rows")
            with Matmul(
                array, array.T, given, beta=2.0, qualifiers=qualifiers(GE, kind, other),
                options={"provider": name, "inplace": inplace},
            ) as product:  # fmt: skip
                product.plan()
                assert {way for way in ways(product) if way in ("syrk", "herk")} == expected
                reference = array @ kind.dense(array.T) + 2 * added
                if expected or other is GE:
                    np.testing.assert_allclose(product.execute(), reference, rtol=1e-12, atol=1e-12)
                    assert (given is product.execute()) == inplace


def test_what_is_seen_and_what_is_not():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((70, 70))

    def seen(a: np.ndarray, b: np.ndarray, **more: object) -> bool:
        with Matmul(a, b, options={"provider": "blas"}, **more) as product:
            product.plan()
            np.testing.assert_allclose(product.execute(), a @ b, rtol=1e-10, atol=1e-12)
            return "syrk" in ways(product)

    assert seen(x, x.T)
    assert seen(x.T, x)
    assert seen(x[3:60, 5:], x[3:60, 5:].T)
    assert not seen(x, x)
    assert not seen(x, x.copy().T)
    assert not seen(x[1:], x[:-1].T)
    assert not seen(x[::2, ::2], x[::2, ::2].T), "no leading dimension"
    assert not seen(x[0], x[0])
    small = x[:8, :8].copy()
    with Matmul(small, small.T, options={"tuning": False}) as product:
        product.plan()
        assert product._plan_made.chosen.provider == "planmath"


def test_stateless_products_and_lists():
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((2, 90, 90))
    for a, b in ((x, x.T), (x, y.T), (x, x.T), (y.T, y), (y, x.T)):
        np.testing.assert_allclose(matmul(a, b), a @ b, rtol=1e-10, atol=1e-12)
    with Matmul([x, x, y], [x.T, y.T, y.T], options={"provider": "blas"}) as product:
        product.plan()
        assert [member.twice for member in product._problem.members] == ["sy", "", "sy"]
        for found, a, b in zip(product.execute(), (x, x, y), (x, y, y), strict=True):
            np.testing.assert_allclose(found, a @ b.T, rtol=1e-10, atol=1e-12)


def test_tensors():
    torch = pytest.importorskip("torch")
    x = to_package(numbers(np.random.default_rng(7), (70, 70), "complex128"), "torch")
    for other, routine in ((x.T, "syrk"), (x.mH, "herk"), (torch.clone(x).mH, "gemm")):
        with Matmul(x, other, options={"provider": "blas"}) as product:
            product.plan()
            assert product._plan_made.chosen.get("product") == routine
            np.testing.assert_allclose(to_numpy(product.execute()), to_numpy(x @ other), rtol=1e-10, atol=1e-10)


def test_half_precision_is_multiplied_as_ever():
    x = numbers(np.random.default_rng(8), (70, 5), "float16")
    np.testing.assert_allclose(matmul(x, x.T), x @ x.T, rtol=1e-2, atol=1e-2)
