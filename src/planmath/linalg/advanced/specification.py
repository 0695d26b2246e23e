"""From a user's arguments to a problem, with every check on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from planmath.core.arrays import Layout, overlaps_itself
from planmath.core.datatypes import DTYPE_OF, CudaDataType
from planmath.core.errors import UnsupportedLayoutError, nearest
from planmath.core.execution import Execution, ExecutionCPU
from planmath.linalg.advanced.enums import MatmulComputeType, MatmulEpilog
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.options import MatmulOptions, matrix_qualifiers_dtype
from planmath.linalg.advanced.problem import WORK_DTYPE, MatmulProblem, Matrix, dense_result, result_order

#: Accumulation by dtype of the operands: the default first. The other compute types of the same precision allow faster,
#: less accurate arithmetic, which the CPU's libraries do not need: they get the full one.
COMPUTE_OF: dict[str, tuple[MatmulComputeType, ...]] = {}
_T = MatmulComputeType
_SINGLE = (_T.COMPUTE_32F, _T.COMPUTE_32F_PEDANTIC)
_FAST = (_T.COMPUTE_32F_FAST_16F, _T.COMPUTE_32F_FAST_16BF, _T.COMPUTE_32F_FAST_TF32, _T.COMPUTE_32F_EMULATED_16BFX9)
_DOUBLE = (_T.COMPUTE_64F, _T.COMPUTE_64F_PEDANTIC, _T.COMPUTE_64F_EMULATED_FIXEDPOINT)
COMPUTE_OF |= {
    "float16": (*_SINGLE, _T.COMPUTE_16F, _T.COMPUTE_16F_PEDANTIC),
    "bfloat16": _SINGLE,
    "float32": _SINGLE + _FAST,
    "complex64": _SINGLE + _FAST,
    "float64": _DOUBLE,
    "complex128": _DOUBLE,
    "int8": (_T.COMPUTE_32I, _T.COMPUTE_32I_PEDANTIC),
}

#: dtypes of alpha and beta, by that of the operands or else of the computation.
SCALES_OF: dict[str, tuple[str, ...]] = {
    "int8": ("CUDA_R_32I", "CUDA_R_32F"), "float32": ("CUDA_R_32F",), "float64": ("CUDA_R_64F",),
    "complex64": ("CUDA_C_32F",), "complex128": ("CUDA_C_64F",),
}  # fmt: skip

#: Results that each operand dtype can have, the default first.
RESULTS_OF = {
    "float16": ("float16", "float32"), "bfloat16": ("bfloat16", "float32"), "float32": ("float32",),
    "float64": ("float64",), "complex64": ("complex64",), "complex128": ("complex128",), "int8": ("int32", "float32"),
}  # fmt: skip


def specify(
    layouts: dict[str, Layout], options: MatmulOptions, qualifiers: Any, execution: Execution, package: str
) -> MatmulProblem:
    """The problem that a user's arguments describe, without epilog.

    Raises
    ------
    ValueError
        If they do not describe one.
    """
    a_layout, b_layout, c_layout = layouts["a"], layouts["b"], layouts.get("c")
    for name, layout in layouts.items():
        check_extents(name, layout)
    if a_layout.dtype != b_layout.dtype:
        raise ValueError(
            f"a has the dtype {a_layout.dtype} and b {b_layout.dtype}; expected the same: convert one of them"
        )
    if a_layout.dtype not in WORK_DTYPE:
        raise ValueError(f"a has the dtype {a_layout.dtype}; {nearest(a_layout.dtype, WORK_DTYPE)}")
    conjugate = conjugations(qualifiers, a_layout.dtype)
    a = _vector_or_matrix("a", a_layout, as_row=True, conjugate=conjugate[0])
    b = _vector_or_matrix("b", b_layout, as_row=False, conjugate=conjugate[1])
    if a.cols != b.rows:
        raise ValueError(
            f"a has the shape {a_layout.shape} and b {b_layout.shape}; the last extent of a ({a.cols}) must equal "
            f"the first matrix extent of b ({b.rows})"
        )
    batch = batch_of(a_layout.shape[:-2], b_layout.shape[:-2])
    none = (0,) * len(batch)
    a, b = a._replace(batch=a.batch or none), b._replace(batch=b.batch or none)
    compute = check_compute(a.dtype, options.compute_type, options.scale_type)
    m, n = a.rows, b.cols
    c = None
    dtype = result_dtype(a.dtype, c_layout.dtype if c_layout else None, options.result_type)
    if c_layout is not None:
        c = _c_matrix(c_layout, batch, m, n, conjugate[2], options.inplace)
    elif options.inplace:
        raise ValueError("options.inplace is set, but c was not given; the result replaces c")
    d = (
        c
        if options.inplace and c is not None
        else dense_result(dtype, batch, m, n, result_order(a, c, MatmulEpilog.DEFAULT))
    )
    limit = execution.threads if isinstance(execution, ExecutionCPU) else execution.device_id
    return MatmulProblem(
        m, n, a.cols, batch, a, b, c, d, compute, options.inplace, (execution.space, limit), package,
        constant=tuple(sorted(options.constant)),
    )  # fmt: skip


def matrix_of(name: str, layout: Layout, shape: tuple[int, int], strides: tuple[int, int], conjugate: bool) -> Matrix:
    """The matrices of an operand, once shape and strides of a single one are known.

    Raises
    ------
    UnsupportedLayoutError
        If they are neither row- nor column-major.
    """
    rows, cols = shape
    row, col = strides
    n_batch = max(len(layout.shape) - 2, 0)
    matrix = Matrix(layout.dtype, rows, cols, row, col, layout.strides[:n_batch], conjugate)
    by_columns = (row == 1 or rows == 1) and (cols == 1 or col >= max(rows, 1))
    by_rows = (col == 1 or cols == 1) and (rows == 1 or row >= max(cols, 1))
    if not (by_columns or by_rows):
        raise UnsupportedLayoutError(
            f"{name} has the shape {layout.shape} and the strides {layout.strides} (in elements); expected matrices "
            "that are row-major or column-major, one stride being 1 and the other at least the extent of that axis: "
            f"copy {name}, for example with numpy.ascontiguousarray or .contiguous()"
        )
    return matrix


def check_extents(name: str, layout: Layout) -> None:
    if not layout.shape or 0 in layout.shape:
        raise ValueError(f"{name} has the shape {layout.shape}; expected at least one axis, and no extent of 0")


def batch_of(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The batch of the product, whose operands have equal batches or one of them none."""
    if a and b and a != b:
        raise ValueError(f"a has the batch shape {a} and b {b}; expected equal ones, or none for one of the two")
    return a or b


