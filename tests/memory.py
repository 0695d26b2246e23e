"""How much of Python's memory a call takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def bytes_taken(call: Callable[[], object]) -> int:
    """The most bytes that there are at a time while a call runs, beside those of before.

    The least of three calls: what other threads of the process allocate meanwhile counts as well.
    """
    taken = []
    tracemalloc.start()
    try:
        for _ in range(3):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            call()
            taken.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return min(taken)
