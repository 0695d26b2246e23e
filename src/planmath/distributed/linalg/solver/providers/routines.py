"""The routines of LAPACK and BLAS that blocks are factorized by, each on column-major arrays that may have gaps."""

from __future__ import annotations

import numpy as np

from planmath.bindings import blas, lapack
from planmath.native.call import invoke

#: What routines are told by letters: sides, triangles, operations, diagonals.
_WORDS = np.frombuffer(b"LRUNC", np.uint8)
LEFT, RIGHT, UPPER, NO, ADJOINT = (_WORDS.ctypes.data + k for k in range(5))
#: The same letters under other names: a lower triangle is ``L``, one of ones on its diagonal ``U``.
LOWER, UNIT = LEFT, UPPER


class Routines:
    """LAPACK's and BLAS's routines for a dtype, as SciPy has them.

    Parameters
    ----------
    dtype : str
    threads : int
        Most threads that they may use.
    """

    def __init__(self, dtype: str, threads: int):
        letter, find = blas.LETTER[dtype], lapack.SCIPY.find
        self._getrf, self._potrf, self._laswp = (find(f"{letter}{of}") for of in ("getrf", "potrf", "laswp"))
        self._trsm, self._gemm = find(f"{letter}trsm"), find(f"{letter}gemm")
        self._threads = threads
        self._integers = np.zeros(7, np.int64)  # extents, and leading dimensions or what else is passed as a number
        self._scalars = np.array([-1, 1], dtype)
        first, self._itemsize = self._integers.ctypes.data, self._scalars.itemsize
        self._cells = [first + 8 * k for k in range(7)]
        self._minus, self._one = self._scalars.ctypes.data, self._scalars.ctypes.data + self._itemsize

    def limit(self, on: bool) -> None:
        """Begin, or end, to let the library use no more threads than it may."""
        setter = blas.SCIPY.threads_setter
        if setter:
            invoke(setter, self._threads if on else 0)

    def getrf(self, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """The factors in the place of a, the pivots, and the order of a minor that is 0, or 0."""
        pivots = np.empty(min(a.shape), np.int32)
        zero = self.factorize(a, pivots)
        return a, pivots - 1, zero

    def factorize(self, a: np.ndarray, pivots: np.ndarray) -> int:
        """Factorize in place; pivots come as LAPACK has them, from 1. Returns the order of a minor that is 0, or 0."""
        m, n, leading, info = self._told(*a.shape, self._leading(a), 0)
        invoke(self._getrf, m, n, a.ctypes.data, leading, pivots.ctypes.data, info)
        return max(int(self._integers[3:4].view(np.int32)[0]), 0)

    def swap(self, a: np.ndarray, pivots: np.ndarray, count: int) -> None:
        """Exchange the first rows with those that pivots, from 1, say."""
        if a.size:
            n, leading, first, last, step = self._told(a.shape[1], self._leading(a), 1, count, 1)
            invoke(self._laswp, n, a.ctypes.data, leading, first, last, pivots.ctypes.data, step)

    def potrf(self, a: np.ndarray) -> tuple[np.ndarray, int]:
        """The lower factor, with zeros above it, and the order of a minor that is not positive, or 0."""
        n, leading, info = self._told(len(a), self._leading(a), 0)
        invoke(self._potrf, LOWER, n, a.ctypes.data, leading, info, 1)
        a[...] = np.tril(a)
        return a, max(int(self._integers[2:3].view(np.int32)[0]), 0)

    def trsm(
        self, triangle: np.ndarray, b: np.ndarray, *, lower: bool, unit: bool = False, adjoint: bool = False
    ) -> np.ndarray:
        """What b is with the inverse of a triangle, or of its conjugate transpose, to the left of it."""
        uplo, operation, diagonal = LOWER if lower else UPPER, ADJOINT if adjoint else NO, UNIT if unit else NO
        return self._solve(LEFT, uplo, operation, diagonal, triangle, b)

    def trsm_right(self, triangle: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What b is with the inverse of a lower triangle's conjugate transpose to the right of it."""
        return self._solve(RIGHT, LOWER, ADJOINT, NO, triangle, b)

    def _solve(
        self, side: int, uplo: int, operation: int, diagonal: int, triangle: np.ndarray, b: np.ndarray
    ) -> np.ndarray:
        if b.size:
            m, n, *leading = self._told(*b.shape, self._leading(triangle), self._leading(b))
            invoke(
                self._trsm, side, uplo, operation, diagonal, m, n, self._one, triangle.ctypes.data, leading[0],
                b.ctypes.data, leading[1], 1, 1, 1, 1,
            )  # fmt: skip
        return b

    def subtract_product(self, c: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """Subtract ``a @ b`` from c."""
        (m, k), n = a.shape, b.shape[1]
        if not (m and n and k):
            return
        cells = self._told(m, n, k, *map(self._leading, (a, b, c)))
        invoke(
            self._gemm, NO, NO, *cells[:3], self._minus, a.ctypes.data, cells[3], b.ctypes.data, cells[4], self._one,
            c.ctypes.data, cells[5], 1, 1,
        )  # fmt: skip

    def _told(self, *numbers: int) -> list[int]:
        """The addresses of numbers, which are valid until the next call."""
        self._integers[: len(numbers)] = numbers
        return self._cells[: len(numbers)]

    def _leading(self, array: np.ndarray) -> int:
        """The leading dimension; of one column alone NumPy may say any stride."""
        rows, columns = array.shape
        return max(array.strides[1] // self._itemsize if columns > 1 else rows, rows, 1)
