"""MKL PARDISO: one factorization of one sparse matrix, through the C interface.

Numbers of parameters (iparm, counted from 0), matrix types and error codes are those of oneMKL's developer reference,
"pardiso" and "pardiso iparm Parameter".
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from planmath.bindings import mkl
from planmath.native.call import Call, Slot

#: A call and the addresses to make it on.
Step = tuple[Call, tuple[int, ...]]

#: Functions by the dtype of the indices.
FUNCTIONS = {"int32": "pardiso", "int64": "pardiso_64"}

#: Phases.
ANALYSE, FACTORIZE, SOLVE, RELEASE = 11, 22, 33, -1

#: Matrix types: real, complex.
GENERAL, SYMMETRIC, POSITIVE_DEFINITE = (11, 13), (-2, 6), (2, 4)

#: Parameters that planmath sets.
OWN_VALUES, ORDERING, USER_ORDER, REFINEMENT, PIVOT_EXPONENT, SCALING, MATCHING, SINGLE, ZERO_BASED = (
    0, 1, 4, 7, 9, 10, 12, 27, 34
)  # fmt: skip
DIAGONAL = 55
#: Values of ORDERING.
MINIMUM_DEGREE, NESTED_DISSECTION, PARALLEL_NESTED_DISSECTION = 0, 2, 3
#: Values of USER_ORDER.
ORDER_GIVEN, ORDER_RETURNED = 1, 2

#: Parameters that the library sets.
STEPS, PERTURBED, PEAK_ANALYSIS, PERMANENT_ANALYSIS, FACTORS, NONZEROS, POSITIVE, NEGATIVE, BAD_PIVOT = (
    6, 13, 14, 15, 16, 17, 21, 22, 29
)  # fmt: skip
KILOBYTE = 1024

OUT_OF_MEMORY, BAD_PIVOTS = (-2, -9), (-4, -7)
ERRORS = {
    -1: "the input is inconsistent", -2: "there is not enough memory", -3: "the reordering failed",
    -4: "a pivot is zero, or the factorization failed", -5: "an internal error", -6: "the reordering failed",
    -7: "a diagonal matrix is singular", -8: "32-bit integers overflow; use 64-bit indices",
    -9: "there is not enough memory for out-of-core work", -10: "out-of-core files cannot be opened",
    -11: "out-of-core files cannot be read or written", -12: "pardiso_64 was called from a 32-bit library",
    -13: "it was interrupted",
}  # fmt: skip


@cache
def missing() -> str | None:
    """Why it cannot be used, in words, or None."""
    if mkl.LIBRARY.missing:
        return mkl.LIBRARY.missing
    lacking = [name for name in FUNCTIONS.values() if not mkl.LIBRARY.has(name)]
    return f"{mkl.LIBRARY.path} lacks {', '.join(lacking)}" if lacking else None


class Factorization:
    """PARDISO's memory of one matrix.

    Parameters
    ----------
    matrix_type : int
    starts, columns : numpy.ndarray
        The pattern in CSR format, counted from 0: all entries; of symmetric matrices those on and above the diagonal.
    parameters : mapping of int to int
        What differs from 0.
    threads : int
    order : numpy.ndarray, optional
        The order of the unknowns, where it is not the library's to choose.
    """

    def __init__(
        self, matrix_type: int, starts: np.ndarray, columns: np.ndarray, parameters: Mapping[int, int], threads: int,
        order: np.ndarray | None = None,
    ):  # fmt: skip
        integer = starts.dtype
        self.n = len(starts) - 1
        self.parameters = np.zeros(64, integer)
        for number, value in {OWN_VALUES: 1, ZERO_BASED: 1, NONZEROS: -1, **parameters}.items():
            self.parameters[number] = value
        self.parameters[USER_ORDER] = ORDER_RETURNED if order is None else ORDER_GIVEN
        self.order = np.zeros(self.n, integer) if order is None else np.array(order, integer)
        self._starts, self._columns = starts, columns
        self._handle = np.zeros(64, np.int64)
        #: one each: maxfct, mnum, mtype, n, nrhs, msglvl, error; then the phases
        self._numbers = np.array([1, 1, matrix_type, self.n, 1, 0, 0, ANALYSE, FACTORIZE, SOLVE, RELEASE], integer)
        at = self._numbers.ctypes.data
        one, mnum, kind, n, self._nrhs, quiet, error, *phases = (at + i * integer.itemsize for i in range(11))
        function = mkl.LIBRARY.address(FUNCTIONS[integer.name])
        self._calls = {
            number: Call(
                function,
                [self._handle.ctypes.data, one, mnum, kind, phase, n, Slot(0), starts.ctypes.data, columns.ctypes.data,
                 self.order.ctypes.data, self._nrhs, self.parameters.ctypes.data, quiet, Slot(1), Slot(2), error],
                name="pardiso",
                keep=(self._handle, self._numbers, self.parameters, self.order, starts, columns),
            )
            for number, phase in zip((ANALYSE, FACTORIZE, SOLVE, RELEASE), phases, strict=True)
        }  # fmt: skip
        self._set_threads = _threads_call(threads)
        self._end = weakref.finalize(self, _release, self._calls[RELEASE], self._handle)

    def steps(self, phase: int, values: int = 0, b: int = 0, x: int = 0, columns: int = 1) -> list[Step]:
        """What runs a phase on arrays at these addresses; `error` tells afterwards how it went."""
        if columns != self._numbers[4]:
            self._numbers[4] = columns
        return [(self._set_threads, ()), (self._calls[phase], (values, b, x)), (_threads_call(0), ())]

    @property
    def error(self) -> int:
        """The error code of the phase that ran last, 0 for success."""
        return int(self._numbers[6])

    def diagonal(self, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """The factors' diagonal, in the order of the unknowns, and the initial matrix's.

        DIAGONAL must be 1, and the indices int32: the library's function crashes after `pardiso_64` (MKL 2026.2).
        """
        if self._columns.dtype != np.int32:
            raise ValueError(f"the indices are of {self._columns.dtype}; expected int32")
        factor, initial = np.zeros(self.n, dtype), np.zeros(self.n, dtype)
        first = np.ones(1, self._numbers.dtype)
        error = np.zeros(1, self._numbers.dtype)
        get = mkl.LIBRARY.function("pardiso_getdiag", None, [ctypes.c_void_p] * 5)
        get(*(a.ctypes.data for a in (self._handle, factor, initial, first, error)))
        return factor, initial

    def release(self) -> None:
        """Give its memory back."""
        self._end()


def _release(call: Call, handle: np.ndarray) -> None:
    if handle.any():
        call(0, 0, 0)


@cache
def _threads_call(threads: int) -> Call:
    return Call(mkl.LIBRARY.address("MKL_Set_Num_Threads_Local"), [threads], name="MKL_Set_Num_Threads_Local")
