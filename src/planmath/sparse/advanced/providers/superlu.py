"""SuperLU, which comes with SciPy and is always there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.core.provider import Algorithm, Provider
from planmath.native.forks import load_module
from planmath.native.threads import Threads, openmp_threads
from planmath.sparse.advanced.enums import DEFINITE
from planmath.sparse.advanced.enums import DirectSolverMatchingAlg as Matching
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.enums import DirectSolverReorderingAlg as Reordering
from planmath.sparse.advanced.options import DirectSolverFactorizationPreferences
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.system import Placed, Step, not_definite, singular, unknown
from planmath.sparse.advanced.providers.systems import PreparedSystems, prepare_systems

#: SuperLU's names for the ways to order the columns.
ORDERINGS = {Reordering.COLAMD: "COLAMD", Reordering.AMD: "MMD_AT_PLUS_A", Reordering.NONE: "NATURAL"}
#: Without a wish: the order of A + A^T for a symmetric matrix.
DEFAULT_ORDERING = {False: "COLAMD", True: "MMD_AT_PLUS_A"}
#: cudssPivotType_t: do not look for a pivot.
NO_PIVOTING = 1


class SuperLUProvider(Provider):
    name = "superlu"

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return str(load_module("scipy").__version__)

    def path(self) -> str | None:
        return load_module("scipy.sparse.linalg._dsolve._superlu").__file__

    def threads(self) -> Threads:
        return openmp_threads()

    def unsupported(self, problem: DirectSolverProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if max(pattern.nnz for pattern in problem.patterns) >= 2**31:
            return "its indices have 32 bits"
        wanted = problem.preferences
        if wanted.reordering_algorithm not in (None, Reordering.DEFAULT, *ORDERINGS):
            return f"it has no reordering {Reordering(wanted.reordering_algorithm or 0).name}"
        if wanted.matching_algorithm not in (None, Matching.NONE, Matching.AUTO):
            return f"it has no matching {Matching(wanted.matching_algorithm or 0).name}"
        if problem.kind in DEFINITE and wanted.pivot_threshold:
            return f"it takes the pivots of {problem.kind.name} matrices from the diagonal, whatever the threshold"
        return None

    def algorithms(self, problem: DirectSolverProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name, (("threads", 1),))]

    def prepare(self, problem: DirectSolverProblem, algorithm: Algorithm) -> PreparedSystems:
        return prepare_systems(problem, algorithm, lambda pattern, name: SuperLUFactorization(problem, pattern, name))


class SuperLUFactorization:
    """SuperLU's factorization of one matrix.

    It takes columns where planmath has rows, so it factorizes the transposed matrix, whose arrays are the same, and
    solves with its transpose. A matrix that is said to be positive definite is taken from one triangle, as Cholesky's
    factorization takes it, and eliminated along its diagonal: the pivots are positive if and only if it is definite,
    for they are ratios of leading minors.
    """

    perturbed, looks_at_values, special = 0, False, False

    def __init__(self, problem: DirectSolverProblem, pattern: Pattern, name: str):
        self.name, self.pattern, self.dtype = name, pattern, problem.dtype
        self.kind, self.definite = problem.kind, problem.kind in DEFINITE
        full = pattern.mirrored if self.definite else pattern.full
        self.placed = Placed(full.source, problem.dtype)
        self.starts, self.columns = full.starts.astype(np.int32), full.columns.astype(np.int32)
        wanted = problem.preferences
        symmetric = problem.kind != MatrixType.GENERAL
        ordering = wanted.reordering_algorithm or Reordering.DEFAULT
        threshold = wanted.pivot_threshold
        if threshold is None:
            threshold = 0.0 if wanted.pivot_type == NO_PIVOTING or self.definite else 1.0
        self.settings = {
            "permc_spec": ORDERINGS.get(Reordering(ordering), DEFAULT_ORDERING[symmetric]),
            "diag_pivot_thresh": threshold,
        }
        if self.definite:
            self.settings["options"] = {"SymmetricMode": True}
        self.linalg, self.sparse = load_module("scipy.sparse.linalg"), load_module("scipy.sparse")
        self.factors: Any = None

    def _transposed(self, values: np.ndarray) -> Any:
        n = self.pattern.n
        data = self.placed.of(values)[: len(self.columns)]
        return self.sparse.csc_array((data, self.columns, self.starts), shape=(n, n))

    def analyse(self, values: np.ndarray) -> list[Step]:
        """SuperLU analyses when it factorizes."""
        return []

    def factorize(self, values: np.ndarray, preferences: DirectSolverFactorizationPreferences) -> list[Step]:
        matrix = self._transposed(values)
        try:
            self.factors = self.linalg.splu(matrix, **self.settings)
        except RuntimeError as error:
            if "singular" not in str(error):
                raise
            row = self._singular_row(matrix)
            if self.definite:
                raise not_definite(self.name, self.kind, row) from None
            where = "" if row is None else f", at row {row}"
            raise singular(self.name, row, f"SuperLU found a pivot that is exactly zero{where}") from None
        if self.definite:
            self._check_pivots()
        return []

    @np.errstate(all="ignore")
    def _check_pivots(self) -> None:
        """Raise where a pivot is not a positive one of the diagonal."""
        order, pivots = self.factors.perm_c, self.factors.U.diagonal()
        wrong = ~(pivots.real > 0) | (self.factors.perm_r != order)
        if wrong.any():
            raise not_definite(self.name, self.kind, int(np.flatnonzero(order == np.argmax(wrong))[0]))

    @np.errstate(all="ignore")
    def _singular_row(self, matrix: Any) -> int | None:
        """The row of the first pivot that is zero: the smallest one of a matrix beside this one."""
        n = self.pattern.n
        shift = 4 * np.finfo(self.dtype).eps * (np.abs(matrix.data).max(initial=0.0) or 1.0)
        beside = (matrix + shift * self.sparse.eye_array(n, dtype=self.dtype)).tocsc().astype(self.dtype)
        try:
            factors = self.linalg.splu(beside, **self.settings)
        except RuntimeError:
            return None
        return int(np.flatnonzero(factors.perm_c == np.argmin(np.abs(factors.U.diagonal())))[0])

    def solve(self, b: np.ndarray, x: np.ndarray, columns: int) -> list[Step]:
        np.copyto(x, self.factors.solve(b, "T"))
        return []

    def generalize(self) -> None:
        """It makes no use of what values happen to be."""

    def check(self, phase: str) -> None:
        """SciPy has raised what there was to raise."""

    def fact(self, phase: str, name: str) -> Any:
        if phase == "factorization":
            if name == "lu_nnz":
                return int(self.factors.nnz)
            if name in ("npivots", "info"):
                return 0
            if name == "row_permutation":
                return np.argsort(self.factors.perm_c).astype(self.starts.dtype)
            if name == "col_permutation":
                return np.argsort(self.factors.perm_r).astype(self.starts.dtype)
            if name == "diag":
                return self.factors.U.diagonal()
        raise unknown("superlu", f"the {phase}'s {name}")
