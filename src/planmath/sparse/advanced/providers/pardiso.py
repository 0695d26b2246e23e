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
from planmath.native.forks import load_module
from planmath.native.threads import Threads
from planmath.sparse.advanced import kernels
from planmath.sparse.advanced.enums import DEFINITE
from planmath.sparse.advanced.enums import DirectSolverMatchingAlg as Matching
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.enums import DirectSolverMatrixViewType as MatrixViewType
from planmath.sparse.advanced.enums import DirectSolverReorderingAlg as Reordering
from planmath.sparse.advanced.kernels import HERMITIAN, POSITIVE_DIAGONAL, SYMMETRIC, address
from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    DirectSolverPlanPreferences,
    as_estimates,
    memory_estimates_dtype,
)
from planmath.sparse.advanced.pattern import Arrangement, Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.system import Place, Placed, not_definite, singular, unknown
from planmath.sparse.advanced.providers.systems import PreparedSystems, prepare_systems

#: PARDISO's number for each type that it factorizes a matrix as: real, complex. Its type for Hermitian matrices that
#: are not positive definite is not among them: with it, MKL 2026.2 writes beyond its memory or, without 2x2 pivots,
#: loses all digits of well-conditioned systems.
NUMBER = {
    MatrixType.GENERAL: pardiso.GENERAL, MatrixType.SYMMETRIC: pardiso.SYMMETRIC,
    MatrixType.SPD: pardiso.POSITIVE_DEFINITE, MatrixType.HPD: pardiso.POSITIVE_DEFINITE,
}  # fmt: skip

#: What matrices of a type, real or complex, are factorized as: the types that their values may allow, the least work
#: first, with what `Pattern.symmetries` has to find for each.
CANDIDATES: dict[tuple[MatrixType, bool], dict[MatrixType, int]] = {
    (MatrixType.GENERAL, False): {
        MatrixType.SPD: SYMMETRIC | POSITIVE_DIAGONAL, MatrixType.SYMMETRIC: SYMMETRIC, MatrixType.GENERAL: 0,
    },
    (MatrixType.GENERAL, True): {
        MatrixType.HPD: HERMITIAN | POSITIVE_DIAGONAL, MatrixType.SYMMETRIC: SYMMETRIC, MatrixType.GENERAL: 0,
    },
    (MatrixType.SYMMETRIC, False): {
        MatrixType.SPD: POSITIVE_DIAGONAL, MatrixType.SYMMETRIC: 0, MatrixType.GENERAL: 0,
    },
    (MatrixType.SYMMETRIC, True): {MatrixType.SYMMETRIC: 0, MatrixType.GENERAL: 0},
    (MatrixType.HERMITIAN, True): {MatrixType.HPD: POSITIVE_DIAGONAL, MatrixType.GENERAL: 0},
    (MatrixType.SPD, False): {MatrixType.SPD: 0},
    (MatrixType.HPD, True): {MatrixType.HPD: 0},
}  # fmt: skip

#: The ways to order the unknowns that it has, by the user's names.
ORDERINGS: dict[int, list[str]] = {
    Reordering.AMD: ["minimum degree"], Reordering.NESTED_DISSECTION: ["nested dissection"], Reordering.NONE: ["none"],
}  # fmt: skip
MATCHINGS: dict[int, int] = {Matching.NONE: 0, Matching.AUTO: 1, Matching.MAX_DIAG_PRODUCT: 1}

#: The ordering that is chosen when the values are known, by what kind of matrix they make.
AUTOMATIC = "automatic"
#: Unknowns below which minimum degree finds as good an order as nested dissection, and finds it sooner; and below which
#: a second thread does not pay.
SMALL = 10_000
#: The first of these for one thread, which shares nested dissection with no other, and planar matrices.
SMALL_FOR_ONE_THREAD = 100_000
#: Entries a row below which a matrix counts as planar.
FEW_ENTRIES = 6
#: Threads up to which a planar definite matrix of any size is ordered by minimum degree: that takes a fifth of the time
#: and fills the factors no more, but gives the threads less to do side by side.
FEW_THREADS = 4

