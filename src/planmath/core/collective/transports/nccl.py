"""Messages between CUDA devices by NCCL: on several hosts, or where devices do not reach each other's memory."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import numpy as np

from planmath.bindings import nccl, runtime
from planmath.core.collective import deadline
from planmath.core.collective.agreement import agreed
from planmath.core.collective.exchange import Memory, Space, Traffic
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.transports.device_watch import WATCH
from planmath.core.collective.transports.mapped import this_host
from planmath.core.collective.transports.messages import PackedExchange, starts
from planmath.core.cuda import devices
from planmath.core.cuda.streams import Event
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.log import LOGGER
from planmath.native.call import Call, Slot
from planmath.native.library import MissingLibraryError

#: Messages are bytes.
_BYTE = int(nccl.DataType.UINT8)
_OUT, _IN, _STREAM = range(3)
#: ``cudaErrorNotReady``.
_NOT_READY = 600


class NCCLTransport:
    name = "nccl"
    spaces: tuple[str, ...] = ("cuda",)

    def missing(self) -> str | None:
        """Why this machine cannot use it, or None."""
        return devices.missing() or nccl.LIBRARY.missing

    def version(self) -> str:
        """Of the library."""
        return str(nccl._api.loaded_version)

    def unavailable(self, group: ProcessGroup) -> str | None:
        return "the group has one rank" if group.nranks == 1 else self.missing()

    def session(self, group: ProcessGroup, room: int, space: Space) -> NCCLSession:
        assert space.device_id is not None
        return NCCLSession(group, communicator(group, space.device_id), space)


#: The communicators that were made, by group and device. They are kept: to end one is collective.
_communicators: dict[tuple[ProcessGroup, int], int] = {}


def communicator(group: ProcessGroup, device_id: int) -> int:
    """NCCL's communicator of a group's ranks, made when it is first needed. Collective.

    Raises
    ------
    UnavailableError
        On all ranks, where NCCL makes none, such as for two ranks on one device.
    """
    known = np.array([int((group, device_id) in _communicators)], np.int64)
    call = deadline.current()
    with agreed(group, f"{call}, devices") as agreement:
        agreement.local = [*known.tolist(), *_identity(device_id)]
    if all(words[0] for words in agreement.everybody):
        return _communicators[group, device_id]
    if len({words[1:] for words in agreement.everybody}) < group.nranks:
        raise UnavailableError("NCCL does not connect two ranks on one CUDA device")
    given = np.zeros(nccl.unique_id_dtype.itemsize, np.uint8)
    with agreed(group, f"{call}, NCCL"):
        if group.rank == 0:
            _explained(nccl.get_unique_id, given.ctypes.data)
    group.broadcast_buffer(given, root=0)
    with agreed(group, f"{call}, NCCL's communicator"):
        _communicators[group, device_id] = _explained(
            nccl.comm_init_rank, group.nranks, given.ctypes.data, group.rank
        )  # fmt: skip
    return _communicators[group, device_id]


def _identity(device_id: int) -> tuple[int, ...]:
    """What tells a device from others, of this host and of others."""
    return this_host(), *devices.pci_address(device_id)


def _explained(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (nccl.NCCLError, MissingLibraryError) as error:
        raise UnavailableError(f"NCCL does not connect the ranks: {error}") from error


class NCCLSession:
    """Exchanges that have memory of their own, and how far the last ones are."""

    def __init__(self, group: ProcessGroup, communicator: int, space: Any):
        self.group, self.communicator, self.space = group, communicator, space
        self._failure: Exception | None = None
        self._number = 0
        #: What is behind an exchange that is looked after, and behind the last one.
        self._watched, self._last = Event(), Event()
        #: Since when, in which call and which number of exchange is looked after, if any is.
        self._since: tuple[float, str, int] | None = None
        self._more = False
        self._lock = threading.Lock()

    def exchange(self, traffic: Traffic, buffered: bool) -> NCCLExchange:
        return NCCLExchange(self, traffic, buffered)

    def begin(self) -> None:
        """Raise where an earlier exchange did not end."""
        if self._failure is not None:
            raise RuntimeError(
                f"an earlier execution of this object ended early on rank {self.group.rank}, and NCCL's communicator "
                f"with it; free the object on all ranks and create a new one ({self._failure})"
            )

    def follow(self) -> None:
        """Look after what is on the stream now."""
        with self._lock:
            self._number += 1
            is_first = self._since is None
            (self._watched if is_first else self._last).record(self.space.stream)
            if is_first:
                self._since = time.monotonic(), deadline.current(), self._number
            else:
                self._more = True
        if is_first:
            WATCH.add(self)

    def look(self) -> bool:
        """Forget what is done; where one waits for too long, end the communicator and remember a TimeoutError."""
        with self._lock, devices.on(self.space.device_id):
            since = self._since
            if since is None:
                return False
            if _is_done(self._watched):
                self._watched, self._last = self._last, self._watched
                self._since = (time.monotonic(), since[1], self._number) if self._more else None
                self._more = False
            elif time.monotonic() - since[0] > deadline.seconds():
                self._expire(*since)
            return self._since is not None

    def _expire(self, began: float, call: str, number: int) -> None:
        with deadline.within(call):
            self._failure = deadline.expired(
                self.group.rank, self.group.nranks, number, "NCCL does not tell which of the other ranks did not come"
            )
        self.space.failure, self._since = self._failure, None
        LOGGER.error("%s", self._failure)
        # the stream goes on, so that the program may end; the next plan makes another communicator
        ended = [key for key, of in _communicators.items() if of == self.communicator]
        for key in ended:
            del _communicators[key]
        if ended:
            nccl.comm_abort(self.communicator)


def _is_done(event: Event) -> bool:
    try:
        runtime.event_query(event.address)
    except runtime.CUDARuntimeError as error:
        if error.status != _NOT_READY:
            raise
        return False
    return True


class NCCLExchange(PackedExchange):
    """By one group of sends and receives, on the stream of the execution."""

    def __init__(self, session: NCCLSession, traffic: Traffic, buffered: bool):
        super().__init__(session.group, traffic, buffered, session.space)
        self._session, communicator = session, session.communicator
        calls = [_call("ncclGroupStart", [])]
        for name, slot, sizes in (("ncclSend", _OUT, self.sends), ("ncclRecv", _IN, self.receives)):
            for peer, (size, at) in enumerate(zip(sizes, starts(sizes), strict=True)):
                if size:
                    calls.append(_call(name, [Slot(slot, at), size, _BYTE, peer, communicator, Slot(_STREAM)]))
        calls.append(_call("ncclGroupEnd", []))
        self._calls = Program(calls) if len(calls) > 2 else None

    def _make(self, size: int) -> Memory:
        memory: Memory = self.space.memory(size)
        return memory

    def transfer(self) -> None:
        if self._calls is None:
            return
        self._session.begin()
        try:
            self._calls(self.out.address, self.into.address, self.space.stream)  # type: ignore[attr-defined]
        except nccl.NCCLError:
            with suppress(nccl.NCCLError):  # a group that stays open would take in all later calls of the thread
                nccl.group_end()
            raise
        self._session.follow()


def _call(name: str, words: list[int | Slot]) -> Call:
    return Call(nccl.LIBRARY.address(name), words, name=name, returns_status=True, error=nccl.NCCLError)
