"""Linear algebra across processes."""

from planmath.distributed.linalg import advanced, solver
from planmath.distributed.linalg.solver import *  # noqa: F403
from planmath.distributed.linalg.solver import __all__ as _solver_names

__all__ = ["advanced", "solver", *_solver_names]
