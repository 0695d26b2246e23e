"""Dense matrix multiplication with what libraries fuse into it: scaling, addition, bias, activation, gradients."""

from planmath.core.execution import ExecutionCPU, ExecutionCUDA
from planmath.linalg.advanced.algorithm import Algorithm
from planmath.linalg.advanced.enums import (
    MatmulComputeType,
    MatmulEpilog,
    MatmulInnerShape,
    MatmulNumericalImplFlags,
    MatmulReductionScheme,
)
from planmath.linalg.advanced.operation import InvalidMatmulState, Matmul
from planmath.linalg.advanced.options import (
    MatmulEpilogPreferences,
    MatmulOptions,
    MatmulPlanPreferences,
    MatmulQuantizationScales,
    matrix_qualifiers_dtype,
)
from planmath.linalg.advanced.stateless import matmul

__all__ = [
    "Algorithm",
    "ExecutionCPU",
    "ExecutionCUDA",
    "InvalidMatmulState",
    "Matmul",
    "MatmulComputeType",
    "MatmulEpilog",
    "MatmulEpilogPreferences",
    "MatmulInnerShape",
    "MatmulNumericalImplFlags",
    "MatmulOptions",
    "MatmulPlanPreferences",
    "MatmulQuantizationScales",
    "MatmulReductionScheme",
    "matmul",
    "matrix_qualifiers_dtype",
]
