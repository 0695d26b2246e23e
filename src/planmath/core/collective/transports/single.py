"""A group of one: what is sent is a copy."""

from __future__ import annotations

from planmath.core.collective.exchange import AtOnce, Space, Traffic, own_copies
from planmath.core.collective.process_group import ProcessGroup


class SingleTransport:
    name = "copy"
    spaces: tuple[str, ...] = ("cpu", "cuda")

    def unavailable(self, group: ProcessGroup) -> str | None:
        return None if group.nranks == 1 else f"the group has {group.nranks} ranks"

    def session(self, group: ProcessGroup, room: int, space: Space) -> SingleSession:
        return SingleSession(space)


class SingleSession:
    def __init__(self, space: Space):
        self._space = space

    def exchange(self, traffic: Traffic, buffered: bool) -> SingleExchange:
        return SingleExchange(traffic, buffered, self._space)


class SingleExchange(AtOnce):
    """The copy of one rank's section into another order."""

    def __init__(self, traffic: Traffic, buffered: bool, space: Space):
        self._memory = space.memory(traffic.size if buffered else 0)
        self.buffer = self._memory.address
        self._copy, self._into_buffer = own_copies(traffic, space)

    def run(self, source: int, target: int) -> None:
        if self._copy is not None:
            self._copy.run(source, target)

    def run_into_buffer(self, source: int) -> None:
        if self._into_buffer is not None:
            self._into_buffer.run(source, self.buffer)

    def release(self) -> None:
        """Nobody else writes there."""
