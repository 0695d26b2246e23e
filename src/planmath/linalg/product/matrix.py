"""A matrix in memory, or a batch of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from planmath.core.arrays import ITEMSIZE, contiguous_strides

#: The dtype in which the CPU computes; int8 products summed in double precision are exact for any k below 2^38.
WORK_DTYPE = {
    "float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64",
    "complex64": "complex64", "complex128": "complex128", "int8": "float64", "float8_e4m3fn": "float32",
    "float8_e5m2": "float32", "float4_e2m1fn_x2": "float32",
}  # fmt: skip

#: No kernel needs addresses at multiples of more bytes.
ALIGNED = 16


class Matrix(NamedTuple):
    """A matrix, or a batch of them, in memory. Strides are in elements; those of broadcast batch axes are 0."""

    dtype: str
    rows: int
    cols: int
    row: int
    col: int
    batch: tuple[int, ...] = ()
    conjugate: bool = False
    alignment: int = ALIGNED
    """A power of two of bytes, at most `ALIGNED`, that divides the address. Libraries for the CPU take any."""

    @property
    def leading(self) -> tuple[bool, int]:
        """Whether the matrix is row-major, and its leading dimension."""
        if self.row == 1 or self.rows == 1:
            column_step = self.col if self.cols > 1 else max(self.rows, 1)
            if column_step >= max(self.rows, 1) and (self.row == 1 or self.rows == 1):
                return False, column_step
        return True, self.row if self.rows > 1 else max(self.cols, 1)

    @property
    def has_leading(self) -> bool:
        """Whether BLAS can read the matrix where it is: one of its strides is 1, the other at least that extent."""
        row_major, ld = self.leading
        unit, other = (self.col, self.cols) if row_major else (self.row, self.rows)
        return (unit == 1 or other == 1) and ld >= other

    @property
    def span(self) -> int:
        """Elements that a matrix takes in memory, with the gaps behind its rows or columns."""
        row_major, step = self.leading
        return step * (self.rows if row_major else self.cols)

    @property
    def T(self) -> Matrix:
        """The transposed matrix: the same memory with the roles of rows and columns exchanged."""
        return self._replace(rows=self.cols, cols=self.rows, row=self.col, col=self.row)


def dense_result(dtype: str, batch: tuple[int, ...], m: int, n: int, row_major: bool) -> Matrix:
    steps = tuple(step * m * n for step in contiguous_strides(batch))
    return Matrix(dtype, m, n, n if row_major else 1, 1 if row_major else m, steps)


def bytes_of(matrix: Matrix, batch: tuple[int, ...]) -> int:
    """Bytes of the matrix stored densely, with the whole batch."""
    return matrix.rows * matrix.cols * math.prod(batch) * ITEMSIZE[matrix.dtype]


def batch_loops(batch: tuple[int, ...], steps: Sequence[tuple[int, ...]]) -> list[tuple[int, tuple[int, ...]]]:
    """Loops over a batch for a prepared call: adjacent axes that are one in memory for every slot are fused.

    Parameters
    ----------
    batch : tuple of int
        Extents.
    steps : sequence of tuple of int
        For each slot, the strides of the batch axes in bytes.
    """
    loops: list[tuple[int, tuple[int, ...]]] = []
    for axis, count in enumerate(batch):
        step = tuple(slot[axis] for slot in steps)
        if count == 1 or not any(step):  # a repetition on the same memory changes nothing
            continue
        if loops and all(outer == count * inner for outer, inner in zip(loops[-1][1], step, strict=True)):
            loops[-1] = (loops[-1][0] * count, step)
        else:
            loops.append((count, step))
    return loops
