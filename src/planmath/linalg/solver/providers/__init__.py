"""The libraries that solve dense systems, in order of preference."""

from collections.abc import Sequence

from planmath.bindings import blas, lapack, mkl
from planmath.core.provider import Algorithm, Provider
from planmath.core.tuning.record import machine
from planmath.linalg.solver.problem import DenseProblem
from planmath.linalg.solver.providers.cusolver import CusolverProvider
from planmath.linalg.solver.providers.lanes import LanesProvider
from planmath.linalg.solver.providers.lapack_interface import LAPACKProvider

#: Where OpenBLAS's factorizations are expected to be faster than MKL's: on processors whose names say this.
OPENBLAS_FIRST = "AMD"
PROVIDERS: Sequence[Provider] = (
    LanesProvider(),
    LAPACKProvider("mkl", lapack.MKL, spin=mkl.BLOCK_TIME),
    LAPACKProvider("lapack", lapack.SCIPY, spin=blas.OPENBLAS_SPIN),
    CusolverProvider(),
)


def expected_order(problem: DenseProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
    """The algorithms by expected speed, where nothing was measured; equals keep the order of the providers."""
    first = "lapack" if OPENBLAS_FIRST in machine() else "mkl"
    return sorted(algorithms, key=lambda algorithm: algorithm.provider not in (LanesProvider.name, first))
