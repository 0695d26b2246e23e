"""planmath's own matrix products, of factors that stay as they are."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import planmath.tensor.kernels as kernels
import pytest

from planmath.tensor import BinaryContraction

ROUTINES = {"float32": "sgemm", "float64": "dgemm"}
#: Around the vectors of every instruction set, and their multiples.
ROWS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 23, 24, 25, 31, 47, 48, 49, 50, 97, 1000)
GAP = 3
OUTSIDE = -99.0


def product(a, b, d, turned, transposed, alpha, beta, m, n, k):
    """What a call leaves in d, whose columns are `GAP` elements longer than the product's; so are those of a and b."""
    routine = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(kernels.PANELS[ROUTINES[a.dtype.name]])
    sizes = [ctypes.c_int(x) for x in (m, n, k, a.shape[1], b.shape[1], d.shape[1])]
    letters = [ctypes.c_char(b"T" if x else b"N") for x in (turned, transposed)]
    factors = np.array([alpha, beta], a.dtype)
    pm, pn, pk, lda, ldb, ldd = map(ctypes.addressof, sizes)
    one, other = factors[:1].ctypes.data, factors[1:].ctypes.data
    routine(
        *map(ctypes.addressof, letters), pm, pn, pk, one, a.ctypes.data, lda, b.ctypes.data, ldb, other,
        d.ctypes.data, ldd,
    )  # fmt: skip
    return d


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ROUTINES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("m", ROWS)
def test_products_of_all_sizes(dtype, turned, transposed, m):
    random = np.random.default_rng(m)
    for n, k, (alpha, beta) in itertools.product((1, 2, 3, 4, 5, 9), (1, 2, 30), [(1, 0), (-2, 0), (1, 1), (3, -0.5)]):
        if turned and m * k * np.dtype(dtype).itemsize > kernels.TURNED:
            continue
        a = random.uniform(-1, 1, (m, k + GAP) if turned else (k, m + GAP)).astype(dtype)
        first = a[:, :k].T if turned else a[:, :m]
        b = random.uniform(-1, 1, (k, n + GAP) if transposed else (n, k + GAP)).astype(dtype)
        d = np.full((n, m + GAP), OUTSIDE, dtype)
        d[:, :m] = random.uniform(-1, 1, (n, m)) if beta else np.nan
        factor = b[:, :n].T if transposed else b[:, :k]
        expected = alpha * (factor.astype(float) @ first.astype(float))
        expected += beta * d[:, :m].astype(float) if beta else 0
        product(a, b, d, turned, transposed, alpha, beta, m, n, k)
        bound = 4 * (k + 2) * np.finfo(dtype).eps * max(abs(alpha), abs(beta))
        np.testing.assert_allclose(d[:, :m], expected, rtol=0, atol=bound)
        np.testing.assert_array_equal(d[:, m:], OUTSIDE)


@pytest.mark.parametrize(
    ("expr", "shapes", "dtype"),
    [
        ("ijk,jkl->il", [(8, 8, 8), (8, 8, 8)], "float64"),
        ("bij,bjk->bik", [(50, 20, 30), (50, 30, 20)], "float32"),
    ],
)
def test_small_products_are_planmaths_own(expr, shapes, dtype):
    a, b = (np.random.default_rng(0).uniform(-1, 1, shape).astype(dtype) for shape in shapes)
    with BinaryContraction(expr, a, b) as contraction:
        contraction.plan()
        assert "product=own" in repr(contraction)
        np.testing.assert_allclose(contraction.execute(), np.einsum(expr, a, b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("extents", "dtype"), [((100, 100), "float64"), ((8, 8), "complex128"), ((4, 40), "float64")])
def test_other_products_are_those_of_libraries(extents, dtype):
    """Of factors that do not stay in the cache, of complex numbers, and of less than a vector but for the smallest."""
    a = np.ones(extents, dtype)
    with BinaryContraction("ij,kj->ik", a, a) as contraction:
        contraction.plan()
        assert not any(x.get("product") == "own" for x in contraction._plan_made.algorithms)
