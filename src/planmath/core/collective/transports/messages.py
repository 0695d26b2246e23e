"""Messages that are packed into memory of their own and sent by a library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from planmath.core.collective import deadline
from planmath.core.collective.agreement import agreed
from planmath.core.collective.exchange import AtOnce, Mailbox, Memory, Space, Traffic, own_copies
from planmath.core.collective.mpi_group import MPIProcessGroup
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.torch_group import TorchProcessGroup
from planmath.core.errors import UnavailableError


class MPITransport:
    name = "mpi"
    spaces: tuple[str, ...] = ("cpu", "cuda")

    def unavailable(self, group: ProcessGroup) -> str | None:
        return None if isinstance(group, MPIProcessGroup) else f"the group is a {type(group).__name__}"

    def session(self, group: ProcessGroup, room: int, space: Space) -> Session:
        return Session(MPIExchange, group, space)


class TorchTransport:
    name = "torch"
    spaces: tuple[str, ...] = ("cpu", "cuda")

    def unavailable(self, group: ProcessGroup) -> str | None:
        if not isinstance(group, TorchProcessGroup):
            return f"the group is a {type(group).__name__}"
        return None

    def session(self, group: ProcessGroup, room: int, space: Space) -> Session:
        return Session(TorchExchange, group, space)


class BroadcastTransport:
    """For groups of users' own, which have three collectives: each rank in turn tells all what it sends."""

    name = "broadcast"
    spaces: tuple[str, ...] = ("cpu", "cuda")

    def unavailable(self, group: ProcessGroup) -> str | None:
        return None

    def session(self, group: ProcessGroup, room: int, space: Space) -> Session:
        return Session(BroadcastExchange, group, space)


class Session:
    """Exchanges that have memory of their own."""

    def __init__(self, kind: type[PackedExchange], group: ProcessGroup, space: Space):
        self._kind, self._group, self._space = kind, group, space

    def exchange(self, traffic: Traffic, buffered: bool) -> PackedExchange:
        return self._kind(self._group, traffic, buffered, self._space)


class PackedExchange(AtOnce, ABC):
    """An exchange that packs what it sends, and unpacks what it received; a subclass sends.

    Attributes
    ----------
    out, into : Memory
        Of all messages that are sent, and received, in the order of ranks.
    sends, receives : list of int
        Bytes for and from each rank.
    """

    def __init__(self, group: Any, traffic: Traffic, buffered: bool, space: Space):
        self.group, self.space = group, space
        size = traffic.moves.itemsize
        self.sends, self.receives = [0] * group.nranks, [0] * group.nranks
        for sent in traffic.sent:
            self.sends[sent.target] = sent.elements * size
        for received in traffic.received:
            self.receives[received.source] = received.elements * size
        self.out, self.into = self._make(sum(self.sends)), self._make(sum(self.receives))
        send_starts, receive_starts = starts(self.sends), starts(self.receives)
        outbox, inbox = self.out.address, self.into.address
        self._packs = [(space.copy(traffic.pack(m)), outbox + send_starts[m.target]) for m in traffic.sent]
        #: for the result, and for the buffer: the copy of what stays, and those out of messages
        self._ways = [
            (
                own,
                [(space.copy(traffic.unpack(m, strides)), inbox + receive_starts[m.source]) for m in traffic.received],
            )
            for own, strides in zip(
                own_copies(traffic, space), (traffic.result_strides, traffic.dense), strict=True
            )
        ]  # fmt: skip
        self._memory = space.memory(traffic.size if buffered else 0)
        self.buffer = self._memory.address

    @abstractmethod
    def _make(self, size: int) -> Memory:
        """Memory for messages."""

    @abstractmethod
    def transfer(self) -> None:
        """Send what was packed, and receive."""

    def run(self, source: int, target: int) -> None:
        self._run(source, target, *self._ways[0])

    def run_into_buffer(self, source: int) -> None:
        self._run(source, self.buffer, *self._ways[1])

    def release(self) -> None:
        """Nothing to do."""

    def _run(self, source: int, target: int, own: Any, unpacks: Sequence[Any]) -> None:
        for copy, address in self._packs:
            copy.run(source, address)
        self.transfer()
        if own is not None:
            own.run(source, target)
        for copy, address in unpacks:
            copy.run(address, target)


