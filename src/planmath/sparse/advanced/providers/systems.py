"""What the CPU's providers share: systems one after the other or in parallel, and making them ready."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from planmath.core.cuda.queue import Queue
from planmath.core.provider import Algorithm, Prepared
from planmath.sparse.advanced import kernels
from planmath.sparse.advanced.information import DirectSolverSolutionInfo
from planmath.sparse.advanced.kernels import address
from planmath.sparse.advanced.options import DirectSolverFactorizationPreferences, DirectSolverSolutionPreferences
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem, ExecutorOf
from planmath.sparse.advanced.providers.direct import DirectSystem, Repeatable
from planmath.sparse.advanced.providers.system import Factorization, Measures, Step, System

#: How many systems of a batch a thread begins before it makes their calls: enough that threads seldom wait for each
#: other with Python's lock, and few enough for the caches.
BLOCK = 16

#: What begins a piece of work on a system (its number and itself), and what ends it.
Stage = tuple[Callable[[int, System], list[Step]], Callable[[int, System], Any]]


class Systems:
    """The systems of a problem, solved one after the other or in parallel.

    Parameters
    ----------
    systems : sequence of System
    threads : int
        How many systems are worked on at a time.
    """

    def __init__(self, systems: Sequence[System], threads: int):
        self.systems = tuple(systems)
        self.threads = min(threads, len(self.systems))
        self.direct: DirectSystem | None = None

    def attach(self, queue: Queue | None, on_host: bool, executor_of: ExecutorOf | None) -> None:
        """Get ready for operands on the host, of which an executor may be made."""
        (system,) = self.systems
        if executor_of is not None and isinstance(system.factorization, Repeatable):
            self.direct = DirectSystem(system, system.factorization, executor_of)

    def analyse(self, values: Sequence[np.ndarray]) -> None:
        """Order the unknowns and find out the structure of the factors."""
        measure = [self._measure(values)] if self.systems[0].factorization.looks_at_values else []
        analyse: Stage = (
            lambda i, system: system.factorization.analyse(values[i]),
            lambda i, system: system.check_analysis(),
        )
        self._each(*measure, analyse)

    def factorize(self, values: Sequence[np.ndarray], preferences: DirectSolverFactorizationPreferences) -> None:
        """Factorize the matrices with these values."""
        factorize: Stage = (
            lambda i, system: system.factorization.factorize(values[i], preferences),
            lambda i, system: system.check_factorization(),
        )
        if self.direct is None:
            self._each(self._measure(values), factorize)
            return
        self.direct.forget()
        self._each(self._measure(values), factorize)
        self.direct.factorized(preferences)

    def factorize_directly(
        self, values: np.ndarray, starts: np.ndarray, columns: np.ndarray,
        preferences: DirectSolverFactorizationPreferences,
    ) -> bool:  # fmt: skip
        """Factorize the only system as the last time, in these index arrays; False where `factorize` has more to do."""
        return self.direct is not None and self.direct.factorize(values, starts, columns, preferences)

    def _measure(self, values: Sequence[np.ndarray]) -> Stage:
        return lambda i, system: system.measure(address(values[i])), lambda i, system: system.check_values()

    def solve(
        self, values: Sequence[np.ndarray], b: Sequence[np.ndarray], x: Sequence[np.ndarray], exact: bool,
        preferences: DirectSolverSolutionPreferences, factorization_preferences: DirectSolverFactorizationPreferences,
    ) -> tuple[DirectSolverSolutionInfo, ...]:  # fmt: skip
        """Solve for x; arrays of any strides."""
        try:
            infos = self._solve(values, b, x, exact, preferences, factorization_preferences)
        except BaseException:
            if self.direct is not None:
                self.direct.forget()
            raise
        if self.direct is not None:
            self.direct.solved(infos[0], b[0], x[0])
        return infos

    def _solve(
        self, values: Sequence[np.ndarray], b: Sequence[np.ndarray], x: Sequence[np.ndarray], exact: bool,
        preferences: DirectSolverSolutionPreferences, factorization_preferences: DirectSolverFactorizationPreferences,
    ) -> tuple[DirectSolverSolutionInfo, ...]:  # fmt: skip
        if len(self.systems) == 1 and b[0].flags.f_contiguous and x[0].flags.f_contiguous:
            (system,) = self.systems
            kernels.run(system.solve(b[0], x[0]))
            wanted = exact, preferences, factorization_preferences
            return (system.check_solution(values[0], b[0], x[0], *wanted),)
        given = [array if array.flags.f_contiguous else np.asfortranarray(array) for array in b]
        found = [array if array.flags.f_contiguous else np.empty_like(array, order="F") for array in x]

        def check(i: int, system: System) -> DirectSolverSolutionInfo:
            info = system.check_solution(
                values[i], given[i], found[i], exact, preferences, factorization_preferences
            )  # fmt: skip
            if found[i] is not x[i]:
                np.copyto(x[i], found[i])
            return info

        return tuple(self._each((lambda i, system: system.solve(given[i], found[i]), check)))

    def solve_directly(
        self, out: Any, preferences: DirectSolverSolutionPreferences
    ) -> tuple[Any, tuple[DirectSolverSolutionInfo, ...]] | None:
        """The solution of the only system for what is bound, and how good it is; None where `solve` has more to do."""
        return None if self.direct is None else self.direct.solve(out, preferences)

    def release_results(self) -> None:
        """Give the memory of large solutions back that were dropped."""
        if self.direct is not None:
            self.direct.release_results()

    def facts(self, phase: str, name: str) -> tuple[Any, ...]:
        """A fact of every system."""
        return tuple(system.factorization.fact(phase, name) for system in self.systems)

    def _each(self, *stages: Stage) -> list[Any]:
        """Do something with every system, in blocks and stages: begin, make the calls that this gave, end.

        Returns what the last stage ended with, one for each system.
        """

        def do(share: range) -> list[Any]:
            results: list[Any] = []
            for start in range(0, len(share), BLOCK):
                block = [(i, self.systems[i]) for i in share[start : start + BLOCK]]
                ended: list[Any] = []
                for begin, end in stages:
                    steps: list[Step] = []
                    for numbered in block:
                        steps += begin(*numbered)
                    kernels.run(steps)
                    ended = [end(*numbered) for numbered in block]
                results += ended
            return results

        if len(self.systems) == 1:
            for begin, end in stages:
                kernels.run(begin(0, self.systems[0]))
                result = end(0, self.systems[0])
            return [result]
        n, threads = len(self.systems), self.threads
        if threads == 1:
            return do(range(n))
        shares = [range(n * k // threads, n * (k + 1) // threads) for k in range(threads)]
        return [result for part in _pool(threads).map(do, shares) for result in part]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="planmath")


if hasattr(os, "register_at_fork"):  # a child has the pool, but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


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
    threads = algorithm.get("threads", 1)
    return PreparedSystems({}, solver=Systems(systems_of(problem, factorization), max(1, problem.threads // threads)))


def systems_of(problem: DirectSolverProblem, factorization: Callable[[Pattern, str], Factorization]) -> list[System]:
    """The systems of a problem whose matrices are on the host."""
    distinct = {id(pattern): pattern for pattern in problem.patterns}
    measures = {key: Measures(pattern, problem.dtype) for key, pattern in distinct.items()}
    systems = []
    for position, pattern in enumerate(problem.patterns):
        name = f"a[{position}]" if problem.batched else "a"
        made = factorization(pattern, name)
        systems.append(System(pattern, problem.dtype, measures[id(pattern)], made, name, problem.preferences.max_nnz))
    return systems
