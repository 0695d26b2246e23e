"""Direct solvers where SciPy's are: `spsolve`, `factorized`, and inverses as linear operators.

Examples
--------
>>> import numpy as np, scipy.sparse as sp, scipy.sparse.linalg
>>> from planmath.interfaces.scipy_sparse import Inverse, spsolve
>>> a = sp.diags_array([-1.0, 4, -1], offsets=[-1, 0, 1], shape=(20, 20), format="csr")
>>> x = spsolve(a, np.ones(20))
>>> with Inverse(a) as inverse:                              # factorized once
...     y, info = sp.linalg.cg(a, np.ones(20), M=inverse)    # as a preconditioner
>>> np.allclose(x, y), info
(True, 0)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator

from planmath.sparse.advanced import DirectSolver, direct_solver

__all__ = ["Inverse", "factorized", "spsolve"]

_DTYPES = [np.dtype(name) for name in ("float32", "float64", "complex64", "complex128")]


def _matrix(a: Any) -> Any:
    """A matrix as the solvers take it."""
    matrix = scipy.sparse.csr_array(a)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"A has the shape {matrix.shape}; expected a square matrix")
    matrix.sum_duplicates()
    return matrix.astype(_solved(matrix.dtype), copy=False)


def _solved(*dtypes: Any) -> np.dtype:
    """In which dtype systems of these are solved."""
    found = np.result_type(np.float32, *dtypes)
    return found if found in _DTYPES else np.result_type(found, np.float64)


class Inverse(LinearOperator):
    """The inverse of a sparse matrix, factorized once, as SciPy's linear operator.

    Parameters
    ----------
    a : sparse array or matrix, or array_like
        Square, of shape (n, n), of any format. Integers are solved in float64.
    **arguments
        Options of `planmath.sparse.advanced.DirectSolver`: ``options``, ``execution``.

    Raises
    ------
    ValueError
        If a is not square.
    SingularMatrixError, InaccurateSolutionError
        As by `DirectSolver`.

    Notes
    -----
    The adjoint, which ``rmatvec`` and ``.H`` use, is a second factorization, made when it is first asked for. `free`,
    or the end of a with statement, gives the factors back.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from planmath.interfaces.scipy_sparse import Inverse
    >>> with Inverse(sp.csr_array([[2.0, 0], [1, 4]])) as inverse:
    ...     inverse @ np.array([2.0, 9]), inverse.H @ np.array([4.0, 4.0])
    (array([1., 2.]), array([1.5, 1. ]))
    """

    def __init__(self, a: Any, **arguments: Any):
        self._matrix, self._arguments = _matrix(a), arguments
        self._solvers: dict[str, DirectSolver] = {}
        super().__init__(self._matrix.dtype, self._matrix.shape)
        self._solver("N")

    def _solver(self, trans: str) -> DirectSolver:
        solver = self._solvers.get(trans)
        if solver is None:
            if self._matrix is None:
                raise RuntimeError("the inverse was freed; create a new one")
            matrix = self._matrix if trans == "N" else scipy.sparse.csr_array(self._matrix.conj().T)
            solver = DirectSolver(matrix, np.zeros(matrix.shape[0], matrix.dtype), **self._arguments)
            try:
                solver.plan()
                solver.factorize()
            except BaseException:
                solver.free()
                raise
            self._solvers[trans] = solver
        return solver

    def solve(self, b: Any, trans: str = "N") -> np.ndarray:
        """The solution of ``a @ x = b``, or of the transposed system.

        Parameters
        ----------
        b : array_like
            Of shape (n,) or (n, k).
        trans : {'N', 'T', 'H'}
            Whether to solve with a, with the transposed a, or with the conjugated and transposed one.
        """
        if trans not in ("N", "T", "H"):
            raise ValueError(f"trans is {trans!r}; expected 'N', 'T' or 'H'")
        b = np.asarray(b)
        if b.ndim not in (1, 2) or b.shape[0] != self.shape[0]:
            raise ValueError(f"b has the shape {b.shape}; expected {self.shape[0]} rows")
        if trans == "T" and self.dtype.kind == "c":
            return self.solve(b.conj(), "H").conj()
        if b.dtype.kind == "c" and self.dtype.kind != "c":
            return self.solve(b.real, trans) + 1j * self.solve(b.imag, trans)
        solver = self._solver("N" if trans == "N" else "H")
        columns = b.reshape(b.shape[0], -1)
        x = np.empty(columns.shape, self.dtype, order="F")
        for j in range(columns.shape[1]):
            solver.solve(np.array(columns[:, j], self.dtype), out=x[:, j])
        return x.reshape(b.shape)

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self.solve(x)

    def _matmat(self, x: np.ndarray) -> np.ndarray:
        return self.solve(x)

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return self.solve(x, "H")

    def _rmatmat(self, x: np.ndarray) -> np.ndarray:
        return self.solve(x, "H")

    def free(self) -> None:
        """Release the factors. Calling it again does nothing."""
        self._matrix = None
        while self._solvers:
            self._solvers.popitem()[1].free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.free()

    def __del__(self) -> None:
        self.free()


def factorized(A: Any) -> Callable[[Any], np.ndarray]:
    """A function that solves with a matrix, factorized once, as `scipy.sparse.linalg.factorized`.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from planmath.interfaces.scipy_sparse import factorized
    >>> factorized(sp.csr_array([[2.0, 0], [1, 4]]))(np.array([2.0, 9]))
    array([1., 2.])
    """
    return Inverse(A).solve


def spsolve(A: Any, b: Any, permc_spec: str | None = None, use_umfpack: bool = True) -> Any:
    """The solution of a sparse system, as `scipy.sparse.linalg.spsolve`.

    Parameters
    ----------
    A : sparse array or matrix
        Square, of any format.
    b : array_like, or sparse array or matrix
        Of shape (n,), (n, 1) or (n, k).
    permc_spec, use_umfpack
        Accepted, and without effect: planmath chooses the library and the order of the unknowns.

    Returns
    -------
    numpy.ndarray or sparse
        Sparse for a sparse b with several columns.

    Raises
    ------
    SingularMatrixError
        If the matrix is singular, where SciPy warns and returns NaN.
    """
    matrix = _matrix(A)
    if scipy.sparse.issparse(b):
        dense = b.toarray()
        if dense.ndim == 2 and dense.shape[1] > 1:
            return type(b)(spsolve(matrix, dense))
        b = dense
    b = np.asarray(b)
    if b.ndim not in (1, 2) or b.shape[0] != matrix.shape[0]:
        raise ValueError(f"b has the shape {b.shape}; expected {matrix.shape[0]} rows")
    if b.ndim == 2 and b.shape[1] == 1:
        b = b[:, 0]
    dtype = _solved(matrix.dtype, b.dtype)
    sides = np.array(b, dtype, order="F")
    if sides.size == 0:
        return sides
    return direct_solver(matrix.astype(dtype, copy=False), sides)
