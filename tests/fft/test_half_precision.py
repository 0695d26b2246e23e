"""Transforms of float16 and complex32 on CUDA devices, against a reference in higher precision.

The bound on the error is that of the other precisions, with float16's unit roundoff of 2^-11: for a length of 1,024 it
is 0.04 of the result's norm. A wrong element, or one of another transform, is an error of the order of 1.
"""

from __future__ import annotations

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.fft import FFT, fft, ifft, irfft, rfft
from planmath.fft.providers import PROVIDERS
from tests.arrays import COMPLEX32, DEVICE_PACKAGES, dtype_of, strides_of, to_numpy, to_package
from tests.fft.operands import LAYOUTS, memory_of, random_operand
from tests.fft.reference import FORWARD, INVERSE, assert_accurate

CUPY, TORCH = DEVICE_PACKAGES
KINDS = pytest.mark.parametrize(
    ("kind", "directions"), [("C2C", (FORWARD, INVERSE)), ("R2C", (FORWARD,)), ("C2R", (INVERSE,))]
)
on_torch = pytest.mark.parametrize("package", [TORCH])


@KINDS
@on_torch
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1,), (0,)), ((2,), (0,)), ((1024,), (0,)), ((3, 16), (1,)), ((16, 3), (0,)), ((8, 16), (0, 1)),
        ((8, 16), (1, 0)), ((4, 3, 8), (2, 0)), ((4, 8, 2), (0, 1, 2)), ((2, 4, 2, 8, 3), (0, 1, 2, 3)),
    ],
    ids=lambda value: "x".join(map(str, value)),
)  # fmt: skip
def test_shapes_and_axes(package, kind, directions, shape, axes):
    if kind == "C2R":
        if shape[axes[-1]] == 1:
            pytest.skip("there is no such transform")
        shape = tuple(n // 2 + 1 if axis == axes[-1] else n for axis, n in enumerate(shape))
    values = random_operand(kind, "float16", shape, axes)
    operand = to_package(values.copy(), package)
    with FFT(operand, axes=axes, options={"fft_type": kind}) as transform:
        transform.plan()
        for direction in directions:
            result = transform.execute(direction)
            assert dtype_of(result) == ("float16" if kind == "C2R" else "complex32")
            assert (tuple(result.shape), strides_of(result)) == transform.get_output_layout()
            assert_accurate(to_numpy(result), kind, values, axes, direction)
    assert to_numpy(operand).tobytes() == values.tobytes()


@pytest.mark.pairwise(times=2)
@KINDS
@on_torch
@pytest.mark.parametrize("result_layout", ["optimized", "natural"])
@pytest.mark.parametrize("layout", ["fortran", "sliced", "rotated", "unaligned"])
@pytest.mark.parametrize("axes", [(2, 1, 0), (1,), (0,), (0, 2)], ids=lambda axes: "".join(map(str, axes)))
def test_memory_layouts(package, kind, directions, layout, result_layout, axes):
    if layout == "unaligned" and kind != "R2C":
        pytest.skip(f"{package} has no such arrays")
    shape = [4, 2, 8]
    if kind == "C2R":
        shape[axes[-1]] = shape[axes[-1]] // 2 + 1
    array = LAYOUTS[layout](random_operand(kind, "float16", shape, axes))
    values, operand = array.copy(), to_package(array, package)
    before = memory_of(to_numpy(operand))
    with FFT(operand, axes=axes, options={"fft_type": kind, "result_layout": result_layout}) as transform:
        transform.plan()
        for direction in directions:
            assert_accurate(to_numpy(transform.execute(direction)), kind, values, axes, direction)
    assert memory_of(to_numpy(operand)) == before


@on_torch
@pytest.mark.parametrize("layout", ["dense", "sliced"])
def test_in_place(package, layout):
    array = LAYOUTS[layout](random_operand("C2C", "float16", (4, 3, 8), (2, 0)))
    values, operand = array.copy(), to_package(array, package)
    with FFT(operand, axes=(2, 0), options={"inplace": True}) as transform:
        transform.plan()
        assert transform.execute() is operand
    assert_accurate(to_numpy(operand), "C2C", values, (2, 0), FORWARD)


@on_torch
def test_functions(package):
    axes = (1,)
    for function, kind, direction in (
        (fft, "C2C", FORWARD), (ifft, "C2C", INVERSE), (rfft, "R2C", FORWARD), (irfft, "C2R", INVERSE),
    ):  # fmt: skip
        values = random_operand(kind, "float16", (4, 33 if kind == "C2R" else 64), axes)
        result = function(to_package(values, package), axes=axes)
        assert_accurate(to_numpy(result), kind, values, axes, direction)


@on_torch
@pytest.mark.parametrize(
    ("dtype", "shape", "axes", "kind", "axis", "n"),
    [
        (COMPLEX32, (6,), (0,), "C2C", 0, 6),
        (COMPLEX32, (8, 12), (0, 1), "C2C", 1, 12),
        (np.dtype(np.float16), (8, 3), (1,), "R2C", 1, 3),
        (COMPLEX32, (4, 4), (1,), "C2R", 1, 6),
    ],
)
def test_lengths_that_are_no_powers_of_two(package, dtype, shape, axes, kind, axis, n):
    with (
        FFT(to_package(np.zeros(shape, dtype), package), axes=axes, options={"fft_type": kind}) as transform,
        pytest.raises(UnavailableError, match=f"cufft: in half precision .* powers of two, and axis {axis} has {n} "),
    ):
        transform.plan()


@pytest.mark.parametrize("package", [TORCH])
def test_batch_axes_of_any_length(package):
    values = random_operand("C2C", "float16", (7, 8, 5), (1,))
    result = to_numpy(fft(to_package(values, package), axes=(1,)))
    assert_accurate(result, "C2C", values, (1,), FORWARD)


@pytest.mark.parametrize("package", [CUPY])
def test_cupy_has_no_complex_half_precision(package):
    with pytest.raises(TypeError, match="no dtype complex32; use torch tensors"):
        rfft(to_package(np.ones(8, np.float16), package))


def test_an_older_device_says_so(monkeypatch):
    from planmath.core.cuda.devices import Device
    from planmath.fft.providers import cufft

    provider = next(p for p in PROVIDERS if p.name == "cufft")
    monkeypatch.setattr(cufft.devices, "device", lambda number: Device(number, "old", (5, 2), 1, 1, 1))
    key = FFT.create_key_from_metadata((8,), "float16", "cuda")
    assert provider.unsupported(key) == "half precision needs compute capability 5.3, and the device has 5.2"
    assert provider.unsupported(FFT.create_key_from_metadata((8,), "float32", "cuda")) is None
