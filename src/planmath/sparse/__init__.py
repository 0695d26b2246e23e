"""Sparse linear algebra: products with sparse tensors in any format, and the direct solver."""

from typing import TYPE_CHECKING, Any

from planmath.native.forks import load_module
from planmath.sparse import advanced

if TYPE_CHECKING:
    from planmath.sparse import product, ust
    from planmath.sparse.product import (
        ComputeType,
        ExecutionCPU,
        ExecutionCUDA,
        InvalidMatmulState,
        Matmul,
        MatmulOptions,
        compile_matmul_add,
        compile_matmul_atomic_add,
        compile_matmul_epilog,
        compile_matmul_mul,
        compile_matmul_prolog,
        matmul,
        matmul_matrix_qualifiers_dtype,
    )

__all__ = [
    "ComputeType",
    "ExecutionCPU",
    "ExecutionCUDA",
    "InvalidMatmulState",
    "Matmul",
    "MatmulOptions",
    "advanced",
    "compile_matmul_add",
    "compile_matmul_atomic_add",
    "compile_matmul_epilog",
    "compile_matmul_mul",
    "compile_matmul_prolog",
    "matmul",
    "matmul_matrix_qualifiers_dtype",
    "product",
    "ust",
]


def __getattr__(name: str) -> Any:
    """Products and their formats are imported when they are first asked for: `import planmath` is quicker by that."""
    if name in ("product", "ust"):
        return load_module(f"{__name__}.{name}")
    if name in __all__:
        return getattr(load_module(f"{__name__}.product"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
