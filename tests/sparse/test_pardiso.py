"""PARDISO: what a matrix is factorized as by its values, and when that changes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.core.accuracy import TOLERANCE
from planmath.sparse.advanced import (
    DirectSolver,
    DirectSolverMatrixType,
    DirectSolverMatrixViewType,
    InaccurateSolutionError,
)
from planmath.sparse.advanced import kernels as compiled
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.providers import PROVIDERS
from tests.providers import available
from tests.sparse.matrices import DTYPES, backward_error, csr, kkt, laplacian, right_hand_side
from tests.sparse.test_types import with_phases

T, V = DirectSolverMatrixType, DirectSolverMatrixViewType
needs_mkl = pytest.mark.skipif("pardiso" not in available(PROVIDERS), reason="this machine has no MKL")


def solver_for(a, b, kind=T.GENERAL):
    options = {"provider": "pardiso", "on_inaccurate": "raise", "sparse_system_type": kind, "tuning": False}
    return DirectSolver(a, b, options=options)


def used(solver) -> T:
    return solver._executor._solver.systems[0].factorization.used


def check(solver, a, b) -> None:
    solver.factorize()
    assert backward_error(a, solver.solve(), b) <= TOLERANCE[str(a.dtype)]


def hermitian(a: np.ndarray, dtype: str = "complex128") -> np.ndarray:
    """A matrix with the eigenvalues of a real symmetric one, and Hermitian to the last bit."""
    phased = with_phases(a, dtype)
    return np.triu(phased, 1) + np.triu(phased, 1).conj().T + np.diag(a.diagonal()).astype(dtype)


def complex_symmetric() -> np.ndarray:
    return kkt().toarray() * np.exp(1j * (np.arange(84)[:, None] + np.arange(84)))


def cyclic(n: int) -> np.ndarray:
    """Well-conditioned, symmetric with zeros on the diagonal: exchanges of rows are needed."""
    rng = np.random.default_rng(0)
    a = np.diag(rng.uniform(1, 2, n - 1), 1)
    a[0, n - 1] = 0.3
    return a + a.T


MATRICES = {
    "definite": (laplacian(8, 7).toarray(), T.SPD),
    "definite, complex": (hermitian(laplacian(8, 7).toarray()), T.HPD),
    "positive diagonal, indefinite": (laplacian(8, 7).toarray() - 2.9 * np.eye(56), T.SYMMETRIC),
    "the same, complex": (hermitian(laplacian(8, 7).toarray() - 2.9 * np.eye(56)), T.GENERAL),
    "negative": (-laplacian(8, 7).toarray(), T.SYMMETRIC),
    "saddle point": (kkt().toarray(), T.SYMMETRIC),
    "saddle point, Hermitian": (hermitian(kkt().toarray()), T.GENERAL),
    "saddle point, complex symmetric": (complex_symmetric(), T.SYMMETRIC),
    "values not symmetric": (laplacian(8, 7).toarray() + np.diag(np.full(55, 0.25), 1), T.GENERAL),
    "pattern not symmetric": (laplacian(8, 7).toarray() + np.eye(56, k=20), T.GENERAL),
}


@needs_mkl
@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("name", MATRICES)
def test_a_general_matrix_is_factorized_as_what_it_is(name, index):
    whole, expected = MATRICES[name]
    a = csr(whole, index=index)
    b = right_hand_side(a, 3)
    with solver_for(a, b) as solver:
        solver.plan()
        check(solver, a, b)
        assert used(solver) == expected


@needs_mkl
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_lose_what_they_were_planned_with(dtype):
    """Definite, indefinite and not symmetric on one pattern, in place: each step is solved, none by the wrong half."""
    definite = hermitian(laplacian(6, 7).toarray(), dtype)
    a = csr(definite)
    b = right_hand_side(a)
    rng = np.random.default_rng(0)
    diagonal = np.repeat(np.arange(42), np.diff(a.indptr)) == a.indices
    with solver_for(a, b) as solver:
        solver.plan()
        check(solver, a, b)
        assert used(solver) in (T.SPD, T.HPD)
        a.data[diagonal] -= np.asarray(2.9, dtype)
        check(solver, a, b)
        assert used(solver) not in (T.SPD, T.HPD)
        a.data *= rng.uniform(0.5, 1.5, a.nnz).astype(a.data.real.dtype)
        check(solver, a, b)
        assert used(solver) == T.GENERAL
        a.data[:] = csr(definite).data
        check(solver, a, b)
        assert used(solver) == T.GENERAL, "what was given up once is not tried again before the next plan"
        solver.plan()
        check(solver, a, b)
        assert used(solver) in (T.SPD, T.HPD)


@needs_mkl
@pytest.mark.parametrize("kind", [T.GENERAL, T.SYMMETRIC])
def test_replaced_pivots_lead_to_the_general_type(kind):
    a = csr(cyclic(31))
    b = right_hand_side(a)
    with solver_for(a, b, kind) as solver:
        solver.plan()
        info = solver.factorize()
        assert backward_error(a, solver.solve(), b) <= TOLERANCE["float64"]
        assert info.npivots == 0
        if kind == T.SYMMETRIC:
            eigenvalues = np.linalg.eigvalsh(a.toarray())
            assert info.inertia.tolist() == [(eigenvalues > 0).sum(), (eigenvalues < 0).sum()]


@needs_mkl
def test_pivot_eps_is_that_of_the_declared_type():
    a = csr(laplacian(6, 6))
    with solver_for(a, right_hand_side(a), T.SYMMETRIC) as solver:
        solver.plan()
        solver.factorization_config.pivot_eps = 1e-6
        solver.factorize()
        assert used(solver) == T.SYMMETRIC


@needs_mkl
@pytest.mark.parametrize("view", list(V))
@pytest.mark.parametrize("seed", range(8))
def test_hermitian_matrices(seed, view):
    """Random ones, well-conditioned and indefinite: solved rightly, with their inertia."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 150))
    part = sp.random_array((n, n), density=3 / n, rng=rng, data_sampler=rng.standard_normal).toarray()
    half = np.triu(part * np.exp(1j * rng.uniform(0, 6, (n, n))), 1) + np.diag(
        rng.uniform(1, 2, n) * (-1) ** np.arange(n)
    )
    whole = half + np.triu(half, 1).conj().T
    a = csr(whole if view == V.FULL else half if view == V.UPPER else half.conj().T)
    b = right_hand_side(a)
    options = {"provider": "pardiso", "sparse_system_type": T.HERMITIAN, "sparse_system_view": view}
    with DirectSolver(a, b, options=options) as solver:
        solver.plan()
        info = solver.factorize()
        eigenvalues = np.linalg.eigvalsh(whole)
        assert info.inertia.tolist() == [(eigenvalues > 0).sum(), (eigenvalues < 0).sum()]
        assert backward_error(csr(whole), solver.solve(), b) <= TOLERANCE["complex128"]


