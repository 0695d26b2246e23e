"""The function for single use."""

from __future__ import annotations

from typing import Any

from planmath.core import remembered
from planmath.core.arrays import as_numpy
from planmath.core.options import as_given, as_options
from planmath.core.typed import of_systems
from planmath.sparse.advanced import single_use
from planmath.sparse.advanced.execution import Execution
from planmath.sparse.advanced.matrix import read_matrices
from planmath.sparse.advanced.operation import DirectSolver
from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    DirectSolverFactorizationPreferencesDict,
    DirectSolverOptions,
    DirectSolverOptionsDict,
    DirectSolverPlanPreferences,
    DirectSolverPlanPreferencesDict,
    DirectSolverSolutionPreferences,
    DirectSolverSolutionPreferencesDict,
)
from planmath.sparse.advanced.single_use import MOST_REMEMBERED


@of_systems
def direct_solver(
    a: Any,
    b: Any,
    /,
    *,
    options: DirectSolverOptions | DirectSolverOptionsDict | dict[str, Any] | None = None,
    plan_preferences: DirectSolverPlanPreferences | DirectSolverPlanPreferencesDict | dict[str, Any] | None = None,
    factorization_preferences: (
        DirectSolverFactorizationPreferences | DirectSolverFactorizationPreferencesDict | dict[str, Any] | None
    ) = None,
    solution_preferences: (
        DirectSolverSolutionPreferences | DirectSolverSolutionPreferencesDict | dict[str, Any] | None
    ) = None,
    execution: Execution | str | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Solve sparse linear systems ``a @ x = b`` once.

    Parameters
    ----------
    a, b, options, execution, stream
        As for `DirectSolver`.
    plan_preferences : DirectSolverPlanPreferences or dict, optional
    factorization_preferences : DirectSolverFactorizationPreferences or dict, optional
    solution_preferences : DirectSolverSolutionPreferences or dict, optional

    Returns
    -------
    array or tuple of arrays
        As for `DirectSolver.solve`.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from planmath.sparse.advanced import direct_solver
    >>> direct_solver(sp.csr_array([[2.0, 0], [1, 4]]), np.array([2.0, 9]))
    array([1., 2.])
    """
    if options is plan_preferences is factorization_preferences is solution_preferences is execution is stream is None:
        solution = single_use.solved(a, b)
        if solution is not None:
            return solution
    options = as_options(DirectSolverOptions, options)
    chosen = {
        "plan": as_options(DirectSolverPlanPreferences, plan_preferences, "plan_preferences"),
        "factorization": as_options(
            DirectSolverFactorizationPreferences, factorization_preferences, "factorization_preferences"
        ),
        "solution": as_options(DirectSolverSolutionPreferences, solution_preferences, "solution_preferences"),
    }

    def create() -> SingleUse:
        solver = SingleUse(a, b, options=options, execution=execution, stream=stream)
        solver._preferences.update(chosen)
        return solver

    key = None
    if not isinstance(a, list | tuple):
        matrices = read_matrices(a)
        sample = matrices.samples[0]
        if matrices.batch is None and sample.shape[0] <= MOST_REMEMBERED and matrices.layout.memory_space == "cpu":
            pattern = as_numpy(sample.starts).tobytes(), as_numpy(sample.columns).tobytes()
            arrays = sample.starts, sample.values, b
            said, *preferences = (as_given(type(value), value) for value in (options, *chosen.values()))
            key = remembered.key_of(
                "direct_solver", arrays, execution, said, pattern, *map(remembered.said, preferences)
            )
    return remembered.run_once(
        key,
        create,
        lambda solver: solver.plan(stream=stream),
        lambda solver: solver.reset_operands(a=a, b=b, stream=stream),
        lambda solver: solver.execute(stream),
    )


class SingleUse(DirectSolver):
    """The solver of a stateless call, which the next call with the same pattern takes over."""

    def execute(self, stream: Any = None) -> Any:
        """Factorize and solve."""
        self.factorize(stream=stream)
        return self.solve(stream=stream)
