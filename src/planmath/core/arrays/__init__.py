"""Whose arrays: one small interface over the packages that operands come from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from planmath.core.errors import nearest
from planmath.native.forks import load_module

#: Bytes of an element, for every dtype an operand may have. The names are NumPy's, and PyTorch's where NumPy has none.
ITEMSIZE = {
    "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
    "float4_e2m1fn_x2": 1, "float8_e4m3fn": 1, "float8_e5m2": 1, "float16": 2, "bfloat16": 2, "float32": 4,
    "float64": 8, "complex32": 4, "complex64": 8, "complex128": 16,
}  # fmt: skip

#: The dtypes that a user should convert to where an operation does not have these; all others lose nothing as float64.
WIDER = {
    "float16": "float32", "bfloat16": "float32", "float8_e4m3fn": "float32", "float8_e5m2": "float32",
    "complex32": "complex64", "clongdouble": "complex128", "complex256": "complex128",
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
    conjugate: bool = False
    """Whether the values are the complex conjugates of what is in memory, as those of PyTorch's ``x.conj()``."""


#: A function that makes arrays, and its arguments.
Maker = tuple[Callable[..., Any], tuple[Any, ...]]


class Package(Protocol):
    """What planmath needs of an array package."""

    name: str
    array_type: type
    host: str
    """Name of the package whose arrays take the place of its own on the CPU."""
    out_of_memory: tuple[type[Exception], ...]
    """What its allocations on a device raise."""
    differentiates: bool
    """Whether arrays may require gradients."""

    def layout(self, array: Any, argument: str, *, lazy: bool = False) -> Layout:
        """Its layout. Raises where it is no array to compute with, or conjugated in name only, unless `lazy`."""

    def dtype(self, name: str) -> Any: ...

    def empty(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None) -> Any:
        """A new array, on the current device where `device_id` is its number, its memory not initialized.

        It may have gaps, and negative strides where the package has such.
        """

    def maker(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any, device_id: int | None) -> Maker:
        """What makes such arrays again and again, in the least time."""

    def with_strides(self, array: Any, layout: Layout) -> Any:
        """The same memory as an array with exactly the layout's strides and dtype object."""

    def address(self, array: Any) -> int:
        """Where the first element is."""

    def over(self, owner: Any, address: int, size: int, device_id: int | None) -> Any:
        """Bytes at an address of the host's memory or of a device's, which `owner` keeps, as an array of uint8."""

    def is_writeable(self, array: Any) -> bool: ...

    # Only where the package `differentiates`. Its property `requires_grad` of arrays is there as well.

    def records(self, array: Any) -> bool:
        """Whether the package would record what is done with the array now, for derivatives."""

    def changed(self, arrays: tuple[Any, ...]) -> None:
        """Take note that arrays are written to, so that they are not taken for what was saved for derivatives."""

    # Asked only where a CUDA device takes part. Streams are given by their addresses.

    def current_stream(self, device_id: int) -> Callable[[], int]:
        """What tells the stream that the package's own work goes on, quickly."""

    def stream_object(self, device_id: int) -> Any:
        """What keeps the current stream alive."""

    def on_stream(self, stream: int, device_id: int) -> AbstractContextManager[Any]:
        """Make a stream the current one for a while."""

    def allocate(self, size: int, device_id: int) -> tuple[Any, int]:
        """Memory of the package's own pool on the current device and stream: what owns it, and its address."""


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
    elif isinstance(array, getattr(sys.modules.get("cupy"), "ndarray", ())):
        name = "cupy"
    else:
        given = f"{type(array).__module__}.{type(array).__qualname__}".removeprefix("builtins.")
        hint = "convert it, for example with numpy.asarray"
        if isinstance(array, np.ma.MaskedArray):
            hint = "fill the masked elements first"
        elif hasattr(type(array), "__dlpack__"):
            hint += ", or take the functions of planmath.interfaces.array_api, whose results are such as well"
        raise TypeError(f"{argument} is a {given}; expected a numpy.ndarray, cupy.ndarray or torch.Tensor: {hint}")
    return package_named(name)


