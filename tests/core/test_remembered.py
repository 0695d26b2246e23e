"""Plans that stateless calls leave behind for the next call of their kind."""

from __future__ import annotations

import gc
import pickle
import weakref

import numpy as np
import pytest
import scipy.sparse

from planmath import linalg, tensor
from planmath.core import remembered
from planmath.core.operation import State
from planmath.fft import ExecutionCPU, FFTOptions, fft, ifft, irfft, operation, rfft, stateless
from planmath.linalg import advanced
from planmath.sparse import advanced as sparse
from planmath.tensor import ContractionOptions, binary_contraction, ternary_contraction

pytestmark = pytest.mark.usefixtures("nothing_remembered")

OPERAND = np.arange(12).reshape(3, 4) + 1j


@pytest.fixture
def planned(monkeypatch):
    """Counts the plans that are made."""
    made = []
    plan = operation.FFT.plan
    monkeypatch.setattr(operation.FFT, "plan", lambda self, **options: made.append(self) or plan(self, **options))
    return made


@pytest.mark.parametrize(
    "call",
    [
        lambda: fft(OPERAND),
        lambda: ifft(OPERAND + 1),
        lambda: fft(OPERAND, axes=[1]),
        lambda: fft(OPERAND, axes=np.array([0, 1])),
        lambda: fft(OPERAND, direction="inverse"),
        lambda: fft(OPERAND, execution={"name": "cpu", "num_threads": 1}),
        lambda: fft(OPERAND, execution=ExecutionCPU(num_threads=2)),
        lambda: rfft(OPERAND.real.copy()),
        lambda: irfft(OPERAND),
        lambda: fft(OPERAND[::-1, ::2]),
    ],
)
def test_second_call_of_a_kind_plans_nothing(planned, call):
    first = call()
    assert len(planned) == 1
    np.testing.assert_array_equal(call(), first)
    assert len(planned) == 1
    assert list(remembered._idle.values()) == planned


def test_calls_that_differ_have_plans_of_their_own(planned):
    calls = [
        lambda: fft(OPERAND), lambda: ifft(OPERAND), lambda: irfft(OPERAND), lambda: fft(OPERAND, axes=[0]),
        lambda: fft(OPERAND, axes=[1]), lambda: fft(OPERAND, axes=[1, 0]), lambda: fft(OPERAND[:2]),
        lambda: fft(OPERAND[:, :2]), lambda: fft(OPERAND.astype("c8")),
        lambda: fft(OPERAND, execution={"name": "cpu", "num_threads": 1}),
        lambda: rfft(OPERAND.real.copy()), lambda: rfft(OPERAND.imag),
    ]  # fmt: skip
    for call in 2 * calls:
        call()
    assert len(planned) == len(calls) == len(remembered._idle)


SQUARE, SYSTEM = np.eye(3) + 1, scipy.sparse.csr_array(np.eye(3) + 1)
#: Stateless calls with options, and the class of these.
WITH_OPTIONS = {
    "fft": (lambda options: fft(OPERAND, options=options), FFTOptions),
    "rfft": (lambda options: rfft(OPERAND.real.copy(), options=options), FFTOptions),
    "matmul": (lambda options: advanced.matmul(SQUARE, SQUARE, options=options), advanced.MatmulOptions),
    "generic": (lambda options: linalg.matmul(SQUARE, SQUARE, options=options), linalg.MatmulOptions),
    "triangular": (lambda options: linalg.triangular_solve(SQUARE, SQUARE, options=options), linalg.MatmulOptions),
    "dense": (lambda options: linalg.direct_solver(SQUARE, SQUARE, options=options), linalg.DirectSolverOptions),
    "contract": (lambda options: tensor.contract("ij,jk,kl->il", *3 * [SQUARE], options=options), ContractionOptions),
    "binary": (lambda options: binary_contraction("ij,jk->ik", SQUARE, SQUARE, options=options), ContractionOptions),
    "ternary": (lambda options: ternary_contraction("ij,jk,kl", *3 * [SQUARE], options=options), ContractionOptions),
    "solver": (lambda options: sparse.direct_solver(SYSTEM, SQUARE[0], options=options), sparse.DirectSolverOptions),
}
#: Those whose options cannot be changed.
FROZEN = ("generic", "triangular", "dense")


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_plans_are_remembered_with_their_options(name):
    call, cls = WITH_OPTIONS[name]
    expected = call(None)
    for options in ({"tuning": False}, cls(tuning=False)):
        remembered.clear()
        idle = set()
        for _ in range(3):
            np.testing.assert_allclose(call(options), expected)
            idle |= set(remembered._idle.values())
        (operation,) = idle
        assert operation._options.tuning is False


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_changed_options_have_another_plan(name):
    call, cls = WITH_OPTIONS[name]
    for options in ({"tuning": True}, cls()):
        call(options)
        if isinstance(options, dict):
            options["provider"] = "nobody's"
        elif name in FROZEN:
            continue
        else:
            options.provider = "nobody's"
        with pytest.raises(ValueError, match="nobody's"):
            call(options)
    call({"tuning": True})
    with pytest.raises(ValueError, match="tuning is 1"):
        call({"tuning": 1})


