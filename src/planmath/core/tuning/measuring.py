"""Measure the algorithms on the real operands, in the situations that a program may be in.

At first sight all are measured; those near the best take turns; and the few best of them, with the one that was
expected to be the fastest, are measured in each situation (`core.tuning.choosing` says what for). On the host: *warm*,
with the operands in the caches, as repeated executions find them; *cold*, after the caches were filled with other data;
and *beside* each library that the process has loaded, right after a call of it, where what the execution leaves behind
makes the library's next call longer, that counts as well. On a CUDA device: *warm*, in bursts of calls back to back;
*cold*, with the L2 cache flushed before each, between such bursts; and *sustained*, of those that run long, at the
clock rates that the device's power allows.
"""

from __future__ import annotations

import logging
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planmath.core.log import format_seconds
from planmath.core.provider import Algorithm
from planmath.core.tuning.budget import RANKING, Budget
from planmath.core.tuning.choosing import Candidate, library_of, never_worse
from planmath.core.tuning.clocks import Clock, HostClock
from planmath.core.tuning.record import Measurement

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
#: How many of the best are measured in all situations, beside the expected one.
FEW = 4
#: Seconds after which a run counts as long. One that takes this many times the best at its very first call is not
#: called again; the others are called once more at first sight, and what the caches held before does not matter.
LONG, HOPELESS_FACTOR = 0.05, 8
#: Seconds that one repetition should at least take, so that the clock's resolution does not matter.
SHORTEST = 200e-6
#: Seconds after which a slow candidate's repetitions are cut short.
LONGEST = 0.5
#: Executions with cold caches; turns beside each library, and executions in each of them. What takes fewer seconds than
#: this never had more than one thread, and meets nobody's.
COLD_RUNS, VISITS, RUNS_OF_A_VISIT, THREADED = 6, 6, 3, 50e-6

#: Seconds for which a device runs before it is measured, until its clock rates are what its power allows.
LEAD_IN = 0.1
#: Kernels that take longer than this many seconds read more than a cache holds, and are measured so long at a time.
SURELY_COLD, SUSTAINED = 100e-6, 30e-3
#: Of those, one this many times slower than the best has no further turn; and how near to the best are those that have
#: some more. One turn differs from the next by up to a tenth.
BEHIND, CLOSE, FINAL_ROUNDS = 1.2, 1.05, 6
#: Bursts: how many, of so many executions, and the seconds in which a device cools before each; and executions with
#: flushed caches behind the bursts of all.
BURSTS, BURST, COOLING, FLUSHES = 12, 20, 10e-3, 3


