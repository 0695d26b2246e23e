"""Kernels to machine code without a device: one of each kind; and what the compiler refuses."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("cuda.bindings.nvjitlink")

import planmath.device as pmd  # noqa: I001
from numba import cuda
from numba.core.errors import TypingError as CoreTypingError
from numba.cuda import types
from numba.cuda.core.errors import TypingError
from planmath.core import code_cache, fingerprints
from planmath.core.cuda.mathdx import descriptors
from planmath.device import launching, tensor_code
from planmath.device.kernels import calls, states_type
from planmath.device.random import device_code
from planmath.device.solver import FUNCTIONS
from planmath.native.library import MissingLibraryError
from tests.device import kernels

pytestmark = pytest.mark.skipif(bool(descriptors.missing()), reason="libmathdx is not there")
ROWS = ("row_major",) * 3
C, F, I32 = types.complex64, types.float32, types.int32


def check(cubin: bytes) -> None:
    """An ELF file for sm_90 with a kernel."""
    assert cubin[:4] == b"\x7fELF"
    assert int.from_bytes(cubin[18:20], "little") == 190  # EM_CUDA
    assert b".text." in cubin


def transform_of(size: int) -> pmd.FFT:
    """That of 16 is compiled once, for several tests."""
    return pmd.FFT(size, np.float32, "c2c", "Block", sm=90, direction="forward")


def test_a_transform() -> None:
    fft = transform_of(16)
    kernel = kernels.transform(fft, fft.elements_per_thread, fft.elements_per_thread)
    check(pmd.compile_kernel(kernel, types.void(C[:, ::1], C[:, ::1]), 90))


def test_a_product() -> None:
    mm = pmd.Matmul((16, 16, 16), np.float32, "real", sm=90, arrangement=ROWS, block_size=64)
    a = F[:, ::1]
    check(pmd.compile_kernel(kernels.product(mm), types.void(F, a, a, F, a), 90))


def test_a_solver() -> None:
    solver = pmd.Solver("potrf", 16, np.float32, "Block", sm=90, fill_mode="lower")
    kernel = kernels.solver_kernel(solver, {"a": 256, "info": 1}, {"a": np.float32, "info": np.int32})
    check(pmd.compile_kernel(kernel, types.void(F[::1], I32[::1], F[::1], F[::1], F[::1]), 90))


def test_random_numbers() -> None:
    try:
        device_code._folders()
    except MissingLibraryError as error:
        pytest.skip(str(error))
    kernel = kernels.drawing("normal4", (), 4)
    check(pmd.compile_kernel(kernel, types.void(states_type("Philox4_32_10"), F[:, ::1]), 90))


@pytest.mark.exhaustive
@pytest.mark.parametrize("suggested", [False, True])
def test_tensors(suggested: bool) -> None:
    mm = pmd.Matmul((16, 16, 16), np.float32, "real", sm=90, arrangement=ROWS, block_size=64)
    a = F[:, ::1]
    check(pmd.compile_kernel(kernels.tiled(mm, suggested), types.void(a, a, a), 90))


class _OnADevice:
    """As much of an array on a device as a pipeline needs."""

    def __init__(self, shape: tuple[int, int], strides: tuple[int, int]):
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype(np.float32)
        self.__cuda_array_interface__ = {"shape": shape, "data": (4096, False), "strides": strides}


def test_arguments_of_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_code, "traits", lambda mm, kind: {"STORAGE_BYTES": 1024})  # as `test_pipelines` finds
    mm = pmd.Matmul((16, 16, 16), np.float32, "real", sm=90, arrangement=ROWS, block_size=64, with_pipeline=True)
    a, b = _OnADevice((32, 80), (400, 4)), _OnADevice((80, 48), (192, 4))
    pipeline = mm.suggest_device_pipeline(2, a, b)
    assert pipeline.arguments == (4096, 100, 4096, 48, 5)
    assert pipeline.buffer_size == 4 * 1024
    kind = pipeline._numba_type_
    (extension,) = pmd.cublasdx_numba.pipeline_extensions
    assert extension.prepare_args(kind, pipeline) == (types.UniTuple(types.int64, 5), pipeline.arguments)
    assert extension.prepare_args(F, 2.0) == (F, 2.0)
    with pytest.raises(ValueError, match=r"a has strides of \(4, 128\) bytes; expected rows without gaps"):
        mm.suggest_device_pipeline(2, _OnADevice((32, 80), (4, 128)), b)
    with pytest.raises(ValueError, match="b is a ndarray; expected an array on the current CUDA device"):
        mm.suggest_device_pipeline(2, a, np.zeros((80, 48), np.float32))


@pytest.mark.exhaustive
def test_pipelines() -> None:
    mm = pmd.Matmul((16, 16, 16), np.float32, "real", sm=90, arrangement=ROWS, block_size=64, with_pipeline=True)
    pipeline = mm.suggest_device_pipeline(2, _OnADevice((32, 80), (320, 4)), _OnADevice((80, 48), (192, 4)))
    assert pipeline.buffer_size == 4 * 1024
    check(pmd.compile_kernel(kernels.pipelined(mm), types.void(pipeline._numba_type_, F[:, ::1]), 90))


@pytest.mark.exhaustive
@pytest.mark.parametrize("execution", ["Block", "Thread"])
@pytest.mark.parametrize("fft_type", ["c2c", "r2c", "c2r"])
@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64])
def test_every_kind_of_transform(precision: Any, fft_type: str, execution: str) -> None:
    direction = "forward" if fft_type == "c2c" else None
    fft = pmd.FFT(32, precision, fft_type, execution, sm=90, direction=direction)
    for api in ("register_memory", "shared_memory") if execution == "Block" else ("register_memory",):
        code, symbol = pmd.compile_fft_execute(fft, pmd.CodeType("lto", fft.sm), api)
        assert len(code.data) > 1000
        assert symbol.startswith("planmath_fft_")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_solver(name: str) -> None:
    words = {"fill_mode": "lower", "side": "left", "diag": "unit", "job": "no_vectors"}
    needs = FUNCTIONS[name].needs
    solver = pmd.Solver(name, (8, 8, 4), np.float64, "Block", sm=90, **{each: words[each] for each in needs})
    code, _ = pmd.compile_solver_execute(solver, pmd.CodeType("lto", solver.sm), "compiled_leading_dim")
    assert len(code.data) > 1000


def test_code_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "_pieces", code_cache.Pieces())
    fft = transform_of(16)
    code_type = pmd.CodeType("lto", fft.sm)
    first, symbol = pmd.compile_fft_execute(fft, code_type)
    code_cache._pieces.clear()
    monkeypatch.setattr(descriptors, "packed", lambda *_: pytest.fail("compiled again"))
    assert pmd.compile_fft_execute(fft, code_type) == (first, symbol)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda f, m, s: lambda x: f.execute(x),
            "FFT.execute takes an array of float32x2 for its values, not of float32",
        ),
        (lambda f, m, s: lambda x: m.execute(x, x), "Matmul.execute takes .*, not 2 arguments"),
        (lambda f, m, s: lambda x: m.execute(x, x, x, 1, x), "Matmul.execute takes a number for alpha"),
        (lambda f, m, s: lambda x: s.factorize(x, x), "takes an array of int32 for info"),
        (lambda f, m, s: lambda x: s.solve(x, x, lda=8), "takes the leading dimensions of a and b, or none of them"),
    ],
)
def test_what_the_compiler_refuses(call: Any, message: str) -> None:
    fft = pmd.FFT(8, np.float32, "c2c", "Block", sm=90, direction="forward")
    mm = pmd.Matmul((4, 4, 4), np.float32, "real", sm=90, arrangement=ROWS, block_size=32)
    solver = pmd.CholeskySolver((4, 4), np.float32, "Block", "lower", sm=90)
    with pytest.raises((TypingError, CoreTypingError), match=message):
        pmd.compile_kernel(call(fft, mm, solver), types.void(F[::1]), 90)


def test_functions_of_a_kernel_are_compiled_side_by_side() -> None:
    both = threading.Barrier(2, timeout=30)

    def made(name: str) -> pmd.Code:
        both.wait()  # for the other one
        return pmd.Code(pmd.CodeType("lto", pmd.ComputeCapability(9, 0)), pmd.ISAVersion(13, 0), name.encode())

    pending = [calls.Pending(name, functools.partial(made, name)) for name in ("one", "other")]
    assert [each.data for each in pending] == [b"one", b"other"]


def test_identity_of_kernels() -> None:
    def told(function: Any) -> str | None:
        return fingerprints.fingerprint(function, launching._known)

    def make(n: int, fft: Any = None) -> Any:
        def kernel(x):
            for i in range(n):
                x[i] = fft.size if fft else 0

        return kernel

    small, large = (pmd.FFT(n, np.float32, "c2c", "Thread", sm=90, direction="forward") for n in (8, 16))
    assert told(make(1, small)) == told(make(1, small))
    assert told(make(1)) != told(make(2))
    assert told(make(1, small)) != told(make(1, large))
    assert told(make(1, object())) is None
    assert told(cuda.jit(make(1)).py_func) == told(make(1))


def test_identity_of_what_is_linked(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(cuda, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
    files = [tmp_path / name for name in ("one.ltoir", "same.ltoir", "other.ltoir")]
    for file in files:
        file.write_bytes(b"other" if file.stem == "other" else b"one")

    def named(**options: Any) -> str | None:
        def kernel(x):
            x[0] = 1

        return launching._name(cuda.jit(**options)(kernel), (F[::1],))

    one, same, other = (named(link=[str(file)]) for file in files)
    assert one == same != other
    assert len({one, named(), named(debug=True, opt=False), named(link=[cuda.LTOIR(b"one")])} | {None}) == 5
    assert named(link=[cuda.LTOIR(b"one")]) != named(link=[cuda.LTOIR(b"two")])
    assert named(link=[str(tmp_path / "missing.ltoir")]) is None
    assert named(link=[cuda.LTOIR(b"one", setup_callback=print)]) is None


def test_launched_kernels_are_kept_as_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as there is no device: what a second process would load is what the first one linked."""
    from types import SimpleNamespace

    from numba.cuda import codegen, dispatcher

    monkeypatch.setattr(cuda, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
    monkeypatch.setattr(dispatcher, "get_current_device", cuda.get_current_device)
    monkeypatch.setattr(codegen.CUDACodeLibrary, "_ensure_cc", lambda self, cc: cc or (9, 0))
    monkeypatch.setattr(dispatcher._Kernel, "bind", lambda self: None)
    kinds = (C[:, ::1], C[:, ::1])

    def make(size: int) -> Any:
        fft = transform_of(size)
        return kernels.transform(fft, fft.elements_per_thread, fft.elements_per_thread)

    first = launching._compiled(make(16), kinds)
    code_cache._pieces.clear()
    again = make(16)
    restored = launching._restored(again, kinds)
    assert restored._codelibrary.get_cubin().code == first._codelibrary.get_cubin().code
    assert again.overloads[kinds] is restored
    assert launching._restored(make(8), kinds) is None


@pytest.mark.parametrize(
    ("device", "given", "message"),
    [
        (True, {}, r"a function for kernels \(device=True\), which cannot be launched"),
        (False, {"grid": 0}, "grid is one to three positive integers, not 0"),
        (False, {"block": (64, 32)}, r"block=\(64, 32, 1\) is 2048 threads; a block has 1024 at most"),
        (False, {"shared": -1}, "shared is -1; expected bytes"),
    ],
)
def test_what_launch_refuses_without_asking_a_device(device: bool, given: dict[str, Any], message: str) -> None:
    kernel = cuda.jit(device=device)(lambda x: None)
    with pytest.raises((TypeError, ValueError), match=message):
        pmd.launch(kernel, traits=None, **{"grid": 1, "block": 32} | given)


def test_much_shared_memory_is_allowed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What numba-cuda launches is a kernel of a library, for which the driver has a call of its own."""
    from types import SimpleNamespace

    from cuda.bindings import driver

    allowed, most = [], 227 << 10

    def allow(attribute: Any, value: int, kernel: Any, device: Any) -> tuple[Any]:
        assert attribute == driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        assert (type(kernel), int(kernel), int(device)) == (driver.CUkernel, 77, 3)
        allowed.append(value)
        return (driver.CUresult.CUDA_SUCCESS if value <= most else driver.CUresult.CUDA_ERROR_INVALID_VALUE,)

    monkeypatch.setattr(driver, "cuKernelSetAttribute", allow)
    function = SimpleNamespace(handle=driver.CUkernel(77), device=SimpleNamespace(id=3))
    compiled = SimpleNamespace(_codelibrary=SimpleNamespace(get_cufunc=lambda: function))
    kernel = SimpleNamespace(typeof_pyval=lambda value: "x", overloads={("x",): compiled})
    for shared in (0, 48 << 10, (48 << 10) + 16, most):
        launching._prepare(kernel, [1], shared)
    assert allowed == [(48 << 10) + 16, most]
    with pytest.raises(ValueError, match=f"cannot give a block {most + 1} bytes of dynamic shared memory"):
        launching._prepare(kernel, [1], most + 1)
