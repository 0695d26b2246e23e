"""The providers of sparse products, in order of preference."""

import math
from collections.abc import Sequence
from typing import Any

from planmath.core.provider import Algorithm, Provider
from planmath.sparse.product.problem import meets_once
from planmath.sparse.product.providers.cusparse import CusparseProvider
from planmath.sparse.product.providers.gathering import is_list
from planmath.sparse.product.providers.generated import GeneratedKernels
from planmath.sparse.product.providers.mkl import MKLProvider
from planmath.sparse.product.providers.nests import in_row_order, nest_of
from planmath.sparse.product.providers.numba_loops import NumbaLoops
from planmath.sparse.product.providers.own import OwnLoops
from planmath.sparse.product.providers.scipy_sparse import SciPyProvider

PROVIDERS: Sequence[Provider] = (
    MKLProvider(), OwnLoops(), SciPyProvider(), NumbaLoops(), CusparseProvider(), GeneratedKernels(),
)  # fmt: skip

#: Columns from which on planmath's own loops are expected to be faster than libraries, where rows of b and c are
#: contiguous: they keep the sums of all columns in registers, and ask for the rows of b ahead.
MANY_COLUMNS = 8
#: Columns from which on threads of kernels share them.
FEW_COLUMNS = 4
#: Entries of a row in the mean up to which kernels are faster than cuSPARSE's where there are fewer columns.
FEW_ENTRIES = 8


def expected(problem: Any, algorithms: list[Algorithm], even: bool = False) -> list[Algorithm]:
    """The algorithms by the speed that is expected where nothing was measured; they come in the order of providers.

    On a device kernels for a format are faster than cuSPARSE's where rows are `even`: a matrix of 10^6 rows with 5
    entries each takes 25 µs in place of 35 times a vector, 361 in place of 412 times 32 columns, and 400 in place of
    457 where it is a list. With 16 entries at random they take 145 in place of 132 times a vector (H200, 2026-12-01).
    """
    if problem.execution[0] == "cuda":
        if problem.kind == "dense" and even and _suits_kernels(problem):
            return sorted(algorithms, key=lambda algorithm: algorithm.provider != "generated")
        return algorithms
    if problem.kind != "dense" or problem.columns < MANY_COLUMNS:
        return algorithms
    if problem.work.startswith("complex"):
        return algorithms
    if (problem.b.column, problem.c.column) != (1, 1) or not meets_once(problem):
        return algorithms
    return sorted(algorithms, key=lambda algorithm: algorithm.provider != "own")


def _suits_kernels(problem: Any) -> bool:
    """Whether the entries of a row are where a kernel finds them one after the other, and columns lie side by side."""
    if problem.sparse.dtype != problem.work:
        return False
    if problem.columns >= FEW_COLUMNS:
        rows = (problem.b.column, problem.c.column) == (1, 1)
        return rows and (meets_once(problem) or is_list(problem))
    if is_list(problem) or problem.sparse.nse > FEW_ENTRIES * problem.rows * math.prod(problem.batch):
        return False
    return nest_of(problem) is not None or in_row_order(problem)
