"""planmath's own factorization of general matrices by blocks (block_order.h, block_lu.h).

Triangular and permuted triangular matrices, circuits, power networks and the like fill their factors so little that the
libraries, which are made for dense parts of large factors, spend most of their time on finding these. It takes the
pattern's block triangular form, in which a triangular matrix has blocks of one row, and eliminates within the blocks
row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE
from planmath.core.provider import Algorithm, OwnProvider
from planmath.native.threads import Threads, openmp_threads
from planmath.sparse.advanced import block_lu, kernels
from planmath.sparse.advanced.block_lu import BlockLU, BlockOrder
from planmath.sparse.advanced.enums import DEFINITE
from planmath.sparse.advanced.enums import DirectSolverMatchingAlg as Matching
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.enums import DirectSolverReorderingAlg as Reordering
from planmath.sparse.advanced.kernels import address
from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    as_estimates,
    memory_estimates_dtype,
)
from planmath.sparse.advanced.pattern import Pattern, kernel
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.system import Place, Placed, Step, singular, unknown
from planmath.sparse.advanced.providers.systems import PreparedSystems, prepare_systems

#: How rows are ordered: for pivots on the diagonal, for whatever pivots the values ask for, or as the values suggest.
DIAGONAL, COLUMNS, AUTOMATIC = "diagonal", "columns", "automatic"
ORDERINGS = {
    Reordering.DEFAULT: [AUTOMATIC, DIAGONAL, COLUMNS], Reordering.AMD: [DIAGONAL], Reordering.COLAMD: [COLUMNS],
}  # fmt: skip
#: A pivot is at least this part of the largest entry of its row; and where a solution stayed inaccurate. With the 0.001
#: of circuit simulators (Davis and Palamadai Natarajan, "Algorithm 907: KLU", ACM TOMS 37, 2010) residuals may be
#: several times as large as the accuracy check allows.
THRESHOLD, STRICT = 0.1, 1.0
#: The part of rows whose entries on the diagonal are below that, from which the order is for other pivots.
MOST_WEAK = 0.1
#: Where pivots beside the diagonal fill the factors more than this many times as much as expected, and by this many
#: entries a row, the order is made anew.
MOST_FILL, MOST_FILL_PER_ROW = 2, 8
#: Multiplications for each unknown up to which it is expected to be the fastest: for a pattern that is not symmetric,
#: and for one that is, of which a library may make half the work.
MOST_OPERATIONS = {False: 2500, True: 600}
#: Unknowns up to which it is found out how many there are, and entries a row below which it is for larger ones as well.
MOST_UNKNOWNS, FEW_ENTRIES = 20_000, 4.5

FACTORIZE = {dtype: kernel(function, 2) for dtype, function in block_lu.FACTORIZE.items()}
SOLVE = {dtype: kernel(function, 4) for dtype, function in block_lu.SOLVE.items()}


class BlocksProvider(OwnProvider):
    name, kernels = "blocks", block_lu

    def threads(self) -> Threads:
        return openmp_threads()

    def unsupported(self, problem: DirectSolverProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.kind in DEFINITE:
            return f"it does not find out whether a matrix is {problem.kind.name}"
        if max(pattern.nnz for pattern in problem.patterns) >= 2**29:
            return "its indices have 32 bits"
        wanted = problem.preferences
        if (wanted.reordering_algorithm or Reordering.DEFAULT) not in ORDERINGS:
            return f"it has no reordering {Reordering(wanted.reordering_algorithm or 0).name}"
        if wanted.matching_algorithm not in (None, Matching.AUTO):
            return f"its matching is that of the pattern ({Matching(wanted.matching_algorithm).name} was asked for)"
        if wanted.pivot_type is not None:
            return "it takes pivots of a row, by their size, whatever the pivot type"
        return None

    def algorithms(self, problem: DirectSolverProblem) -> Sequence[Algorithm]:
        wanted = Reordering(problem.preferences.reordering_algorithm or Reordering.DEFAULT)
        return [Algorithm(self.name, (("ordering", ordering), ("threads", 1))) for ordering in ORDERINGS[wanted]]

    def prepare(self, problem: DirectSolverProblem, algorithm: Algorithm) -> PreparedSystems:
        return prepare_systems(
            problem, algorithm, lambda pattern, name: BlocksFactorization(problem, algorithm, pattern, name)
        )


def is_expected(problem: DirectSolverProblem) -> bool:
    """Whether it is expected to be the fastest that there is for these systems."""
    return problem.kind == MatrixType.GENERAL and all(
        pays(pattern) for pattern in {id(pattern): pattern for pattern in problem.patterns}.values()
    )


def has_weak_diagonal(pattern: Pattern, dtype: str, values: int, threshold: float = THRESHOLD) -> bool:
    """Whether the values at an address ask for pivots beside the diagonal of a pattern's blocks."""
    return pattern.weak(dtype, values, threshold) > MOST_WEAK * pattern.n


def pays(pattern: Pattern, ordering: str = DIAGONAL) -> bool:
    """Whether the factors of a pattern take so little work, in an order, that a library would be slower."""
    if pattern.n > MOST_UNKNOWNS and pattern.nnz > FEW_ENTRIES * pattern.n and pattern.pairs is not None:
        return False
    if pattern.matched() < pattern.n:
        return False
    order = pattern.block_order if ordering == DIAGONAL else pattern.column_block_order
    fewest, most = sorted(limit * pattern.n for limit in MOST_OPERATIONS.values())
    if not fewest < order.operations <= most:
        return bool(order.operations <= fewest)
    return bool(order.operations <= MOST_OPERATIONS[pattern.pairs is not None] * pattern.n)


