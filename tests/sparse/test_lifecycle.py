"""What each call does in each state, and that an error leaves the object as it was."""

from __future__ import annotations

import gc
import logging
import warnings
import weakref
from collections.abc import Callable

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from planmath.core import remembered
from planmath.core.errors import InvalidStateError, UnavailableError
from planmath.core.operation import State
from planmath.core.tuning import clocks, measuring
from planmath.sparse.advanced import DirectSolver, InvalidDirectSolverState, direct_solver
from tests.arrays import to_numpy
from tests.arrays import to_package as array_to_package
from tests.sparse.matrices import csr, laplacian, right_hand_side, to_package

A = laplacian(4, 4)
B = right_hand_side(A)


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch):
    """What autotuning measures does not matter here."""
    monkeypatch.setattr(clocks, "FLUSH", 1 << 12)
    monkeypatch.setattr(measuring, "SHORTEST", 1e-6)


def ready(s):
    s.plan()
    s.factorize()


#: How to bring an object into a state.
INTO: dict[str, tuple[State, Callable[[DirectSolver], object]]] = {
    "specified": (State.SPECIFIED, lambda s: None),
    "planned": (State.PLANNED, lambda s: s.plan()),
    "factorized": (State.FACTORIZED, ready),
    "another matrix": (State.PLANNED, lambda s: (ready(s), s.reset_operands(a=csr(2 * A)))),
    "another right-hand side": (State.FACTORIZED, lambda s: (ready(s), s.reset_operands(b=B + 0))),
    "autotuned": (State.PLANNED, lambda s: (ready(s), s.autotune(iterations=1))),
    "released": (State.RELEASED, lambda s: (ready(s), s.release_operands())),
    "freed": (State.FREED, lambda s: (ready(s), s.free())),
}

CALLS: dict[str, Callable[[DirectSolver], object]] = {
    "plan": lambda s: s.plan(),
    "factorize": lambda s: s.factorize(),
    "solve": lambda s: s.solve(),
    "autotune": lambda s: s.autotune(iterations=1),
    "reset_operands": lambda s: s.reset_operands(a=A, b=B),
    "reset_operands_unchecked": lambda s: s.reset_operands_unchecked(a=A, b=B),
    "release_operands": lambda s: s.release_operands(),
    "free": lambda s: s.free(),
    "empty_result": lambda s: s.empty_result(),
    "report": lambda s: s.report(),
    "plan_info": lambda s: s.plan_info,
    "factorization_info": lambda s: s.factorization_info,
}

PLAN, FACTORIZE, RESET = "call plan() first", "call factorize() first", "call reset_operands() with"
NEW, NO_PLAN = "create a new DirectSolver", "needs a plan"
S, P, X, R, F = State.SPECIFIED, State.PLANNED, State.FACTORIZED, State.RELEASED, State.FREED

#: For each call the state it leads to, or what its error says; in the order of INTO.
TABLE: dict[str, list[State | str]] = {
    #                           specified  planned    factorized matrix     side  autotuned  released  freed
    "plan":                    [P,         P,         P,         P,         P,    P,         RESET,    NEW],
    "factorize":               [PLAN,      X,         X,         X,         X,    X,         RESET,    NEW],
    "solve":                   [PLAN,      FACTORIZE, X,         FACTORIZE, X,    FACTORIZE, RESET,    NEW],
    "autotune":                [PLAN,      P,         P,         P,         P,    P,         RESET,    NEW],
    "reset_operands":          [S,         P,         P,         P,         P,    P,         P,        NEW],
    "reset_operands_unchecked": [S,        P,         P,         P,         P,    P,         P,        NEW],
    "release_operands":        [R,         R,         R,         R,         R,    R,         R,        NEW],
    "free":                    [F,         F,         F,         F,         F,    F,         F,        F],
    "empty_result":            [PLAN,      P,         X,         P,         X,    P,         RESET,    NEW],
    "report":                  [NO_PLAN,   P,         X,         P,         X,    P,         R,        NO_PLAN],
    "plan_info":               [NO_PLAN,   P,         X,         P,         X,    P,         R,        NO_PLAN],
    "factorization_info":      [PLAN,      FACTORIZE, X,         FACTORIZE, X,    FACTORIZE, RESET,    NEW],
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "start", "outcome"),
    [(call, start, outcome) for call, row in TABLE.items() for start, outcome in zip(INTO, row, strict=True)],
)
def test_state_table(call, start, outcome):
    state, bring = INTO[start]
    with DirectSolver(A, B) as solver:
        bring(solver)
        assert solver.state is state
        if isinstance(outcome, State):
            CALLS[call](solver)
            assert solver.state is outcome
        else:
            with pytest.raises(InvalidDirectSolverState) as caught:
                CALLS[call](solver)
            assert outcome in str(caught.value)
            assert solver.state is state
        usable_afterwards(solver)


