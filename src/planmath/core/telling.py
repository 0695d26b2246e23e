"""What an operation tells: its plan, in a line, as a report, and in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from planmath.core.errors import InvalidStateError
from planmath.core.execution import Execution
from planmath.core.provider import Algorithm, Prepared
from planmath.core.slots import ArraySlot
from planmath.core.tuning import record
from planmath.core.tuning.clocks import Clock
from planmath.core.tuning.limits import Work, limits
from planmath.report import charts
from planmath.report.pages import Report, Table, framed


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided for a problem, and why."""

    problem: Any
    algorithms: tuple[Algorithm, ...]
    """The candidates, the chosen one first."""
    prepared: Prepared
    origin: str
    """Where the choice came from: the heuristic, the tuning record, autotuning or the user."""
    passed_over: tuple[str, ...] = ()
    """Candidates that turned out not to work, each with the reason."""
    measurements: tuple[record.Measurement, ...] = ()
    notes: tuple[str, ...] = ()
    """Hints of the user's that have no effect, each with the reason."""
    missed: tuple[Algorithm, ...] = ()
    """Candidates that were not measured, because autotuning's time was over or it was interrupted."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What `plan` was asked for, but for operands."""

    @property
    def chosen(self) -> Algorithm:
        return self.algorithms[0]


class Telling:
    """What all operations tell; they add what `_describe`, `_report_parts` and `_work` say."""

    noun: ClassVar[str]
    invalid_state: ClassVar[type[InvalidStateError]]
    _plan_made: Plan | None
    _execution: Execution
    _slots: Mapping[str, ArraySlot]
    _freed: bool

    if TYPE_CHECKING:  # of `Operation`

        @property
        def state(self) -> Any: ...
        def _describe(self) -> str: ...
        def _machine(self) -> str: ...
        def _clock(self) -> Clock: ...
        def _on_device(self, stream: Any = None) -> AbstractContextManager[Any]: ...

    def __repr__(self) -> str:
        if self._freed:
            return f"<{self.noun}, freed>"
        plan = f"{self._plan_made.chosen} by {self._plan_made.origin}" if self._plan_made else "not planned"
        return f"<{self.noun} {self._describe()}, {self.state.value}: {plan}>"

    def _repr_html_(self) -> str:
        return framed(f"<b>{escape(repr(self))}</b>") if self._plan_made is None else self.report()._repr_html_()

    def report(self, *, plot: bool = False) -> Report:
        """What was chosen, why, and what the candidates cost, as text, which a notebook shows with bars.

        Parameters
        ----------
        plot : bool
            Whether the report has a ``figure`` as well, of matplotlib: the candidates' times, and where FLOPs and bytes
            are known the machine's roofline, which is measured once and kept, with the chosen algorithm's points on it.

        Raises
        ------
        InvalidStateError
            Before `plan` and after `free`, or with `plot` where nothing was measured.
        ImportError
            With `plot` where matplotlib is not installed.
        """
        if self._plan_made is None:
            raise self.invalid_state(f"report() needs a plan; the object is {self.state.value}")
        return Report(self._report_parts(), self._picture() if plot else None)

    def _report_parts(self) -> list[str | Table]:
        """Lines and tables of the report."""
        plan = self._plan_made
        assert plan is not None
        parts: list[str | Table] = [f"{self.noun} {self._describe()}", f"chosen by {plan.origin}: {plan.chosen}"]
        if plan.measurements:
            parts.append(record.as_table(plan.measurements))
        else:
            parts.append("candidates: " + ", ".join(map(str, plan.algorithms)))
        if plan.missed:
            parts.append(f"without a turn, as the time was over: {', '.join(map(str, plan.missed))}")
        parts += [f"passed over {reason}" for reason in plan.passed_over]
        parts += plan.notes
        return parts

    def _work(self) -> Work | None:
        """FLOPs and bytes of an execution, where they are known."""
        return None

    def _picture(self) -> Any:
        """A figure of what was measured."""
        plan = self._plan_made
        if plan is None or not plan.measurements:
            raise self.invalid_state("report(plot=True) shows what autotune() measured; call autotune() first")
        work = self._work()
        place = next(iter(self._slots.values()))
        crossing = (place.device_id is None) != (self._execution.space == "cpu")
        figure, axes = charts.figure(len(plan.measurements), 1 if work is None or crossing else 2)
        names = [str(m.algorithm) for m in plan.measurements]
        charts.candidates(axes[0], names, [m.seconds for m in plan.measurements])
        if work is not None and not crossing:
            with self._on_device():
                reach = limits(place.package, work, place.device_id, self._machine(), self._clock())
            seconds = plan.measurements[0].seconds
            points = [(name, work.flops / work.moved, work.flops / seconds[name]) for name in ("warm", "cold")
                      if name in seconds]  # fmt: skip
            most = max(reach.flops, *(reached for *_, reached in points))  # others may have run while it was measured
            charts.roofline(axes[1], most, reach.bandwidth, points)
        return figure
