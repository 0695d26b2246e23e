"""The arrays that solutions are written to."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.lib.array_utils import byte_bounds

from planmath.core.arrays import Layout, contiguous_strides
from planmath.sparse.advanced import kernels


def result_layout(layout: Layout) -> Layout:
    """Dense, with the axes in the right-hand side's order in memory."""
    order = tuple(sorted(range(len(layout.shape)), key=lambda axis: (-abs(layout.strides[axis]), axis)))
    return layout._replace(strides=contiguous_strides(layout.shape, order))


def check_overlaps(results: Iterable[tuple[str, np.ndarray]], operands: Iterable[tuple[str, np.ndarray]]) -> None:
    """Raise where one of the results shares memory with an operand or with another result."""
    spans = [(*_span(array), name, True) for name, array in results]
    spans += [(*_span(array), name, False) for name, array in operands]
    spans.sort()
    highest, last, writes = 0, "", False
    for low, high, name, written in spans:
        if low < highest and (written or writes):
            raise ValueError(f"{name} and {last} may share memory, and one is written to; pass memory of its own")
        if high > highest:
            highest, last, writes = high, name, written


def _span(array: np.ndarray) -> tuple[int, int]:
    """The addresses of the first byte of an array and of the first one behind it."""
    if array.flags.forc:
        start = kernels.address(array)
        return start, start + array.nbytes
    return byte_bounds(array)
