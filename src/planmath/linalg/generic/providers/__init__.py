"""The libraries that multiply matrices with a structure, in order of preference."""

from collections.abc import Sequence

from planmath.bindings import blas, mkl
from planmath.core.provider import Algorithm, Provider
from planmath.core.tuning.record import machine
from planmath.linalg.generic.problem import ListProblem, ProductProblem
from planmath.linalg.generic.providers.blas_interface import BLASProvider
from planmath.linalg.generic.providers.cublas import CublasProvider
from planmath.linalg.generic.providers.grouped import GroupedProvider
from planmath.linalg.generic.providers.lists import ListProvider
from planmath.linalg.generic.providers.own import PlanmathProvider, band_is_narrow, is_small

PROVIDERS: Sequence[Provider] = (
    BLASProvider("mkl", blas.MKL, spin=mkl.BLOCK_TIME),
    BLASProvider("nvpl", blas.NVPL),
    BLASProvider("blas", blas.OPENBLAS, spin=blas.OPENBLAS_SPIN),
    CublasProvider(),
    PlanmathProvider(),
)

#: The same for lists of products, whatever their structures.
LIST_PROVIDERS: Sequence[Provider] = tuple(
    (GroupedProvider if provider.name == CublasProvider.name else ListProvider)(provider, PROVIDERS[-1])
    for provider in PROVIDERS
)

#: Below this many multiplications, OpenBLAS's shorter way to its kernels makes it the fastest.
TINY_WORK = 40_000


def expected_order(problem: ProductProblem | ListProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
    """The algorithms by expected speed, where nothing was measured; equals keep the order of the providers."""
    members = problem.members if isinstance(problem, ListProblem) else (problem,)
    if problem.execution[0] == "cuda":
        bands = all(map(band_is_narrow, members))
        return sorted(algorithms, key=lambda algorithm: bands != (algorithm.provider == PlanmathProvider.name))
    openblas = problem.work < TINY_WORK or blas.OPENBLAS_FIRST in machine()
    first = PlanmathProvider.name if all(map(is_small, members)) else "blas" if openblas else "mkl"
    return sorted(algorithms, key=lambda algorithm: algorithm.provider != first)