def usable_afterwards(solver: DirectSolver) -> None:
    """Whatever state an object is in, it can go on from there."""
    if solver.state is State.FREED:
        return
    if solver.state is State.RELEASED:
        solver.reset_operands(a=A, b=B)
    if solver.state is State.SPECIFIED:
        solver.plan()
    if solver.state is State.PLANNED:
        solver.factorize()
    x = solver.solve()
    a = solver._a
    np.testing.assert_allclose(a @ x, solver._slots["b"].array, rtol=1e-12, atol=1e-14)


def test_invalid_states_are_runtime_errors():
    assert issubclass(InvalidDirectSolverState, InvalidStateError)
    assert issubclass(InvalidStateError, RuntimeError)


REJECTED = {
    "b of another length": (ValueError, lambda s: s.reset_operands(b=np.ones(7))),
    "b of another dtype": (ValueError, lambda s: s.reset_operands(b=np.ones(16, np.float32))),
    "b that is no array": (TypeError, lambda s: s.reset_operands(b=[1.0] * 16)),
    "a of another size": (ValueError, lambda s: s.reset_operands(a=laplacian(3, 3))),
    "a in another format": (TypeError, lambda s: s.reset_operands(a=A.tocsc())),
    "a good b with a bad a": (ValueError, lambda s: s.reset_operands(a=laplacian(15), b=2 * B)),
    "another pattern with a bad b": (ValueError, lambda s: s.reset_operands(a=laplacian(16), b=np.ones(7))),
    "another pattern of another dtype": (ValueError, lambda s: s.reset_operands(a=csr(laplacian(16), "float32"))),
    "a good a with a bad b": (ValueError, lambda s: s.reset_operands(a=csr(2 * A), b=np.ones(7))),
    "nothing": (ValueError, lambda s: s.reset_operands()),
    "out of another shape": (ValueError, lambda s: s.solve(out=np.ones(7))),
    "out that is b": (ValueError, lambda s: s.solve(out=B)),
    "out that is no array": (TypeError, lambda s: s.solve(out="abc")),
    "a preference that does not exist": (ValueError, lambda s: setattr(s.plan_config, "reordering_algorithm", 77)),
    "autotune without repetitions": (ValueError, lambda s: s.autotune(iterations=0)),
}


@pytest.mark.parametrize("what", REJECTED)
@pytest.mark.parametrize("start", ["planned", "factorized"])
def test_what_is_rejected_leaves_the_object_as_it_was(what, start):
    error, call = REJECTED[what]
    state, bring = INTO[start]
    with DirectSolver(A, B) as solver:
        bring(solver)
        with pytest.raises((error, InvalidDirectSolverState)):
            call(solver)
        assert solver.state is state
        assert solver._a is A
        usable_afterwards(solver)


@pytest.mark.parametrize("error", [UnavailableError("not today"), ZeroDivisionError("in the library")])
@pytest.mark.parametrize("call", ["plan", "autotune"])
def test_failed_planning_keeps_the_old_plan(monkeypatch, call, error):
    def fail(*_: object) -> None:
        raise error

    with DirectSolver(A, B) as solver:
        ready(solver)
        before = solver.report()
        for provider in solver._providers():
            monkeypatch.setattr(provider, "prepare", fail)
        with pytest.raises(type(error)):
            CALLS[call](solver)
        assert solver.report() == before
        assert solver.state is State.FACTORIZED
        usable_afterwards(solver)


# The loop that people write.


def test_values_changed_in_place(provider):
    a = laplacian(20)
    b = right_hand_side(a)
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        solver.plan()
        for step in range(4):
            a.data *= 1.5
            b[:] = np.cos(np.arange(20) + step)
            solver.factorize()
            np.testing.assert_allclose(a @ solver.solve(), b, rtol=1e-10, atol=1e-12)


def test_values_replaced_by_their_owner(provider):
    """SciPy's matrices are made of attributes that a program may assign to."""
    a = laplacian(20)
    b = right_hand_side(a)
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        ready(solver)
        a.data = a.data * 3
        solver.factorize()
        np.testing.assert_allclose(a @ solver.solve(), b, rtol=1e-10, atol=1e-12)


def change_indices(a):
    a.indices[1] += 1


def set_an_element(a):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a[0, 7] = 1e-3


