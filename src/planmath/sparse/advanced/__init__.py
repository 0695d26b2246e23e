"""The sparse direct solver: plan for a pattern, factorize for values, solve for right-hand sides."""

from planmath.sparse.advanced.configuration import (
    DirectSolverFactorizationConfig,
    DirectSolverPlanConfig,
    DirectSolverSolutionConfig,
)
from planmath.sparse.advanced.enums import (
    DirectSolverFactorizationAlg,
    DirectSolverMatchingAlg,
    DirectSolverMatrixType,
    DirectSolverMatrixViewType,
    DirectSolverPivotEpsilonAlg,
    DirectSolverReorderingAlg,
    DirectSolverSolveAlg,
)
from planmath.sparse.advanced.errors import (
    InaccurateSolutionError,
    InaccurateSolutionWarning,
    InvalidDirectSolverState,
    SingularMatrixError,
)
from planmath.sparse.advanced.execution import ExecutionCPU, ExecutionCUDA, ExecutionHybrid, HybridMemoryModeOptions
from planmath.sparse.advanced.information import (
    DirectSolverFactorizationInfo,
    DirectSolverPlanInfo,
    DirectSolverSolutionInfo,
)
from planmath.sparse.advanced.operation import DirectSolver
from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    DirectSolverOptions,
    DirectSolverPlanPreferences,
    DirectSolverSolutionPreferences,
    memory_estimates_dtype,
)
from planmath.sparse.advanced.stateless import direct_solver

__all__ = [
    "DirectSolver",
    "DirectSolverFactorizationAlg",
    "DirectSolverFactorizationConfig",
    "DirectSolverFactorizationInfo",
    "DirectSolverFactorizationPreferences",
    "DirectSolverMatchingAlg",
    "DirectSolverMatrixType",
    "DirectSolverMatrixViewType",
    "DirectSolverOptions",
    "DirectSolverPivotEpsilonAlg",
    "DirectSolverPlanConfig",
    "DirectSolverPlanInfo",
    "DirectSolverPlanPreferences",
    "DirectSolverReorderingAlg",
    "DirectSolverSolutionConfig",
    "DirectSolverSolutionInfo",
    "DirectSolverSolutionPreferences",
    "DirectSolverSolveAlg",
    "ExecutionCPU",
    "ExecutionCUDA",
    "ExecutionHybrid",
    "HybridMemoryModeOptions",
    "InaccurateSolutionError",
    "InaccurateSolutionWarning",
    "InvalidDirectSolverState",
    "SingularMatrixError",
    "direct_solver",
    "memory_estimates_dtype",
]
