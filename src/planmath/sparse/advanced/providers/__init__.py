"""The libraries that solve sparse systems."""

from __future__ import annotations

from collections.abc import Sequence

from planmath.core.provider import Algorithm, Provider
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.banded import MOST_BANDS, BandedProvider
from planmath.sparse.advanced.providers.blocks import BlocksProvider, is_expected, reason
from planmath.sparse.advanced.providers.cudss import CudssProvider
from planmath.sparse.advanced.providers.pardiso import PardisoProvider
from planmath.sparse.advanced.providers.superlu import SuperLUProvider

#: In the order of preference.
PROVIDERS: Sequence[Provider] = (
    PardisoProvider(), BlocksProvider(), BandedProvider(), SuperLUProvider(), CudssProvider(),
)  # fmt: skip


def expected_order(problem: DirectSolverProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
    """The algorithms by expected speed, where nothing was measured; equals keep the order of the providers."""
    blocks = any(algorithm.provider == "blocks" for algorithm in algorithms)
    first = expected_provider(problem, blocks)
    last = "blocks" if first == "pardiso" else None
    return sorted(algorithms, key=lambda algorithm: (algorithm.provider != first) + (algorithm.provider == last))


def expected_provider(problem: DirectSolverProblem, blocks: bool = True) -> str:
    """The provider that is expected to be the fastest, with or without blocks among them."""
    if is_banded(problem):
        return "banded"
    return "blocks" if blocks and is_expected(problem) else "pardiso"


def is_banded(problem: DirectSolverProblem) -> bool:
    """Whether all matrices are narrow bands."""
    return max(sum(pattern.bandwidths) for pattern in problem.patterns) <= MOST_BANDS


def reason_of(problem: DirectSolverProblem) -> str:
    """Why the heuristic expects which provider to be the fastest on the CPU, in words."""
    if is_banded(problem):
        return f"the matrix has at most {MOST_BANDS} diagonals beside the main one"
    return reason(problem)