@pytest.mark.parametrize("change", [change_indices, set_an_element])
def test_changed_pattern_is_detected(change, provider):
    a, b = laplacian(20), np.ones(20)
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        ready(solver)
        change(a)
        with pytest.raises(ValueError, match=r"another sparsity pattern.*call plan\(\) again"):
            solver.factorize()
        solver.plan()
        solver.factorize()
        np.testing.assert_allclose(a @ solver.solve(), b, rtol=1e-9)


def wider(a, step):
    """The matrix with entries on two more diagonals, as Newton's method makes them of terms that were zero."""
    return csr(a + sp.diags_array([0.01, 0.02], offsets=[step + 1, -step - 1], shape=a.shape))


@pytest.mark.parametrize("reset", ["reset_operands", "reset_operands_unchecked"])
def test_another_pattern_ends_the_plan(reset, provider, package):
    """As in Newton's method, whose matrices have more entries from the second step on."""
    a, b = laplacian(20), np.arange(1.0, 21)
    given = [to_package(a, package), array_to_package(b, package)]
    with DirectSolver(*given, options={"provider": provider}) as solver:
        ready(solver)
        old = solver.plan_info
        for step in range(1, 3):
            operands = {"a": to_package(a := wider(a, step), package)}
            if step == 1:  # and later the matrix alone
                operands["b"] = array_to_package(b := b + step, package)
            getattr(solver, reset)(**operands)
            assert solver.state is State.SPECIFIED
            for call in (solver.factorize, solver.solve, solver.autotune):
                with pytest.raises(InvalidDirectSolverState, match=r"which has another .* call plan\(\) first"):
                    call()
            with pytest.raises(InvalidDirectSolverState, match="plan that is gone"):
                old.row_permutation  # noqa: B018
            for _ in range(2):  # of one pattern as often as wanted
                if solver.state is State.SPECIFIED:
                    solver.plan()
                solver.factorize()
                np.testing.assert_allclose(a @ to_numpy(solver.solve()), b, rtol=1e-10)
                a = csr(a * 2)
                solver.reset_operands(a=to_package(a, package))
                assert solver.state is State.PLANNED


def test_another_pattern_before_planning_and_after_a_release():
    a, b = laplacian(16), 2 * B
    with DirectSolver(A, B) as solver:
        solver.reset_operands(a=a)
        with pytest.raises(InvalidDirectSolverState, match=r"factorize\(\) needs a plan; call plan\(\) first"):
            solver.factorize()
        ready(solver)
        np.testing.assert_allclose(a @ solver.solve(), B, rtol=1e-12)
        solver.release_operands()
        with pytest.raises(ValueError, match="needs all operands: b missing"):
            solver.reset_operands(a=A)
        assert solver.state is State.RELEASED
        solver.reset_operands(a=A, b=b)
        assert solver.state is State.SPECIFIED
        ready(solver)
        np.testing.assert_allclose(A @ solver.solve(), b, rtol=1e-12)


def test_one_pattern_of_a_batch_changes(provider):
    a, b = [laplacian(16), laplacian(9)], [B, np.ones(9)]
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        ready(solver)
        a = [a[0], wider(a[1], 2)]
        solver.reset_operands(a=a)
        with pytest.raises(InvalidDirectSolverState, match=r"call plan\(\) first"):
            solver.factorize()
        ready(solver)
        for matrix, side, x in zip(a, b, solver.solve(), strict=True):
            np.testing.assert_allclose(matrix @ x, side, rtol=1e-12)


def test_failed_factorization_forbids_solving():
    a = laplacian(20)
    with DirectSolver(a, np.ones(20)) as solver:
        ready(solver)
        a.data[3] = np.nan
        with pytest.raises(ValueError, match=r"not finite .* in row 1"):
            solver.factorize()
        with pytest.raises(InvalidDirectSolverState, match="factorize"):
            solver.solve()
        a.data[3] = 2.0
        solver.factorize()
        solver.solve()


@pytest.mark.parametrize("end", ["release_operands", "free"])
def test_operands_are_let_go(end, provider):
    class Operand(np.ndarray):
        pass

    b = B.copy().view(Operand)
    a = A.copy()
    alive = weakref.ref(b), weakref.ref(a), weakref.ref(a.data)
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        ready(solver)
        solver.solve()
        del a, b
        assert all(reference() is not None for reference in alive)
        CALLS[end](solver)
        gc.collect()
        assert all(reference() is None for reference in alive)