def result_dtype(a_dtype: str, c_dtype: str | None, result_type: int | None) -> str:
    """dtype of the result. Raises ValueError for combinations that do not exist."""
    possible = RESULTS_OF[a_dtype]
    wanted = DTYPE_OF.get(CudaDataType(result_type)) if result_type is not None else c_dtype
    if result_type is not None and wanted not in possible:
        raise ValueError(
            f"options.result_type is {CudaDataType(result_type).name}; operands of {a_dtype} have results of "
            f"{' or '.join(possible)}"
        )
    if c_dtype is not None and c_dtype != (wanted or possible[0]):
        raise ValueError(f"c has the dtype {c_dtype}; expected that of the result, {wanted or possible[0]}: convert it")
    if wanted is not None and wanted not in possible:
        results = " or ".join(possible)
        raise ValueError(f"c has the dtype {wanted}; operands of {a_dtype} have results of {results}: convert it")
    return wanted or possible[0]


def check_compute(dtype: str, compute_type: int | None, scale_type: int | None) -> str:
    """The least accurate dtype in which products of this dtype may be accumulated.

    Raises
    ------
    ValueError
        For types that do not fit.
    """
    possible = COMPUTE_OF[dtype]
    if compute_type is not None and compute_type not in possible:
        names = ", ".join(t.name for t in possible)
        raise ValueError(f"options.compute_type is {MatmulComputeType(compute_type).name}; {dtype} has {names}")
    compute = possible[0] if compute_type is None else MatmulComputeType(compute_type)
    work = WORK_DTYPE[dtype]
    half = compute in (_T.COMPUTE_16F, _T.COMPUTE_16F_PEDANTIC)
    scales = ("CUDA_R_16F",) if half else SCALES_OF.get(dtype, SCALES_OF[work])
    if scale_type is not None and CudaDataType(scale_type).name not in scales:
        raise ValueError(
            f"options.scale_type is {CudaDataType(scale_type).name}; products of {dtype} computed as {compute.name} "
            f"have {' or '.join(scales)}"
        )
    return "float16" if half else work


