"""Plans of dense systems: repeated with other values, tuned, remembered, in place, and told about."""

from __future__ import annotations

import logging
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from planmath.core.errors import AutogradWarning, UnavailableError
from planmath.core.operation import State
from planmath.linalg import (
    DirectSolver,
    InaccurateSolutionError,
    InaccurateSolutionWarning,
    InvalidDirectSolverState,
    SingularMatrixError,
    SymmetricMatrixQualifier,
    direct_solver,
)
from tests.dense.systems import assert_solves

RNG = np.random.default_rng(7)
A, B = RNG.standard_normal((12, 12)) + 6 * np.eye(12), RNG.standard_normal((12, 3))


@pytest.fixture
def solver():
    with DirectSolver(A.copy(), B.copy()) as made:
        made.plan()
        made.factorize()
        yield made


def test_values_in_place(solver):
    a, b = (solver._slots[name].array for name in "ab")
    np.testing.assert_allclose(A @ solver.solve(), B)
    b *= 2
    np.testing.assert_allclose(A @ solver.solve(), 2 * B)
    a *= 2
    solver.factorize()
    np.testing.assert_allclose(A @ solver.solve(), B)


def test_out_and_memory_that_moves(solver):
    out = solver.empty_result()
    assert solver.solve(out=out) is out
    np.testing.assert_allclose(A @ out, B)
    with pytest.raises(ValueError, match="may share memory"):
        solver.solve(out=solver._slots["b"].array)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_in_place(order, batch):
    a, b = (np.array(np.broadcast_to(x, (*batch, *x.shape)), order=order) for x in (A, B))
    with DirectSolver(a, b, {"inplace_a": True, "inplace_b": True}) as solver:
        solver.plan()
        solver.factorize()
        assert not np.allclose(a, A), "the factors"
        assert solver.solve() is b
        np.testing.assert_allclose(A @ b, np.broadcast_to(B, b.shape))
        b[...] = 3 * B
        solver.solve(trans="T")
        np.testing.assert_allclose(A.T @ b, np.broadcast_to(3 * B, b.shape))
        a[...] = np.eye(12)
        b[...] = B
        solver.factorize()
        np.testing.assert_array_equal(solver.solve(), np.broadcast_to(B, b.shape))
        b[..., 2, 1] = np.nan
        before = b.copy()
        with pytest.raises(ValueError, match="not finite"):
            solver.solve()
        np.testing.assert_array_equal(b, before)


def test_in_place_between_other_elements():
    """What a refinement needs of a right-hand side that is replaced is read where it was kept, whatever its strides."""
    a = np.asfortranarray(np.tril(-np.ones((40, 40)), -1) + np.eye(40))
    a[:, -1] = 1
    wide = np.random.default_rng(3).standard_normal((80, 3))
    b = wide[::-2, 1]
    before, others = b.copy(), wide[:, [0, 2]].copy()
    with DirectSolver(a, b, {"inplace_b": True}) as solver:
        solver.plan()
        solver.factorize()
        assert solver.solve() is b
        assert solver.solution_info.refinement_steps > 0
        assert_solves(a, b, before, "float64")
        np.testing.assert_array_equal(wide[:, [0, 2]], others)
        with pytest.raises(UnavailableError, match="inplace_b replaces operands each time"):
            solver.autotune()


def test_tensors_in_place():
    torch = pytest.importorskip("torch")
    a, b = torch.from_numpy(A.copy()), torch.from_numpy(B.copy())
    for name in ("inplace_a", "inplace_b"):
        given = [x.clone().requires_grad_(letter == name[-1]) for letter, x in (("a", a), ("b", b))]
        with DirectSolver(*given, {name: True}) as solver, warnings.catch_warnings():
            warnings.simplefilter("ignore", AutogradWarning)
            solver.plan()
            with pytest.raises(ValueError, match=f"{name[-1]} requires grad and would be written"):
                direct_solver(*given, options={name: True})
    version = b._version
    direct_solver(a, b, options={"inplace_b": True})
    assert b._version > version
    np.testing.assert_allclose(A @ b.numpy(), B)


