"""What ``planmath tune`` does: tunes the operations that a program plans, as it plans them, on its own operands."""

from __future__ import annotations

import math
import sys
from typing import Any

from planmath.core.log import format_seconds
from planmath.core.tuning import record
from planmath.report.pages import Report, Table


class Tuner:
    """Tunes each operation that it is told of, once for each problem, and keeps what came of it.

    Parameters
    ----------
    seconds : float, optional
        For each operation, as in ``autotune(seconds=...)``.
    again : bool
        Whether to measure also what the tuning record has already.
    """

    def __init__(self, seconds: float | None = None, *, again: bool = False):
        self._seconds, self._again = seconds, again
        self._known: set[str] = set()
        self._rows: list[list[str]] = []
        self._gains: list[float] = []

    def tell(self, operation: Any) -> None:
        """Tune an operation that was planned."""
        plan, what = operation._plan_made, f"{operation.noun} {operation._describe()}"
        if what in self._known or operation.state.value != "planned":
            return
        self._known.add(what)
        if plan.origin in ("the tuning record", "the user") and not self._again:
            self._rows.append([what, str(plan.chosen), "-", "-", f"chosen by {plan.origin}"])
            return
        print(f"planmath tune: {what}", file=sys.stderr)
        try:
            operation.autotune(seconds=self._seconds)
        except KeyboardInterrupt:
            raise
        except Exception as error:  # the program runs on as it would without
            self._rows.append([what, str(plan.chosen), "-", "-", f"{type(error).__name__}: {error}"])
            return
        self._rows.append([what, *self._outcome(plan, operation._plan_made)])

    def _outcome(self, before: Any, after: Any) -> list[str]:
        times = {m.algorithm: m.warm for m in after.measurements}
        if not times:  # of an operation of several steps, each of which was tuned
            return [str(after.chosen), "-", "-", "its steps were tuned"]
        now, then = times[after.chosen], times.get(before.chosen)
        if then is None:
            return [str(after.chosen), format_seconds(now), "-", f"{before.chosen} had no turn"]
        self._gains.append(then / now)
        kept = "as planned" if after.chosen == before.chosen else f"was {before.chosen}"
        return [str(after.chosen), format_seconds(now), f"{then / now:.2f}x", kept]

    def report(self) -> Report:
        """What was tuned, a row for each operation."""
        if not self._rows:
            return Report(["The program planned no operation of planmath's."])
        header = ["operation", "chosen", "takes", "gain", ""]
        parts: list[str | Table] = [Table(header, self._rows, shorten=0)]
        if self._gains:
            mean = math.exp(sum(map(math.log, self._gains)) / len(self._gains))
            parts.append(f"{len(self._gains)} measured, {mean:.2f} times as fast as planned in the geometric mean")
        return Report([*parts, f"the record: {record.path()}"])
