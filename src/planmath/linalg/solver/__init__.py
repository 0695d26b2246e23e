"""Dense linear systems: factorized for a matrix of any structure, and solved for right-hand sides."""

from planmath.core.accuracy import SolutionInfo
from planmath.core.factorization import InaccurateSolutionError, InaccurateSolutionWarning, SingularMatrixError
from planmath.linalg.solver.information import FactorizationInfo, Factors
from planmath.linalg.solver.operation import DirectSolver, InvalidDirectSolverState
from planmath.linalg.solver.options import DirectSolverOptions
from planmath.linalg.solver.stateless import direct_solver

__all__ = [
    "DirectSolver",
    "DirectSolverOptions",
    "FactorizationInfo",
    "Factors",
    "InaccurateSolutionError",
    "InaccurateSolutionWarning",
    "InvalidDirectSolverState",
    "SingularMatrixError",
    "SolutionInfo",
    "direct_solver",
]
