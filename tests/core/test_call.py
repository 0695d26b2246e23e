"""Prepared native calls: arguments, operand slots, loops, alignment, statuses."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from planmath.core.executor import Executor, Program
from planmath.core.slots import ArraySlot
from planmath.native.call import FAIL, GIVE, HANDLE_WORDS, MAX_LOOPS, STORE, Call, Slot, invoke

from planmath.core.arrays import package_named
from planmath.core.errors import LibraryError

MOST_ARGUMENTS, MOST_SLOTS = 20, 10
libc = ctypes.CDLL(None)


class Recorder:
    """A C function of `count` words that notes its arguments."""

    def __init__(self, count: int, status: int = 0):
        self.seen: list[tuple[int, ...]] = []
        self.status = status
        self.callback = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *[ctypes.c_ssize_t] * count)(self.note)
        self.address = ctypes.cast(self.callback, ctypes.c_void_p).value

    def note(self, *arguments: int) -> int:
        self.seen.append(arguments)
        return self.status


@pytest.mark.parametrize("count", range(MOST_ARGUMENTS + 1))
def test_every_number_of_arguments(count):
    c = Recorder(count)
    arguments = [(-1) ** i * (1 << 40) + i for i in range(count)]
    Call(c.address, arguments, name="recorder")()
    assert c.seen == [tuple(arguments)]
    invoke(c.address, *arguments)
    assert c.seen[1] == tuple(arguments)


def test_invoke_returns_the_result():
    assert invoke(ctypes.cast(libc.labs, ctypes.c_void_p).value, -(1 << 40)) == 1 << 40


def test_slots_take_addresses_and_offsets():
    c = Recorder(5)
    call = Call(c.address, [Slot(1), 7, Slot(0, 16), Slot(1, -8), 9], name="recorder")
    assert call.highest_slot == 1
    call(1000, 2000)
    call(3000, 4000)
    assert c.seen == [(2000, 7, 1016, 1992, 9), (4000, 7, 3016, 3992, 9)]


def test_some_addresses_can_be_given_for_good():
    c = Recorder(5)
    call = Call(c.address, [Slot(1), 7, Slot(0, 16), Slot(1, -8), Slot(2)], name="recorder")
    bound = call.bound((Slot(3, 100), 2000, Slot(0)))
    assert bound.highest_slot == 3
    bound(10, 20, 30, 1000)
    assert c.seen == [(2000, 7, 1116, 1992, 10)]
    with pytest.raises(ValueError, match="loops"):
        Call(c.address, [1, 2, 3, 4, Slot(0)], loops=[(2, (8,))], name="recorder").bound((1,))


def test_loops_run_with_the_innermost_fastest():
    c = Recorder(3)
    Call(c.address, [Slot(0), 5, Slot(1)], loops=[(2, (100, 0)), (3, (1, -10))], name="recorder")(1000, 2000)
    assert c.seen == [(1000 + 100 * i + j, 5, 2000 - 10 * j) for i in range(2) for j in range(3)]


def test_as_many_loops_as_nest():
    c = Recorder(1)
    Call(c.address, [Slot(0)], loops=[(1, (0,))] * (MAX_LOOPS - 1) + [(2, (8,))], name="recorder")(64)
    assert c.seen == [(64,), (72,)]


def test_operands_at_unaligned_addresses_take_the_other_call():
    aligned, unaligned = Recorder(2), Recorder(2)
    other = Call(unaligned.address, [Slot(0), Slot(1)])
    call = Call(aligned.address, [Slot(0), Slot(1)], unaligned=other, alignment=16)
    for addresses in [(32, 64), (40, 64), (32, 72), (33, 65)]:
        call(*addresses)
    assert aligned.seen == [(32, 64)]
    assert unaligned.seen == [(40, 64), (32, 72), (33, 65)]


def test_each_other_call_has_an_alignment_and_slots_of_its_own():
    aligned, unaligned = Recorder(2), Recorder(2)
    impossible = Call(FAIL, [9], returns_status=True)
    slots = [Slot(0), Slot(1)]  # the last one is at any address
    other = Call(unaligned.address, slots, unaligned=impossible, alignment=4, aligned_slots=1, returns_status=True)
    call = Call(aligned.address, slots, unaligned=other, alignment=16, aligned_slots=1, returns_status=True)
    assert [call(32, 65), call(36, 65), call(34, 64)] == [0, 0, 9]
    assert (aligned.seen, unaligned.seen) == ([(32, 65)], [(36, 65)])


@pytest.mark.parametrize(("returns_status", "status", "calls"), [(True, 7, 1), (True, 0, 3), (False, 7, 3)])
def test_status(returns_status, status, calls):
    """A failure ends the loop, where the function says that it failed."""
    c = Recorder(1, status)
    call = Call(c.address, [Slot(0)], loops=[(3, (1,))], returns_status=returns_status, name="recorder")
    assert call(0) == (status if returns_status else 0)
    assert len(c.seen) == calls


def test_what_goes_on_tells_its_status_at_the_end():
    c, behind, last, never = Recorder(1, 7), Recorder(1), Recorder(1, 9), Recorder(1)
    going = Call(c.address, [Slot(0)], loops=[(3, (1,))], returns_status=True, goes_on=True, name="going")
    assert going(0) == 7
    assert c.seen == [(0,), (1,), (2,)]
    ending = Call(last.address, [Slot(0)], returns_status=True, name="ending")
    program = Program([going, Call(behind.address, [Slot(0)]), ending, Call(never.address, [Slot(0)])])
    with pytest.raises(LibraryError, match="going failed with status 7"):
        program(5)
    assert (len(c.seen), behind.seen, last.seen, never.seen) == (6, [(5,)], [(5,)], [])


def test_owner_of_the_arguments_stays_alive():
    kept = np.ones(3)
    assert Call(1, [kept.ctypes.data], keep=kept).keep is kept


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Call(0, [1], name="nowhere"), "nowhere has no address"),
        (lambda: Call(None, [1]), "the function has no address"),
        (lambda: invoke(0, 1), "the function has no address"),
        (lambda: Call(1, range(MOST_ARGUMENTS + 1), name="f"), "f: 21 arguments and 0 loops; .* at most 20 and 16"),
        (lambda: invoke(1, *range(MOST_ARGUMENTS + 1)), "21 arguments; at most 20"),
        (lambda: Call(1, [Slot(0)], loops=[(1, (0,))] * (MAX_LOOPS + 1), name="f"), "f: 1 arguments and 17 loops"),
        (lambda: Call(1, [Slot(i) for i in range(MOST_SLOTS + 1)], name="f"), "f: .* at most 10 operand slots"),
        (lambda: Call(1, [Slot(0)], loops=[(0, (1,))], name="f"), "f: a loop of 0"),
        (lambda: Call(1, [Slot(0)], loops=[(2, (1, 1))], name="f"), "f: a loop of 2 with 2 steps for 1 slots"),
        (lambda: Call(1, [Slot(1)], name="f")(5), "f: 1 addresses for operands up to number 1"),
        (lambda: Program(), "one function or at least one call"),
        (lambda: Program([Call(1, [])], function=print), "one function or at least one call"),
        (lambda: Executor((), (), {None: Program([Call(1, [Slot(0)], name="f")])}), "f refers to array 0 of 0"),
    ],
)
def test_what_cannot_be_prepared(make, says):
    """Nothing of this is called: the addresses lead nowhere."""
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("arguments", [["word"], [1 << 64], [2.5]])
def test_arguments_that_are_no_words(arguments):
    with pytest.raises((TypeError, OverflowError)):
        Call(1, arguments)


def slot(values: np.ndarray) -> ArraySlot:
    strides = tuple(step // values.itemsize for step in values.strides)
    made = ArraySlot(package_named("numpy"), values.dtype, values.shape, strides, values.itemsize)
    assert made.bind(values)
    return made


@pytest.mark.parametrize("release_gil", [False, True])
def test_failure_of_a_library_is_an_error(release_gil):
    values = np.ones(3)
    function = Recorder(1, 42)
    failing = Call(function.address, [Slot(0)], returns_status=True, name="library_function")
    executor = Executor((slot(values),), (), {None: Program([failing], release_gil=release_gil)}, inplace=0)
    with pytest.raises(LibraryError, match="library_function failed with status 42") as caught:
        executor.execute(None, None)
    assert (caught.value.function, caught.value.status) == ("library_function", 42)


def test_program_makes_its_calls_in_order():
    values = np.zeros(2, np.uint8)
    memset = ctypes.cast(libc.memset, ctypes.c_void_p).value
    calls = [Call(memset, [Slot(0), 1, 2]), Call(memset, [Slot(0, 1), 2, 1])]
    assert Executor((slot(values),), (), {None: Program(calls)}, inplace=0).execute(None, None) is values
    assert values.tolist() == [1, 2]


def test_workspace_is_aligned_and_kept():
    values = np.zeros(1)
    c = Recorder(2)
    program = Program([Call(c.address, [Slot(0), Slot(1)])])
    executor = Executor((slot(values),), (), {None: program}, inplace=0, workspace_size=1000)
    for _ in range(2):
        executor.execute(None, None)
    first, second = (arguments[1] for arguments in c.seen)
    assert first == second
    assert first % 64 == 0
    executor.release_workspace()
    executor.execute(None, None)
    assert c.seen[2][1] % 64 == 0


def test_many_arrays_and_calls():
    """As many as a list of operands may have: each call writes to one array."""
    count = 50
    arrays = [np.full(1, float(i)) for i in range(count)]
    storing = [Call(STORE, [Slot(i), 7 + i]) for i in range(count)]
    executor = Executor(tuple(map(slot, arrays)), (), {None: Program(storing)}, inplace=0)
    assert executor.run(None, None) is arrays[0]
    assert [int(array.view(np.int64)[0]) for array in arrays] == [7 + i for i in range(count)]
    others = tuple(array.copy() for array in arrays)
    assert not executor.bind_many((*others[:-1], np.zeros(2)))
    assert executor.run(None, None) is arrays[0]
    assert executor.bind_many(others)
    assert executor.run(None, None) is others[0]
    assert Program(storing)(*(array.ctypes.data for array in others)) is None


def test_a_handle_is_told_what_it_is_not_told_yet():
    told, statuses = [], []

    def function(name, count):
        def called(*arguments):
            told.append((name, *arguments))
            return statuses.pop() if statuses else 0

        return ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_ssize_t] * count)(called)

    functions = function("stream", 2), function("workspace", 3)
    handle = np.zeros(HANDLE_WORDS, np.intp)
    handle[:3] = 7, *(ctypes.cast(each, ctypes.c_void_p).value for each in functions)
    program = Program([Call(GIVE, [handle.ctypes.data, Slot(0), Slot(1), 64], name="give", returns_status=True)])
    everything = [("stream", 7, 1), ("workspace", 7, 256, 64)]
    program(1, 256)
    assert told == everything
    program(1, 256)
    assert told == everything
    for others in ((2, 256), (2, 512)):  # which stream it is decides which memory there is
        told.clear()
        program(*others)
        assert told == [("stream", 7, others[0]), ("workspace", 7, others[1], 64)]
    told.clear()
    statuses.append(3)
    with pytest.raises(LibraryError, match="3"):
        program(1, 256)
    assert told == everything[:1]
    program(2, 512)  # what it had before is not sure any more
    assert told[1:] == [("stream", 7, 2), ("workspace", 7, 512, 64)]