def test_inaccurate_solutions_are_told():
    """A matrix that is singular but for rounding has no zero pivot, and solutions without a correct digit."""
    a = np.random.default_rng(1).standard_normal((30, 30))
    a[:, 0] = a[:, 1:].sum(axis=1)
    b = np.random.default_rng(2).standard_normal(30)
    with pytest.warns(InaccurateSolutionWarning, match="condition number of the matrix at least") as told:
        direct_solver(a, b)
    assert told[0].filename == __file__
    with pytest.raises(InaccurateSolutionError, match="x: its backward error"):
        direct_solver(a, b, options={"on_inaccurate": "raise"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        direct_solver(a, b, options={"on_inaccurate": "ignore"})
    batch = np.array([np.eye(30), a])
    with pytest.warns(InaccurateSolutionWarning, match=r"x\[1\]: its"):
        direct_solver(batch, np.array([b, b])[..., None])


def test_factors_of_another_matrix_are_noticed(solver):
    """The projection of the residual finds what no status tells: factors that were damaged."""
    solver._executor.memory[solver._executor.prepared.parts[0].regions["factors"].offset + 8 * 17 : ][:8] = 77
    with pytest.warns(InaccurateSolutionWarning):
        solver.solve()
    assert not solver.solution_info.accurate


def test_weak_pivots_are_refined():
    """Wilkinson's matrix, whose elements grow by 2**(n - 1) with exchanges of rows: refinement brings digits back."""
    rng = np.random.default_rng(3)
    a = np.asfortranarray(np.tril(-np.ones((40, 40)), -1) + np.eye(40))
    a[:, -1] = 1
    b = rng.standard_normal(40)
    with DirectSolver(a, b, {"on_inaccurate": "ignore"}) as solver:
        solver.plan()
        solver.factorize()
        x = solver.solve()
        info = solver.solution_info
        assert info.refinement_steps > 0
        assert info.accurate
        assert_solves(a, x, b, "float64")


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e200])
def test_numbers_whose_squares_are_out_of_range(scale):
    np.testing.assert_allclose(A @ direct_solver(A, scale * B, options={"on_inaccurate": "raise"}) / scale, B)
    a = np.full((3, 3), 1.0) + np.eye(3)
    x = direct_solver(scale * a, np.ones(3), options={"on_inaccurate": "raise"})
    np.testing.assert_allclose(a @ (scale * x), np.ones(3))


def test_nothing_to_solve_for_is_zero(solver):
    solver.reset_operands(b=np.zeros((12, 3)))
    np.testing.assert_array_equal(solver.solve(), np.zeros((12, 3)))
    assert solver.solution_info.backward_error == 0


def test_matrices_that_are_not_definite_are_factorized_as_symmetric_ones():
    symmetric = A + A.T
    definite = A @ A.T
    with DirectSolver(definite, B, structure="positive definite") as solver:
        solver.plan()
        solver.factorize()
        assert "not positive definite" not in solver.report()
        solver.reset_operands(a=symmetric - 20 * np.eye(12))
        for _ in range(2):
            solver.factorize()
            np.testing.assert_allclose((symmetric - 20 * np.eye(12)) @ solver.solve(), B)
        assert "factorized as symmetric: not positive definite after all" in solver.report()
        solver.plan()
        solver.factorize()
        solver.reset_operands(a=definite)
        solver.plan()
        solver.factorize()
        assert "not positive definite" not in solver.report()


def test_each_factorization_finds_out_what_a_matrix_is():
    with DirectSolver(A, B, structure="auto") as solver:
        solver.plan()
        for a, found in (
            (A, None), (A + A.T - 20 * np.eye(12), "symmetric"), (A @ A.T, "positive definite"), (np.triu(A), "upper"),
            (np.diag(np.diag(A)), "diagonal"), (np.triu(np.tril(A, 1), -1), "tridiagonal"), (A, None),
        ):  # fmt: skip
            solver.reset_operands(a=np.ascontiguousarray(a))
            solver.factorize()
            np.testing.assert_allclose(a @ solver.solve(), B, rtol=1e-6, atol=1e-9)
            assert found in solver.report() if found else "factorized as" not in solver.report()


def test_autotune_measures_and_remembers(tuning_record):
    with DirectSolver(A, B) as solver:
        solver.plan()
        solver.factorize()
        solver.autotune(iterations=2)
        assert solver.state is State.PLANNED
        solver.factorize()
        np.testing.assert_allclose(A @ solver.solve(), B)
        chosen = solver._plan_made.chosen
    with DirectSolver(A, B) as solver:
        solver.plan()
        assert (solver._plan_made.origin, solver._plan_made.chosen) == ("the tuning record", chosen)


def test_stateless_calls_tell_their_arguments_apart(nothing_remembered):
    symmetric = A + A.T
    for _ in range(2):
        np.testing.assert_allclose(A @ direct_solver(A, B), B)
        np.testing.assert_allclose(A @ direct_solver(A, B[:, 0]), B[:, 0])
        np.testing.assert_allclose(symmetric @ direct_solver(symmetric, B, structure="auto"), B)
        with pytest.raises(SingularMatrixError):
            direct_solver(np.zeros((12, 12)), B)


def test_it_says_what_it_is(solver, caplog):
    assert "general float64 12 unknowns on cpu, factorized" in repr(solver)
    assert "chosen by" in solver.report()
    logger = logging.getLogger("dense")
    caplog.set_level(logging.INFO, "dense")
    with DirectSolver(A, B, {"logger": logger}) as told:
        told.plan()
        told.factorize()
        np.testing.assert_allclose(A @ told.solve(), B)
    for name in ("SPECIFICATION", "PLANNING", "FACTORIZATION", "SOLUTION", "RESOURCE RELEASE"):
        assert f"DirectSolver {name}" in caplog.text


