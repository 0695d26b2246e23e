"""Dense linear systems across processes."""

from planmath.core.datatypes import ComputeType
from planmath.distributed.linalg.solver.operation import DirectSolver, InvalidDirectSolverState, direct_solver
from planmath.distributed.linalg.solver.options import DirectSolverOptions
from planmath.distributed.linalg.solver.providers.factors import SingularMatrixError

__all__ = [
    "ComputeType", "DirectSolver", "DirectSolverOptions", "InvalidDirectSolverState",
    "SingularMatrixError", "direct_solver",
]  # fmt: skip
