"""CuPy's arrays. Imported only when one comes in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import cupy
import numpy as np
from cupy.cuda import get_current_stream
from cupy_backends.cuda import stream as _streams

from planmath.core.arrays import Layout, Maker, contiguous_strides, spanned
from planmath.core.arrays.numpy_arrays import NumPy, layout_of
from planmath.core.cuda import devices
from planmath.native.forks import computed


class _Stream(NamedTuple):
    """A stream by the protocol that CuPy takes foreign ones by."""

    address: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address


class CuPy:
    name = "cupy"
    array_type = cupy.ndarray
    host = "numpy"
    out_of_memory = (cupy.cuda.memory.OutOfMemoryError,)
    differentiates = False
    #: CuPy's own C function for the address of a device's current stream, where it exports one to other modules.
    stream_function = getattr(_streams, "__pyx_capi__", {}).get("get_stream_ptr")
    _dtypes = NumPy._dtypes

    def layout(self, array: cupy.ndarray, argument: str, *, lazy: bool = False) -> Layout:
        return layout_of(array, argument, "cuda", array.data.device_id)

    def dtype(self, name: str) -> np.dtype:
        return NumPy().dtype(name)

    @computed
    def only_device(self) -> bool:
        """Whether an array on a device can be on no other."""
        return devices.count() == 1

    def dense(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> str | None:
        """The attribute that is true of arrays of this shape if they have these strides, where CuPy has one."""
        for name, axes in (("_c_contiguous", range(len(shape))), ("_f_contiguous", reversed(range(len(shape))))):
            if hasattr(cupy.ndarray, name) and strides == contiguous_strides(shape, tuple(axes)):
                return name
        return None

    def empty(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None) -> Any:
        make, arguments = self.maker(shape, strides, dtype, device_id)
        return make(*arguments)

    def maker(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None) -> Maker:
        # the current device is the array's, as everywhere where planmath allocates
        if strides == contiguous_strides(shape):
            return cupy.ndarray, (shape, dtype)
        array_type, alloc = cupy.ndarray, cupy.cuda.alloc
        before, span = (elements * dtype.itemsize for elements in spanned(shape, strides))
        steps = tuple(step * dtype.itemsize for step in strides)
        return (lambda: array_type(shape, dtype, alloc(span) + before, steps)), ()

    def with_strides(self, array: cupy.ndarray, layout: Layout) -> cupy.ndarray:
        dtype = self._dtypes.get(layout.dtype, array.dtype)
        strides = tuple(step * dtype.itemsize for step in layout.strides)
        return cupy.ndarray(layout.shape, dtype, array.data, strides)

    def address(self, array: cupy.ndarray) -> int:
        return array.data.ptr

    def over(self, owner: Any, address: int, size: int, device_id: int | None) -> cupy.ndarray:
        memory = cupy.cuda.UnownedMemory(address, size, owner, device_id)
        return cupy.ndarray((size,), np.dtype(np.uint8), cupy.cuda.MemoryPointer(memory, 0))

    def is_writeable(self, array: cupy.ndarray) -> bool:
        return True

    def current_stream(self, device_id: int) -> Callable[[], int]:
        return lambda: get_current_stream().ptr

    def stream_object(self, device_id: int) -> Any:
        return get_current_stream()

    def on_stream(self, stream: int, device_id: int) -> AbstractContextManager[Any]:
        if hasattr(cupy.cuda.Stream, "from_external"):  # since CuPy 14
            return cupy.cuda.Stream.from_external(_Stream(stream))
        return cupy.cuda.ExternalStream(stream, device_id)

    def allocate(self, size: int, device_id: int) -> tuple[Any, int]:
        memory = cupy.cuda.alloc(size)
        return memory, memory.ptr


PACKAGE = CuPy()
