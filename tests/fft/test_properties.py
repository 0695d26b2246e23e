"""Transforms of operands that hypothesis draws: any shape, memory layout, axes, dtype, kind, options, provider."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planmath.fft import FFT, fft, ifft, irfft, rfft
from planmath.fft.providers import PROVIDERS, fftw3_interface
from tests.arrays import DEVICE, strides_of, to_numpy, to_package
from tests.fft.operands import memory_of, random_operand, strided
from tests.fft.reference import FORWARD, INVERSE, assert_accurate, error_bound
from tests.providers import available_pairs

#: Every provider of this machine with every package whose arrays are where it computes.
PAIRS = available_pairs(PROVIDERS)


@pytest.fixture(autouse=True)
def _threads_for_small_transforms_too(monkeypatch):
    monkeypatch.setattr(fftw3_interface, "THREADED_WORK", 0)
    monkeypatch.setattr(fftw3_interface, "SURELY_THREADED_WORK", 0)


class Drawn(NamedTuple):
    """A transform, and an operand for it."""

    kind: str
    precision: str
    parity: str
    directions: tuple[int, ...]
    axes: tuple[int, ...]
    package: str
    array: np.ndarray
    options: dict[str, Any]
    execution: dict[str, Any] | None


@st.composite
def transforms(draw: st.DrawFn, kinds: tuple[str, ...] = ("C2C", "R2C", "C2R")) -> Drawn:
    kind = draw(st.sampled_from(kinds))
    precision = draw(st.sampled_from(("float64", "float32")))
    parity = draw(st.sampled_from(("even", "odd"))) if kind == "C2R" else "even"
    provider, package = draw(st.sampled_from(PAIRS))
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    longest = draw(st.integers(0, len(shape) - 1))
    shape[longest] = draw(st.integers(1, 70))
    axes = draw(st.permutations(range(len(shape))))[: draw(st.integers(1, len(shape)))]
    if parity == "even" and kind == "C2R":
        shape[axes[-1]] = max(2, shape[axes[-1]])
    steps = draw(st.lists(st.sampled_from((1, 2, 3, -1, -2)), min_size=len(shape), max_size=len(shape)))
    if package.startswith("torch"):
        steps = [abs(step) for step in steps]
    order = draw(st.permutations(range(len(shape))))
    values = random_operand(kind, precision, shape, axes, parity, draw(st.integers(0, 1000)))
    values = values * values.real.dtype.type(10.0 ** draw(st.sampled_from((0, -20, 15))))
    options = {
        "provider": draw(st.sampled_from([None, provider, provider])),
        "result_layout": draw(st.sampled_from(("optimized", "natural"))),
        "inplace": kind == "C2C" and draw(st.booleans()),
        "last_axis_parity": parity,
        "fft_type": draw(st.sampled_from((kind, None))) if kind != "C2R" else kind,
    }
    if options["provider"] == "fftw" and options["inplace"] and any(steps[axis] < 0 for axis in axes):
        options["provider"] = None  # FFTW says that it cannot
    directions = {"C2C": (FORWARD, INVERSE), "R2C": (FORWARD,), "C2R": (INVERSE,)}[kind]
    execution = None if package in DEVICE else {"name": "cpu", "num_threads": draw(st.integers(1, 2))}
    array = strided(values, order, steps)
    return Drawn(kind, precision, parity, directions, tuple(axes), package, array, options, execution)


@given(transforms(), st.booleans())
def test_against_the_reference(drawn, give_out):
    values, operand = drawn.array.copy(), to_package(drawn.array, drawn.package)
    before = memory_of(to_numpy(operand))
    with FFT(operand, axes=drawn.axes, options=drawn.options, execution=drawn.execution) as transform:
        transform.plan()
        for direction in drawn.directions:
            if drawn.options["inplace"]:
                operand[...] = to_package(np.array(values, order="C"), drawn.package)
                result = transform.execute(direction)
                assert result is operand
            else:
                out = transform.empty_result() if give_out else None
                result = transform.execute(direction, out=out)
                assert out is None or result is out
                assert memory_of(to_numpy(operand)) == before
            shape, strides = transform.get_output_layout()
            assert tuple(result.shape) == shape
            assert all(n == 1 or a == b for n, a, b in zip(shape, strides_of(result), strides, strict=True))
            assert_accurate(to_numpy(result), drawn.kind, values, drawn.axes, direction, drawn.parity)


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...]]:
    """An array whose elements share memory, as sliding windows and broadcast arrays do, and axes of it."""
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    steps = [draw(st.integers(-3, 5)) for _ in shape]
    axes = draw(st.permutations(range(len(shape))))[: draw(st.integers(1, len(shape)))]
    span = 1 + sum(abs(step) * (n - 1) for n, step in zip(shape, steps, strict=True))
    start = sum(-step * (n - 1) for n, step in zip(shape, steps, strict=True) if step < 0)
    kind = draw(st.sampled_from(("C2C", "R2C")))
    precision = draw(st.sampled_from(("float32", "float64")))
    memory = random_operand(kind, precision, (span,), (0,), seed=draw(st.integers(0, 99)))
    view = np.lib.stride_tricks.as_strided(memory[start:], shape, [step * memory.itemsize for step in steps])
    return view, tuple(axes)


@given(windows(), st.sampled_from(PAIRS))
def test_operands_whose_elements_share_memory(drawn, pair):
    array, axes = drawn
    provider, package = pair
    assume(not (package.startswith("torch") and min(array.strides) < 0))
    if any(array.strides[axis] == 0 and array.shape[axis] > 1 for axis in axes) and provider in ("mkl", "nvpl"):
        provider = None  # these say that they cannot
    kind = "C2C" if array.dtype.kind == "c" else "R2C"
    with FFT(to_package(array, package), axes=axes, options={"provider": provider}) as transform:
        transform.plan()
        assert_accurate(to_numpy(transform.execute()), kind, array, axes, FORWARD)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Relative to `b`, in the 2-norm, over all elements."""
    wide = np.clongdouble
    return float(np.linalg.norm((a.astype(wide) - b.astype(wide)).ravel()) / np.linalg.norm(b.astype(wide).ravel()))


