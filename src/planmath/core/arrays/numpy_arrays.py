"""NumPy's arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, Bytes, Layout, Maker, spanned
from planmath.core.errors import UnsupportedLayoutError


@cache
def name_of(dtype: np.dtype) -> str:
    """The dtype's name, which NumPy puts together anew each time."""
    return dtype.name


class _Streams(threading.local):
    """The stream of each thread: at first the default one."""

    current = 0


_streams = _Streams()


def layout_of(array: Any, argument: str, memory_space: str, device_id: int | None) -> Layout:
    """The layout of an array of NumPy or of a package that has its dtypes and counts strides in bytes."""
    if not array.dtype.isnative:
        raise TypeError(
            f"{argument} has the byte order of another machine ({array.dtype.str!r}); "
            f"convert it with array.astype(array.dtype.newbyteorder('='))"
        )
    size = max(array.itemsize, 1)  # structured dtypes without a field have elements of no bytes
    if any(step % size for step in array.strides) or not getattr(array.flags, "aligned", True):
        raise UnsupportedLayoutError(
            f"{argument} has elements of {size} bytes that are not at multiples of their size in memory "
            f"(strides of {array.strides} bytes); copy it with numpy.array(array)"
        )
    strides = tuple([step // size for step in array.strides])
    return Layout(array.shape, strides, name_of(array.dtype), memory_space, device_id)


class NumPy:
    name = "numpy"
    array_type = np.ndarray
    host = "numpy"
    out_of_memory = ()
    differentiates = False
    _dtypes = {  # noqa: RUF012
        name: np.dtype(name)
        for name in ITEMSIZE
        if not name.startswith(("bfloat", "float8", "float4")) and name != "complex32"
    }

    def layout(self, array: np.ndarray, argument: str, *, lazy: bool = False) -> Layout:
        return layout_of(array, argument, "cpu", None)

    def dtype(self, name: str) -> np.dtype:
        try:
            return self._dtypes[name]
        except KeyError:
            raise TypeError(f"NumPy has no dtype {name}; use torch tensors for it") from None

    def empty(
        self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None = None
    ) -> np.ndarray:
        before, span = spanned(shape, strides)
        return self.with_strides(np.empty(span, dtype)[before:], Layout(shape, strides, "", "cpu", None))

    def maker(
        self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None = None
    ) -> Maker:
        return self.empty, (shape, strides, dtype)

    def with_strides(self, array: np.ndarray, layout: Layout) -> np.ndarray:
        dtype = self._dtypes.get(layout.dtype, array.dtype)
        strides = tuple(step * array.itemsize for step in layout.strides)
        return np.lib.stride_tricks.as_strided(np.asarray(array).view(dtype), layout.shape, strides)

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def over(self, owner: Any, address: int, size: int, device_id: int | None) -> np.ndarray:
        return np.asarray(Bytes(owner, address, size))

    def is_writeable(self, array: np.ndarray) -> bool:
        return array.flags.writeable

    # NumPy has no streams: those that work on its arrays is put on are kept here.

    def current_stream(self, device_id: int) -> Callable[[], int]:
        return lambda: _streams.current

    def stream_object(self, device_id: int) -> None:
        return None

    @contextmanager
    def on_stream(self, stream: int, device_id: int) -> Iterator[None]:
        before = _streams.current
        _streams.current = stream
        try:
            yield
        finally:
            _streams.current = before

    def allocate(self, size: int, device_id: int) -> tuple[Any, int]:
        from planmath.core.cuda.devices import DeviceMemory

        memory = DeviceMemory(size, device_id, self.current_stream(device_id)())
        return memory, memory.address


PACKAGE = NumPy()
