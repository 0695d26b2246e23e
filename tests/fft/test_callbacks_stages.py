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
from planmath.fft.providers import callback_kernels, callbacks_device, dx_transform, fused_transform, lines
from planmath.fft.providers.cufft import CuFFTProvider
from tests.core.standin_kernels import COMPILER
from tests.fft.callbacks import ARRANGEMENTS, offsets, operand_of
from tests.fft.cufft_standin import STREAM, Standin, _NoDevices, array_at, in_place_of_cufft
from tests.fft.operands import memory_of, random_operand, strided
from tests.fft.reference import assert_accurate, expected
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
        self.kernels: list[tuple[str, str, dict[str, str]]] = []
        self.allowed: dict[int, int] = {}

    def linked_kernel(
        self, source: str, name: str, device_id: int, definitions: tuple[str, ...], pieces: tuple[bytes, ...]
    ) -> int:  # fmt: skip
        self.kernels.append((name, source, dict(each.split("=") for each in definitions)))
        return 1000 + len(self.kernels) - 1

    def allow_shared(self, kernel: int, size: int, device_id: int) -> None:
        self.allowed[kernel] = size

    def launch(self, kernel: int, grid: int, grid_z: int, block: int, block_z: int, arguments: int, *rest: Any) -> int:
        if kernel < 1000:
            return super().launch(kernel, grid, grid_z, block, block_z, arguments, *rest)
        shared, stream = rest
        assert (shared, stream) == (self.allowed.get(kernel, 0), STREAM)
        name, source, defined = self.kernels[kernel - 1000]
        at = int(array_at(arguments, np.dtype(np.uintp), [1], [8])[0])
        threads, blocks = block % 2**32, grid % 2**32
        if name == "call_back":
            given = array_at(at, callback_kernels.PARAMETERS, [1], [1])[0]
            self.call_back(given, source, threads * blocks * int(defined["EACH"]))
        else:
            self.transform(array_at(at, lines.PARAMETERS, [1], [1])[0], source, defined, threads, blocks)
        return 0

    def call_back(self, given: Any, source: str, reached: int) -> None:
        axes = int(given["axes"])
        extents, steps, tile_steps = ([int(n) for n in given[x][:axes]] for x in ("extents", "steps", "tile_steps"))
        assert given["count"] == np.prod(extents) <= reached
        dtype = np.dtype(source.split()[0])
        array, tile = (
            elements_at(int(given[x]), dtype, extents, by) for x, by in (("array", steps), ("tile", tile_steps))
        )
        by = factor(offsets(extents, steps))
        if "prolog" in source:
            tile[...] = array * by * given["scale"]
        else:
            array[...] = tile * given["scale"] * by

    def transform(self, given: Any, source: str, defined: dict[str, str], threads: int, blocks: int) -> None:
        axes, kind, turn, sign = int(given["axes"]), defined["KIND"], int(defined["TURN"]), int(defined["SIGN"])
        points, per_block = int(defined["THREADS"]) * int(defined["EACH"]), int(defined["PER_BLOCK"])
        extents = [int(x) for x in given["extents"][:axes]]
        assert given["count"] == np.prod(extents) <= per_block * blocks
        assert threads == int(defined["THREADS"]) * per_block
        dtypes = [np.dtype(name) for name in source.split()[:2]]
        n = [points if dtype.kind == "c" and kind == "C2C" else points + 1 if dtype.kind == "c" else 2 * points
             for dtype in dtypes]  # fmt: skip
        shapes = [[*extents, each] for each in n]
        strides = [
            [*(int(x) for x in given[side][:axes]), int(defined[f"{side.upper()}_STEP"])]
            for side in ("read", "written")
        ]
        operand, result = (
            elements_at(int(given[x]), *rest)
            for x, *rest in zip(("operand", "result"), dtypes, shapes, strides, strict=True)
        )
        values = np.array(operand)
        if "prolog" in source:
            values = values * factor(offsets(shapes[0], strides[0]))
        values = expected(kind, values, (axes,), sign)
        if turn > 1:  # the innermost axis, which is the first one given
            angles = np.multiply.outer(np.arange(extents[0]), np.arange(n[1])) / turn
            values = values * np.exp(2j * np.pi * sign * angles).reshape(extents[0], *[1] * (axes - 1), n[1])
        values = values * given["scale"]
        if "epilog" in source:
            values = values * factor(offsets(shapes[1], strides[1]))
        result[...] = values


