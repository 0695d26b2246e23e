"""Measure every algorithm on the real operands and find the best.

On the host, each candidate is run with its operands in the caches (warm), the usual case of repeated executions; the
best ones are also run after the caches were filled with other data (cold). The warm time ranks them; among those
within two per cent of the best, which is no more than the noise, the cold time decides, unless they take so long that
they read more than a cache holds. On a CUDA device the cold times, with the L2 cache flushed before each run, rank
them: that is how kernels find operands that just arrived.
"""

from __future__ import annotations

import logging
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from planmath.core.cuda import devices
from planmath.core.cuda.streams import Event, fill
from planmath.core.log import format_seconds
from planmath.core.provider import Algorithm
from planmath.core.tuning.record import Measurement
from planmath.native.forks import computed

#: A candidate this many times slower than the best in a first look, which may fall on a slow moment, is measured no
#: further.
PRUNE_FACTOR = 3.0
#: How often each of the others has its turn.
ROUNDS = 3
#: On the host: how near to the best one has to be for a turn in each round. What was measured in one slow moment of the
#: machine is up to twice as slow.
TURNS = (PRUNE_FACTOR, 1.6, 1.3)
#: Those that are as near as this after them have so many more. The median of these ranks them: the least would be that
#: of whichever met the quietest moment, where the same product takes up to a fifth longer at other times.
WITHIN, LAST_TURNS = 1.15, 7
#: Seconds after which a run counts as long. One that takes this many times the best at its very first call is not
#: called again; the others are called once more at first sight, and what the caches held before does not matter.
LONG, HOPELESS_FACTOR = 0.05, 8
#: A tie: warm times nearer to each other than this are ranked by the cold ones.
TIE = 1.02
#: What a way that leaves threads behind which look for work has to be faster by than one that leaves none, if it saves
#: more time than they look; and if it does not.
WORTH_SPINNING, WORTH_DISTURBING = 1.2, 2.0
#: Seconds that one repetition should at least take, so that the clock's resolution does not matter.
SHORTEST = 200e-6
#: Seconds after which a slow candidate's repetitions are cut short.
LONGEST = 0.5
#: Bytes written to push the operands out of the caches.
FLUSH = 64 << 20

#: Seconds for which a device runs before it is measured, until its clock rates are what its power allows.
LEAD_IN = 0.1
#: Kernels that take longer than this many seconds read more than a cache holds, and are measured so long at a time.
SURELY_COLD, SUSTAINED = 100e-6, 30e-3
#: Of those, one this many times slower than the best has no further turn; and how near to the best are those that have
#: some more. One turn differs from the next by up to a tenth.
BEHIND, CLOSE, FINAL_ROUNDS = 1.2, 1.05, 6

_Candidate = tuple[Algorithm, Callable[[], Any], float]


def measure(
    candidates: Sequence[_Candidate],
    *,
    iterations: int,
    logger: logging.Logger,
    clock: Clock | None = None,
) -> list[Measurement]:
    """Measure the candidates and sort them, the best first.

    Parameters
    ----------
    candidates : sequence of (algorithm, run, lingers)
        What to call, which returns a result or raises, and for how many seconds its library's threads keep a CPU busy
        afterwards.
    iterations : int
        Repetitions of those in the race, half of them in each turn, of which the fastest counts.
    clock : Clock, optional
        Default: the host's.
    """
    clock = HostClock() if clock is None else clock
    pause = _Pause()
    counts: dict[Algorithm, int] = {}
    warm: dict[Algorithm, float] = {}
    candidates = _with_few_pauses(candidates)
    for algorithm, run, lingers in candidates:
        pause.before(algorithm, lingers)
        first = clock.time(run, 1)  # pays for pages and for threads that start
        if first > LONG and first > HOPELESS_FACTOR * min(warm.values(), default=first):
            counts[algorithm], warm[algorithm] = 1, first
        elif first > LONG:
            counts[algorithm], warm[algorithm] = 1, clock.time(run, 1)
        else:
            counts[algorithm] = _calls_per_repetition(clock, run)
            warm[algorithm] = min(clock.time(run, counts[algorithm]) for _ in range(3))
        pause.after(algorithm, lingers)
        logger.info("%s: %s at first sight.", algorithm, format_seconds(warm[algorithm]))
    limit = PRUNE_FACTOR * min(warm.values())
    racing = [candidate for candidate in candidates if warm[candidate[0]] <= limit]
    cold: dict[Algorithm, float] = {}
    if clock.ranks_cold:
        cold = _race_cold(racing, clock, iterations, warm)
        ranked = sorted(warm, key=lambda a: (a not in cold, cold.get(a, warm[a])))
        return [Measurement(a, warm[a], cold.get(a)) for a in ranked]
    last = _race_warm(racing, clock, iterations, warm, counts, pause)
    best = min(last, key=lambda candidate: warm[candidate[0]])
    tied = [c for c in last if warm[c[0]] <= TIE * warm[best[0]]] if warm[best[0]] < LONG else [best]
    for algorithm, run, lingers in tied:
        pause.before(algorithm, lingers)
        cold[algorithm] = min(clock.time_cold(run) for _ in range(3 if len(tied) > 1 else 1))
        pause.after(algorithm, lingers)
    raced = {algorithm for algorithm, _, _ in last}
    best_first = sorted(warm, key=lambda a: (a not in raced, cold.get(a, math.inf), warm[a]))
    return [Measurement(a, warm[a], cold.get(a)) for a in best_first]


