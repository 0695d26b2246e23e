"""The log of an operation's phases."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

#: Used where options name no logger. It inherits level and handlers from the root logger; an application that listens
#: to INFO, and does not want to hear of planmath, says ``logging.getLogger("planmath").setLevel(logging.WARNING)``.
LOGGER = logging.getLogger("planmath")


def levels_of(logger: logging.Logger) -> dict[int, bool]:
    """The logger's own memory of the levels it lets through, which `logging` empties on every change of a level.

    Looking there costs a tenth of ``logger.isEnabledFor``. Where a logger has no such memory, its answer is asked for
    on every execution: an empty dictionary means "find out".
    """
    logger.isEnabledFor(logging.INFO)
    return getattr(logger, "_cache", {})


#: What is not to be told, because a phase around it tells it.
UNHEARD = logging.Logger("planmath.unheard", logging.CRITICAL + 1)

_NOTHING = nullcontext()


def phase(logger: logging.Logger, noun: str, name: str) -> AbstractContextManager[None]:
    """Log a phase of an operation's life, and how long it took."""
    return _logged(logger, noun, name) if logger.isEnabledFor(logging.INFO) else _NOTHING


@contextmanager
def _logged(logger: logging.Logger, noun: str, name: str) -> Iterator[None]:
    logger.info("= %s %s =", noun, name)
    start = time.perf_counter()
    yield
    logger.info("%s %s took %s.", noun, name.lower(), format_seconds(time.perf_counter() - start))


def format_seconds(seconds: float) -> str:
    """Seconds with three digits and the unit that suits them."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