def _vector_or_matrix(name: str, layout: Layout, *, as_row: bool, conjugate: bool) -> Matrix:
    if len(layout.shape) == 1:
        (extent,), (step,) = layout.shape, layout.strides
        shape, strides = ((1, extent), (extent, step)) if as_row else ((extent, 1), (step, extent))
        return matrix_of(name, layout, shape, strides, conjugate)
    return matrix_of(name, layout, layout.shape[-2:], layout.strides[-2:], conjugate)  # type: ignore[arg-type]


def _c_matrix(layout: Layout, batch: tuple[int, ...], m: int, n: int, conjugate: bool, inplace: bool) -> Matrix:
    if len(layout.shape) < 2:
        raise ValueError(
            f"c has the shape {layout.shape}; expected at least two dimensions: make it {(m, 1)} or {(m, n)}, "
            "so that it is clear along which axis it is repeated"
        )
    matrix = matrix_of("c", layout, layout.shape[-2:], layout.strides[-2:], conjugate)  # type: ignore[arg-type]
    shapes = [(*batch, m, n)] if inplace else [(m, n), (m, 1), (*batch, m, n), (*batch, m, 1)]
    if layout.shape not in shapes:
        raise ValueError(f"c has the shape {layout.shape}; expected {' or '.join(map(str, dict.fromkeys(shapes)))}")
    if inplace and overlaps_itself(layout.shape, layout.strides):
        raise ValueError(
            f"c has the shape {layout.shape} and the strides {layout.strides} (in elements), so that elements share "
            "memory and cannot be replaced by the result; copy c, or leave options.inplace away"
        )
    if conjugate and inplace:
        raise ValueError(
            "c cannot be conjugated where the result replaces it; leave its qualifier or options.inplace away"
        )
    return matrix._replace(batch=matrix.batch or (0,) * len(batch))


def conjugations(qualifiers: Any, dtype: str) -> tuple[bool, bool, bool]:
    """Whether to conjugate a, b and c."""
    if qualifiers is None:
        return (False, False, False)
    given = np.asarray(qualifiers)
    if given.dtype != matrix_qualifiers_dtype or given.shape != (3,):
        raise ValueError(
            f"qualifiers has the dtype {given.dtype} and the shape {given.shape}; expected an array of "
            "matrix_qualifiers_dtype with three elements, for a, b and c"
        )
    flags = [bool(flag) for flag in given["is_conjugate"]]
    if any(flags) and not dtype.startswith("complex"):
        raise ValueError(f"qualifiers conjugates an operand of {dtype}; only complex operands can be conjugated")
    return (flags[0], flags[1], flags[2])


def as_epilog(epilog: Any) -> MatmulEpilog:
    """The epilog that a user's value stands for."""
    if epilog is None:
        return MatmulEpilog.DEFAULT
    try:
        return MatmulEpilog(epilog)
    except ValueError:
        raise ValueError(
            f"epilog is {epilog!r}; expected a MatmulEpilog: {nearest(epilog, MatmulEpilog.__members__)}"
        ) from None


def as_epilog_inputs(inputs: Any) -> dict[str, Any]:
    """The epilog's inputs as a dictionary of their own."""
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise TypeError(f"epilog_inputs is a {type(inputs).__name__}; expected a dict from the inputs' names to arrays")
    return dict(inputs)


def check_epilog_input(name: Any, epilog: MatmulEpilog) -> None:
    """Raise where the epilog has no input of this name."""
    known = EPILOGS[epilog].inputs
    if name not in known:
        raise ValueError(f"epilog_inputs has {name!r}; {epilog.name} takes {', '.join(known) or 'no inputs'}")


def reject_narrow_precision(options: MatmulOptions, scales: Any) -> None:
    """Raise where something is asked for that only narrow-precision products have, which need a CUDA device."""
    for name, asked in (
        ("quantization_scales", scales is not None),
        ("options.result_amax", options.result_amax),
        ("options.block_scaling", options.block_scaling),
    ):
        if asked:
            raise ValueError(
                f"{name} is for FP8, MXFP8 and NVFP4 operands, which need a CUDA device; leave it away on the CPU"
            )
