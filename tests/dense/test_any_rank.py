"""Systems of any shape and rank: the rank is found, and the solution is that of the least norm."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from planmath.core.errors import UnavailableError
from planmath.linalg import DirectSolver, SingularMatrixError, SymmetricMatrixQualifier, direct_solver
from planmath.linalg.solver.providers import PROVIDERS
from tests.arrays import to_numpy, to_package
from tests.dense.systems import DTYPES, numbers
from tests.generic.operands import laid
from tests.providers import on_host, pairs

GENERAL = [provider for provider in on_host(PROVIDERS) if provider.name != "own"]


RANKS = [
    (1, 1, 1), (1, 1, 0), (5, 3, 3), (5, 3, 2), (3, 5, 3), (3, 5, 1), (6, 6, 6), (6, 6, 4), (90, 70, 33), (70, 90, 70),
]  # fmt: skip


def of_rank(rng: np.random.Generator, m: int, n: int, rank: int, dtype: str) -> np.ndarray:
    """A matrix with `rank` singular values between 1 and 2, and zeros."""
    left = np.linalg.qr(numbers(rng, (m, m), dtype))[0][:, :rank]
    right = np.linalg.qr(numbers(rng, (n, n), dtype))[0][:, :rank]
    return ((left * np.linspace(1, 2, rank)) @ right.conj().T).astype(dtype)


def assert_least(a: np.ndarray, x: np.ndarray, b: np.ndarray, rank: int) -> None:
    """As by NumPy's singular values."""
    rounding = np.finfo(a.dtype).eps
    expected = np.linalg.pinv(a, rcond=0.1) @ b
    size = 1 + np.abs(b).max()
    np.testing.assert_allclose(x, expected, rtol=0, atol=200 * max(a.shape) * rounding * size)


@pytest.mark.parametrize("pair", pairs(GENERAL))
@pytest.mark.parametrize("dtype", DTYPES)
def test_ranks(dtype, pair):
    rng = np.random.default_rng(1)
    layouts = ("rows", "columns", "gaps")
    for number, (m, n, rank) in enumerate(RANKS):
        k = (None, 1, 4)[number % 3]
        a = of_rank(rng, m, n, rank, dtype)
        b = numbers(rng, (m,) if k is None else (m, k), dtype)
        laid_out = laid(a, layouts[number % 3]), laid(b, layouts[-number % 3])
        passed = [to_package(array, pair.package) for array in laid_out]
        options = {"provider": pair.provider, "on_inaccurate": "raise"}
        with DirectSolver(*passed, options, structure="least squares") as solver:
            solver.plan()
            for _ in range(2):
                solver.factorize()
                assert solver.factorization_info.rank() == rank
                assert_least(a, to_numpy(solver.solve()), b, rank)
                assert solver.solution_info.accurate
            factors = solver.factorization_info.factors()
            assert factors.routine == "geqp3"
            assert sorted(factors.pivots) == list(range(n))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_any_shape(m, n, data):
    rank, seed = data.draw(st.integers(0, min(m, n))), data.draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from(["float64", "complex128"]))
    a, b = of_rank(rng, m, n, rank, dtype) * 10.0 ** data.draw(st.integers(-100, 100)), numbers(rng, (m, 2), dtype)
    with DirectSolver(a, b, {"on_inaccurate": "raise"}, structure="least squares") as solver:
        solver.plan()
        solver.factorize()
        assert solver.factorization_info.rank() == rank
        scale = np.abs(a).max() or 1
        assert_least(a / scale, solver.solve() * scale, b, rank)


def test_a_batch_and_a_list_of_matrices_of_different_ranks():
    rng = np.random.default_rng(2)
    ranks = (4, 2, 0, 3)
    a, b = np.array([of_rank(rng, 6, 4, rank, "float64") for rank in ranks]), rng.standard_normal((4, 6, 2))
    with DirectSolver(a, b, structure="least squares") as solver:
        solver.plan()
        solver.factorize()
        np.testing.assert_array_equal(solver.factorization_info.rank(), ranks)
        for one, x, side, rank in zip(a, solver.solve(), b, ranks, strict=True):
            assert_least(one, x, side, rank)
    with DirectSolver([a[0], a[1].T.copy()], [b[0], b[1, :4]], structure="least squares") as solver:
        solver.plan()
        solver.factorize()
        assert solver.factorization_info.rank() == (4, 2)
        for one, x, side, rank in zip((a[0], a[1].T), solver.solve(), (b[0], b[1, :4]), ranks, strict=False):
            assert_least(one, x, side, rank)


def test_what_counts_as_zero_is_the_users_choice():
    a, b = np.diag([1.0, 1e-3, 1e-9]), np.array([1.0, 1e-3, 1e-9])
    for tolerance, rank in ((None, 3), (1e-6, 2), (1e-2, 1), (0, 3)):
        options = {"rank_tolerance": tolerance, "on_inaccurate": "raise"}
        with DirectSolver(a, b, options, structure="least squares") as solver:
            solver.plan()
            solver.factorize()
            assert solver.factorization_info.rank() == rank
            np.testing.assert_allclose(solver.solve(), [1.0] * rank + [0.0] * (3 - rank))


def test_refusals():
    a, b = np.ones((3, 2)), np.ones(3)
    for arguments, told in (
        ({"options": {"rank_tolerance": -1}}, "rank_tolerance is -1"),
        ({"options": {"rank_tolerance": 1e-3}}, "structure is not 'least squares'"),
        ({"structure": "least squares", "options": {"inplace_b": True}}, "a is possibly rank-deficient, and inpl"),
        ({"structure": "least squares", "options": {"precision": "mixed"}}, "a is possibly rank-deficient; expec"),
        ({"structure": "least squares", "qualifiers": SymmetricMatrixQualifier.create()}, "said to be symmetric"),
        ({"structure": "most squares"}, "'least squares'"),
    ):
        with pytest.raises(ValueError, match=told):
            DirectSolver(a, b, **arguments)
    with DirectSolver(a, b, structure="least squares") as solver:
        solver.plan()
        solver.factorize()
        with pytest.raises(ValueError, match="a is possibly rank-deficient; its factors"):
            solver.solve(trans="T")
        for fact in ("inverse", "condition", "log_determinant"):
            with pytest.raises(UnavailableError, match=r"rank-deficient|square"):
                getattr(solver.factorization_info, fact)()
        solver.reset_operands(b=np.array([1, np.nan, 2]))
        with pytest.raises(ValueError, match="not finite"):
            solver.solve()
    with DirectSolver(np.eye(2), np.ones(2)) as solver:
        solver.plan()
        solver.factorize()
        with pytest.raises(UnavailableError, match="structure='least squares'"):
            solver.factorization_info.rank()
    with pytest.raises(Exception, match="structure='least squares'"):
        direct_solver(np.ones((4, 2)), np.ones(4))


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (70, 40)])
def test_a_dependent_column_is_told_however_columns_are_scaled(dtype, shape):
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[0]).astype(dtype)
    tall = a if shape[0] > shape[1] else a.T
    tall *= (10.0 ** rng.integers(-9, 9, tall.shape[1])).astype(dtype)
    for provider in GENERAL:
        with DirectSolver(a, b, options={"provider": provider.name}) as solver:
            solver.plan()
            solver.factorize()
            solver.solve()
            before = tall[:, -1].copy()
            tall[:, -1] = tall[:, 0] + tall[:, 1]
            with pytest.raises(SingularMatrixError, match=r"R in row .* is zero but for rounding: pass structure"):
                solver.factorize()
            tall[:, -1] = before
