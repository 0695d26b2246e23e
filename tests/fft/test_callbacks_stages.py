"""What planmath makes of a transform with callbacks for a device: its calls executed by NumPy, its kernel as C++."""

from __future__ import annotations

import ctypes
import gc
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planmath.core.cuda import device_code
from planmath.fft.callbacks import Callback
from planmath.fft.providers import callback_kernels, callbacks_device, fused_transform
from planmath.fft.providers.cufft import CuFFTProvider
from tests.core.standin_kernels import COMPILER
from tests.fft.callbacks import ARRANGEMENTS, offsets, operand_of
from tests.fft.cufft_standin import STREAM, Standin, _NoDevices, array_at, in_place_of_cufft
from tests.fft.operands import memory_of, random_operand, strided
from tests.fft.reference import FORWARD, assert_accurate, expected
from tests.fft.test_cufft_stages import DIRECTIONS, problem_of


def factor(offset: np.ndarray) -> np.ndarray:
    """By what the callbacks multiply."""
    return 2.0 ** (offset % 7)  # exact


def elements_at(address: int, dtype: np.dtype, shape: list[int], strides: list[int]) -> np.ndarray:
    """An array there, whose strides are in elements."""
    return array_at(address, dtype, shape, [step * dtype.itemsize for step in strides])