def test_tensors_that_require_grad():
    torch = pytest.importorskip("torch")
    a, b = torch.from_numpy(A).requires_grad_(), torch.from_numpy(B)
    with pytest.warns(AutogradWarning, match="a requires grad"):
        x = direct_solver(a, b)
    np.testing.assert_allclose(A @ x.numpy(), B)


class Lifecycle(RuleBasedStateMachine):
    """Any order of calls: each does what the state table allows, and solutions are those of the present operands."""

    @initialize(k=st.sampled_from([None, 2]), batch=st.sampled_from([(), (3,)]), explicit=st.booleans())
    def create(self, k, batch, explicit):
        self.rng = np.random.default_rng(5)
        self.explicit = explicit and bool(batch)
        self.shapes = (*batch, 6, 6), (*batch, 6, k or 1) if batch or k else (6,)
        self.a, self.b = self.fresh(0), self.fresh(1)
        self.solver = DirectSolver(self.given(self.a), self.given(self.b))
        self.factors, self.state = None, State.SPECIFIED

    def fresh(self, which):
        x = self.rng.standard_normal(self.shapes[which])
        return x + 6 * np.eye(6) if which == 0 else x

    def given(self, x):
        return list(x) if self.explicit else x

    def refused(self, call, *states):
        if self.state in states:
            with pytest.raises(InvalidDirectSolverState):
                call()
            assert self.solver.state is self.state
            return True
        return False

    @rule()
    def plan(self):
        if not self.refused(self.solver.plan, State.RELEASED, State.FREED):
            self.solver.plan()
            self.state = State.PLANNED

    @rule()
    def factorize(self):
        if not self.refused(self.solver.factorize, State.SPECIFIED, State.RELEASED, State.FREED):
            self.solver.factorize()
            self.factors, self.state = self.a.copy(), State.FACTORIZED

    @rule(trans=st.sampled_from("NTC"), out=st.booleans())
    def solve(self, trans, out):
        others = State.SPECIFIED, State.PLANNED, State.RELEASED, State.FREED
        if not self.refused(self.solver.solve, *others):
            x = self.solver.solve(trans=trans, out=self.solver.empty_result() if out else None)
            a = self.factors if trans == "N" else np.swapaxes(self.factors, -1, -2)
            np.testing.assert_allclose(a @ np.array(x), self.b, atol=1e-9)

    @rule(a=st.booleans(), b=st.booleans(), unchecked=st.booleans())
    def reset(self, a, b, unchecked):
        reset = self.solver.reset_operands_unchecked if unchecked else self.solver.reset_operands
        new = {name: self.fresh(i) for i, name in enumerate("ab") if (a, b)[i]}
        call = lambda: reset(**{name: self.given(x) for name, x in new.items()})  # noqa: E731
        if self.refused(call, State.FREED):
            return
        if not new or (self.state is State.RELEASED and len(new) < 2):
            with pytest.raises(ValueError, match="operand"):
                call()
            return
        call()
        self.a, self.b = new.get("a", self.a), new.get("b", self.b)
        planned = self.solver._plan_made is not None
        if self.state is State.RELEASED:
            self.state = State.PLANNED if planned else State.SPECIFIED
        elif a and planned:
            self.state = State.PLANNED

    @rule()
    def release(self):
        if not self.refused(self.solver.release_operands, State.FREED):
            self.solver.release_operands()
            self.state = State.RELEASED

    @rule()
    def free(self):
        self.solver.free()
        self.state = State.FREED

    def teardown(self):
        if hasattr(self, "solver"):
            assert self.solver.state is self.state
            self.solver.free()


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=40, stateful_step_count=20)


def test_all_solutions_of_a_batch_are_new_where_one_is_looked_at():
    """The first one is in doubt; those behind it are solved and judged as well, and not left as they were."""
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((3, 40, 40)), rng.standard_normal((3, 40, 2))
    a += a.swapaxes(1, 2)
    a[0] = 1 / (1 + np.add.outer(np.arange(40), np.arange(40)))  # with a condition number beyond 1 / the rounding unit
    symmetric, ignore = SymmetricMatrixQualifier.create(), {"on_inaccurate": "ignore", "provider": "lapack"}
    with DirectSolver(a, b, qualifiers=symmetric, options=ignore) as solver:
        solver.plan()
        solver.factorize()
        out = solver.empty_result()
        out[...] = np.nan
        solver.solve(out=out)
        infos = solver.solution_info.systems
    np.testing.assert_allclose(out[1:], np.linalg.solve(a[1:], b[1:]), rtol=1e-9)
    assert infos[0].growth > 1e12
    assert all(info.accurate and info.backward_error > 0 for info in infos[1:])
