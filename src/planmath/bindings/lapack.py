"""LAPACK's Fortran interface, as SciPy publishes it for Cython: every argument is a pointer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from planmath.bindings import blas
from planmath.bindings.blas import BLAS, LETTER, published_address

__all__ = ["LAPACK", "LETTER", "MKL", "SCIPY", "address"]


@cache
def address(routine: str) -> int:
    """Address of a routine, such as 'dgbtrf'; 0 where it is missing."""
    return published_address("scipy.linalg.cython_lapack", routine)


@dataclass(frozen=True)
class LAPACK:
    """One library's LAPACK, and the BLAS beneath it.

    Parameters
    ----------
    blas : bindings.blas.BLAS
        Whose version, file and threads are the library's.
    address : callable
        From the name of a routine, such as 'dgetrf', to its address; 0 where it is missing.
    """

    blas: BLAS
    address: Callable[[str], int]

    def find(self, routine: str) -> int:
        """Address of a routine of LAPACK or BLAS."""
        return self.address(routine) or self.blas.find(routine)


SCIPY = LAPACK(blas.SCIPY, address)
MKL = LAPACK(blas.MKL, blas.MKL.find)
