"""Planned operations that stateless calls leave behind for the next call of the same kind.

A stateless call takes the idle operation of its specification, if there is one, and puts it back when done; between the
two nobody else has it, so threads never share one. What is kept is bounded, and holds no operands.
"""

from __future__ import annotations

import atexit
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

#: How many idle operations are kept, the most recently used.
CAPACITY = 64

_idle: OrderedDict[Hashable, Any] = OrderedDict()


def take(key: Hashable) -> Any | None:
    """The idle operation of this specification, now the caller's alone, or None."""
    return _idle.pop(key, None)


def put(key: Hashable, operation: Any) -> None:
    """Leave an operation, its operands released, to the next call."""
    if _idle.setdefault(key, operation) is not operation:  # another thread was faster
        operation.free()
        return
    if len(_idle) > CAPACITY:
        try:
            _, oldest = _idle.popitem(last=False)
        except KeyError:  # another thread emptied it
            return
        oldest.free()


def clear() -> None:
    """Free every idle operation."""
    while _idle:
        try:
            _, operation = _idle.popitem()
        except KeyError:
            return
        operation.free()


atexit.register(clear)
