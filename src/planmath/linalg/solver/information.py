"""What is known of a factorization, found out when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from planmath.core.errors import UnavailableError
from planmath.linalg.solver.problem import KINDS, RECTANGULAR, SINGLE
from planmath.linalg.solver.structure import elements, whole


class Factors(NamedTuple):
    """The factors of one matrix, as LAPACK leaves them.

    Parameters
    ----------
    routine : str
        LAPACK's routine without the letter of the dtype, whose documentation says what is where: 'getrf', 'potrf',
        'sytrf', 'hetrf', 'gbtrf', 'gttrf', 'pbtrf', 'geqrf', 'geqp3' (and 'tzrzf'; not on a device); 'trtrs' for a
        triangular matrix and 'division' for a diagonal one, which are their own factors.
    values : numpy.ndarray
        Of (n, n) elements, or those of banded matrices by columns.
    pivots : numpy.ndarray or None
        From 0, where the routine exchanges rows; negative numbers of 'sytrf' and 'hetrf' are as in LAPACK.
    transposed : bool
        Whether they are those of the transposed matrix, because a lies by rows.
    """

    routine: str
    values: np.ndarray
    pivots: np.ndarray | None
    transposed: bool


class FactorizationInfo:
    """What `DirectSolver.factorize` found. For a batch each fact is an array with the batch's shape, or for sequences a
    tuple.

    Each call reads what is in memory then: another `factorize` changes it.
    """

    def __init__(self, solver: Any):
        self._solver = solver

    @property
    def structure(self) -> str:
        """What the matrices were taken for."""
        self._solver._require("solve", "factorization_info")
        return str(self._solver._executor.form)

    @property
    def dtype(self) -> str:
        """That of the factors."""
        self._solver._require("solve", "factorization_info")
        executor = self._solver._executor
        return SINGLE[self._solver._problem.dtype] if executor.form.mixed else self._solver._problem.dtype

    def _each(self, fact: Callable[[Any, int], Any]) -> Any:
        """A fact of each matrix."""
        solver = self._solver
        solver._require("solve", "factorization_info")
        parts = solver._executor.judgement.parts
        found = [[fact(part, index) for index in range(part.system.factorizations)] for part in parts]
        if len(parts) > 1:
            return tuple(values[0] for values in found)
        shape = parts[0].system.matrices
        if isinstance(found[0][0], Factors):
            return tuple(found[0]) if shape else found[0][0]
        values = np.array(found[0])
        return values.reshape(*shape, *values.shape[1:]) if shape else values[0]

    def rank(self) -> Any:
        """How many rows of R count, or on a device how many singular values, beside ``options.rank_tolerance``.

        That is found out with structure 'least squares'.
        """

        def one(part: Any, index: int) -> int:
            if part.form.kind != "rr":
                raise UnavailableError(
                    f"a is factorized as {part.form}, which does not find its rank: pass structure='least squares'"
                )
            return part.rank(index)

        return self._each(one)

    def log_determinant(self) -> tuple[Any, Any]:
        """Sign, or phase, and logarithm of the size of the determinant, as `numpy.linalg.slogdet` returns them."""
        a = self._solver._executor.matrices
        found = self._each(lambda part, index: _log_determinant(part, index, a))
        if isinstance(found, tuple):
            return tuple(sign for sign, _ in found), tuple(size.real for _, size in found)
        return found[..., 0] if found.dtype.kind == "c" else found[..., 0].real, found[..., 1].real

    def inverse(self) -> Any:
        """The inverse matrices (`numpy.ndarray`): n right-hand sides solved for."""
        a = self._solver._executor.matrices

        def one(part: Any, index: int) -> np.ndarray:
            if part.form.kind in RECTANGULAR:
                raise UnavailableError(
                    f"a is {KINDS[part.form.kind]} and has no inverse; solve for the columns of the identity"
                )
            return part.solve(index, "N", a, np.eye(part.system.a.rows, dtype=part.dtype))

        return self._each(one)

    def condition(self) -> Any:
        """Condition numbers in the 1-norm, estimated from below by some solutions (Higham and Tisseur, 2000)."""
        from scipy.sparse.linalg import LinearOperator, onenormest

        a = self._solver._executor.matrices

        def one(part: Any, index: int) -> float:
            if part.form.kind in RECTANGULAR or self._solver._problem.inplace[0]:
                raise UnavailableError(
                    "the condition is estimated from a square matrix that is there still: leave inplace_a away, or use "
                    "numpy.linalg.cond"
                )
            n = part.system.a.rows
            norm = float(np.abs(whole(elements(part.system, part.form, index, a), part.form)).sum(axis=0).max())
            if not part.fine(index):
                return float(np.inf)
            solve = lambda trans: lambda x: part.solve(index, trans, a, x.reshape(n, -1).astype(part.dtype))  # noqa: E731
            operator = LinearOperator(
                (n, n), matvec=solve("N"), rmatvec=solve("C"), matmat=solve("N"), rmatmat=solve("C"), dtype=part.dtype
            )
            if n < 5:  # exact: as many solutions as the estimate would take
                return norm * float(np.abs(solve("N")(np.eye(n))).sum(axis=0).max())
            return norm * float(onenormest(operator))

        return self._each(one)

    def factors(self) -> Factors | tuple[Factors, ...]:
        """The factors themselves, copied."""
        return self._each(lambda part, index: part.factors(index, self._solver._executor.matrices))


def _log_determinant(part: Any, index: int, a: Any) -> tuple[complex, float]:
    if part.form.mixed:  # whose factors are not as accurate
        sign, size = np.linalg.slogdet(part.matrix(index, a))
        return sign, float(size)
    sign, diagonal = part.diagonal(index, a)
    if not part.fine(index):
        return 0.0, -np.inf
    sizes = np.abs(diagonal)
    sign = sign * np.prod(diagonal / sizes)
    return (np.conj(sign) if part.system.a.conjugate else sign), float(np.log(sizes.astype(np.float64)).sum())