# The "improved two-level" factorization (iparm[23] = 10) is faster for general matrices and is not used: in MKL 2026.2
# it does not count the pivots that it replaces, and its factors are wrong with several threads and minimum degree, or
# with symmetric matrices and matching. 2x2 pivots (iparm[20] = 1) are not used either: with matching, which finds them
# beforehand, symmetric systems are solved less accurately with them, and more slowly.

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

    def threads(self) -> Threads:
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
        counts = [1, problem.threads]
        if problem.largest.n >= SMALL and len(problem.patterns) < problem.threads:
            counts.reverse()
        default = [AUTOMATIC, "nested dissection", "minimum degree"]
        orderings = ORDERINGS.get(problem.preferences.reordering_algorithm or Reordering.DEFAULT, default)
        return [
            Algorithm(self.name, (("ordering", ordering), ("threads", threads)))
            for ordering in orderings
            for threads in dict.fromkeys(counts if ordering == orderings[0] else counts[:1])
        ]

    def lingers(self, algorithm: Algorithm) -> float:
        return mkl.BLOCK_TIME if algorithm.get("threads") > 1 else 0.0

    def prepare(self, problem: DirectSolverProblem, algorithm: Algorithm) -> PreparedSystems:
        return prepare_systems(
            problem, algorithm, lambda pattern, name: PardisoFactorization(problem, algorithm, pattern, name)
        )


