"""What each call does in each state, and that an error leaves the object as it was."""

from __future__ import annotations

import gc
import io
import json
import logging
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from planmath.core.errors import UnavailableError
from planmath.core.operation import State
from planmath.core.tuning import clocks, measuring
from planmath.linalg.advanced import (
    Algorithm,
    InvalidMatmulState,
    Matmul,
    MatmulEpilog,
    MatmulPlanPreferences,
    MatmulReductionScheme,
    matmul,
)
from planmath.linalg.advanced.providers import PROVIDERS, blas_interface
from tests.linalg.operands import ON_DEVICE, column_major, place
from tests.providers import available

E = MatmulEpilog
rng = np.random.default_rng(0)
A, B, C, BIAS = (rng.integers(-9, 10, shape).astype(float) for shape in ((5, 4), (4, 3), (5, 3), (5,)))
A2, B2, C2, BIAS2 = (rng.integers(-9, 10, array.shape).astype(float) for array in (A, B, C, BIAS))


@pytest.fixture(autouse=True)
def _short_measurements(monkeypatch):
    """What autotuning measures does not matter here."""
    monkeypatch.setattr(clocks, "FLUSH", 1 << 12)
    monkeypatch.setattr(measuring, "SHORTEST", 1e-6)


def created(**options: Any) -> Matmul:
    """2 A B + 3 C, then a bias and ReLU, with operands of its own."""
    return Matmul(A.copy(), B.copy(), C.copy(), alpha=2.0, beta=3.0, options=options)


def plan(mm: Matmul) -> Matmul:
    mm.plan(epilog=E.RELU_BIAS, epilog_inputs={"bias": BIAS.copy()})
    return mm


def expected(
    a: np.ndarray = A, b: np.ndarray = B, c: np.ndarray = C, bias: np.ndarray = BIAS, alpha: float = 2, beta: float = 3
) -> np.ndarray:
    return np.maximum(alpha * (a @ b) + beta * c + bias[:, None], 0)


SECOND = {"a": A2, "b": B2, "c": C2, "epilog_inputs": {"bias": BIAS2}}

#: How to bring an object into a state.
INTO: dict[str, tuple[State, Callable[[Matmul], object]]] = {
    "specified": (State.SPECIFIED, lambda m: None),
    "planned": (State.PLANNED, plan),
    "autotuned": (State.PLANNED, lambda m: plan(m).autotune(iterations=1)),
    "released": (State.RELEASED, lambda m: plan(m).release_operands()),
    "released before it was planned": (State.RELEASED, lambda m: m.release_operands()),
    "freed": (State.FREED, lambda m: plan(m).free()),
    "freed before it was planned": (State.FREED, lambda m: m.free()),
}


def second_of(mm: Matmul) -> dict[str, Any]:
    """New operands, without the epilog's before there is one."""
    return SECOND if mm._plan_made else {name: SECOND[name] for name in "abc"}


CALLS: dict[str, Callable[[Matmul], object]] = {
    "plan": plan,
    "autotune": lambda m: m.autotune(iterations=1),
    "execute": lambda m: m.execute(),
    "reset_operands": lambda m: m.reset_operands(**second_of(m)),
    "reset_operands_unchecked": lambda m: m.reset_operands_unchecked(**second_of(m)),
    "release_operands": lambda m: m.release_operands(),
    "free": lambda m: m.free(),
    "empty_result": lambda m: m.empty_result(),
    "algorithms": lambda m: m.algorithms,
    "applicable_algorithm_ids": lambda m: m.applicable_algorithm_ids(),
    "report": lambda m: m.report(),
}

PLAN_FIRST, RESET_FIRST, CREATE_NEW, NO_PLAN = (
    "call plan() first",
    "call reset_operands() with",
    "create a new Matmul",
    "plan()",
)
S, P, R, F = State.SPECIFIED, State.PLANNED, State.RELEASED, State.FREED

