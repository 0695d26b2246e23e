"""Numba's compiler for CUDA, for other devices than the current one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any


@contextmanager
def compiling_for(capability: tuple[int, int]) -> Iterator[None]:
    """Functions that a function calls are compiled by numba-cuda for the current device: let it be one of this kind."""
    dispatcher: Any = import_module("numba.cuda.dispatcher")
    original = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = original
