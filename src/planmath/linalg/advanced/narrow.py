"""Operands of 8 and 4 bits: one scale for all numbers of a matrix (FP8), or one for each block (MXFP8, NVFP4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from planmath.core.arrays import ITEMSIZE, Layout, Package, package_of
from planmath.core.cuda import devices
from planmath.core.datatypes import DTYPE_OF, CudaDataType
from planmath.core.errors import UnsupportedLayoutError
from planmath.core.options import as_options
from planmath.linalg.advanced.enums import MatmulEpilog
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.options import MatmulEpilogPreferences, MatmulOptions, MatmulQuantizationScales
from planmath.linalg.advanced.problem import (
    ADDENDS,
    BIASES,
    BLOCK,
    FP4,
    NARROW,
    SCALED,
    MatmulProblem,
    Quantization,
    numbers_of,
    scales_of,
)
from planmath.linalg.product.matrix import Matrix

_E4, _E5 = NARROW
_WIDE = ("bfloat16", "float16", "float32")
#: Results of each pair of operands, the default first (cuBLAS documentation, cublasLtMatmul, "To use FP8 kernels").
RESULTS = {
    (_E4, _E4): (_E4, *_WIDE), (_E4, _E5): (_E4, _E5, *_WIDE), (_E5, _E4): (_E5, _E4, *_WIDE),
    (FP4, FP4): (FP4, *_WIDE),
}  # fmt: skip
#: Kernels load and store 16 bytes at a time.
MULTIPLE = 16
#: The scales of blocks lie in tiles of so many rows by four blocks.
TILE_ROWS, TILE_BLOCKS = 128, 4


def check_pair(a: str, b: str) -> None:
    """Raise ValueError where the two dtypes are not multiplied with each other."""
    if a != b and (a, b) not in RESULTS:
        raise ValueError(f"a has the dtype {a} and b {b}; expected the same: convert one of them")
    if a == b == _E5:
        raise ValueError(f"a and b have the dtype {_E5}; one of the two must be {_E4}: convert it")


def quantization(
    a: Matrix, b: Matrix, d: str, batch: tuple[int, ...], layouts: Mapping[str, Layout], options: MatmulOptions,
    given: Mapping[str, Any],
) -> Quantization | None:  # fmt: skip
    """What the operands bring along; None for wide ones.

    Parameters
    ----------
    a, b : Matrix
    d : str
        dtype of the result.
    batch : tuple of int
    layouts : dict
    options : MatmulOptions
    given : dict
        The quantization scales that the user gave, by name.

    Raises
    ------
    ValueError, UnsupportedLayoutError
        If the operands, or options for narrow ones, do not go together.
    """
    if a.dtype not in SCALED:
        for name in ("result_amax", "block_scaling"):
            if getattr(options, name):
                raise ValueError(
                    f"options.{name} is set, but a is {a.dtype}; only products of {', '.join(SCALED)} have it: leave "
                    "it away"
                )
        return None
    if a.dtype == FP4 and not options.block_scaling:
        raise ValueError(f"a has the dtype {FP4}, whose blocks have scales; pass options={{'block_scaling': True}}")
    check_layouts(a, b, layouts)
    if not options.block_scaling:
        return Quantization(("a", "b", "d") if d in SCALED else ("a", "b"), amax=options.result_amax)
    if options.result_amax:
        raise ValueError(
            "options.result_amax is set together with block_scaling, where the result's blocks have scales of their "
            "own, returned as d_out_scale: leave one of the two away"
        )
    check_blocks(a, b, layouts)
    blocks = []
    for name, matrix in (("a", a), ("b", b)):
        scales = scales_of(matrix, batch)
        blocks.append(scales if len(layouts[name].shape) > 2 else scales._replace(batch=(0,) * len(batch)))
    # what compresses a result of 4 bits before its blocks get scales (cuBLAS documentation, "1D Block Quantization")
    compressed = d == FP4 and "d" in given
    return Quantization(("a", "b", "d") if compressed else ("a", "b"), tuple(blocks))


def check_blocks(a: Matrix, b: Matrix, layouts: Mapping[str, Layout]) -> None:
    """Raise ValueError where the scales of blocks have no layout."""
    x, y = numbers_of(a), numbers_of(b)
    along = BLOCK[a.dtype] * TILE_BLOCKS
    for extent, multiple, what in (
        (x.cols, along, "a common extent"), (x.rows, TILE_ROWS, "rows of a"), (y.cols, TILE_ROWS, "columns of b"),
    ):  # fmt: skip
        if extent % multiple:
            raise ValueError(
                f"a has the shape {layouts['a'].shape} and b {layouts['b'].shape}; block-scaled products of {a.dtype} "
                f"need {what} in multiples of {multiple} numbers, and this is {extent}: pad with zeros"
            )


def check_layouts(a: Matrix, b: Matrix, layouts: Mapping[str, Layout]) -> None:
    """Raise where FP8 operands do not lie as their kernels read them: with k along the memory of both."""
    if a.cols % MULTIPLE:  # FP4 too: 16 bytes
        raise ValueError(
            f"a has the shape {layouts['a'].shape} and b {layouts['b'].shape}; products of {a.dtype} need a common "
            f"extent that is a multiple of {MULTIPLE}, and this is {a.cols}: pad with zeros"
        )
    for name, matrix, order, mend in (
        ("a", a, "row-major", "a.contiguous()"), ("b", b.T, "column-major", "b.mT.contiguous().mT"),
    ):  # fmt: skip
        by_rows = (matrix.col == 1 or matrix.cols == 1) and (matrix.row >= matrix.cols or matrix.rows == 1)
        if not by_rows:
            raise UnsupportedLayoutError(
                f"{name} has the shape {layouts[name].shape} and the strides {layouts[name].strides} (in elements); "
                f"products of {matrix.dtype} need a {order} {name}: pass {mend}"
            )
        if matrix.rows > 1 and matrix.row % MULTIPLE:
            raise UnsupportedLayoutError(
                f"{name} has the strides {layouts[name].strides} (in elements); products of {matrix.dtype} need rows "
                f"or columns that are multiples of {MULTIPLE} apart: pass {mend}"
            )


def given_scales(scales: Any) -> dict[str, Any]:
    """The scales that a user gave, by name."""
    if scales is None:
        return {}
    if not isinstance(scales, MatmulQuantizationScales | dict):
        raise TypeError(
            f"quantization_scales is a {type(scales).__name__}; expected a MatmulQuantizationScales or a dict of its "
            "fields"
        )
    chosen = as_options(MatmulQuantizationScales, scales, "quantization_scales")
    return {name: value for name in "abcd" if (value := getattr(chosen, name)) is not None}


def check_scales(given: Mapping[str, Any], needed: tuple[str, ...], dtypes: Mapping[str, str], *, all_of: bool) -> None:
    """Raise ValueError where scales are missing, or are given for what has none."""
    if given and not needed:
        raise ValueError(
            f"quantization_scales were given, but a is {dtypes['a']}; only operands of {', '.join(SCALED)} have "
            "scales: leave them away"
        )
    for name in given:
        if name not in needed:
            what = dtypes.get(name) or "not given"
            raise ValueError(
                f"quantization_scales has {name!r}, but {name} is {what}; only {', '.join(needed)} have scales here: "
                "leave it away"
            )
    missing = [name for name in needed if name not in given]
    if all_of and missing:
        raise ValueError(
            f"quantization_scales has {sorted(given) or 'nothing'}; {', '.join(missing)} missing: products of "
            f"{dtypes['a']} with results of {dtypes['d']} need a scale for {', '.join(needed)}, such as 1.0"
        )


def as_scale(name: str, value: Any, package: Package, device_id: int | None) -> Any:
    """A scale as an array of one float32: the user's own, or a new one with the number in it.

    Raises
    ------
    TypeError, ValueError
        If it is neither a number nor such an array beside the operands.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}; expected a finite number")
        with devices.on(device_id):
            array = package.empty((1,), (1,), package.dtype("float32"), device_id)
            array[...] = value
            array.sum().item()  # so that it is in place before any stream reads it
        return array
    given = package_of(value, name)
    if given is not package:
        raise TypeError(f"{name} is a {given.name} array; expected a number, or a {package.name} array like a and b")
    layout = given.layout(value, name)
    if layout.shape not in ((), (1,)) or layout.dtype != "float32":
        raise ValueError(
            f"{name} has the shape {layout.shape} and the dtype {layout.dtype}; expected a number, or one element of "
            "float32"
        )
    if layout.device_id != device_id:
        place = "the CPU" if device_id is None else f"CUDA device {device_id}"
        raise ValueError(f"{name} is not where a and b are, on {place}: move it there")
    return given.with_strides(value, Layout((1,), (1,), *layout[2:]))


