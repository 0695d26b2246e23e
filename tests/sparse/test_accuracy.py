"""No wrong answer passes for a right one."""

from __future__ import annotations

import warnings

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st

from planmath.core.accuracy import TOLERANCE
from planmath.core.errors import UnavailableError
from planmath.sparse.advanced import (
    DirectSolver,
    DirectSolverMatrixType,
    InaccurateSolutionError,
    InaccurateSolutionWarning,
    SingularMatrixError,
    direct_solver,
)
from planmath.sparse.advanced.providers import PROVIDERS
from tests.providers import available
from tests.sparse.matrices import DTYPES, FAMILIES, backward_error, csr, laplacian, right_hand_side

#: What a solver may say of a matrix that it cannot solve with.
SAYS_SO = (InaccurateSolutionError, SingularMatrixError)


def nearly_singular(n: int, gap: float, dtype: str) -> sp.csr_array:
    """Tridiagonal, with row sums of `gap`: the vector of ones is nearly in its null space."""
    a = laplacian(n).toarray()
    a[0, 0] = a[-1, -1] = 1
    return csr(a + gap * np.eye(n), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_singular_matrix_is_told(dtype, provider):
    a = nearly_singular(40, 0.0, "float32" if dtype == "float32" else "float64")
    a = csr(a, dtype) if not dtype.startswith("complex") else csr(a * (1 + 0j), dtype)
    b = right_hand_side(a)
    with pytest.raises(SAYS_SO):
        direct_solver(a, b, options={"provider": provider, "on_inaccurate": "raise"})


@pytest.mark.parametrize("gap", [1e-3, 1e-8, 1e-13, 1e-16])
def test_nearly_singular_matrix_is_solved_or_told(gap, provider):
    a = nearly_singular(40, gap, "float64")
    b = right_hand_side(a)
    try:
        x = direct_solver(a, b, options={"provider": provider, "on_inaccurate": "raise"})
    except SAYS_SO:
        assert gap <= 1e-13, "a condition number of 10^9 is no reason to refuse"
        return
    assert backward_error(a, x, b) <= TOLERANCE["float64"]
    exact = np.linalg.solve(a.toarray(), b)
    assert np.linalg.norm(x - exact) <= 0.05 * np.linalg.norm(exact)


def test_singular_system_that_has_solutions(provider):
    """b lies in the range of A: an answer must be one of the solutions."""
    a = nearly_singular(40, 0.0, "float64")
    b = a @ np.linspace(0, 1, 40)
    try:
        x = direct_solver(a, b, options={"provider": provider, "on_inaccurate": "raise"})
    except SAYS_SO:
        return
    assert np.linalg.norm(a @ x - b) <= 1e-8 * np.linalg.norm(b)


def test_row_of_zeros_is_named(provider):
    """Entries that are there and are zero."""
    a = csr(FAMILIES["tridiagonal"]())
    a.data[a.indptr[7] : a.indptr[8]] = 0.0
    b = right_hand_side(a)
    with pytest.raises(SAYS_SO) as caught:
        direct_solver(a, b, options={"provider": provider, "on_inaccurate": "raise"})
    if isinstance(caught.value, SingularMatrixError):
        assert caught.value.row is not None


def test_pardiso_names_the_pivot_that_it_replaced():
    if "pardiso" not in available(PROVIDERS):
        pytest.skip("this machine has no MKL")
    a = csr(FAMILIES["finite_elements"]())
    rows = np.repeat(np.arange(a.shape[0]), np.diff(a.indptr))
    a.data[(rows == 50) | (a.indices == 50)] = 0.0
    options = {"provider": "pardiso", "on_inaccurate": "raise", "sparse_system_type": DirectSolverMatrixType.SYMMETRIC}
    with DirectSolver(a, right_hand_side(a), options=options) as solver:
        solver.plan()
        info = solver.factorize()
        assert info.npivots > 0
        with pytest.raises(InaccurateSolutionError, match="the smallest is that of unknown 50"):
            solver.solve()


def test_superlu_names_the_singular_row():
    a = csr(FAMILIES["random"]())
    a.data[a.indptr[33] : a.indptr[34]] = 0.0
    with pytest.raises(SingularMatrixError, match="row 33") as caught:
        direct_solver(a, right_hand_side(a), options={"provider": "superlu"})
    assert caught.value.row == 33


def test_structurally_singular_pattern(provider):
    """No row or column is empty, but three columns have entries in two rows only."""
    n = 9
    a = sp.lil_array(np.eye(n))
    for row in (0, 1, 2):
        a[row, :] = 0
    for row, column in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 5)):
        a[row, column] = 1.0 + row + 2 * column
    matrix = csr(a)
    with pytest.raises(SAYS_SO):
        direct_solver(matrix, right_hand_side(matrix), options={"provider": provider, "on_inaccurate": "raise"})