def test_object_that_is_dropped_warns():
    solver = DirectSolver(A, B)
    solver.plan()
    with pytest.warns(ResourceWarning, match="unfreed <DirectSolver general float64 16 unknowns"):
        del solver


def test_phases_are_logged(caplog):
    with caplog.at_level(logging.INFO, logger="planmath"), DirectSolver(A, B) as solver:
        ready(solver)
        x = solver.solve()
        solver.reset_operands(b=2 * B)
        np.testing.assert_allclose(solver.solve(), 2 * x, rtol=1e-12)
    for title in ("SPECIFICATION", "PLANNING", "FACTORIZATION", "SOLUTION", "RESOURCE RELEASE"):
        assert f"= DirectSolver {title} =" in caplog.text


def test_tuning_record_is_used(tuning_record):
    with DirectSolver(A, B) as solver:
        solver.plan()
        solver.autotune(iterations=1)
        best = str(solver._plan_made.chosen)
    with DirectSolver(A, B) as solver:
        solver.plan()
        assert f"chosen by the tuning record: {best}" in solver.report()
    with DirectSolver(csr(A + sp.eye_array(16, k=7) * 0.1), B) as solver:  # another pattern of the same size
        solver.plan()
        assert "the tuning record" not in solver.report()


def test_stateless_calls_remember(nothing_remembered):
    first = direct_solver(A, B)
    assert len(remembered._idle) == 1
    np.testing.assert_array_equal(direct_solver(A, B), first)
    assert len(remembered._idle) == 1
    other = csr(laplacian(16))
    np.testing.assert_allclose(other @ direct_solver(other, B), B, rtol=1e-9)
    assert len(remembered._idle) == 2
    np.testing.assert_allclose(2 * direct_solver(csr(2 * A), B), first, rtol=1e-12)
    assert len(remembered._idle) == 2


class Lifecycle(RuleBasedStateMachine):
    """Calls in any order, next to a model that knows the state and the operands."""

    @initialize()
    def create(self):
        self.a, self.b = A.copy(), B.copy()
        self.solver = DirectSolver(self.a, self.b, options={"tuning": False})
        self.model, self.planned = S, False

    def attempt(self, allowed, call):
        if allowed:
            return call()
        with pytest.raises(InvalidDirectSolverState):
            call()
        return None

    @rule()
    def plan(self):
        self.attempt(self.model not in (R, F), self.solver.plan)
        if self.model not in (R, F):
            self.model, self.planned = P, True

    @rule()
    def factorize(self):
        allowed = self.model in (P, X)
        self.attempt(allowed, self.solver.factorize)
        if allowed:
            self.model, self.factorized = X, self.a.copy()

    @rule(out=st.booleans())
    def solve(self, out):
        target = np.empty(16) if out else None
        x = self.attempt(self.model is X, lambda: self.solver.solve(out=target))
        if self.model is X:
            np.testing.assert_allclose(self.factorized @ x, self.b, rtol=1e-10, atol=1e-12)

    @rule(seed=st.integers(0, 9), matrix=st.booleans(), side=st.booleans(), other=st.booleans())
    def reset(self, seed, matrix, side, other):
        arguments = {}
        if matrix:
            arguments["a"] = csr((laplacian(16) if other else A) * (1.0 + seed))
        if side:
            arguments["b"] = right_hand_side(A, seed=seed)
        if self.model is F:
            self.attempt(False, lambda: self.solver.reset_operands(**arguments))
            return
        if not arguments or (self.model is R and not (matrix and side)):
            with pytest.raises(ValueError, match="got"):
                self.solver.reset_operands(**arguments)
            return
        self.solver.reset_operands(**arguments)
        if matrix and arguments["a"].nnz != self.a.nnz:
            self.planned = False
        self.a, self.b = arguments.get("a", self.a), arguments.get("b", self.b)
        if self.model is R or matrix:
            self.model = P if self.planned else S

    @rule()
    def change_in_place(self):
        if self.model is not R:
            self.a.data *= 1.25

    @rule()
    def release(self):
        self.attempt(self.model is not F, self.solver.release_operands)
        if self.model is not F:
            self.model = R

    @rule(sure=st.integers(0, 5))
    def free(self, sure):
        if sure == 5:
            self.solver.free()
            self.model = F

    @invariant()
    def agrees_with_the_model(self):
        if hasattr(self, "solver"):
            assert self.solver.state is self.model

    def teardown(self):
        if hasattr(self, "solver"):
            self.solver.free()


def test_any_order_of_calls():
    hypothesis.stateful.run_state_machine_as_test(
        Lifecycle, settings=hypothesis.settings(stateful_step_count=25, max_examples=80)
    )