class HostExchange(PackedExchange):
    """Packed messages that a library on the host sends.

    Attributes
    ----------
    outbox, inbox : numpy.ndarray
        Bytes of all messages on the host.
    """

    out: Mailbox
    into: Mailbox

    def __init__(self, group: Any, traffic: Traffic, buffered: bool, space: Space):
        super().__init__(group, traffic, buffered, space)
        self.outbox, self.inbox = self.out.host, self.into.host

    def _make(self, size: int) -> Mailbox:
        return self.space.mailbox(size)

    @abstractmethod
    def send(self) -> None:
        """Send the messages of the outbox, and receive those of the inbox."""

    def transfer(self) -> None:
        self.out.collect()
        self.send()
        self.into.spread()


def starts(sizes: Sequence[int]) -> list[int]:
    """Where messages of these sizes begin that follow one another."""
    return [0, *accumulate(sizes)][:-1]


class MPIExchange(HostExchange):
    """By one MPI_Ialltoallv, waiting for which has a deadline."""

    def __init__(self, group: MPIProcessGroup, traffic: Traffic, buffered: bool, space: Space):
        super().__init__(group, traffic, buffered, space)
        from mpi4py import MPI

        check_size(max(self.outbox.size, self.inbox.size), MPI.Get_version())
        self._communicator = group.private
        self._out = [self.outbox, (self.sends, starts(self.sends)), MPI.BYTE]
        self._in = [self.inbox, (self.receives, starts(self.receives)), MPI.BYTE]

    def send(self) -> None:
        self.group.wait(self._communicator.Ialltoallv(self._out, self._in))


def check_size(size: int, version: tuple[int, int]) -> None:
    """Raise where messages are longer than the numbers of bytes that a version of MPI's standard has.

    Examples
    --------
    >>> check_size(2**31, (4, 0))
    >>> check_size(2**31, (3, 1))
    Traceback (most recent call last):
    planmath.core.errors.UnavailableError: a rank sends or receives 2147483648 bytes at once, ...
    """
    if size >= 1 << 31 and version < (4, 0):
        raise UnavailableError(
            f"a rank sends or receives {size} bytes at once, and MPI {version[0]}.{version[1]} counts to "
            f"{(1 << 31) - 1}: take a library of MPI 4, or more ranks"
        )


class TorchExchange(HostExchange):
    """By torch.distributed's all_to_all_single."""

    def __init__(self, group: TorchProcessGroup, traffic: Traffic, buffered: bool, space: Space):
        super().__init__(group, traffic, buffered, space)
        self._out, self._in = group.tensor_over(self.outbox), group.tensor_over(self.inbox)

    def send(self) -> None:
        group = self.group
        out, into = self._out.to(group.device), self._in.to(group.device)
        group.distributed.all_to_all_single(into, out, self.receives, self.sends, group=group.torch_process_group)
        if into is not self._in:
            self._in.copy_(into)


class BroadcastExchange(HostExchange):
    """By one broadcast of each rank, of which every rank takes what is meant for it."""

    def __init__(self, group: ProcessGroup, traffic: Traffic, buffered: bool, space: Space):
        super().__init__(group, traffic, buffered, space)
        with agreed(group, f"{deadline.current()}, sizes") as agreement:
            agreement.local = self.sends
        table = np.array(agreement.everybody, np.int64)
        longest = table.sum(axis=1)
        self._rounds = []
        for rank in range(group.nranks):
            begin = int(table[rank, : group.rank].sum())
            self._rounds.append((int(longest[rank]), begin, begin + self.receives[rank], starts(self.receives)[rank]))
        self._heard = np.empty(int(longest.max(initial=0)), np.uint8)

    def send(self) -> None:
        for rank, (size, begin, end, at) in enumerate(self._rounds):
            if not size:
                continue
            if rank == self.group.rank:
                self.group.broadcast_buffer(self.outbox, root=rank)
            else:
                heard = self._heard[:size]
                self.group.broadcast_buffer(heard, root=rank)
                self.inbox[at : at + end - begin] = heard[begin:end]
