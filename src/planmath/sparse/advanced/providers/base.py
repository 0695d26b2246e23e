"""What a provider of the sparse solver prepares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from planmath.core.provider import Algorithm, Prepared
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.systems import Factorization, Measures, System, Systems


@dataclass(frozen=True, slots=True)
class PreparedSystems(Prepared):
    """Systems made ready: what analyses, factorizes and solves them all.

    Parameters
    ----------
    solver : object
        With the methods of `Systems`.
    """

    solver: Any = None


def prepare_systems(
    problem: DirectSolverProblem, algorithm: Algorithm, factorization: Callable[[Pattern, str], Factorization]
) -> PreparedSystems:
    """The systems of a problem on the CPU, each with a factorization made from its pattern and its name."""
    distinct = {id(pattern): pattern for pattern in problem.patterns}
    measures = {key: Measures(pattern, problem.dtype) for key, pattern in distinct.items()}
    systems = []
    for position, pattern in enumerate(problem.patterns):
        name = f"a[{position}]" if problem.batched else "a"
        made = factorization(pattern, name)
        systems.append(System(pattern, problem.dtype, measures[id(pattern)], made, name, problem.preferences.max_nnz))
    threads = algorithm.get("threads", 1)
    return PreparedSystems({}, solver=Systems(systems, max(1, problem.threads // threads)))
