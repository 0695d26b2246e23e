"""planmath's own kernels: small systems in the lanes of vectors, and LU of matrices that fit into the caches."""

from __future__ import annotations

from collections.abc import Sequence

import planmath.linalg.solver.kernels as kernels
from planmath.bindings import lapack
from planmath.core.provider import Algorithm, OwnProvider
from planmath.linalg.solver.problem import DenseProblem, PreparedSolver
from planmath.linalg.solver.providers.assembly import Assembly
from planmath.linalg.solver.providers.lanes import not_in_lanes, prepare_lanes, threads_for
from planmath.linalg.solver.providers.lapack_interface import LU, prepare, routines
from planmath.native.team import LINGER
from planmath.native.threads import Threads, openmp_threads

#: Rows of a matrix, at most, that planmath's LU takes: 0.5 MB in double precision.
MOST_ROWS = 256


class PlanmathProvider(OwnProvider):
    name, kernels = "own", kernels

    def threads(self) -> Threads:
        return openmp_threads()

    def lingers(self, algorithm: Algorithm) -> float:
        return LINGER if algorithm.get("threads", 1) > 1 else 0.0

    def unsupported(self, problem: DenseProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.precision == "mixed":
            return "its factors have the dtype of the matrices"
        reason = not_in_lanes(problem)
        if reason is None or problem.form.kind != "ge":
            return reason
        rows = max(system.a.rows for system in problem.systems)
        return None if rows <= MOST_ROWS else f"it factorizes matrices of up to {MOST_ROWS} rows; these have {rows}"

    def algorithms(self, problem: DenseProblem) -> Sequence[Algorithm]:
        threads = threads_for(problem) if not_in_lanes(problem) is None else [1]
        return [Algorithm(self.name, (("threads", n),)) for n in threads]

    def prepare(self, problem: DenseProblem, algorithm: Algorithm) -> PreparedSolver:
        if not_in_lanes(problem) is None:
            return prepare_lanes(problem, algorithm.get("threads"))
        found = {**routines(lapack.SCIPY), "ge": CachedLU(lapack.SCIPY)}
        return prepare(problem, problem.form, found, ([], []))


class CachedLU(LU):
    """General matrices that fit into the caches: planmath's own factorization, with the factors of getrf."""

    def factorize(self, part: Assembly) -> None:
        arguments = [part.rows, part.f, part.leading, part.place("pivots"), part.place("status")]
        part.call(kernels.LU[part.dtype], "lu", arguments, part.system.matrices)