@needs_mkl
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_diagonal_of_the_factors(index):
    """The determinant of a definite matrix is the product of its pivots; a singular one's smallest pivot is named."""
    a = csr(laplacian(5, 6), index=index)
    with solver_for(a, right_hand_side(a)) as solver:
        solver.plan()
        info = solver.factorize()
        assert np.log(info.diag).sum() == pytest.approx(np.linalg.slogdet(a.toarray())[1])
        assert info.lu_nnz % 2 == a.shape[0] % 2, "two triangles that share the diagonal"
        a.data[(np.repeat(np.arange(30), np.diff(a.indptr)) == 17) | (a.indices == 17)] = 0.0
        assert solver.factorize().npivots > 0
        with pytest.raises(InaccurateSolutionError, match="unknown 17"):
            solver.solve()


def entries(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a small matrix has entries, and a matrix of small integers, so that equal ones are frequent."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n, n)) < 0.5
    mask |= np.roll(np.eye(n, dtype=bool), seed % 2, 0)
    a = rng.integers(-1, 2, (n, n)) + 1j * rng.integers(-1, 2, (n, n)) * (seed % 3)
    if seed % 4:
        mask |= mask.T
    if seed % 4 == 2:
        a = np.triu(a) + np.triu(a, 1).T
    if seed % 4 == 3:
        a = np.triu(a, 1) + np.triu(a, 1).conj().T + np.diag(a.diagonal().real + 2 * (seed % 5 > 0))
    return mask, a


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_symmetries(dtype, index):
    found = set()
    for seed in range(400):
        mask, a = entries(1 + seed % 6, seed)
        a = np.where(mask, a if dtype.startswith("complex") else a.real, 0).astype(dtype)
        rows, columns = np.nonzero(mask)
        starts = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
        pattern = Pattern(starts.astype(index), columns.astype(index), T.GENERAL, V.FULL, "a", "numpy")
        same_places = np.array_equal(mask, mask.T)
        symmetric = same_places and np.array_equal(a, a.T)
        self_adjoint = same_places and np.array_equal(a, a.conj().T)
        expected = 0
        if symmetric or self_adjoint:
            positive = bool((mask.diagonal() & (a.diagonal().real > 0) & (a.diagonal().imag == 0)).all())
            holds = {
                compiled.SYMMETRIC: symmetric,
                compiled.HERMITIAN: self_adjoint,
                compiled.POSITIVE_DIAGONAL: positive,
            }
            expected = sum(part for part, found_so in holds.items() if found_so)
        assert pattern.symmetries(a[rows, columns]) == expected
        found.add(expected)
    assert len(found) >= (6 if dtype.startswith("complex") else 3)


@pytest.mark.parametrize("kind", [T.SYMMETRIC, T.HERMITIAN])
@pytest.mark.parametrize("view", list(V))
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_upper_triangle_of_a_pattern(kind, view, index):
    for seed in range(60):
        mask, _ = entries(1 + seed % 6, 4 * seed + 2)
        rows, columns = np.nonzero(mask)
        starts = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
        pattern = Pattern(starts.astype(index), columns.astype(index), kind, view, "a", "numpy")
        values = np.arange(1.0, len(rows) + 1) + 1j
        whole = np.zeros(mask.shape, complex)
        whole[rows, columns] = values
        expected = np.triu(whole)
        if view == V.LOWER:
            expected = np.tril(whole).T if kind == T.SYMMETRIC else np.tril(whole).conj().T
        upper = pattern.upper
        source = np.arange(1, pattern.nnz + 1) if upper.source is None else upper.source
        taken = np.where(source == 0, 0, values[abs(source) - 1])
        taken = np.where(source < 0, taken.conj(), taken)
        found = sp.csr_array((taken, upper.columns, upper.starts), shape=mask.shape)
        assert upper.columns.dtype == index
        assert found.has_canonical_format
        assert (upper.columns[upper.starts[:-1]] == np.arange(len(mask))).all(), "a whole diagonal"
        np.testing.assert_array_equal(found.toarray(), expected)
