"""Make a row's contenders, check what they compute, time them, judge the row."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.contender import PLANMATH, Contender
from bench.timing import Timing, race
from bench.verdict import Outcome, Target

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = sorted({1, CORES})  # the numbers of threads at which the peers are tried

# The largest error let through, relative to the largest element of the result. It catches a wrong result, not a
# result that is a little less accurate: an accumulation of 4096 products in half precision passes.
TOLERANCE = {
    "complex128": 1e-12,
    "float64": 1e-12,
    "complex64": 1e-5,
    "float32": 1e-5,
    "float16": 2e-2,
    "bfloat16": 4e-2,
    "float8_e4m3fn": 4e-2,
    "solution of a system": 1e-6,  # in double precision, times the condition number of the matrix
}

# Makes the contenders of one library. What must be freed after the row goes on the stack.
Maker = Callable[[ExitStack], Iterable[Contender]]


@dataclass(frozen=True)
class Settings:
    """How much is measured: with how many rounds, at all sizes or a few, with planmath or its peers alone; what was
    measured of rows before, by name, whose rounds count as well; and the folder of sparse matrices, if there is one."""

    rounds: int = 6
    quick: bool = False
    peers_only: bool = False
    earlier: Mapping[str, Outcome] = field(default_factory=dict)
    matrices: Path | None = None

    def longer(self) -> Settings:
        """For rows where a microsecond counts, or two per cent of a device at the limit of its power: a shared host is
        slower for seconds at a time, and everyone is to meet a moment when it is not; and such a device is faster and
        slower by a tenth."""
        return replace(self, rounds=4 * self.rounds)

    def libraries(self, *names: str) -> list[str]:
        """Those of the named libraries that take part."""
        return [name for name in names if not (self.peers_only and name == PLANMATH)]


# A row that has not been measured yet.
Row = Callable[[Settings], Outcome]


def threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def compare(
    name: str,
    makers: Mapping[str, Maker],
    expected: Any,
    dtype: str,
    targets: Sequence[Target],
    settings: Settings,
    everyone: bool = False,
) -> Outcome:
    """Measure one row.

    Parameters
    ----------
    name
        The row's name.
    makers
        By library, what makes its contenders. A library that cannot be used is left out, with a note.
    expected
        The result all contenders must agree on, in double precision; on the device where theirs are.
    dtype
        The precision of the work, a key of `TOLERANCE`.
    targets
        What the row is judged by.
    settings
        How much is measured.
    everyone
        See `bench.timing.race`.
    """
    outcome = Outcome(name, "s")
    with ExitStack() as stack:
        timings: list[Timing] = []
        for library in settings.libraries(*makers):
            try:
                for contender in makers[library](stack):
                    if agrees(contender, expected, TOLERANCE[dtype], outcome.notes):
                        timings.append(timing := Timing(contender))
                        timing.warm_up()  # and wait for its workers: the next maker may measure, to plan
            except Exception as error:  # whatever a library does, the others are still measured
                outcome.notes.append(f"{library}: left out, {reason(error)}")
        race(timings, settings.rounds, everyone)
        for timing in timings:
            label = timing.contender.label
            if name in settings.earlier:
                timing.rounds[:0] = turns(settings.earlier[name], timing.contender)
            outcome.figures[label] = timing.best
            outcome.raw[label] = {
                "statement": timing.contender.statement,
                "calls per repeat": timing.number,
                "operations per call": timing.contender.operations,
                "seconds per operation": timing.rounds or [[timing.first]],
                **({"plan": timing.contender.plan} if timing.contender.plan else {}),
            }
    if not settings.peers_only:
        outcome.judge(targets, {timing.contender.label: timing.contender for timing in timings})
    return outcome


def turns(outcome: Outcome, contender: Contender) -> list[list[float]]:
    """The turns that a contender had in an outcome; none where it did its work in another way."""
    raw: Any = outcome.raw.get(contender.label, {})
    return list(raw["seconds per operation"]) if raw.get("plan", "") == contender.plan and raw else []


def reason(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def agrees(contender: Contender, expected: Any, tolerance: float, notes: list[str]) -> bool:
    """Whether a contender computes what it should; if not, a note says so, and it is not timed."""
    value = contender.value()
    if type(expected).__module__.startswith("torch") and not isinstance(value, type(expected)):
        import torch

        value = torch.as_tensor(value, device=expected.device)  # of CuPy's, where it is
    if value.shape != expected.shape:
        wrong = f"shape: {tuple(value.shape)}"
    else:
        scale, difference = abs(expected).max(), abs(value - expected)
        if bool((difference <= tolerance * (scale + abs(expected))).all()):
            return True
        wrong = f"relative difference: {float(difference.max() / scale):.2g}"
    notes.append(f"{contender.label}: left out, its result is wrong ({wrong})")
    return False
