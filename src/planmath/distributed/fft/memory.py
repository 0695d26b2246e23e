"""The buffer of an operand, which operand and result share."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, Package


class _View:
    """Some of an array's memory, and of what lies behind it, as an array."""

    def __init__(self, owner: Any, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype):
        self.base = owner
        self.__array_interface__ = {
            "version": 3, "typestr": dtype.str, "data": (address, False), "shape": shape,
            "strides": tuple([step * dtype.itemsize for step in strides]),
        }  # fmt: skip


def numpy_view(
    package: Package, array: Any, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str
) -> np.ndarray:
    """An array of NumPy that begins where another package's does."""
    return np.asarray(_View(_owner(array), package.address(array), shape, strides, np.dtype(dtype)))


def view(package: Package, array: Any, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Any:
    """An array of the same package that begins in memory where another one does."""
    if package.name == "numpy":
        return numpy_view(package, array, shape, strides, dtype)
    if package.name == "cupy":
        of = package.dtype(dtype)
        return package.array_type(shape, of, array.data, tuple([step * of.itemsize for step in strides]))
    storage, of = array.untyped_storage(), package.dtype(dtype)
    offset = package.address(array) - storage.data_ptr()
    return array.new_empty(0, dtype=of).set_(storage, offset // ITEMSIZE[dtype], shape, strides)


def available(package: Package, array: Any) -> int:
    """Bytes from an array's first element to the end of the buffer that it is in."""
    if package.name == "torch":
        storage = array.untyped_storage()
        return storage.nbytes() - (package.address(array) - storage.data_ptr())
    if package.name == "cupy":
        return int(array.data.mem.ptr + array.data.mem.size - array.data.ptr)
    return int(np.lib.array_utils.byte_bounds(_owner(array))[1]) - package.address(array)


def _owner(array: Any) -> Any:
    """The array that has the memory of a view, through what stands between them; another package's array itself."""
    owner = base = array
    while (base := getattr(base, "base", None)) is not None:
        if isinstance(base, np.ndarray):
            owner = base
    return owner
