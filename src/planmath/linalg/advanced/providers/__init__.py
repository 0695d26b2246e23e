"""The libraries that multiply matrices, in order of preference."""

from collections.abc import Sequence

from planmath.bindings import blas, mkl
from planmath.core.provider import Algorithm, Provider
from planmath.linalg.advanced.problem import MatmulProblem
from planmath.linalg.advanced.providers.blas_interface import BLASProvider
from planmath.linalg.advanced.providers.cublaslt import CublasLtProvider
from planmath.linalg.advanced.providers.torch_kernels import TorchProvider

PROVIDERS: Sequence[Provider] = (
    BLASProvider("mkl", blas.MKL, spin=mkl.BLOCK_TIME),
    BLASProvider("nvpl", blas.NVPL),
    BLASProvider("blas", blas.OPENBLAS, spin=blas.OPENBLAS_SPIN),
    TorchProvider(),
    CublasLtProvider(),
)

#: Below this many multiplications, OpenBLAS's shorter way to its kernels makes it the fastest.
TINY_WORK = 40_000


def expected_order(problem: MatmulProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
    """The algorithms by expected speed, where nothing was measured; equals keep the order of the providers."""
    if problem.execution[0] == "cuda":
        return algorithms
    if problem.a.dtype == "bfloat16":
        first = "torch"
    elif problem.work < TINY_WORK and problem.a.dtype in ("float32", "float64", "complex64", "complex128"):
        first = "blas"
    else:
        first = "mkl"
    return sorted(algorithms, key=lambda algorithm: algorithm.provider != first)
