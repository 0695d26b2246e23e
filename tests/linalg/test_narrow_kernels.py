"""Kernels for numbers of 8 and 4 bits: every code, and every float at which rounding decides."""

from __future__ import annotations

import ctypes
from fractions import Fraction
from typing import Any

import numpy as np
import planmath.linalg.product.kernels as kernels
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

KINDS = ["float8_e4m3fn", "float8_e5m2"]
FP4 = "float4_e2m1fn_x2"
LARGEST = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0, FP4: 6.0}
BLOCK = {"float8_e4m3fn": 32, "float8_e5m2": 32, FP4: 16}
of_every_kind = pytest.mark.parametrize("kind", KINDS)


def call(function: int, *arguments: Any) -> None:
    """The kernel on numbers, and on the memory of arrays."""
    words = [x.ctypes.data if isinstance(x, np.ndarray) else x for x in arguments]
    ctypes.CFUNCTYPE(None, *[ctypes.c_ssize_t] * len(words))(function)(*words)


def converted(values: np.ndarray, source: str, target: str, dtype: Any) -> np.ndarray:
    result = np.empty(values.shape, dtype)
    call(kernels.CONVERT[source, target, False], 1, values.size, values.size, 1, values.size, 1, values, result)
    return result


def decoded(codes: np.ndarray, kind: str) -> np.ndarray:
    """What PyTorch says that codes stand for."""
    return torch.from_numpy(codes.astype(np.uint8)).view(getattr(torch, kind)).float().numpy()