class StandinWithKernels(Standin):
    """Launches of kernels with callbacks as well, which multiply by `factor`."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[tuple[str, str]] = []

    def linked_kernel(
        self, source: str, name: str, device_id: int, definitions: tuple[str, ...], pieces: tuple[bytes, ...]
    ) -> int:  # fmt: skip
        self.kernels.append((name, source))
        return 1000 + len(self.kernels) - 1

    def launch(self, kernel: int, grid: int, grid_z: int, block: int, block_z: int, arguments: int, *rest: Any) -> int:
        if kernel < 1000:
            return super().launch(kernel, grid, grid_z, block, block_z, arguments, *rest)
        assert rest == (0, STREAM)
        name, source = self.kernels[kernel - 1000]
        at = int(array_at(arguments, np.dtype(np.uintp), [1], [8])[0])
        threads, blocks = block % 2**32, grid % 2**32
        if name == "call_back":
            self.call_back(array_at(at, callback_kernels.PARAMETERS, [1], [1])[0], source, threads * blocks)
        else:
            self.transform(array_at(at, fused_transform.PARAMETERS, [1], [1])[0], source, threads * blocks)
        return 0

    def call_back(self, given: Any, source: str, threads: int) -> None:
        axes = int(given["axes"])
        extents, steps, tile_steps = ([int(n) for n in given[x][:axes]] for x in ("extents", "steps", "tile_steps"))
        assert given["count"] == np.prod(extents) <= threads
        dtype = np.dtype(source.split()[0])
        array, tile = (
            elements_at(int(given[x]), dtype, extents, by) for x, by in (("array", steps), ("tile", tile_steps))
        )
        by = factor(offsets(extents, steps))
        if "tile[place] = load" in source:
            tile[...] = array * by
        else:
            array[...] = tile * by

    def transform(self, given: Any, source: str, threads: int) -> None:
        axes, n = int(given["axes"]), int(source.split()[-1])
        extents = [*(int(x) for x in given["extents"][:axes]), n]
        read, written = ([*(int(x) for x in given[side][:axes]), 1] for side in ("read", "written"))
        assert given["count"] * n == np.prod(extents)
        dtype = np.dtype(source.split()[0])
        assert threads * fused_transform.EACH[{"complex64": "float32", "complex128": "float64"}[dtype.name]] >= given[
            "count"
        ] * n
        operand, result = (
            elements_at(int(given[x]), dtype, extents, by) for x, by in (("operand", read), ("result", written))
        )
        values = np.array(operand)
        if "prolog" in source:
            values = values * factor(offsets(extents, read))
        values = expected("C2C", values, (len(extents) - 1,), FORWARD if "forward" in source else 1)
        if "epilog" in source:
            values = values * factor(offsets(extents, written))
        result[...] = values


@pytest.fixture
def standin(monkeypatch):
    with in_place_of_cufft(monkeypatch) as plain, monkeypatch.context() as patch:
        standin = StandinWithKernels()
        for name in ("cufft", "runtime"):
            patch.setattr(f"planmath.fft.providers.cufft.{name}", standin)
        patch.setattr(device_code, "runtime", standin)
        patch.setattr(device_code, "linked_kernel", standin.linked_kernel)
        for module in (callback_kernels, fused_transform):
            patch.setattr(module, "devices", _NoDevices)
        patch.setattr(callbacks_device, "_single_stage", lambda problem: None)
        patch.setattr(callback_kernels, "source", lambda callback, capability: (
            f"{callback.element} {callback_kernels._CALL[callback.phase]}", ()))  # fmt: skip
        patch.setattr(fused_transform, "source", lambda problem, capability: (
            " ".join([problem.dtype, *(each.phase for each in problem.callbacks), direction_of(problem),
                      str(max(n for n, _, _ in problem.transformed()))]), ()))  # fmt: skip
        yield standin
        gc.collect()
        assert not standin.plans, "plans that were not destroyed"
        assert not plain.plans


def direction_of(problem: Any) -> str:
    return "forward" if problem.directions == (FORWARD,) else "inverse"


def run(standin: Standin, array: np.ndarray, axes: Any, given_: tuple[str, ...], **options: Any) -> None:
    """Execute every way to compute the transform, in every direction, and check the results."""
    plain = problem_of(array, axes, **options)
    dtypes = {"prolog": plain.dtype, "epilog": plain.result_dtype}
    callbacks = {phase: Callback(phase, "x", dtypes[phase], 0, b"") for phase in given_}
    values, before, kind = array.copy(), memory_of(array), plain.kind
    provider = callbacks_device.DeviceCallbacks(CuFFTProvider())
    for direction in DIRECTIONS[kind]:
        problem = plain._replace(directions=(direction,), **callbacks)
        for algorithm in provider.algorithms(problem):
            array[...] = values
            prepared = provider.prepare(problem, algorithm)
            workspace = np.full(prepared.workspace_size + 512, 0x55, np.uint8)
            start = -workspace.ctypes.data % 256
            result = array
            if not problem.inplace:
                memory = np.full(int(np.prod(problem.result_shape)), np.nan, problem.result_dtype)
                steps = [step * memory.itemsize for step in problem.result_strides]
                result = np.lib.stride_tricks.as_strided(memory, problem.result_shape, steps)
            places = dict.fromkeys([array.ctypes.data, result.ctypes.data])
            for call in prepared.programs[direction].calls:
                status = call(*places, workspace.ctypes.data + start, STREAM)
                if standin.failure:
                    raise standin.failure
                assert status == 0, f"{call.name} returned {status}"
            loaded = values
            if "prolog" in given_:
                loaded = (values * factor(offsets(problem.shape, problem.strides))).astype(values.dtype)
            if "epilog" in given_:
                by = factor(offsets(problem.result_shape, problem.result_strides))
                result = (result / by).astype(result.dtype)
            assert_accurate(result, kind, loaded, axes, direction, options.get("last_axis_parity", "even"))
            assert problem.inplace or memory_of(array) == before, "the operand was written to"
            assert (workspace[start + prepared.workspace_size :] == 0x55).all(), "written beyond the workspace"


@pytest.mark.pairwise
@pytest.mark.parametrize("name", ARRANGEMENTS)
@pytest.mark.parametrize("callbacks", [("prolog",), ("epilog",), ("prolog", "epilog")], ids="+".join)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_arrangements(standin, name, callbacks, precision):
    arranged = ARRANGEMENTS[name]
    run(standin, operand_of(arranged, precision), arranged.axes, callbacks, **arranged.options)


@pytest.mark.parametrize("shape", [(3, 64), (2, 3, 128), (1, 256), (512,)])
@pytest.mark.parametrize("inplace", [False, True])
def test_one_kernel(standin, shape, inplace):
    operand = random_operand("C2C", "float64", shape, (len(shape) - 1,))
    for callbacks in (("prolog",), ("epilog",), ("prolog", "epilog")):
        run(standin, operand.copy(), (len(shape) - 1,), callbacks, inplace=inplace)
    assert "fused_transform" in {name for name, _ in standin.kernels}


@settings(max_examples=60)
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), data=st.data())
def test_any_layout(standin, shape, data):
    kind = data.draw(st.sampled_from(["C2C", "R2C", "C2R"]))
    axes = data.draw(st.permutations(range(len(shape))))[: data.draw(st.integers(1, len(shape)))]
    parity = data.draw(st.sampled_from(["even", "odd"])) if shape[axes[-1]] > 1 else "odd"
    order = data.draw(st.permutations(range(len(shape))))
    steps = data.draw(st.lists(st.sampled_from([1, 2, -1]), min_size=len(shape), max_size=len(shape)))
    operand = strided(random_operand(kind, "float64", shape, axes, parity), order, steps)
    callbacks = data.draw(st.sampled_from([("prolog",), ("epilog",), ("prolog", "epilog")]))
    inplace = kind == "C2C" and data.draw(st.booleans())
    run(standin, operand, axes, callbacks, inplace=inplace, fft_type=kind, last_axis_parity=parity,
        result_layout=data.draw(st.sampled_from(["natural", "optimized"])))  # fmt: skip


HOST = """
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>
#define __device__
#define __global__
#define __shared__ static
struct float2 { float x, y; };
struct double2 { double x, y; };
struct number { unsigned x; };
static thread_local number threadIdx, blockIdx;
static std::barrier<> *all;
static void __syncthreads() { all->arrive_and_wait(); }
template <class T> static void sincospi(T a, T *s, T *c) { *s = std::sin((T)M_PI * a), *c = std::cos((T)M_PI * a); }
#define sincospif sincospi
static ELEMENT load(void *array, unsigned long long offset, void *) {
    const ELEMENT x = ((ELEMENT *)array)[offset];
    return {2 * x.x, 2 * x.y};
}
static void store(void *array, unsigned long long offset, ELEMENT x, void *) {
    ((ELEMENT *)array)[offset] = {3 * x.x, 3 * x.y};
}
"""
LAUNCH = """
extern "C" void launch(int blocks, int n, const parameters *p) {
    for (unsigned block = blocks; block-- > 0;) {
        std::barrier<> barrier(n);
        all = &barrier;
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < n; i++)
            threads.emplace_back([=] { threadIdx = {i}, blockIdx = {block}, fused_transform(*p); });
        for (auto &thread : threads) thread.join();
    }
}
"""


@pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler")
@pytest.mark.parametrize(("precision", "length", "direction"), [("float32", 512, 1), ("float64", 256, -1)])
def test_kernel_on_the_host(monkeypatch, tmp_path, precision, length, direction):
    """The passes of each radix, an unfinished block, and a batch of two axes with gaps."""
    memory = random_operand("C2C", precision, (2, 6, length), (2,))
    operand = memory[:, ::2]
    callbacks = {phase: Callback(phase, "x", memory.dtype.name, 0, b"") for phase in ("prolog", "epilog")}
    problem = problem_of(operand, (2,))._replace(directions=(direction,), **callbacks)
    source = HOST + Path(fused_transform.__file__).with_suffix(".cu").read_text() + LAUNCH
    options = ["-std=c++20", "-O1", "-w", "-pthread", "-shared", "-fPIC", "-x", "c++", "-"]
    options += [f"-D{each}" for each in fused_transform.definitions(problem, direction)]
    made = [COMPILER, *options, "-o", tmp_path / "kernel.so"]
    done = subprocess.run(made, input=source, text=True, capture_output=True, check=False)
    if "barrier: No such file" in done.stderr:
        pytest.skip("the compiler has no barriers of C++20")
    assert done.returncode == 0, done.stderr
    launched: list[Any] = []
    monkeypatch.setattr(fused_transform, "devices", _NoDevices)
    monkeypatch.setattr(fused_transform, "source", lambda *given: ("", ()))
    monkeypatch.setattr(device_code, "linked_kernel", lambda *given: 1)
    monkeypatch.setattr(device_code, "launch", lambda *given, **more: launched.append(given))
    monkeypatch.setattr(device_code, "store", lambda *given: None)
    fused_transform.calls(problem, direction)
    ((_, blocks, threads, parameters, *_),) = launched
    result = np.zeros(problem.result_shape, memory.dtype)
    parameters["operand"], parameters["result"] = operand.ctypes.data, result.ctypes.data
    ctypes.CDLL(tmp_path / "kernel.so").launch(blocks[0], threads, ctypes.c_void_p(parameters.ctypes.data))
    assert_accurate(result / 6, "C2C", operand, (2,), direction)
