"""FP8 operands: 8 bits for a number, and one scale for all numbers of a matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from planmath.core.arrays import Layout, Package, package_of
from planmath.core.datatypes import DTYPE_OF, CudaDataType
from planmath.core.errors import UnsupportedLayoutError
from planmath.core.options import as_options
from planmath.linalg.advanced.epilog import EPILOGS, MatmulEpilog
from planmath.linalg.advanced.options import MatmulEpilogPreferences, MatmulOptions, MatmulQuantizationScales
from planmath.linalg.advanced.problem import NARROW, Matrix

_E4, _E5 = NARROW
_WIDE = ("bfloat16", "float16", "float32")
#: Results of each pair of operands, the default first (cuBLAS documentation, cublasLtMatmul, "To use FP8 kernels").
RESULTS = {(_E4, _E4): (_E4, *_WIDE), (_E4, _E5): (_E4, _E5, *_WIDE), (_E5, _E4): (_E5, _E4, *_WIDE)}
#: What can be added to products with each result, the default first.
ADDENDS = {
    "bfloat16": ("bfloat16",), "float16": ("float16",), "float32": ("float32",),
    _E4: ("bfloat16", "float16"), _E5: ("bfloat16", "float16"),
}  # fmt: skip
#: The bias, by what is added.
BIASES = {"bfloat16": "bfloat16", "float16": "float16", "float32": "bfloat16"}
#: Kernels load 16 bytes at a time, so extents are multiples of 16.
MULTIPLE = 16


def slot_name(name: str) -> str:
    """What messages and the operation call the scale of one of a, b, c and d."""
    return f"quantization_scales.{name}"


def check_pair(a: str, b: str) -> None:
    """Raise ValueError where the two dtypes are not multiplied with each other."""
    if a != b and (a, b) not in RESULTS:
        raise ValueError(f"a has the dtype {a} and b {b}; expected the same: convert one of them")
    if a == b == _E5:
        raise ValueError(f"a and b have the dtype {_E5}; one of the two must be {_E4}: convert it")


def check_layouts(a: Matrix, b: Matrix, layouts: Mapping[str, Layout]) -> None:
    """Raise where FP8 operands do not lie as their kernels read them: with k along the memory of both."""
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
    for name, extent in (("m", a.rows), ("n", b.cols), ("k", a.cols)):
        if extent % MULTIPLE:
            raise ValueError(
                f"a has the shape {layouts['a'].shape} and b {layouts['b'].shape}; products of {a.dtype} need extents "
                f"that are multiples of {MULTIPLE}, and {name} is {extent}: pad with zeros"
            )


def scale_names(a: str, d: str) -> tuple[str, ...]:
    """Which of a, b, c and d have to have a scale."""
    if a not in NARROW:
        return ()
    return ("a", "b", "d") if d in NARROW else ("a", "b")


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
            f"quantization_scales were given, but a is {dtypes['a']}; only {' and '.join(NARROW)} operands have scales: "
            "leave them away"
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


def auxiliary_dtype(
    epilog: MatmulEpilog, preferences: MatmulEpilogPreferences, a: str, d: str, addend: str
) -> str:  # fmt: skip
    """dtype of the epilog's auxiliary result where it is not the result's, or ''.

    Raises
    ------
    ValueError
        If the user prefers one that it cannot have.
    """
    name = EPILOGS[epilog].mask
    forward = name in EPILOGS[epilog].auxiliary
    wanted = preferences.aux_type
    if wanted is None and not preferences.aux_amax:
        return addend if forward and name == "gelu_aux" and d in NARROW else ""
    if a not in NARROW or not forward or name != "gelu_aux":
        raise ValueError(
            "preferences.epilog sets the auxiliary result's type or amax, which only epilogs with GELU_AUX of FP8 "
            f"operands have, and this is {epilog.name} of {a}; leave it away"
        )
    dtype = DTYPE_OF.get(CudaDataType(wanted)) if wanted is not None else None
    possible = (*NARROW, "bfloat16", "float16")
    if wanted is not None and dtype not in possible:
        raise ValueError(
            f"preferences.epilog.aux_type is {CudaDataType(wanted).name}; expected one of {', '.join(possible)}"
        )
    if preferences.aux_amax and dtype not in NARROW:
        raise ValueError(
            "preferences.epilog.aux_amax is set, but aux_type is not; only auxiliary results of "
            f"{' or '.join(NARROW)} have a largest magnitude: set aux_type to one"
        )
    return dtype or ""


def check_amax(options: MatmulOptions, a: str) -> None:
    if options.result_amax and a not in NARROW:
        raise ValueError(f"options.result_amax is set, but a is {a}; only FP8 products return it: leave it away")
