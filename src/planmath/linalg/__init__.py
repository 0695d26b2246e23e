"""Linear algebra: dense systems, and products of matrices with a structure or with what libraries fuse into them."""

from planmath.linalg import advanced, generic, solver
from planmath.linalg.generic import *  # noqa: F403
from planmath.linalg.generic import __all__ as _generic_names
from planmath.linalg.solver import *  # noqa: F403
from planmath.linalg.solver import __all__ as _solver_names

__all__ = ["advanced", "generic", "solver", *_generic_names, *_solver_names]