#: For each call the state it leads to, or what its error says; in the order of INTO.
TABLE: dict[str, list[State | str]] = {
    #                            specified   planned autotuned released     not planned  freed       not planned
    "plan":                     [P,          P,      P,        RESET_FIRST, RESET_FIRST, CREATE_NEW, CREATE_NEW],
    "autotune":                 [PLAN_FIRST, P,      P,        RESET_FIRST, RESET_FIRST, CREATE_NEW, CREATE_NEW],
    "execute":                  [PLAN_FIRST, P,      P,        RESET_FIRST, RESET_FIRST, CREATE_NEW, CREATE_NEW],
    "reset_operands":           [S,          P,      P,        P,           S,           CREATE_NEW, CREATE_NEW],
    "reset_operands_unchecked": [S,          P,      P,        P,           S,           CREATE_NEW, CREATE_NEW],
    "release_operands":         [R,          R,      R,        R,           R,           CREATE_NEW, CREATE_NEW],
    "free":                     [F,          F,      F,        F,           F,           F,          F],
    "empty_result":             [PLAN_FIRST, P,      P,        RESET_FIRST, RESET_FIRST, CREATE_NEW, CREATE_NEW],
    "algorithms":               [NO_PLAN,    P,      P,        R,           NO_PLAN,     NO_PLAN,    NO_PLAN],
    "applicable_algorithm_ids": [NO_PLAN,    P,      P,        R,           NO_PLAN,     NO_PLAN,    NO_PLAN],
    "report":                   ["a plan",   P,      P,        R,           "a plan",    "a plan",   "a plan"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "start", "outcome"),
    [(call, start, outcome) for call, row in TABLE.items() for start, outcome in zip(INTO, row, strict=True)],
)
def test_state_table(call, start, outcome):
    state, bring = INTO[start]
    with created() as mm:
        bring(mm)
        assert mm.state is state
        before = repr(mm)
        if isinstance(outcome, State):
            was_planned = mm._plan_made is not None
            CALLS[call](mm)
            assert mm.state is outcome
            if call.startswith("reset"):
                usable_afterwards(mm, expected(A2, B2, C2, BIAS2 if was_planned else BIAS))
                return
        else:
            with pytest.raises(InvalidMatmulState) as caught:
                CALLS[call](mm)
            assert outcome in str(caught.value)
            if call not in ("algorithms", "applicable_algorithm_ids"):
                assert f"{call}()" in str(caught.value)
            assert mm.state is state
            assert repr(mm) == before
        usable_afterwards(mm)


def usable_afterwards(mm: Matmul, result: np.ndarray | None = None) -> None:
    """Whatever state an object is in, its operands, factors and plan are what they were."""
    if mm.state is State.FREED:
        return
    if mm.state is State.RELEASED:
        mm.reset_operands(a=A, b=B, c=C, epilog_inputs={"bias": BIAS} if mm._plan_made else None)
    if mm.state is State.SPECIFIED:
        plan(mm)
    np.testing.assert_array_equal(mm.execute(), expected() if result is None else result)


REJECTED: dict[str, tuple[type[Exception], Callable[[Matmul], object]]] = {
    "reset to another shape": (ValueError, lambda m: m.reset_operands(a=A2, b=B2[:2])),
    "reset to another dtype": (ValueError, lambda m: m.reset_operands(a=A2, b=B2.astype("f4"))),
    "reset to other strides": (ValueError, lambda m: m.reset_operands(b=B2, c=np.asfortranarray(C2))),
    "reset to what is no array": (TypeError, lambda m: m.reset_operands(a=A2, b=B2.tolist())),
    "reset to nothing": (ValueError, lambda m: m.reset_operands()),
    "reset of an unknown input": (ValueError, lambda m: m.reset_operands(a=A2, epilog_inputs={"aux": BIAS})),
    "reset of an operand as an input": (ValueError, lambda m: m.reset_operands(epilog_inputs={"a": A2})),
    "reset of inputs that are no dict": (TypeError, lambda m: m.reset_operands(a=A2, epilog_inputs=[BIAS])),
    "reset of an input of another shape": (
        ValueError,
        lambda m: m.reset_operands(a=A2, epilog_inputs={"bias": BIAS[:4]}),
    ),
    "reset to a wrong alpha": (ValueError, lambda m: m.reset_operands(a=A2, alpha="2")),
    "reset to a complex beta": (ValueError, lambda m: m.reset_operands(alpha=7, beta=1j)),
    "reset to a wrong operand, with factors": (ValueError, lambda m: m.reset_operands(a=A2[:2], alpha=7, beta=8)),
    "reset with scales": (ValueError, lambda m: m.reset_operands(a=A2, quantization_scales={"a": 2.0})),
    "unchecked reset to another shape": (ValueError, lambda m: m.reset_operands_unchecked(a=A2, b=B2[:2])),
    "plan of an unknown epilog": (ValueError, lambda m: m.plan(epilog=3)),
    "plan without the epilog's input": (ValueError, lambda m: m.plan(epilog=E.BIAS)),
    "plan with a wrong input": (ValueError, lambda m: m.plan(epilog=E.BIAS, epilog_inputs={"bias": BIAS[:4]})),
    "plan with an input too many": (ValueError, lambda m: m.plan(epilog=E.RELU, epilog_inputs={"bias": BIAS})),
    "plan with a mask and a row-major c": (ValueError, lambda m: m.plan(epilog=E.RELU_AUX)),
    "plan with unknown preferences": (TypeError, lambda m: m.plan(preferences={"limits": 1})),
    "plan with what is no algorithm": (TypeError, lambda m: m.plan(algorithms=["mkl"])),
    "plan with a foreign algorithm": (ValueError, lambda m: m.plan(algorithms=foreign_algorithm())),
    "autotune without repetitions": (ValueError, lambda m: m.autotune(iterations=0)),
    "autotune that keeps nothing": (ValueError, lambda m: m.autotune(prune=0)),
    "execute what is no algorithm": (TypeError, lambda m: m.execute(algorithm="mkl")),
    "execute what cannot be hashed": (TypeError, lambda m: m.execute(algorithm=[])),
    "execute a foreign algorithm": (ValueError, lambda m: m.execute(algorithm=foreign_algorithm())),
    "out of another shape": (ValueError, lambda m: m.execute(out=np.ones((5, 4)))),
    "out that is an operand": (ValueError, lambda m: m.execute(out=m._slots["c"].array)),
    "out that is no array": (TypeError, lambda m: m.execute(out=[1])),
    "ids of no algorithms": (ValueError, lambda m: m.applicable_algorithm_ids(0)),
}


