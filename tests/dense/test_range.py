"""Systems at the ends of their dtype's range, whose solutions are ordinary numbers."""

import warnings

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.linalg import DirectSolver, FillMode, SymmetricMatrixQualifier, TriangularMatrixQualifier
from planmath.linalg.solver.providers import PROVIDERS
from tests.providers import on_host

#: What is said of a matrix of each kind.
SAID = {
    "general": {},
    "lower": {"qualifiers": TriangularMatrixQualifier.create()},
    "upper": {"qualifiers": TriangularMatrixQualifier.create(uplo=FillMode.UPPER)},
    "symmetric": {"qualifiers": SymmetricMatrixQualifier.create()},
    "definite": {"structure": "positive definite"},
}
SIZES = {"subnormal": lambda kind: kind.minexp - kind.nmant, "huge": lambda kind: kind.maxexp - 10}


def system(dtype: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A Hermitian matrix of small integers and a solution likewise, so that all products are exact."""
    a, x = (rng.integers(-3, 4, shape) + 0j for shape in ((n, n), (n, 2)))
    if dtype.startswith("complex"):
        a, x = a + 1j * rng.integers(-3, 4, a.shape), x + 1j * rng.integers(-3, 4, x.shape)
    a = a + a.conj().T + 16 * n * np.eye(n)
    return (part.astype(dtype) if dtype.startswith("complex") else part.real.astype(dtype) for part in (a, x))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_solved_at_the_ends_of_the_range(dtype: str, kind: str, size: str) -> None:
    a, x = system(dtype, 5, np.random.default_rng(1))
    if kind == "symmetric":
        a = np.tril(a) + np.tril(a, -1).T
    read = {"lower": np.tril, "upper": np.triu}.get(kind, np.asarray)(a)
    b = read @ x
    by = 2.0 ** np.longdouble(SIZES[size](np.finfo(dtype)))
    wide = np.clongdouble if dtype.startswith("complex") else np.longdouble
    a, b = ((part.astype(wide) * by).astype(dtype) for part in (a, b))
    assert np.isfinite(b).all()
    solved = 0
    for provider in on_host(PROVIDERS):
        with DirectSolver(a, b, {"provider": provider.name}, **SAID[kind]) as solver, warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                solver.plan()
            except UnavailableError:  # by one that has no such systems
                continue
            solved += 1
            solver.factorize()
            np.testing.assert_allclose(solver.solve(), x, rtol=0, atol=256 * np.finfo(dtype).eps)
    assert solved


@pytest.mark.parametrize("by", [-1060, 1010])
def test_right_hand_sides_at_the_ends_of_the_range(by: int) -> None:
    a, x = system("float64", 5, np.random.default_rng(2))
    b = np.ldexp(a @ x, by)
    with DirectSolver(a, b) as solver, warnings.catch_warnings():
        warnings.simplefilter("error")
        solver.plan()
        solver.factorize()
        found = solver.solve()
    np.testing.assert_allclose(np.ldexp(found, -by), x, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["general", "lower", "symmetric", "definite"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_a_pivot_at_the_end_of_the_range(dtype: str, kind: str) -> None:
    """Its reciprocal is infinite, by which libraries multiply."""
    a, x = np.eye(5, dtype=dtype), np.arange(1, 6).astype(dtype)
    a[2, 2] = 16 * np.finfo(dtype).smallest_subnormal
    if kind in ("general", "lower"):
        a[1, 0] = a[4, 3] = 0.5
    for provider in on_host(PROVIDERS):
        with DirectSolver(a, a @ x, {"provider": provider.name}, **SAID[kind]) as solver, warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                solver.plan()
            except UnavailableError:
                continue
            solver.factorize()
            np.testing.assert_allclose(solver.solve(), x, rtol=1e-2 if np.finfo(dtype).bits == 32 else 1e-12)


@pytest.mark.parametrize("structure", [None, "least squares"])
@pytest.mark.parametrize("shape", [(8, 5), (5, 8), (5, 5)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_least_squares_at_the_ends_of_the_range(dtype: str, size: str, shape: tuple[int, int], structure: str) -> None:
    rng = np.random.default_rng(3)
    a = (rng.integers(-3, 4, shape) + 16 * np.eye(*shape)).astype(dtype)
    b = a @ np.linalg.pinv(a) @ rng.integers(-3, 4, (shape[0], 2))
    expected = np.linalg.pinv(a) @ b
    by = 2.0 ** np.longdouble(SIZES[size](np.finfo(dtype)) + (3 if size == "subnormal" else 0))
    wide = np.clongdouble if dtype.startswith("complex") else np.longdouble
    a, b = (a.astype(wide) * by).astype(dtype), (b.astype(wide) * by).astype(dtype)
    solved = 0
    for provider in on_host(PROVIDERS):
        with (
            DirectSolver(a, b, {"provider": provider.name}, structure=structure) as solver,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("error")
            try:
                solver.plan()
            except UnavailableError:
                continue
            solved += 1
            solver.factorize()
            np.testing.assert_allclose(solver.solve(), expected, rtol=0, atol=2e-2 * abs(expected).max())
            if structure and shape[0] != shape[1]:
                assert solver.factorization_info.rank() == min(shape)
    assert solved
