"""Tensor contractions in einsum notation: of two and three operands, and of any number."""

from planmath.core.execution import ExecutionCPU, ExecutionCUDA
from planmath.tensor.enums import (
    ComputeDesc,
    ContractionAlgo,
    ContractionAutotuneMode,
    ContractionCacheMode,
    ContractionJitMode,
    Operator,
)
from planmath.tensor.network import Contraction, contract
from planmath.tensor.numpy_signature import einsum
from planmath.tensor.operation import BinaryContraction, InvalidContractionState, TernaryContraction
from planmath.tensor.options import ContractionOptions, ContractionPlanPreference, tensor_qualifiers_dtype
from planmath.tensor.stateless import binary_contraction, ternary_contraction

__all__ = [
    "BinaryContraction",
    "ComputeDesc",
    "Contraction",
    "ContractionAlgo",
    "ContractionAutotuneMode",
    "ContractionCacheMode",
    "ContractionJitMode",
    "ContractionOptions",
    "ContractionPlanPreference",
    "ExecutionCPU",
    "ExecutionCUDA",
    "InvalidContractionState",
    "Operator",
    "TernaryContraction",
    "binary_contraction",
    "contract",
    "einsum",
    "tensor_qualifiers_dtype",
    "ternary_contraction",
]