def test_options_that_are_changed_during_the_call(monkeypatch):
    """As another thread may: the plan and what it is kept for are those of the same moment."""
    options = FFTOptions(result_layout="optimized")
    take = remembered.take

    def change(key):
        options.result_layout = "natural"
        return take(key)

    monkeypatch.setattr(remembered, "take", change)
    results = [fft(OPERAND, axes=[0], options=options).strides for _ in range(2)]
    expected = [fft(OPERAND, axes=[0], options={"result_layout": of}).strides for of in ("optimized", "natural")]
    assert results == expected
    assert expected[0] != expected[1]


def test_what_users_own_is_not_held(planned):
    fft(OPERAND, options={"allocator": Pool()})
    advanced.matmul(SQUARE, SQUARE, options={"handle": 5})
    assert not remembered._idle
    assert planned[0].state is State.FREED


class Pool:
    def memalloc(self, size, *arguments):
        raise AssertionError("not on the CPU")


def test_arrays_of_types_derived_from_numpys(planned, tmp_path):
    np.save(tmp_path / "operand", OPERAND)
    mapped = np.load(tmp_path / "operand.npy", mmap_mode="r")
    for operand in (OPERAND, mapped, pickle.loads(pickle.dumps(OPERAND))):
        np.testing.assert_array_equal(fft(operand), fft(OPERAND))
    assert len(planned) == 1
    with pytest.raises(TypeError, match="masked"):
        fft(np.ma.masked_array(OPERAND, mask=True))


def test_operand_is_let_go():
    class Memory(np.ndarray):
        pass

    base = OPERAND.copy().view(Memory)
    alive = weakref.ref(base)
    operand = base.view(np.ndarray)
    fft(operand)
    assert remembered._idle
    del base, operand
    gc.collect()
    assert alive() is None


def test_number_of_plans_is_bounded(planned):
    for n in range(1, remembered.CAPACITY + 6):
        fft(np.ones(n, complex))
    assert len(remembered._idle) == remembered.CAPACITY
    assert [transform.state is State.FREED for transform in planned] == [True] * 5 + [False] * remembered.CAPACITY
    fft(np.ones(6, complex))
    assert len(planned) == remembered.CAPACITY + 5, "the oldest that was kept is still there"
    fft(np.ones(1, complex))
    assert len(planned) == remembered.CAPACITY + 6, "the first was not"


def test_least_recently_used_goes_first(planned):
    fft(np.ones(1, complex))
    for n in range(2, remembered.CAPACITY + 1):
        fft(np.ones(n, complex))
    fft(np.ones(1, complex))
    fft(np.ones(remembered.CAPACITY + 1, complex))
    assert [transform.state for transform in planned[:3]] == [State.RELEASED, State.FREED, State.RELEASED]


def test_clear_frees(planned):
    fft(OPERAND)
    remembered.clear()
    assert not remembered._idle
    assert planned[0].state is State.FREED


def test_call_within_a_call_of_the_same_kind(planned):
    """While one has the plan, the other makes its own; one of the two stays."""
    one = stateless._single("fft", "complex", OPERAND, None, -1, None, None, None, None, None)
    (key,) = remembered._idle
    taken = remembered.take(key)
    np.testing.assert_array_equal(fft(OPERAND), one)
    remembered.put(key, taken)
    assert [transform.state for transform in planned] == [State.FREED, State.RELEASED]
    assert list(remembered._idle.values()) == [planned[1]]


def test_failed_call_frees_its_plan(planned, monkeypatch):
    fft(OPERAND)

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(operation.FFT, "execute", fail)
    with pytest.raises(KeyboardInterrupt):
        fft(OPERAND)
    assert not remembered._idle
    assert planned[0].state is State.FREED
