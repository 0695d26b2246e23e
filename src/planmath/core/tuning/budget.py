"""How long autotuning may take, and how long the planners of libraries may that measure."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from planmath.core.errors import UnavailableError

#: Seconds of autotuning where nobody says how many; of what runs longer than some of them, the time of so many runs.
USUAL, RUNS = 8.0, 80
#: The share of a budget in which candidates are made ready and that in which they are ranked. The rest is for measuring
#: the best of them in all situations.
PREPARING, RANKING = 0.5, 0.75
#: Seconds after which a planner that measures gives up, where nothing was measured of it; and where it was, so that its
#: plan is worth waiting for.
UNTRIED, TRIED = 1.0, 15.0


class OutOfTimeError(UnavailableError):
    """A library did not finish measuring in the time that it had."""


class Budget:
    """Some seconds that pass.

    Parameters
    ----------
    seconds : float, optional
        Default: `USUAL`, and more for what runs long.
    now : callable
        The clock.
    """

    def __init__(self, seconds: float | None = None, now: Callable[[], float] = time.perf_counter):
        self._usual, self._now, self._began = seconds is None, now, now()
        self.seconds = USUAL if seconds is None else float(seconds)

    def suit(self, run: float) -> None:
        """Let a usual budget be enough for an execution that takes so many seconds."""
        if self._usual:
            self.seconds = max(USUAL, RUNS * run)

    def elapsed(self) -> float:
        return self._now() - self._began

    def left(self, share: float = 1.0) -> float:
        """Seconds left of a share of it; 0 or less where that is spent."""
        return share * self.seconds - self.elapsed()

    def for_planner(self) -> float:
        """Seconds for a planner, so that the next ones have some as well."""
        return min(TRIED, max(self.left(PREPARING) / 2, 1e-3))


def checked(seconds: object) -> float | None:
    """What users pass as `seconds`.

    Raises
    ------
    ValueError
        If it is no positive number.
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ValueError(f"seconds is {seconds!r}; expected a positive number, or None for {USUAL:g} s or more")
    return float(seconds)


_limit: ContextVar[float] = ContextVar("limit", default=TRIED)


@contextlib.contextmanager
def planners(limit: float) -> Iterator[None]:
    """Let planners that measure give up after so many seconds, for a while."""
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)


def for_planner() -> float:
    """Seconds that a planner has which measures."""
    return _limit.get()