@pytest.mark.parametrize("lines", ["row", "column"])
def test_empty_line_is_refused_by_the_plan(lines, provider):
    a = laplacian(6).toarray()
    if lines == "row":
        a[3] = 0
    else:
        a[:, 3] = 0
    with (
        DirectSolver(csr(a), np.ones(6), options={"provider": provider}) as solver,
        pytest.raises(SingularMatrixError, match=f"a has no entry in {lines} 3") as caught,
    ):
        solver.plan()
    assert caught.value.row == 3


def test_what_is_said_is_what_the_options_say(provider):
    a = nearly_singular(40, 1e-17, "float64")
    b = right_hand_side(a)

    def solve(mode):
        with DirectSolver(a, b, options={"provider": provider, "on_inaccurate": mode}) as solver:
            solver.plan()
            solver.factorize()
            solver.solve()
            return solver.solution_info

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            info = solve("ignore")
    except SingularMatrixError:
        pytest.skip("this provider met a pivot that is exactly zero")
    assert not info.accurate
    assert info.forward_error > 0.01
    with pytest.warns(InaccurateSolutionWarning, match="inaccurate after refinement.*condition number") as caught:
        solve("warn")
    assert caught[0].filename == __file__
    with pytest.raises(InaccurateSolutionError, match="try another provider"):
        solve("raise")


def test_estimate_is_near_the_error(provider):
    """Over many right-hand sides: the estimate is unbiased in the mean square."""
    a = csr(FAMILIES["pentadiagonal"](), "float32")
    ratios = []
    with DirectSolver(a, right_hand_side(a), options={"provider": provider}) as solver:
        solver.plan()
        solver.factorize()
        for seed in range(60):
            b = right_hand_side(a, seed=seed)
            solver.reset_operands(b=b)
            x = solver.solve()
            info = solver.solution_info
            assert info.estimated
            ratios.append(info.backward_error / backward_error(a, x, b))
    assert 0.3 < np.sqrt(np.mean(np.square(ratios))) < 3


def test_exact_error_is_the_error(provider):
    a = csr(FAMILIES["pentadiagonal"](), "float32")
    b = right_hand_side(a, 3)
    with DirectSolver(a, b, options={"provider": provider, "backward_error": "exact"}) as solver:
        solver.plan()
        solver.factorize()
        x = solver.solve()
        info = solver.solution_info
    assert not info.estimated
    assert info.backward_error == pytest.approx(backward_error(a, x, b), rel=0.05)


def test_refinement_mends_a_factorization_of_another_matrix(provider, monkeypatch):
    """The factors are off by a little: the estimate sees that, and refinement finds the solution."""
    a = csr(FAMILIES["pentadiagonal"]())
    b = right_hand_side(a)
    with DirectSolver(a, b, options={"provider": provider, "on_inaccurate": "raise"}) as solver:
        solver.plan()
        factors = solver._executor._solver.systems[0].factorization
        right = factors.factorize
        off = a.data * (1 + 1e-5 * np.cos(np.arange(a.nnz)))
        monkeypatch.setattr(factors, "factorize", lambda values, preferences: right(off, preferences))
        solver.factorize()
        x = solver.solve()
        info = solver.solution_info
    assert info.refinement_steps > 0
    assert info.accurate
    assert backward_error(a, x, b) <= TOLERANCE["float64"]


