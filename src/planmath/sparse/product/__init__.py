"""Products of sparse tensors in any format: with dense ones, with each other, and of dense ones into sparse ones."""

from planmath.core.execution import ExecutionCPU, ExecutionCUDA
from planmath.sparse.product.functions import (
    compile_matmul_add,
    compile_matmul_atomic_add,
    compile_matmul_epilog,
    compile_matmul_mul,
    compile_matmul_prolog,
)
from planmath.sparse.product.operation import InvalidMatmulState, Matmul
from planmath.sparse.product.options import ComputeType, MatmulOptions, matmul_matrix_qualifiers_dtype
from planmath.sparse.product.stateless import matmul

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
