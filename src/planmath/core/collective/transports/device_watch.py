"""Who looks after streams that wait for other ranks: they would wait forever for one that does not come."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

from planmath.core.collective import deadline
from planmath.core.log import LOGGER

#: Seconds between two looks, at most.
LOOK = 1.0


class Watched(Protocol):
    def look(self) -> bool:
        """Whether something is still waited for."""


class _Watch:
    """One thread of a process, which sleeps while no stream waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added: weakref.WeakKeyDictionary[Watched, int] = weakref.WeakKeyDictionary()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, watched: Watched) -> None:
        with self._lock:
            self._added[watched] = self._added.get(watched, 0) + 1
            self._some.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="planmath-ranks", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._some.wait()
            time.sleep(min(LOOK, deadline.seconds() / 4))
            self._look()

    def _look(self) -> None:
        """Look after all of them once. Who waits for nothing goes, unless added again meanwhile."""
        with self._lock:
            seen = list(self._added.items())
        for watched, times in seen:
            try:
                waits = watched.look()
            except Exception as error:  # at the end of a process the device may be gone
                LOGGER.debug("The streams that wait for other ranks cannot be looked after: %s", error)
                waits = False
            with self._lock:
                if not waits and self._added.get(watched) == times:
                    del self._added[watched]
        with self._lock:
            if not self._added:
                self._some.clear()


WATCH = _Watch()


def _begin_anew() -> None:
    """A child has no such thread, and whatever the lock was at the fork."""
    global WATCH
    WATCH = _Watch()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