@pytest.fixture
def standin(monkeypatch):
    with in_place_of_cufft(monkeypatch) as plain, monkeypatch.context() as patch:
        standin = StandinWithKernels()
        for name in ("cufft", "runtime"):
            patch.setattr(f"planmath.fft.providers.cufft.{name}", standin)
        patch.setattr(device_code, "runtime", standin)
        patch.setattr(device_code, "linked_kernel", standin.linked_kernel)
        patch.setattr(device_code, "allow_shared", standin.allow_shared)
        for module in (callback_kernels, fused_transform):
            patch.setattr(module, "devices", _NoDevices)
        patch.setattr(callbacks_device, "_library_stages", lambda problem: ())
        patch.setattr(callback_kernels, "source", lambda callback, capability, aligned: (
            f"{callback.element} {callback.phase}", ()))  # fmt: skip
        patch.setattr(fused_transform.Step, "source", lambda step, capability: (
            " ".join([*step.lines.elements, *(each.phase for each in (step.lines.prolog, step.lines.epilog) if each)]),
            ()))  # fmt: skip
        patch.setattr(dx_transform, "suits", lambda problem: False)
        yield standin
        gc.collect()
        assert not standin.plans, "plans that were not destroyed"
        assert not plain.plans


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
            result = result / problem.factor(direction)
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


@pytest.mark.parametrize(
    ("possible", "given_", "shape", "options"),
    [
        (True, ("prolog", "epilog"), (3, 254), {}),
        (False, ("prolog",), (3, 262), {}),  # 131 is a prime factor
        (False, ("epilog",), (131,), {}),
        (False, ("prolog",), (3, 256), {"norm": "ortho"}),
        (True, ("prolog", "epilog"), (3, 256), {"fft_type": "R2C"}),
        (True, ("epilog",), (3, 129), {"fft_type": "C2R"}),
        (False, ("prolog",), (3, 129), {"fft_type": "C2R"}),
    ],
)
def test_what_cufft_links_callbacks_into(monkeypatch, possible, given_, shape, options):
    """Not where it computes wrongly, would have to scale, or to ignore what a prolog loads; nor in old versions."""
    kind = options.get("fft_type", "C2C")
    plain = problem_of(random_operand(kind, "float64", shape, (len(shape) - 1,)), (len(shape) - 1,), **options)
    problem = plain._replace(**{phase: Callback(phase, "x", "complex128", 0, b"") for phase in given_})
    for version, there in ((callbacks_device.SINCE, True), (callbacks_device.SINCE - 1, False)):
        monkeypatch.setattr(callbacks_device.cufft, "get_version", lambda version=version: version)
        monkeypatch.setattr(callbacks_device.cufft.LIBRARY, "has", lambda name: True)
        assert bool(callbacks_device._library_stages(problem)) is (possible and there)
        assert not callbacks_device._library_stages(problem._replace(aligned=False))


@pytest.mark.parametrize(("inplace", "said"), [(False, [False, True]), (True, [False, False])])
def test_addresses_that_are_said_to_be_aligned(standin, monkeypatch, inplace, said):
    """Of operands anywhere, and of results of their own or in the operand's place."""
    plain = problem_of(random_operand("C2C", "float64", (3, 64), (1,)), (1,), inplace=inplace)
    callbacks = {phase: Callback(phase, "x", "complex128", 0, b"") for phase in ("prolog", "epilog")}
    problem = plain._replace(aligned=False, **callbacks)
    assert lines.lines_of(problem).aligned == tuple(said)
    heard: list[bool] = []
    provider = callbacks_device.DeviceCallbacks(CuFFTProvider())
    chosen = next(a for a in provider.algorithms(problem) if a.get("callbacks") == callbacks_device.KERNELS)
    with monkeypatch.context() as patch:  # which ends before the stand-in's own
        patch.setattr(callback_kernels, "source", lambda callback, capability, aligned: (
            heard.append(aligned), (f"{callback.element} {callback.phase}", ()))[1])  # fmt: skip
        provider.prepare(problem, chosen)
    assert heard == said * len(problem.directions)


