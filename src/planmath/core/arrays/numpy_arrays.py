"""NumPy's arrays."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, Layout
from planmath.core.errors import UnsupportedLayoutError


@cache
def name_of(dtype: np.dtype) -> str:
    """The dtype's name, which NumPy puts together anew each time."""
    return dtype.name


class NumPy:
    name = "numpy"
    array_type = np.ndarray
    _dtypes = {name: np.dtype(name) for name in ITEMSIZE if name not in ("bfloat16", "complex32")}  # noqa: RUF012

    def layout(self, array: np.ndarray, argument: str) -> Layout:
        if not array.dtype.isnative:
            raise TypeError(
                f"{argument} has the byte order of another machine ({array.dtype.str!r}); "
                f"convert it with array.astype(array.dtype.newbyteorder('='))"
            )
        size = max(array.itemsize, 1)  # structured dtypes without a field have elements of no bytes
        if not array.flags.aligned or any(step % size for step in array.strides):
            raise UnsupportedLayoutError(
                f"{argument} has elements of {size} bytes that are not at multiples of their size in memory "
                f"(strides of {array.strides} bytes); copy it with numpy.array(array)"
            )
        strides = tuple(step // size for step in array.strides)
        return Layout(array.shape, strides, name_of(array.dtype), "cpu", None)

    def dtype(self, name: str) -> np.dtype:
        try:
            return self._dtypes[name]
        except KeyError:
            raise TypeError(f"NumPy has no dtype {name}; use torch tensors for it") from None

    def empty(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device: Any = None) -> np.ndarray:
        return self.with_strides(np.empty(math.prod(shape), dtype), Layout(shape, strides, "", "cpu", None))

    def with_strides(self, array: np.ndarray, layout: Layout) -> np.ndarray:
        dtype = self._dtypes.get(layout.dtype, array.dtype)
        strides = tuple(step * array.itemsize for step in layout.strides)
        return np.lib.stride_tricks.as_strided(np.asarray(array).view(dtype), layout.shape, strides)

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return array

    def is_writeable(self, array: np.ndarray) -> bool:
        return array.flags.writeable

    def share_memory(self, a: np.ndarray, b: np.ndarray) -> bool:
        return share_memory(a, b)

    def copy(self, array: np.ndarray) -> np.ndarray:
        copy = self.empty(array.shape, tuple(s // array.itemsize for s in np.empty_like(array).strides), array.dtype)
        np.copyto(copy, array)
        return copy


#: Steps after which `numpy.shares_memory` gives up.
MOST_WORK = 100_000


def share_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have an element in common; True where that is too hard to tell."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=MOST_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


PACKAGE = NumPy()
