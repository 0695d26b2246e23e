"""Block-scaled formats: MXFP8, where 32 numbers of 8 bits share a scale, and NVFP4, where 16 numbers of 4 bits do.

The scales of a matrix are one flat array, in the order in which cuBLASLt's kernels load them (cuBLAS documentation,
"1D Block Scaling Factors Layout"): tiles of 128 rows by 4 blocks, one after the other along the rows, and within a tile
row r and block b at ``r % 32 * 16 + r // 32 * 4 + b``. "Rows" are the matrix's where blocks lie along the last axis
(``axis=-1``, as for a product's first operand), and its columns where they lie along the last but one (``axis=-2``).

Products of these formats are computed on the CPU and on devices of compute capability 10.0 and later; these functions
need no device.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.core.arrays import package_named, package_of
from planmath.core.cuda import streams

__all__ = [
    "BlockScalingFormat",
    "apply_mxfp8_scale",
    "create_mxfp8_scale",
    "expand_block_scale",
    "get_block_scale_offset",
    "invert_mxfp8_scale",
    "quantize_to_fp4",
    "to_block_scale",
    "unpack_fp4",
]


class BlockScalingFormat(enum.StrEnum):
    """A format in which a block of numbers has a scale."""

    NVFP4 = "NVFP4"
    MXFP8 = "MXFP8"


#: Numbers that share a scale.
BLOCK = {BlockScalingFormat.NVFP4: 16, BlockScalingFormat.MXFP8: 32}
#: dtypes of the scales: the format's own first. Bytes stand for it in all formats.
SCALE_DTYPES = {BlockScalingFormat.NVFP4: ("float8_e4m3fn", "uint8"), BlockScalingFormat.MXFP8: ("uint8",)}
#: What dtypes of 8 and 4 bits are scaled as; others may be, such as results that were converted.
FORMAT_OF = {
    "float8_e4m3fn": BlockScalingFormat.MXFP8, "float8_e5m2": BlockScalingFormat.MXFP8,
    "float4_e2m1fn_x2": BlockScalingFormat.NVFP4,
}  # fmt: skip
#: A tile of scales: rows, and blocks.
TILE_ROWS, TILE_BLOCKS = 128, 4
#: UE8M0's number for 2⁰.
BIAS = 127
#: The magnitudes that FP4 (E2M1) has, by their code; the code's highest bit is the sign.
FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def get_block_scale_offset(
    index: Sequence[Any], operand_or_shape: Any, block_scaling_format: BlockScalingFormat, *, axis: int | None = None
) -> Any:
    """Where in the flat array the scale of a block is.

    Parameters
    ----------
    index : tuple of int, or of arrays
        Of the block, with as many numbers as the operand has axes; along the blocked one it counts blocks.
    operand_or_shape : torch.Tensor, numpy.ndarray or tuple of int
        What is scaled, or its shape in numbers. The blocked axis has a multiple of 64 (NVFP4) or 128 (MXFP8) numbers,
        the other one of the last two a multiple of 128.
    block_scaling_format : BlockScalingFormat
    axis : {-1, -2}, optional
        The blocked axis. Default: the one along which the operand is contiguous.

    Returns
    -------
    int or array of int

    Examples
    --------
    >>> from planmath.linalg.advanced.helpers.matmul import BlockScalingFormat, get_block_scale_offset
    >>> get_block_scale_offset((5, 2), (128, 128), BlockScalingFormat.NVFP4, axis=-1)
    82
    >>> get_block_scale_offset((5, 5), (128, 128), BlockScalingFormat.NVFP4, axis=-1)
    593
    """
    chosen = BlockScalingFormat(block_scaling_format)
    shape, axis = _shape_and_axis(operand_or_shape, chosen, axis)
    if len(index) != len(shape):
        raise ValueError(f"index has {len(index)} numbers; expected {len(shape)}, for an operand of shape {shape}")
    extents = _scales_shape(shape, chosen, axis)
    for which, (i, n) in enumerate(zip(index, extents, strict=True)):
        if isinstance(i, int) and not 0 <= i < n:
            raise IndexError(f"index[{which}] is {i}; expected 0 to {n - 1}, for scales of shape {extents}")
    matrix: Any = 0
    for i, n in zip(index[:-2], shape[:-2], strict=True):
        matrix = matrix * n + i
    row, block = (index[-2], index[-1]) if axis == -1 else (index[-1], index[-2])
    rows, blocks = (extents[-2], extents[-1]) if axis == -1 else (extents[-1], extents[-2])
    tile = (matrix * (rows // TILE_ROWS) + row // TILE_ROWS) * (blocks // TILE_BLOCKS) + block // TILE_BLOCKS
    within = row % 32 * 16 + row % TILE_ROWS // 32 * TILE_BLOCKS + block % TILE_BLOCKS
    return tile * TILE_ROWS * TILE_BLOCKS + within


def to_block_scale(
    scale_tensor: Any,
    operand_or_shape: Any,
    block_scaling_format: BlockScalingFormat,
    *,
    axis: int | None = None,
    out: Any = None,
) -> Any:
    """Scales in the order of the matrix's blocks, brought into the order of cuBLASLt's flat array.

    Parameters
    ----------
    scale_tensor : torch.Tensor or numpy.ndarray
        The operand's shape, with blocks in place of numbers along the blocked axis. float8_e4m3fn (NVFP4), or uint8.
    operand_or_shape, block_scaling_format, axis
        As for `get_block_scale_offset`.
    out : array, optional
        A flat array of the same dtype to put them into. Default: a new one.
    """
    chosen = BlockScalingFormat(block_scaling_format)
    shape, axis = _shape_and_axis(operand_or_shape, chosen, axis)
    _check_scale_dtype("scale_tensor", scale_tensor, chosen)
    extents = _scales_shape(shape, chosen, axis)
    if tuple(scale_tensor.shape) != extents:
        raise ValueError(
            f"scale_tensor has the shape {tuple(scale_tensor.shape)}; expected {extents}, for an operand of shape "
            f"{shape} in {chosen.value} with axis={axis}"
        )
    by_rows = scale_tensor if axis == -1 else _permuted(scale_tensor, (*range(len(shape) - 2), -1, -2))
    rows, blocks = by_rows.shape[-2:]
    tiles = by_rows.reshape(-1, rows // TILE_ROWS, 4, 32, blocks // TILE_BLOCKS, TILE_BLOCKS)
    flat = _permuted(tiles, (0, 1, 4, 3, 2, 5)).reshape(-1)
    if out is None:
        return flat
    if out.dtype != scale_tensor.dtype or tuple(out.shape) != tuple(flat.shape):
        raise ValueError(
            f"out has the dtype {out.dtype} and the shape {tuple(out.shape)}; expected {scale_tensor.dtype} and "
            f"{tuple(flat.shape)}"
        )
    out[...] = flat
    return out


def expand_block_scale(
    scales_1d: Any,
    operand_or_shape: Any,
    block_scaling_format: BlockScalingFormat,
    *,
    axis: int | None = None,
    output_dtype: Any = "smallest",
    device: str | None = None,
) -> Any:
    """The scale of each number, from cuBLASLt's flat array.

    Parameters
    ----------
    scales_1d : torch.Tensor or numpy.ndarray
        As `to_block_scale` returns it, or a product as ``d_out_scale``.
    operand_or_shape, block_scaling_format, axis
        As for `get_block_scale_offset`.
    output_dtype : torch.dtype, numpy.dtype or 'smallest'
        float16, float32 or float64 for the scales' values; or the scales' own, the default: float8_e4m3fn for NVFP4,
        uint8, an exponent plus 127, for MXFP8.
    device : {'cuda', 'cpu'}, optional
        Where to. Default: where the scales are.

    Returns
    -------
    array
        Of the operand's shape.

    Raises
    ------
    ValueError
        If a scale is outside of the range of `output_dtype`.
    """
    chosen = BlockScalingFormat(block_scaling_format)
    shape, axis = _shape_and_axis(operand_or_shape, chosen, axis)
    _check_scale_dtype("scales_1d", scales_1d, chosen)
    if device not in (None, "cpu", "cuda"):
        raise ValueError(f"device is {device!r}; expected 'cpu' or 'cuda'")
    extents = _scales_shape(shape, chosen, axis)
    if tuple(scales_1d.shape) != (math.prod(extents),):
        raise ValueError(
            f"scales_1d has the shape {tuple(scales_1d.shape)}; expected {(math.prod(extents),)}, for an operand of "
            f"shape {shape} in {chosen.value}"
        )
    own = SCALE_DTYPES[chosen][0]
    wanted = own if isinstance(output_dtype, str) and output_dtype == "smallest" else _dtype_name(output_dtype)
    if wanted not in (own, *_FLOATS):
        raise TypeError(f"output_dtype is {output_dtype}; expected 'smallest', {own}, {', '.join(_FLOATS)}")
    bits = _viewed(scales_1d, "uint8")
    rows, blocks = (extents[-2], extents[-1]) if axis == -1 else (extents[-1], extents[-2])
    tiles = bits.reshape(-1, rows // TILE_ROWS, blocks // TILE_BLOCKS, 32, 4, TILE_BLOCKS)
    by_rows = _permuted(tiles, (0, 1, 4, 3, 2, 5)).reshape(*shape[:-2], rows, blocks)
    of_numbers = (
        np.repeat(by_rows, BLOCK[chosen], -1)
        if isinstance(by_rows, np.ndarray)
        else by_rows.repeat_interleave(BLOCK[chosen], -1)
    )
    if axis == -2:
        of_numbers = _permuted(of_numbers, (*range(len(shape) - 2), -1, -2))
    if device is not None and hasattr(of_numbers, "to"):
        of_numbers = of_numbers.to(device)
    if wanted == own:
        return _viewed(of_numbers, own)
    values = (
        _powers(of_numbers) if chosen is BlockScalingFormat.MXFP8 else _converted(_viewed(of_numbers, own), "float64")
    )
    return _narrowed(values, wanted)


def apply_mxfp8_scale(x: Any, scales_1d: Any, output_dtype: Any = "smallest") -> Any:
    """An operand's numbers times their scales.

    Parameters
    ----------
    x : torch.Tensor or numpy.ndarray
        Such as the FP8 result of a product.
    scales_1d : array
        Its scales, in the order of cuBLASLt's flat array.
    output_dtype : torch.dtype, numpy.dtype or 'smallest'
        float16, float32 or float64. Default: the first of them whose range has all results.

    Raises
    ------
    ValueError
        If a result is outside of the range of `output_dtype`.
    """
    smallest = isinstance(output_dtype, str) and output_dtype == "smallest"
    if not smallest and _dtype_name(output_dtype) not in _FLOATS:
        raise TypeError(f"output_dtype is {output_dtype}; expected 'smallest', {', '.join(_FLOATS)}")
    factors = _powers(expand_block_scale(scales_1d, x, BlockScalingFormat.MXFP8))
    return _narrowed(_converted(x, "float64") * factors, None if smallest else _dtype_name(output_dtype))


def create_mxfp8_scale(x: Any, exponent: int, stream: Any = None) -> Any:
    """The same scale for all blocks of an operand.

    Parameters
    ----------
    x : torch.Tensor or numpy.ndarray
        The operand.
    exponent : int
        From -127 to 128; the scale is 2 to this power.
    stream : object, optional
        CUDA stream for an operand on a device. Default: the package's current one.

    Returns
    -------
    array of uint8
        Flat, beside the operand.
    """
    if not isinstance(exponent, int) or isinstance(exponent, bool) or not -BIAS <= exponent <= 255 - BIAS:
        raise ValueError(f"exponent is {exponent!r}; expected an integer from {-BIAS} to {255 - BIAS}")
    package = package_of(x, "x")
    shape, axis = _shape_and_axis(x, BlockScalingFormat.MXFP8, None)
    size = math.prod(_scales_shape(shape, BlockScalingFormat.MXFP8, axis))
    device_id = getattr(getattr(x, "device", None), "index", None)
    if device_id is not None and stream is not None:
        with package.on_stream(streams.address_of(stream, device_id), device_id):
            return create_mxfp8_scale(x, exponent)
    scales = package.empty((size,), (1,), package.dtype("uint8"), device_id)
    scales[...] = exponent + BIAS
    return scales


def invert_mxfp8_scale(mx_scales: Any) -> Any:
    """The reciprocals of MXFP8 scales: 2 to the negative power.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg.advanced.helpers.matmul import invert_mxfp8_scale
    >>> invert_mxfp8_scale(np.array([127, 130, 0], np.uint8))
    array([127, 124, 254], dtype=uint8)
    """
    _check_scale_dtype("mx_scales", mx_scales, BlockScalingFormat.MXFP8)
    return 2 * BIAS - mx_scales.clip(
        max=2 * BIAS
    )  # 2 to the 128th has no reciprocal in the format: the smallest number


def quantize_to_fp4(x: Any, axis: int) -> Any:
    """Numbers rounded to FP4 (E2M1), two of them in a byte.

    Parameters
    ----------
    x : torch.Tensor
        float32, with an even extent along `axis`.
    axis : {-1, -2}
        Along which neighbours share a byte, the first one in its lower half.

    Returns
    -------
    torch.Tensor
        float4_e2m1fn_x2, with half the extent along `axis`, which is contiguous.

    Notes
    -----
    Of two numbers at the same distance the one with the even code is taken, as by IEEE 754. What is beyond ±6 becomes
    ±6. There is no NaN in FP4: it is an error.
    """
    torch = _torch_for(x)
    if x.dtype is not torch.float32:
        raise ValueError(f"x has the dtype {x.dtype}; expected torch.float32: convert it")
    _check_packed_axis(x, axis)
    if x.shape[axis] % 2:
        raise ValueError(f"x has the shape {tuple(x.shape)}; expected an even extent along axis {axis}")
    if x.isnan().any():
        raise ValueError("x has NaN, which FP4 does not have; replace it first, for example with torch.nan_to_num")
    between = torch.tensor([(low + high) / 2 for low, high in itertools.pairwise(FP4)], device=x.device)
    size = x.abs()
    # at a midpoint this is the lower code, which stays where it is even
    below = torch.bucketize(size.contiguous(), between)
    code = below + ((below % 2 == 1) & (size == between[below.clamp(max=len(between) - 1)]))
    code = (code + 8 * x.signbit()).to(torch.uint8).movedim(axis, -1)
    packed = (code[..., 0::2] | code[..., 1::2] << 4).contiguous()
    return packed.movedim(-1, axis).view(torch.float4_e2m1fn_x2)


def unpack_fp4(fp4_tensor: Any, axis: int) -> Any:
    """FP4 numbers as float32.

    Parameters
    ----------
    fp4_tensor : torch.Tensor
        float4_e2m1fn_x2, as `quantize_to_fp4` returns it.
    axis : {-1, -2}
        Along which neighbours share a byte.

    Returns
    -------
    torch.Tensor
        float32, with twice the extent along `axis`, which is contiguous.
    """
    torch = _torch_for(fp4_tensor)
    if fp4_tensor.dtype is not torch.float4_e2m1fn_x2:
        raise ValueError(f"fp4_tensor has the dtype {fp4_tensor.dtype}; expected torch.float4_e2m1fn_x2")
    _check_packed_axis(fp4_tensor, axis)
    packed = fp4_tensor.view(torch.uint8).movedim(axis, -1)
    codes = torch.stack([packed & 15, packed >> 4], -1).flatten(-2)
    values = torch.tensor([*FP4, *(-value for value in FP4)], device=packed.device)
    return values[codes.long()].movedim(-1, axis)


# Details.

_FLOATS = ("float16", "float32", "float64")


def _shape_and_axis(
    operand_or_shape: Any, chosen: BlockScalingFormat, axis: int | None
) -> tuple[tuple[int, ...], int]:  # fmt: skip
    """The operand's shape in numbers, and its blocked axis."""
    if axis not in (None, -1, -2):
        raise ValueError(f"axis is {axis!r}; expected -1 or -2")
    if isinstance(operand_or_shape, tuple | list):
        if axis is None:
            raise ValueError("axis was not given; with a shape, pass -1 or -2 for the blocked axis")
        shape = tuple(operand_or_shape)
    else:
        operand = operand_or_shape
        shape = tuple(operand.shape)
        dtype = _dtype_name(operand.dtype)
        if dtype in FORMAT_OF and FORMAT_OF[dtype] is not chosen:
            raise ValueError(
                f"the operand has the dtype {dtype}, which is scaled by blocks in {FORMAT_OF[dtype].value}; "
                f"block_scaling_format is {chosen.value}"
            )
        steps = operand.stride() if hasattr(operand, "stride") else [s // operand.itemsize for s in operand.strides]
        along = -1 if len(shape) < 2 or steps[-1] == 1 else -2
        if dtype == "float4_e2m1fn_x2":
            shape = tuple(2 * n if which == len(shape) + along else n for which, n in enumerate(shape))
        axis = along if axis is None else axis
    if len(shape) < 2:
        raise ValueError(f"the operand has the shape {shape}; expected a matrix, or a batch of them")
    for which, multiple in ((axis, BLOCK[chosen] * TILE_BLOCKS), (-3 - axis, TILE_ROWS)):
        if shape[which] < 1 or shape[which] % multiple:
            raise ValueError(
                f"the operand has the shape {shape}; {chosen.value} with axis={axis} needs a multiple of {multiple} "
                f"along axis {which}"
            )
    return shape, axis


def _scales_shape(shape: tuple[int, ...], chosen: BlockScalingFormat, axis: int) -> tuple[int, ...]:
    """The operand's shape with blocks in place of numbers."""
    return tuple(n // BLOCK[chosen] if which == len(shape) + axis else n for which, n in enumerate(shape))


def _check_scale_dtype(name: str, scales: Any, chosen: BlockScalingFormat) -> None:
    package_of(scales, name)
    dtype = _dtype_name(scales.dtype)
    if dtype not in SCALE_DTYPES[chosen]:
        raise TypeError(
            f"{name} has the dtype {dtype}; expected {' or '.join(SCALE_DTYPES[chosen])} for {chosen.value}"
        )


def _check_packed_axis(x: Any, axis: int) -> None:
    if axis not in (-1, -2) or x.ndim < -axis:
        raise ValueError(f"axis is {axis!r} for a tensor of {x.ndim} axes; expected -1, or -2 where there are two axes")


def _torch_for(x: Any) -> Any:
    if package_of(x, "x").name != "torch":
        raise TypeError(f"x is a {type(x).__name__}; expected a torch.Tensor, for NumPy has no dtype of 4 bits")
    torch: Any = __import__("torch")
    if not hasattr(torch, "float4_e2m1fn_x2"):
        raise TypeError(f"PyTorch {torch.__version__} has no dtype float4_e2m1fn_x2; PyTorch 2.8 has it")
    return torch


def _dtype_name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.") if str(dtype).startswith("torch.") else np.dtype(dtype).name


def _permuted(x: Any, order: tuple[int, ...]) -> Any:
    return x.transpose(order) if isinstance(x, np.ndarray) else x.permute(order)


def _viewed(x: Any, dtype: str) -> Any:
    return x.view(package_of(x, "x").dtype(dtype))


def _converted(x: Any, dtype: str) -> Any:
    return x.astype(dtype) if isinstance(x, np.ndarray) else x.to(package_named("torch").dtype(dtype))


def _powers(exponents: Any) -> Any:
    """The scales that UE8M0 numbers stand for, as float64."""
    exponents = _converted(exponents, "float64") - BIAS
    return np.exp2(exponents) if isinstance(exponents, np.ndarray) else exponents.exp2()


def _narrowed(values: Any, wanted: str | None) -> Any:
    """The values in a dtype whose range has all of them, or in the first such dtype."""
    sizes = abs(values)
    largest = sizes.max() if isinstance(sizes, np.ndarray) else sizes.amax()
    finite = sizes[(sizes > 0) & (sizes < math.inf)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (1.0, float(largest) or 1.0)
    ranges = {name: (float(np.finfo(name).tiny), float(np.finfo(name).max)) for name in _FLOATS}
    fitting = [name for name, (least, most) in ranges.items() if least <= low and high <= most] or ["float64"]
    if wanted is not None and wanted not in fitting:
        raise ValueError(
            f"the values are from {low:.3g} to {high:.3g} in size, which is outside of the range of {wanted}; "
            f"expected {fitting[0]} or wider"
        )
    return _converted(values, wanted or fitting[0])
