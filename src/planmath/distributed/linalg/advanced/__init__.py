"""Products of matrices that lie across processes, with what libraries fuse into them."""

from planmath.distributed.linalg.advanced.enums import MatmulAlgoType, MatmulComputeType, MatmulEpilog
from planmath.distributed.linalg.advanced.operation import InvalidMatmulState, Matmul, matmul
from planmath.distributed.linalg.advanced.options import (
    MatmulOptions,
    MatmulPlanPreferences,
    matrix_qualifiers_dtype,
)
from planmath.linalg.advanced import helpers
from planmath.linalg.advanced.options import MatmulEpilogPreferences, MatmulQuantizationScales

__all__ = [
    "InvalidMatmulState",
    "Matmul",
    "MatmulAlgoType",
    "MatmulComputeType",
    "MatmulEpilog",
    "MatmulEpilogPreferences",
    "MatmulOptions",
    "MatmulPlanPreferences",
    "MatmulQuantizationScales",
    "helpers",
    "matmul",
    "matrix_qualifiers_dtype",
]
