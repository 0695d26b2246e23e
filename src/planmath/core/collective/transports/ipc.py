"""Ranks with CUDA devices of one host write into each other's memory.

Each rank's receive buffer is memory of its device that the other processes open (CUDA IPC). A message is a copy into
the receiver's buffer, on a stream of the plan's own, mostly by a copy engine. Numbers beside the buffers, which streams
write and wait for, tell when a buffer may be written to and when a message is there: the host waits for nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from planmath.bindings import driver, runtime
from planmath.core.collective import deadline
from planmath.core.collective.agreement import agreed, is_agreed_on, ranks_named
from planmath.core.collective.device_space import DeviceCopy, DeviceSpace, SideStream
from planmath.core.collective.exchange import Copying, Space, Tail, Traffic, own_copies, within
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.sections import extent_of
from planmath.core.collective.transports.device_watch import WATCH
from planmath.core.collective.transports.mapped import several_hosts
from planmath.core.cuda import devices
from planmath.core.cuda.device_arrays import pinned
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.log import LOGGER
from planmath.native.call import Call, Slot

#: By how much the number that tells what is there grows with an exchange; in between it counts parts of messages.
STEPS = 16
#: Bytes between numbers that different devices write.
LINE = 128
#: ``cudaIpcMemLazyEnablePeerAccess``.
_LAZY_PEER_ACCESS = 1


class IPCTransport:
    name = "ipc"
    spaces: tuple[str, ...] = ("cuda",)

    def missing(self) -> str | None:
        """Why this machine cannot use it, or None."""
        return devices.missing() or driver.LIBRARY.missing

    def unavailable(self, group: ProcessGroup) -> str | None:
        if group.nranks == 1:
            return "the group has one rank"
        return several_hosts(group, not self.missing(), self.missing() or "a rank has no device")

    def session(self, group: ProcessGroup, room: int, space: Space) -> IPCSession:
        assert isinstance(space, DeviceSpace)
        return IPCSession(group, room, space)


class Window:
    """The receive buffers of all ranks, as this rank's device reaches them.

    Parameters
    ----------
    group : ProcessGroup
    size : int
        Bytes of this rank's buffer.
    number : int
        Of the window among those of the group, equal on all ranks.

    Raises
    ------
    UnavailableError
        On all ranks, if a buffer cannot be made or opened on one of them.
    """

    def __init__(self, group: ProcessGroup, size: int, number: int):
        self.rank, self.number = group.rank, number
        self.head = LINE * (3 * group.nranks + 1)
        self._own = 0
        self._opened: dict[int, int] = {}
        call = deadline.current()
        handle = np.zeros(1, runtime.ipc_mem_handle_dtype)
        try:
            with agreed(group, f"{call}, memory of devices") as agreement:
                self._own = _made(self.head + size)
                with _as_unavailable("memory of this device cannot be shared with other processes"):
                    runtime.ipc_get_mem_handle(handle.ctypes.data, self._own)
                agreement.local = handle.view(np.int64).tolist()
            with agreed(group, f"{call}, opening"):
                for peer, words in enumerate(agreement.everybody):
                    if peer != group.rank:
                        self._opened[peer] = _opened(words, peer)
        except BaseException as error:
            if is_agreed_on(error):  # so all ranks are here; else another one may have the memory open
                with agreed(group, f"{call}, closing"):
                    self.close()
                self.free()
            raise
        self.bases = [self._opened.get(rank, self._own) for rank in range(group.nranks)]

    def buffer(self, rank: int) -> int:
        """Address of a rank's buffer."""
        return self.bases[rank] + self.head

    def ready(self, peer: int, at: int) -> int:
        """Address, on one rank's device, of the number up to which a peer's buffer may be written to."""
        return self.bases[at] + LINE * 2 * peer

    def arrived(self, source: int, target: int) -> int:
        """Address, on the target's device, of `STEPS` times the number of the exchange whose message is there."""
        return self.bases[target] + LINE * (2 * source + 1)

    def failed(self, source: int, target: int) -> int:
        """Address, on the target's device, of the exchange that a rank could not send all of, if there is one."""
        return self.bases[target] + self.head - LINE * (source + 2)

    @property
    def done(self) -> int:
        """Address of the number of the last exchange that this rank has done."""
        return self.bases[self.rank] + self.head - LINE

    def close(self) -> None:
        """Let go of the other ranks' memory."""
        while self._opened:
            runtime.ipc_close_mem_handle(self._opened.popitem()[1])

    def free(self) -> None:
        """Free this rank's own memory, which nobody else may have opened any more."""
        if self._own:
            runtime.free(self._own)
        self._own = 0