class PardisoFactorization:
    """PARDISO's factorization of one matrix.

    A matrix is factorized as the first of its candidate types that its values allow, which is found out for each
    analysis and held against the values of each factorization. Where a matrix turns out not to be positive definite, or
    pivots have to be replaced, it is analysed anew as the next one, and from then on.
    """

    looks_at_values = True

    def __init__(self, problem: DirectSolverProblem, algorithm: Algorithm, pattern: Pattern, name: str):
        self.name, self.kind, self.pattern = name, problem.kind, pattern
        self.problem, self.algorithm = problem, algorithm
        self.dtype, self.perturbed, self.is_complex = problem.dtype, 0, problem.is_complex
        self.matching = problem.preferences.matching_algorithm
        self.ordering, self.threads = algorithm.get("ordering"), algorithm.get("threads")
        #: with what its values have to be
        self.candidates = CANDIDATES[self.kind, self.is_complex]
        if self.matching is not None or self.ordering == "none":
            self._take_as_declared()
        self.used: MatrixType | None = None
        self.library: Any = None
        self.values: np.ndarray | None = None

    @property
    def special(self) -> bool:
        return len(self.candidates) > 1

    def generalize(self) -> None:
        self.candidates = {list(self.candidates)[-1]: 0}

    def _take_as_declared(self) -> None:
        self.candidates = {self.kind if self.kind in NUMBER else MatrixType.GENERAL: 0}

    def _narrow(self, values: np.ndarray) -> None:
        """Leave out the candidates that these values are not."""
        if self.special:
            are = self.pattern.symmetries(values, pairs=self.kind == MatrixType.GENERAL)
            self.candidates = {kind: needs for kind, needs in self.candidates.items() if are & needs == needs}

    @property
    def _best(self) -> MatrixType:
        return next(iter(self.candidates))

    def _make(self, kind: MatrixType) -> None:
        """Get ready to analyse it as a matrix of this type."""
        if kind == self.used:
            return
        arrangement = self.pattern.full if kind == MatrixType.GENERAL else self.pattern.upper
        self.placed = Placed(arrangement.source, self.dtype)
        single = self.dtype in ("float32", "complex64")
        ordering = self._expected_ordering(kind, arrangement) if self.ordering == AUTOMATIC else self.ordering
        wanted = Matching.AUTO if self.matching is None else self.matching
        matching = MATCHINGS[wanted] if ordering != "none" and kind not in DEFINITE else 0
        nested = pardiso.NESTED_DISSECTION if self.threads == 1 else pardiso.PARALLEL_NESTED_DISSECTION
        self.default_exponent = PIVOT_EXPONENT[kind == MatrixType.GENERAL]
        if single:
            self.default_exponent = min(self.default_exponent, 6)
        self.arrangement, self.number = arrangement, NUMBER[kind][self.is_complex]
        self.order = np.arange(self.pattern.n) if ordering == "none" else None
        self.parameters = {
            pardiso.ORDERING: pardiso.MINIMUM_DEGREE if ordering == "minimum degree" else nested,
            pardiso.PIVOT_EXPONENT: self.default_exponent,
            pardiso.SCALING: matching,
            pardiso.MATCHING: matching,
            pardiso.SINGLE: int(single),
        }
        if self.library is not None:
            self.library.release()
        self.library, self.used = self._made(self.parameters, self.pattern.starts.dtype), kind

    def _expected_ordering(self, kind: MatrixType, arrangement: Arrangement) -> str:
        n, entries = self.pattern.n, len(arrangement.columns)
        if kind != MatrixType.GENERAL:
            entries = 2 * entries - n
        planar = entries < FEW_ENTRIES * n
        if kind in DEFINITE:
            sequential = planar and self.threads <= FEW_THREADS
        else:
            sequential = planar and self.threads == 1 and n < SMALL_FOR_ONE_THREAD
        return "minimum degree" if n < SMALL or sequential else "nested dissection"

    def _made(self, parameters: dict[int, int], indices: np.dtype[Any]) -> pardiso.Factorization:
        starts, columns = (array.astype(indices, copy=False) for array in self.arrangement[:2])
        return pardiso.Factorization(self.number, starts, columns, parameters, self.threads, self.order)

    def analyse(self, values: np.ndarray) -> list[Step]:
        self._narrow(values)
        self._make(self._best)
        return self._steps(pardiso.ANALYSE, values)

    def factorize(self, values: np.ndarray, preferences: DirectSolverFactorizationPreferences) -> list[Step]:
        if epsilon := preferences.pivot_eps:
            self._take_as_declared()
        self._narrow(values)
        if self._best != self.used:
            self._analyse_anew(values)
        self.library.parameters[pardiso.PIVOT_EXPONENT] = (
            self.default_exponent if not epsilon else min(max(round(-math.log10(epsilon)), 0), 300)
        )
        return self._steps(pardiso.FACTORIZE, values)

    def factorize_again(self, values: Place) -> list[Step]:
        source, placing = self.placed.placing(values)
        needed = self.candidates[self._best]
        pairs = self.kind == MatrixType.GENERAL
        checks = [self.pattern.lacking(self.dtype, pairs, values, needed)] if self.special and needed else []
        return [*checks, *placing, *self.library.steps(pardiso.FACTORIZE, source)]

    def solve_again(self, values: Place, b: Place, x: Place, columns: int) -> list[Step]:
        return self.library.steps(pardiso.SOLVE, self.placed.placing(values)[0], b, x, columns)

    def went_well(self, values: int) -> bool:
        self.address, self.perturbed = self.placed.placing(values)[0], 0
        return not self.library.error and not self.library.parameters[pardiso.PERTURBED]

    def _steps(self, phase: int, values: np.ndarray) -> list[Step]:
        self.values, self.given = values, address(values)
        self.address, placing = self.placed.placing(self.given)  # where it is the user's, that stays bound for solve()
        return [*placing, *self.library.steps(phase, self.address)]

    def _analyse_anew(self, values: np.ndarray) -> None:
        self._make(self._best)
        try:
            kernels.run(self._steps(pardiso.ANALYSE, values))
            self.check("plan")
        except BaseException:
            self.used = None
            raise

    def solve(self, b: np.ndarray, x: np.ndarray, columns: int) -> list[Step]:
        return self.library.steps(pardiso.SOLVE, self.address, address(b), address(x), columns)

    def check(self, phase: str) -> None:
        values, self.values = self.values, None
        error = self.library.error
        perturbed = int(self.library.parameters[pardiso.PERTURBED]) if phase == "factorization" else 0
        if phase != "solution" and self.special and (error in pardiso.BAD_PIVOTS or perturbed):
            assert values is not None
            self.candidates = dict(list(self.candidates.items())[1:])
            self._analyse_anew(values)
            if phase == "factorization":
                kernels.run(self._steps(pardiso.FACTORIZE, values))
                self.check(phase)
            return
        if error:
            self._raise(error)
        if phase == "factorization":
            self.perturbed = perturbed

    def _raise(self, error: int) -> None:
        parameters = self.library.parameters
        if error in pardiso.OUT_OF_MEMORY:
            needed = int(parameters[pardiso.PERMANENT_ANALYSIS] + parameters[pardiso.FACTORS]) * pardiso.KILOBYTE
            raise MemoryError(f"{self.name}: PARDISO has not enough memory; the factors need {needed} bytes")
        if error in pardiso.BAD_PIVOTS:
            pivot = int(parameters[pardiso.BAD_PIVOT]) - 1
            row = pivot if pivot >= 0 else None
            where = f"the pivot of row {row}" if row is not None else "a pivot"
            if self.kind in DEFINITE:
                raise not_definite(self.name, self.kind, row)
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
            return as_estimates(estimates)
        if name == "lu_nnz":
            nonzeros = int(parameters[pardiso.NONZEROS])
            mirrored = self.kind == MatrixType.GENERAL != self.used  # the other factor is the first one's transpose
            return 2 * nonzeros - self.pattern.n if mirrored else nonzeros
        if name == "npivots":
            return self.perturbed
        if name == "info":
            return 1 + self.smallest_pivot() if self.perturbed else 0
        if name == "inertia" and self.kind != MatrixType.GENERAL and not self._complex_symmetric:
            return np.array(self._inertia(), self.library.order.dtype)
        if name == "diag":
            return self._pivots()[0]
        raise unknown("pardiso", f"the {phase}'s {name}")

    @property
    def _complex_symmetric(self) -> bool:
        return self.kind == MatrixType.SYMMETRIC and self.is_complex

    def _inertia(self) -> tuple[int, int]:
        """The numbers of positive and negative eigenvalues, by another factorization where this one does not tell.

        A Hermitian matrix becomes a real symmetric one of twice the size, [Re, -Im; Im, Re], which has each of its
        eigenvalues twice.
        """
        parameters = self.library.parameters
        if self.used in DEFINITE:
            return self.pattern.n, 0
        if self.used == MatrixType.SYMMETRIC:
            return int(parameters[pardiso.POSITIVE]), int(parameters[pardiso.NEGATIVE])
        sparse = load_module("scipy.sparse")
        upper, n = self.pattern.upper, self.pattern.n
        source = np.arange(1, len(upper.columns) + 1) if upper.source is None else upper.source
        placed = Placed(source, self.dtype)
        kernels.run(placed.steps(self.given))
        triangle = sparse.csr_array((placed.values, upper.columns, upper.starts), shape=(n, n))
        if self.is_complex:
            whole = triangle + sparse.triu(triangle, 1).conj().T
            embedded = sparse.block_array([[whole.real, -whole.imag], [whole.imag, whole.real]])
            triangle = sparse.triu(embedded, format="csr")
            triangle.sort_indices()
        kind, view = MatrixType.SYMMETRIC, MatrixViewType.UPPER
        preferences = DirectSolverPlanPreferences(matching_algorithm=Matching.AUTO)
        problem = self.problem._replace(kind=kind, dtype=str(triangle.dtype), preferences=preferences)
        pattern = Pattern(triangle.indptr, triangle.indices, kind, view, self.name, "numpy")
        other = PardisoFactorization(problem, self.algorithm, pattern, self.name)
        kernels.run(other.analyse(triangle.data))
        other.check("plan")
        kernels.run(other.factorize(triangle.data, DirectSolverFactorizationPreferences()))
        other.check("factorization")
        positive, negative = other._inertia()
        return (positive // 2, negative // 2) if self.is_complex else (positive, negative)

    def smallest_pivot(self) -> int:
        """The number of the unknown whose pivot is the smallest."""
        pivots, order = self._pivots()
        return int(order[np.argmin(np.abs(pivots))])

    def _pivots(self) -> tuple[np.ndarray, np.ndarray]:
        """The factors' diagonal and the order of the unknowns, by another factorization.

        The one to solve with does not keep the diagonal, which costs some per cent of its time. The library gives it
        out through the interface with indices of 32 bits only, and would crash with others.
        """
        lacking = unknown("pardiso", f"the diagonal of the factors of {self.name}")
        if len(self.arrangement.columns) >= 2**31:
            raise lacking
        exponent = int(self.library.parameters[pardiso.PIVOT_EXPONENT])
        parameters = {**self.parameters, pardiso.DIAGONAL: 1, pardiso.PIVOT_EXPONENT: exponent}
        other = self._made(parameters, np.dtype(np.int32))
        try:
            for phase in (pardiso.ANALYSE, pardiso.FACTORIZE):
                kernels.run(other.steps(phase, self.address))
                if other.error:
                    raise lacking
            return other.diagonal(self.dtype)[0], other.order
        finally:
            other.release()
