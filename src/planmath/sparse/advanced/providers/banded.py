"""LAPACK's factorization of banded matrices, for patterns whose entries all lie near the diagonal.

Nothing is ordered: rows are exchanged within the band for the largest pivot (``gbtrf``, ``gttrf``), which is as
accurate as a dense factorization, and for narrow bands needs no more work than a sparse one. Matrices that are said to
be positive definite get Cholesky's factorization (``pbtrf``), which finds out whether they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.bindings import lapack
from planmath.core.arrays import ITEMSIZE
from planmath.core.provider import Algorithm, Provider
from planmath.native.call import Call, Slot
from planmath.native.forks import load_module
from planmath.native.threads import Threads, openmp_threads
from planmath.sparse.advanced.enums import DEFINITE
from planmath.sparse.advanced.enums import DirectSolverMatchingAlg as Matching
from planmath.sparse.advanced.enums import DirectSolverReorderingAlg as Reordering
from planmath.sparse.advanced.kernels import address
from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    as_estimates,
    memory_estimates_dtype,
)
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.system import Placed, Step, not_definite, singular, unknown
from planmath.sparse.advanced.providers.systems import PreparedSystems, prepare_systems

#: Diagonals beside the main one up to which it is tried, and expected to be the fastest.
MOST_BANDS = 32


class BandedProvider(Provider):
    name = "banded"

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return str(load_module("scipy").__version__)

    def path(self) -> str | None:
        return load_module("scipy.linalg.cython_lapack").__file__

    def threads(self) -> Threads:
        return openmp_threads()

    def unsupported(self, problem: DirectSolverProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        widest = max(sum(pattern.bandwidths) for pattern in problem.patterns)
        if widest > MOST_BANDS:
            return f"the matrix has {widest} diagonals beside the main one, more than {MOST_BANDS}"
        wanted = problem.preferences
        if wanted.reordering_algorithm not in (None, Reordering.DEFAULT, Reordering.NONE):
            return f"it does not reorder ({Reordering(wanted.reordering_algorithm or 0).name} was asked for)"
        if wanted.matching_algorithm not in (None, Matching.NONE, Matching.AUTO):
            return f"it has no matching {Matching(wanted.matching_algorithm or 0).name}"
        if wanted.pivot_threshold is not None or wanted.pivot_type is not None:
            return "it takes the largest pivot of a column, whatever the threshold"
        return None

    def algorithms(self, problem: DirectSolverProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name, (("threads", 1),))]

    def prepare(self, problem: DirectSolverProblem, algorithm: Algorithm) -> PreparedSystems:
        bands: dict[int, Bands] = {}

        def factorization(pattern: Pattern, name: str) -> BandedFactorization:
            if id(pattern) not in bands:
                bands[id(pattern)] = Bands(pattern, problem.dtype)
            return BandedFactorization(bands[id(pattern)], name)

        return prepare_systems(problem, algorithm, factorization)


class Bands:
    """The pattern in LAPACK's storage, and the calls on it, for all systems that share it.

    Element (i, j) of a matrix with kl diagonals below the main one and ku above is number ``kl + ku + i - j`` of column
    j, whose length is ``2 kl + ku + 1``: above the matrix there is room for the fill of row exchanges (LAPACK Users'
    Guide, "Band Storage"). Of a tridiagonal matrix the three diagonals and the fill follow each other (``gttrf``). Of a
    definite matrix with kd diagonals above the main one element (i, j) of the upper triangle is number ``kd + i - j``.
    """

    def __init__(self, pattern: Pattern, dtype: str):
        self.pattern, self.dtype = pattern, dtype
        self.definite = pattern.kind in DEFINITE
        n, (kl, ku) = pattern.n, pattern.bandwidths
        entries = pattern.upper if self.definite else pattern.full
        self.source = np.arange(1, len(entries.columns) + 1) if entries.source is None else entries.source
        i = np.repeat(np.arange(n), np.diff(entries.starts))
        j = entries.columns.astype(np.int64)
        self.rows = ku + 1 if self.definite else 2 * kl + ku + 1
        self._integers = np.array([n, kl, ku, self.rows], np.int32)
        self._letter = np.frombuffer(b"U" if self.definite else b"N", np.uint8)
        order, lower, upper, leading = (address(self._integers) + 4 * k for k in range(4))
        letter = address(self._letter)
        if self.definite:
            routine = "pb"
            self.diagonal = slice(ku, None, self.rows)
            self.positions = ku + i - j + j * self.rows
            factorize = [letter, order, upper, Slot(0), leading, Slot(2)]
            solve = [letter, order, upper, Slot(2), Slot(0), leading, Slot(3), order, Slot(4)]
        elif max(kl, ku) <= 1:
            routine = "gt"
            self.rows, self.diagonal = 4, slice(n, 2 * n)
            self.positions = np.where(i == j, n + i, np.where(i > j, j, 2 * n + i))
            matrix: list[Any] = [Slot(0, k * n * ITEMSIZE[dtype]) for k in range(4)]
            factorize = [order, *matrix, Slot(1), Slot(2)]
            solve = [letter, order, Slot(2), *matrix, Slot(1), Slot(3), order, Slot(4)]
        else:
            routine = "gb"
            self.diagonal = slice(kl + ku, None, self.rows)
            self.positions = kl + ku + i - j + j * self.rows
            factorize = [order, order, lower, upper, Slot(0), leading, Slot(1), Slot(2)]
            solve = [letter, order, lower, upper, Slot(2), Slot(0), leading, Slot(1), Slot(3), order, Slot(4)]
        routine = lapack.LETTER[dtype] + routine
        keep = (self._integers, self._letter)
        #: on the factors, the pivots, and the status
        self.factorize = Call(lapack.address(f"{routine}trf"), factorize, name=f"{routine}trf", keep=keep)
        #: on the factors, the pivots, the number of columns, the columns, and the status
        self.solve = Call(lapack.address(f"{routine}trs"), solve, name=f"{routine}trs", keep=keep)


class BandedFactorization:
    """LAPACK's factorization of one banded matrix."""

    perturbed, looks_at_values, special = 0, False, False

    def __init__(self, bands: Bands, name: str):
        self.bands, self.name = bands, name
        n = bands.pattern.n
        self.placed = Placed(bands.source, bands.dtype, bands.positions, n * bands.rows)
        self.pivots = np.empty(n, np.int32)
        #: the status of a call, and the number of right-hand sides
        self.numbers = np.zeros(2, np.int32)
        self.factors = self.placed.values
        self.addresses = address(self.factors), address(self.pivots), address(self.numbers)

    def analyse(self, values: np.ndarray) -> list[Step]:
        """There is nothing to find out: the band is the structure."""
        return []

    def factorize(self, values: np.ndarray, preferences: DirectSolverFactorizationPreferences) -> list[Step]:
        factors, *pivots_and_status = self.addresses
        return [*self.placed.steps(address(values)), (self.bands.factorize, (factors, *pivots_and_status))]

    def solve(self, b: np.ndarray, x: np.ndarray, columns: int) -> list[Step]:
        self.numbers[1] = columns
        x[...] = b
        factors, pivots, status = self.addresses
        return [(self.bands.solve, (factors, pivots, status + self.numbers.itemsize, address(x), status))]

    def generalize(self) -> None:
        """It makes no use of what values happen to be."""

    def check(self, phase: str) -> None:
        if phase == "factorization" and (pivot := int(self.numbers[0])):
            if self.bands.definite:
                raise not_definite(self.name, self.bands.pattern.kind, pivot - 1)
            raise singular(self.name, pivot - 1, f"the pivot of row {pivot - 1} is exactly zero")

    def fact(self, phase: str, name: str) -> Any:
        n, dtype = self.bands.pattern.n, self.bands.pattern.starts.dtype
        if name in ("row_permutation", "col_permutation") and phase == "plan":
            return np.arange(n, dtype=dtype)
        if name == "memory_estimates" and phase == "plan":
            estimates = np.zeros((), memory_estimates_dtype)
            estimates["permanent_host_memory"] = self.factors.nbytes + self.pivots.nbytes
            estimates["peak_host_memory"] = estimates["permanent_host_memory"]  # it is all there already
            return as_estimates(estimates)
        if phase == "factorization":
            if name in ("npivots", "info"):
                return 0
            if name == "lu_nnz":
                return n * self.bands.rows
            if name == "diag":
                pivots = self.factors[self.bands.diagonal].copy()
                return pivots * pivots if self.bands.definite else pivots
        raise unknown("banded", f"the {phase}'s {name}")
