"""The routines of LAPACK and BLAS that blocks are factorized by, each on one column-major array."""

from __future__ import annotations

import numpy as np

from planmath.bindings import blas
from planmath.native.call import invoke


class Routines:
    """LAPACK's and BLAS's routines for a dtype, as SciPy has them.

    Parameters
    ----------
    dtype : str
    threads : int
        Most threads that they may use.
    """

    def __init__(self, dtype: str, threads: int):
        from scipy.linalg import get_blas_funcs, get_lapack_funcs

        example = (np.empty((1, 1), dtype),)
        self._getrf, self._potrf = get_lapack_funcs(("getrf", "potrf"), example)
        self._trsm = get_blas_funcs("trsm", example)
        self._gemm = blas.SCIPY.find(f"{blas.LETTER[dtype]}gemm")
        self._threads = threads
        self._integers = np.zeros(6, np.int64)  # m, n, k, and the leading dimensions
        self._scalars = np.array([-1, 1], dtype)
        self._letter = np.frombuffer(b"N", np.uint8)
        at, of = self._integers.ctypes.data, self._scalars.ctypes.data
        self._cells = [at + 8 * k for k in range(6)]
        self._alpha, self._beta = of, of + self._scalars.itemsize
        self._no = self._letter.ctypes.data
        self._itemsize = self._scalars.itemsize

    def limit(self, on: bool) -> None:
        """Begin, or end, to let the library use no more threads than it may."""
        setter = blas.SCIPY.threads_setter
        if setter:
            invoke(setter, self._threads if on else 0)

    def getrf(self, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """The factors in the place of a, the pivots, and the order of a minor that is 0, or 0."""
        lu, pivots, info = self._getrf(a, overwrite_a=True)
        return lu, pivots, max(info, 0)

    def potrf(self, a: np.ndarray) -> tuple[np.ndarray, int]:
        """The lower factor, with zeros above it, and the order of a minor that is not positive, or 0."""
        factor, info = self._potrf(a, lower=True, clean=True, overwrite_a=True)
        return factor, max(info, 0)

    def trsm(
        self, triangle: np.ndarray, b: np.ndarray, *, lower: bool, unit: bool = False, adjoint: bool = False
    ) -> np.ndarray:
        """What b is with the inverse of a triangle, or of its conjugate transpose, to the left of it."""
        return self._trsm(1, triangle, b, lower=lower, diag=unit, trans_a=2 if adjoint else 0, overwrite_b=True)

    def trsm_right(self, triangle: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What b is with the inverse of a lower triangle's conjugate transpose to the right of it."""
        return self._trsm(1, triangle, b, side=True, lower=True, trans_a=2, overwrite_b=True) if b.size else b

    def subtract_product(self, c: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """Subtract ``a @ b`` from c; columns may have gaps between them."""
        (m, k), n = a.shape, b.shape[1]
        if not (m and n and k):
            return
        size = self._itemsize
        # of one column alone NumPy may say any stride
        self._integers[:] = m, n, k, *(max(x.strides[1] // size, x.shape[0]) for x in (a, b, c))
        cells = self._cells
        invoke(
            self._gemm, self._no, self._no, *cells[:3], self._alpha, a.ctypes.data, cells[3], b.ctypes.data, cells[4],
            self._beta, c.ctypes.data, cells[5], 1, 1,
        )  # fmt: skip
