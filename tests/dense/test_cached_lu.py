"""planmath's own LU of matrices that fit into the caches: factors and pivots of every extent, as LAPACK's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import lapack

from planmath.core.errors import UnavailableError
from planmath.linalg import DirectSolver, SingularMatrixError
from planmath.linalg.solver.providers.own import MOST_ROWS
from tests.dense.systems import DTYPES, OPERATIONS, assert_solves, numbers

OWN = {"provider": "own", "on_inaccurate": "raise"}


def factored(a, options=OWN):
    with DirectSolver(a, np.ones(len(a), a.dtype), options) as solver:
        solver.plan()
        solver.factorize()
        return solver.factorization_info.factors()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_extent(dtype):
    rng = np.random.default_rng(0)
    rounding = np.finfo(dtype).eps
    for n in (*range(1, 36), 47, 64, 95, 130, MOST_ROWS):
        a = np.asfortranarray(numbers(rng, (n, n), dtype))
        _, values, pivots, transposed = factored(a)
        assert not transposed
        rows = np.arange(n)
        for i, other in enumerate(pivots):
            rows[[i, other]] = rows[[other, i]]
        lower, upper = np.tril(values, -1) + np.eye(n), np.triu(values)
        wide = "complex128" if a.dtype.kind == "c" else "float64"
        product, sizes = lower.astype(wide) @ upper, np.abs(lower) @ np.abs(upper)
        np.testing.assert_array_less(np.abs(product - a[rows]), 4 * n * rounding * sizes + 1e-300)
        largest = abs(lower.real) + abs(lower.imag)  # sizes as in LAPACK
        assert largest.max() <= (1 if a.dtype.kind == "f" else 2) * (1 + 8 * rounding)
        if n < 20:  # beyond that roundings may choose other pivots
            routine = lapack.get_lapack_funcs("getrf", (a,))
            np.testing.assert_array_equal(pivots, routine(a)[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_solutions(dtype, order):
    rng = np.random.default_rng(1)
    for n, k in ((5, None), (16, 3), (33, None), (70, 1), (MOST_ROWS, 2)):
        a = np.array(numbers(rng, (n, n), dtype), order=order)
        b = np.array(numbers(rng, (n,) if k is None else (n, k), dtype), order=order)
        with DirectSolver(a, b, OWN) as solver:
            solver.plan()
            solver.factorize()
            for trans, operation in OPERATIONS.items():
                x = solver.solve(trans=trans)
                assert_solves(operation(a), x.reshape(n, -1), b.reshape(n, -1), dtype)


def test_batches_lists_and_in_place():
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((7, 40, 40)), rng.standard_normal((7, 40, 1))
    with DirectSolver(a, b, OWN) as solver:
        solver.plan()
        solver.factorize()
        np.testing.assert_allclose(a @ solver.solve(), b, atol=1e-11)
    lists = [a[0], a[1][:9, :9], a[2][:3, :3]], [b[0], b[1][:9], b[2][:3, 0]]
    with DirectSolver(*lists, OWN) as solver:
        solver.plan()
        solver.factorize()
        for matrix, side, x in zip(*lists, solver.solve(), strict=True):
            np.testing.assert_allclose(matrix @ x, side, atol=1e-11)
    matrix, side = a[3].copy(), b[3, :, 0].copy()
    with DirectSolver(matrix, side, {**OWN, "inplace_a": True, "inplace_b": True}) as solver:
        solver.plan()
        solver.factorize()
        assert solver.solve() is side
        np.testing.assert_allclose(a[3] @ side, b[3, :, 0], atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pivots_of_any_size(dtype):
    smallest, largest = np.finfo(dtype).tiny, np.finfo(dtype).max
    for n in (1, 3, 9, 40):
        for scale in (smallest, smallest / 8, largest / 1e4):
            a = (np.triu(np.ones((n, n))) * scale).astype(dtype)
            values = factored(np.asfortranarray(a)).values
            np.testing.assert_array_equal(values, a)
        a = numbers(np.random.default_rng(n), (n, n), dtype)
        a[:, n // 2] = 0
        with pytest.raises(SingularMatrixError, match=f"row {n // 2} is exactly zero"):
            factored(np.asfortranarray(a))


def test_of_equal_sizes_the_first_is_the_pivot():
    signs = np.where(np.arange(400).reshape(20, 20) % 3 == 0, -1.0, 1.0)
    a = np.asfortranarray(signs + 5 * np.triu(np.ones((20, 20)), 1))
    np.testing.assert_array_equal(factored(a).pivots, lapack.dgetrf(a)[1])


def test_what_is_expected_and_what_is_refused():
    for n, provider in ((8, "own"), (64, "own")):
        with DirectSolver(np.eye(n), np.ones(n), {"tuning": False}) as solver:
            solver.plan()
            assert solver._plan_made.chosen.provider == provider
    told = f"matrices of up to {MOST_ROWS} rows; these have {MOST_ROWS + 1}"
    too_large = DirectSolver(np.eye(MOST_ROWS + 1), np.ones(MOST_ROWS + 1), OWN)
    with too_large as solver, pytest.raises(UnavailableError, match=told):
        solver.plan()
    with DirectSolver(np.eye(40), np.ones(40), OWN, structure="auto") as solver:
        solver.plan()
        solver.factorize()
        np.testing.assert_array_equal(solver.solve(), np.ones(40))
        assert solver.factorization_info.structure == "diagonal"
