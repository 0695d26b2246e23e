"""Copies between any two memory layouts on a CUDA device."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planmath.core.cuda.queue import Queue
from planmath.native.call import Slot

from planmath.bindings import nvrtc, runtime
from planmath.core.arrays import package_named
from planmath.core.cuda import device_code, devices, strided_copy
from planmath.core.cuda.device_arrays import upload
from tests.arrays import address_of
from tests.core.standin_kernels import COMPILER, ON_THE_STAND_IN
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.processes import run_python

ROOT = Path(__file__).parents[2]

on_device = pytest.mark.skipif(devices.missing() is not None, reason=str(devices.missing()))
with_nvrtc = pytest.mark.skipif(nvrtc.LIBRARY.missing is not None, reason=str(nvrtc.LIBRARY.missing))


def copy(axes: list[tuple[int, int, int]], size: int, source: int, target: int) -> None:
    for call in strided_copy.calls(axes, size, Slot(0), Slot(1), Slot(2), 0):
        assert call(source, target, 0) == 0
    runtime.stream_synchronize(0)


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


def check_any_layouts(drawn: tuple[list[tuple[int, int, int]], int, int, int]) -> None:
    """On a device, or on the stand-in for one."""
    axes, size, first_read, first_written = drawn
    element = np.dtype(f"V{size}")
    lengths = [1 + sum((axis[0] - 1) * abs(axis[side]) for axis in axes) for side in (1, 2)]
    source = np.random.default_rng(0).integers(0, 256, lengths[0] * size, np.uint8)
    target = np.full(lengths[1] * size, 0x55, np.uint8)
    owner, (of_source, of_target) = upload([source, target], Queue(0, package_named("numpy")))
    in_bytes = [(n, s * size, t * size) for n, s, t in axes]
    copy(in_bytes, size, of_source + first_read * size, of_target + first_written * size)
    index = np.indices([n for n, _, _ in axes]).reshape(len(axes), -1)
    expected, found = target.view(element), np.empty_like(target)
    expected[first_written + np.array([t for _, _, t in axes]) @ index] = source.view(element)[
        first_read + np.array([s for _, s, _ in axes]) @ index
    ]
    runtime.memcpy_async(found.ctypes.data, of_target, found.nbytes, runtime.MemcpyKind.DEVICE_TO_HOST, 0)
    runtime.stream_synchronize(0)
    del owner
    np.testing.assert_array_equal(found, expected.view(np.uint8))


@on_device
@given(copies())
def test_any_layouts(drawn):
    check_any_layouts(drawn)


@pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler")
def test_any_layouts_on_the_stand_in(standin):  # noqa: F811
    run_python(
        f"""
        {ON_THE_STAND_IN}
        from hypothesis import given, settings
        from tests.core import test_strided_copy

        @settings(derandomize=True, database=None, deadline=None, max_examples=200)
        @given(test_strided_copy.copies())
        def check(drawn):
            test_strided_copy.check_any_layouts(drawn)

        check()
        assert test_strided_copy.strided_copy.available(0)
        """,
        standin, ROOT,
    )  # fmt: skip


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
    codes = []
    monkeypatch.setattr(device_code, "_load", lambda source, *rest: codes.append(source_code(source, *rest)))
    source_code = lambda source, *rest: device_code.machine_code(device_code._PRELUDE + source, *rest)  # noqa: E731
    device = devices.Device(0, "", (9, 0), 1, 1, 1)
    monkeypatch.setattr(device_code.devices, "device", lambda number: device)
    monkeypatch.setattr(device_code.runtime, "library_get_kernel", lambda library, name: name)
    device_code.kernel.cache_clear()
    assert strided_copy._kernel(0, size, index) == "strided_copy"
    device_code.kernel.cache_clear()
    assert codes[0].startswith(b"\x7fELF")


def test_without_nvrtc_or_a_device_there_are_no_kernels(monkeypatch):
    def missing(number: int) -> None:
        raise nvrtc.NVRTCError("not today")

    monkeypatch.setattr(device_code.devices, "device", missing)
    monkeypatch.setattr(strided_copy, "_SOURCE", "// a kernel that no test before compiled")
    assert strided_copy.available.__wrapped__(0) is False
