"""Memory of a CUDA device in exchanges, and copies there: by the copy engines, or by a kernel where rows are short."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import NamedTuple

from planmath.bindings import runtime
from planmath.core.collective import device_sections
from planmath.core.collective.exchange import Copying
from planmath.core.collective.sections import Run
from planmath.core.cuda import devices, strided_copy
from planmath.core.cuda.device_arrays import pinned
from planmath.core.cuda.queue import Queue
from planmath.core.cuda.streams import Event
from planmath.core.executor import Program
from planmath.native.call import Call, Slot

#: The copy engines take rows of at least so many bytes, in at most so many copies of many rows each.
ROW, COPIES = 128, 64
#: Bytes between rows, at most, for the copy engines: ``memPitch`` of every device.
PITCH = (1 << 31) - 1
#: Copies with constant steps of which a copy may be made up, before one kernel looks up all places.
PARTS = 4
#: What a kernel copies at a time, where all places are multiples of it.
WIDE = 16
#: ``cudaMemcpyDefault``: between whatever spaces the addresses are in.
_DEFAULT = int(runtime.MemcpyKind.DEFAULT)
_NON_BLOCKING = 1
#: What a copy's program finds as its addresses.
_SOURCE, _TARGET, _STREAM = range(3)


class Strided(NamedTuple):
    """A copy with constant steps, all in bytes."""

    source: int
    target: int
    axes: tuple[tuple[int, int, int], ...]
    """Extent, and the steps of source and target, of each axis from the outermost to the innermost."""


def strided_parts(copying: Copying) -> list[Strided]:
    """A copy of a product of runs as copies with constant steps, as few as equal lengths and distances allow."""
    size, steps = copying.itemsize, list(zip(copying.source_strides, copying.target_strides, strict=True))
    found = []
    for chosen in product(*[_series(runs) for runs in copying.axes]):
        source = target = 0
        axes: list[tuple[int, int, int]] = []
        for (first, other, repeats, read, written, n), (step, to) in zip(chosen, steps, strict=True):
            source, target = source + first * step * size, target + other * to * size
            axes += [(repeats, read * step * size, written * to * size), (n, step * size, to * size)]
        found.append(Strided(source, target, _joined(axes)))
    return found


def _series(runs: Sequence[Run]) -> list[tuple[int, int, int, int, int, int]]:
    """Runs of equal lengths at equal distances: where the first is, how many, their distances, their length."""
    found, i = [], 0
    while i < len(runs):
        source, target, n = runs[i]
        read = written = 0
        j = i + 1
        if j < len(runs):
            read, written = runs[j][0] - source, runs[j][1] - target
        while j < len(runs) and runs[j] == (source + (j - i) * read, target + (j - i) * written, n):
            j += 1
        found.append((source, target, j - i, read, written, n))
        i = j
    return found


def _joined(axes: Sequence[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Axes by the order in the target's memory; those that follow one another in both arrays are one."""
    joined: list[tuple[int, int, int]] = []
    for n, read, written in sorted((axis for axis in axes if axis[0] > 1), key=lambda axis: -abs(axis[2])):
        if joined and joined[-1][1] == n * read and joined[-1][2] == n * written:
            joined[-1] = (joined[-1][0] * n, read, written)
        else:
            joined.append((n, read, written))
    return tuple(joined)


class DeviceCopy:
    """A copy, between arrays at addresses that are given later, of one device or of two that reach each other."""

    def __init__(self, copying: Copying, space: DeviceSpace):
        self._space = space
        self.size = prod(sum(run[2] for run in runs) for runs in copying.axes) * copying.itemsize
        device_id = space.queue.device_id
        parts = strided_parts(copying) if self.size else []
        plain, wide = list[Call](), list[Call]()
        if len(parts) > PARTS and len(copying.axes) <= device_sections.MOST_AXES and strided_copy.available(device_id):
            plain = wide = device_sections.calls(copying, Slot(_SOURCE), Slot(_TARGET), Slot(_STREAM), space.queue)
            parts = []
        for part in parts:
            narrow, broad = _calls(part, copying.itemsize, device_id)
            plain += narrow
            wide += broad
        self._plain = Program(plain) if plain else None
        self._wide = Program(wide) if wide else None

    def run(self, source: int, target: int, stream: int | None = None) -> None:
        """Put the copy on a stream; by default on the one of the execution."""
        program = self._plain if (source | target) % WIDE else self._wide
        if program is not None:
            program(source, target, self._space.queue.stream if stream is None else stream)


