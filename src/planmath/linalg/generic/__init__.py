"""Products of matrices of which something is known: symmetric, Hermitian, triangular and diagonal ones."""

import planmath.linalg.generic.lists  # noqa: F401 (what Matmul is of lists)
from planmath.core.execution import ExecutionCPU, ExecutionCUDA
from planmath.linalg.generic.enums import ComputeType, DiagType, FillMode, SideMode
from planmath.linalg.generic.operation import InvalidMatmulState, Matmul, matmul
from planmath.linalg.generic.options import MatmulOptions
from planmath.linalg.generic.qualifiers import (
    DiagonalMatrixQualifier,
    GeneralMatrixQualifier,
    HermitianMatrixQualifier,
    MatrixQualifier,
    SymmetricMatrixQualifier,
    TriangularMatrixQualifier,
    matrix_qualifiers_dtype,
)
from planmath.linalg.generic.triangular import TriangularSolver, triangular_solve

__all__ = [
    "ComputeType",
    "DiagType",
    "DiagonalMatrixQualifier",
    "ExecutionCPU",
    "ExecutionCUDA",
    "FillMode",
    "GeneralMatrixQualifier",
    "HermitianMatrixQualifier",
    "InvalidMatmulState",
    "Matmul",
    "MatmulOptions",
    "MatrixQualifier",
    "SideMode",
    "SymmetricMatrixQualifier",
    "TriangularMatrixQualifier",
    "TriangularSolver",
    "matmul",
    "matrix_qualifiers_dtype",
    "triangular_solve",
]
