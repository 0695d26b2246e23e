"""Who wants to know of the operations that a program plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[Any], None]
_listeners: list[Listener] = []


def tell(operation: Any) -> None:
    """An operation was planned."""
    for listener in _listeners:
        listener(operation)


def is_told() -> bool:
    """Whether anybody wants to know."""
    return bool(_listeners)


@contextmanager
def told(listener: Listener) -> Iterator[None]:
    """Call `listener` with each operation as soon as it is planned, parts of other operations left out."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