def _race_warm(
    racing: Sequence[_Candidate], clock: Clock, iterations: int, warm: dict[Algorithm, float],
    counts: Mapping[Algorithm, int], pause: _Pause,
) -> list[_Candidate]:  # fmt: skip
    """Measure the candidates in turns, so that a slow moment of the machine does not fall on one alone; those that are
    near the best to the end. `warm` has their times before and after."""

    def turn(candidate: _Candidate) -> float:
        algorithm, run, lingers = candidate
        short = warm[algorithm] < LONG
        pause.before(algorithm, lingers)
        if short:
            run()  # into the caches
        start = time.perf_counter()
        times: list[float] = []
        while len(times) < (max(1, iterations // 2) if short else 1) and time.perf_counter() - start <= LONGEST:
            times.append(clock.time(run, counts[algorithm]))
        pause.after(algorithm, lingers)
        return min(times)

    for behind in TURNS:
        limit = behind * min(warm.values())
        for candidate in racing:
            if warm[candidate[0]] <= limit:
                warm[candidate[0]] = min(warm[candidate[0]], turn(candidate))
    limit = WITHIN * min(warm.values())
    last = [candidate for candidate in racing if warm[candidate[0]] <= limit]
    if len(last) > 1:
        turns = [[turn(candidate) for candidate in last] for _ in range(LAST_TURNS)]
        for (algorithm, _, _), times in zip(last, zip(*turns, strict=True), strict=True):
            warm[algorithm] = statistics.median(times)
    return last


def prefer_quiet(
    measured: Sequence[Measurement], candidates: Sequence[_Candidate], usual: tuple[str, str | None]
) -> list[Measurement]:
    """The measurements, the one to choose first, for operations of which programs make many different ones in turn.

    Threads that look for work after a call are in the way of all others: products took twice as long after one of
    another library, and so did what planmath's own threads share, which end with the call (2 CPUs). So what leaves such
    threads behind is chosen only where it saves more time than they look, or where it belongs to the usual library,
    whose products may come next, and is twice as fast.

    Parameters
    ----------
    measured : sequence of Measurement
        The best first.
    candidates : sequence of (algorithm, run, lingers)
    usual : (str, str or None)
        The library: the provider, and which of several libraries.
    """
    lingering = {algorithm: lingers for algorithm, _, lingers in candidates if lingers}
    quiet = next((m for m in measured if m.algorithm not in lingering), None)
    if quiet is None:
        return sorted(measured, key=lambda m: _library_of(m.algorithm) != usual)

    def worth_it(m: Measurement) -> bool:
        saves = quiet.warm - m.warm > lingering.get(m.algorithm, 0.0)
        disturbs = WORTH_DISTURBING if _library_of(m.algorithm) == usual else math.inf
        return quiet.warm > (WORTH_SPINNING if saves else disturbs) * m.warm

    chosen = next(filter(worth_it, measured), quiet)
    return [chosen, *(m for m in measured if m is not chosen)]


def _race_cold(
    racing: Sequence[_Candidate], clock: Clock, iterations: int, expected: Mapping[Algorithm, float]
) -> dict[Algorithm, float]:
    """The time of each candidate with cold caches. They take turns, so that all meet the same clock rates."""
    if min(expected[algorithm] for algorithm, _, _ in racing) > SURELY_COLD:
        return _race_sustained(racing, clock, expected)
    start = time.perf_counter()
    while time.perf_counter() - start < LEAD_IN:
        clock.time(racing[0][1], 10)
    samples: dict[Algorithm, list[float]] = {algorithm: [] for algorithm, _, _ in racing}
    start = time.perf_counter()
    for _ in range(ROUNDS * iterations):
        for algorithm, run, _ in racing:
            samples[algorithm].append(clock.time_cold(run))
        if time.perf_counter() - start > LONGEST * len(racing):
            break
    return {algorithm: _undisturbed(times) for algorithm, times in samples.items()}


def _undisturbed(times: Sequence[float]) -> float:
    """The mean of all but the slow quarter: it tells more than the median of a few, counted in half microseconds."""
    return statistics.fmean(sorted(times)[: math.ceil(0.75 * len(times))])


def _race_sustained(
    racing: Sequence[_Candidate], clock: Clock, expected: Mapping[Algorithm, float]
) -> dict[Algorithm, float]:
    """The time of each candidate at the rate that the device's power allows it for long.

    That differs between kernels of the same speed, so each begins its turns with as much untimed work. It also depends
    on what ran before: behind a kernel that draws less power, one is faster for a while. So the turns are in another
    order in each round. The first ones find the device cooler than it is for long, and only tell who is far behind.
    Operands that take so long to read push each other out of the caches.
    """
    turns: dict[Algorithm, list[float]] = {algorithm: [] for algorithm, _, _ in racing}
    order, shuffle = list(racing), random.Random(0).shuffle

    def typical(algorithm: Algorithm) -> float:
        return _undisturbed(turns[algorithm][1:] or turns[algorithm])

    clock.time(racing[0][1], math.ceil(LEAD_IN / expected[racing[0][0]]))
    for played in range(ROUNDS + FINAL_ROUNDS):
        near = BEHIND if played < ROUNDS else CLOSE
        limit = near * min(map(typical, turns)) if played else math.inf
        shuffle(order)
        for algorithm, run, _ in order:
            if not played or typical(algorithm) <= limit:
                calls = math.ceil(SUSTAINED / expected[algorithm])
                clock.time(run, calls)
                turns[algorithm].append(clock.time(run, calls))
    return {algorithm: typical(algorithm) for algorithm in turns}


class _Pause:
    """Waits until the threads of the library that ran last have gone to sleep, unless the next candidate uses them."""

    def __init__(self) -> None:
        self.library: tuple[str, str | None] = "", None
        self.until = 0.0

    def before(self, algorithm: Algorithm, lingers: float) -> None:
        remaining = self.until - time.perf_counter()
        if remaining > 0 and not (lingers and _library_of(algorithm) == self.library):
            time.sleep(remaining)

    def after(self, algorithm: Algorithm, lingers: float) -> None:
        self.library, self.until = _library_of(algorithm), time.perf_counter() + lingers


def _with_few_pauses(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The first, which is expected to be the fastest, then those that leave no threads behind, then the libraries."""
    rest = sorted(candidates[1:], key=lambda c: (c[2], *map(str, _library_of(c[0]))))
    return [*candidates[:1], *rest]


def _library_of(algorithm: Algorithm) -> tuple[str, str | None]:
    """What tells apart the libraries whose threads an algorithm uses: a provider may have products of several."""
    return algorithm.provider, algorithm.get("product")


def _calls_per_repetition(clock: Clock, run: Callable[[], Any]) -> int:
    return max(1, min(1000, int(SHORTEST / max(clock.time(run, 1), 1e-9))))


def _check_that_it_ran(result: Any) -> None:
    """An executor that could not do its work returns None at once: that is no time to compare with others."""
    if result is None:
        raise AssertionError("a candidate was measured that did not run")


class Clock(Protocol):
    """What executions are timed by."""

    ranks_cold: bool
    """Whether the times with cold caches rank the candidates, and not only decide ties."""

    def time(self, run: Callable[[], Any], calls: int) -> float:
        """Seconds for each of `calls` executions that follow each other."""

    def time_cold(self, run: Callable[[], Any]) -> float:
        """Seconds for one execution after the caches were filled with other data."""


class HostClock:
    """The host's clock, for executions that are done when they return."""

    ranks_cold = False

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


class DeviceClock:
    """A CUDA device's clock, for executions that return when the work is on the stream.

    Parameters
    ----------
    queue : core.cuda.queue.Queue
    """

    ranks_cold = True

    def __init__(self, queue: Any):
        self._queue = queue
        self._start, self._end = Event(timed=True), Event(timed=True)

    @computed
    def _flush(self) -> devices.DeviceMemory:
        size = 2 * devices.device(self._queue.device_id).l2_size
        return devices.DeviceMemory(size, self._queue.device_id, self._queue.stream)

    def time(self, run: Callable[[], Any], calls: int) -> float:
        return self._measure(run, calls) / calls

    def time_cold(self, run: Callable[[], Any]) -> float:
        fill(self._flush.address, self._flush.size, self._queue.stream)
        return self._measure(run, 1)

    def _measure(self, run: Callable[[], Any], calls: int) -> float:
        self._start.record(self._queue.stream)
        for _ in range(calls):
            result = run()
        self._end.record(self._queue.stream)
        _check_that_it_ran(result)
        return self._end.seconds_since(self._start)