def foreign_algorithm() -> Algorithm:
    with Matmul(np.ones((2, 3, 3)), np.ones((2, 3, 3)), options={"provider": "blas"}) as mm:
        (algorithm,) = mm.plan()
    array = algorithm.as_numpy()
    array["knobs"] = json.dumps([["threads", 1], ["batch", "library"]])
    return Algorithm.from_numpy(array)


@pytest.mark.parametrize("what", REJECTED)
@pytest.mark.parametrize("start", ["specified", "planned", "autotuned", "released"])
def test_what_is_rejected_leaves_the_object_as_it_was(what, start):
    error, call = REJECTED[what]
    state, bring = INTO[start]
    with created() as mm:
        bring(mm)
        before = repr(mm)
        try:
            with pytest.raises((error, InvalidMatmulState, *([ValueError] if start == "released" else []))):
                call(mm)
        except AttributeError:
            assert start == "released"  # there is no c that could be out
            assert what == "out that is an operand"
        assert mm.state is state
        assert repr(mm) == before
        usable_afterwards(mm)


@pytest.mark.parametrize("error", [UnavailableError("not today"), ZeroDivisionError("in the library")])
@pytest.mark.parametrize("call", ["plan", "plan for another epilog", "autotune"])
def test_failed_planning_keeps_the_old_plan(monkeypatch, call, error):
    """The provider fails, in the way it may and in one it may not."""

    def fail(*_: object) -> None:
        raise error

    with created() as mm:
        plan(mm)
        before = mm.report()
        for provider in PROVIDERS:
            monkeypatch.setattr(provider, "prepare", fail)
        with pytest.raises(type(error)):
            {"plan for another epilog": lambda m: m.plan(epilog=E.GELU)}.get(call, CALLS.get(call))(mm)
        assert mm.report() == before
        usable_afterwards(mm)


def test_provider_that_fails_is_passed_over(monkeypatch):
    def fail(*_: object) -> None:
        raise UnavailableError("not today")

    with Matmul(A, B, options={"tuning": False}) as mm:
        (first, *others) = mm.plan()
        if all(algorithm.provider == first.provider for algorithm in others):
            pytest.skip(f"{first.provider} is the only provider of this product here")
        monkeypatch.setattr(next(p for p in PROVIDERS if p.name == first.provider), "prepare", fail)
        chosen, *_ = mm.plan()
        assert f"passed over {first.provider}(threads=1): not today" in mm.report()
        assert chosen.provider != first.provider
        np.testing.assert_array_equal(mm.execute(), A @ B)


def test_operands_one_by_one():
    """What is not named stays."""
    with created() as mm:
        plan(mm)
        np.testing.assert_array_equal(mm.execute(), expected())
        mm.reset_operands(b=B2)
        np.testing.assert_array_equal(mm.execute(), expected(b=B2))
        mm.reset_operands(a=A2)
        np.testing.assert_array_equal(mm.execute(), expected(A2, B2))
        mm.reset_operands(epilog_inputs={"bias": BIAS2})
        np.testing.assert_array_equal(mm.execute(), expected(A2, B2, bias=BIAS2))
        mm.reset_operands(c=C2, epilog_inputs={"bias": None})
        np.testing.assert_array_equal(mm.execute(), expected(A2, B2, C2, BIAS2))
        mm.reset_operands(a=A, b=B, c=C, epilog_inputs={"bias": BIAS})
        np.testing.assert_array_equal(mm.execute(), expected())


def test_factors_one_by_one():
    with created() as mm:
        plan(mm)
        mm.reset_operands(alpha=-5)
        np.testing.assert_array_equal(mm.execute(), expected(alpha=-5))
        mm.reset_operands(beta=0.5)
        np.testing.assert_array_equal(mm.execute(), expected(alpha=-5, beta=0.5))
        mm.reset_operands(alpha=1, beta=0, a=A2, epilog_inputs={"bias": BIAS2})
        np.testing.assert_array_equal(mm.execute(), expected(A2, bias=BIAS2, alpha=1, beta=0))
        mm.reset_operands_unchecked(alpha=np.float32(2), beta=np.array(3))
        np.testing.assert_array_equal(mm.execute(), expected(A2, bias=BIAS2))