def as_block_scales(
    name: str, value: Any, package: Package, device_id: int | None, scales: Matrix, batch: tuple[int, ...]
) -> Any:  # fmt: skip
    """The scales of an operand's blocks as bytes: the user's own array.

    Raises
    ------
    TypeError, ValueError
        If it is not such an array beside the operands.
    """
    mend = "planmath.linalg.advanced.helpers.matmul makes them: create_mxfp8_scale, to_block_scale"
    if isinstance(value, int | float):
        raise TypeError(f"{name} is {value}; with block_scaling, expected an array of scales, one a block: {mend}")
    given = package_of(value, name)
    if given is not package:
        raise TypeError(f"{name} is a {given.name} array; expected a {package.name} one, like a and b")
    layout = given.layout(value, name)
    count = scales.rows * (math.prod(batch) if any(scales.batch) else 1)
    dtypes = dict.fromkeys((scales.dtype, "uint8"))
    if layout.shape != (count,) or layout.strides != (1,) or layout.dtype not in dtypes:
        raise ValueError(
            f"{name} has the shape {layout.shape} and the dtype {layout.dtype}; expected {(count,)}, contiguous, of "
            f"{' or '.join(dtypes)}: {mend}"
        )
    if layout.device_id != device_id:
        place = "the CPU" if device_id is None else f"CUDA device {device_id}"
        raise ValueError(f"{name} is not where a and b are, on {place}: move it there")
    return value.view(package.dtype("uint8"))


