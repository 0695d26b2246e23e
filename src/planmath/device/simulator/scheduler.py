"""Threads of a block that take turns: each runs until a barrier, or until a call that all make together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from planmath.device.simulator import SimulationError

#: The thread that runs now.
running: Thread | None = None


class Thread:
    """One thread of a block, as kernels see it."""

    def __init__(self, block: Block, index: Any, number: int):
        self.block, self.threadIdx, self.thread_id = block, index, number
        self.blockIdx = block.index
        #: What it waits at, as messages call it, or None.
        self.waits: str | None = None
        self.finished = False
        self.result: Any = None
        self.runner: Any = None

    def __str__(self) -> str:
        return f"thread {tuple(self.threadIdx)} of block {tuple(self.blockIdx)}"

    def syncthreads(self) -> None:
        self.waits = "cuda.syncthreads"
        self.block.switch(self)

    def together(self, name: str, identity: Any, given: Any, work: Callable[[Sequence[Any]], Any]) -> Any:
        """A call that all threads of the block make: the last one does the work, for what all gave, by their numbers.

        Parameters
        ----------
        name : str
            What messages call it.
        identity
            What has to be the same for all.
        given
            This thread's part.
        work : callable
            Gets the list of all parts; returns a result for all, or a list with one for each.
        """
        self.waits, self.identity, self.given, self.work = name, identity, given, work
        self.block.switch(self)
        return self.result

    def vote(self, value: Any, decide: Callable[[Any], Any]) -> Any:
        """``syncthreads_count`` and its like."""
        return self.together("cuda.syncthreads", "vote", bool(value), lambda all_: decide(np.asarray(all_)))


class Block:
    """A block, and its run."""

    def __init__(
        self, function: Callable[..., None], index: Any, extents: tuple[int, int, int], dim3: Any, module: Any
    ):
        self.module = module
        self.function, self.index, self.extents = function, index, extents
        x, y, z = extents
        self.threads = [
            Thread(self, dim3(number % x, number // x % y, number // (x * y)), number) for number in range(x * y * z)
        ]

    def run(self, arguments: Sequence[Any]) -> None:
        """Run all threads to their end.

        Raises
        ------
        SimulationError
            If threads wait for each other for ever, or do not make together what all have to.
        """
        global running
        self._start(arguments)
        try:
            waiting = self.threads
            while waiting:
                for thread in waiting:
                    running = thread
                    self.module.turn(thread)
                    self._resume(thread)
                waiting = [thread for thread in self.threads if not thread.finished]
                if waiting:
                    self._meet(waiting)
        finally:
            running = None
            self._stop()

    def call(self, arguments: Sequence[Any]) -> None:
        """What each thread does."""
        if self.function(*arguments) is not None:
            raise SimulationError("a kernel returns a value: on a GPU it is not compiled")

    def _meet(self, waiting: list[Thread]) -> None:
        """All that have not finished wait: at one barrier, or in one call that all make."""
        first = waiting[0]
        for thread in waiting:
            if thread.waits != first.waits:
                raise SimulationError(
                    f"{first} waits at {first.waits}, {thread} at {thread.waits}: on a GPU they would wait for ever"
                )
        if first.waits == "cuda.syncthreads" and not hasattr(first, "work"):
            return
        if len(waiting) < len(self.threads):
            gone = next(thread for thread in self.threads if thread.finished)
            raise SimulationError(
                f"{gone} has finished, and {first} calls {first.waits}: all threads of the block have to call it "
                "(guard loads and stores, not the call)"
            )
        for thread in waiting:
            if thread.identity != first.identity:
                raise SimulationError(f"{first} and {thread} call {first.waits} with different arguments or objects")
        results = first.work([thread.given for thread in waiting])
        for number, thread in enumerate(waiting):
            thread.result = results[number] if isinstance(results, list) else results
            del thread.work, thread.given, thread.identity

    # How threads are run: as greenlets, or, where that package is missing, as threads of the system that take turns.

    def _start(self, arguments: Sequence[Any]) -> None:
        for thread in self.threads:
            thread.runner = _Runner(self, thread, arguments)

    def _resume(self, thread: Thread) -> None:
        thread.waits = None
        thread.runner.resume()
        if thread.waits is None:
            thread.finished = True

    def switch(self, thread: Thread) -> None:
        """Let the others run until they wait too."""
        thread.runner.pause()

    def _stop(self) -> None:
        for thread in self.threads:
            if not thread.finished and (runner := thread.runner) is not None:
                runner.abandon()


def _explained(thread: Thread, error: Exception) -> Exception:
    """The error with the thread in its message, if it can have one."""
    try:
        return type(error)(f"{thread}: {error}")
    except Exception:
        return error


class _GreenletRunner:
    def __init__(self, block: Block, thread: Thread, arguments: Sequence[Any]):
        def run() -> None:
            try:
                block.call(arguments)
            except SimulationError:
                raise
            except Exception as error:
                raise _explained(thread, error).with_traceback(error.__traceback__) from None

        self._greenlet = greenlet.greenlet(run)

    def resume(self) -> None:
        self._greenlet.switch()

    def pause(self) -> None:
        self._greenlet.parent.switch()

    def abandon(self) -> None:
        self._greenlet.throw(greenlet.GreenletExit)


class _Abandoned(BaseException):
    """Ends a thread that nobody waits for any more."""


class _ThreadRunner:
    """A thread of the system; only the one that has the turn runs."""

    def __init__(self, block: Block, thread: Thread, arguments: Sequence[Any]):
        self._turn, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._abandoned = False

        def run() -> None:
            self._turn.acquire()
            try:
                if not self._abandoned:
                    block.call(arguments)
            except _Abandoned:
                pass
            except SimulationError as error:
                self._error = error
            except Exception as error:
                self._error = _explained(thread, error).with_traceback(error.__traceback__)
            self._back.release()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def resume(self) -> None:
        self._turn.release()
        self._back.acquire()
        if self._error:
            raise self._error

    def pause(self) -> None:
        self._back.release()
        self._turn.acquire()
        if self._abandoned:
            raise _Abandoned

    def abandon(self) -> None:
        self._abandoned = True
        self._turn.release()
        self._thread.join()


try:
    import greenlet
except ImportError:
    _Runner: Any = _ThreadRunner
else:
    _Runner = _GreenletRunner
