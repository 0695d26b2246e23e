"""What each call does in each state, and that an error leaves the object as it was."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import textwrap
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from planmath.core.errors import InvalidStateError, UnavailableError
from planmath.core.operation import State
from planmath.core.tuning import clocks, measuring
from planmath.fft import FFT, InvalidFFTState
from planmath.fft.providers import PROVIDERS
from tests.arrays import PACKAGES, to_numpy, to_package
from tests.fft.reference import FORWARD, INVERSE, assert_accurate
from tests.providers import on_host

FIRST = np.arange(6) * (1 - 2j)
SECOND = np.exp(1j * FIRST.real)
EVERY_PACKAGE = pytest.mark.parametrize("package", PACKAGES)


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch):
    """What autotuning measures does not matter here."""
    monkeypatch.setattr(clocks, "FLUSH", 1 << 12)
    monkeypatch.setattr(measuring, "SHORTEST", 1e-6)


#: How to bring an object with the operand FIRST into a state.
INTO: dict[str, tuple[State, Callable[[FFT], object]]] = {
    "specified": (State.SPECIFIED, lambda t: None),
    "planned": (State.PLANNED, lambda t: t.plan()),
    "autotuned": (State.PLANNED, lambda t: (t.plan(), t.autotune(iterations=1))),
    "released": (State.RELEASED, lambda t: (t.plan(), t.release_operand())),
    "released before it was planned": (State.RELEASED, lambda t: t.release_operand()),
    "freed": (State.FREED, lambda t: (t.plan(), t.free())),
    "freed before it was planned": (State.FREED, lambda t: t.free()),
}

#: What to call, with SECOND as an array of the operand's package.
CALLS: dict[str, Callable[..., object]] = {
    "plan": lambda t, second: t.plan(),
    "autotune": lambda t, second: t.autotune(iterations=1),
    "execute": lambda t, second: t.execute(),
    "reset_operand": lambda t, second: t.reset_operand(second),
    "reset_operand_unchecked": lambda t, second: t.reset_operand_unchecked(second),
    "release_operand": lambda t, second: t.release_operand(),
    "free": lambda t, second: t.free(),
    "empty_result": lambda t, second: t.empty_result(),
    "report": lambda t, second: t.report(),
}

PLAN_FIRST, RESET_FIRST = "call plan() first", "call reset_operand() with"
CREATE_NEW, NO_PLAN = "create a new FFT", "needs a plan"
S, P, R, F = State.SPECIFIED, State.PLANNED, State.RELEASED, State.FREED

#: For each call the state it leads to, or what its error says; in the order of INTO.
TABLE: dict[str, list[State | str]] = {
    #                           specified   planned autotuned released     not planned  freed       not planned
    "plan":                    [P,          P,      P,        RESET_FIRST, RESET_FIRST, CREATE_NEW, CREATE_NEW],
    "autotune":                [PLAN_FIRST, P,      P,        RESET_FIRST, RESET_FIRST, CREATE_NEW, CREATE_NEW],
    "execute":                 [PLAN_FIRST, P,      P,        RESET_FIRST, RESET_FIRST, CREATE_NEW, CREATE_NEW],
    "reset_operand":           [S,          P,      P,        P,           S,           CREATE_NEW, CREATE_NEW],
    "reset_operand_unchecked": [S,          P,      P,        P,           S,           CREATE_NEW, CREATE_NEW],
    "release_operand":         [R,          R,      R,        R,           R,           CREATE_NEW, CREATE_NEW],
    "free":                    [F,          F,      F,        F,           F,           F,          F],
    "empty_result":            [PLAN_FIRST, P,      P,        RESET_FIRST, RESET_FIRST, CREATE_NEW, CREATE_NEW],
    "report":                  [NO_PLAN,    P,      P,        R,           NO_PLAN,     NO_PLAN,    NO_PLAN],
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "start", "outcome"),
    [(call, start, outcome) for call, row in TABLE.items() for start, outcome in zip(INTO, row, strict=True)],
)
@EVERY_PACKAGE
def test_state_table(package, call, start, outcome):
    state, bring = INTO[start]
    first, second = to_package(FIRST, package), to_package(SECOND, package)
    with FFT(first) as transform:
        bring(transform)
        assert transform.state is state
        if isinstance(outcome, State):
            CALLS[call](transform, second)
            assert transform.state is outcome
        else:
            with pytest.raises(InvalidFFTState) as caught:
                CALLS[call](transform, second)
            assert call in str(caught.value)
            assert outcome in str(caught.value)
            assert transform.state is state
        usable_afterwards(transform, second if call.startswith("reset") else first)


def usable_afterwards(transform: FFT, operand: Any) -> None:
    """Whatever state an object is in, its operand and plan are what they were."""
    if transform.state is State.FREED:
        return
    if transform.state is State.RELEASED:
        transform.reset_operand(operand)
    if transform.state is State.SPECIFIED:
        transform.plan()
    assert_accurate(to_numpy(transform.execute()), "C2C", to_numpy(operand), (0,), FORWARD)


def test_invalid_states_are_runtime_errors():
    assert issubclass(InvalidFFTState, InvalidStateError)
    assert issubclass(InvalidStateError, RuntimeError)


#: What is wrong, with a function that makes arrays of the operand's package.
REJECTED: dict[str, tuple[type[Exception], Callable[..., object]]] = {
    "reset to another shape": (ValueError, lambda t, make: t.reset_operand(make(np.ones(7, complex)))),
    "reset to another dtype": (ValueError, lambda t, make: t.reset_operand(make(np.ones(6, np.complex64)))),
    "reset to other strides": (ValueError, lambda t, make: t.reset_operand(make(np.ones(12, complex))[::2])),
    "reset to what is no array": (TypeError, lambda t, make: t.reset_operand([1, 2])),
    "unchecked reset to another shape": (
        ValueError,
        lambda t, make: t.reset_operand_unchecked(make(np.ones(7, complex))),
    ),
    "plan for a wrong direction": (ValueError, lambda t, make: t.plan(direction="sideways")),
    "plan with what is no callback": (TypeError, lambda t, make: t.plan(prolog=object())),
    "autotune without repetitions": (ValueError, lambda t, make: t.autotune(iterations=0)),
    "autotune that keeps nothing": (ValueError, lambda t, make: t.autotune(prune=0)),
    "execute in a wrong direction": (ValueError, lambda t, make: t.execute(direction="sideways")),
    "execute in what is no direction": (ValueError, lambda t, make: t.execute(direction=[1])),
    "out of another shape": (ValueError, lambda t, make: t.execute(out=make(np.ones(7, complex)))),
    "out that is the operand": (ValueError, lambda t, make: t.execute(out=t._slots["operand"].array)),
    "out that is no array": (TypeError, lambda t, make: t.execute(out=[1])),
}


@pytest.mark.pairwise(times=2)
@EVERY_PACKAGE
@pytest.mark.parametrize("what", REJECTED)
@pytest.mark.parametrize("start", ["specified", "planned", "autotuned", "released"])
def test_what_is_rejected_leaves_the_object_as_it_was(package, what, start):
    error, call = REJECTED[what]
    state, bring = INTO[start]
    first = to_package(FIRST, package)
    with FFT(first) as transform:
        bring(transform)
        before = repr(transform)
        with pytest.raises((error, InvalidFFTState)):
            call(transform, lambda values: to_package(values, package))
        assert transform.state is state
        assert repr(transform) == before
        usable_afterwards(transform, first)


@pytest.mark.parametrize("error", [UnavailableError("not today"), ZeroDivisionError("in the library")])
@pytest.mark.parametrize("call", ["plan", "autotune"])
@EVERY_PACKAGE
def test_failed_planning_keeps_the_old_plan(monkeypatch, package, call, error):
    """The provider fails, in the way it may and in one it may not."""

    def fail(*_: object) -> None:
        raise error

    first = to_package(FIRST, package)
    with FFT(first) as transform:
        transform.plan()
        before = transform.report()
        for provider in transform._providers():
            monkeypatch.setattr(provider, "prepare", fail)
        with pytest.raises(type(error)):
            CALLS[call](transform, None)
        assert transform.report() == before
        usable_afterwards(transform, first)


def test_provider_that_fails_is_passed_over(monkeypatch):
    def fail(*_: object) -> None:
        raise UnavailableError("not today")

    with FFT(FIRST, options={"tuning": False}) as transform:
        first = transform._providers()[0]
        monkeypatch.setattr(first, "unavailable", lambda: None)
        monkeypatch.setattr(first, "prepare", fail)
        transform.plan()
        assert f"passed over {first.name}(threads=1): not today" in transform.report()
        assert f"chosen by the heuristic: {first.name}" not in transform.report()
        usable_afterwards(transform, FIRST)


def test_direction_survives_failed_planning():
    with FFT(FIRST) as transform:
        transform.plan(direction="inverse")
        with pytest.raises(ValueError, match="direction"):
            transform.plan(direction="sideways")
        assert_accurate(transform.execute(), "C2C", FIRST, (0,), INVERSE)


def test_planning_again_for_another_direction():
    with FFT(FIRST) as transform:
        transform.plan(direction="inverse")
        with pytest.raises(ValueError, match="direction is FORWARD, but plan"):
            transform.execute(direction="forward")
        transform.plan()
        assert_accurate(transform.execute(direction="forward"), "C2C", FIRST, (0,), FORWARD)


@EVERY_PACKAGE
def test_changes_to_the_operand_are_seen(package):
    """The object refers to the operand, and does not copy it."""
    operand = to_package(FIRST.copy(), package)
    with FFT(operand) as transform:
        transform.plan()
        transform.execute()
        operand[:] = to_package(SECOND, package)
        assert_accurate(to_numpy(transform.execute()), "C2C", SECOND, (0,), FORWARD)


@pytest.mark.parametrize("end", ["release_operand", "free"])
def test_operands_are_let_go(end):
    class Operand(np.ndarray):
        pass

    operand = FIRST.copy().view(Operand)
    alive = weakref.ref(operand)
    with FFT(operand) as transform:
        transform.plan()
        transform.execute()
        del operand
        assert alive() is not None
        CALLS[end](transform, None)
        assert alive() is None


def test_context_manager_frees_on_error():
    transform = FFT(FIRST)
    with contextlib.suppress(KeyError), transform:
        transform.plan()
        raise KeyError
    assert transform.state is State.FREED


def test_context_manager_refuses_a_freed_object():
    transform = FFT(FIRST)
    transform.free()
    with pytest.raises(InvalidFFTState, match="create a new FFT"), transform:
        pass


def test_object_that_is_dropped_warns_and_gives_its_plan_back():
    class Operand(np.ndarray):
        pass

    operand = FIRST.copy().view(Operand)
    alive = weakref.ref(operand)
    transform = FFT(operand)
    transform.plan()
    del operand
    with pytest.warns(ResourceWarning, match=r"unfreed <FFT C2C complex128 \(6,\).*call free\(\)"):
        del transform
    assert alive() is None


def test_what_outlives_its_modules():
    """Kept by a package that is cleared later than planmath, an operation has nothing left to free itself with."""
    program = """
        import numpy
        from planmath.fft import FFT
        kept = []
        for provider in sys.argv[1:]:
            kept.append(FFT(numpy.ones((6, 8), complex), options={"provider": provider}))
            kept[-1].plan()
            kept[-1].execute()
        numpy.kept = kept
    """
    names = [provider.name for provider in on_host(PROVIDERS) if provider.unavailable() is None]
    command = [sys.executable, "-c", "import sys\n" + textwrap.dedent(program), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("start", [name for name, (state, _) in INTO.items() if state in (S, F)])
def test_no_warning_without_a_plan(start):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transform = FFT(FIRST)
        INTO[start][1](transform)
        del transform
        gc.collect()


def test_object_that_could_not_be_made_leaves_nothing_behind():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError):
            FFT(FIRST, options=3)
        gc.collect()


class Lifecycle(RuleBasedStateMachine):
    """Calls in any order, next to a model that knows the state, the operand and the direction of an object."""

    package: str

    @initialize(inplace=st.booleans())
    def create(self, inplace):
        self.inplace = inplace
        self.operand = self.new_operand(0)
        self.transform = FFT(self.operand, options={"inplace": inplace, "tuning": False})
        self.model = S
        self.planned = False
        self.directions = (FORWARD, INVERSE)

    def new_operand(self, seed):
        parts = np.random.default_rng(seed).standard_normal((2, 6))
        return to_package(parts[0] + 1j * parts[1], self.package)

    def attempt(self, allowed, call):
        """Make a call; whether it went through must be what the model says."""
        if allowed:
            return call()
        with pytest.raises(InvalidFFTState):
            call()
        return None

    @rule(direction=st.sampled_from([None, "forward", "inverse", 1, -1]))
    def plan(self, direction):
        allowed = self.model in (S, P)
        self.attempt(allowed, lambda: self.transform.plan(direction=direction))
        if allowed:
            self.model, self.planned = P, True
            sign = {"forward": FORWARD, "inverse": INVERSE}.get(direction, direction)
            self.directions = (FORWARD, INVERSE) if direction is None else (sign,)

    @rule()
    def autotune(self):
        self.attempt(self.model is P, lambda: self.transform.autotune(iterations=1))

    @rule(direction=st.sampled_from([None, FORWARD, INVERSE]), give_out=st.booleans())
    def execute(self, direction, give_out):
        values = None if self.operand is None else to_numpy(self.operand).copy()
        out = to_package(np.empty(6, complex), self.package) if give_out and not self.inplace else None
        if self.model is P and direction is not None and direction not in self.directions:
            with pytest.raises(ValueError, match="plan again"):
                self.transform.execute(direction, out=out)
            return
        result = self.attempt(self.model is P, lambda: self.transform.execute(direction, out=out))
        if self.model is P:
            assert_accurate(to_numpy(result), "C2C", values, (0,), direction or self.directions[0])
            assert result is (self.operand if self.inplace else out if out is not None else result)
            if not self.inplace:
                np.testing.assert_array_equal(to_numpy(self.operand), values)

    @rule(seed=st.integers(0, 9), unchecked=st.booleans())
    def reset(self, seed, unchecked):
        operand = self.new_operand(seed)
        reset = self.transform.reset_operand_unchecked if unchecked else self.transform.reset_operand
        self.attempt(self.model is not F, lambda: reset(operand))
        if self.model is not F:
            self.operand = operand
            self.model = P if self.planned else S

    @rule(operand=st.sampled_from([FIRST[:5], FIRST[:, None], FIRST.real.copy(), np.repeat(FIRST, 3)[::3], "abc"]))
    def reset_to_what_does_not_fit(self, operand):
        if not isinstance(operand, str):
            operand = to_package(operand, self.package)
        with pytest.raises((ValueError, TypeError, InvalidFFTState)):
            self.transform.reset_operand(operand)

    @rule()
    def release(self):
        self.attempt(self.model is not F, self.transform.release_operand)
        if self.model is not F:
            self.model, self.operand = R, None

    @precondition(lambda self: self.model is not F)
    @rule(sure=st.integers(0, 3))
    def free(self, sure):
        if sure == 3:  # not too often: little can follow
            self.transform.free()
            self.model = F

    @precondition(lambda self: self.model is F)
    @rule()
    def free_again(self):
        self.transform.free()

    @invariant()
    def agrees_with_the_model(self):
        if hasattr(self, "transform"):
            assert self.transform.state is self.model

    def teardown(self):
        if hasattr(self, "transform"):
            self.transform.free()


@pytest.mark.filterwarnings("ignore:overflow encountered")
@EVERY_PACKAGE
def test_any_order_of_calls(package):
    machine = type("Lifecycle", (Lifecycle,), {"package": package})
    hypothesis.stateful.run_state_machine_as_test(machine, settings=hypothesis.settings(stateful_step_count=30))
