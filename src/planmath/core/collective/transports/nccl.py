"""Messages between CUDA devices by NCCL: on several hosts, or where devices do not reach each other's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.bindings import nccl
from planmath.core.collective import deadline
from planmath.core.collective.agreement import agreed
from planmath.core.collective.exchange import Memory, Space, Traffic
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.transports.mapped import this_host
from planmath.core.collective.transports.messages import PackedExchange, starts
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.native.call import Call, Slot
from planmath.native.library import MissingLibraryError

#: Messages are bytes.
_BYTE = int(nccl.DataType.UINT8)
_OUT, _IN, _STREAM = range(3)


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
    """Exchanges that have memory of their own."""

    def __init__(self, group: ProcessGroup, communicator: int, space: Space):
        self._group, self._communicator, self._space = group, communicator, space

    def exchange(self, traffic: Traffic, buffered: bool) -> NCCLExchange:
        return NCCLExchange(self._group, traffic, buffered, self._space, self._communicator)


class NCCLExchange(PackedExchange):
    """By one group of sends and receives, on the stream of the execution."""

    def __init__(self, group: ProcessGroup, traffic: Traffic, buffered: bool, space: Any, communicator: int):
        super().__init__(group, traffic, buffered, space)
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
        if self._calls is not None:
            self._calls(self.out.address, self.into.address, self.space.stream)  # type: ignore[attr-defined]


def _call(name: str, words: list[int | Slot]) -> Call:
    return Call(nccl.LIBRARY.address(name), words, name=name, returns_status=True, error=nccl.NCCLError)
