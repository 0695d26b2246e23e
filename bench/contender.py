"""One way to do a row's work, as source text with the names it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from sys import maxsize
from time import perf_counter_ns
from typing import Any

import numpy as np

PLANMATH = "planmath"

LOOP = """
def loop(number, {names}):
    {start}
    for _ in repeat(None, number):
        {statement}
    {stop}
"""

ONCE = """
def once({names}):
    {before}
    return {last}
"""


@dataclass(frozen=True, eq=False)
class Clock:
    """How a loop is timed, as source text before and after it.

    Parameters
    ----------
    start, stop
        The statements around the loop; the last one returns nanoseconds.
    names
        The values of the names in both, beside ``now``, which reads the host's clock.
    most
        How many operations may lie between start and stop.
    lead
        Seconds for which a contender runs untimed at the start of its turn.
    """

    start: str = "start = now()"
    stop: str = "return now() - start"
    names: Mapping[str, Any] = field(default_factory=dict)
    most: int = maxsize
    lead: float = 0.0


@dataclass(frozen=True, eq=False)
class Contender:
    """A statement to time, and what it takes to run it fairly.

    The statement is source text rather than a callable, so that it is compiled into the timing loop with every name a
    local variable: no contender pays for a wrapping function that another does without. At 0.1 µs a call, that wrapper
    would be a third of what is measured.

    Parameters
    ----------
    library
        The library that does the work.
    form
        How it is called: ``"execute()"``, ``"2 threads"``.
    statement
        What is timed; its last expression, after the last ``"; "``, has the result unless `into` is given.
    names
        The values of the names in `statement`.
    into
        The preallocated array that `statement` writes. None where the call allocates its result.
    spins
        Its worker threads go on spinning for a while after the call, so that a pause must follow.
    within
        A context to run in: sets the number of threads and puts it back.
    operations
        How many operations one run of `statement` does.
    sums
        The dtype in which it accumulates, where that is less than single precision.
    plan
        What the library chose to do, in its own words.
    clock
        How it is timed. Default: from before the first run to after the last.
    """

    library: str
    form: str
    statement: str
    names: Mapping[str, Any]
    into: Any = None
    spins: bool = False
    within: Callable[[], AbstractContextManager[object]] = nullcontext
    operations: int = 1
    sums: str = ""
    plan: str = ""
    clock: Clock = field(default_factory=Clock)

    @property
    def label(self) -> str:
        return f"{self.library} {self.form}".rstrip()

    @property
    def ours(self) -> bool:
        return self.library == PLANMATH

    @property
    def kind(self) -> tuple[bool, str, str]:
        """Whether it writes a preallocated result, of what precision, and how it sums: only equals are alike."""
        return self.into is not None, str(getattr(self.into, "dtype", "")).removeprefix("torch."), self.sums

    def loop(self) -> Callable[[int], int]:
        """A function that runs the statement a number of times and returns the nanoseconds it took."""
        function = self._compile(LOOP, "loop", statement=self.statement, start=self.clock.start, stop=self.clock.stop)
        values = tuple(self.names.values())
        return lambda number: function(number, *values)

    def value(self) -> Any:
        """Run the statement once; what it computed, in double precision."""
        if self.into is not None:
            self.into[...] = float("nan")  # so that a result left by another contender cannot pass for this one's
        *before, last = self.statement.split("; ")
        once = self._compile(ONCE, "once", before="; ".join(before) or "pass", last=last)
        with self.within():
            result = once(*self.names.values())
        return in_double(result if self.into is None else self.into)

    def _compile(self, template: str, name: str, **parts: str) -> Any:
        namespace: dict[str, Any] = {"now": perf_counter_ns, "repeat": repeat, **self.clock.names}
        source = template.format(names=", ".join(self.names), **parts)
        exec(compile(source, f"<{self.label}>", "exec"), namespace)
        return namespace[name]


def in_double(array: Any) -> Any:
    """An array of any package and precision in double precision: on the CPU a NumPy one, on a device one of its own; of
    a list of them one array, of a sparse matrix by rows its values, row by row."""
    if isinstance(array, list):
        return np.array([in_double(one) for one in array])
    if hasattr(array, "sorted_indices"):
        array = array.sorted_indices().data
    if not isinstance(array, np.ndarray) and type(array).__module__.startswith("torch"):
        import torch

        array = array.detach().to(torch.complex128 if array.is_complex() else torch.float64)
        return array if array.is_cuda else array.numpy()
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
