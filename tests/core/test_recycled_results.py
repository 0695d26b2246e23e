"""Small results of CuPy are handed out again when nobody holds them: on a package like it, no device is needed."""

from __future__ import annotations

import ctypes
import weakref

import numpy as np
import pytest
from planmath.core.executor import Executor, Program
from planmath.core.slots import ArraySlot
from planmath.native.call import STORE, Call, Slot


class Memory:
    """What a pointer keeps alive."""

    def __init__(self):
        self.bytes = ctypes.create_string_buffer(64)


class Pointer:
    device_id = 0

    def __init__(self, mem):
        self.mem, self.ptr = mem, ctypes.addressof(mem.bytes)


class Array:
    def __init__(self, data=None):
        self.data, self.dtype, self.shape, self.strides = data or Pointer(Memory()), DTYPE, (2, 4), (32, 8)

    def view(self):
        return Array(Pointer(self.data.mem))


class Package:
    name, array_type, only_device, differentiates = "cupy", Array, True, False

    def dense(self, shape, strides):
        return None

    def maker(self, *layout):
        return Array, ()


DTYPE = np.dtype("float64")


@pytest.fixture
def execute():
    """An execution that leaves the result's address in a buffer."""
    written = np.zeros(1, np.uintp)
    result = ArraySlot(Package(), DTYPE, (2, 4), (4, 1), 8, writeable=True)
    program = Program([Call(STORE, [written.ctypes.data, Slot(0)], keep=written)])
    executor = Executor((), (result,), {None: program})

    def execute():
        array = executor.run(None, None)
        assert written[0] == array.data.ptr
        return array

    execute.executor = executor
    return execute


def test_a_loop_needs_two_results(execute):
    seen = set()
    for _ in range(10):
        last = execute()
        seen.add(id(last))
    assert len(seen) == 2


@pytest.mark.parametrize(
    "keep",
    [lambda a: a, lambda a: a.data, lambda a: a.data.mem, Array.view, lambda a: {"name": [a]}],
    ids=["the array", "its pointer", "its memory", "a view", "a container"],
)
def test_what_somebody_holds_is_not_handed_out(execute, keep):
    held, addresses = [], set()
    for _ in range(5):
        result = execute()
        addresses.add(result.data.ptr)
        held.append(keep(result))
    del result
    assert len(addresses) == 5
    assert all(execute().data.ptr not in addresses for _ in range(5))


def test_what_was_dropped_later_is_handed_out_later(execute):
    first, second = execute(), execute()
    assert {id(execute().data.mem) for _ in range(4)}.isdisjoint({id(first.data.mem), id(second.data.mem)})
    del first, second
    assert len({execute().data.ptr for _ in range(6)}) == 2


def test_a_result_of_another_shape_is_not_handed_out(execute):
    for _ in range(4):
        execute().shape = (8,)
    assert all(execute().shape == (2, 4) for _ in range(4))


def test_given_back_with_the_workspace(execute):
    memory = [weakref.ref(execute().data.mem) for _ in range(4)]
    assert any(alive() for alive in memory)
    execute.executor.release_workspace()
    assert not any(alive() for alive in memory)
