"""The libraries that solve sparse systems."""

from __future__ import annotations

from collections.abc import Sequence

from planmath.core.provider import Algorithm, Provider
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.banded import MOST_BANDS, BandedProvider
from planmath.sparse.advanced.providers.cudss import CudssProvider
from planmath.sparse.advanced.providers.pardiso import PardisoProvider
from planmath.sparse.advanced.providers.superlu import SuperLUProvider

#: In the order of preference.
PROVIDERS: Sequence[Provider] = (PardisoProvider(), BandedProvider(), SuperLUProvider(), CudssProvider())


def expected_order(problem: DirectSolverProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
    """The algorithms by expected speed, where nothing was measured; equals keep the order of the providers."""
    first = "banded" if max(sum(pattern.bandwidths) for pattern in problem.patterns) <= MOST_BANDS else "pardiso"
    return sorted(algorithms, key=lambda algorithm: algorithm.provider != first)
