"""The libraries that solve dense systems, in order of preference."""

from collections.abc import Sequence

from planmath.bindings import blas, lapack, mkl
from planmath.core.provider import Algorithm, Provider
from planmath.core.tuning.record import machine
from planmath.linalg.solver.problem import DenseProblem
from planmath.linalg.solver.providers.cusolver import CusolverProvider
from planmath.linalg.solver.providers.lapack_interface import THREADED_WORK, LAPACKProvider
from planmath.linalg.solver.providers.own import PlanmathProvider

PROVIDERS: Sequence[Provider] = (
    PlanmathProvider(),
    LAPACKProvider("mkl", lapack.MKL, spin=mkl.BLOCK_TIME),
    LAPACKProvider("lapack", lapack.SCIPY, spin=blas.OPENBLAS_SPIN),
    CusolverProvider(),
)


def expected_order(problem: DenseProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
    """The algorithms by expected speed, where nothing was measured; equals keep the order of the providers."""
    first = "lapack" if blas.OPENBLAS_FIRST in machine() else "mkl"
    if problem.work < THREADED_WORK:  # libraries share larger ones between threads
        own = [algorithm for algorithm in algorithms if algorithm.provider == PlanmathProvider.name]
        others = [algorithm for algorithm in algorithms if algorithm.provider != PlanmathProvider.name]
        return own + sorted(others, key=lambda algorithm: algorithm.provider != first)
    return sorted(algorithms, key=lambda algorithm: algorithm.provider != first)
