"""Ranks of one host write into each other's memory.

Each rank's receive buffer is a file in memory (/dev/shm) that all ranks map. A message is one strided copy into the
receiver's buffer, and counters beside it tell when the buffer may be written to and when a message is there.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from planmath.core.collective import deadline
from planmath.core.collective.agreement import agreed, ranks_named
from planmath.core.collective.exchange import Space, Traffic, own_copies
from planmath.core.collective.exchange_kernels import Counter
from planmath.core.collective.process_group import ProcessGroup, ReductionOp
from planmath.core.collective.spaces import HOST
from planmath.core.errors import UnavailableError
from planmath.core.execution import available_cpus

FOLDER = Path("/dev/shm")
#: Bytes between counters, so that no two are in one cache line.
LINE = 64
#: How often a rank looks at a counter before it gives up its CPU, where there is a CPU for each rank.
SPINS = 2000


class MappedTransport:
    name = "mapped"
    spaces: tuple[str, ...] = ("cpu",)

    def unavailable(self, group: ProcessGroup) -> str | None:
        if group.nranks == 1:
            return "the group has one rank"
        return several_hosts(group, os.access(FOLDER, os.W_OK), f"{FOLDER} cannot be written to on a rank")

    def session(self, group: ProcessGroup, room: int, space: Space) -> MappedSession:
        return MappedSession(group, room)


def several_hosts(group: ProcessGroup, can: bool, otherwise: str) -> str | None:
    """Why the ranks cannot share memory, or None: they are on several hosts, or one of them cannot. Collective."""
    host = this_host() if can else 0
    found = np.array([host, -host], np.int64)
    group.allreduce_buffer(found, op=ReductionOp.MAX)
    if not found[1]:
        return otherwise
    return None if found[0] == -found[1] else "the ranks are on several hosts"


def this_host() -> int:
    """A number of this host, until it is started again."""
    return int(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:15], 16)


class Window:
    """The receive buffers of all ranks, as each rank maps them.

    Parameters
    ----------
    group : ProcessGroup
    size : int
        Bytes of this rank's buffer.

    Raises
    ------
    UnavailableError
        On all ranks, if a buffer cannot be made or mapped on one of them.
    """

    def __init__(self, group: ProcessGroup, size: int):
        self.group = group
        self.head = LINE * (1 + group.nranks)
        with agreed(group, f"{deadline.current()}, a name") as agreement:
            agreement.local = [int.from_bytes(os.urandom(7), "little")]
        ((name,), *_) = agreement.everybody
        paths = [FOLDER / f"planmath-{name:x}-{rank}" for rank in range(group.nranks)]
        made = False
        try:
            with agreed(group, f"{deadline.current()}, memory"):
                made = _make(paths[group.rank], self.head + size)
            self.maps: list[mmap.mmap] = []
            with agreed(group, f"{deadline.current()}, mapping"):
                self.maps = [_map(path) for path in paths]
        finally:
            if made:
                paths[group.rank].unlink(missing_ok=True)
        self.bases = [np.frombuffer(of, np.uint8).ctypes.data for of in self.maps]

    def buffer(self, rank: int) -> int:
        """Address of a rank's buffer."""
        return self.bases[rank] + self.head

    def ready(self, rank: int) -> Counter:
        """Up to which exchange a rank's buffer may be written to."""
        return Counter(self.bases[rank], self.maps[rank])

    def arrived(self, source: int, target: int) -> Counter:
        """Of which exchange the message from one rank to another is there."""
        return Counter(self.bases[target] + LINE * (1 + source), self.maps[target])


def _make(path: Path, size: int) -> bool:
    """Make a file of zeros that has its memory already. Raises UnavailableError where there is not enough."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        path.unlink()
        free = os.statvfs(FOLDER)
        raise UnavailableError(
            f"a receive buffer of {size} bytes does not fit into {FOLDER}, which has {free.f_bavail * free.f_frsize} "
            f"left ({error.strerror})"
        ) from None
    finally:
        os.close(descriptor)
    return True


def _map(path: Path) -> mmap.mmap:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        raise UnavailableError(
            f"{path} of another rank cannot be opened ({error.strerror}); do the ranks share {FOLDER}?"
        ) from None
    try:
        return mmap.mmap(descriptor, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    finally:
        os.close(descriptor)


class MappedSession:
    """Exchanges by copies into the buffers of a window.

    Attributes
    ----------
    number : int
        Of the exchange that is going on, or was the last one, from 1.
    broken : bool
        Whether one ended early.
    """

    def __init__(self, group: ProcessGroup, room: int):
        self.group, self.window = group, Window(group, room)
        self.number, self.broken = 0, False
        self.ready = self.window.ready(group.rank)
        self.ready.raise_to(1)

    def exchange(self, traffic: Traffic, buffered: bool) -> MappedExchange:
        return MappedExchange(self, traffic)

    def begin(self) -> int:
        """The number of the exchange that begins."""
        if self.broken:
            raise RuntimeError(
                f"an earlier execution of this object ended early on rank {self.group.rank}, so that the ranks are not "
                "at the same call any more; free it on all ranks and create a new one"
            )
        self.broken = True  # until all waits are over
        self.number += 1
        return self.number


class MappedExchange:
    """An exchange by copies into the buffers of a window."""

    def __init__(self, session: MappedSession, traffic: Traffic):
        group, window = session.group, session.window
        rank = group.rank
        self._session, self._rank, self._nranks = session, rank, group.nranks
        self.buffer = window.buffer(rank)
        self._own, self._own_into_buffer = own_copies(traffic, HOST)
        self._pushes = [
            (m.target, window.ready(m.target), HOST.copy(traffic.push(m)), window.buffer(m.target),
             window.arrived(rank, m.target))
            for m in traffic.sent
        ]  # fmt: skip
        self._takes = [
            (m.source, window.arrived(m.source, rank), HOST.copy(traffic.take(m))) for m in traffic.received
        ]
        self._spins = SPINS if group.nranks <= available_cpus() else 0

    def run(self, source: int, target: int) -> None:
        number = self._push(source)
        if self._own is not None:
            self._own.run(source, target)
        for peer, counter, take in self._takes:
            self._await(number, counter, peer, "its message has not come")
            take.run(self.buffer, target)
        self._session.broken = False
        self.release()

    def run_into_buffer(self, source: int) -> None:
        self.arrive(source, self.start(source))

    def start(self, source: int) -> int:
        if self._own_into_buffer is not None:
            self._own_into_buffer.run(source, self.buffer)
        return self._push(source)

    def arrive(self, source: int, number: int) -> None:
        for peer, counter, _ in self._takes:
            self._await(number, counter, peer, "its message has not come")
        self._session.broken = False

    def finish(self) -> None:
        """It is sent."""

    def abandon(self, error: BaseException) -> None:
        """The others come to their deadline, or the launcher ends them."""

    def release(self) -> None:
        self._session.ready.raise_to(self._session.number + 1)

    def _push(self, source: int) -> int:
        number = self._session.begin()
        for peer, ready, copy, buffer, arrived in self._pushes:
            self._await(number, ready, peer, "its buffer is not free")
            copy.run(source, buffer)
            arrived.raise_to(number)
        return number

    def _await(self, number: int, counter: Counter, peer: int, otherwise: str) -> None:
        if not counter.wait(number, self._spins):
            missing = sorted({peer, *(p for p, other, _ in self._takes if not other.has_reached(number))})
            raise deadline.expired(
                self._rank, self._nranks, number, f"{ranks_named(missing)} did not come ({otherwise})"
            )