def test_factors_come_with_operands_after_a_release():
    with created() as mm:
        mm.reset_operands(alpha=4)
        plan(mm).release_operands()
        with pytest.raises(ValueError, match=r"got beta only; after release_operands.* a, b, c, bias missing"):
            mm.reset_operands(beta=5)
        assert mm.state is State.RELEASED
        mm.reset_operands(**SECOND)
        np.testing.assert_array_equal(mm.execute(), expected(A2, B2, C2, BIAS2, alpha=4))


@pytest.mark.parametrize("given", ["ab", "abc", "a", "bc"])
def test_all_operands_are_needed_after_a_release(given):
    arrays = {name: SECOND[name] for name in given}
    missing = ", ".join(name for name in (*"abc", "bias") if name not in given)
    with created() as mm:
        plan(mm).release_operands()
        with pytest.raises(
            ValueError, match=rf"got {', '.join(given)} only; after release_operands\(\).*: {missing} missing"
        ):
            mm.reset_operands(**arrays)
        assert mm.state is State.RELEASED
        mm.reset_operands(**SECOND)
        np.testing.assert_array_equal(mm.execute(), expected(A2, B2, C2, BIAS2))


def test_operands_with_other_strides_of_axes_with_one_element():
    row = np.arange(4.0)[None]
    other = np.arange(8.0).reshape(1, 8)[:, 2:6]
    with Matmul(row, B) as mm:
        mm.plan()
        mm.reset_operands(a=other)
        np.testing.assert_array_equal(mm.execute(), other @ B)


def test_changes_to_operands_are_seen():
    """The object refers to the operands, and does not copy them."""
    a, bias = A.copy(), BIAS.copy()
    with Matmul(a, B, C, alpha=2.0, beta=3.0) as mm:
        mm.plan(epilog=E.RELU_BIAS, epilog_inputs={"bias": bias})
        mm.execute()
        a[:], bias[:] = A2, BIAS2
        np.testing.assert_array_equal(mm.execute(), expected(A2, bias=BIAS2))


def test_planning_again():
    """Another epilog takes other inputs; those of the last plan are the ones that count."""
    with Matmul(A, B) as mm:
        mm.plan()
        np.testing.assert_array_equal(mm.execute(), A @ B)
        mm.plan(epilog=E.BIAS, epilog_inputs={"bias": BIAS})
        np.testing.assert_array_equal(mm.execute(), A @ B + BIAS[:, None])
        _, mask = (mm.plan(epilog=E.RELU_AUX), mm.execute())[1]
        mm.plan(epilog=E.DRELU, epilog_inputs=mask)
        np.testing.assert_array_equal(mm.execute(), np.maximum(A @ B, 0))
        with pytest.raises(ValueError, match="epilog_inputs has 'bias'; DRELU takes relu_aux"):
            mm.reset_operands(epilog_inputs={"bias": BIAS})
        mm.plan(epilog=E.BIAS, epilog_inputs={"bias": BIAS2})
        mm.reset_operands(a=A2)
        np.testing.assert_array_equal(mm.execute(), A2 @ B + BIAS2[:, None])
        mm.plan()
        np.testing.assert_array_equal(mm.execute(), A2 @ B)


# Algorithms.


def test_list_of_algorithms():
    with created() as mm:
        algorithms = mm.plan()
        assert mm.algorithms == algorithms
        assert {algorithm.provider for algorithm in algorithms} == set(available(PROVIDERS)) - {"torch"}
        assert mm.plan(preferences={"limit": 1}) == algorithms[:1]
        assert mm.plan(preferences=MatmulPlanPreferences(limit=1)) == mm.algorithms[:1]
        ids = mm.applicable_algorithm_ids()
        assert ids == tuple(algorithm.algorithm_id for algorithm in mm.algorithms)
        assert len(set(ids)) == len(ids)
        assert mm.applicable_algorithm_ids(limit=1) == ids[:1]
        assert "\n".join(map(repr, algorithms)).count("<Algorithm ") == len(algorithms)
        assert all(algorithm.knobs["threads"] == 1 and algorithm.tile is None for algorithm in algorithms)


def test_executing_one_of_the_algorithms():
    with created() as mm:
        plan(mm)
        for _ in range(2):
            for algorithm in mm.algorithms:
                np.testing.assert_array_equal(mm.execute(algorithm=algorithm), expected())
                out = mm.empty_result()
                assert mm.execute(algorithm=algorithm, out=out) is out
                np.testing.assert_array_equal(out, expected())
        mm.reset_operands(a=A2)
        for algorithm in (*mm.algorithms, None):
            np.testing.assert_array_equal(mm.execute(algorithm=algorithm), expected(A2))


