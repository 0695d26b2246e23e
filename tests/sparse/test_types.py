"""Matrix types and views: what is known of a matrix is used, and what is ignored is ignored."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.core.accuracy import TOLERANCE
from planmath.core.errors import UnavailableError
from planmath.core.operation import State
from planmath.sparse.advanced import (
    DirectSolver,
    DirectSolverMatrixType,
    DirectSolverMatrixViewType,
    SingularMatrixError,
)
from tests.arrays import to_numpy
from tests.arrays import to_package as array_to_package
from tests.sparse.matrices import (
    DTYPES,
    backward_error,
    csr,
    finite_elements,
    kkt,
    laplacian,
    right_hand_side,
    to_package,
)

T, V = DirectSolverMatrixType, DirectSolverMatrixViewType


def definite(dtype: str, bands: bool) -> np.ndarray:
    a = (laplacian(30) if bands else finite_elements()).toarray()
    return with_phases(a, dtype)


def with_phases(a: np.ndarray, dtype: str) -> np.ndarray:
    """A real symmetric matrix, or a Hermitian one with the same eigenvalues."""
    if not dtype.startswith("complex"):
        return a.astype(dtype)
    phases = np.exp(1j * np.arange(len(a)))
    return (phases[:, None] * a * phases.conj()).astype(dtype)


def indefinite(dtype: str, bands: bool) -> np.ndarray:
    return laplacian(30).toarray() - 1.3 * np.eye(30) if bands else kkt().toarray()


def matrix_of(kind: T, dtype: str, bands: bool) -> np.ndarray:
    if kind in (T.SPD, T.HPD):
        return definite(dtype, bands)
    a = indefinite(dtype, bands)
    if kind == T.HERMITIAN:
        return with_phases(a, dtype)
    if dtype.startswith("complex"):  # symmetric, not Hermitian
        a = a * np.exp(1j * (np.arange(len(a))[:, None] + np.arange(len(a))))
    return a.astype(dtype)


def shown(a: np.ndarray, view: V, junk: bool) -> sp.csr_array:
    """The matrix as the view says; with junk in the triangle that does not count."""
    if view == V.FULL:
        return csr(a)
    part = np.tril(a) if view == V.LOWER else np.triu(a)
    if junk:
        part = part + (np.triu(np.full_like(a, 7), 1) if view == V.LOWER else np.tril(np.full_like(a, 7), -1))
    return csr(part)


CASES = [
    (kind, dtype)
    for kind in (T.SYMMETRIC, T.HERMITIAN, T.SPD, T.HPD)
    for dtype in DTYPES
    if not (kind in (T.HERMITIAN, T.HPD) and dtype.startswith("float"))
    and not (kind == T.SPD and dtype.startswith("complex"))
]


@pytest.mark.parametrize("junk", [False, True])
@pytest.mark.parametrize("view", list(V))
@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_type_and_view(kind, dtype, view, junk, provider, package):
    if provider == "blocks" and kind in (T.SPD, T.HPD):
        pytest.skip("it does not find out whether a matrix is positive definite")
    whole = matrix_of(kind, dtype, bands=provider == "banded")
    if junk and (provider == "banded" or view == V.FULL):
        pytest.skip("junk would be outside the band, or there is no place for it")
    a = shown(whole, view, junk)
    b = right_hand_side(csr(whole), 2)
    options = {"sparse_system_type": kind, "sparse_system_view": view, "provider": provider, "on_inaccurate": "raise"}
    with DirectSolver(to_package(a, package), array_to_package(b, package), options=options) as solver:
        solver.plan()
        solver.factorize()
        x = to_numpy(solver.solve())
        solver.solution_config.ir_num_steps = 1
        refined = to_numpy(solver.solve())
        assert solver.solution_info.refinement_steps <= 1
    assert backward_error(csr(whole), x, b) <= 2 * TOLERANCE[dtype]
    assert backward_error(csr(whole), refined, b) <= 2 * TOLERANCE[dtype]


def test_inertia_counts_eigenvalues(provider):
    whole = kkt().toarray()
    with DirectSolver(csr(whole), np.ones(len(whole)), options={"sparse_system_type": T.SYMMETRIC}) as solver:
        solver.plan()
        info = solver.factorize()
        eigenvalues = np.linalg.eigvalsh(whole)
        try:
            assert info.inertia.tolist() == [int((eigenvalues > 0).sum()), int((eigenvalues < 0).sum())]
        except UnavailableError:
            pytest.skip("this machine's providers do not tell the inertia")


@pytest.mark.parametrize("bands", [1, 2, 6])
@pytest.mark.parametrize(("kind", "dtype"), [case for case in CASES if case[0] in (T.SPD, T.HPD)])
def test_matrix_that_is_not_definite(kind, dtype, bands, provider):
    """Every provider says so, of an eigenvalue below zero and of a singular matrix, and where it is in a batch."""
    if provider == "blocks":
        pytest.skip("it refuses matrices that are said to be definite")
    whole = {1: laplacian(30), 2: csr(laplacian(30) @ laplacian(30)), 6: laplacian(6, 6)}[bands].toarray()
    n = len(whole)
    good = csr(with_phases(whole, dtype))
    below = whole.copy()
    below[n // 2, n // 2] *= 0.2
    singular = whole.copy()
    singular[n // 2] = singular[:, n // 2] = 0
    b = np.ones(n, dtype)
    options = {"sparse_system_type": kind, "provider": provider, "on_inaccurate": "raise"}
    for view in V if bands == 1 else (V.FULL,):
        for a in (below, singular):
            matrix = shown(with_phases(a, dtype), view, False) if a is below else good.copy()
            if a is singular:
                matrix.data[:] = with_phases(a, dtype)[good.nonzero()]
            options["sparse_system_view"] = view if a is below else V.FULL
            with DirectSolver(matrix, b, options=options) as solver:
                solver.plan()
                with pytest.raises(SingularMatrixError, match=r"not positive.*SYMMETRIC or HERMITIAN") as caught:
                    solver.factorize()
                assert caught.value.row is None or caught.value.row < n
                solver.reset_operands(a=good)
                if solver.state is State.SPECIFIED:
                    solver.plan()
                solver.factorize()
                assert backward_error(good, solver.solve(), b) <= TOLERANCE[dtype]
    options["sparse_system_view"] = V.FULL
    with DirectSolver([good, csr(with_phases(below, dtype)), good], [b] * 3, options=options) as solver:
        solver.plan()
        with pytest.raises(SingularMatrixError, match=r"a\[1\] is singular: .*not positive"):
            solver.factorize()


@pytest.mark.parametrize("exact", [True, False])
def test_values_that_are_not_symmetric_do_not_pass(provider, exact):
    """The pattern is symmetric and the values are not, so a solver that reads one triangle solves another system."""
    a = laplacian(30) if provider == "banded" else laplacian(6, 6)
    a = a.copy()
    a[0, 1] = 5.0
    b = np.ones(a.shape[0])
    options = {"sparse_system_type": T.SYMMETRIC, "provider": provider, "on_inaccurate": "ignore"}
    options["backward_error"] = "exact" if exact else "estimate"
    with DirectSolver(csr(a), b, options=options) as solver:
        solver.plan()
        solver.factorize()
        x = solver.solve()
        assert solver.solution_info.accurate == (backward_error(csr(a), x, b) <= TOLERANCE["float64"])
