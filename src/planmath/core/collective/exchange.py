"""Exchanges: every rank has a section of an array, and shall have another one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from planmath.core.arrays import contiguous_strides
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.sections import Run, Section, count, meet, shape_of


class Moves(NamedTuple):
    """Which sections every rank has before and after an exchange; equal on all ranks."""

    sources: tuple[Section, ...]
    """By rank. Where several ranks have an element, the receiver itself sends it if it has it, else the first of them,
    as whole sections that are equal."""
    targets: tuple[Section, ...]
    itemsize: int
    """Bytes of an element."""
    order: tuple[int, ...]
    """The axes from the slowest to the fastest in memory of results."""

    def target_strides(self, rank: int) -> tuple[int, ...]:
        """In elements, of the dense array that a rank receives."""
        return contiguous_strides(shape_of(self.targets[rank]), self.order)


class Copying(NamedTuple):
    """What to copy from one strided array to another: a product of runs. A `Space` makes it ready."""

    axes: Sequence[Sequence[Run]]
    source_strides: Sequence[int]
    target_strides: Sequence[int]
    """In elements."""
    itemsize: int


class Message(NamedTuple):
    """What one rank sends to another."""

    source: int
    target: int
    axes: tuple[tuple[Run, ...], ...]
    """For each axis, runs from the source's local indices to the target's."""

    @property
    def elements(self) -> int:
        return count(self.axes)


def message(moves: Moves, source: int, target: int) -> Message | None:
    """What a rank sends to another, or to itself, if anything."""
    section = moves.sources[source]
    if source != target and (section == moves.sources[target] or section in moves.sources[:source]):
        return None  # the receiver has it, or another one sends it
    axes = meet(section, moves.targets[target])
    return None if axes is None else Message(source, target, axes)


def turns(rank: int, nranks: int) -> list[int]:
    """The other ranks in an order in which no two ranks turn to the same one at a time."""
    return [(rank + k) % nranks for k in range(1, nranks)]


class Traffic:
    """The messages that one rank sends and receives.

    Parameters
    ----------
    moves : Moves
    rank : int
    strides : tuple of int
        Of the array that it sends from, in elements.
    result_strides : tuple of int, optional
        Of the array that it receives in. Default: dense, in the order of the moves.
    """

    def __init__(
        self, moves: Moves, rank: int, strides: tuple[int, ...], result_strides: tuple[int, ...] | None = None
    ):
        self.moves, self.rank, self.strides = moves, rank, strides
        self.dense = moves.target_strides(rank)
        self.result_strides = self.dense if result_strides is None else result_strides
        others = turns(rank, len(moves.sources))
        self.own = message(moves, rank, rank)
        self.sent = [m for other in others if (m := message(moves, rank, other))]
        self.received = [m for other in reversed(others) if (m := message(moves, other, rank))]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.moves.targets[self.rank])

    @property
    def size(self) -> int:
        """Bytes of what it receives, its own part with them."""
        return prod(self.shape) * self.moves.itemsize

    @property
    def bytes_sent(self) -> int:
        return sum(m.elements for m in self.sent) * self.moves.itemsize

    def keep_own(self, strides: tuple[int, ...]) -> Copying | None:
        """The copy of what stays, from the array that is sent from to one with these strides."""
        return self.copy(self.own.axes, self.strides, strides) if self.own else None

    def push(self, sent: Message) -> Copying:
        """The copy of a message from the sender's array straight into the receiver's dense one."""
        return self.copy(sent.axes, self.strides, self.moves.target_strides(sent.target))

    def pack(self, sent: Message) -> Copying:
        """The copy of a message into memory of its own."""
        return self.copy(packed(sent.axes, 1), self.strides, self._message_strides(sent))

    def unpack(self, received: Message, strides: tuple[int, ...]) -> Copying:
        """The copy of a message out of memory of its own into an array with these strides."""
        return self.copy(packed(received.axes, 0), self._message_strides(received), strides)

    def take(self, received: Message) -> Copying:
        """The copy of a message from the receiver's dense array to its result."""
        axes = tuple([tuple([(target, target, n) for _, target, n in runs]) for runs in received.axes])
        return self.copy(axes, self.dense, self.result_strides)

    def copy(
        self, axes: Sequence[Sequence[Run]], source_strides: Sequence[int], target_strides: Sequence[int]
    ) -> Copying:
        return Copying(axes, source_strides, target_strides, self.moves.itemsize)

    def _message_strides(self, which: Message) -> tuple[int, ...]:
        return contiguous_strides(tuple([sum(run[2] for run in runs) for runs in which.axes]), self.moves.order)


