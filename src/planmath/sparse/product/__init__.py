"""Products of sparse tensors with dense ones, in any format."""

from planmath.core.execution import ExecutionCPU, ExecutionCUDA
from planmath.sparse.product.functions import (
    compile_matmul_add,
    compile_matmul_atomic_add,
    compile_matmul_epilog,
    compile_matmul_mul,
    compile_matmul_prolog,
)
from planmath.sparse.product.operation import InvalidMatmulState, Matmul, matmul
from planmath.sparse.product.options import ComputeType, MatmulOptions, matmul_matrix_qualifiers_dtype

__all__ = [
    "ComputeType",
    "ExecutionCPU",
    "ExecutionCUDA",
    "InvalidMatmulState",
    "Matmul",
    "MatmulOptions",
    "compile_matmul_add",
    "compile_matmul_atomic_add",
    "compile_matmul_epilog",
    "compile_matmul_mul",
    "compile_matmul_prolog",
    "matmul",
    "matmul_matrix_qualifiers_dtype",
]
