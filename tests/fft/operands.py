"""Operands with values that suit a transform, in every memory layout."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from planmath.core.arrays import COMPLEX_OF
from tests.arrays import as_complex32
from tests.fft.reference import FORWARD, expected

#: How `out` and operand are to be filled before they are written to: an element that is left out shows.
POISON = np.nan


def random_operand(
    kind: str, precision: str, shape: Sequence[int], axes: Sequence[int], parity: str = "even", seed: int = 0
) -> np.ndarray:
    """Random values; for C2R the half spectrum of a random real array."""
    if precision == "float16" and kind != "R2C":
        return as_complex32(random_operand(kind, "float32", shape, axes, parity, seed))
    rng = np.random.default_rng([seed, *shape])
    if kind == "C2R":
        real = list(shape)
        real[axes[-1]] = 2 * (shape[axes[-1]] - 1) + (parity == "odd")
        spectrum = expected("R2C", rng.standard_normal(real), axes, FORWARD)
        return spectrum.astype(COMPLEX_OF[precision])
    values = rng.standard_normal(shape)
    if kind == "C2C":
        return (values + 1j * rng.standard_normal(shape)).astype(COMPLEX_OF[precision])
    return values.astype(precision)


def dense(values: np.ndarray) -> np.ndarray:
    return np.array(values, order="C")


def fortran(values: np.ndarray) -> np.ndarray:
    return np.array(values, order="F")


def sliced(values: np.ndarray) -> np.ndarray:
    """Every second element of an array that is larger in all directions: no two axes are one in memory."""
    memory = np.full([2 * n + 1 for n in values.shape], POISON, values.dtype)
    view = memory[(slice(1, None, 2),) * values.ndim]
    view[...] = values
    return view


def rotated(values: np.ndarray) -> np.ndarray:
    """The last axis slowest in memory, the others as they stand."""
    return np.moveaxis(np.array(np.moveaxis(values, -1, 0), order="C"), 0, -1)


def backwards(values: np.ndarray) -> np.ndarray:
    """Negative strides along all axes."""
    flip = (slice(None, None, -1),) * values.ndim
    return np.array(values[flip], order="C")[flip]


def unaligned(values: np.ndarray) -> np.ndarray:
    """Dense, at an address that is no multiple of more than the real part's size."""
    offset = values.dtype.alignment
    memory = np.zeros(values.nbytes + 32, np.uint8)
    start = -memory.ctypes.data % 16 + offset
    view = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    view[...] = values
    assert view.ctypes.data % 16 == offset
    return view


def broadcast(values: np.ndarray) -> np.ndarray:
    """The values at index 0 of the first axis, along all of that axis, by a stride of 0."""
    first = np.array(values[:1], order="C")
    return np.lib.stride_tricks.as_strided(first, values.shape, (0, *first.strides[1:]))


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    f.__name__: f for f in (dense, fortran, sliced, rotated, backwards, unaligned, broadcast)
}
#: Layouts that a package cannot express.
INEXPRESSIBLE = {("torch", "backwards"), ("torch-cuda", "backwards")}


def strided(values: np.ndarray, order: Sequence[int], steps: Sequence[int]) -> np.ndarray:
    """The values in memory whose axes lie in `order`, from slowest to fastest, with a step, of any sign, along each."""
    memory = np.full([values.shape[axis] * abs(steps[axis]) for axis in order], POISON, values.dtype)
    view = memory[tuple(slice(None, None, steps[axis]) for axis in order)]
    view = view.transpose([list(order).index(axis) for axis in range(values.ndim)])
    view[...] = values
    return view


def poisoned(array: np.ndarray) -> np.ndarray:
    """An array with the layout of another, filled with what no transform gives."""
    copy = np.empty_like(array)
    copy.fill(POISON)
    return copy


def memory_of(array: np.ndarray) -> bytes:
    """All bytes between the array's first and last, gaps included."""
    low = array.ctypes.data + sum(min(0, step * (n - 1)) for n, step in zip(array.shape, array.strides, strict=True))
    span = array.itemsize + sum(abs(step) * (n - 1) for n, step in zip(array.shape, array.strides, strict=True))
    return ctypes.string_at(low, span)
