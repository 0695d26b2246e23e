"""The log of an operation's phases."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from os import getpid
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


def phase(logger: logging.Logger, noun: str, name: str) -> AbstractContextManager[None]:
    """Log a phase of an operation's life, and how long it took."""
    return _Phase(logger, noun, name) if logger.isEnabledFor(logging.INFO) else _NOTHING


def tell(logger: logging.Logger, message: str, *arguments: object) -> None:
    """``logger.info`` where it is known that the logger lets this through, in a fraction of the time.

    The place in the source that the record names is this one: looking for the caller's takes as long as the rest. What
    a record tells of the process and its thread is that of the one before, where they are the same.
    """
    if type(logger) is not logging.Logger:  # others may do as they like
        logger.info(message, *arguments)
        return
    if logging.getLogRecordFactory() is not logging.LogRecord or _is_tasked():
        logger.handle(_made(logger, message, arguments))
        return
    thread = current_thread()
    here = logger.name, getpid(), thread.ident, thread.name
    known = _last.get(here)
    if known is None:
        record = _made(logger, message, arguments)
        _last.clear()
        _last[here] = vars(record).copy()
    else:
        record = _new(logging.LogRecord)
        record.__dict__ = fields = known.copy()
        fields["msg"], fields["args"] = message, arguments
        fields["created"] = now = time.time()
        fields["msecs"] = float(int(now % 1 * 1000))
        fields["relativeCreated"] += (now - known["created"]) * 1000
    logger.handle(record)


_new = logging.LogRecord.__new__
#: The fields of a record, by what those depend on that do not belong to a message.
_last: dict[tuple[Any, ...], dict[str, Any]] = {}


def _made(logger: logging.Logger, message: str, arguments: tuple[object, ...]) -> logging.LogRecord:
    place = tell.__code__
    return logger.makeRecord(
        logger.name, logging.INFO, place.co_filename, place.co_firstlineno, message, arguments, None, place.co_name
    )


def _is_tasked() -> bool:
    """Whether records name the task of asyncio's that they come from (Python 3.12)."""
    return sys.version_info >= (3, 12) and "asyncio" in sys.modules


class _Phase:
    """Tells of a phase, and if no exception comes, how long it took."""

    __slots__ = ("_logger", "_name", "_noun", "_start")

    def __init__(self, logger: logging.Logger, noun: str, name: str):
        self._logger, self._noun, self._name = logger, noun, name

    def __enter__(self) -> None:
        tell(self._logger, "= %s %s =", self._noun, self._name)
        self._start = time.perf_counter()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            took = format_seconds(time.perf_counter() - self._start)
            tell(self._logger, "%s %s took %s.", self._noun, self._name.lower(), took)


def format_seconds(seconds: float) -> str:
    """Seconds with three digits and the unit that suits them."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
