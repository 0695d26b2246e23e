"""Arrays of planmath's own on and for a CUDA device."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.bindings import runtime
from planmath.core.cuda.queue import Queue

#: Arrays begin at multiples of this many bytes, like memory that `cudaMalloc` gives.
ALIGNMENT = 256
#: ``cudaHostAllocPortable``: for every device.
_PORTABLE = 1


def upload(arrays: Sequence[np.ndarray], queue: Queue) -> tuple[Any, list[int]]:
    """Copy arrays to a device, all in one go.

    Returns
    -------
    owner : object
        Keeps the memory.
    addresses : list of int
        Where each array is.
    """
    offsets, size = list[int](), 0
    for array in arrays:
        offsets.append(size)
        size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    owner, address = queue.allocate(max(size, ALIGNMENT))
    image = np.zeros(size, np.uint8)
    for array, offset in zip(arrays, offsets, strict=True):
        image[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    overwrite(address, image, queue)
    return owner, [address + offset for offset in offsets]


def overwrite(address: int, array: np.ndarray, queue: Queue) -> None:
    """Copy an array to memory of a device, in the order of the queue's work; the array may change afterwards."""
    # CUDA has copied the array when the call returns, as it is no pinned memory
    runtime.memcpy_async(address, array.ctypes.data, array.nbytes, runtime.MemcpyKind.HOST_TO_DEVICE, queue.stream)


class _Pinned:
    """Memory of the host that devices may write to."""

    def __init__(self, size: int):
        self.address = 0
        self.address = runtime.host_alloc(size, _PORTABLE)
        self.__array_interface__ = {"version": 3, "shape": (size,), "typestr": "|u1", "data": (self.address, False)}

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            runtime.free_host(self.address)


def pinned(shape: tuple[int, ...], dtype: str = "float64") -> np.ndarray:
    """An array of zeros on the host that kernels write to at the address it has there, so that nothing is copied."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    array = np.asarray(_Pinned(max(size, 1)))[:size].view(dtype).reshape(shape)
    array[...] = 0
    return array