def bound(drawn: Drawn, transforms_made: int) -> float:
    return transforms_made * error_bound(drawn.precision, math.prod(drawn.array.shape[axis] for axis in drawn.axes))


@given(transforms(kinds=("C2C",)))
def test_inverse_of_forward_is_the_operand_times_its_size(drawn):
    n = math.prod(drawn.array.shape[axis] for axis in drawn.axes)
    there = fft(to_package(drawn.array, drawn.package), axes=drawn.axes)
    back = to_numpy(ifft(there, axes=drawn.axes))
    assert difference(back / n, drawn.array) <= bound(drawn, 2)


@given(transforms(kinds=("R2C",)))
def test_real_inverse_of_real_forward_is_the_operand_times_its_size(drawn):
    n = math.prod(drawn.array.shape[axis] for axis in drawn.axes)
    parity = ("even", "odd")[drawn.array.shape[drawn.axes[-1]] % 2]
    there = rfft(to_package(drawn.array, drawn.package), axes=drawn.axes)
    back = to_numpy(irfft(there, axes=drawn.axes, options={"last_axis_parity": parity}))
    assert difference(back / n, drawn.array) <= bound(drawn, 2)


@given(transforms(kinds=("C2C",)), st.complex_numbers(min_magnitude=0.1, max_magnitude=10))
def test_linear(drawn, factor):
    a = drawn.array
    b = np.ascontiguousarray(np.flip(a)).reshape(a.shape)
    combined = (a * factor + b).astype(a.dtype)
    f_a, f_b, f_c = (to_numpy(fft(to_package(np.array(x), drawn.package), axes=drawn.axes)) for x in (a, b, combined))
    scale = np.linalg.norm(f_a.ravel().astype(np.clongdouble)) * (1 + abs(factor))
    wide = [x.astype(np.clongdouble) for x in (f_a, f_b, f_c)]
    error = np.linalg.norm((wide[0] * factor + wide[1] - wide[2]).ravel())
    assert error <= (bound(drawn, 3) + 4 * np.finfo(drawn.precision).eps) * scale


@given(transforms(kinds=("C2C",)))
def test_parseval(drawn):
    """The sum of squares grows by the number of elements transformed."""
    n = math.prod(drawn.array.shape[axis] for axis in drawn.axes)
    result = to_numpy(fft(to_package(drawn.array, drawn.package), axes=drawn.axes)).astype(np.clongdouble)
    before, after = (np.linalg.norm(x.ravel()) for x in (drawn.array.astype(np.clongdouble), result))
    assert abs(after / (np.sqrt(np.longdouble(n)) * before) - 1) <= bound(drawn, 1)


@given(transforms(kinds=("R2C",)))
def test_real_transform_is_half_of_the_complex_one(drawn):
    last = drawn.axes[-1]
    half = drawn.array.shape[last] // 2 + 1
    of_real = to_numpy(rfft(to_package(drawn.array, drawn.package), axes=drawn.axes))
    as_complex = drawn.array.astype(of_real.dtype)
    of_complex = to_numpy(fft(to_package(as_complex, drawn.package), axes=drawn.axes))
    n = math.prod(drawn.array.shape[axis] for axis in drawn.axes)
    scale = np.sqrt(n) * np.linalg.norm(drawn.array.astype(np.longdouble).ravel())
    error = (of_real - np.take(of_complex, range(half), last)).astype(np.clongdouble)
    assert np.linalg.norm(error.ravel()) <= bound(drawn, 2) * scale
