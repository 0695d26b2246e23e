"""CuPy's arrays. Imported only when one comes in."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import cupy
import numpy as np
from cupy.cuda import get_current_stream

from planmath.core.arrays import Layout, contiguous_strides
from planmath.core.arrays.numpy_arrays import NumPy, layout_of


class CuPy:
    name = "cupy"
    array_type = cupy.ndarray
    host = "numpy"
    out_of_memory = (cupy.cuda.memory.OutOfMemoryError,)
    _dtypes = NumPy._dtypes

    def layout(self, array: cupy.ndarray, argument: str) -> Layout:
        return layout_of(array, argument, "cuda", array.data.device_id)

    def dtype(self, name: str) -> np.dtype:
        return NumPy().dtype(name)

    def empty(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None) -> Any:
        # the current device is the array's, as everywhere where planmath allocates
        if strides == contiguous_strides(shape):
            return cupy.ndarray(shape, dtype)
        memory = cupy.cuda.alloc(math.prod(shape) * dtype.itemsize)
        return cupy.ndarray(shape, dtype, memory, tuple(step * dtype.itemsize for step in strides))

    def with_strides(self, array: cupy.ndarray, layout: Layout) -> cupy.ndarray:
        dtype = self._dtypes.get(layout.dtype, array.dtype)
        strides = tuple(step * dtype.itemsize for step in layout.strides)
        return cupy.ndarray(layout.shape, dtype, array.data, strides)

    def address(self, array: cupy.ndarray) -> int:
        return array.data.ptr

    def is_writeable(self, array: cupy.ndarray) -> bool:
        return True

    def current_stream(self, device_id: int) -> Callable[[], int]:
        return lambda: get_current_stream().ptr

    def stream_object(self, device_id: int) -> Any:
        return get_current_stream()

    def on_stream(self, stream: int, device_id: int) -> AbstractContextManager[Any]:
        return cupy.cuda.ExternalStream(stream, device_id)

    def allocate(self, size: int, device_id: int) -> tuple[Any, int]:
        memory = cupy.cuda.alloc(size)
        return memory, memory.ptr


PACKAGE = CuPy()
