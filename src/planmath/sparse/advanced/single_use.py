"""Small systems that are solved once, without the lifecycle: what stateless calls in their ordinary form take.

Of a system of some hundred unknowns the specification, the plan and the phases of a `DirectSolver` take several times
as long as its solution. Where nothing is asked for that only these know of (options, preferences, a log, measurements
in the tuning record), the same pattern is checked, the same heuristic chooses, and the same system is factorized,
solved and judged (`providers.systems`), in arrays that are used as they are.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from planmath.core import remembered
from planmath.core.errors import UnavailableError
from planmath.core.execution import available_cpus
from planmath.core.log import LOGGER
from planmath.core.provider import Algorithm
from planmath.core.tuning import collecting, record
from planmath.sparse.advanced.enums import DirectSolverMatrixType, DirectSolverMatrixViewType
from planmath.sparse.advanced.kernels import address
from planmath.sparse.advanced.matrix import CSR, read_matrices
from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    DirectSolverPlanPreferences,
    DirectSolverSolutionPreferences,
)
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers import PROVIDERS, blocks, expected_provider, is_banded
from planmath.sparse.advanced.providers.blocks import has_weak_diagonal
from planmath.sparse.advanced.providers.systems import Systems

#: Unknowns up to which the lifecycle counts, and no provider takes more than one thread; and up to which the next call
#: may find the plan of the one before: the factors of larger systems would take much memory.
MOST_UNKNOWNS, MOST_REMEMBERED = 9_999, 4096

GENERAL, FULL = DirectSolverMatrixType.GENERAL, DirectSolverMatrixViewType.FULL
NOUN = "DirectSolver"
#: Nobody changes these.
PLAN, FACTORIZATION, SOLUTION = (
    DirectSolverPlanPreferences(), DirectSolverFactorizationPreferences(), DirectSolverSolutionPreferences(),
)  # fmt: skip
#: By NumPy's dtype objects, of this machine's byte order.
VALUES = {np.dtype(name): name for name in ("float32", "float64", "complex64", "complex128")}
INDICES = {np.dtype(np.int32), np.dtype(np.int64)}
#: The providers to try where neither narrow bands nor little filling are expected.
OTHERS = "pardiso", "superlu"
_PROVIDERS = {provider.name: provider for provider in PROVIDERS}


class SmallSystem:
    """One planned system without operands, which the next call with the same pattern takes over.

    Parameters
    ----------
    solver : Systems
    """

    def __init__(self, solver: Systems):
        self._solver = solver
        self._analysed = False

    def solution(self, values: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        """The solution; None for one that stays inaccurate."""
        x, solver = np.empty_like(b), self._solver
        if not self._analysed:
            solver.analyse((values,))
            self._analysed = True
        solver.factorize((values,), FACTORIZATION)
        (info,) = solver.solve((values,), (b,), (x,), False, SOLUTION, FACTORIZATION)
        return x if info.accurate else None

    def free(self) -> None:
        """Nothing: the factors go with the object."""


def solved(a: Any, b: Any) -> np.ndarray | None:
    """The solution of one small system; None where that takes anything out of the ordinary.

    Raises
    ------
    TypeError, ValueError, SingularMatrixError
        As the phases of a `DirectSolver` do.
    """
    if isinstance(a, list | tuple) or LOGGER.isEnabledFor(logging.INFO):
        return None
    matrices = read_matrices(a)
    sample = matrices.samples[0]
    if matrices.batch is not None or not _is_ordinary(sample, b):
        return None
    key = None
    if sample.shape[0] <= MOST_REMEMBERED:
        starts, columns = sample.starts, sample.columns
        key = NOUN, starts.dtype, sample.values.dtype, b.shape, starts.tobytes(), columns.tobytes()
    system = None if key is None else remembered.take(key)
    if system is None and (system := _planned(sample, b)) is None:
        return None
    x: np.ndarray | None = system.solution(sample.values, b)
    if key is not None and x is not None:
        remembered.put(key, system)
    return x


def _is_ordinary(a: CSR, b: Any) -> bool:
    """Whether the arrays may be used as they are, and fit together."""
    n, starts, columns, values = a.shape[0], a.starts, a.columns, a.values
    if not (type(b) is type(values) is type(starts) is type(columns) is np.ndarray and n <= MOST_UNKNOWNS):
        return False
    if not (b.dtype == values.dtype in VALUES and starts.dtype == columns.dtype in INDICES):
        return False
    if not (b.ndim == 1 or (b.ndim == 2 and b.shape[1] > 1)) or b.shape[0] != n or len(values) < len(columns):
        return False
    flags = b.flags
    return bool(
        flags.f_contiguous and flags.aligned and values.flags.carray and starts.flags.carray and columns.flags.carray
    )


def _planned(a: CSR, b: np.ndarray) -> SmallSystem | None:
    """A system made ready as a plan without measurements has it; None where somebody wants to know of plans, or such a
    system was measured."""
    if collecting.is_told():
        return None
    pattern = Pattern(a.starts, a.columns, GENERAL, FULL, "a", "numpy")
    problem = DirectSolverProblem(
        (pattern,), VALUES[a.values.dtype], (1 if b.ndim == 1 else b.shape[1],), GENERAL, False,
        ("cpu", available_cpus()), PLAN,
    )  # fmt: skip
    if any(problem.pattern_key in measured for measured in record.problems(NOUN, record.machine())):
        return None
    # a plan finds out that the values ask for other pivots once it has made the order that is for these
    is_weak = not is_banded(problem) and has_weak_diagonal(pattern, problem.dtype, address(a.values))
    if is_weak and blocks.pays(pattern, blocks.COLUMNS):
        algorithm = Algorithm("blocks", (("ordering", blocks.COLUMNS), ("threads", 1)))
        return SmallSystem(_PROVIDERS["blocks"].prepare(problem, algorithm).solver)  # type: ignore[attr-defined]
    first = expected_provider(problem)
    for name in OTHERS if first in OTHERS else (first, *OTHERS):
        provider = _PROVIDERS[name]
        if provider.unavailable() is None and provider.unsupported(problem) is None:
            try:
                return SmallSystem(provider.prepare(problem, provider.algorithms(problem)[0]).solver)  # type: ignore[attr-defined]
            except UnavailableError:
                continue
    return None