class _as_unavailable:
    def __init__(self, what: str):
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, runtime.CUDARuntimeError):
            raise UnavailableError(f"{self.what} ({error})") from error


def _made(size: int) -> int:
    with _as_unavailable(f"a receive buffer of {size} bytes could not be allocated on the device"):
        address: int = runtime.malloc(size)
    runtime.memset(address, 0, size)
    runtime.device_synchronize()
    return address


def _opened(words: Sequence[int], peer: int) -> int:
    handle = np.array(words, np.int64)
    with _as_unavailable(f"memory of the device of rank {peer} cannot be opened; is it of this host, and visible?"):
        return int(runtime.ipc_open_mem_handle(handle.ctypes.data, _LAZY_PEER_ACCESS))


class Windows:
    """The windows of a group, which are freed when no rank needs them any more.

    Who frees memory that another process has opened, or closes what a stream still writes to, breaks that. So what is
    dropped waits until the ranks next make a window together, and goes when all of them have dropped it.
    """

    def __init__(self) -> None:
        self.made = 0
        self.device_id: int | None = None
        self.dropped: list[Window] = []

    def make(self, group: ProcessGroup, size: int) -> Window:
        """A window. Collective."""
        runtime.device_synchronize()
        self.device_id = runtime.get_device()
        self.made += 1
        mine = {window.number for window in self.dropped}
        gone: set[int] = group.allreduce_object(mine, op=lambda a, b: a & b)
        ending = [window for window in self.dropped if window.number in gone]
        for window in ending:  # one by one: what is collected meanwhile, in any thread, is added to the list
            self.dropped.remove(window)
        if gone:
            with agreed(group, f"{deadline.current()}, closing"):
                for window in ending:
                    window.close()
            for window in ending:
                window.free()
        return Window(group, size, self.made)


_windows: dict[ProcessGroup, Windows] = {}


def windows_of(group: ProcessGroup) -> Windows:
    return _windows.setdefault(group, Windows())


def finish(group: ProcessGroup) -> None:
    """Wait until this rank writes into no other one's memory, which goes when that rank's process ends."""
    if group in _windows:
        with devices.on(_windows[group].device_id), suppress(runtime.CUDARuntimeError):
            runtime.device_synchronize()


@cache
def _stream_memory(name: str, flags: int) -> Program:
    """What is called with a stream, an address and a number."""
    return Program([Call(
        driver.LIBRARY.address(name), [Slot(0), Slot(1), Slot(2), flags], name=name, returns_status=True,
        error=driver.CUDADriverError,
    )])  # fmt: skip


def write_number(stream: int, address: int, number: int) -> None:
    """Let a stream write a number of 32 bits, when all that it does before is done."""
    _stream_memory("cuStreamWriteValue32_v2", driver.WRITE_VALUE_DEFAULT)(stream, address, number)


def wait_for_number(stream: int, address: int, number: int) -> None:
    """Let a stream wait until a number of 32 bits has been reached."""
    _stream_memory("cuStreamWaitValue32_v2", driver.WAIT_VALUE_GEQ)(stream, address, number)


class Pending(NamedTuple):
    """An exchange that is on the stream."""

    number: int
    since: float
    call: str
    targets: tuple[int, ...]
    sources: tuple[int, ...]


class Piece(NamedTuple):
    """What leaves together of the messages of an exchange."""

    works: int
    """How much of what is done meanwhile has to be done before."""
    copies: list[tuple[int, DeviceCopy]]
    """With the number of the target."""
    mark: int = 0
    """What is told to the targets afterwards, if anything."""


