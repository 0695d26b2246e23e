"""What a person who waits at a terminal or a notebook is shown: a line about what takes long.

Planning and compiling are a library's single call each, in which nobody can tell anything: a thread does, which sleeps
where nothing takes long. What tells by itself, such as autotuning, covers that.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any, Protocol, TextIO, TypeVar

#: Seconds in which nobody begins to wonder, and those between two changes of the line.
SILENT, BETWEEN = 2.0, 0.1

#: Whether a line about the whole is there, of which this is a part.
covered: ContextVar[bool] = ContextVar("covered", default=False)


class Display(Protocol):
    """A line that shows how many of so many seconds have passed, of how many at most, and what is being done."""

    def show(self, elapsed: float, seconds: float, text: str) -> None: ...

    def close(self) -> None: ...


class Waiting:
    """Something that somebody may have to wait for; what is being done of it may change."""

    def __init__(self, title: str, text: str = ""):
        self.title, self.text, self.began = title, text, time.perf_counter()


@contextmanager
def going_on(title: str, text: str = "", here: bool = True) -> Iterator[Waiting]:
    """Show from `SILENT` seconds on that this is being done, unless progress of the whole is shown, or not `here`."""
    waiting = Waiting(title, text)
    if not here or covered.get() or not is_watched(sys.stderr):
        yield waiting
        return
    watcher = _watcher  # a child that is forked meanwhile has another one
    try:
        watcher.begin(waiting)
        yield waiting
    finally:
        watcher.end(waiting)


T = TypeVar("T")


def interruptible(title: str, work: Callable[[], T]) -> T:
    """What `work` returns, shown as going on. Where somebody watches, Ctrl-C is heard at once.

    What was interrupted comes to its end all the same, in a thread, so that what it keeps for the next time is kept. It
    must not need anything of the calling thread's own, such as a current device.
    """
    if threading.current_thread() is not threading.main_thread() or not is_watched(sys.stderr):
        return work()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="planmath: " + title, daemon=True)
    with going_on(title):
        with suppress(RuntimeError):  # no more threads can be started
            thread.start()
        return work() if thread.ident is None else done.result()


class Watcher:
    """The thread that shows what has been going on for long. It is started when something begins."""

    def __init__(self) -> None:
        self._going_on: list[Waiting] = []
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, waiting: Waiting) -> None:
        self._going_on.append(waiting)
        self._woken.set()
        if self._thread is None or not self._thread.is_alive():  # as in a child that was forked
            self._thread = threading.Thread(target=self._watch, name="planmath: progress", daemon=True)
            with suppress(RuntimeError):  # where no more threads can be started, nothing is shown
                self._thread.start()

    def end(self, waiting: Waiting) -> None:
        with suppress(ValueError):  # an interrupt came before it had begun
            self._going_on.remove(waiting)
        while self._shown is waiting and self._thread is not None and self._thread.is_alive():
            time.sleep(BETWEEN / 10)  # what is written next is not to stand behind the line

    _shown: Waiting | None = None

    def _watch(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            time.sleep(SILENT)
            while (waiting := next(iter(self._going_on), None)) is not None:
                if (rest := waiting.began + SILENT - time.perf_counter()) > 0:
                    time.sleep(rest)
                else:
                    self._show(waiting)

    def _show(self, waiting: Waiting) -> None:
        self._shown = waiting
        if waiting not in self._going_on:  # it has come to its end just now
            self._shown = None
            return
        try:
            display = display_of(waiting.title, bounded=False)
            try:
                while waiting in self._going_on:
                    display.show(time.perf_counter() - waiting.began, math.inf, waiting.text)
                    time.sleep(BETWEEN)
            finally:
                display.close()
        finally:
            self._shown = None


_watcher = Watcher()


def _begin_anew() -> None:
    """A child has no such thread, and whatever its lock was at the fork."""
    global _watcher
    _watcher = Watcher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _in_notebook() -> bool:
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python is not None and hasattr(python, "get_ipython") else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def is_watched(stream: TextIO | None) -> bool:
    """Whether a person sees what is written: at a terminal or in a notebook, not in a file or a pipe."""
    if _in_notebook():
        return True
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # something else stands in its place, or it is closed
        return False


def display_of(title: str, *, bounded: bool = True) -> Display:
    """The best that is installed: tqdm, which knows notebooks, or rich, or one line.

    Where it is `bounded`, it is known how many seconds it takes at most.
    """
    for display in (_Tqdm, _Rich):
        with suppress(ImportError):
            return display(title, bounded)
    return _Line(title, bounded)


class _Tqdm:
    def __init__(self, title: str, bounded: bool):
        from tqdm.auto import tqdm  # type: ignore[import-untyped, import-not-found, unused-ignore]

        class Quiet(tqdm):
            monitor_interval = 0  # no thread that watches it

        form = "{desc} {percentage:3.0f}%|{bar}| {n:.0f} of at most {total:.0f} s{postfix}"
        form = form if bounded else "{desc}: {n:.0f} s{postfix}"
        self._bar: Any = Quiet(desc=title, total=1.0 if bounded else None, leave=False, bar_format=form)

    def show(self, elapsed: float, seconds: float, text: str) -> None:
        self._bar.n = elapsed
        self._bar.total = seconds if math.isfinite(seconds) else None
        self._bar.set_postfix_str(text)

    def close(self) -> None:
        self._bar.close()


class _Rich:
    def __init__(self, title: str, bounded: bool):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        most = " of at most {task.total:.0f}" if bounded else ""
        columns = "[bold]{task.description}", f"{{task.completed:.0f}}{most} s, {{task.fields[text]}}"
        first, last = (TextColumn(column, markup=column.startswith("[")) for column in columns)
        shown = (first, BarColumn(), last) if bounded else (first, last)
        self._bar = Progress(*shown, console=Console(stderr=True), transient=True, auto_refresh=False)
        self._bar.start()
        self._task = self._bar.add_task(title, total=1.0 if bounded else None, text="")

    def show(self, elapsed: float, seconds: float, text: str) -> None:
        total = seconds if math.isfinite(seconds) else None
        self._bar.update(self._task, completed=elapsed, total=total, text=text, refresh=True)

    def close(self) -> None:
        self._bar.stop()


class _Line:
    def __init__(self, title: str, bounded: bool):
        self._title, self._bounded, self._width = title, bounded, 0

    def show(self, elapsed: float, seconds: float, text: str) -> None:
        most = f" of at most {seconds:.0f}" if self._bounded else ""
        line = ", ".join(filter(None, (f"{self._title}: {elapsed:.0f}{most} s", text)))[:79]
        print("\r" + line.ljust(self._width), end="", file=sys.stderr, flush=True)
        self._width = len(line)

    def close(self) -> None:
        print("\r" + " " * self._width, end="\r", file=sys.stderr, flush=True)