@pytest.mark.parametrize("threads", [1, 2])
def test_choosing_an_algorithm(monkeypatch, threads):
    monkeypatch.setattr(blas_interface, "THREADED_WORK", 0)
    with Matmul(A, B, execution={"name": "cpu", "num_threads": threads}) as mm:
        algorithms = mm.plan()
        assert len(algorithms) >= threads
        for algorithm in algorithms:
            for given in (algorithm, [algorithm], (algorithm,)):
                assert mm.plan(algorithms=given) == mm.algorithms == [algorithm]
                assert f"chosen by the user: {algorithm.provider}" in mm.report()
            np.testing.assert_array_equal(mm.execute(), A @ B)
        mm.plan(algorithms=algorithms[::-1])
        assert mm.algorithms == algorithms[::-1]
        mm.autotune(iterations=1)
        assert set(mm.algorithms) == set(algorithms)
        np.testing.assert_array_equal(
            matmul(A, B, algorithm=algorithms[0], execution={"name": "cpu", "num_threads": threads}), A @ B
        )


def test_algorithms_can_be_saved():
    file = io.BytesIO()
    with Matmul(A, B) as mm:
        algorithms = mm.plan()
        np.save(file, np.concatenate([algorithm.as_numpy() for algorithm in algorithms]))
    file.seek(0)
    loaded = [Algorithm.from_numpy(row) for row in np.load(file)[:, None]]
    assert loaded == algorithms
    assert len({*loaded, *algorithms}) == len(algorithms)
    with Matmul(A2, B2) as mm:
        assert mm.plan(algorithms=loaded[-1:]) == loaded[-1:]
        np.testing.assert_array_equal(mm.execute(), A2 @ B2)


def test_algorithms_that_were_not_saved_by_us():
    with Matmul(A, B) as mm:
        array = mm.plan()[0].as_numpy()
    damaged = array.copy()
    damaged["knobs"] = "{["
    for wrong in (array[:0], array["provider"], array.tolist(), np.concatenate([array, array]), damaged):
        with pytest.raises(ValueError, match=r"array is not one that Algorithm.as_numpy made"):
            Algorithm.from_numpy(wrong)
    with pytest.raises(TypeError, match=r"algorithm is a str; take it from Matmul.plan"):
        Algorithm("mkl")


# Autotuning.


def test_autotuning_keeps_results_right():
    with created() as mm:
        before = mm.plan(epilog=E.RELU_BIAS, epilog_inputs={"bias": BIAS})
        mm.autotune(iterations=2)
        assert set(mm.algorithms) == set(before)
        assert "chosen by autotuning" in mm.report()
        np.testing.assert_array_equal(mm.execute(), expected())
        mm.reset_operands(**SECOND)
        np.testing.assert_array_equal(mm.execute(), expected(A2, B2, C2, BIAS2))
        mm.autotune(iterations=1, prune=1)
        assert len(mm.algorithms) == 1
        np.testing.assert_array_equal(mm.execute(), expected(A2, B2, C2, BIAS2))


@pytest.mark.parametrize("epilog", [E.DEFAULT, E.RELU_AUX], ids=lambda e: e.name)
@pytest.mark.parametrize("package", ["numpy", "torch"])
def test_autotuning_in_place_does_not_change_c(package, epilog):
    if package == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    a, b, c = (place(array, "float64", package, column_major) for array in (A, B, C))
    with Matmul(a, b, c, beta=1.0, options={"inplace": True}) as mm:
        mm.plan(epilog=epilog)
        mm.autotune(iterations=2)
        assert len(mm.report().splitlines()) > 3, "nothing was measured"
        np.testing.assert_array_equal(np.asarray(c), C)
        mm.execute()
        result = A @ B + C
        np.testing.assert_array_equal(np.asarray(c), result if epilog is E.DEFAULT else np.maximum(result, 0))


def test_autotuning_is_recorded(tuning_record):
    with created() as mm:
        plan(mm)
        mm.autotune(iterations=1)
        chosen = mm.algorithms[0]
        assert tuning_record.exists()
    for _ in range(2):
        with created() as mm:
            plan(mm)
            assert mm.algorithms[0] == chosen
            assert "chosen by the tuning record" in mm.report()
            np.testing.assert_array_equal(mm.execute(), expected())
            mm.plan(epilog=E.GELU)  # another problem
            assert "chosen by the heuristic" in mm.report()
    with created(tuning=False) as mm:
        plan(mm)
        assert "chosen by the heuristic" in mm.report()


@pytest.mark.parametrize("how", ["tuning", "algorithms"])
def test_autotuning_of_a_choice_is_not_recorded(tuning_record, how):
    """It says nothing about what is best in general."""
    with created(tuning=how != "tuning") as mm:
        algorithms = mm.plan()
        mm.plan(algorithms=algorithms[-1:] if how == "algorithms" else None)
        mm.autotune(iterations=1)
        if how == "algorithms":
            assert mm.algorithms == algorithms[-1:]
        assert not tuning_record.exists()


