"""The providers of sparse products, in order of preference."""

from collections.abc import Sequence
from typing import Any

from planmath.core.provider import Algorithm, Provider
from planmath.sparse.product.problem import meets_once
from planmath.sparse.product.providers.cusparse import CusparseProvider
from planmath.sparse.product.providers.generated import GeneratedKernels
from planmath.sparse.product.providers.mkl import MKLProvider
from planmath.sparse.product.providers.own import OwnLoops
from planmath.sparse.product.providers.scipy_sparse import SciPyProvider

PROVIDERS: Sequence[Provider] = (
    MKLProvider(), OwnLoops(), SciPyProvider(), CusparseProvider(), GeneratedKernels(),
)  # fmt: skip

#: Columns from which on planmath's own loops are expected to be faster than libraries, where rows of b and c are
#: contiguous: they keep the sums of all columns in registers, and ask for the rows of b ahead.
MANY_COLUMNS = 8


def expected(problem: Any, algorithms: list[Algorithm]) -> list[Algorithm]:
    """The algorithms by the speed that is expected where nothing was measured; they come in the order of providers."""
    if problem.execution[0] != "cpu" or problem.kind != "dense" or problem.columns < MANY_COLUMNS:
        return algorithms
    if problem.work.startswith("complex"):
        return algorithms
    if (problem.b.column, problem.c.column) != (1, 1) or not meets_once(problem):
        return algorithms
    return sorted(algorithms, key=lambda algorithm: algorithm.provider != "own")
