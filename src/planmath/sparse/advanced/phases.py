"""The phases of a plan, run on the operands that are bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.core.arrays import as_numpy
from planmath.sparse.advanced.enums import DirectSolverMatrixType, DirectSolverMatrixViewType
from planmath.sparse.advanced.information import DirectSolverSolutionInfo
from planmath.sparse.advanced.matrix import Matrices, names
from planmath.sparse.advanced.options import DirectSolverOptions
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem


class Phases:
    """What `core.executor.Executor` is to operations of one step: the plan's work and the operands to do it on.

    Parameters
    ----------
    problem : DirectSolverProblem or None
        None for an object that has no plan.
    solver : object
        What the provider prepared: it analyses, factorizes and solves all systems.
    options : DirectSolverOptions
    preferences : dict
        Those of the phases 'factorization' and 'solution', as they are when a phase runs.
    """

    results = auxiliary = ()

    def __init__(
        self,
        problem: DirectSolverProblem | None,
        solver: Any,
        options: DirectSolverOptions,
        preferences: dict[str, Any],
    ):
        self._problem, self._solver, self._preferences = problem, solver, preferences
        self._exact = options.backward_error == "exact"
        self._values: Sequence[np.ndarray] = ()
        self._sides: Sequence[np.ndarray] = ()
        self.ready = False

    @classmethod
    def nothing(cls) -> Phases:
        """Of an object without a plan."""
        return cls(None, None, DirectSolverOptions(), {})

    def bind(self, values: Sequence[np.ndarray], sides: Sequence[np.ndarray]) -> None:
        """Take the matrices' values and the right-hand sides, one of each for every system."""
        self._values, self._sides = values, sides

    def rebound(self, indices: Sequence[int]) -> None:
        """Nothing has to be done when operands were bound: `factorize` reads them again in any case."""

    def allocate_workspace(self) -> None:
        """Nothing: the libraries keep what they need between the phases."""

    def analyse(self) -> None:
        self._solver.analyse(self._values)

    def factorize(self) -> None:
        self._solver.factorize(self._values, self._preferences["factorization"])

    def solve(self, results: Sequence[np.ndarray]) -> tuple[DirectSolverSolutionInfo, ...]:
        """Solve into the given arrays."""
        return self._solver.solve(
            self._values, self._sides, results, self._exact, self._preferences["solution"],
            self._preferences["factorization"],
        )  # fmt: skip

    def execute(self, key: object, results: Sequence[np.ndarray]) -> None:
        """Factorize and solve: what autotuning measures."""
        self.factorize()
        self.solve(results)

    def facts(self, phase: str, name: str) -> tuple[Any, ...]:
        """What is known of each system."""
        return self._solver.facts(phase, name)

    def patterns_of(
        self, matrices: Matrices, kind: DirectSolverMatrixType, view: DirectSolverMatrixViewType
    ) -> tuple[Pattern, ...]:
        """The patterns of matrices, checked; equal ones that follow each other are one object."""
        found = list[Pattern]()
        titles = names("a", len(matrices.samples), matrices.batch is not None)
        for title, sample in zip(titles, matrices.samples, strict=True):
            starts, columns = as_numpy(sample.starts), as_numpy(sample.columns)
            if len(as_numpy(sample.values)) < len(columns):
                raise ValueError(f"{title} has {len(columns)} column indices and {len(sample.values)} values")
            if not (found and found[-1].same(starts, columns)):
                found.append(Pattern(starts, columns, kind, view, title, matrices.package))
            else:
                found.append(found[-1])
        return tuple(found)

    def check_patterns(self, matrices: Matrices) -> None:
        """Raise where a matrix has entries at other positions than were planned for."""
        if self._problem is None:
            return
        titles = names("a", len(matrices.samples), matrices.batch is not None)
        for title, sample, pattern in zip(titles, matrices.samples, self._problem.patterns, strict=True):
            if not pattern.same(as_numpy(sample.starts), as_numpy(sample.columns)):
                raise ValueError(
                    f"{title} has another sparsity pattern than the one that was planned for; "
                    "call plan() again after the pattern changed, or create a new DirectSolver"
                )
