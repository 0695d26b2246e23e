"""Work in another memory space than the operands': copies of the operands go there, and the results come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from planmath.bindings import runtime
from planmath.core.arrays import package_named
from planmath.core.cuda.queue import Queue
from planmath.core.cuda.streams import wait_call
from planmath.core.executor import Program
from planmath.core.provider import Prepared
from planmath.core.slots import ArraySlot
from planmath.native.call import Call, Slot

#: Addresses in temporary memory are multiples of this many bytes, like those that `cudaMalloc` gives.
ALIGNMENT = 256

_TO_DEVICE, _TO_HOST = runtime.MemcpyKind.HOST_TO_DEVICE, runtime.MemcpyKind.DEVICE_TO_HOST


def synchronized(programs: Mapping[Hashable, Program], stream: int, queue: Queue) -> dict[Hashable, Program]:
    """The programs, each followed by waiting until the device has finished.

    Parameters
    ----------
    programs : dict
    stream : int
        The stream's number among a program's arrays.
    queue : Queue
        Where Python's functions put their work.
    """
    return {
        key: Program([*program.calls, wait_call(Slot(stream))], lock=program.lock)
        if program.function is None
        else Program(function=_waiting(program.function, queue))
        for key, program in programs.items()
    }


def _waiting(function: Callable[..., None], queue: Queue) -> Callable[[tuple, tuple], None]:
    """A function that returns when the device has done what it put on the stream."""

    def run(operands: tuple, results: tuple) -> None:
        function(operands, results)
        runtime.stream_synchronize(queue.stream)

    return run


def across(
    prepared: Prepared, operands: Sequence[ArraySlot], constants: Sequence[ArraySlot], results: Sequence[ArraySlot],
    written: int | None, queue: Queue,
) -> Prepared:  # fmt: skip
    """The same work for operands that are not where it is done.

    Parameters
    ----------
    prepared : Prepared
        Made for operands in the other memory space.
    operands, constants, results : sequence of ArraySlot
        Where they are. The constants are on the host always.
    written : int or None
        Index of the operand that the result replaces.
    queue : Queue
        The device's.
    """
    first_result = len(operands) + len(constants)
    crossing = dict(enumerate(operands)) | dict(enumerate(results, first_result))
    workspace = first_result + len(results)
    to_device = all(slot.device_id is None for slot in crossing.values())
    out = [*range(first_result, workspace), *([] if written is None else [written])]
    if not to_device and any(program.function for program in prepared.programs.values()):
        if prepared.prologue is not None:
            raise AssertionError("a program in Python with a prologue")
        programs = {
            key: Program(function=_around(program.function, operands, results, written, queue))
            for key, program in prepared.programs.items()
        }
        return Prepared(programs, prepared.workspace_size)
    size = prepared.workspace_size
    copies: dict[int, Slot] = {}
    for index, slot in crossing.items():
        start = -(-size // ALIGNMENT) * ALIGNMENT
        copies[index] = Slot(workspace, start - slot.low)
        size = start + slot.high - slot.low

    def copy(index: int, kind: int) -> Call:
        slot = crossing[index]
        here, there = Slot(index, slot.low), Slot(workspace, copies[index].offset + slot.low)
        target, source = (there, here) if (kind == _TO_DEVICE) == to_device else (here, there)
        return _memcpy(target, source, slot.high - slot.low, kind, Slot(workspace + 1))

    # what lies between a result's elements is copied back as well
    arriving = [*range(len(operands)), *(index for index in out if has_gaps(crossing[index]))]
    inward, outward = (_TO_DEVICE, _TO_HOST) if to_device else (_TO_HOST, _TO_DEVICE)
    wait = [wait_call(Slot(workspace + 1))]

    def moved(program: Program, indices: Iterable[int]) -> list[Call]:
        arriving = [copy(index, inward) for index in indices]
        return [*arriving, *([] if to_device else wait), *(call.redirected(copies) for call in program.calls)]

    programs = {
        key: Program(
            [
                *moved(program, dict.fromkeys(arriving)),
                *(copy(index, outward) for index in out),
                *(wait if to_device else []),
            ],
            lock=program.lock,
        )
        for key, program in prepared.programs.items()
    }
    prologue = None if prepared.prologue is None else Program(moved(prepared.prologue, prepared.watched))
    return Prepared(programs, size, prologue, prepared.watched)


def fetched(arrays: Sequence[np.ndarray], queue: Queue) -> list[np.ndarray]:
    """Copies on the host, with the same strides, of arrays on the queue's device, which are given by their outlines."""
    copies = []
    for array in arrays:
        low, high = byte_bounds(array)
        memory = np.empty(high - low, np.uint8)
        runtime.memcpy_async(memory.ctypes.data, low, high - low, _TO_HOST, queue.stream)
        start = array.__array_interface__["data"][0] - low
        copies.append(np.ndarray(array.shape, array.dtype, memory, start, array.strides))
    runtime.stream_synchronize(queue.stream)
    return copies


