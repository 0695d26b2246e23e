"""What planmath makes of a transform for cuFFT, executed by NumPy: right, and within cuFFT's limits."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planmath.core.arrays import Layout
from planmath.core.execution import ExecutionCUDA
from planmath.fft.options import FFTOptions
from planmath.fft.problem import FFTProblem, specify
from planmath.fft.providers.cufft import CuFFTProvider
from tests.arrays import COMPLEX32
from tests.fft.cufft_standin import STREAM, Standin, in_place_of_cufft
from tests.fft.operands import LAYOUTS, memory_of, random_operand, strided
from tests.fft.reference import assert_accurate

DIRECTIONS = {"C2C": (-1, 1), "R2C": (-1,), "C2R": (1,)}


@pytest.fixture(params=[True, False], ids=["kernels", "driver"])
def standin(monkeypatch, request):
    with in_place_of_cufft(monkeypatch, kernels=request.param) as standin:
        yield standin
        gc.collect()
        assert not standin.plans, "plans that were not destroyed"


def problem_of(array: np.ndarray, axes: Any, **options: Any) -> FFTProblem:
    steps = tuple(step // array.itemsize for step in array.strides)
    dtype = "complex32" if array.dtype.kind == "V" else array.dtype.name
    layout = Layout(array.shape, steps, dtype, "cuda", 0)
    return specify(layout, axes, FFTOptions(**options), ExecutionCUDA(), array.ctypes.data)


def run(standin: Standin, array: np.ndarray, axes: Any, parity: str = "even", **options: Any) -> None:
    """Execute every way to compute the transform, in every direction, and check the results."""
    problem = problem_of(array, axes, last_axis_parity=parity, **options)
    values, before = array.copy(), memory_of(array)
    provider = CuFFTProvider()
    for algorithm in provider.algorithms(problem):
        prepared = provider.prepare(problem, algorithm)
        workspace = np.zeros(prepared.workspace_size + 256, np.uint8)
        area = workspace.ctypes.data + -workspace.ctypes.data % 256
        guard = workspace[-workspace.ctypes.data % 256 + prepared.workspace_size :]
        guard[...] = 0x55
        for direction in problem.directions:
            dtype = COMPLEX32 if problem.result_dtype == "complex32" else np.dtype(problem.result_dtype)
            result = array
            if not problem.inplace:
                memory = np.zeros(int(np.prod(problem.result_shape)), dtype)
                steps = [step * dtype.itemsize for step in problem.result_strides]
                result = np.lib.stride_tricks.as_strided(memory, problem.result_shape, steps)
            else:
                array[...] = values
            places = [array.ctypes.data] if problem.inplace else [array.ctypes.data, result.ctypes.data]
            for call in prepared.programs[direction].calls:
                status = call(*places, area, STREAM)
                if standin.failure:
                    raise standin.failure
                assert status == 0, f"{call.name} returned {status}"
            assert_accurate(result, problem.kind, values, axes, direction, parity)
            assert problem.inplace or memory_of(array) == before, "the operand was written to"
            assert (guard == 0x55).all(), "written beyond the workspace"


KINDS = pytest.mark.parametrize(("kind", "parity"), [("C2C", "even"), ("R2C", "even"), ("C2R", "even"), ("C2R", "odd")])


@pytest.mark.pairwise(times=2)
@KINDS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("result_layout", ["optimized", "natural"])
@pytest.mark.parametrize(
    "axes", [(2, 1, 0), (1, 2), (1,), (0,), (2,), (0, 2)], ids=lambda axes: "".join(map(str, axes))
)
def test_memory_layouts(standin, kind, parity, layout, result_layout, axes):
    array = LAYOUTS[layout](random_operand(kind, "float64", (3, 5, 7), axes, parity))
    if layout == "broadcast" and kind == "C2R":
        array.imag, array.real = 0, 1  # constant along an axis, only a real spectrum is sure to be symmetric
    run(standin, array, axes, parity, result_layout=result_layout, fft_type=kind)


@pytest.mark.pairwise(times=2)
@KINDS
@pytest.mark.parametrize("precision", ["float16", "float32"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1,), (0,)), ((8,), (0,)), ((1, 1), (0, 1)), ((4, 1, 8), (0, 1)), ((4, 1, 8), (1,)), ((8, 2), (1, 0)),
        ((2, 4, 2, 4), (0, 1, 2, 3)), ((2, 3, 4, 8), (3, 0)), ((2,) * 7, (0, 2, 4, 6)),
        ((2,) * 7, (6, 5, 4, 3, 2, 1, 0)), ((3, 1024), (1,)), ((3, 5, 8, 7), (2,)),
    ],
    ids=lambda value: "x".join(map(str, value)),
)  # fmt: skip
def test_shapes(standin, kind, parity, precision, shape, axes):
    if kind == "C2R":
        last = shape[axes[-1]]
        if parity == ("even" if last == 1 else "odd") and (last == 1 or precision == "float16"):
            pytest.skip("there is no such transform")
        shape = tuple(n // 2 + 1 if axis == axes[-1] else n for axis, n in enumerate(shape))
    run(standin, random_operand(kind, precision, shape, axes, parity), axes, parity, fft_type=kind)


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize("parity", ["even", "odd"])
@pytest.mark.parametrize("layout", ["dense", "fortran", "sliced", "unaligned"])
@pytest.mark.parametrize("result_layout", ["optimized", "natural"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((9,), (0,)), ((5, 6), (0,)), ((5, 6), (1, 0)), ((3, 5, 6), (1,)), ((3, 4, 6), (0, 1, 2)), ((2, 3, 4, 5), (2, 0))],
)
def test_half_spectra_without_symmetry(standin, parity, layout, result_layout, shape, axes):
    array = LAYOUTS[layout](random_operand("C2C", "float64", shape, axes))
    run(standin, array, axes, parity, result_layout=result_layout, fft_type="C2R")


@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_a_scale_is_refused(norm):
    reason = CuFFTProvider().unsupported(problem_of(np.ones(8, complex), (0,), norm=norm))
    assert "leave options.norm away" in reason


@st.composite
def operands(draw: st.DrawFn) -> tuple[str, str, np.ndarray, tuple[int, ...], dict[str, Any]]:
    """Operands of any layout: gaps, any order of axes, strides that are negative or zero, windows."""
    kind, parity = draw(st.sampled_from([("C2C", "even"), ("R2C", "even"), ("C2R", "even"), ("C2R", "odd")]))
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    axes = tuple(draw(st.permutations(range(len(shape))))[: draw(st.integers(1, len(shape)))])
    if (kind, parity) == ("C2R", "even"):
        shape[axes[-1]] = max(2, shape[axes[-1]])
    values = random_operand(kind, draw(st.sampled_from(["float32", "float64"])), shape, axes, parity)
    steps = draw(st.lists(st.sampled_from((1, 1, 2, 3, -1, -2)), min_size=len(shape), max_size=len(shape)))
    array = strided(values, draw(st.permutations(range(len(shape)))), steps)
    inplace = kind == "C2C" and draw(st.booleans())
    if kind != "C2R" and not inplace and draw(st.booleans()):
        strides = [step * draw(st.sampled_from((0, 1, 1, 1))) for step in array.strides]
        array = np.lib.stride_tricks.as_strided(array, shape, strides)
    layout = draw(st.sampled_from(("natural", "optimized")))
    return kind, parity, array, axes, {"inplace": inplace, "result_layout": layout}


@given(operands(), st.booleans())
def test_any_layout(drawn, kernels):
    kind, parity, array, axes, options = drawn
    with pytest.MonkeyPatch.context() as patch, in_place_of_cufft(patch, kernels=kernels) as standin:
        run(standin, array, axes, parity, fft_type=kind, **options)
