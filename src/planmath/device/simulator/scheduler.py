"""Threads of a block that take turns: each runs until a barrier, or until a call that all make together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from planmath.device.simulator import SimulationError
from planmath.device.simulator.warps import FUNCTIONS, WARP, WHOLE

#: The thread that runs now.
running: Thread | None = None


class Thread:
    """One thread of a block, as kernels see it."""

    def __init__(self, block: Block, index: Any, number: int):
        self.block, self.threadIdx, self.thread_id = block, index, number
        self.blockIdx = block.index
        #: What it waits at, as messages call it, or None.
        self.waits: str | None = None
        #: Where those of its warp alone are waited for: which of them.
        self.mask: int | None = None
        self.warp, self.lane = divmod(number, WARP)
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

    def vote(self, name: str, value: Any, decide: Callable[[Any], Any]) -> Any:
        """``syncthreads_count`` and its like."""
        return self.together(f"cuda.{name}", "vote", bool(value), lambda all_: decide(np.asarray(all_)))

    def in_warp(self, name: str, mask: Any, *given: Any) -> Any:
        """A function of `warps.FUNCTIONS`, which the threads of a warp that a mask names call together."""
        self.waits, self.mask, self.given = f"cuda.{name}", int(mask) & WHOLE, given
        if not self.mask >> self.lane & 1:
            raise SimulationError(f"{self} calls {self.waits} with the mask {self.mask:#x}, which does not name it")
        self.block.switch(self)
        return self.result


class Block:
    """A block, and its run."""

    def __init__(
        self, function: Callable[..., None], index: Any, extents: tuple[int, int, int], dim3: Any, module: Any
    ):
        self.module = module
        #: Copies to shared memory that are under way: where to, and what.
        self.copies: list[tuple[np.ndarray, np.ndarray]] = []
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
                left = [thread for thread in self.threads if not thread.finished]
                if any(thread.mask is not None for thread in left):
                    waiting = self._meet_in_warps(left)
                else:
                    waiting = left
                    if left:
                        self._meet(left)
        finally:
            running = None
            self._stop()

    def call(self, arguments: Sequence[Any]) -> None:
        """What each thread does."""
        if self.function(*arguments) is not None:
            raise SimulationError("a kernel returns a value: on a GPU it is not compiled")

    def _meet(self, waiting: list[Thread]) -> None:
        """All that have not finished wait: at one barrier, or in one call that all make."""
        _check_alike(waiting)
        first = waiting[0]
        if first.waits == "cuda.syncthreads":
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

    def _meet_in_warps(self, waiting: list[Thread]) -> list[Thread]:
        """Those that go on, for all whom their masks name call the same function; others wait for them."""
        found: list[Thread] = []
        for _, members in groupby(waiting, key=lambda thread: thread.warp):
            warp = list(members)
            for mask in dict.fromkeys(thread.mask for thread in warp if thread.mask is not None):
                named = [thread for thread in warp if mask >> thread.lane & 1]
                if all(thread.mask == mask and thread.waits == named[0].waits for thread in named):
                    parts = {thread.lane: thread.given for thread in named}
                    decide = FUNCTIONS[str(named[0].waits).removeprefix("cuda.")]
                    for thread in named:
                        thread.result = decide(thread, parts)
                    found += named
        if not found:
            _check_alike(waiting)
            raise SimulationError(f"{waiting[0]} waits at {waiting[0].waits} for threads that use another mask")
        return found

    # How threads are run: as greenlets, or, where that package is missing, as threads of the system that take turns.

    def _start(self, arguments: Sequence[Any]) -> None:
        for thread in self.threads:
            thread.runner = _Runner(self, thread, arguments)

    def _resume(self, thread: Thread) -> None:
        thread.waits = thread.mask = None
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


def _check_alike(waiting: Sequence[Thread]) -> None:
    """Raise where some threads wait for others that wait elsewhere."""
    first = waiting[0]
    for thread in waiting:
        if thread.waits != first.waits:
            raise SimulationError(
                f"{first} waits at {first.waits}, {thread} at {thread.waits}: on a GPU they would wait for ever"
            )


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