@cache
def package_named(name: str) -> Package:
    """The package with this name, imported on first use."""
    return load_module(f"planmath.core.arrays.{name}_arrays").PACKAGE


def as_numpy(array: Any) -> np.ndarray:
    """A NumPy array over the memory of an array on the host."""
    return array if isinstance(array, np.ndarray) else array.detach().numpy()


def outline(array: Any, layout: Layout | None = None) -> np.ndarray:
    """A NumPy array over the memory of any package's array: on a device, for its shape, strides and address alone.

    Whoever reads the elements of one on a device crashes.

    Parameters
    ----------
    array : object
        An array of any package, of a dtype that NumPy has.
    layout : Layout, optional
        Its layout, where that is known.
    """
    if isinstance(array, np.ndarray):
        return array
    package = package_of(array, "the array")
    layout = layout or package.layout(array, "the array")
    if layout.device_id is None:
        return as_numpy(array)
    return np.asarray(_Outline(package, array, layout, np.dtype(layout.dtype)))


def dtype_name(dtype: Any) -> str:
    """The name of a dtype that is given by an object of any package, by its name, or by NumPy's code for it.

    Examples
    --------
    >>> dtype_name("f8"), dtype_name(np.complex64), dtype_name("torch.bfloat16")
    ('float64', 'complex64', 'bfloat16')

    Raises
    ------
    TypeError
        If it is none.
    """
    name = str(dtype).removeprefix("torch.")
    if name in ITEMSIZE:
        return name
    try:
        found = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or not found.isnative:
        raise TypeError(f"dtype is {dtype!r}; expected a dtype or the name of one: {nearest(name, ITEMSIZE)}")
    return found.name


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
    """Whether two strides address the same elements; those of axes with one do not matter, nor any of empty arrays."""
    return 0 in shape or all(x == y for n, x, y in zip(shape, a, b, strict=True) if n != 1)


def spanned(shape: Iterable[int], strides: Iterable[int]) -> tuple[int, int]:
    """How many elements of memory an array reaches over: those before its first one, and all.

    Examples
    --------
    >>> spanned((2, 3), (-10, 2))
    (10, 15)
    """
    spans = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    before = -sum(span for span in spans if span < 0)
    return before, 1 + sum(map(abs, spans))


def overlaps_itself(shape: Iterable[int], strides: Iterable[int]) -> bool:
    """Whether two elements of an array may share memory: True unless each axis steps over all faster ones."""
    reach = 1
    for step, n in sorted((abs(step), n) for n, step in zip(shape, strides, strict=True) if n > 1):
        if step < reach:
            return True
        reach = step * (n - 1) + reach
    return False


#: Steps after which `numpy.shares_memory` gives up.
MOST_WORK = 100_000


def share_memory(package: Package, a: Any, b: Any) -> bool:
    """Whether two arrays of a package have an element in common; True where that is too hard to tell."""
    layouts = [package.layout(array, "the array", lazy=True) for array in (a, b)]
    first, second = (
        np.asarray(_Outline(package, array, layout, np.dtype(f"V{ITEMSIZE[layout.dtype]}")))
        for array, layout in zip((a, b), layouts, strict=True)
    )
    if not np.may_share_memory(first, second):
        return False
    try:
        return np.shares_memory(first, second, max_work=MOST_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


class Bytes:
    """Bytes at an address, and what keeps them, by the protocol of NumPy's arrays, or that of arrays on a device."""

    def __init__(self, owner: Any, address: int, size: int, on_device: bool = False):
        self.base = owner
        name = "__cuda_array_interface__" if on_device else "__array_interface__"
        setattr(self, name, {"version": 3, "typestr": "|u1", "data": (address, False), "shape": (size,)})


class _Outline:
    """Where an array lies, as an array of NumPy's that nobody reads: its memory may be a device's."""

    def __init__(self, package: Package, array: Any, layout: Layout, dtype: np.dtype):
        size = dtype.itemsize
        self.array = array
        self.__array_interface__ = {
            "version": 3, "typestr": dtype.str, "data": (package.address(array), True), "shape": layout.shape,
            "strides": tuple(step * size for step in layout.strides),
        }  # fmt: skip