def _calls(part: Strided, itemsize: int, device_id: int) -> tuple[list[Call], list[Call]]:
    """The calls for any addresses, and for those that are multiples of `WIDE`."""
    row, rest = itemsize, part.axes
    if rest and rest[-1][1] == rest[-1][2] == itemsize:
        row, rest = rest[-1][0] * itemsize, rest[:-1]
    if not rest:
        made = [_call("cudaMemcpyAsync", part, row, ())]
        return made, made
    # the rows of one call are those of the longest axis along which the copy engines go
    pitched = [row <= min(steps) and max(steps) <= PITCH for _, *steps in rest]
    lines = max(range(len(rest)), key=lambda k: (pitched[k], rest[k][0]))
    others = [axis for k, axis in enumerate(rest) if k != lines]
    copies = prod(axis[0] for axis in others)
    long_rows = row >= ROW and copies <= COPIES and pitched[lines]
    if not long_rows and strided_copy.available(device_id):
        narrow = _kernel(part, part.axes, itemsize, device_id)
        steps = [row, part.source, part.target, *(step for axis in rest for step in axis[1:])]
        width = WIDE if all(step % WIDE == 0 for step in steps) else itemsize
        if width == itemsize:
            return narrow, narrow
        return narrow, _kernel(part, (*rest, (row // width, width, width)), width, device_id)
    made = []
    shape = others if pitched[lines] else list(rest)
    for place in product(*[range(axis[0]) for axis in shape]):
        at = Strided(
            part.source + sum(i * axis[1] for i, axis in zip(place, shape, strict=True)),
            part.target + sum(i * axis[2] for i, axis in zip(place, shape, strict=True)),
            (),
        )
        made.append(_call("cudaMemcpy2DAsync" if pitched[lines] else "cudaMemcpyAsync", at, row, rest[lines]))
    return made, made


def _call(name: str, part: Strided, row: int, lines: tuple[int, ...]) -> Call:
    source, target = Slot(_SOURCE, part.source), Slot(_TARGET, part.target)
    words: list[int | Slot] = [target, source, row, _DEFAULT, Slot(_STREAM)]
    if name == "cudaMemcpy2DAsync":
        words = [target, lines[2], source, lines[1], row, lines[0], _DEFAULT, Slot(_STREAM)]
    return Call(
        runtime.LIBRARY.address(name), words, name=name, returns_status=True, error=runtime.CUDARuntimeError
    )  # fmt: skip


def _kernel(part: Strided, axes: Sequence[tuple[int, int, int]], size: int, device_id: int) -> list[Call]:
    source, target = Slot(_SOURCE, part.source), Slot(_TARGET, part.target)
    return strided_copy.calls(axes, size, source, target, Slot(_STREAM), device_id)


class DeviceMemory:
    """Temporary memory on the device."""

    def __init__(self, size: int, queue: Queue):
        self._owner, self.address = queue.allocate(max(size, 1))


class DeviceMailbox:
    """Messages on the device, and a copy of them on the host."""

    def __init__(self, size: int, queue: Queue):
        self._queue = queue
        self.host = pinned((size,), "uint8")
        self._memory = DeviceMemory(size, queue)
        self.address = self._memory.address

    def collect(self) -> None:
        """Bring what was packed to the host, and wait for it."""
        if self.host.size:
            runtime.memcpy_async(
                self.host.ctypes.data, self.address, self.host.size, runtime.MemcpyKind.DEVICE_TO_HOST,
                self._queue.stream,
            )  # fmt: skip
        runtime.stream_synchronize(self._queue.stream)  # what was spread before is there, too

    def spread(self) -> None:
        """Bring what was received to the device."""
        if self.host.size:
            runtime.memcpy_async(
                self.address, self.host.ctypes.data, self.host.size, runtime.MemcpyKind.HOST_TO_DEVICE,
                self._queue.stream,
            )  # fmt: skip


class DeviceSpace:
    """Arrays on a device.

    Parameters
    ----------
    queue : Queue
        Of the operation: the work is put on the stream that it has at each execution.
    """

    name = "cuda"

    def __init__(self, queue: Queue):
        self.queue, self.device_id = queue, queue.device_id
        #: Why an execution ended early, which nobody was told yet.
        self.failure: Exception | None = None

    @property
    def stream(self) -> int:
        return self.queue.stream

    def copy(self, copying: Copying) -> DeviceCopy:
        return DeviceCopy(copying, self)

    def memory(self, size: int) -> DeviceMemory:
        return DeviceMemory(size, self.queue)

    def mailbox(self, size: int) -> DeviceMailbox:
        return DeviceMailbox(size, self.queue)

    def settle(self) -> None:
        """Wait until what was put on the stream is done: before other ranks may write into a buffer, it is cleared."""
        runtime.stream_synchronize(self.queue.stream)


class SideStream:
    """A stream of a plan's own, beside the one of the executions.

    Parameters
    ----------
    device_id : int
    urgent : bool
        Whether its kernels come before those of other streams.
    """

    def __init__(self, device_id: int, *, urgent: bool = False):
        self.device_id, self.address = device_id, 0
        priority = runtime.device_get_stream_priority_range()[1] if urgent else 0
        self.address = runtime.stream_create_with_priority(_NON_BLOCKING, priority)
        self._event = Event()

    def follow(self, stream: int) -> None:
        """Wait for what is on another stream by now."""
        self._event.record(stream)
        self._event.delay(self.address)

    def lead(self, stream: int) -> None:
        """Let another stream wait for what is on this one by now."""
        self._event.record(self.address)
        self._event.delay(stream)

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            with devices.on(self.device_id):
                runtime.stream_destroy(self.address)
