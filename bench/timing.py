"""The measuring method: contenders side by side, in rounds.

- Every contender of a row is warmed up, then all are timed in turn, round after round: a machine that slows down or is
  shared slows them all, and not only the one that happened to be running. Where nobody's workers spin, the turns of
  each round are in another order: how fast a device at the limit of its power runs depends on what ran before.
- A turn is an untimed run, then a few repeats; a repeat loops until it has lasted about 2 ms (one call where a call
  takes longer), well above the resolution of the clock. The turn's figure is the median of its repeats.
- A contender's time is the best of its turns. Disturbance only ever adds time, so the least disturbed turn is the
  closest to the cost of the call; the median within a turn keeps one lucky repeat from standing for it. Not so on a
  device that its power limits: its clock rates vary both ways, and the same kernel's turns by 12 % (8192³ in f16 on an
  H100). There, for contenders that run untimed before a turn, the median of the turns counts.
- After two rounds those far behind are out; the rounds that remain decide between the others.
- OpenMP workers spin after a parallel region before they sleep (Intel and LLVM: 200 ms, KMP_BLOCKTIME; GNU and
  OpenBLAS: less). They would take a core from the next contender: a pause follows whoever leaves such workers.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.contender import Contender

REPEAT_NS = 2_000_000
TURN_NS = 30_000_000
MOST_REPEATS = 7
SETTLE_SECONDS = 0.25
QUALIFYING_ROUNDS = 2
BEHIND = 1.5  # times the best: out after the qualifying rounds
HOPELESS = 10  # times the best: out after the warm-up, if a call takes long enough to be worth the saving
LONG_SECONDS = 0.05


@dataclass(eq=False)
class Timing:
    """One contender's clock.

    `number` calls make a repeat; an operation took `first` seconds in the warm-up, and `rounds` has the seconds an
    operation took in each repeat of each turn.
    """

    contender: Contender
    number: int = 1
    first: float = 0.0
    rounds: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._loop = self.contender.loop()

    @property
    def best(self) -> float:
        if not self.rounds:
            return self.first
        return (median if self.contender.clock.lead else min)([median(repeats) for repeats in self.rounds])

    def warm_up(self) -> None:
        """Find how many calls make a repeat, and about how long an operation takes."""
        with self.contender.within():
            self._loop(1)  # the first call of all pays for lazy initialisation
            most = max(1, self.contender.clock.most // self.contender.operations)
            while (elapsed := self._loop(self.number)) < REPEAT_NS and self.number < most:
                enough = self.number * REPEAT_NS // max(elapsed, 1) + 1
                self.number = min(most, max(2 * self.number, min(10 * self.number, enough)))
        self.first = self._seconds(elapsed)
        self._settle()

    def turn(self) -> None:
        with self.contender.within():
            elapsed = self._loop(self.number)
            for _ in range(int(self.contender.clock.lead * 1e9 / max(elapsed, 1))):
                self._loop(self.number)
            repeats = min(MOST_REPEATS, max(1, TURN_NS // max(elapsed, 1)))
            self.rounds.append([self._seconds(self._loop(self.number)) for _ in range(repeats)])
        self._settle()

    def _seconds(self, elapsed: int) -> float:
        return elapsed * 1e-9 / (self.number * self.contender.operations)

    def _settle(self) -> None:
        if self.contender.spins:
            time.sleep(SETTLE_SECONDS)


def race(timings: Iterable[Timing], rounds: int, everyone: bool = False) -> None:
    """Time contenders side by side.

    Parameters
    ----------
    timings
        The contenders, warmed up. Those that leave spinning workers have their turn last.
    rounds
        How often each has its turn.
    everyone
        Keep those far behind to the last round: the row's target is about one of them.
    """
    racing = sorted(timings, key=lambda timing: timing.contender.spins)
    if not everyone:
        fair = in_front(racing, HOPELESS)
        racing = [timing for timing in racing if timing in fair or timing.first < LONG_SECONDS]
    shuffle = random.Random(0).shuffle
    collecting = gc.isenabled()
    gc.disable()  # as timeit does: a collection belongs to no contender
    try:
        for played in range(rounds):
            if played == QUALIFYING_ROUNDS and not everyone:
                racing = in_front(racing, BEHIND)
            if not any(timing.contender.spins for timing in racing):
                shuffle(racing)
            for timing in racing:
                timing.turn()
    finally:
        if collecting:
            gc.enable()


def in_front(timings: Sequence[Timing], factor: float) -> list[Timing]:
    """Those within a factor of the fastest, and planmath, whose time is the one asked for."""
    limit = factor * min((timing.best for timing in timings), default=0.0)
    return [timing for timing in timings if timing.best <= limit or timing.contender.ours]
