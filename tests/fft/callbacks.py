"""Callbacks for the tests of transforms with them, and arrays in every layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from planmath.fft import compile_epilog, compile_prolog


def filtering(data_in, offset, user_info, reserved):
    return data_in[offset] * user_info[offset]


def counting(data_in, offset, user_info, reserved):
    user_info[offset] += 1
    return data_in[offset]


def scaling(data_out, offset, data, user_info, reserved):
    data_out[offset] = data * user_info[0]


def locating(data_out, offset, data, user_info, reserved):
    data_out[offset] = offset


def skipping(data_out, offset, data, user_info, reserved):
    if offset % 2 == 0:
        data_out[offset] = data


def doubling(data_out, offset, data, user_info, reserved):
    data_out[offset] = 2 * data


@cache
def prolog_of(function: Callable[..., Any], element: str, info: Any = None, **options: Any) -> Any:
    return compile_prolog(function, element, element if info is None else info, **options)


@cache
def epilog_of(function: Callable[..., Any], element: str, info: Any = None, **options: Any) -> Any:
    return compile_epilog(function, element, element if info is None else info, **options)


class Arrangement(NamedTuple):
    """An operand's shape, layout and axes, and what becomes of it."""

    kind: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    view: Callable[[np.ndarray], np.ndarray] = lambda array: array
    """Makes the operand of dense memory that is twice as long along each axis."""
    options: dict[str, Any] = {}  # noqa: RUF012


def stepped(array: np.ndarray) -> np.ndarray:
    return array[(slice(None, None, 2),) * array.ndim]


def inner(array: np.ndarray) -> np.ndarray:
    return array[tuple(slice(n // 4, n // 4 + n // 2) for n in array.shape)]


def whole(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(inner(array))


def fortran(array: np.ndarray) -> np.ndarray:
    return np.asfortranarray(inner(array))


#: Batches, axes in any place, gaps, views into arrays, several dimensions, real and complex sides, in place.
ARRANGEMENTS: dict[str, Arrangement] = {
    "one": Arrangement("C2C", (12,), (0,), whole),
    "batch": Arrangement("C2C", (7, 10), (1,), whole),
    "first axis": Arrangement("C2C", (10, 7), (0,), whole),
    "steps": Arrangement("C2C", (6, 9), (1,), stepped),
    "amid an array": Arrangement("C2C", (6, 8), (0,), inner),
    "Fortran": Arrangement("C2C", (6, 8, 3), (1,), fortran),
    "two of three": Arrangement("C2C", (4, 6, 5), (0, 1), whole),
    "two of three, natural": Arrangement("C2C", (4, 6, 5), (0, 1), whole, {"result_layout": "natural"}),
    "outer two": Arrangement("C2C", (4, 6, 5), (0, 2), whole, {"result_layout": "natural"}),
    "R2C": Arrangement("R2C", (5, 9), (1,), whole),
    "R2C, two axes": Arrangement("R2C", (3, 6, 8), (1, 2), inner),
    "C2R even": Arrangement("C2R", (5, 6), (1,), whole, {"fft_type": "C2R"}),
    "C2R odd, two axes": Arrangement("C2R", (4, 5, 2), (1, 0), whole, {"fft_type": "C2R", "last_axis_parity": "odd"}),
    "in place": Arrangement("C2C", (6, 10), (1,), inner, {"inplace": True}),
    "prime": Arrangement("C2C", (3, 131), (1,), whole),
    "all of three": Arrangement("C2C", (4, 3, 8), (2, 0, 1), whole),
}


def operand_of(arranged: Arrangement, precision: str) -> np.ndarray:
    """Random values; every element of the memory that they lie in is one."""
    rng = np.random.default_rng(len(arranged.shape) + sum(arranged.shape))
    memory = rng.standard_normal([2 * n for n in arranged.shape])
    if arranged.kind != "R2C":
        memory = memory + 1j * rng.standard_normal(memory.shape)
        return arranged.view(memory.astype({"float32": "complex64", "float64": "complex128"}[precision]))
    return arranged.view(memory.astype(precision))


def offsets(shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Where each element of an array is, in elements from its first."""
    return sum(
        (index * step for index, step in zip(np.indices(shape), strides, strict=True)), np.zeros(shape, np.int64)
    )


def laid_out_like(array: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values with the strides, in elements, of an array."""
    strides = [step // array.itemsize for step in array.strides]
    places = offsets(array.shape, strides)
    memory = np.zeros(places.max() - places.min() + 1, values.dtype)
    view = np.ndarray(array.shape, values.dtype, memory, -places.min() * values.itemsize,
                      [step * values.itemsize for step in strides])  # fmt: skip
    view[...] = values
    return view