# Operands that do not change.


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("provider", available(PROVIDERS))
def test_constant_operand(provider, name):
    """A library may keep it in a form of its own; new values are seen after they were announced."""
    if provider in ("torch", *ON_DEVICE):
        pytest.skip("it multiplies no arrays of NumPy on the CPU")
    first = {"a": A.copy(), "b": B.copy()}
    second = {"a": A2, "b": B2}
    with Matmul(*first.values(), C, alpha=2.0, beta=3.0, options={"provider": provider, "constant": [name]}) as mm:
        algorithms = mm.plan()
        if provider == "mkl":
            assert algorithms[0].knobs["packed"] == name
        now = dict(first)

        def check(alpha: float = 2) -> None:
            np.testing.assert_array_equal(mm.execute(), alpha * (now["a"] @ now["b"]) + 3 * C)

        check()
        mm.reset_operands(**{name: second[name]})
        now[name] = second[name]
        check()
        other = "b" if name == "a" else "a"
        first[other][...] = second[other]  # it is not constant
        check()
        mm.reset_operands(alpha=5)
        check(5)
        mm.reset_operands(alpha=2, **{name: first[name].copy()})
        now[name] = first[name].copy()
        check()
        mm.execute(release_workspace=True)
        check()
        for algorithm in algorithms[1:]:
            if provider == "mkl":  # the packed form takes the place of the operand
                with pytest.raises(UnavailableError, match=r"cannot be used beside mkl.*plan with it alone"):
                    mm.execute(algorithm=algorithm)
            mm.plan(algorithms=algorithm)
            check()
        mm.plan()
        check()
        with pytest.raises(ValueError, match="shape"):
            mm.reset_operands(**{name: second[name][:, :2]})
        check()
        mm.autotune(iterations=1)
        check()
        now[name] = second[name]
        mm.reset_operands(**{name: now[name]})
        check()
        mm.release_operands()
        now = {"a": A, "b": B}
        mm.reset_operands(a=A, b=B, c=C)
        check()


@pytest.mark.parametrize("name", ["a", "b"])
def test_constant_operand_that_is_reset_with_care(name, caplog):
    """Where the log is read, or strides of axes with one element differ, operands are bound in another way."""
    now = {"a": A[:1].copy(), "b": B[:, :1].copy()}
    with Matmul(*now.values(), options={"constant": [name]}) as mm:
        mm.plan()
        mm.execute()
        other = {"a": np.ones((1, 9))[:, :4], "b": np.ones((9, 1))[:4]}
        other = {"a": other["a"], "b": np.ones((1, 4)).T}
        mm.reset_operands(**{name: other[name]})
        now[name] = other[name]
        np.testing.assert_array_equal(mm.execute(), now["a"] @ now["b"])
        with caplog.at_level(logging.INFO, "planmath"):
            now[name] = now[name] * 2
            mm.reset_operands(**{name: now[name]})
            np.testing.assert_array_equal(mm.execute(), now["a"] @ now["b"])


# The use that all this is for.


@pytest.mark.parametrize("package", ["numpy", "torch"])
def test_loop_over_a_batch(package):
    """One object for many products of one kind: planned and tuned for the first, reset for all others."""
    if package == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    m, n, k, batch = 124, 10, 15, 8
    draw = np.random.default_rng(1)
    a, b, bias = (draw.integers(-4, 5, shape) for shape in ((batch, m, k), (batch, k, n), (batch, m)))
    result = np.maximum(a @ b + bias[..., None], 0)
    a, b, bias = (place(array, "float32", package) for array in (a, b, bias))
    d = place(np.zeros((batch, m, n)), "float32", package)
    with Matmul(a[0], b[0]) as mm:
        mm.plan(epilog=E.RELU_BIAS, epilog_inputs={"bias": bias[0]})
        mm.autotune(iterations=2)
        d[0] = mm.execute()
        for i in range(1, batch):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            d[i] = mm.execute()
    np.testing.assert_array_equal(np.asarray(d), result)
    for i in range(batch):
        d[i] = matmul(a[i], b[i], epilog=E.RELU_BIAS, epilog_inputs={"bias": bias[i]})
    np.testing.assert_array_equal(np.asarray(d), result)
    d = matmul(a, b, epilog=E.RELU_BIAS, epilog_inputs={"bias": bias[..., None]})
    np.testing.assert_array_equal(np.asarray(d), result)


def test_stateless_calls_do_not_mix(nothing_remembered):
    """A plan is left to the next call of the same kind; kinds differ in everything that the result depends on."""
    b, bias = B, BIAS
    calls = [
        (lambda: matmul(A, b), A @ b),
        (lambda: matmul(A, b, alpha=3), 3 * (A @ b)),
        (lambda: matmul(A, b, epilog=E.RELU), np.maximum(A @ b, 0)),
        (lambda: matmul(A, b, epilog=E.BIAS, epilog_inputs={"bias": bias}), A @ b + bias[:, None]),
        (lambda: matmul(A, b, C, beta=1), A @ b + C),
        (lambda: matmul(np.asfortranarray(A), b), A @ b),
        (lambda: matmul(A.astype("f4"), b.astype("f4")), A @ b),
        (lambda: matmul(A[:3], b), A[:3] @ b),
        (lambda: matmul(A2, B2, execution={"name": "cpu", "num_threads": 1}), A2 @ B2),
    ]
    for order in (calls, calls[::-1], calls):
        for call, result in order:
            np.testing.assert_array_equal(call(), result)