def reason(problem: DirectSolverProblem) -> str:
    """Why it is expected to be the fastest, or not."""
    if problem.kind != MatrixType.GENERAL:
        return f"blocks are not tried for {problem.kind.name} matrices"
    pattern = problem.largest
    symmetric = "symmetric" if (is_symmetric := pattern.pairs is not None) else "unsymmetric"
    if is_symmetric and pattern.n > MOST_UNKNOWNS and pattern.nnz > FEW_ENTRIES * pattern.n:
        return (
            f"the pattern is symmetric, with {pattern.nnz / pattern.n:.1f} entries a row and more than "
            f"{MOST_UNKNOWNS} unknowns, for which blocks are not expected to pay"
        )
    order = pattern.block_order
    if order.matched < pattern.n:
        return f"only {order.matched} of {pattern.n} rows can have a pivot of their own: the matrix is singular"
    return (
        f"the pattern is {symmetric}, with {order.blocks} blocks, the largest of {order.largest} rows, which take "
        f"{order.operations / pattern.n:.0f} multiplications an unknown, expected (blocks are chosen up to "
        f"{MOST_OPERATIONS[is_symmetric]})"
    )


class BlocksFactorization:
    """The factorization of one matrix by blocks.

    Parameters
    ----------
    problem : DirectSolverProblem
    algorithm : Algorithm
    pattern : Pattern
    name : str

    Raises
    ------
    SingularMatrixError
        If not every row can have a pivot.
    """

    perturbed, looks_at_values = 0, True

    def __init__(self, problem: DirectSolverProblem, algorithm: Algorithm, pattern: Pattern, name: str):
        if pattern.matched() < pattern.n:
            some = f"only {pattern.matched()} of {pattern.n} rows can have a pivot of their own"
            raise singular(name, None, f"{some}, whatever its values")
        self.name, self.pattern, self.dtype = name, pattern, problem.dtype
        self.placed = Placed(pattern.full.source, problem.dtype)
        self.wanted, self.threshold = algorithm.get("ordering"), problem.preferences.pivot_threshold
        self.special = self.threshold is None
        self.values = 0
        self._make(COLUMNS if self.wanted == COLUMNS else DIAGONAL)

    def _make(self, ordering: str) -> None:
        """Get ready to factorize in this order."""
        order: BlockOrder = self.pattern.block_order if ordering == DIAGONAL else self.pattern.column_block_order
        self.ordering, self.library = ordering, BlockLU(order, self.dtype)
        if self.threshold is not None:
            self.library.threshold = self.threshold
        else:
            self.library.threshold = THRESHOLD if self.special else STRICT
        if ordering == DIAGONAL and self.wanted == AUTOMATIC:
            self.library.most = int(MOST_FILL * order.fill + MOST_FILL_PER_ROW * self.pattern.n)

    def generalize(self) -> None:
        self.special = False

    def analyse(self, values: np.ndarray) -> list[Step]:
        if not self.special:
            self._make(COLUMNS if self.wanted != DIAGONAL else DIAGONAL)
        elif self.wanted == AUTOMATIC and self.ordering == DIAGONAL:
            given = address(self.placed.of(values))
            if has_weak_diagonal(self.pattern, self.dtype, given, self.library.threshold):
                self._make(COLUMNS)
        return []

    def factorize(self, values: np.ndarray, preferences: DirectSolverFactorizationPreferences) -> list[Step]:
        self.values = address(values)
        return self.factorize_again(self.values)

    def factorize_again(self, values: Place) -> list[Step]:
        source, placing = self.placed.placing(values)
        return [*placing, (FACTORIZE[self.dtype], (self.library.address, source))]

    def went_well(self, values: int) -> bool:
        return True

    def solve(self, b: np.ndarray, x: np.ndarray, columns: int) -> list[Step]:
        return self.solve_again(0, address(b), address(x), columns)

    def solve_again(self, values: Place, b: Place, x: Place, columns: int) -> list[Step]:
        return [(SOLVE[self.dtype], (self.library.address, columns, b, x))]

    def check(self, phase: str) -> None:
        if phase != "factorization":
            return
        if self.library.status == block_lu.FILLED:
            self._make(COLUMNS)
            kernels.run(self.factorize_again(self.values))
        if self.library.status == block_lu.NO_MEMORY:
            raise MemoryError(f"{self.name}: there is no memory for the factors, whose rows are {self.pattern.n}")
        if self.library.status == block_lu.SINGULAR:
            row = self.library.row
            raise singular(self.name, row, f"row {row} has no pivot but zero")

    def fact(self, phase: str, name: str) -> Any:
        library, order, dtype = self.library, self.library.of, self.pattern.starts.dtype
        if name == "row_permutation":
            return order.order.astype(dtype)
        if name == "col_permutation":
            return (order.diagonal if phase == "plan" else library.column_order).astype(dtype)
        if name == "memory_estimates" and phase == "plan":
            estimates = np.zeros((), memory_estimates_dtype)
            entry, entries = ITEMSIZE[self.dtype] + 4, 2 * order.fill + len(order.columns)
            estimates["permanent_host_memory"] = int(entry * (entries + 3 * self.pattern.n) + 40 * self.pattern.n)
            estimates["peak_host_memory"] = estimates["permanent_host_memory"] + 36 * self.pattern.n
            return as_estimates(estimates)
        if name == "lu_nnz" and phase == "plan":  # where pivots are on the diagonal
            return int(2 * order.fill + len(order.columns))
        if phase == "factorization":
            if name in ("npivots", "info"):
                return 0
            if name == "lu_nnz":
                return library.nonzeros
            if name == "diag":
                return library.pivots
        raise unknown("blocks", f"the {phase}'s {name}")
