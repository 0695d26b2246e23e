"""The scales of MXFP8 and NVFP4, and numbers of 4 bits, against their documented layouts."""
# ruff: noqa: E501 - the tables read best with one mistake a line

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from planmath.linalg.advanced.helpers.matmul import (
    BlockScalingFormat,
    apply_mxfp8_scale,
    create_mxfp8_scale,
    expand_block_scale,
    get_block_scale_offset,
    invert_mxfp8_scale,
    quantize_to_fp4,
    to_block_scale,
    unpack_fp4,
)
from tests.misuse import Misuse, check

torch = pytest.importorskip("torch", reason="torch is not installed")
needs_fp4 = pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no dtype of 4 bits")

MXFP8, NVFP4 = BlockScalingFormat.MXFP8, BlockScalingFormat.NVFP4
BLOCK = {MXFP8: 32, NVFP4: 16}
SHAPES = [(128, 128), (256, 384), (3, 128, 256), (2, 3, 256, 128)]
EVERY_FORMAT = pytest.mark.parametrize("form", [MXFP8, NVFP4], ids=lambda form: form.value)
EVERY_AXIS = pytest.mark.parametrize("axis", [-1, -2])


def documented_offset(row: int, block: int, rows: int, blocks: int) -> int:
    """cuBLAS documentation, "1D Block Scaling Factors Layout": tiles of 128 by 4, in their order along the blocks."""
    tile = (row // 128) * (blocks // 4) + block // 4
    return tile * 512 + (row % 32) * 16 + (row % 128) // 32 * 4 + block % 4


def scales_for(shape: tuple[int, ...], form: BlockScalingFormat, axis: int) -> np.ndarray:
    extents = list(shape)
    extents[axis] //= BLOCK[form]
    return np.random.default_rng(shape).integers(0, 127, extents).astype(np.uint8)


@EVERY_FORMAT
@EVERY_AXIS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_offsets(form, axis, shape):
    scales = scales_for(shape, form, axis)
    flat = to_block_scale(scales, shape, form, axis=axis)
    assert flat.shape == (scales.size,)
    rows, blocks = scales.shape[-2:][:: 1 if axis == -1 else -1]
    indices = np.indices(scales.shape).reshape(scales.ndim, -1)
    offsets = get_block_scale_offset(tuple(indices), shape, form, axis=axis)
    assert sorted(offsets) == list(range(scales.size))
    np.testing.assert_array_equal(flat[offsets], scales.ravel())
    for position in range(0, scales.size, 97):
        index = tuple(int(i) for i in indices[:, position])
        row, block = index[-2:][:: 1 if axis == -1 else -1]
        matrix = np.ravel_multi_index(index[:-2], shape[:-2]) if shape[:-2] else 0
        expected = matrix * rows * blocks + documented_offset(row, block, rows, blocks)
        assert get_block_scale_offset(index, shape, form, axis=axis) == offsets[position] == expected


def test_offsets_of_an_operand_follow_its_memory():
    a = torch.zeros(128, 256).to(torch.float8_e4m3fn)
    assert get_block_scale_offset((5, 6), a, MXFP8) == get_block_scale_offset((5, 6), (128, 256), MXFP8, axis=-1)
    assert get_block_scale_offset((6, 5), a.T, MXFP8) == get_block_scale_offset((6, 5), (256, 128), MXFP8, axis=-2)


@EVERY_FORMAT
@EVERY_AXIS
@pytest.mark.parametrize("package", ["numpy", "torch"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_there_and_back(form, axis, package, shape):
    scales: Any = scales_for(shape, form, axis)
    expected = np.repeat(scales, BLOCK[form], axis)
    if package == "torch":
        scales = torch.from_numpy(scales)
        scales = scales if form is MXFP8 else scales.view(torch.float8_e4m3fn)
    elif form is NVFP4:
        pytest.skip("NumPy has no dtype of 8 bits to return them in")
    flat = to_block_scale(scales, shape, form, axis=axis)
    assert flat.dtype == scales.dtype
    out = flat.clone() if package == "torch" else np.zeros_like(flat)
    assert to_block_scale(scales, shape, form, axis=axis, out=out) is out
    of_numbers = expand_block_scale(flat, shape, form, axis=axis)
    bits = of_numbers.view(torch.uint8).numpy() if package == "torch" else of_numbers
    np.testing.assert_array_equal(bits, expected)
    values = np.asarray(expand_block_scale(flat, shape, form, axis=axis, output_dtype=np.float64))
    decoded = (
        2.0 ** (expected - 127.0)
        if form is MXFP8
        else torch.from_numpy(expected).view(torch.float8_e4m3fn).double().numpy()
    )
    np.testing.assert_array_equal(values, decoded)


@pytest.mark.parametrize("package", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("exponent", "dtype"),
    [(-127, "float64"), (-126, "float32"), (-15, "float32"), (-14, "float16"), (0, "float16"), (15, "float16"), (16, "float32"),
     (127, "float32"), (128, "float64")],
)  # fmt: skip
def test_scaling_everything_alike(package, exponent, dtype):
    """The smallest dtype whose normal numbers have the result."""
    x = np.ones((128, 128), np.float32) if package == "numpy" else torch.ones(128, 128).to(torch.float8_e5m2)
    scales = create_mxfp8_scale(x, exponent)
    assert type(scales) is (np.ndarray if package == "numpy" else torch.Tensor)
    assert scales.shape == (512,)
    assert (np.asarray(scales) == exponent + 127).all()
    result = apply_mxfp8_scale(x, scales)
    assert str(result.dtype).removeprefix("torch.") == dtype
    assert (np.asarray(result) == np.exp2(float(exponent))).all()
    back = apply_mxfp8_scale(result, invert_mxfp8_scale(scales))
    assert (np.asarray(back, np.float64) == 1.0).all() or exponent == 128


def test_scaled_numbers():
    """Each block by its own scale, against a loop over the blocks."""
    x = torch.randn(128, 128, generator=torch.Generator().manual_seed(1)).to(torch.float8_e4m3fn)
    scales = scales_for((128, 128), MXFP8, -1) % 12 + 120
    result = apply_mxfp8_scale(x, to_block_scale(torch.from_numpy(scales), x, MXFP8), torch.float64)
    for row, block in product(range(0, 128, 13), range(4)):
        part = slice(32 * block, 32 * block + 32)
        expected = x[row, part].double() * 2.0 ** (int(scales[row, block]) - 127)
        assert torch.equal(result[row, part], expected)


def test_reciprocals():
    every = torch.arange(256).to(torch.uint8)
    inverse = invert_mxfp8_scale(every)
    assert (every.double() - 127 + inverse.double() - 127)[:255].abs().max() == 0
    assert inverse[255] == 0  # 2 to the -128 is smaller than all scales


@needs_fp4
@EVERY_AXIS
def test_numbers_of_four_bits(axis):
    """Every number that there is, the midpoints between them, what is just beside those, and what is beyond."""
    magnitudes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    middles = (magnitudes[1:] + magnitudes[:-1]) / 2
    values = np.concatenate(
        [magnitudes, middles, np.nextafter(middles, 9, dtype="f4"), np.nextafter(middles, 0, dtype="f4"), [7, np.inf]]
    )
    values = np.concatenate([values, -values]).astype("f4")
    values = np.resize(values, (2, 2 * len(values)))
    distance = abs(abs(values[..., None]) - magnitudes)
    nearest = np.where(np.isinf(values), 7, distance.argmin(-1))
    tie = (np.sort(distance, -1)[..., 0] == np.sort(distance, -1)[..., 1]) & np.isfinite(values)
    nearest = np.where(tie & (nearest % 2 == 1), nearest + 1, nearest)
    expected = np.copysign(magnitudes[nearest], values)
    x = torch.from_numpy(values if axis == -1 else np.ascontiguousarray(values.T))
    packed = quantize_to_fp4(x, axis)
    assert packed.dtype is torch.float4_e2m1fn_x2
    assert packed.stride()[axis] == 1
    codes = packed.view(torch.uint8).movedim(axis, -1).numpy()
    first = np.where(np.signbit(expected[:, 0::2]), 8, 0) + nearest[:, 0::2]
    np.testing.assert_array_equal(codes & 15, first)
    back = unpack_fp4(packed, axis)
    assert back.shape == x.shape
    assert back.stride()[axis] == 1
    np.testing.assert_array_equal(back.movedim(axis, -1).numpy(), expected)
    np.testing.assert_array_equal(np.signbit(back.movedim(axis, -1).numpy()), np.signbit(values))


ONES = torch.ones(128, 128)
MISUSES = [
    Misuse("extent", lambda: create_mxfp8_scale(torch.ones(100, 128), 0), ValueError, ("multiple of 128 along axis -2",)),
    Misuse("blocked extent", lambda: get_block_scale_offset((0, 0), (128, 96), NVFP4, axis=-1), ValueError, ("multiple of 64",)),
    Misuse("vector", lambda: get_block_scale_offset((0,), (128,), MXFP8, axis=-1), ValueError, ("expected a matrix",)),
    Misuse("no axis", lambda: get_block_scale_offset((0, 0), (128, 128), MXFP8), ValueError, ("pass -1 or -2",)),
    Misuse("axis", lambda: get_block_scale_offset((0, 0), (128, 128), MXFP8, axis=0), ValueError, ("axis is 0; expected -1 or -2",)),
    Misuse("index", lambda: get_block_scale_offset((0, 4), (128, 128), MXFP8, axis=-1), IndexError, ("index.1. is 4; expected 0 to 3",)),
    Misuse("length of the index", lambda: get_block_scale_offset((0,), (128, 128), MXFP8, axis=-1), ValueError, ("1 numbers; expected 2",)),
    Misuse("format", lambda: get_block_scale_offset((0, 0), ONES.to(torch.float8_e4m3fn), NVFP4), ValueError, ("scaled by blocks in MXFP8",)),
    Misuse("exponent", lambda: create_mxfp8_scale(ONES, 129), ValueError, ("expected an integer from -127 to 128",)),
    Misuse("fraction", lambda: create_mxfp8_scale(ONES, 0.5), ValueError, ("expected an integer",)),
    Misuse("dtype of scales", lambda: invert_mxfp8_scale(np.zeros(4)), TypeError, ("mx_scales has the dtype float64; expected uint8",)),
    Misuse("number of scales", lambda: expand_block_scale(np.zeros(5, np.uint8), (128, 128), MXFP8, axis=-1), ValueError, (r"expected \(512,\)",)),
    Misuse("shape of scales", lambda: to_block_scale(np.zeros((128, 3), np.uint8), (128, 128), MXFP8, axis=-1), ValueError, (r"expected \(128, 4\)",)),
    Misuse("out", lambda: to_block_scale(np.zeros((128, 4), np.uint8), (128, 128), MXFP8, axis=-1, out=np.zeros(512)), ValueError, ("out has the dtype float64",)),
    Misuse("device", lambda: expand_block_scale(np.zeros(512, np.uint8), (128, 128), MXFP8, axis=-1, device="tpu"), ValueError, ("device is 'tpu'",)),
    Misuse("narrow", lambda: apply_mxfp8_scale(ONES, create_mxfp8_scale(ONES, 20), torch.float16), ValueError, ("expected float32 or wider",)),
    Misuse("output dtype", lambda: apply_mxfp8_scale(ONES, create_mxfp8_scale(ONES, 2), torch.bfloat16), TypeError, ("output_dtype is torch.bfloat16",)),
    *([] if not hasattr(torch, "float4_e2m1fn_x2") else [
        Misuse("odd", lambda: quantize_to_fp4(torch.zeros(2, 3), -1), ValueError, ("an even extent along axis -1",)),
        Misuse("double", lambda: quantize_to_fp4(torch.zeros(2, 4).double(), -1), ValueError, ("expected torch.float32",)),
        Misuse("packed axis", lambda: quantize_to_fp4(torch.zeros(4), -2), ValueError, ("axis is -2 for a tensor of 1 axes",)),
        Misuse("NaN", lambda: quantize_to_fp4(torch.full((2, 2), torch.nan), -1), ValueError, ("x has NaN",)),
        Misuse("NumPy", lambda: quantize_to_fp4(np.zeros((2, 4), "f4"), -1), TypeError, ("expected a torch.Tensor",)),
        Misuse("bytes", lambda: unpack_fp4(torch.zeros(2, 2, dtype=torch.uint8), -1), ValueError, ("expected torch.float4_e2m1fn_x2",)),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("misuse", MISUSES, ids=lambda misuse: misuse.what)
def test_message(misuse):
    check(misuse)
