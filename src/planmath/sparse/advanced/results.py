"""The arrays that solutions are written to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.array_utils import byte_bounds

from planmath.core.arrays import Layout, contiguous_strides
from planmath.sparse.advanced import kernels


def result_layout(layout: Layout) -> Layout:
    """Dense, with the axes in the right-hand side's order in memory."""
    order = tuple(sorted(range(len(layout.shape)), key=lambda axis: (-abs(layout.strides[axis]), axis)))
    return layout._replace(strides=contiguous_strides(layout.shape, order))


#: The addresses of the first byte of an array and of the first one behind it, its name, and whether it is written to.
Span = tuple[int, int, str, bool]


def spans_of(arrays: Iterable[tuple[str, np.ndarray]]) -> list[Span]:
    """Where arrays lie that are only read."""
    return [(*_span(array), name, False) for name, array in arrays]


def is_apart(start: int, end: int, spans: Iterable[Span]) -> bool:
    """Whether the bytes from one address to another are in none of these arrays."""
    for low, high, _, _ in spans:  # noqa: SIM110 (all() takes three times as long)
        if low < end and start < high:
            return False
    return True


def check_overlaps(written: Sequence[Span], read: Sequence[Span]) -> None:
    """Raise where an array that is written to shares memory with another one."""
    highest, last, writes = 0, "", False
    for low, high, name, is_written in sorted([*written, *read]):
        if low < highest and (is_written or writes):
            raise ValueError(f"{name} and {last} may share memory, and one is written to; pass memory of its own")
        if high > highest:
            highest, last, writes = high, name, is_written


def _span(array: np.ndarray) -> tuple[int, int]:
    """The addresses of the first byte of an array and of the first one behind it."""
    if array.flags.forc:
        start = kernels.address(array)
        return start, start + array.nbytes
    return byte_bounds(array)