class IPCSession:
    """Exchanges by copies into the buffers of a window.

    Attributes
    ----------
    number : int
        Of the exchange that is going on, or was the last one, from 1.
    """

    def __init__(self, group: ProcessGroup, room: int, space: DeviceSpace):
        self.group, self.space = group, space
        self.number = 0
        self.windows = windows_of(group)
        self.window = self.windows.make(group, room)
        self.side = SideStream(space.device_id)
        self._failure: BaseException | None = None
        self._pending: deque[Pending] = deque()
        self._looking = SideStream(space.device_id)
        self._seen = pinned((self.window.head,), "uint8")
        self._free = [self.window.ready(group.rank, peer) for peer in range(group.nranks) if peer != group.rank]
        self.release()
        space.settle()

    def exchange(self, traffic: Traffic, buffered: bool) -> IPCExchange:
        return IPCExchange(self, traffic)

    def begin(self, targets: tuple[int, ...], sources: tuple[int, ...]) -> int:
        """The number of the exchange that begins."""
        if self._failure is not None:
            raise RuntimeError(
                f"an earlier execution of this object ended early on rank {self.group.rank}, so that the ranks are not "
                f"at the same call any more; free it on all ranks and create a new one ({self._failure})"
            )
        self.number += 1
        self._pending.append(Pending(self.number, time.monotonic(), deadline.current(), targets, sources))
        WATCH.add(self)
        return self.number

    def abandon(self, error: BaseException) -> None:
        """Remember that an exchange ended before all was sent, and tell the other ranks, who would wait for it."""
        self._failure = self._failure or error
        self._pending.pop()
        with suppress(runtime.CUDARuntimeError, driver.CUDADriverError):  # then they come to their deadline
            for peer in range(self.group.nranks):
                if peer != self.group.rank:
                    write_number(self._looking.address, self.window.failed(self.group.rank, peer), self.number)

    def release(self) -> None:
        """Tell all that this rank's buffer may be written to, when the stream has come so far."""
        stream = self.space.stream
        write_number(stream, self.window.done, self.number)
        for address in self._free:
            write_number(stream, address, self.number + 1)

    # What the thread that looks after streams does.

    def look(self) -> bool:
        """Forget what is done; let the stream go on, and remember why, where it waits in vain or for too long."""
        with devices.on(self.space.device_id):
            self._read()
            done = self._number_at(self.window.done)
            while self._pending and self._pending[0].number <= done:
                self._pending.popleft()
            if self._pending and (rank := self._failed_rank(self._pending[0].number)) is not None:
                call, me = self._pending[0].call, self.group.rank
                said = f"an execution ended early on rank {rank} in {call}, so that rank {me} waited for it in vain"
                self._let_go(RuntimeError(f"{said}; what was raised there says why"))
            elif self._pending and time.monotonic() - self._pending[0].since > deadline.seconds():
                self._expire(self._pending[0])
        return bool(self._pending)

    def _read(self) -> None:
        own, kind = self.window.bases[self.group.rank], runtime.MemcpyKind.DEVICE_TO_HOST
        runtime.memcpy_async(self._seen.ctypes.data, own, self.window.head, kind, self._looking.address)
        runtime.stream_synchronize(self._looking.address)

    def _number_at(self, address: int) -> int:
        offset = address - self.window.bases[self.group.rank]
        return int(self._seen[offset : offset + 4].view(np.uint32)[0])

    def _failed_rank(self, number: int) -> int | None:
        """A rank that could not send an exchange, or one before it."""
        me = self.group.rank
        for peer in range(self.group.nranks):
            if peer != me and 0 < self._number_at(self.window.failed(peer, me)) <= number:
                return peer
        return None

    def _expire(self, late: Pending) -> None:
        me, window = self.group.rank, self.window
        waits = [
            *((window.ready(peer, me), late.number, peer) for peer in late.targets),
            *((window.arrived(peer, me), late.number * STEPS, peer) for peer in late.sources),
        ]
        missing = sorted({peer for at, number, peer in waits if self._number_at(at) < number})
        if not missing:  # it is this rank's own device that has not come so far
            return
        with deadline.within(late.call):
            failure = deadline.expired(me, self.group.nranks, late.number, f"{ranks_named(missing)} did not come")
        self._let_go(failure)

    def _let_go(self, failure: Exception) -> None:
        """Let the stream go on, so that the program may end."""
        self._failure = self.space.failure = failure
        LOGGER.error("%s", failure)
        me, window = self.group.rank, self.window
        for peer in range(self.group.nranks):
            for address, steps in ((window.ready(peer, me), 1), (window.arrived(peer, me), STEPS)):
                write_number(self._looking.address, address, (self.number + (1 << 20)) * steps)
        self._pending.clear()

    def __del__(self) -> None:
        if hasattr(self, "window"):
            self.windows.dropped.append(self.window)