def send(copies: Sequence[np.ndarray], arrays: Sequence[np.ndarray], queue: Queue) -> None:
    """Put copies on the host, with the same strides and without gaps, into arrays on the queue's device."""
    for copy, array in zip(copies, arrays, strict=True):
        (source, end), (target, _) = byte_bounds(copy), byte_bounds(array)
        runtime.memcpy_async(target, source, end - source, _TO_DEVICE, queue.stream)
    runtime.stream_synchronize(queue.stream)  # the copies may be dropped now


def has_gaps(slot: ArraySlot) -> bool:
    """Whether there is memory between an array's elements that belongs to none of them."""
    return slot.high - slot.low != math.prod(slot.shape) * slot.itemsize


def _memcpy(target: Slot, source: Slot, size: int, kind: int, stream: Slot) -> Call:
    address = runtime.LIBRARY.address("cudaMemcpyAsync")
    return Call(
        address, [target, source, size, kind, stream], name="cudaMemcpyAsync", returns_status=True,
        error=runtime.CUDARuntimeError,
    )  # fmt: skip


def _around(
    function: Callable[..., None], operands: Sequence[ArraySlot], results: Sequence[ArraySlot], written: int | None,
    queue: Queue,
) -> Callable[[tuple, tuple], None]:  # fmt: skip
    """A program in Python for the host, on arrays of a device."""

    def host_like(slot: ArraySlot) -> Any:
        package = package_named(slot.package.host)
        name = str(slot.dtype).removeprefix("torch.")
        return package.empty(slot.shape, slot.strides, package.dtype(name), None)

    def copy(slot: ArraySlot, here: Any, there: Any, kind: int) -> None:
        device = slot.package.address(here) + slot.low
        host = package_named(slot.package.host).address(there) + slot.low
        pair = (host, device) if kind == _TO_HOST else (device, host)
        runtime.memcpy_async(*pair, slot.high - slot.low, kind, queue.stream)

    def run(given: tuple[Any, ...], wanted: tuple[Any, ...]) -> None:
        inputs, outputs = ([host_like(slot) for slot in slots] for slots in (operands, results))
        for slot, array, host in zip(operands, given, inputs, strict=False):
            copy(slot, array, host, _TO_HOST)
        for slot, array, host in zip(results, wanted, outputs, strict=True):
            if has_gaps(slot):
                copy(slot, array, host, _TO_HOST)
        runtime.stream_synchronize(queue.stream)
        function((*inputs, *given[len(operands) :]), tuple(outputs))
        for slot, array, host in zip(results, wanted, outputs, strict=True):
            copy(slot, array, host, _TO_DEVICE)
        if written is not None:
            copy(operands[written], given[written], inputs[written], _TO_DEVICE)
        runtime.stream_synchronize(queue.stream)  # the host's copies are dropped now

    return run