def nearest(values: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    """The codes of the magnitudes that are nearest to values, even ones at midpoints, by exact arithmetic."""
    exact = [Fraction(float(m)) for m in magnitudes]
    codes = []
    for value in np.minimum(abs(values), magnitudes[-1]).tolist():
        place = int(np.searchsorted(magnitudes, value))
        below, above = max(place - 1, 0), min(place, len(magnitudes) - 1)
        left, right = Fraction(value) - exact[below], exact[above] - Fraction(value)
        codes.append(below if left < right else above if right < left else below + below % 2)
    return np.array(codes)


def deciding(magnitudes: np.ndarray) -> np.ndarray:
    """Numbers, midpoints, what is next to both, what overflows, and the ends of the floats, of either sign."""
    middles = (magnitudes[1:] + magnitudes[:-1]) / 2
    last = magnitudes[-1]
    values = np.concatenate([magnitudes, middles, [last * 1.03, last * 1.07, last * 1.2, 2 * last]]).astype("f4")
    values = np.concatenate([values, np.nextafter(values, np.inf, dtype="f4"), np.nextafter(values, 0, dtype="f4")])
    rng = np.random.default_rng(0)
    spread = rng.integers(0, 0x7F800000, 4000).astype(np.uint32).view("f4")
    ends = [1e-45, 1.1754944e-38, 3.4028235e38, np.inf]
    values = np.concatenate([values, spread, rng.uniform(0, last, 4000), ends]).astype("f4")
    return np.concatenate([values, -values])


@of_every_kind
def test_every_code(kind):
    codes = np.arange(256).astype(np.uint8)
    expected = decoded(codes, kind)
    np.testing.assert_array_equal(converted(codes, kind, "float32", "f4"), expected)
    wide = converted(codes, kind, "bfloat16", "u2")
    np.testing.assert_array_equal((wide.astype(np.uint32) << 16).view("f4"), expected)
    number = ~np.isnan(expected)
    back = converted(expected, "float32", kind, np.uint8)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(back[finite], codes[finite])
    assert np.isnan(decoded(back[~number], kind)).all()


@of_every_kind
def test_every_rounding(kind):
    codes = np.arange(128).astype(np.uint8)
    magnitudes = decoded(codes, kind)
    magnitudes = magnitudes[np.isfinite(magnitudes)]
    assert magnitudes[-1] == LARGEST[kind]
    values = deciding(magnitudes)
    expected = nearest(values, magnitudes) + 128 * np.signbit(values)
    np.testing.assert_array_equal(converted(values, "float32", kind, np.uint8), expected)


@of_every_kind
def test_strided_conversions(kind):
    """Rows and columns at any steps, into the other order too."""
    codes = np.random.default_rng(0).integers(0, 120, (37, 2 * 45)).astype(np.uint8)[:, ::2]
    for order in "CF":
        wide = np.zeros((37, 45), "f4", order)
        steps = [step // wide.itemsize for step in wide.strides]
        call(kernels.CONVERT[kind, "float32", False], *codes.shape, *codes.strides, *steps, codes, wide)
        np.testing.assert_array_equal(wide, decoded(codes, kind))
        back = np.zeros((37, 45), np.uint8)
        call(kernels.CONVERT["float32", kind, False], *codes.shape, *steps, *back.strides, wide, back)
        np.testing.assert_array_equal(back, codes)


@pytest.mark.parametrize("n", [1, 7, 64, 1000])
def test_largest_magnitude(n):
    values = np.random.default_rng(n).standard_normal(n).astype("f4")
    largest = np.zeros(1, "f4")
    for special in (None, -1e30, -np.inf, np.nan):
        if special is not None:
            values[n // 2] = special
        call(kernels.AMAX, n, values, largest)
        np.testing.assert_array_equal(largest[0], abs(values).max())


def test_factor_and_scale():
    numbers = [np.array([value], "f4") for value in (1.5, 3.0, 0.25)]
    factor, values = np.zeros(1, "f4"), np.arange(37, dtype="f4")
    call(kernels.FACTOR, *numbers, factor)
    assert factor[0] == 1.125
    call(kernels.MULTIPLY, 37, factor, values)
    np.testing.assert_array_equal(values, 1.125 * np.arange(37))
    numbers[0][0], numbers[1][0] = 0, np.nan  # whatever the scales are
    call(kernels.FACTOR, *numbers, factor)
    assert factor[0] == 0


def offsets(rows: int, blocks: int) -> np.ndarray:
    """cuBLAS documentation, "1D Block Scaling Factors Layout"."""
    row, block = np.indices((rows, blocks))
    return (row // 128 * (blocks // 4) + block // 4) * 512 + row % 32 * 16 + row % 128 // 32 * 4 + block % 4


def four_bits(packed: np.ndarray) -> np.ndarray:
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1)
    return np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])[codes]


def scale_values(codes: np.ndarray, kind: str) -> np.ndarray:
    """Of UE4M3's codes the sign does not count; UE8M0's are exponents."""
    if kind == FP4:
        return decoded(codes & 127, "float8_e4m3fn").astype(float)
    return np.where(codes == 255, np.nan, np.exp2(codes.astype(float) - 127))


@pytest.mark.parametrize("kind", [*KINDS, FP4])
def test_numbers_times_the_scales_of_their_blocks(kind):
    rows, n, block, per = 256, 256, BLOCK[kind], 1 + (kind == FP4)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (rows, n // per)).astype(np.uint8)
    scales = rng.integers(0, 256, (rows, n // block)).astype(np.uint8)
    flat = np.zeros(scales.size, np.uint8)
    flat[offsets(*scales.shape)] = scales
    wide = np.zeros((rows, n + 5), "f4")
    call(kernels.DEQUANTIZE[kind], rows, n, n // per, n + 5, codes, flat, wide)
    numbers = four_bits(codes) if kind == FP4 else decoded(codes, kind).astype(float)
    with np.errstate(over="ignore"):
        expected = (numbers * np.repeat(scale_values(scales, kind), block, -1)).astype("f4")
    np.testing.assert_array_equal(wide[:, :n], expected)
    assert not wide[:, n:].any()


def chosen_scale(amax: float, kind: str) -> tuple[int, float]:
    """cuBLAS documentation, "1D Block Quantization": a block's scale, and what its numbers are multiplied by."""
    scale = np.float32(amax) / np.float32(LARGEST[kind])
    if kind == FP4:
        magnitudes = decoded(np.arange(127), "float8_e4m3fn")
        code = int(nearest(np.array([scale]), magnitudes)[0])
        return code, float(np.float32(1) / magnitudes[code]) if code else 0.0
    mantissa, exponent = np.frexp(float(scale))  # scale = mantissa 2^exponent, from 1/2 on
    code = 0 if scale == 0 else int(exponent) - 1 + 127 + (mantissa > 0.5)
    code = max(code, 0)
    return code, 2.0 ** (127 - code)


@pytest.mark.parametrize("kind", [*KINDS, FP4])
def test_scales_of_results(kind):
    """Blocks of every size of numbers, of zeros, and of powers of two times the largest number."""
    rows, n, block, per = 128, 512, BLOCK[kind], 1 + (kind == FP4)
    rng = np.random.default_rng(0)
    sizes = np.exp2(rng.uniform(-20, 20, (rows, n // block)))
    sizes[:, 0], sizes[:, 1], sizes[:, 2] = 0, LARGEST[kind] * np.exp2(np.arange(rows) % 7), 1e-42
    values = (rng.standard_normal((rows, n)) * np.repeat(sizes, block, -1)).astype("f4")
    values[:, block] = LARGEST[kind] * np.exp2(np.arange(rows) % 7)
    codes, flat = np.zeros((rows, n // per), np.uint8), np.zeros(rows * n // block, np.uint8)
    call(kernels.QUANTIZE[kind], rows, n, n, n // per, values, codes, flat)
    blocks = values.reshape(rows, -1, block)
    amax = abs(blocks).max(-1)
    chosen = [chosen_scale(x, kind) for x in amax.ravel()]
    np.testing.assert_array_equal(flat[offsets(*amax.shape)].ravel(), [code for code, _ in chosen])
    factors = np.array([factor for _, factor in chosen]).reshape(*amax.shape, 1)
    magnitudes = np.unique(abs(four_bits(np.arange(8)[:, None]))) if kind == FP4 else decoded(np.arange(128), kind)
    magnitudes = magnitudes[np.isfinite(magnitudes)]
    scaled = (blocks * factors.astype("f4")).astype("f4")
    expected = magnitudes[nearest(scaled.ravel(), magnitudes)].reshape(rows, n)
    numbers = four_bits(codes) if kind == FP4 else decoded(codes, kind)
    np.testing.assert_array_equal(abs(numbers), expected)
    np.testing.assert_array_equal(np.signbit(numbers), np.signbit(values))


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_with_what_is_not_finite(kind):
    """A scale of NaN says that a block has such; others are not concerned."""
    values = np.ones((128, 128), "f4")
    values[3, 40], values[4, 100] = np.nan, np.inf
    codes, flat = np.zeros((128, 128), np.uint8), np.zeros(512, np.uint8)
    call(kernels.QUANTIZE[kind], 128, 128, 128, 128, values, codes, flat)
    scales = flat[offsets(128, 4)]
    assert (scales == 255).sum() == 2
    assert scales[3, 1] == scales[4, 3] == 255
