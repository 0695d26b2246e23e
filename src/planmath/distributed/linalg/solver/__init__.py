"""Dense linear systems across processes."""

from planmath.core.datatypes import ComputeType
from planmath.distributed.linalg.solver.factors import SingularMatrixError
from planmath.distributed.linalg.solver.operation import DirectSolver, InvalidDirectSolverState, direct_solver
from planmath.distributed.linalg.solver.options import DirectSolverOptions

__all__ = [
    "ComputeType", "DirectSolver", "DirectSolverOptions", "InvalidDirectSolverState",
    "SingularMatrixError", "direct_solver",
]  # fmt: skip