def test_prologs_that_load_into_the_result(standin):
    """Which takes less temporary memory, and is possible where nothing is read from there and nothing follows."""
    operand = random_operand("C2C", "float64", (5, 30), (1,))
    provider = callbacks_device.DeviceCallbacks(CuFFTProvider())

    def sizes(*phases: str, **options: Any) -> list[int]:
        """Bytes of the workspace: of ways that load there, and then of the others."""
        callbacks = {phase: Callback(phase, "x", "complex128", 0, b"") for phase in phases}
        problem = problem_of(operand, (1,), **options)._replace(directions=(1,), **callbacks)
        ways = sorted(provider.algorithms(problem), key=lambda way: callbacks_device.WITHIN not in way.knobs)
        return [provider.prepare(problem, way).workspace_size for way in ways]

    for norm in (None, "ortho"):
        within, beside = sizes("prolog", norm=norm)
        assert beside - within == -(-operand.nbytes // 256) * 256
    for size in (sizes("prolog", inplace=True), sizes("epilog"), sizes("prolog", "epilog")):
        assert len(size) == 1
    for shape, first in (((4096,), True), ((16, 64), True), ((5, 4096), False), ((4000,), False)):
        problem = problem_of(np.zeros(shape, complex), range(len(shape)) if shape[0] > 5 else (1,))
        problem = problem._replace(prolog=Callback("prolog", "x", "complex128", 0, b""))
        ways = [way for way in provider.algorithms(problem) if way.get("callbacks") == callbacks_device.KERNELS]
        assert {way.get("load") for way in ways} == {"result", None}
        assert ways[0].get("load") == ("result" if first else None)


@pytest.mark.pairwise
@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize(("kind", "inplace"), [("C2C", False), ("C2C", True), ("R2C", False), ("C2R", False)])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 64), 1), ((2, 3, 128), 2), ((256,), 0), ((128, 5), 0), ((2, 64, 3), 1)]
)
def test_one_kernel(standin, shape, axis, kind, inplace, norm):
    length = {"C2C": shape[axis], "R2C": 2 * shape[axis], "C2R": shape[axis] + 1}[kind]
    operand = random_operand(kind, "float64", (*shape[:axis], length, *shape[axis + 1 :]), (axis,))
    for callbacks in (("prolog",), ("epilog",), ("prolog", "epilog")):
        run(standin, operand.copy(), (axis,), callbacks, fft_type=kind, inplace=inplace, norm=norm,
            result_layout="natural")  # fmt: skip
    assert "fused_transform" in {name for name, *_ in standin.kernels}


