"""What executions are timed by: the host's clock, or a CUDA device's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from planmath.core.cuda import devices
from planmath.core.cuda.streams import Event, fill
from planmath.native.forks import computed

#: Bytes written to push the operands out of the host's caches.
FLUSH = 64 << 20


def _check_that_it_ran(result: Any) -> None:
    """An executor that could not do its work returns None at once: that is no time to compare with others."""
    if result is None:
        raise AssertionError("a candidate was measured that did not run")


class Clock(Protocol):
    """What executions are timed by."""

    of_device: bool
    """Whether executions return before they are done, and are done on a device."""

    def now(self) -> float:
        """Seconds of the host's time since some moment."""

    def sleep(self, seconds: float) -> None:
        """Let the host wait."""

    def time(self, run: Callable[[], Any], calls: int) -> float:
        """Seconds for each of `calls` executions that follow each other."""

    def time_cold(self, run: Callable[[], Any]) -> float:
        """Seconds for one execution after the caches were filled with other data."""


class HostClock:
    """The host's clock, for executions that are done when they return."""

    of_device = False

    def now(self) -> float:
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    @computed
    def _flush(self) -> np.ndarray:
        return np.zeros(FLUSH, np.uint8)

    def time(self, run: Callable[[], Any], calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            result = run()
        end = time.perf_counter()
        _check_that_it_ran(result)
        return (end - start) / calls

    def time_cold(self, run: Callable[[], Any]) -> float:
        np.add(self._flush, 1, out=self._flush)
        return self.time(run, 1)


class DeviceClock(HostClock):
    """A CUDA device's clock, for executions that return when the work is on the stream.

    Parameters
    ----------
    queue : core.cuda.queue.Queue
    """

    of_device = True

    def __init__(self, queue: Any):
        self._queue = queue
        self._start, self._end = Event(timed=True), Event(timed=True)

    @computed
    def _memory(self) -> devices.DeviceMemory:
        size = 2 * devices.device(self._queue.device_id).l2_size
        return devices.DeviceMemory(size, self._queue.device_id, self._queue.stream)

    def time(self, run: Callable[[], Any], calls: int) -> float:
        return self._measure(run, calls) / calls

    def time_cold(self, run: Callable[[], Any]) -> float:
        fill(self._memory.address, self._memory.size, self._queue.stream)
        return self._measure(run, 1)

    def _measure(self, run: Callable[[], Any], calls: int) -> float:
        self._start.record(self._queue.stream)
        for _ in range(calls):
            result = run()
        self._end.record(self._queue.stream)
        _check_that_it_ran(result)
        return self._end.seconds_since(self._start)
