"""The libraries that solve dense systems, in order of preference."""

from collections.abc import Sequence

from planmath.bindings import blas, lapack, mkl
from planmath.core.provider import Algorithm, Provider
from planmath.linalg.solver.problem import DenseProblem
from planmath.linalg.solver.providers.lanes import LanesProvider
from planmath.linalg.solver.providers.lapack_interface import LAPACKProvider

PROVIDERS: Sequence[Provider] = (
    LanesProvider(),
    LAPACKProvider("mkl", lapack.MKL, spin=mkl.BLOCK_TIME),
    LAPACKProvider("lapack", lapack.SCIPY, spin=blas.OPENBLAS_SPIN),
)


def expected_order(problem: DenseProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
    """The algorithms by expected speed, where nothing was measured; equals keep the order of the providers."""
    return algorithms