@pytest.mark.parametrize("norm", [None, "ortho"])
@pytest.mark.parametrize(("shape", "inplace"), [((3, 1024), False), ((2, 2, 512), True), ((512,), False)])
def test_two_kernels(standin, monkeypatch, shape, inplace, norm):
    monkeypatch.setattr(fused_transform, "LONGEST", {"float64": 256})
    memory = random_operand("C2C", "float64", (*shape[:-1], shape[-1] + 8), (len(shape) - 1,))
    for callbacks in (("prolog",), ("epilog",), ("prolog", "epilog")):
        run(standin, memory.copy()[..., :-8], (len(shape) - 1,), callbacks, inplace=inplace, norm=norm)
    assert fused_transform.preferred(problem_of(memory[..., :-8], (len(shape) - 1,)))
    turns = [int(defined["TURN"]) for name, _, defined in standin.kernels if name == "fused_transform"]
    assert turns[:2] == [shape[-1], 1]
    assert set(standin.allowed) <= set(range(1000, 1000 + len(standin.kernels)))


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
#define __shared__
#define __align__(n)
#define __grid_constant__
#define __launch_bounds__(n)
struct float2 { float x, y; };
struct double2 { double x, y; };
struct number { unsigned x; };
static thread_local number threadIdx, blockIdx;
static std::barrier<> *all;
static void __syncthreads() { all->arrive_and_wait(); }
template <class T> static void sincospi(T a, T *s, T *c) { *s = std::sin((T)M_PI * a), *c = std::cos((T)M_PI * a); }
#define sincospif sincospi
static float times(float x, int by) { return x * by; }
static double times(double x, int by) { return x * by; }
template <class T> static T times(T x, int by) { return {x.x * by, x.y * by}; }
static IN load(void *array, unsigned long long offset, void *) { return times(((IN *)array)[offset], 2); }
static void store(void *array, unsigned long long offset, OUT x, void *) { ((OUT *)array)[offset] = times(x, 3); }
"""
LAUNCH = """
ELEMENT all_shared[PER_BLOCK * ROOM];
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
@pytest.mark.parametrize(
    ("kind", "precision", "shape", "axis", "direction"),
    [("C2C", "float32", (2, 6, 512), 2, 1), ("C2C", "float64", (2, 6, 256), 2, -1),
     ("C2C", "float32", (128, 11), 0, -1), ("C2C", "float64", (3, 2, 4096), 2, 1),
     ("R2C", "float32", (2, 6, 256), 2, -1), ("R2C", "float64", (256, 5), 0, -1),
     ("C2R", "float32", (2, 6, 1025), 2, 1), ("C2R", "float64", (3, 4, 129), 2, 1)],
    ids=lambda given: str(given).replace(" ", ""),
)  # fmt: skip
def test_kernel_on_the_host(monkeypatch, tmp_path, kind, precision, shape, axis, direction):
    """The passes of each radix, an unfinished block, a batch of two axes with gaps, transforms side by side, and two
    kernels for one transform."""
    operand = random_operand(kind, precision, shape, (axis,))
    if len(shape) == 3:
        operand = random_operand(kind, precision, (shape[0], 2 * shape[1], shape[2]), (axis,))[:, ::2]
    if kind == "C2R":
        operand.imag[..., [0, -1]] = 7  # which does not count
    plain = problem_of(operand, (axis,), fft_type=kind, result_layout="natural", norm="ortho")
    dtypes = {"prolog": plain.dtype, "epilog": plain.result_dtype}
    callbacks = {phase: Callback(phase, "x", dtypes[phase], 0, b"") for phase in dtypes}
    problem = plain._replace(directions=(direction,), **callbacks)
    launched: list[Any] = []
    monkeypatch.setattr(fused_transform, "LONGEST", {"float32": 1024, "float64": 2048})
    monkeypatch.setattr(fused_transform, "devices", _NoDevices)
    monkeypatch.setattr(fused_transform.Step, "source", lambda *given: ("", ()))
    monkeypatch.setattr(device_code, "linked_kernel", lambda *given: 1)
    monkeypatch.setattr(device_code, "allow_shared", lambda *given: None)
    monkeypatch.setattr(device_code, "launch", lambda *given: launched.append(given))
    monkeypatch.setattr(device_code, "store", lambda *given: None)
    fused_transform.calls(problem, direction)
    result = np.zeros(problem.result_shape, problem.result_dtype)
    between = np.zeros(max(1, fused_transform.scratch(problem)), np.uint8)
    places = [operand.ctypes.data, *([between.ctypes.data] if len(launched) > 1 else []), result.ctypes.data]
    for number, (step, (_, blocks, threads, parameters, *_)) in enumerate(
        zip(fused_transform.steps(problem), launched, strict=True)
    ):
        library = tmp_path / f"kernel{number}.so"
        _compile_for_the_host(step, direction, library)
        parameters["operand"], parameters["result"] = places[number : number + 2]
        ctypes.CDLL(library).launch(blocks[0], threads[0], ctypes.c_void_p(parameters.ctypes.data))
    by = problem.factor(direction) * (6 if len(launched) == 1 else 36)
    assert_accurate(result / by, kind, operand, (axis,), direction)


def _compile_for_the_host(step: Any, direction: int, library: Path) -> None:
    source = HOST + lines.SOURCE + Path(fused_transform.__file__).with_suffix(".cu").read_text() + LAUNCH
    options = ["-std=c++20", "-O1", "-w", "-pthread", "-shared", "-fPIC", "-x", "c++", "-"]
    options += [f"-D{each}" for each in step.definitions(direction)]
    made = [COMPILER, *options, "-o", library]
    done = subprocess.run(made, input=source, text=True, capture_output=True, check=False)
    if "barrier: No such file" in done.stderr:
        pytest.skip("the compiler has no barriers of C++20")
    assert done.returncode == 0, done.stderr
