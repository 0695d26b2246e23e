"""Copies between any two memory layouts on a CUDA device."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planmath.native.call import Slot

from planmath.bindings import nvrtc, runtime
from planmath.core import devices, strided_copy
from tests.arrays import address_of, to_numpy, to_package

on_device = pytest.mark.skipif(devices.missing() is not None, reason=str(devices.missing()))
with_nvrtc = pytest.mark.skipif(nvrtc.LIBRARY.missing is not None, reason=str(nvrtc.LIBRARY.missing))


def copy(axes: list[tuple[int, int, int]], size: int, source: int, target: int) -> None:
    for call in strided_copy.calls(axes, size, Slot(0), Slot(1), Slot(2), 0):
        assert call(source, target, 0) == 0
    runtime.device_synchronize()


@st.composite
def copies(draw: st.DrawFn) -> tuple[list[tuple[int, int, int]], int, int, int]:
    """Axes with steps in elements, what is read at any step, what is written without overlap; where both start."""
    extents = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    read = [draw(st.integers(-20, 20)) for _ in extents]
    order = draw(st.permutations(range(len(extents))))
    written, step = [0] * len(extents), draw(st.integers(1, 3))
    for axis in order:
        written[axis] = step * draw(st.sampled_from((1, -1)))
        step *= extents[axis] + draw(st.integers(0, 1))
    axes = list(zip(extents, read, written, strict=True))
    first_read, first_written = (-sum(min(0, (axis[0] - 1) * axis[side]) for axis in axes) for side in (1, 2))
    return axes, draw(st.sampled_from((1, 2, 4, 8, 16))), first_read, first_written


@on_device
@given(copies())
def test_any_layouts(drawn):
    axes, size, first_read, first_written = drawn
    cupy = pytest.importorskip("cupy")
    element = np.dtype(f"V{size}")
    lengths = [1 + sum((axis[0] - 1) * abs(axis[side]) for axis in axes) for side in (1, 2)]
    source = np.random.default_rng(0).integers(0, 256, lengths[0] * size, np.uint8)
    target = np.full(lengths[1] * size, 0x55, np.uint8)
    on_source, on_target = to_package(source, "cupy"), cupy.full(target.size + 16, 0x55, np.uint8)
    start = -on_target.data.ptr % 16
    in_bytes = [(n, s * size, t * size) for n, s, t in axes]
    aligned = cupy.empty(source.size + 16, np.uint8)
    offset = -aligned.data.ptr % 16
    aligned[offset : offset + source.size] = on_source
    copy(
        in_bytes, size, address_of(aligned) + offset + first_read * size,
        address_of(on_target) + start + first_written * size,
    )  # fmt: skip
    index = np.indices([n for n, _, _ in axes]).reshape(len(axes), -1)
    expected = target.view(element)
    expected[first_written + np.array([t for _, _, t in axes]) @ index] = source.view(element)[
        first_read + np.array([s for _, s, _ in axes]) @ index
    ]
    np.testing.assert_array_equal(to_numpy(on_target)[start : start + target.size], expected.view(np.uint8))


@on_device
def test_more_elements_than_threads():
    cupy = pytest.importorskip("cupy")
    shape = (300, 200, 500)
    source = cupy.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    target = cupy.empty(shape[::-1], np.float32)
    axes = [(n, source.strides[axis], target.strides[2 - axis]) for axis, n in enumerate(shape)]
    copy(axes, 4, address_of(source), address_of(target))
    assert (target == source.T).all()


@with_nvrtc
@pytest.mark.parametrize("size", strided_copy.ELEMENTS)
@pytest.mark.parametrize("index", ["unsigned int", "unsigned long long"])
def test_kernels_compile_without_a_device(monkeypatch, size, index):
    """Loading is left out: it needs a driver."""
    codes = {}
    compile_to_cubin = nvrtc.compile_to_cubin
    monkeypatch.setattr(
        nvrtc, "compile_to_cubin", lambda *given: codes.setdefault(given[1][0], compile_to_cubin(*given))
    )
    monkeypatch.setattr(strided_copy.runtime, "library_load_data", lambda *given: 1)
    monkeypatch.setattr(strided_copy.runtime, "library_get_kernel", lambda library, name: name)
    assert strided_copy._kernel.__wrapped__((9, 0), size, index) == "strided_copy"
    assert codes["--gpu-architecture=sm_90"].startswith(b"\x7fELF")


@with_nvrtc
def test_compilers_complaints_are_shown():
    with pytest.raises(nvrtc.NVRTCError, match=r"NVRTC_ERROR_COMPILATION\n(.|\n)*expected an expression"):
        nvrtc.compile_to_cubin("__device__ int x = ;", ["--gpu-architecture=sm_90"])


def test_without_nvrtc_or_a_device_there_are_no_kernels(monkeypatch):
    def missing(number: int) -> None:
        raise nvrtc.NVRTCError("not today")

    monkeypatch.setattr(strided_copy.devices, "device", missing)
    assert strided_copy.available.__wrapped__(0) is False
