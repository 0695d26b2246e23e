"""What the solver tells of its phases, and what can be set for them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.sparse.advanced import (
    DirectSolver,
    DirectSolverMatchingAlg,
    DirectSolverReorderingAlg,
    InvalidDirectSolverState,
    memory_estimates_dtype,
)
from tests.sparse.matrices import FAMILIES, backward_error, csr, laplacian, right_hand_side


def told(get):
    """What the provider tells, or None; of the ways to say that it does not, one is right."""
    said = refusal(get)
    assert said is None or "does not tell" in said
    return get() if said is None else None


def refusal(call):
    """What the error said that the call raised, or None."""
    try:
        call()
    except UnavailableError as error:
        return str(error)
    return None


@pytest.fixture
def solver(provider):
    a = csr(FAMILIES["pentadiagonal"]())
    with DirectSolver(a, right_hand_side(a), options={"provider": provider}) as solver:
        solver.plan()
        solver.factorize()
        yield solver


def test_permutations_are_permutations(solver):
    for info in (solver.plan_info, solver.factorization_info):
        for name in ("row_permutation", "col_permutation"):
            order = told(lambda info=info, name=name: getattr(info, name))
            if order is not None:
                assert sorted(order) == list(range(31))
                assert order.dtype == np.int32


def test_order_keeps_the_factors_sparse():
    """The permutation is the one that it says, not its inverse: SuperLU, given it, has as few nonzeros."""
    from scipy.sparse.linalg import splu

    a = laplacian(30, 30)
    with DirectSolver(a, np.ones(900), options={"tuning": False}) as solver:
        order = told(lambda: solver.plan().row_permutation)
        if order is None:
            pytest.skip("this machine's provider does not tell the permutation of the plan")
        nonzeros = solver.factorize().lu_nnz
    natural = {"permc_spec": "NATURAL", "diag_pivot_thresh": 0.0}
    assert splu(a[order][:, order].tocsc(), **natural).nnz < 1.2 * nonzeros
    inverse = np.argsort(order)
    assert splu(a[inverse][:, inverse].tocsc(), **natural).nnz > 1.2 * nonzeros


def test_determinant_is_the_product_of_the_pivots(solver):
    diagonal = told(lambda: solver.factorization_info.diag)
    if diagonal is None or "pardiso" in repr(solver):  # PARDISO scales
        pytest.skip("not the pivots of the matrix itself")
    determinant = np.linalg.det(csr(FAMILIES["pentadiagonal"]()).toarray())
    assert abs(np.prod(diagonal)) == pytest.approx(abs(determinant), rel=1e-9)


def test_counts(solver):
    info = solver.factorization_info
    assert info.npivots == 0
    assert info.info == 0
    assert info.lu_nnz >= 31


def test_memory_estimates(provider):
    with DirectSolver(laplacian(90, 10), np.ones(900), options={"provider": provider}) as solver:
        estimates = told(lambda: solver.plan().memory_estimates)
        assert (estimates is None) == (provider == "superlu")
        if estimates is None:
            return
        assert estimates.dtype == memory_estimates_dtype
        assert estimates["peak_host_memory"] >= estimates["permanent_host_memory"] > 900 * 8
        assert estimates["peak_device_memory"] == estimates.peak_device_memory == 0
        assert estimates.peak_host_memory == estimates["peak_host_memory"]


def test_what_nobody_tells(solver):
    for get in (
        lambda: solver.plan_info.num_superpanels,
        lambda: solver.plan_info.matching_col_permutation,
        lambda: solver.factorization_info.row_scale_factors,
        lambda: solver.factorization_info.col_scale_factors,
    ):
        with pytest.raises(UnavailableError, match="does not tell"):
            get()


def test_info_of_a_phase_that_was_undone(solver):
    plan, factorization = solver.plan_info, solver.factorization_info
    solver.reset_operands(a=csr(FAMILIES["pentadiagonal"]()))
    with pytest.raises(InvalidDirectSolverState, match="factorize"):
        _ = factorization.npivots
    solver.free()
    with pytest.raises(InvalidDirectSolverState, match="plan"):
        _ = plan.row_permutation


def test_solution_info_needs_a_solution(solver):
    with pytest.raises(InvalidDirectSolverState, match="solve"):
        _ = solver.solution_info
    solver.solve()
    assert solver.solution_info.accurate


def test_configuration_is_kept_and_checked(solver):
    config = solver.plan_config
    assert config.reordering_algorithm is None
    config.host_nthreads = 1
    assert solver.plan_config.host_nthreads == 1
    with pytest.raises(ValueError, match=r"plan_config\.host_nthreads is -1"):
        config.host_nthreads = -1
    assert config.host_nthreads == 1
    solver.factorization_config.pivot_eps = 1e-10
    solver.solution_config.ir_num_steps = 1
    solver.plan()
    solver.factorize()
    solver.solve()
    assert "ir_num_steps=1" in repr(solver.solution_config)


@pytest.mark.parametrize("reordering", list(DirectSolverReorderingAlg))
def test_every_reordering_is_done_or_a_hint(reordering, provider):
    a = csr(FAMILIES["pentadiagonal"]())
    b = right_hand_side(a)
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        solver.plan_config.reordering_algorithm = reordering
        info = solver.plan()
        followed = solver._plan_made.problem.preferences.reordering_algorithm == reordering
        assert followed != (f"plan_config.reordering_algorithm={reordering.name} is without effect" in solver.report())
        solver.factorize()
        assert backward_error(a, solver.solve(), b) <= 1e-14
        if reordering == DirectSolverReorderingAlg.NONE and provider == "pardiso":
            assert info.row_permutation.tolist() == list(range(31))


@pytest.mark.parametrize("matching", list(DirectSolverMatchingAlg))
def test_every_matching_is_done_or_a_hint(matching, provider):
    a = csr(FAMILIES["pentadiagonal"]())
    b = right_hand_side(a)
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        solver.plan_config.matching_algorithm = matching
        solver.plan()
        followed = solver._plan_made.problem.preferences.matching_algorithm == matching
        assert followed != (f"plan_config.matching_algorithm={matching.name} is without effect" in solver.report())
        solver.factorize()
        assert backward_error(a, solver.solve(), b) <= 1e-14


def test_hints_that_nobody_follows(caplog):
    a, b = laplacian(40, 40), np.ones(1600)
    with caplog.at_level("INFO"), DirectSolver(a, b) as solver:
        solver.plan_config.matching_algorithm = DirectSolverMatchingAlg.MAX_DIAG_SUM
        solver.plan_config.nd_min_levels = 3
        solver.plan_config.reordering_algorithm = DirectSolverReorderingAlg.NONE
        solver.factorization_config.factorization_algorithm = 1
        solver.solution_config.solution_algorithm = 1
        solver.plan()
        solver.factorize()
        assert backward_error(a, solver.solve(), b) <= 1e-14
        report = solver.report()
        chosen = solver._plan_made.problem.preferences
    assert chosen.matching_algorithm is None
    assert chosen.reordering_algorithm == DirectSolverReorderingAlg.NONE
    assert re.search(r"matching_algorithm=MAX_DIAG_SUM is without effect: .*pardiso: .*banded: .*superlu: ", report)
    for name in ("plan_config.nd_min_levels=3", "matching_algorithm", "factorization_algorithm", "solution_algorithm"):
        assert re.search(f"{name}.* is without effect: ", report)
        assert re.search(f"Hint: .*{name}.* is without effect: ", caplog.text)
    assert "reordering_algorithm=NONE" not in report


def test_a_limit_of_nonzeros_is_no_hint():
    with DirectSolver(laplacian(40, 40), np.ones(1600)) as solver:
        solver.plan_config.matching_algorithm = DirectSolverMatchingAlg.MAX_DIAG_SUM
        solver.plan_config.max_nnz = 100
        with pytest.raises(UnavailableError, match="max_nnz"):
            solver.plan()


def test_numbers_of_superlu():
    a = laplacian(8, 8)
    with DirectSolver(a, np.ones(64), options={"provider": "superlu"}) as solver:
        solver.plan_config.pivot_threshold = 0.1
        solver.plan()
        info = solver.factorize()
        assert np.prod(info.diag) == pytest.approx(np.linalg.det(a.toarray()), rel=1e-9)
        assert info.lu_nnz > a.nnz
