"""LAPACK's Fortran interface, as SciPy publishes it for Cython: every argument is a pointer."""

from __future__ import annotations

from functools import cache

from planmath.bindings.blas import LETTER, published_address

__all__ = ["LETTER", "address"]


@cache
def address(routine: str) -> int:
    """Address of a routine, such as 'dgbtrf'; 0 where it is missing."""
    return published_address("scipy.linalg.cython_lapack", routine)