class IPCExchange:
    """An exchange by copies into the buffers of a window."""

    def __init__(self, session: IPCSession, traffic: Traffic):
        self._session, self._space, self._window = session, session.space, session.window
        self._rank = session.group.rank
        self.buffer = self._window.buffer(self._rank)
        self._own, self._own_into_buffer = own_copies(traffic, self._space)
        self._sent = [(m.target, traffic.push(m)) for m in traffic.sent]
        self._takes = [(m.source, self._space.copy(traffic.take(m))) for m in traffic.received]
        self._targets = traffic.moves.targets
        self._pieces = [Piece(1, self._copies())]
        self._peers = tuple([m.target for m in traffic.sent]), tuple([m.source for m in traffic.received])

    def _copies(
        self, source: tuple[int, int, int] | None = None, tail: Tail | None = None, number: int = 0
    ) -> list[tuple[int, DeviceCopy]]:
        """The copies of a piece, by the number of the target.

        Parameters
        ----------
        source : tuple of int, optional
            An axis of the source and its interval. Default: all of it.
        tail : Tail, optional
        number : int
            Which of the tail's intervals.
        """
        made = []
        for target, whole in self._sent:
            of: Copying | None = whole if source is None else within(whole, *source)
            if of is not None and tail is not None:
                extent = extent_of(self._targets[target][tail.axis])
                of = within(of, tail.axis, *tail.interval(extent, number), side=1)
            if of is not None:
                made.append((target, self._space.copy(of)))
        return made

    def split(self, axis: int, intervals: Sequence[tuple[int, int]], tail: Tail | None = None) -> None:
        """Let messages be sent in pieces: of intervals of an axis of the source, and of a tail."""
        head = intervals if tail is None else intervals[: tail.after]
        self._pieces = [Piece(1, self._copies((axis, *interval))) for interval in head]
        if tail is None:
            return
        late = intervals[tail.after :]
        for number in range(tail.parts):
            copies = self._copies((axis, late[0][0], late[-1][1]), tail, number)
            self._pieces.append(Piece(0 if number else len(late), copies, number + 1))

    def start(self, source: int, works: Sequence[Callable[[], None]] = ()) -> int:
        """Send, each piece when its work is on the stream; returns the number of the exchange."""
        session = self._session
        number = session.begin(*self._peers)
        try:
            self._send(source, number, works)
        except BaseException as error:
            session.abandon(error)
            raise
        return number

    def _send(self, source: int, number: int, works: Sequence[Callable[[], None]]) -> None:
        window, rank, side = self._window, self._rank, self._session.side
        todo, free, before = iter(works), set[int](), (number - 1) * STEPS
        for piece in self._pieces:
            for work in islice(todo, piece.works):
                work()
            if piece.works:
                side.follow(self._space.stream)
            for target, copy in piece.copies:
                if target not in free:
                    free.add(target)
                    wait_for_number(side.address, window.ready(target, rank), number)
                copy.run(source, window.buffer(target), side.address)
            if piece.mark:
                for target, _ in self._sent:
                    write_number(side.address, window.arrived(rank, target), before + piece.mark)
        for target, _ in self._sent:
            write_number(side.address, window.arrived(rank, target), number * STEPS)

    def keep_own(self, source: int) -> None:
        """Copy into the buffer what this rank sends to itself."""
        if self._own_into_buffer is not None:
            self._own_into_buffer.run(source, self.buffer)

    def await_from(self, peer: int, number: int, mark: int = STEPS) -> None:
        """Let the stream wait for a message, or for what is there of it with a piece of its tail, from 1."""
        there = (number - 1) * STEPS + mark
        wait_for_number(self._space.stream, self._window.arrived(peer, self._rank), there)

    def arrive(self, source: int, number: int) -> None:
        """Let the stream wait for all messages, beside which what stays is copied."""
        self.keep_own(source)
        for peer, _ in self._takes:
            self.await_from(peer, number)

    def finish(self) -> None:
        """Let the stream wait until all is sent, so that the source may be written to."""
        self._session.side.lead(self._space.stream)

    def run(self, source: int, target: int, works: Sequence[Callable[[], None]] = ()) -> None:
        number = self.start(source, works)
        if self._own is not None:
            self._own.run(source, target)
        for peer, take in self._takes:
            self.await_from(peer, number)
            take.run(self.buffer, target)
        self.finish()
        self.release()

    def run_into_buffer(
        self, source: int, works: Sequence[Callable[[], None]] = (), then: Sequence[Callable[[], None]] = ()
    ) -> None:
        """Send and receive; `then` is what to do with each piece of the tail when it is there."""
        number = self.start(source, works)
        try:
            self.keep_own(source)
            for mark, work in enumerate(then, 1):
                for peer, _ in self._takes:
                    self.await_from(peer, number, mark)
                work()
            for peer, _ in self._takes:
                self.await_from(peer, number)
        finally:
            self.finish()

    def abandon(self, error: BaseException) -> None:
        with suppress(RuntimeError):  # all know it already
            self._session.begin(*self._peers)
            self._session.abandon(error)

    def release(self) -> None:
        self._session.release()
