"""The ordinary factorization and solution of one system on the CPU: the calls of the last time, without Python.

A library that factorizes even a small system pushes Python's work out of the caches, which then takes several times as
long as in a loop of its own: of 1,000 unknowns, an eighth of a factorization and a solution.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from planmath.core.errors import LibraryError
from planmath.core.executor import Executor, Program
from planmath.native.call import Slot
from planmath.sparse.advanced.information import DirectSolverSolutionInfo
from planmath.sparse.advanced.kernels import address, estimated_errors
from planmath.sparse.advanced.options import DirectSolverFactorizationPreferences, DirectSolverSolutionPreferences
from planmath.sparse.advanced.problem import ExecutorOf
from planmath.sparse.advanced.providers.system import Place, Step, System

#: Where programs have the addresses of the values, then of the indices, to factorize, or of b and x, to solve.
OF_VALUES, OF_STARTS, OF_COLUMNS, OF_B, OF_X = Slot(0), Slot(1), Slot(2), Slot(1), Slot(2)


@runtime_checkable
class Repeatable(Protocol):
    """A `Factorization` that can give the calls of a phase as it was the last time."""

    library: Any
    """What the calls work on: another object once they have to be others."""

    def factorize_again(self, values: Place) -> list[Step]:
        """The first of them that returns a status other than 0 finds that it has to be done another way."""

    def solve_again(self, values: Place, b: Place, x: Place, columns: int) -> list[Step]:
        """Of the factorization that there is."""

    def went_well(self, values: int) -> bool:
        """Whether nothing has to be said or done about what was repeated, for values at this address."""


class DirectSystem:
    """One system's phases as programs, which are made when a phase is repeated that was ordinary.

    Parameters
    ----------
    system : System
    factorization : Repeatable
        Of the system.
    executor_of : ExecutorOf
    """

    def __init__(self, system: System, factorization: Repeatable, executor_of: ExecutorOf):
        self.system, self.factorization, self.executor_of = system, factorization, executor_of
        self._library: Any = None
        self._again: Program | None = None
        self._solution: Executor | None = None
        self.forget()

    def forget(self) -> None:
        """The next phases may not be as the last ones."""
        self._may_factorize = self._may_solve = False

    def _follow_library(self) -> None:
        """Drop programs of what is gone."""
        if self._library is not self.factorization.library:
            self._library, self._again, self._solution = self.factorization.library, None, None

    def factorized(self, preferences: DirectSolverFactorizationPreferences) -> None:
        """Note that the system was factorized in the long way."""
        asked = preferences.pivot_eps or self.system.most_nonzeros is not None
        self._may_factorize = not asked and not self.system.perturbed

    def factorize(
        self, values: np.ndarray, starts: np.ndarray, columns: np.ndarray,
        preferences: DirectSolverFactorizationPreferences,
    ) -> bool:  # fmt: skip
        """Factorize as the last time; False where that is not possible.

        The indices are dense arrays of the pattern's dtype and lengths.
        """
        if not self._may_factorize or preferences.pivot_eps:
            return False
        self._follow_library()
        system, at = self.system, address(values)
        if self._again is None:
            self._again = program([
                *system.pattern.differs(OF_STARTS, OF_COLUMNS), *system.measure(OF_VALUES),
                *self.factorization.factorize_again(OF_VALUES),
            ])  # fmt: skip
        try:
            self._again(at, address(starts), address(columns))
        except LibraryError:
            return False
        if not self.factorization.went_well(at):
            return False
        system.norm = float(system.measured[0])
        system.factorized_since_analysis += 1
        return True

    def solved(self, info: DirectSolverSolutionInfo, b: np.ndarray, x: np.ndarray) -> None:
        """Note how the system was solved in the long way."""
        at_once = info.accurate and not info.refinement_steps and info.forward_error is None
        self._may_solve = at_once and b.flags.f_contiguous and x.flags.f_contiguous

    def solve(
        self, out: Any, preferences: DirectSolverSolutionPreferences
    ) -> tuple[Any, tuple[DirectSolverSolutionInfo, ...]] | None:
        """A solution, new or in `out`, and how good it is; None where there is more to do."""
        if not self._may_solve or preferences.ir_num_steps:
            return None
        self._follow_library()
        if self._solution is None:
            self._solution = self._made_solution()
        if (x := self._solution.run(None, out)) is None:
            return None
        system = self.system
        system.factorization.check("solution")
        error, growth, finite = estimated_errors(self._projected, system.norm)
        if finite and system.satisfied(error, growth):
            return x, (system.info(error, True, 0, growth),)
        return None

    def release_results(self) -> None:
        """Give the memory of large solutions back that were dropped."""
        if self._solution is not None:
            self._solution.release_results()

    def _made_solution(self) -> Executor:
        system, columns = self.system, self.system.projected.shape[1]
        self._projected = np.empty((2, columns, 3))
        solve = self.factorization.solve_again(OF_VALUES, OF_B, OF_X, columns)
        return self.executor_of({None: program(system.projecting(OF_B, OF_X, self._projected, solve))})


def program(steps: list[Step]) -> Program:
    """Calls with the addresses they are made on, of which those of operands are left open."""
    return Program([call.bound(places) for call, places in steps])
