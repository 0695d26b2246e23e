"""cuDSS: sparse systems on CUDA devices, and on a device and the CPU together."""

from __future__ import annotations

from collections.abc import Sequence

from planmath.bindings import cudss
from planmath.core.cuda import devices
from planmath.core.provider import Algorithm, Provider
from planmath.sparse.advanced.enums import DirectSolverMatchingAlg as Matching
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.enums import DirectSolverReorderingAlg as Reordering
from planmath.sparse.advanced.execution import ExecutionHybrid
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.cudss_hybrid import HybridSystems
from planmath.sparse.advanced.providers.cudss_phases import GLOBAL_PIVOTING
from planmath.sparse.advanced.providers.cudss_systems import AT_ONCE, ONE_BY_ONE, CudssSystems
from planmath.sparse.advanced.providers.systems import PreparedSystems

#: The orderings that are tried, the one expected to be best first.
ORDERINGS = (Reordering.DEFAULT, Reordering.AMD, Reordering.COLAMD)


class CudssProvider(Provider):
    name = "cudss"

    def unavailable(self) -> str | None:
        return cudss.LIBRARY.missing or devices.missing()

    def version(self) -> str:
        return cudss._api.loaded_version

    def path(self) -> str | None:
        return cudss.LIBRARY.path

    def unsupported(self, problem: DirectSolverProblem) -> str | None:
        if problem.execution[0] == "cpu":
            return "it computes on CUDA devices, alone or with the CPU"
        return None

    def algorithms(self, problem: DirectSolverProblem) -> Sequence[Algorithm]:
        wanted = problem.preferences
        orderings = ORDERINGS if wanted.reordering_algorithm is None else (Reordering(wanted.reordering_algorithm),)
        general = problem.kind == MatrixType.GENERAL
        if wanted.matching_algorithm is not None:
            matchings = [Matching(wanted.matching_algorithm)]
        else:  # large entries on the diagonal are worth more to a matrix of which nothing is known, and cost little
            matchings = [Matching.NONE, Matching.AUTO]
            if general and not uses_hybrid_memory(problem):
                matchings.reverse()
        ways = [ONE_BY_ONE]
        if (
            len(problem.patterns) > 1 and not stays_on_host(problem) and Matching.NONE in matchings
        ):  # cuDSS has no matching for batches
            whole = all(pattern.has_diagonal for pattern in problem.patterns)
            ways.insert(0 if whole or not general else 1, AT_ONCE)
        found = []
        for way in ways:
            for ordering in orderings:
                if way == AT_ONCE and not batch_is_supported(problem, ordering):
                    continue
                # pivots from whole columns do as well as large entries on the diagonal
                alone = way == AT_ONCE or (ordering in GLOBAL_PIVOTING and wanted.matching_algorithm is None)
                for matching in [Matching.NONE] if alone else matchings:
                    knobs = {"ordering": ordering.name, "matching": matching.name}
                    found.append(Algorithm(self.name, (*knobs.items(), *([("batch", way)] if problem.batched else []))))
        return found

    def prepare(self, problem: DirectSolverProblem, algorithm: Algorithm) -> PreparedSystems:
        systems = HybridSystems if stays_on_host(problem) else CudssSystems
        return PreparedSystems({}, solver=systems(problem, algorithm))


def batch_is_supported(problem: DirectSolverProblem, ordering: int) -> bool:
    """Whether cuDSS works on all systems at once: it takes those with one pattern another way than others."""
    alike = len({(id(pattern), k) for pattern, k in zip(problem.patterns, problem.columns, strict=True)}) == 1
    if isinstance(problem.space, ExecutionHybrid) and max(problem.columns) > 1:
        return False
    if alike:
        return ordering not in GLOBAL_PIVOTING and not uses_hybrid_memory(problem)
    return problem.index_dtype == "int32"


def uses_hybrid_memory(problem: DirectSolverProblem) -> bool:
    """Whether the factors may live in host memory as well."""
    options = getattr(problem.space, "hybrid_memory_mode_options", None)
    return options is not None and options.hybrid_memory_mode


def stays_on_host(problem: DirectSolverProblem) -> bool:
    """Whether the operands are used where they are, in host memory: its hybrid execution can do that."""
    return problem.on_host and problem.execution[0] == "hybrid"