def added_dtype(problem: MatmulProblem, bias: str | None) -> str:
    """dtype of what is added to a narrow result: c's; without c, what the bias or the auxiliary result needs."""
    if problem.c is not None:
        return problem.c.dtype
    return bias or "float16"


def input_dtypes(name: str, problem: MatmulProblem) -> tuple[str, ...]:
    """The dtypes that an epilog's input can have, for a problem without epilog."""
    if name == "relu_aux":
        return ("uint8",)
    if problem.a.dtype not in SCALED:
        return (problem.d.dtype,)
    addends = (problem.c.dtype,) if problem.c is not None else ADDENDS[problem.d.dtype]
    if name == "gelu_aux":  # as the forward epilog returned it
        return addends if problem.d.dtype in SCALED else (problem.d.dtype,)
    return tuple(BIASES[addend] for addend in addends)


def auxiliary_dtype(
    epilog: MatmulEpilog, preferences: MatmulEpilogPreferences, problem: MatmulProblem, bias: Any
) -> str:  # fmt: skip
    """dtype of the epilog's auxiliary result where it is not the result's, or ''.

    Parameters
    ----------
    epilog : MatmulEpilog
    preferences : MatmulEpilogPreferences
    problem : MatmulProblem
        Without epilog.
    bias : array or None

    Raises
    ------
    ValueError
        If the user prefers one that it cannot have.
    """
    a, d, wanted = problem.a.dtype, problem.d.dtype, preferences.aux_type
    has_state = "gelu_aux" in EPILOGS[epilog].auxiliary
    if wanted is None and not preferences.aux_amax:
        if not has_state or d not in SCALED:
            return ""
        return added_dtype(problem, None if bias is None else package_of(bias, "bias").layout(bias, "bias").dtype)
    if problem.narrow is None or problem.narrow.blocks or not has_state:
        blocks = " with block scaling" if problem.narrow and problem.narrow.blocks else ""
        raise ValueError(
            "preferences.epilog sets the auxiliary result's type or amax, which only GELU_AUX and GELU_AUX_BIAS of FP8 "
            f"operands have, and this is {epilog.name} of {a}{blocks}; leave it away"
        )
    possible = (*NARROW, "bfloat16", "float16")
    dtype = DTYPE_OF.get(CudaDataType(wanted)) if wanted is not None else None
    if wanted is not None and dtype not in possible:
        raise ValueError(
            f"preferences.epilog.aux_type is {CudaDataType(wanted).name}; expected one of {', '.join(possible)}"
        )
    if preferences.aux_amax and dtype not in NARROW:
        raise ValueError(
            "preferences.epilog.aux_amax is set, and aux_type is not one of the dtypes whose largest magnitude is "
            f"known, {' and '.join(NARROW)}: set aux_type to one of them, or leave aux_amax away"
        )
    return dtype or ""


def check_result(d: Matrix, wanted: str, options: MatmulOptions) -> None:
    """Raise where kernels for FP8 cannot write the result, or cannot tell its largest magnitude."""
    if d.dtype != wanted:
        raise ValueError(
            f"options.inplace is set, and c has the dtype {d.dtype}, but the result {wanted}, which cannot replace it: "
            "leave inplace or result_type away"
        )
    row_major, _ = d.leading
    along = d.cols if row_major or d.rows == 1 else d.rows
    if along * ITEMSIZE[d.dtype] % MULTIPLE:
        raise ValueError(
            f"the result has the shape {(d.rows, d.cols)} and is {'row' if row_major else 'column'}-major; products of "
            f"FP8 need {'rows' if row_major or d.rows == 1 else 'columns'} that are multiples of {MULTIPLE} bytes, and "
            f"{along} elements of {d.dtype} are {along * ITEMSIZE[d.dtype]}: pad with zeros"
        )
    if options.result_amax and d.dtype not in NARROW:
        raise ValueError(
            f"options.result_amax is set, but the result is {d.dtype}; only results of {' or '.join(NARROW)} have it, "
            "to be scaled by: leave it away, or set options.result_type"
        )