# The end.


def test_context_manager_frees_on_error():
    with pytest.raises(ValueError, match="needs bias"), created() as mm:
        mm.plan(epilog=E.BIAS)
    assert mm.state is State.FREED


def test_context_manager_refuses_a_freed_object():
    mm = created()
    mm.free()
    with pytest.raises(InvalidMatmulState, match="create a new Matmul"), mm:
        pass


class Operand(np.ndarray):
    """An array that can be referred to weakly."""


@pytest.mark.parametrize("end", ["release_operands", "free"])
def test_operands_are_let_go(end):
    arrays = [array.copy().view(Operand) for array in (A, B, C, BIAS)]
    alive = [weakref.ref(array) for array in arrays]
    with Matmul(*arrays[:3], beta=1.0) as mm:
        mm.plan(epilog=E.BIAS, epilog_inputs={"bias": arrays[3]})
        mm.execute()
        del arrays
        assert all(reference() is not None for reference in alive)
        CALLS[end](mm)
        assert all(reference() is None for reference in alive)


def test_epilog_inputs_are_let_go_with_their_plan():
    bias = BIAS.copy().view(Operand)
    alive = weakref.ref(bias)
    with Matmul(A, B) as mm:
        mm.plan(epilog=E.BIAS, epilog_inputs={"bias": bias})
        del bias
        mm.plan()
        assert alive() is None


def test_object_that_is_dropped_warns_and_gives_its_plan_back():
    a = A.copy().view(Operand)
    alive = weakref.ref(a)
    mm = Matmul(a, B)
    mm.plan()
    del a
    message = r"unfreed <Matmul float64 \(5, 4\) @ \(4, 3\) on cpu.*call free\(\)"
    with pytest.warns(ResourceWarning, match=message):  # noqa: PT031
        del mm
        gc.collect()
    assert alive() is None


@pytest.mark.parametrize("start", [name for name, (state, _) in INTO.items() if state in (S, F)])
def test_no_warning_without_a_plan(start):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mm = created()
        INTO[start][1](mm)
        del mm
        gc.collect()


@pytest.mark.parametrize(
    "operands", [((A, B[:2]), {}), ((A, B), {"options": 3}), ((A, B, C), {}), ((A, B, C), {"beta": 1j})]
)
def test_object_that_could_not_be_made_leaves_nothing_behind(operands):
    arguments, keywords = operands
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((TypeError, ValueError)):
            Matmul(*arguments, **keywords)
        with pytest.raises((TypeError, ValueError)):
            matmul(*arguments, **keywords)
        gc.collect()


