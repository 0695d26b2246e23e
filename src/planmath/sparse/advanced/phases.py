"""The phases of a plan, run on the operands that are bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from planmath.core import crossing
from planmath.core.arrays import Layout, outline
from planmath.core.cuda.queue import Queue
from planmath.core.factorization import Phases, names
from planmath.core.slots import ArraySlot
from planmath.sparse.advanced.enums import DirectSolverMatrixType, DirectSolverMatrixViewType
from planmath.sparse.advanced.information import DirectSolverSolutionInfo
from planmath.sparse.advanced.matrix import Matrices, per_system
from planmath.sparse.advanced.options import DirectSolverOptions
from planmath.sparse.advanced.pattern import Pattern, changed_pattern
from planmath.sparse.advanced.problem import DirectSolverProblem, ExecutorOf


class SparsePhases(Phases):
    """The phases of a plan for sparse systems.

    Solvers see arrays as NumPy's. Those on a device are outlines to a solver that works on devices; to others they are
    copies on the host, made once in each phase.

    Parameters
    ----------
    problem : DirectSolverProblem
    solver : object
        What the provider prepared: it analyses, factorizes and solves all systems.
    options : DirectSolverOptions
    preferences : dict
        Those of the phases 'factorization' and 'solution', as they are when a phase runs.
    batch : tuple of int, optional
        The shape of the batch whose right-hand sides are in one array.
    queue : Queue, optional
        That of the device that takes part, if one does.
    executor_of : ExecutorOf, optional
        Where the only system's operands are on a device.
    """

    def __init__(
        self,
        problem: DirectSolverProblem,
        solver: Any,
        options: DirectSolverOptions,
        preferences: dict[str, Any],
        batch: tuple[int, ...] | None = None,
        queue: Queue | None = None,
        executor_of: ExecutorOf | None = None,
    ):
        super().__init__()
        self._problem, self._solver, self._preferences = problem, solver, preferences
        self._batch, self._queue = batch, queue
        self._systems = len(problem.patterns)
        self._exact = options.backward_error == "exact"
        on_host = problem.on_host
        self._on_device = problem.execution[0] != "cpu"
        self._fetches = not on_host and not self._on_device
        self._values: Sequence[np.ndarray] = ()
        self._fetched: Sequence[np.ndarray] = ()
        self._sides: Sequence[np.ndarray] = ()
        self._indices: tuple[Matrices | None, list[np.ndarray], list[np.ndarray]] = None, [], []
        self._may_be_direct = executor_of is not None and (self._on_device or not self._exact)
        if self._on_device or self._may_be_direct:
            solver.attach(queue, on_host, executor_of)

    REBOUND: ClassVar[dict[str, Any]] = {**Phases.REBOUND, "_values": (), "_sides": ()}
    UNBOUND: ClassVar[dict[str, Any]] = {**REBOUND, "_fetched": (), "_indices": (None, [], [])}

    def see(self, matrices: Sequence[ArraySlot], sides: Sequence[ArraySlot]) -> None:
        given = [outline(slot.array) for slot in matrices]
        self._values = given if len(given) == self._systems else [*given[0].reshape(self._systems, -1)]
        given = [outline(slot.array) for slot in sides]
        self._sides = given if self._fetches else self._each(given)

    def let_go(self) -> None:
        """Drop what the solver keeps of operands that are gone."""
        if self._on_device:
            self._solver.release()

    def _each(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """One array for each system."""
        return per_system(arrays[0], self._batch) if self._batch is not None and arrays else arrays

    def release_results(self) -> None:
        """Give the memory of large solutions back that were dropped."""
        if self._may_be_direct and not self._on_device:
            self._solver.release_results()

    def _present(self) -> Sequence[np.ndarray]:
        """The values as they are now; copies of them are kept as long as a solution may want them."""
        if self._fetches:
            self._fetched = crossing.fetched(self._values, self._queue)
            return self._fetched
        return self._values

    def analyse(self) -> None:
        self._solver.analyse(self._present())

    def factorize(self) -> None:
        self._solver.factorize(self._present(), self._preferences["factorization"])

    def factorize_directly(self, matrices: Matrices) -> bool:
        """Factorize the only system, whose values are bound, if that takes nothing out of the ordinary."""
        known, starts, columns = self._indices
        if self._on_device or not self._may_be_direct or known is not matrices:
            return False
        if not (starts[0].flags.c_contiguous and columns[0].flags.c_contiguous):
            return False
        if not self._problem.patterns[0].fits(starts[0], columns[0]):
            return False
        return bool(
            self._solver.factorize_directly(self._values[0], starts[0], columns[0], self._preferences["factorization"])
        )

    def solve(self, results: Sequence[Any], layouts: Sequence[Layout]) -> tuple[DirectSolverSolutionInfo, ...]:
        """Solve into arrays of these layouts."""
        wanted = self._preferences["solution"], self._preferences["factorization"]
        x = [outline(array, layout) for array, layout in zip(results, layouts, strict=True)]
        if not self._fetches:
            return self._solver.solve(self._values, self._sides, self._each(x), self._exact, *wanted)
        queue: Any = self._queue
        b, found = crossing.fetched(self._sides, queue), [np.empty_like(array, order="K") for array in x]
        infos = self._solver.solve(self._fetched, self._each(b), self._each(found), self._exact, *wanted)
        crossing.send(found, x, queue)
        return infos

    def solve_directly(self, out: Any) -> tuple[Any, tuple[DirectSolverSolutionInfo, ...]] | None:
        """A new solution, or `out`, and how good it is, where that takes nothing out of the ordinary; else None."""
        return self._solver.solve_directly(out, self._preferences["solution"]) if self._may_be_direct else None

    def facts(self, phase: str, name: str) -> tuple[Any, ...]:
        """What is known of each system."""
        return self._solver.facts(phase, name)

    @property
    def notes(self) -> Sequence[str]:
        """What is worth knowing of the plan."""
        return tuple(self._solver.notes) if self._on_device else ()

    def check_patterns(self, matrices: Matrices, later: bool = False) -> None:
        """Raise where a matrix has entries at other positions than were planned for.

        Parameters
        ----------
        matrices : Matrices
        later : bool
            Whether that may wait for the factorization, which finds it out at no cost on a device.
        """
        starts, columns = self._indices_of(matrices)
        elsewhere = not self._problem.on_host
        by_kernel = elsewhere and self._on_device and all(array.flags.c_contiguous for array in (*starts, *columns))
        if elsewhere and not by_kernel:
            starts, columns = (crossing.fetched(arrays, self._queue) for arrays in (starts, columns))
        test = Pattern.fits if by_kernel else Pattern.same
        for i, pattern in enumerate(self._problem.patterns):
            if not test(pattern, starts[i], columns[i]):
                raise changed_pattern(names("a", len(matrices.samples), matrices.batch is not None)[i])
        if by_kernel:
            (self._solver.compare if later else self._solver.check_patterns)(starts, columns)

    def _indices_of(self, matrices: Matrices) -> tuple[list[np.ndarray], list[np.ndarray]]:
        known, starts, columns = self._indices
        if known is not matrices:
            starts = [outline(sample.starts) for sample in matrices.samples]
            columns = [outline(sample.columns) for sample in matrices.samples]
            self._indices = matrices, starts, columns
        return starts, columns


def patterns_of(
    matrices: Matrices, kind: DirectSolverMatrixType, view: DirectSolverMatrixViewType, queue: Queue | None
) -> tuple[Pattern, ...]:
    """The patterns of matrices, checked; equal ones that follow each other are one object."""
    found = list[Pattern]()
    titles = names("a", len(matrices.samples), matrices.batch is not None)
    for title, sample in zip(titles, matrices.samples, strict=True):
        starts, columns = outline(sample.starts), outline(sample.columns)
        if len(outline(sample.values)) < len(columns):
            raise ValueError(f"{title} has {len(columns)} column indices and {len(sample.values)} values")
        if matrices.layout.memory_space != "cpu":
            assert queue is not None
            starts, columns = crossing.fetched([starts, columns], queue)
        if not (found and found[-1].same(starts, columns)):
            found.append(Pattern(starts, columns, kind, view, title, matrices.package))
        else:
            found.append(found[-1])
    return tuple(found)
