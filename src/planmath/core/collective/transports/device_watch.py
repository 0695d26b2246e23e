"""Who looks after streams that wait for other ranks: they would wait forever for one that does not come."""

from __future__ import annotations

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
        self._watched: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, watched: Watched) -> None:
        if watched in self._watched and self._some.is_set():
            return
        self._watched.add(watched)
        self._some.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="planmath-ranks", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._some.wait()
            time.sleep(min(LOOK, deadline.seconds() / 4))
            for watched in list(self._watched):
                try:
                    waits = watched.look()
                except Exception as error:  # at the end of a process the device may be gone
                    LOGGER.debug("The streams that wait for other ranks cannot be looked after: %s", error)
                    waits = False
                if not waits:
                    self._watched.discard(watched)
            if not self._watched:
                self._some.clear()
                if len(self._watched):  # added meanwhile
                    self._some.set()


WATCH = _Watch()
