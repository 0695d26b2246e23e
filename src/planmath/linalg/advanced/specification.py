"""From a user's arguments to a problem, with every check on the way."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from planmath.core.arrays import Layout, overlaps_itself
from planmath.core.cuda import devices
from planmath.core.datatypes import DTYPE_OF, CudaDataType
from planmath.core.errors import UnavailableError, UnsupportedLayoutError, nearest
from planmath.core.execution import Execution, ExecutionCPU, ExecutionCUDA
from planmath.linalg.advanced import narrow
from planmath.linalg.advanced.enums import MatmulComputeType, MatmulEpilog
from planmath.linalg.advanced.epilog import EXTENTS, is_vector
from planmath.linalg.advanced.options import MatmulOptions, matrix_qualifiers_dtype
from planmath.linalg.advanced.problem import (
    ADDENDS,
    AUXILIARY_SCALE,
    BLOCK_SCALING,
    SCALED,
    SINGLE,
    Choices,
    MatmulProblem,
    narrow_result,
    numbers_of,
    result_order,
)
from planmath.linalg.product.matrix import WORK_DTYPE, Matrix

#: Accumulation by dtype of the operands: the default first. The other compute types of the same precision allow faster,
#: less accurate arithmetic, which the CPU's libraries do not need: they get the full one.
COMPUTE_OF: dict[str, tuple[MatmulComputeType, ...]] = {}
_T = MatmulComputeType
_SINGLE = (_T.COMPUTE_32F, _T.COMPUTE_32F_PEDANTIC)
_FAST = (_T.COMPUTE_32F_FAST_16F, _T.COMPUTE_32F_FAST_16BF, _T.COMPUTE_32F_FAST_TF32, _T.COMPUTE_32F_EMULATED_16BFX9)
_HALF = (_T.COMPUTE_16F, _T.COMPUTE_16F_PEDANTIC)
_DOUBLE = (_T.COMPUTE_64F, _T.COMPUTE_64F_PEDANTIC, _T.COMPUTE_64F_EMULATED_FIXEDPOINT)
COMPUTE_OF |= {
    "float16": (*_SINGLE, *_HALF),
    "bfloat16": (*_SINGLE, _T.COMPUTE_32F_FAST_16BF),
    "float32": _SINGLE + _FAST,
    "complex64": _SINGLE + _FAST,
    "float64": _DOUBLE,
    "complex128": _DOUBLE,
    "int8": (_T.COMPUTE_32I, _T.COMPUTE_32I_PEDANTIC),
} | dict.fromkeys(SCALED, (_T.COMPUTE_32F,))

#: Results that each operand dtype can have, the default first.
RESULTS_OF = {
    "float16": ("float16", "float32"), "bfloat16": ("bfloat16", "float32"), "float32": ("float32",),
    "float64": ("float64",), "complex64": ("complex64",), "complex128": ("complex128",), "int8": ("int32", "float32"),
}  # fmt: skip


def specify(
    layouts: dict[str, Layout],
    options: MatmulOptions,
    qualifiers: Any,
    execution: Execution,
    package: str,
    alignments: Mapping[str, int],
    scales: Mapping[str, Any] = MappingProxyType({}),
) -> MatmulProblem:
    """The problem that a user's arguments describe, without epilog.

    Parameters
    ----------
    layouts, alignments : dict
        Of a, b and, where it is given, c; the second one has powers of two of bytes that divide the addresses.
    options : MatmulOptions
    qualifiers : array or None
    execution : ExecutionCPU or ExecutionCUDA
    package : str
    scales : dict
        The quantization scales that the user gave, by name.

    Raises
    ------
    ValueError
        If they do not describe one.
    """
    a_layout, b_layout, c_layout = layouts["a"], layouts["b"], layouts.get("c")
    for name, layout in layouts.items():
        check_extents(name, layout)
    on_device = execution.space == "cuda"
    narrow.check_pair(a_layout.dtype, b_layout.dtype)
    check_dtype(a_layout.dtype)
    given = conjugations(qualifiers, a_layout.dtype)
    lazy = [layout is not None and layout.conjugate for layout in (a_layout, b_layout, c_layout)]
    conjugate = [flag != bit for flag, bit in zip(given, lazy, strict=True)]
    a = _vector_or_matrix("a", a_layout, as_row=True, conjugate=conjugate[0])
    b = _vector_or_matrix("b", b_layout, as_row=False, conjugate=conjugate[1])
    if a.cols != b.rows:
        raise ValueError(
            f"a has the shape {a_layout.shape} and b {b_layout.shape}; the last extent of a ({a.cols}) must equal "
            f"the first matrix extent of b ({b.rows})"
        )
    batch = batch_of(a_layout.shape[:-2], b_layout.shape[:-2])
    none = (0,) * len(batch)
    a = a._replace(batch=a.batch or none, alignment=alignments["a"])
    b = b._replace(batch=b.batch or none, alignment=alignments["b"])
    m, n = a.rows, b.cols
    c = None
    dtype = result_dtype(a.dtype, b.dtype, c_layout.dtype if c_layout else None, options.result_type)
    quantization = narrow.quantization(a, b, dtype, batch, layouts, options, scales)
    compute_type, scale = check_compute(a.dtype, dtype, options.compute_type, options.scale_type, on_device=on_device)
    if c_layout is not None:
        c = _c_matrix(c_layout, batch, m, n, conjugate[2], options.inplace)._replace(alignment=alignments["c"])
    elif options.inplace:
        raise ValueError("options.inplace is set, but c was not given; the result replaces c")
    d = (
        c
        if options.inplace and c is not None
        else narrow_result(dtype, batch, m, n, result_order(a, c, MatmulEpilog.DEFAULT))
    )
    if quantization is not None:
        narrow.check_result(d, dtype, options)
    limit = execution.threads if isinstance(execution, ExecutionCPU) else execution.device_id
    choices = None
    if isinstance(execution, ExecutionCUDA):
        choices = choices_of(options, execution.device_id, compute_type, scale)
    allowed = {**dict.fromkeys(_HALF, "float16"), _T.COMPUTE_32F_FAST_16BF: a.dtype}
    compute = allowed.get(compute_type) if a.dtype in ("float16", "bfloat16") else None
    return MatmulProblem(
        m, n, numbers_of(a).cols, batch, a, b, c, d, compute or WORK_DTYPE[a.dtype], options.inplace,
        (execution.space, limit), package, constant=tuple(sorted(options.constant)), cuda=choices, narrow=quantization,
    )  # fmt: skip


def choices_of(
    options: MatmulOptions, device_id: int, compute_type: MatmulComputeType, scale: str
) -> Choices:  # fmt: skip
    """What only a CUDA device needs to know, without what `Matmul.plan` adds."""
    return Choices(
        compute_type=int(compute_type),
        scale=scale,
        memory=devices.memory_limit(options.memory_limit, device_id),
        multiprocessors=options.sm_count_target or 0,
        fast_accumulation=bool(options.fast_accumulation),
        handle=options.handle or 0,
    )


def check_dtype(dtype: str) -> None:
    """Raise where there are no products of a dtype."""
    if dtype not in WORK_DTYPE:
        known = ", ".join(map(repr, WORK_DTYPE))
        raise ValueError(f"a has the dtype {dtype}; convert the operands; choose from {known}")


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


def result_dtype(a_dtype: str, b_dtype: str, c_dtype: str | None, result_type: int | None) -> str:
    """dtype of the result. Raises ValueError for combinations that do not exist."""
    possible = narrow.RESULTS.get((a_dtype, b_dtype)) or RESULTS_OF[a_dtype]
    wanted = DTYPE_OF.get(CudaDataType(result_type)) if result_type is not None else c_dtype
    if result_type is not None and wanted not in possible:
        raise ValueError(
            f"options.result_type is {CudaDataType(result_type).name}; operands of {a_dtype} have results of "
            f"{' or '.join(possible)}"
        )
    if wanted is not None and wanted not in possible:
        results = " or ".join(possible)
        raise ValueError(f"c has the dtype {wanted}; operands of {a_dtype} have results of {results}: convert it")
    dtype = wanted or possible[0]
    added = ADDENDS[dtype] if a_dtype in SCALED else (dtype,)
    if c_dtype is not None and c_dtype not in added:
        expected = (
            f"{' or '.join(added)}, for a result of {dtype}" if dtype in SCALED else f"that of the result, {dtype}"
        )
        raise ValueError(f"c has the dtype {c_dtype}; expected {expected}: convert it")
    return dtype


def check_compute(
    dtype: str, result: str, compute_type: int | None, scale_type: int | None, *, on_device: bool
) -> tuple[MatmulComputeType, str]:
    """How products are accumulated, and the dtype of alpha and beta.

    Raises
    ------
    ValueError
        For types that do not fit.
    """
    possible = COMPUTE_OF[dtype]
    if on_device and dtype == "int8":
        # on a device, what is summed as integers is an integer
        possible = _SINGLE if result == "float32" else possible
    if compute_type is not None and compute_type not in possible:
        names = ", ".join(t.name for t in possible)
        raise ValueError(f"options.compute_type is {MatmulComputeType(compute_type).name}; {dtype} has {names}")
    candidates = possible if compute_type is None else (MatmulComputeType(compute_type),)
    scales = {compute: scales_of(dtype, compute, on_device=on_device) for compute in candidates}
    compute = candidates[0]
    if scale_type is not None:  # alone, it implies how products are computed
        wanted = DTYPE_OF.get(CudaDataType(scale_type))
        fitting = [candidate for candidate in candidates if wanted in scales[candidate]]
        if not fitting:
            known = {name for candidate in candidates for name in scales[candidate]}
            names = " or ".join(number.name for number, name in DTYPE_OF.items() if name in known)
            computed = "" if compute_type is None else f" computed as {compute.name}"
            raise ValueError(
                f"options.scale_type is {CudaDataType(scale_type).name}; products of {dtype}{computed} have {names}"
            )
        compute = fitting[0]
    if on_device and dtype == "bfloat16" and compute in _FAST:
        return _T.COMPUTE_32F, scales[compute][0]  # a device needs no leave to be fast
    return compute, scales[compute][0]


def scales_of(dtype: str, compute: MatmulComputeType, *, on_device: bool) -> tuple[str, ...]:
    """The dtypes that alpha and beta can have, the default first."""
    if compute in _HALF:
        return ("float16",)
    if dtype == "int8":
        return ("int32", "float32") if not on_device else ("int32",) if compute not in _SINGLE else ("float32",)
    return (WORK_DTYPE.get(dtype, "float32"),)


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
    if isinstance(epilog, str) and epilog in MatmulEpilog.__members__:
        raise TypeError(f"epilog is the name {epilog!r}; pass MatmulEpilog.{epilog}")
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


def check_epilog_input(name: Any, epilog: MatmulEpilog, known: tuple[str, ...]) -> None:
    """Raise where the epilog has no input of this name."""
    if name not in known:
        raise ValueError(f"epilog_inputs has {name!r}; {epilog.name} takes {', '.join(known) or 'no inputs'}")


def check_execution_space(options: MatmulOptions, execution: Execution) -> None:
    """Raise where something is asked for that the execution space does not have."""
    if not isinstance(execution, ExecutionCUDA) or not options.block_scaling:
        return
    device = devices.device(execution.device_id)
    if device.compute_capability < BLOCK_SCALING:
        raise UnavailableError(
            "options.block_scaling: devices have products of MXFP8 and NVFP4 from compute capability 10.0 on, and "
            f"{device.name} has {'.'.join(map(str, device.compute_capability))}: pass execution='cpu'"
        )


def epilog_matrix(name: str, argument: str, layout: Layout, problem: MatmulProblem, alignment: int) -> Matrix:
    """An input of an epilog as a matrix. Raises where it has not the shape, dtype and order of one."""
    if name == AUXILIARY_SCALE:
        return SINGLE
    rows, cols = EXTENTS[name](problem.m, problem.n)
    expected = [(rows, cols), (*problem.batch, rows, cols)]
    if is_vector(name):
        expected.insert(0, (rows,))
    if layout.shape not in expected:
        shapes = " or ".join(map(str, dict.fromkeys(expected)))
        raise ValueError(f"{argument} has the shape {layout.shape}; expected {shapes}")
    possible = narrow.input_dtypes(name, problem)
    if layout.dtype not in possible:
        raise ValueError(f"{argument} has the dtype {layout.dtype}; expected {' or '.join(possible)}: convert it")
    n_batch = max(len(layout.shape) - 2, 0)
    row, col = (*layout.strides, 0)[:2] if len(layout.shape) == 1 else layout.strides[-2:]
    if row != 1 and rows > 1 and not is_vector(name):
        raise ValueError(
            f"{argument} has the strides {layout.strides}; expected column-major ones, as the forward epilog "
            "returned it"
        )
    if row < 0:
        raise ValueError(f"{argument} has the strides {layout.strides}; expected a positive one: copy it")
    steps = layout.strides[:n_batch] if n_batch else (0,) * len(problem.batch)
    return Matrix(layout.dtype, rows, cols, row, col if cols > 1 else rows, steps, alignment=alignment)
