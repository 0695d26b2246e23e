"""The log of an operation's phases."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from threading import current_thread
from typing import Any

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


def phase(logger: logging.Logger, noun: str, name: str, *lines: tuple[Any, ...]) -> AbstractContextManager[None]:
    """Log a phase of an operation's life, with lines that say more about it, and how long it took."""
    return _Phase(logger, noun, name, lines) if logger.isEnabledFor(logging.INFO) else _NOTHING


def tell(logger: logging.Logger, *lines: tuple[Any, ...]) -> None:
    """``logger.info(*line)`` for each line where it is known that the logger lets this through, in a fraction of the
    time.

    The place in the source that the records name is this one: looking for the caller's takes as long as the rest. What
    they tell of the process and its thread is that of those before, where they are the same, and the time is one.
    """
    if type(logger) is not logging.Logger:  # others may do as they like
        for line in lines:
            logger.info(*line)
        return
    if logging.getLogRecordFactory() is not logging.LogRecord or (_HAS_TASKS and "asyncio" in sys.modules):
        for line in lines:
            logger.handle(_made(logger, line[0], line[1:]))
        return
    thread = current_thread()
    here = logger.name, thread, thread.name
    known = _last.get(here)
    if known is None:
        _last.clear()
        _last[here] = known = vars(_made(logger, "", ())).copy()
    common = known.copy()
    common["created"] = now = time.time()
    common["msecs"] = float(int(now % 1 * 1000))
    common["relativeCreated"] += (now - known["created"]) * 1000
    for line in lines:
        record = _new(logging.LogRecord)
        record.__dict__ = fields = common.copy()
        fields["msg"], fields["args"] = line[0], line[1:]
        logger.handle(record)


_new = logging.LogRecord.__new__
#: The fields of a record, by what those depend on that do not belong to a message. A fork's child is another process.
_last: dict[tuple[Any, ...], dict[str, Any]] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_last.clear)
#: Whether records name the task of asyncio's that they come from.
_HAS_TASKS = sys.version_info >= (3, 12)


def _made(logger: logging.Logger, message: str, arguments: tuple[object, ...]) -> logging.LogRecord:
    place = tell.__code__
    return logger.makeRecord(
        logger.name, logging.INFO, place.co_filename, place.co_firstlineno, message, arguments, None, place.co_name
    )


class _Phase:
    """Tells of a phase, and if no exception comes, how long it took."""

    __slots__ = ("_lines", "_logger", "_name", "_noun", "_start")

    def __init__(self, logger: logging.Logger, noun: str, name: str, lines: tuple[tuple[Any, ...], ...]):
        self._logger, self._noun, self._name, self._lines = logger, noun, name, lines

    def __enter__(self) -> None:
        tell(self._logger, ("= %s %s =", self._noun, self._name), *self._lines)
        self._start = time.perf_counter()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            took = format_seconds(time.perf_counter() - self._start)
            tell(self._logger, ("%s %s took %s.", self._noun, self._name.lower(), took))


def format_seconds(seconds: float) -> str:
    """Seconds with three digits and the unit that suits them."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
