"""A group of one: what is sent is a copy."""

from __future__ import annotations

import numpy as np

from planmath.core.collective.exchange import Traffic
from planmath.core.collective.process_group import ProcessGroup


class SingleTransport:
    name = "copy"

    def unavailable(self, group: ProcessGroup) -> str | None:
        return None if group.nranks == 1 else f"the group has {group.nranks} ranks"

    def session(self, group: ProcessGroup, room: int) -> SingleSession:
        return SingleSession()


class SingleSession:
    def exchange(self, traffic: Traffic, buffered: bool) -> SingleExchange:
        return SingleExchange(traffic, buffered)


class SingleExchange:
    """The copy of one rank's section into another order."""

    def __init__(self, traffic: Traffic, buffered: bool):
        self._memory = np.empty(traffic.size if buffered else 0, np.uint8)
        self.buffer = self._memory.ctypes.data
        self._copy = traffic.keep_own(traffic.result_strides)
        self._into_buffer = traffic.keep_own(traffic.dense)

    def run(self, source: int, target: int) -> None:
        if self._copy is not None:
            self._copy.run(source, target)

    def run_into_buffer(self, source: int) -> None:
        if self._into_buffer is not None:
            self._into_buffer.run(source, self.buffer)

    def release(self) -> None:
        """Nobody else writes there."""
