"""How long a rank waits for the others, and what is said when they do not come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

VARIABLE = "PLANMATH_DISTRIBUTED_TIMEOUT"
#: Seconds that a rank waits where the environment says nothing.
DEFAULT = 300.0
#: Polls in a row before a waiting rank gives its CPU to others, and before it sleeps between polls.
EAGER, PATIENT = 50, 2000

_waiting_in = ContextVar("planmath_waiting_in", default="no operation")


def seconds() -> float:
    """The limit for each wait: PLANMATH_DISTRIBUTED_TIMEOUT, in seconds.

    Raises
    ------
    ValueError
        If the variable is not a positive number.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return DEFAULT
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError(f"{VARIABLE} is {text!r}; expected a positive number of seconds")
    return value


@contextmanager
def within(what: str) -> Iterator[None]:
    """Let messages about waits say which call they belong to."""
    before = _waiting_in.set(what)
    try:
        yield
    finally:
        _waiting_in.reset(before)


def current() -> str:
    """The call that this thread is in."""
    return _waiting_in.get()


def expired(rank: int, nranks: int, number: int, missing: str) -> TimeoutError:
    """The error of a rank that waited in vain.

    Parameters
    ----------
    rank, nranks : int
    number : int
        Which call of its kind it was, from 1.
    missing : str
        Half a sentence that says who did not come, as far as that is known.
    """
    return TimeoutError(
        f"rank {rank} of {nranks} waited {seconds():g} s in {current()} (call {number}): {missing}. All ranks have to "
        f"make the same calls in the same order; {VARIABLE} sets another limit in seconds"
    )


def poll(done: Callable[[], bool], late: Callable[[], Exception]) -> None:
    """Ask until it is done, with less and less haste; raise `late()` at the deadline."""
    count, end = 0, time.monotonic() + seconds()
    while not done():
        count += 1
        if count > PATIENT:
            if time.monotonic() > end:
                raise late()
            time.sleep(5e-5)
        elif count > EAGER:
            os.sched_yield()
