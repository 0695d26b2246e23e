"""MKL PARDISO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.bindings import mkl, pardiso
from planmath.bindings.pardiso import Step
from planmath.core.errors import LibraryError
from planmath.core.provider import Algorithm, Provider
from planmath.sparse.advanced import kernels
from planmath.sparse.advanced.enums import DirectSolverMatchingAlg as Matching
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.enums import DirectSolverReorderingAlg as Reordering
from planmath.sparse.advanced.kernels import address
from planmath.sparse.advanced.options import DirectSolverFactorizationPreferences, memory_estimates_dtype
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.system import Placed, singular, unknown
from planmath.sparse.advanced.providers.systems import PreparedSystems, prepare_systems

#: PARDISO's number for each matrix type: real, complex.
NUMBER = {
    MatrixType.GENERAL: pardiso.GENERAL, MatrixType.SYMMETRIC: pardiso.SYMMETRIC,
    MatrixType.HERMITIAN: pardiso.HERMITIAN, MatrixType.SPD: pardiso.POSITIVE_DEFINITE,
    MatrixType.HPD: pardiso.POSITIVE_DEFINITE,
}  # fmt: skip

#: The ways to order the unknowns that it has, by the user's names.
ORDERINGS: dict[int, list[str]] = {
    Reordering.AMD: ["minimum degree"], Reordering.NESTED_DISSECTION: ["nested dissection"], Reordering.NONE: ["none"],
}  # fmt: skip
MATCHINGS: dict[int, int] = {Matching.NONE: 0, Matching.AUTO: 1, Matching.MAX_DIAG_PRODUCT: 1}

#: Unknowns below which minimum degree finds as good an order as nested dissection, and finds it sooner; and below which
#: a second thread does not pay.
SMALL = 10_000
#: The first of these for one thread, which shares nested dissection with no other, and planar matrices.
SMALL_FOR_ONE_THREAD = 100_000
#: Entries a row below which a matrix counts as planar.
FEW_ENTRIES = 6

# The "improved two-level" factorization (iparm[23] = 10) takes half the time for planar matrices and is not used:
# solutions with its factors crashed inside MKL 2026.2, and it does not count all the pivots that it replaces.

#: Pivots are compared with 10 to the minus this times the size of the matrix (oneMKL's recommendation).
PIVOT_EXPONENT = {True: 13, False: 8}


class PardisoProvider(Provider):
    name = "pardiso"

    def unavailable(self) -> str | None:
        return pardiso.missing()

    def version(self) -> str:
        return mkl.version()

    def path(self) -> str | None:
        return mkl.LIBRARY.path

    def threads(self) -> int:
        return mkl.threads()

    def unsupported(self, problem: DirectSolverProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        wanted = problem.preferences
        if wanted.reordering_algorithm not in (None, Reordering.DEFAULT, *ORDERINGS):
            return f"it has no reordering {Reordering(wanted.reordering_algorithm or 0).name}"
        if wanted.matching_algorithm not in (None, *MATCHINGS):
            return f"it has no matching {Matching(wanted.matching_algorithm or 0).name}"
        if wanted.pivot_threshold is not None:
            return "it has no pivot threshold"
        if wanted.pivot_type is not None:
            return "its way of pivoting is that of the matrix type, and cannot be chosen"
        return None

    def algorithms(self, problem: DirectSolverProblem) -> Sequence[Algorithm]:
        largest = problem.largest
        small, planar = largest.n < SMALL, largest.nnz < FEW_ENTRIES * largest.n
        orderings = ["nested dissection", "minimum degree"]
        if small or (planar and problem.threads == 1 and largest.n < SMALL_FOR_ONE_THREAD):
            orderings.reverse()
        orderings = ORDERINGS.get(problem.preferences.reordering_algorithm or Reordering.DEFAULT, orderings)
        counts = [1, problem.threads] if small or len(problem.patterns) >= problem.threads else [problem.threads, 1]
        return [
            Algorithm(self.name, (("ordering", ordering), ("threads", threads)))
            for ordering in orderings
            for threads in dict.fromkeys(counts)
        ]

    def lingers(self, algorithm: Algorithm) -> float:
        return mkl.BLOCK_TIME if algorithm.get("threads") > 1 else 0.0

    def prepare(self, problem: DirectSolverProblem, algorithm: Algorithm) -> PreparedSystems:
        return prepare_systems(
            problem, algorithm, lambda pattern, name: PardisoFactorization(problem, algorithm, pattern, name)
        )


class PardisoFactorization:
    """PARDISO's factorization of one matrix."""

    looks_at_values = True

    def __init__(self, problem: DirectSolverProblem, algorithm: Algorithm, pattern: Pattern, name: str):
        self.name, self.kind, self.pattern = name, problem.kind, pattern
        arrangement = pattern.full if problem.kind == MatrixType.GENERAL else pattern.upper
        self.placed = Placed(arrangement.source, problem.dtype)
        self.dtype, self.perturbed = problem.dtype, 0
        single = problem.dtype in ("float32", "complex64")
        definite = problem.kind in (MatrixType.SPD, MatrixType.HPD)
        ordering, self.threads = algorithm.get("ordering"), algorithm.get("threads")
        reorders = ordering != "none"
        wanted = problem.preferences.matching_algorithm
        matching = MATCHINGS[Matching.AUTO if wanted is None else wanted] if reorders and not definite else 0
        nested = pardiso.NESTED_DISSECTION if self.threads == 1 else pardiso.PARALLEL_NESTED_DISSECTION
        self.default_exponent = PIVOT_EXPONENT[problem.kind == MatrixType.GENERAL]
        if single:
            self.default_exponent = min(self.default_exponent, 6)
        self.arrangement, self.number = arrangement, NUMBER[problem.kind][problem.is_complex]
        self.order = None if reorders else np.arange(pattern.n)
        self.parameters = {
            pardiso.ORDERING: pardiso.MINIMUM_DEGREE if ordering == "minimum degree" else nested,
            pardiso.PIVOT_EXPONENT: self.default_exponent,
            pardiso.SCALING: matching,
            pardiso.MATCHING: matching,
            pardiso.BUNCH_KAUFMAN: 1,
            pardiso.SINGLE: int(single),
        }
        self.library = self._made(self.parameters)

    def _made(self, parameters: dict[int, int]) -> pardiso.Factorization:
        starts, columns = self.arrangement.starts, self.arrangement.columns
        return pardiso.Factorization(self.number, starts, columns, parameters, self.threads, self.order)  # type: ignore[arg-type]

    def analyse(self, values: np.ndarray) -> list[Step]:
        self.values = address(self.placed.of(values))
        return self.library.steps(pardiso.ANALYSE, self.values)

    def factorize(self, values: np.ndarray, preferences: DirectSolverFactorizationPreferences) -> list[Step]:
        epsilon = preferences.pivot_eps
        self.library.parameters[pardiso.PIVOT_EXPONENT] = (
            self.default_exponent if not epsilon else min(max(round(-math.log10(epsilon)), 0), 300)
        )
        self.values = address(self.placed.of(values))  # an operand's, it stays bound as long as solve() may come
        return self.library.steps(pardiso.FACTORIZE, self.values)

    def solve(self, b: np.ndarray, x: np.ndarray, columns: int) -> list[Step]:
        return self.library.steps(pardiso.SOLVE, self.values, address(b), address(x), columns)

    def check(self, phase: str) -> None:
        if error := self.library.error:
            self._raise(error)
        if phase == "factorization":
            self.perturbed = int(self.library.parameters[pardiso.PERTURBED])

    def _raise(self, error: int) -> None:
        parameters = self.library.parameters
        if error in pardiso.OUT_OF_MEMORY:
            needed = int(parameters[pardiso.PERMANENT_ANALYSIS] + parameters[pardiso.FACTORS]) * pardiso.KILOBYTE
            raise MemoryError(f"{self.name}: PARDISO has not enough memory; the factors need {needed} bytes")
        if error in (pardiso.ZERO_PIVOT, pardiso.SINGULAR_DIAGONAL):
            pivot = int(parameters[pardiso.BAD_PIVOT]) - 1
            row = pivot if pivot >= 0 else None
            where = f"the pivot of row {row}" if row is not None else "a pivot"
            if self.kind in (MatrixType.SPD, MatrixType.HPD):
                raise singular(
                    self.name,
                    row,
                    f"{where} is not positive; options.sparse_system_type is "
                    f"{self.kind.name}: use SYMMETRIC or HERMITIAN for a matrix that is not positive definite",
                )
            raise singular(self.name, row, f"{where} is zero")
        failure = LibraryError("pardiso", error)
        failure.add_note(f"{self.name}: {pardiso.ERRORS.get(error, 'unknown')}")
        raise failure

    def fact(self, phase: str, name: str) -> Any:
        parameters = self.library.parameters
        if name in ("row_permutation", "col_permutation"):
            return self.library.order.copy()
        if name == "memory_estimates":
            estimates = np.zeros((), memory_estimates_dtype)
            permanent = int(parameters[pardiso.PERMANENT_ANALYSIS])
            estimates["permanent_host_memory"] = (permanent + int(parameters[pardiso.FACTORS])) * pardiso.KILOBYTE
            estimates["peak_host_memory"] = pardiso.KILOBYTE * max(
                int(parameters[pardiso.PEAK_ANALYSIS]), permanent + int(parameters[pardiso.FACTORS])
            )
            return estimates
        if name == "lu_nnz":
            return int(parameters[pardiso.NONZEROS])
        if name == "npivots":
            return self.perturbed
        if name == "info":
            return 1 + self.smallest_pivot() if self.perturbed else 0
        if (
            name == "inertia"
            and self.kind != MatrixType.GENERAL
            and not (self.kind == MatrixType.SYMMETRIC and self.dtype.startswith("complex"))
        ):
            if self.kind in (MatrixType.SPD, MatrixType.HPD):
                return np.array([self.pattern.n, 0], self.library.order.dtype)
            return np.array([parameters[pardiso.POSITIVE], parameters[pardiso.NEGATIVE]], self.library.order.dtype)
        if name == "diag":
            return self._pivots()[0]
        raise unknown("pardiso", f"the {phase}'s {name}")

    def smallest_pivot(self) -> int:
        """The number of the unknown whose pivot is the smallest."""
        pivots, order = self._pivots()
        return int(order[np.argmin(np.abs(pivots))])

    def _pivots(self) -> tuple[np.ndarray, np.ndarray]:
        """The factors' diagonal and the order of the unknowns, by another factorization.

        The one to solve with does not keep the diagonal, which costs some per cent of its time.
        """
        exponent = int(self.library.parameters[pardiso.PIVOT_EXPONENT])
        other = self._made({
            **self.parameters, pardiso.DIAGONAL: 1, pardiso.PIVOT_EXPONENT: exponent
        })  # fmt: skip
        for phase in (pardiso.ANALYSE, pardiso.FACTORIZE):
            kernels.run(other.steps(phase, self.values))
            if other.error:
                raise unknown("pardiso", f"the diagonal of the factors of {self.name}")
        pivots = other.diagonal(self.dtype)[0]
        other.release()
        return pivots, other.order
