"""The protocol by which a user's own allocator provides temporary device memory."""

from __future__ import annotations

import logging
import operator
import sys
import weakref
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from planmath.core.cuda import devices


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
        """Allocate `size` bytes, usable by work that is put on `stream` afterwards.

        The stream is a ``cuda.core.Stream`` where that is imported, else an `AllocationStream`; both have ``handle``.
        What is returned has the address as ``device_ptr``, ``device_pointer`` or ``ptr``.
        """


class AllocationStream:
    """A stream as allocators get it.

    Parameters
    ----------
    handle : int
        Its address.
    """

    __slots__ = ("handle",)

    def __init__(self, handle: int):
        self.handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        """The version of this protocol, and the address (CUDA Python, "CUDA stream protocol")."""
        return 0, self.handle

    def __int__(self) -> int:
        return self.handle

    __index__ = __int__

    def __repr__(self) -> str:
        return f"<AllocationStream {self.handle:#x}>"


def stream_object(address: int) -> Any:
    """The stream at an address as an object; only who imported cuda.core knows its streams."""
    known: Any = sys.modules.get("cuda.core") or sys.modules.get("cuda.core.experimental")
    return known.Stream.from_handle(address) if hasattr(known, "Stream") else AllocationStream(address)


#: What allocators may call the address of what they return.
ADDRESSES = ("device_ptr", "device_pointer", "ptr")


def check_allocator(owner: str, allocator: Any) -> None:
    """Raise TypeError where a user's allocator has neither of the two protocols."""
    if allocator is not None and not (hasattr(allocator, "memalloc") or hasattr(allocator, "memalloc_async")):
        raise TypeError(
            f"{owner}.allocator is a {type(allocator).__name__}; expected an object with memalloc(size) or "
            "memalloc_async(size, stream), as in planmath.BaseCUDAMemoryManager"
        )


def allocate(size: int, package: Any, allocator: Any, device_id: int, stream: int) -> tuple[Any, int]:
    """Temporary memory on the current device for work on a stream: what owns it, and its address.

    Parameters
    ----------
    size : int
        Bytes.
    package : core.arrays.Package
        Whose pool provides it where `allocator` is None.
    allocator : BaseCUDAMemoryManager, BaseCUDAMemoryManagerAsync or None
    device_id, stream : int

    Raises
    ------
    OutOfDeviceMemoryError
    ValueError
        If a user's allocator returns what is not memory of the device.
    """
    if allocator is None:
        return package.allocate(size, device_id)
    if isinstance(allocator, type):
        raise TypeError(f"allocator is the class {allocator.__name__}; pass an object of it")
    if hasattr(allocator, "memalloc_async"):
        pointer = allocator.memalloc_async(size, stream_object(stream))
    else:
        pointer = allocator.memalloc(size)
    address = next((value for name in ADDRESSES if (value := getattr(pointer, name, None)) is not None), None)
    if address is None or not hasattr(address, "__index__"):
        raise TypeError(
            f"the allocator returned a {type(pointer).__name__}; expected an object with the address as "
            f"{', '.join(ADDRESSES[:-1])} or {ADDRESSES[-1]}, such as a planmath.MemoryPointer"
        )
    address = operator.index(address)
    where = devices.place_of(address)
    if where != device_id:
        owner = "the host" if where is None else f"device {where}"
        raise ValueError(
            f"the allocator returned {address:#x}, which is memory of {owner}; expected {size} bytes on device "
            f"{device_id}"
        )
    return pointer, address
