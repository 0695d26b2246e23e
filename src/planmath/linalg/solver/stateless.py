"""The function for systems that are solved once."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from planmath.core import remembered
from planmath.core.execution import Execution
from planmath.core.options import as_given
from planmath.core.typed import of_systems
from planmath.linalg.solver.operation import SEQUENCES
from planmath.linalg.solver.options import DirectSolverOptions, DirectSolverOptionsDict
from planmath.linalg.solver.single_use import SingleUse


@of_systems
def direct_solver(
    a: Any,
    b: Any,
    *,
    options: DirectSolverOptions | DirectSolverOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    stream: Any = None,
    qualifiers: Any = None,
    structure: str | None = None,
    bandwidths: tuple[int, int] | None = None,
) -> Any:
    """Solve dense linear systems ``a @ x = b`` once.

    Parameters
    ----------
    a, b, options, execution, stream, qualifiers, structure, bandwidths
        As for `DirectSolver`.

    Returns
    -------
    array or tuple of arrays
        As for `DirectSolver.solve`.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg import direct_solver
    >>> direct_solver(np.array([[2.0, 0], [1, 4]]), np.array([2.0, 9]))
    array([1., 2.])
    """
    options, key = as_given(DirectSolverOptions, options), None
    if not isinstance(a, SEQUENCES) and not isinstance(b, SEQUENCES):
        known = None if qualifiers is None else np.asarray(qualifiers).tobytes()
        key = remembered.key_of("dense direct_solver", (a, b), execution, options, known, structure, bandwidths)
        if key is not None and (solver := remembered.take(key)) is not None:
            if not solver._logger.isEnabledFor(logging.INFO):  # the ordinary case, with less Python
                return solver.once_more(a, b, key, stream)
            remembered.put(key, solver)
    what = {"qualifiers": qualifiers, "structure": structure, "bandwidths": bandwidths}
    return _solve_once(a, b, options, execution, stream, what, key)


def _solve_once(a: Any, b: Any, options: Any, execution: Any, stream: Any, what: dict[str, Any], key: Any) -> Any:
    """Solve systems for which no plan is there."""
    return remembered.run_once(
        key,
        lambda: SingleUse(a, b, options, execution, **what),
        lambda solver: solver.plan(stream=stream),
        lambda solver: solver.take_up(a, b),
        lambda solver: solver.execute(stream),
    )