class Race:
    """Candidates that are measured. What is known of them by then can be asked for at any time.

    Parameters
    ----------
    candidates : sequence of (algorithm, run, lingers)
        What to call, which returns a result or raises, and for how many seconds its library's threads keep a CPU busy
        afterwards. The first one is expected to be the fastest, and is measured in any case.
    iterations : int
        Repetitions of those in the race, half of them in each turn, of which the fastest counts.
    logger : logging.Logger
    clock : Clock, optional
        Default: the host's.
    budget : Budget, optional
    company : mapping
        Short calls of the other libraries of this process, by name.
    tell : callable, optional
        Told in words what is being measured.
    """

    def __init__(
        self, candidates: Sequence[Candidate], *, iterations: int, logger: logging.Logger, clock: Clock | None = None,
        budget: Budget | None = None, company: Mapping[str, Callable[[], Any]] | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ):  # fmt: skip
        self._clock = HostClock() if clock is None else clock
        self._budget = Budget(now=self._clock.now) if budget is None else budget
        self._company, self._tell, self._logger = company or {}, tell, logger
        self._candidates, self._iterations = _with_few_pauses(candidates), iterations
        self._pause = _Pause(self._clock)
        self._counts: dict[Algorithm, int] = {}
        self._warm: dict[Algorithm, float] = {}
        #: The times in the other situations, by their names.
        self._elsewhere: dict[str, dict[Algorithm, float]] = {}
        #: By how much two measurements of the expected one differ, by situation.
        self._noise: dict[str, float] = {}
        self._finalists: list[Algorithm] = []

    def run(self) -> None:
        """Measure, as long as the budget lasts."""
        self._look_at_all()
        limit = PRUNE_FACTOR * min(self._warm.values())
        expected = self._candidates[0]
        racing = [c for c in self._candidates if self._warm.get(c[0], math.inf) <= limit or c is expected]
        near = self._race_on_device(racing) if self._clock.of_device else self._race_warm(racing)
        rest = sorted((c for c in near if c is not expected), key=lambda c: self._rank(c[0]))
        finalists = [expected, *rest[:FEW]]
        self._finalists = [algorithm for algorithm, _, _ in finalists]
        if self._clock.of_device:
            self._burst(finalists)
        else:
            self._chill(finalists)
            self._visit(finalists)

    def measured(self) -> tuple[list[Measurement], int]:
        """What is known: the best first, and how many of them may be chosen.

        Among those are all that are in no situation worse than the one that was expected to be the fastest.
        """
        found = [
            Measurement(a, self._warm[a], self._elsewhere.get("cold", {}).get(a), self._others(a))
            for a in sorted(self._warm, key=lambda a: (a not in self._finalists, self._rank(a)))
        ]
        if not found:
            return [], 0
        chosen = never_worse(found, self._candidates[0][0], self._noise)
        return [*chosen, *(m for m in found if m not in chosen)], len(chosen)

    def missed(self) -> list[Algorithm]:
        """The candidates that did not have their turn."""
        return [algorithm for algorithm, _, _ in self._candidates if algorithm not in self._warm]

    def _others(self, algorithm: Algorithm) -> tuple[tuple[str, float], ...]:
        return tuple(
            (name, times[algorithm]) for name, times in self._elsewhere.items() if name != "cold" and algorithm in times
        )

    def _rank(self, algorithm: Algorithm) -> tuple[bool, float]:
        """On a device the times for long or with a flushed cache rank: that is how kernels find what just arrived."""
        if not self._clock.of_device:
            return False, self._warm[algorithm]
        times = self._elsewhere.get("sustained") or self._elsewhere.get("cold") or {}
        return algorithm not in times, times.get(algorithm, self._warm[algorithm])

    def _settle(
        self, situation: str, samples: Mapping[Algorithm, Sequence[float]],
        typical: Callable[[Sequence[float]], float] | None = None,
    ) -> None:  # fmt: skip
        """What is known of a situation by now."""
        typical = typical or _undisturbed
        times = self._warm if situation == "warm" else self._elsewhere.setdefault(situation, {})
        times |= {algorithm: typical(its) for algorithm, its in samples.items() if its}
        if len(usual := samples.get(self._candidates[0][0], ())) > 1:
            self._noise[situation] = _difference(usual, 1, typical)

    def _spent(self, share: float = 1.0) -> bool:
        return self._budget.left(share) <= 0

    # All of them.

    def _look_at_all(self) -> None:
        clock, warm = self._clock, self._warm
        for algorithm, run, lingers in self._candidates:
            if warm and self._spent(RANKING):
                return
            self._tell(f"{algorithm} at first sight")
            self._pause.before(algorithm, lingers)
            first = clock.time(run, 1)  # pays for pages and for threads that start
            if not warm:
                self._budget.suit(first)
            self._counts[algorithm] = 1
            if first > LONG and first > HOPELESS_FACTOR * min(warm.values(), default=first):
                warm[algorithm] = first
            elif first > LONG:
                warm[algorithm] = clock.time(run, 1)
            else:
                self._counts[algorithm] = max(1, min(1000, int(SHORTEST / max(clock.time(run, 1), 1e-9))))
                warm[algorithm] = min(clock.time(run, self._counts[algorithm]) for _ in range(3))
            self._pause.after(algorithm, lingers)
            self._logger.info("%s: %s at first sight.", algorithm, format_seconds(warm[algorithm]))

    # On the host.

    def _race_warm(self, racing: Sequence[Candidate]) -> list[Candidate]:
        """Measure the candidates in turns, so that a slow moment of the machine does not fall on one alone; those that
        are near the best to the end, and the first one. These are returned."""
        warm, expected = self._warm, racing[0]
        for behind in TURNS:
            limit = behind * min(warm.values())
            for candidate in racing:
                if self._spent(RANKING):
                    break
                if warm[candidate[0]] <= limit:
                    warm[candidate[0]] = min(warm[candidate[0]], self._turn(candidate))
        limit = WITHIN * min(warm.values())
        last = [candidate for candidate in racing if warm[candidate[0]] <= limit or candidate is expected]
        turns: dict[Algorithm, list[float]] = {algorithm: [] for algorithm, _, _ in last}
        for _ in range(LAST_TURNS if len(last) > 1 else 0):
            for candidate in last:
                if self._spent(RANKING):
                    return last
                turns[candidate[0]].append(self._turn(candidate))
            self._settle("warm", turns, statistics.median)
        return last

    def _turn(self, candidate: Candidate) -> float:
        algorithm, run, lingers = candidate
        clock, short = self._clock, self._warm[algorithm] < LONG
        self._tell(f"{algorithm} in turn with others")
        self._pause.before(algorithm, lingers)
        if short:
            run()  # into the caches
        start = clock.now()
        times: list[float] = []
        while len(times) < (max(1, self._iterations // 2) if short else 1) and clock.now() - start <= LONGEST:
            times.append(clock.time(run, self._counts[algorithm]))
        self._pause.after(algorithm, lingers)
        return min(times)

    def _chill(self, finalists: Sequence[Candidate]) -> None:
        """Measure with cold caches, unless they read more than a cache holds."""
        if min(self._warm.values()) >= LONG:
            return
        samples: dict[Algorithm, list[float]] = {}
        for _ in range(COLD_RUNS if len(finalists) > 1 else 1):
            for algorithm, run, lingers in finalists:
                if samples and self._spent():
                    return
                self._tell(f"{algorithm} with cold caches")
                self._pause.before(algorithm, lingers)
                samples.setdefault(algorithm, []).append(self._clock.time_cold(run))
                self._pause.after(algorithm, lingers)
                self._settle("cold", samples)

    def _visit(self, finalists: Sequence[Candidate]) -> None:
        """Measure beside the other libraries, where threads may meet."""
        threads = [algorithm.get("threads") for algorithm, _, _ in finalists]
        if len(finalists) == 1 or all(n == 1 for n in threads) or max(map(self._warm.get, self._finalists)) < THREADED:  # type: ignore[type-var, operator]
            return
        for place, (name, call) in enumerate(self._company.items()):
            until = self._clock.now() + self._budget.left() / (len(self._company) - place)
            self._visit_one(f"beside {name}", call, finalists, until)

    def _visit_one(self, name: str, call: Callable[[], Any], finalists: Sequence[Candidate], until: float) -> None:
        clock = self._clock

        def company() -> bool:
            call()
            return True

        self._pause.before(None, 0.0)
        company()
        undisturbed = _undisturbed([clock.time(company, 1) for _ in range(2 * RUNS_OF_A_VISIT)])
        samples: dict[Algorithm, tuple[list[float], list[float]]] = {a: ([], []) for a, _, _ in finalists}
        for visited in range(VISITS):
            for algorithm, run, lingers in finalists:
                if visited and clock.now() > until:
                    return
                self._tell(f"{algorithm} {name}")
                self._pause.before(algorithm, lingers)
                own, following = samples[algorithm]
                company()
                run()
                company()
                for _ in range(RUNS_OF_A_VISIT):
                    own.append(clock.time(run, 1))
                    following.append(clock.time(company, 1))
                self._pause.after(algorithm, lingers)
                left_behind = max(0.0, _undisturbed(following) - undisturbed)
                self._elsewhere.setdefault(name, {})[algorithm] = _undisturbed(own) + left_behind
                if visited and algorithm is self._finalists[0]:
                    self._noise[name] = _difference(own, RUNS_OF_A_VISIT)

    # On a device.

    def _race_on_device(self, racing: Sequence[Candidate]) -> list[Candidate]:
        """Measure with flushed caches or, what runs long, for long. They take turns, so that all meet the same clock
        rates."""
        if self._spent(RANKING):
            return list(racing)
        if min(self._warm[algorithm] for algorithm, _, _ in racing) > SURELY_COLD:
            self._race_sustained(racing)
            return list(racing)
        clock = self._clock
        start = clock.now()
        while clock.now() - start < LEAD_IN:
            clock.time(racing[0][1], 10)
        samples: dict[Algorithm, list[float]] = {algorithm: [] for algorithm, _, _ in racing}
        order, shuffle = list(racing), random.Random(0).shuffle
        start = clock.now()
        for _ in range(ROUNDS * self._iterations):
            self._tell("with flushed caches")
            shuffle(order)
            for algorithm, run, _ in order:
                samples[algorithm].append(clock.time_cold(run))
            self._settle("cold", samples)
            if clock.now() - start > LONGEST * len(racing) or self._spent(RANKING):
                break
        return list(racing)

    def _race_sustained(self, racing: Sequence[Candidate]) -> None:
        """Measure each candidate at the rate that the device's power allows it for long.

        That differs between kernels of the same speed, so each begins its turns with as much untimed work. It also
        depends on what ran before: behind a kernel that draws less power, one is faster for a while. So the turns are
        in another order in each round. The first ones find the device cooler than it is for long, and only tell who is
        far behind. Operands that take so long to read push each other out of the caches.
        """
        expected = dict(self._warm)
        turns: dict[Algorithm, list[float]] = {algorithm: [] for algorithm, _, _ in racing}
        order, shuffle = list(racing), random.Random(0).shuffle
        typical = self._elsewhere.setdefault("sustained", {})
        self._clock.time(racing[0][1], math.ceil(LEAD_IN / expected[racing[0][0]]))
        for played in range(ROUNDS + FINAL_ROUNDS):
            near = BEHIND if played < ROUNDS else CLOSE
            limit = near * min(typical.values()) if played else math.inf
            shuffle(order)
            for algorithm, run, _ in order:
                usual = algorithm == racing[0][0]
                if (not usual and typical.get(algorithm, math.inf) > limit) or (
                    self._spent(RANKING) and (played or not usual)
                ):
                    continue
                self._tell(f"{algorithm} for long")
                calls = math.ceil(SUSTAINED / expected[algorithm])
                self._clock.time(run, calls)
                turns[algorithm].append(self._clock.time(run, calls))
            self._settle("sustained", {algorithm: times[1:] or times for algorithm, times in turns.items()})

    def _burst(self, finalists: Sequence[Candidate]) -> None:
        """Measure in bursts on a device that has cooled, and then with flushed caches, in another order in each round.

        The race with flushed caches found the device as it is in a loop that never ends. A program that comes back to
        it finds another one, and behind another kernel.
        """
        bursts: dict[Algorithm, list[float]] = {algorithm: [] for algorithm, _, _ in finalists}
        flushed: dict[Algorithm, list[float]] = {algorithm: [] for algorithm, _, _ in finalists}
        order, shuffle = list(finalists), random.Random(0).shuffle
        for played in range(BURSTS):
            shuffle(order)
            for algorithm, run, _ in order:
                if played and self._spent():
                    return
                self._tell(f"{algorithm} in bursts")
                self._clock.sleep(COOLING)
                self._clock.time(run, 1)
                calls = max(1, min(BURST, int(LONGEST / self._warm[algorithm])))
                bursts[algorithm].append(self._clock.time(run, calls))
            for number in range(FLUSHES):
                if (played or number) and self._spent():
                    break
                shuffle(order)
                for algorithm, run, _ in order:
                    flushed[algorithm].append(self._clock.time_cold(run))
            self._settle("warm", bursts)
            self._settle("cold", flushed)


def _undisturbed(times: Sequence[float]) -> float:
    """The mean of all but the slow quarter: it tells more than the median of a few, counted in half microseconds."""
    return statistics.fmean(sorted(times)[: math.ceil(0.75 * len(times))])


def _difference(
    times: Sequence[float], together: int, typical: Callable[[Sequence[float]], float] = _undisturbed
) -> float:
    """The ratio of what every second turn, of so many times together, tells to what the others tell."""
    halves = [[time for i, time in enumerate(times) if i // together % 2 == odd] for odd in (0, 1)]
    first, second = map(typical, halves)
    return max(first, second) / min(first, second)


class _Pause:
    """Waits until the threads of the library that ran last have gone to sleep, unless the next candidate uses them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._library: tuple[str, str | None] = "", None
        self._until = -math.inf

    def before(self, algorithm: Algorithm | None, lingers: float) -> None:
        remaining = self._until - self._clock.now()
        if remaining > 0 and not (algorithm and lingers and library_of(algorithm) == self._library):
            self._clock.sleep(remaining)

    def after(self, algorithm: Algorithm, lingers: float) -> None:
        self._library, self._until = library_of(algorithm), self._clock.now() + lingers


def _with_few_pauses(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first, which is expected to be the fastest, then those that leave no threads behind, then the libraries."""
    rest = sorted(candidates[1:], key=lambda c: (c[2], *map(str, library_of(c[0]))))
    return [*candidates[:1], *rest]
