"""How busy threads are."""

from __future__ import annotations

import time
from collections.abc import Callable

from planmath.bindings import mkl


def other_threads(run: Callable[[], object]) -> float:
    """The processor time that other threads of this process take while this one runs, as a part of its own."""
    run()
    time.sleep(1.5 * mkl.BLOCK_TIME)  # until those of earlier work have gone to sleep
    process, thread = time.process_time(), time.thread_time()
    while time.thread_time() - thread < 0.05:
        run()
    own = time.thread_time() - thread
    return (time.process_time() - process - own) / own
