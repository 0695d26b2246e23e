"""The protocol by which a user's own allocator provides temporary device memory."""

from __future__ import annotations

import logging
import weakref
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable


class MemoryPointer:
    """Device memory that is given back when the object is freed or dropped.

    Parameters
    ----------
    device_ptr : int
        The address.
    size : int
        Bytes.
    finalizer : callable or None
        Called once, without arguments, to give the memory back.
    """

    def __init__(self, device_ptr: int, size: int, finalizer: Callable[[], Any] | None):
        self.device_ptr = device_ptr
        self.size = size
        self._finalizer = None if finalizer is None else weakref.finalize(self, finalizer)

    def free(self) -> None:
        """Give the memory back.

        Raises
        ------
        RuntimeError
            If that was done before.
        """
        if self._finalizer is None:
            return
        if not self._finalizer.alive:
            raise RuntimeError(f"the {self.size} bytes at {self.device_ptr:#x} were already freed")
        self._finalizer()


@runtime_checkable
class BaseCUDAMemoryManager(Protocol):
    """An allocator of device memory.

    Parameters
    ----------
    device_id : int
        The device to allocate on.
    logger : logging.Logger
    """

    def __init__(self, device_id: int, logger: logging.Logger): ...

    @abstractmethod
    def memalloc(self, size: int) -> MemoryPointer:
        """Allocate `size` bytes."""


@runtime_checkable
class BaseCUDAMemoryManagerAsync(Protocol):
    """An allocator of device memory in the order of a stream.

    Parameters
    ----------
    device_id : int
        The device to allocate on.
    logger : logging.Logger
    """

    def __init__(self, device_id: int, logger: logging.Logger): ...

    @abstractmethod
    def memalloc_async(self, size: int, stream: Any) -> MemoryPointer:
        """Allocate `size` bytes, usable by work that is put on `stream` afterwards."""
