"""Numba's compiler for CUDA, for other devices than the current one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from threading import Lock
from types import SimpleNamespace
from typing import Any

#: What is compiled for here, in a thread or a task, where it is not the current device.
_capability: ContextVar[tuple[int, int] | None] = ContextVar("capability", default=None)
_lock = Lock()


@contextmanager
def compiling_for(capability: tuple[int, int]) -> Iterator[None]:
    """Functions that a function calls are compiled by numba-cuda for the current device: let it be one of this kind."""
    _prepare(import_module("numba.cuda.dispatcher"))
    token = _capability.set(capability)
    try:
        yield
    finally:
        _capability.reset(token)


def _prepare(dispatcher: Any) -> None:
    """Let numba-cuda ask here first, once and for all: threads that put it back could not know in which order."""
    with _lock:
        original = dispatcher.get_current_device
        if getattr(original, "asks_planmath", False):
            return

        def get_current_device() -> Any:
            capability = _capability.get()
            return original() if capability is None else SimpleNamespace(compute_capability=capability)

        get_current_device.asks_planmath = True  # type: ignore[attr-defined]
        dispatcher.get_current_device = get_current_device