def test_failed_stateless_call_leaves_no_plan_behind(nothing_remembered):
    """It warns neither, and the next call of the kind is right."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="epilog_inputs"):
            matmul(A, B, epilog=E.BIAS)
        matmul(A, B)
        with pytest.raises(ValueError, match="alpha"):
            matmul(A, B, alpha=1j)
        gc.collect()
    np.testing.assert_array_equal(matmul(A, B), A @ B)


class Lifecycle(RuleBasedStateMachine):
    """Calls in any order, next to a model that knows the state, operands, factors and epilog of an object."""

    @initialize(inplace=st.booleans(), constant=st.sampled_from([(), ("a",), ("a", "b")]))
    def create(self, inplace, constant):
        self.inplace = inplace
        self.now = {name: self.new(array, 0) for name, array in (("a", A), ("b", B), ("c", C))}
        self.factors = {"alpha": 2.0, "beta": 3.0}
        options = {"inplace": inplace, "constant": constant, "tuning": False}
        self.mm = Matmul(*self.now.values(), **self.factors, options=options)
        self.model = S
        self.epilog = None

    @staticmethod
    def new(like, seed):
        return np.random.default_rng(seed).integers(-9, 10, like.shape).astype(float)

    def attempt(self, allowed, call):
        """Make a call; whether it went through must be what the model says."""
        if allowed:
            return call()
        with pytest.raises(InvalidMatmulState):
            call()
        return None

    @rule(epilog=st.sampled_from([E.DEFAULT, E.RELU, E.BIAS, E.RELU_BIAS]), seed=st.integers(0, 9), fail=st.booleans())
    def plan(self, epilog, seed, fail):
        allowed = self.model in (S, P)
        bias = self.new(BIAS, seed) if epilog in (E.BIAS, E.RELU_BIAS) else None
        if fail and allowed:
            with pytest.raises(ValueError, match="epilog_inputs"):
                self.mm.plan(epilog=epilog, epilog_inputs={"aux": A} if bias is None else {"bias": bias[1:]})
            return
        self.attempt(allowed, lambda: self.mm.plan(epilog=epilog, epilog_inputs={} if bias is None else {"bias": bias}))
        if allowed:
            self.model, self.epilog = P, epilog
            self.now = {name: self.now[name] for name in "abc"} | ({} if bias is None else {"bias": bias})

    @rule(prune=st.sampled_from([None, 1]))
    def autotune(self, prune):
        self.attempt(self.model is P, lambda: self.mm.autotune(iterations=1, prune=prune))

    @rule(how=st.sampled_from(["", "out", "algorithm", "workspace"]))
    def execute(self, how):
        if self.model is not P:
            self.attempt(False, self.mm.execute)
            return
        a, b, c = (self.now[name].copy() for name in "abc")
        options = {
            "": {},
            "workspace": {"release_workspace": True},
            "algorithm": {"algorithm": self.mm.algorithms[-1]},
        }.get(how, {} if self.inplace else {"out": self.mm.empty_result()})
        result = self.mm.execute(**options)
        value = self.factors["alpha"] * (a @ b) + self.factors["beta"] * c
        value = value + self.now["bias"][:, None] if "bias" in self.now else value
        np.testing.assert_array_equal(result, np.maximum(value, 0) if self.epilog.name.startswith("RELU") else value)
        assert result is (self.now["c"] if self.inplace else options.get("out", result))
        if self.inplace:  # back to small numbers, so that all sums stay exact
            result[...] = C

    @rule(names=st.sets(st.sampled_from(["a", "b", "c", "bias", "alpha", "beta"]), min_size=1), seed=st.integers(0, 9))
    def reset(self, names, seed):
        if "bias" in names and (self.epilog is None or self.epilog not in (E.BIAS, E.RELU_BIAS)):
            names = names - {"bias"} or {"a"}
        arrays = {
            n: self.new({"a": A, "b": B, "c": C, "bias": BIAS}[n], seed) for n in sorted(names - {"alpha", "beta"})
        }
        factors = {name: float(seed - 4) for name in names & {"alpha", "beta"}}
        inputs = {"bias": arrays["bias"]} if "bias" in arrays else None
        operands = {name: array for name, array in arrays.items() if name != "bias"}

        def call():
            self.mm.reset_operands(**operands, **factors, epilog_inputs=inputs)

        needed = {"a", "b", "c", *(["bias"] if self.epilog in (E.BIAS, E.RELU_BIAS) else [])}
        if self.model is R and set(arrays) != needed:
            with pytest.raises(ValueError, match="missing"):
                call()
            return
        self.attempt(self.model is not F, call)
        if self.model is not F:
            self.now.update(arrays)
            self.factors.update(factors)
            if self.model is R:
                self.model = S if self.epilog is None else P

    @rule(operand=st.sampled_from([np.ones((5, 3)), np.ones(4), A.astype("f4"), np.asfortranarray(A), "abc"]))
    def reset_to_what_does_not_fit(self, operand):
        with pytest.raises((ValueError, TypeError, InvalidMatmulState)):
            self.mm.reset_operands(b=B2, a=operand, alpha=99)

    @rule()
    def release(self):
        self.attempt(self.model is not F, self.mm.release_operands)
        if self.model is not F:
            self.model = R

    @precondition(lambda self: self.model is not F)
    @rule(sure=st.integers(0, 3))
    def free(self, sure):
        if sure == 3:  # not too often: little can follow
            self.mm.free()
            self.model = F

    @precondition(lambda self: self.model is F)
    @rule()
    def free_again(self):
        self.mm.free()

    @invariant()
    def agrees_with_the_model(self):
        if hasattr(self, "mm"):
            assert self.mm.state is self.model

    def teardown(self):
        if hasattr(self, "mm"):
            self.mm.free()


def test_any_order_of_calls():
    hypothesis.stateful.run_state_machine_as_test(
        Lifecycle, settings=hypothesis.settings(max_examples=60, stateful_step_count=25)
    )


def test_preferences_for_devices_are_hints(caplog):
    a = np.arange(6.0).reshape(2, 3)
    preferences = MatmulPlanPreferences(max_waves_count=0.5, reduction_scheme_mask=MatmulReductionScheme.INPLACE)
    with caplog.at_level("INFO"), Matmul(a, a.T) as product:
        product.plan(preferences=preferences)
        np.testing.assert_array_equal(product.execute(), a @ a.T)
        for hint in ("preferences.max_waves_count=0.5", "preferences.reduction_scheme_mask=INPLACE"):
            assert f"{hint} is without effect: " in product.report()
            assert f"Hint: {hint} is without effect: " in caplog.text
        product.plan()
        assert "without effect" not in product.report()
