"""Products of matrices of which something is known: symmetric, Hermitian, triangular and diagonal ones."""

import planmath.linalg.generic.lists  # noqa: F401 (what Matmul is of lists)
from planmath.core.execution import ExecutionCPU, ExecutionCUDA
from planmath.linalg.generic.enums import ComputeType, DiagType, FillMode, SideMode
from planmath.linalg.generic.operation import InvalidMatmulState, Matmul
from planmath.linalg.generic.options import MatmulOptions
from planmath.linalg.generic.qualifiers import (
    BandedMatrixQualifier,
    DiagonalMatrixQualifier,
    GeneralMatrixQualifier,
    HermitianBandedMatrixQualifier,
    HermitianMatrixQualifier,
    HermitianPackedMatrixQualifier,
    MatrixQualifier,
    SymmetricBandedMatrixQualifier,
    SymmetricMatrixQualifier,
    SymmetricPackedMatrixQualifier,
    TriangularBandedMatrixQualifier,
    TriangularMatrixQualifier,
    TriangularPackedMatrixQualifier,
    matrix_qualifiers_dtype,
)
from planmath.linalg.generic.stateless import matmul
from planmath.linalg.generic.triangular import TriangularSolver, triangular_solve

__all__ = [
    "BandedMatrixQualifier",
    "ComputeType",
    "DiagType",
    "DiagonalMatrixQualifier",
    "ExecutionCPU",
    "ExecutionCUDA",
    "FillMode",
    "GeneralMatrixQualifier",
    "HermitianBandedMatrixQualifier",
    "HermitianMatrixQualifier",
    "HermitianPackedMatrixQualifier",
    "InvalidMatmulState",
    "Matmul",
    "MatmulOptions",
    "MatrixQualifier",
    "SideMode",
    "SymmetricBandedMatrixQualifier",
    "SymmetricMatrixQualifier",
    "SymmetricPackedMatrixQualifier",
    "TriangularBandedMatrixQualifier",
    "TriangularMatrixQualifier",
    "TriangularPackedMatrixQualifier",
    "TriangularSolver",
    "matmul",
    "matrix_qualifiers_dtype",
    "triangular_solve",
]
