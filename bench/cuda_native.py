"""The bare library calls from a loop in C, without any Python between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from planmath.native.call import Call

from planmath.bindings import cublas, cublasLt, cufft, cutensor, runtime
from planmath.bindings.library_types import CudaDataType

#: The calls that one run of a `looped` call makes.
LOOPS = 100
#: Bytes of workspace that cuBLASLt may use, as much as NVIDIA recommends for Hopper.
WORKSPACE = 32 << 20

_N, _T = cublas.Operation.N, cublas.Operation.T


@dataclass(frozen=True)
class Operand:
    """A matrix in device memory, row-major unless `columns` says that its columns are contiguous."""

    address: int
    rows: int
    cols: int
    columns: bool = False

    def layout(self) -> int:
        """A cuBLASLt layout of its memory, of which a row-major matrix is the transpose."""
        shape = (self.rows, self.cols) if self.columns else (self.cols, self.rows)
        return cublasLt.matrix_layout_create(CudaDataType.CUDA_R_32F, *shape, shape[0])


def product(a: Operand, b: Operand, d: Operand, bias: int = 0, stream: int = 0, loops: int = 1) -> Call:
    """The call of cublasLtMatmul for ``d = a @ b`` in single precision, by the heuristic's first algorithm.

    With the address of a `bias`, ``d = max(a @ b + bias[:, None], 0)``, for which `d` must have contiguous columns.
    A row-major `d` is the transposed product of the transposed operands.
    """
    left, right = (a, b) if d.columns else (b, a)
    description = cublasLt.matmul_desc_create(cublas.ComputeType.COMPUTE_32F, CudaDataType.CUDA_R_32F)
    for name, operand in (("TRANSA", left), ("TRANSB", right)):
        set_attribute(description, name, _N if operand.columns == d.columns else _T)
    if bias:
        set_attribute(description, "EPILOGUE", cublasLt.Epilogue.RELU_BIAS)
        set_attribute(description, "BIAS_POINTER", bias)
    layouts = [operand.layout() for operand in (left, right, d)]
    algorithm = first_algorithm(description, layouts)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    arguments = [
        handle(), description, one.ctypes.data, left.address, layouts[0], right.address, layouts[1], zero.ctypes.data,
        d.address, layouts[2], d.address, layouts[2], algorithm.ctypes.data, workspace(), WORKSPACE, stream,
    ]  # fmt: skip
    return looped(cublasLt, "cublasLtMatmul", arguments, loops, keep=(one, zero, algorithm))


def transform(x: int, y: int, length: int, loops: int = 1) -> Call:
    """The call of cufftExecC2C for one transform between two addresses, on the default stream."""
    plan = cufft.plan1d(length, cufft.Type.C2C, 1)
    return looped(cufft, "cufftExecC2C", [plan, x, y, -1], loops)


def contraction(expr: str, a: Any, b: Any, d: Any, loops: int = 1) -> Call:
    """The call of cutensorContract for torch tensors of one dtype, by the library's default algorithm."""
    name = str(a.dtype).removeprefix("torch.")
    data_type, compute = {
        "float32": (CudaDataType.CUDA_R_32F, cutensor.ComputeDesc.COMPUTE_32F),
        "float64": (CudaDataType.CUDA_R_64F, cutensor.ComputeDesc.COMPUTE_64F),
    }[name]  # fmt: skip
    made = contraction_handle()
    tensors: list[Any] = []
    for array, modes in zip((a, b, d), expr.replace("->", ",").split(","), strict=True):
        descriptor = cutensor.create_tensor_descriptor(made, array.ndim, array.shape, array.stride(), data_type, 16)
        tensors += [descriptor, [ord(mode) for mode in modes], cutensor.Operator.IDENTITY]
    operation = cutensor.create_contraction(made, *tensors, *tensors[6:8], compute())
    preference = cutensor.create_plan_preference(made, cutensor.Algo.DEFAULT, cutensor.JitMode.NONE)
    wish = cutensor.WorksizePreference.WORKSPACE_DEFAULT
    size = min(WORKSPACE, cutensor.estimate_workspace_size(made, operation, preference, wish))
    plan = cutensor.create_plan(made, operation, preference, size)
    one, zero = np.ones(1, name), np.zeros(1, name)
    arguments = [
        made, plan, one.ctypes.data, a.data_ptr(), b.data_ptr(), zero.ctypes.data, d.data_ptr(), d.data_ptr(),
        workspace(), size, 0,
    ]  # fmt: skip
    return looped(cutensor, "cutensorContract", arguments, loops, keep=(one, zero, a, b, d))


def looped(module: Any, name: str, arguments: list[int], loops: int, keep: object = None) -> Call:
    repeat = [(loops, ())] if loops > 1 else ()
    return Call(module.LIBRARY.address(name), arguments, name=name, returns_status=True, loops=repeat, keep=keep)


def check(call: Call) -> None:
    """Make the call once; raise the library's own error where it fails."""
    if status := call():
        raise RuntimeError(f"{call.name} returned the status {status}")


def set_attribute(description: int, name: str, value: int) -> None:
    attribute = cublasLt.MatmulDescAttribute[name]
    buffer = np.array([value], cublasLt.get_matmul_desc_attribute_dtype(attribute))
    cublasLt.matmul_desc_set_attribute(description, attribute, buffer.ctypes.data, buffer.nbytes)


def first_algorithm(description: int, layouts: list[int]) -> np.ndarray:
    """What cuBLASLt's heuristic puts first."""
    preference = cublasLt.matmul_preference_create()
    limit = np.array([WORKSPACE], np.uint64)
    attribute = cublasLt.MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES
    cublasLt.matmul_preference_set_attribute(preference, attribute, limit.ctypes.data, limit.nbytes)
    found = np.zeros(1, cublasLt.matmul_heuristic_result_dtype)
    a, b, d = layouts
    if not cublasLt.matmul_algo_get_heuristic(handle(), description, a, b, d, d, preference, 1, found.ctypes.data):
        raise RuntimeError("cuBLASLt knows no algorithm for this product")
    cublasLt.matmul_preference_destroy(preference)
    return found


_made: dict[str, int] = {}


def handle() -> int:
    """A cuBLASLt handle of the benchmark's own."""
    if "handle" not in _made:
        _made["handle"] = cublasLt.create()
    return _made["handle"]


def contraction_handle() -> int:
    """A cuTENSOR handle of the benchmark's own."""
    if "contractions" not in _made:
        _made["contractions"] = cutensor.create()
    return _made["contractions"]


def workspace() -> int:
    """The address of `WORKSPACE` bytes on the device."""
    if "workspace" not in _made:
        _made["workspace"] = runtime.malloc(WORKSPACE)
    return _made["workspace"]