def test_asked_for_refinement_is_made(provider):
    a = csr(FAMILIES["pentadiagonal"](), "float32")
    b = right_hand_side(a)
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        solver.plan()
        solver.factorize()
        solver.solution_config.ir_num_steps = 2
        solver.solve()
        assert not solver.solution_info.estimated
        assert solver.solution_info.refinement_steps in (1, 2)  # none follows one that does not help


def test_values_far_from_those_that_were_analysed(provider):
    """Large entries move from the diagonal to beside it: scaling and matching of the plan do not suit any more."""
    rng = np.random.default_rng(0)
    n = 60
    a = csr(sp.diags_array(np.full(n, 1e8)) + sp.random_array((n, n), density=0.1, rng=rng) + sp.eye_array(n, k=1))
    if provider == "banded":
        a = csr(sp.diags_array([1.0, 1e8, 1.0], offsets=[-1, 0, 1], shape=(n, n)))
    b = right_hand_side(a)
    with DirectSolver(a, b, options={"provider": provider, "on_inaccurate": "raise"}) as solver:
        solver.plan()
        solver.factorize()
        solver.solve()
        diagonal = np.repeat(np.arange(n), np.diff(a.indptr)) == a.indices
        a.data[:] = rng.standard_normal(a.nnz)
        a.data[diagonal] = 1e-12
        solver.factorize()
        x = solver.solve()
        assert solver.solution_info.accurate
    assert backward_error(a, x, b) <= TOLERANCE["float64"]


@st.composite
def any_matrix(draw):
    """Any small matrix with an entry in each row and column; of any rank."""
    n = draw(st.integers(1, 7))
    value = st.sampled_from([0.0, 1.0, -1.0, 2.0, 1e-8, 1e8, 3.0, -0.5, 1e-300, 1e150])
    a = np.array([[draw(value) for _ in range(n)] for _ in range(n)])
    mask = np.array([[draw(st.booleans()) for _ in range(n)] for _ in range(n)]) | np.eye(
        n, k=draw(st.integers(0, 1)), dtype=bool
    )
    b = np.array([draw(st.sampled_from([0.0, 1.0, -2.0, 1e6, 0.25])) for _ in range(n)])
    rows, columns = np.nonzero(mask)
    return csr(sp.csr_array((a[rows, columns] + 0.0, (rows, columns)), shape=(n, n))), b


@pytest.mark.parametrize("name", available(PROVIDERS))
@hypothesis.given(any_matrix())
@hypothesis.settings(max_examples=150)
def test_any_matrix_is_solved_or_told(name, system):
    a, b = system
    try:
        x = direct_solver(a, b, options={"provider": name, "on_inaccurate": "raise"})
    except (*SAYS_SO, UnavailableError):
        return
    assert np.isfinite(x).all()
    assert backward_error(a, x, b) <= 4 * TOLERANCE["float64"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_right_hand_side_whose_sums_are_beyond_the_range(provider, order):
    """Its values are finite, and so is the solution; a column of another size beside it loses nothing."""
    a = csr(laplacian(9) * 2.0**990)
    b = np.asarray(np.stack([np.full(9, 1.2e308), np.full(9, 1e5)], axis=1), order=order)
    with DirectSolver(a, b, options={"provider": provider, "on_inaccurate": "raise"}) as solver:
        solver.plan()
        solver.factorize()
        for _ in range(2):
            x = solver.solve()
            expected = np.linalg.solve(laplacian(9).toarray(), b / 2.0**990)
            np.testing.assert_allclose(x, expected, rtol=1e-12)
        solver.reset_operands(b=np.asarray(np.where(b == b[3], np.inf, b), order=order))
        with pytest.raises(ValueError, match=r"b has a value that is not finite .* in row 0"):
            solver.solve()