def within(copying: Copying, axis: int, start: int, stop: int, side: int = 0) -> Copying | None:
    """The part of a copy whose places in an axis of the source, side 0, or of the target are in an interval, if any."""
    runs = []
    for run in copying.axes[axis]:
        before, n = max(start - run[side], 0), min(stop - run[side], run[2]) - max(start - run[side], 0)
        if n > 0:
            runs.append((run[0] + before, run[1] + before, n))
    if not runs:
        return None
    return copying._replace(axes=[runs if k == axis else of for k, of in enumerate(copying.axes)])


class Tail(NamedTuple):
    """What leaves last of a message: pieces of another axis, each of which is all that was still to come of it.

    So the receiver can go on with an interval of its own array while the next ones are on their way.
    """

    axis: int
    """Of the targets, each of which is cut into nearly equal intervals."""
    parts: int
    after: int
    """How many pieces of the source leave before; those after them together."""

    def interval(self, extent: int, number: int) -> tuple[int, int]:
        return extent * number // self.parts, extent * (number + 1) // self.parts


def packed(axes: Sequence[Sequence[Run]], side: int) -> list[list[Run]]:
    """The runs with the places of one side, 0 or 1, as they are in a message of nothing else."""
    found = []
    for runs in axes:
        starts = [0, *accumulate(n for _, _, n in runs)]
        found.append([
            (source, at, n) if side else (at, target, n) for (source, target, n), at in zip(runs, starts, strict=False)
        ])  # fmt: skip
    return found


class Copy(Protocol):
    """A copy that is made ready, between arrays at addresses that are given later."""

    def run(self, source: int, target: int) -> Any: ...


class Memory(Protocol):
    """Memory of a plan's own, as long as the object is there."""

    address: int


class Mailbox(Memory, Protocol):
    """Memory for messages that a library on the host sends or receives."""

    host: np.ndarray
    """Bytes on the host: what was packed at the address, after `collect`; `spread` brings there what was received."""

    def collect(self) -> None: ...

    def spread(self) -> None: ...


class Space(Protocol):
    """Where arrays are, and how they are copied there: on the host, or on a CUDA device, in the order of a stream."""

    name: str
    device_id: int | None

    def copy(self, copying: Copying) -> Copy: ...

    def memory(self, size: int) -> Memory: ...

    def mailbox(self, size: int) -> Mailbox: ...

    def settle(self) -> None:
        """Wait until what was done while planning is done."""


def own_copies(traffic: Traffic, space: Space) -> tuple[Copy | None, Copy | None]:
    """The copies of what stays, into the result and into the dense array."""
    into_result, dense = traffic.keep_own(traffic.result_strides), traffic.keep_own(traffic.dense)
    return into_result and space.copy(into_result), dense and space.copy(dense)


class Exchange(Protocol):
    """A planned exchange, executed again and again by all ranks in the same order."""

    buffer: int
    """Address of the dense array that `run_into_buffer` receives in."""

    def run(self, source: int, target: int) -> None:
        """Send from the array at one address, and receive in the array at the other."""

    def run_into_buffer(self, source: int) -> None:
        """Send, and receive in the buffer, which `release` gives back to the other ranks."""

    def start(self, source: int) -> int:
        """Begin what `run_into_buffer` does, with a number as the result, which `arrive` takes."""

    def arrive(self, source: int, number: int) -> None:
        """Wait until the buffer has all."""

    def finish(self) -> None:
        """Let the array that was sent from be written to."""

    def release(self) -> None:
        """Let the other ranks write into the buffer again."""

    def abandon(self, error: BaseException) -> None:
        """Do not take part in the next execution; where the transport can, the other ranks learn of it."""


class AtOnce:
    """Exchanges that do all of it at their start."""

    def start(self: Exchange, source: int) -> int:
        self.run_into_buffer(source)
        return 0

    def arrive(self, source: int, number: int) -> None:
        """It is there."""

    def finish(self) -> None:
        """It is sent."""

    def abandon(self, error: BaseException) -> None:
        """The others come to their deadline, or the launcher ends them."""


class Transport(Protocol):
    """A way in which messages get from rank to rank."""

    name: str

    def unavailable(self, group: ProcessGroup) -> str | None:
        """Why this machine or this group cannot use it, in words, or None."""

    spaces: tuple[str, ...]
    """Where the arrays may be: 'cpu', 'cuda'."""

    def session(self, group: ProcessGroup, room: int, space: Space) -> Session:
        """A place for exchanges. Collective; raises UnavailableError on all ranks where one has not the room."""


class Session(Protocol):
    """Exchanges that share memory, of which one is executed at a time, by all ranks in the same order."""

    def exchange(self, traffic: Traffic, buffered: bool) -> Exchange:
        """A planned exchange, into the receive buffer where `buffered`. All ranks make them in the same order."""
