"""Whose arrays: one small interface over the packages that operands come from."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np

#: Bytes of an element, for every dtype an operand may have. The names are NumPy's, and PyTorch's where NumPy has none.
ITEMSIZE = {
    "int8": 1, "uint8": 1, "float16": 2, "bfloat16": 2, "int32": 4, "float32": 4, "float64": 8,
    "complex32": 4, "complex64": 8, "complex128": 16,
}  # fmt: skip

#: The real dtype of a complex one's parts, and back.
REAL_OF = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
COMPLEX_OF = {real: cplx for cplx, real in REAL_OF.items()}


class Layout(NamedTuple):
    """What of an array matters for planning: everything but its values and its address."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    dtype: str
    memory_space: str
    device_id: int | None


class Package(Protocol):
    """What planmath needs of an array package."""

    name: str
    array_type: type

    def layout(self, array: Any, argument: str) -> Layout: ...

    def dtype(self, name: str) -> Any: ...

    def empty(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device: Any) -> Any: ...

    def with_strides(self, array: Any, layout: Layout) -> Any:
        """The same memory as an array with exactly the layout's strides and dtype object."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """A NumPy array over the same memory (bytes for dtypes that NumPy lacks)."""

    def is_writeable(self, array: Any) -> bool: ...

    def share_memory(self, a: Any, b: Any) -> bool: ...

    def copy(self, array: Any) -> Any: ...


def package_of(array: Any, argument: str) -> Package:
    """The package an operand belongs to.

    Raises
    ------
    TypeError
        If it is not an array of a package that planmath knows.
    """
    if isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray):
        name = "numpy"
    elif isinstance(array, getattr(sys.modules.get("torch"), "Tensor", ())):  # only who imported torch has tensors
        name = "torch"
    else:
        given = f"{type(array).__module__}.{type(array).__qualname__}".removeprefix("builtins.")
        hint = (
            "fill the masked elements first"
            if isinstance(array, np.ma.MaskedArray)
            else "convert it, for example with numpy.asarray"
        )
        raise TypeError(f"{argument} is a {given}; expected a numpy.ndarray or a torch.Tensor: {hint}")
    return package_named(name)


@cache
def package_named(name: str) -> Package:
    """The package with this name, imported on first use."""
    return import_module(f"planmath.core.arrays.{name}_arrays").PACKAGE


def contiguous_strides(shape: tuple[int, ...], order: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Strides in elements of a dense array.

    Parameters
    ----------
    shape : tuple of int
    order : tuple of int, optional
        The axes from the slowest to the fastest. Default: as they stand (C order).
    """
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(range(len(shape)) if order is None else order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def same_strides(shape: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two strides address the same elements; those of axes with one element do not matter."""
    return all(x == y for n, x, y in zip(shape, a, b, strict=True) if n != 1)


def overlaps_itself(shape: Iterable[int], strides: Iterable[int]) -> bool:
    """Whether two elements of an array may share memory: True unless each axis steps over all faster ones."""
    reach = 1
    for step, n in sorted((abs(step), n) for n, step in zip(shape, strides, strict=True) if n > 1):
        if step < reach:
            return True
        reach = step * (n - 1) + reach
    return False
