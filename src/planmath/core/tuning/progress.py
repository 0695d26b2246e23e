"""What a person who waits is told of autotuning: how much of its time has passed."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from planmath.core.tuning.budget import Budget
from planmath.core.waiting import BETWEEN, SILENT, Display, covered, display_of, is_watched


class Progress:
    """Shows how a budget is spent, from `SILENT` seconds on, if somebody is there to see it."""

    def __init__(self, noun: str, budget: Budget, here: bool = True):
        self._noun, self._budget = noun, budget
        self._display: Display | None = None
        self._next = SILENT if here and is_watched(sys.stderr) else math.inf

    def tell(self, text: str) -> None:
        """What is being done now."""
        elapsed = self._budget.elapsed()
        if elapsed < self._next:
            return
        self._next = elapsed + BETWEEN
        if self._display is None:
            self._display = display_of(f"{self._noun} autotuning")
        self._display.show(min(elapsed, self._budget.seconds), self._budget.seconds, text)

    def close(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None


@contextmanager
def shown(noun: str, budget: Budget, here: bool = True) -> Iterator[Progress]:
    """Progress of an operation's autotuning, whose line ends with it; or that of the operation that it is a part of.

    Of several ranks, it is shown by the one that is `here`.
    """
    if (whole := _present.get()) is not None:
        yield whole
        return
    progress = Progress(noun, budget, here)
    tokens = _present.set(progress), covered.set(True)
    try:
        yield progress
    finally:
        _present.reset(tokens[0])
        covered.reset(tokens[1])
        progress.close()


_present: ContextVar[Progress | None] = ContextVar("present", default=None)
