"""What a person who waits at a terminal or a notebook is told of autotuning: how much of its time has passed."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Protocol, TextIO

from planmath.core.tuning.budget import Budget

#: Seconds in which nobody begins to wonder, and those between two changes of the line.
SILENT, BETWEEN = 2.0, 0.1


class Display(Protocol):
    """A line that shows how many of so many seconds have passed, and what is being done."""

    def show(self, elapsed: float, seconds: float, text: str) -> None: ...

    def close(self) -> None: ...


class Progress:
    """Shows how a budget is spent, from `SILENT` seconds on, if somebody is there to see it."""

    def __init__(self, noun: str, budget: Budget):
        self._noun, self._budget = noun, budget
        self._display: Display | None = None
        self._next = SILENT if _is_watched(sys.stderr) else math.inf

    def tell(self, text: str) -> None:
        """What is being done now."""
        elapsed = self._budget.elapsed()
        if elapsed < self._next:
            return
        self._next = elapsed + BETWEEN
        if self._display is None:
            self._display = _display(f"{self._noun} autotuning")
        self._display.show(min(elapsed, self._budget.seconds), self._budget.seconds, text)

    def close(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None


@contextmanager
def shown(noun: str, budget: Budget) -> Iterator[Progress]:
    """Progress of an operation's autotuning, whose line ends with it; or that of the operation that it is a part of."""
    if (whole := _present.get()) is not None:
        yield whole
        return
    progress = Progress(noun, budget)
    token = _present.set(progress)
    try:
        yield progress
    finally:
        _present.reset(token)
        progress.close()


_present: ContextVar[Progress | None] = ContextVar("present", default=None)


def _in_notebook() -> bool:
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python is not None and hasattr(python, "get_ipython") else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _is_watched(stream: TextIO | None) -> bool:
    """Whether a person sees what is written: at a terminal or in a notebook, not in a file or a pipe."""
    if _in_notebook():
        return True
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # something else stands in its place, or it is closed
        return False


def _display(title: str) -> Display:
    """The best that is installed: tqdm, which knows notebooks, or rich, or one line."""
    for display in (_Tqdm, _Rich):
        with suppress(ImportError):
            return display(title)
    return _Line(title)


class _Tqdm:
    def __init__(self, title: str):
        from tqdm.auto import tqdm  # type: ignore[import-untyped, import-not-found, unused-ignore]

        class Quiet(tqdm):
            monitor_interval = 0  # no thread that watches it

        form = "{desc} {percentage:3.0f}%|{bar}| {n:.0f} of at most {total:.0f} s{postfix}"
        self._bar: Any = Quiet(desc=title, total=1.0, leave=False, bar_format=form)

    def show(self, elapsed: float, seconds: float, text: str) -> None:
        self._bar.n, self._bar.total = elapsed, seconds
        self._bar.set_postfix_str(text)

    def close(self) -> None:
        self._bar.close()


class _Rich:
    def __init__(self, title: str):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = "[bold]{task.description}", "{task.completed:.0f} of at most {task.total:.0f} s, {task.fields[text]}"
        first, last = (TextColumn(column, markup=column.startswith("[")) for column in columns)
        console = Console(stderr=True)
        self._bar = Progress(first, BarColumn(), last, console=console, transient=True, auto_refresh=False)
        self._bar.start()
        self._task = self._bar.add_task(title, total=1.0, text="")

    def show(self, elapsed: float, seconds: float, text: str) -> None:
        self._bar.update(self._task, completed=elapsed, total=seconds, text=text, refresh=True)

    def close(self) -> None:
        self._bar.stop()


class _Line:
    def __init__(self, title: str):
        self._title, self._width = title, 0

    def show(self, elapsed: float, seconds: float, text: str) -> None:
        line = f"{self._title}: {elapsed:.0f} of at most {seconds:.0f} s, {text}"[:79]
        print("\r" + line.ljust(self._width), end="", file=sys.stderr, flush=True)
        self._width = len(line)

    def close(self) -> None:
        print("\r" + " " * self._width, end="\r", file=sys.stderr, flush=True)
