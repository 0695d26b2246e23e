"""Callbacks for CUDA devices as far as they go without one: LTO-IR, its names, and kernels with it linked in."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from planmath.bindings import nvjitlink, nvrtc
from planmath.core import code_cache
from planmath.core.arrays import COMPLEX_OF
from planmath.core.cuda import device_code
from planmath.core.cuda.mathdx import descriptors
from planmath.fft import FFT, DeviceCallable, compile_epilog, compile_prolog, fft, jit
from planmath.fft.callbacks import Callback, CallbackCode
from planmath.fft.providers import callback_kernels, dx_transform, fused_transform, lines

pytest.importorskip("numba")
if not jit.has_cuda_compiler():
    pytest.skip("numba-cuda is not installed", allow_module_level=True)
for library in (nvrtc.LIBRARY, nvjitlink.LIBRARY):
    if library.missing:
        pytest.skip(str(library.missing), allow_module_level=True)

from tests.fft.callbacks import doubling, epilog_of, filtering, prolog_of, scaling  # noqa: E402

#: As cuFFT declares them ("LTO callback routines" in its documentation).
DECLARED = {
    ("prolog", "float32"): "float cufftJITCallbackLoadReal(void *, unsigned long long, void *, void *)",
    ("prolog", "float64"): "double cufftJITCallbackLoadDoubleReal(void *, unsigned long long, void *, void *)",
    ("prolog", "complex64"): "float2 cufftJITCallbackLoadComplex(void *, unsigned long long, void *, void *)",
    ("prolog", "complex128"): "double2 cufftJITCallbackLoadDoubleComplex(void *, unsigned long long, void *, void *)",
    ("epilog", "float32"): "void cufftJITCallbackStoreReal(void *, unsigned long long, float, void *, void *)",
    ("epilog", "float64"): "void cufftJITCallbackStoreDoubleReal(void *, unsigned long long, double, void *, void *)",
    ("epilog", "complex64"): "void cufftJITCallbackStoreComplex(void *, unsigned long long, float2, void *, void *)",
    ("epilog", "complex128"):
        "void cufftJITCallbackStoreDoubleComplex(void *, unsigned long long, double2, void *, void *)",
}  # fmt: skip
kinds = pytest.mark.parametrize(("phase", "element"), DECLARED)


def compiled(phase: str, element: str, **options: object) -> CallbackCode:
    make, function = (prolog_of, filtering) if phase == "prolog" else (epilog_of, scaling)
    return make(function, element, compute_capability="90", **options)


@kinds
def test_code_has_the_name_and_signature_that_cufft_declares(phase, element):
    code = compiled(phase, element)
    declaration = DECLARED[phase, element]
    name = re.search(r"cufft\w+", declaration)[0]
    value = callback_kernels.ELEMENTS[element]
    call = f"*({value} *)p = {name}(p, 1, p, p)" if phase == "prolog" else f"{name}(p, 1, *({value} *)p, p, p)"
    source = f"__device__ {declaration};\nextern \"C\" __global__ void probe(void *p) {{ {call}; }}"
    own = nvrtc.compile_to_ltoir(source, ["--gpu-architecture=sm_90", "-dlto"])
    assert len(nvjitlink.link([own, bytes(code)], ["-arch=sm_90", "-lto"])) > 1000
    with pytest.raises(nvjitlink.NvJitLinkError, match=f"(?i)undefined|unresolved(.|\n)*{name}"):
        nvjitlink.link([own], ["-arch=sm_90", "-lto"])


@kinds
def test_kernels_have_the_callback_inlined(phase, element):
    callback = Callback(phase, "x", element, 0, compiled(phase, element))
    for count in (1000, callback_kernels.MANY):
        text = linked_to_ptx(*callback_kernels.source(callback, (9, 0)), callback_kernels.definitions(callback, count))
        assert ".entry call_back" in text
        assert jit.BY_ADDRESS[phase] not in text
        assert not re.search(r"\bcall\b", text)
        assert ".local" not in text


@pytest.mark.parametrize("phase", ["prolog", "epilog"])
@pytest.mark.parametrize(("aligned", "address", "wide"), [(True, 4096, True), (True, 4, False), (False, 4096, False)])
def test_both_parts_of_complex_elements_at_a_time(phase, aligned, address, wide):
    """Where addresses allow it: those of the array, and of the data."""
    make, function = (prolog_of, filtering) if phase == "prolog" else (epilog_of, storing_products)
    callback = Callback(phase, "x", "complex64", address, make(function, "complex64", compute_capability="90"))
    source = callback_kernels.source(callback, (9, 0), aligned)
    text = linked_to_ptx(*source, callback_kernels.definitions(callback, 1000))
    assert bool(re.search(r"\b(ld|st)\.global\.f32", text)) is not wide
    assert re.search(r"\bld\.global\.v2\.f32", text)


def storing_products(data_out, offset, data, user_info, reserved):
    data_out[offset] = data * user_info[offset]


@pytest.mark.parametrize(
    ("kind", "length"),
    [*(("C2C", 1 << n) for n in range(6, 15)), ("R2C", 128), ("R2C", 2048), ("C2R", 128), ("C2R", 4096)],
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_kernel_that_transforms(precision, kind, length):
    element = precision if kind == "R2C" else COMPLEX_OF[precision]
    shape = (9, length // 2 + 1) if kind == "C2R" else (9, length)
    problem = FFT.create_key_from_metadata(shape, element, "cpu", axes=[1], options={"fft_type": kind})
    dtypes = {"prolog": problem.dtype, "epilog": problem.result_dtype}
    problem = problem._replace(
        **{phase: Callback(phase, "x", dtypes[phase], 0, compiled(phase, dtypes[phase])) for phase in dtypes}
    )
    steps = fused_transform.steps(problem)
    assert len(steps) == (1 if kind != "C2C" or length <= fused_transform.LONGEST[precision] else 2)
    for step in steps:
        text = linked_to_ptx(*step.source((9, 0)), step.definitions(-1 if kind == "R2C" else 1))
        assert ".entry fused_transform" in text
        assert not re.search(r"\bcall\b.*planmath", text)
        assert "planmath_" not in text


@pytest.mark.skipif(bool(descriptors.missing()), reason="libmathdx is not there")
@pytest.mark.parametrize(
    ("kind", "length"),
    [("C2C", 30), *(pytest.param(*each, marks=pytest.mark.exhaustive) for each in (("R2C", 27), ("C2R", 20)))],
)
def test_kernel_around_a_function_of_cufftdx(kind, length):
    element = "float32" if kind == "R2C" else "complex64"
    shape = (9, length // 2 + 1) if kind == "C2R" else (9, length)
    problem = FFT.create_key_from_metadata(shape, element, "cpu", axes=[1], options={"fft_type": kind})
    dtypes = {"prolog": problem.dtype, "epilog": problem.result_dtype}
    problem = problem._replace(
        **{phase: Callback(phase, "x", dtypes[phase], 0, compiled(phase, dtypes[phase])) for phase in dtypes}
    )
    assert not fused_transform.suits(problem)
    kernel = dx_transform.Kernel(lines.lines_of(problem), problem.directions[-1], (9, 0))
    text = linked_to_ptx(*kernel.source(), kernel.definitions)
    assert ".entry dx_transform" in text
    assert "planmath_" not in text


def linked_to_ptx(source: str, pieces: tuple[bytes, ...], made: tuple[str, ...]) -> str:
    options = ["--gpu-architecture=sm_90", "-dlto", *(f"-D{each}" for each in made)]
    own = nvrtc.compile_to_ltoir(device_code._PRELUDE + source, options)
    return nvjitlink.link([own, *pieces], ["-arch=sm_90", "-lto", "-ptx"]).rstrip(b"\0").decode()


@kinds
def test_foreign_code_is_linked_as_well(phase, element):
    callback = Callback(phase, "x", element, 0, bytes(compiled(phase, element)))
    source, pieces = callback_kernels.source(callback, (9, 0))
    assert pieces == (callback.code,)
    assert len(device_code.linked_code(source, (9, 0), callback_kernels.definitions(callback, 1000), pieces)) > 1000


def test_branches_loops_and_early_returns():
    def branching(data_in, offset, user_info, reserved):
        if offset % 3 == 0:
            return data_in[offset]
        total = data_in[offset] * 0
        for k in range(3):
            if user_info[k] > 2:
                return total
            total += user_info[k]
        return math.sqrt(total)

    code = compile_prolog(branching, "float64", "float32", compute_capability="90")
    callback = Callback("prolog", "x", "float64", 0, code)
    source, pieces = callback_kernels.source(callback, (9, 0))
    assert len(device_code.linked_code(source, (9, 0), callback_kernels.definitions(callback, 1000), pieces)) > 1000


def test_functions_that_a_callback_calls_are_compiled_without_a_device():
    numba = pytest.importorskip("numba")

    @numba.njit
    def twice(x):
        return 2 * x

    def doubled(data_in, offset, user_info, reserved):
        return twice(data_in[offset])

    code = compile_prolog(doubled, "complex64", "float32", compute_capability="90")
    callback = Callback("prolog", "x", "complex64", 0, code)
    source, pieces = callback_kernels.source(callback, (9, 0))
    assert len(device_code.linked_code(source, (9, 0), callback_kernels.definitions(callback, 1000), pieces)) > 1000


def test_linked_code_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(code_cache, "_pieces", code_cache.Pieces())
    callback = Callback("epilog", "x", "complex64", 0, compiled("epilog", "complex64"))

    def link() -> bytes:
        source, pieces = callback_kernels.source(callback, (9, 0))
        return device_code.linked_code(source, (9, 0), callback_kernels.definitions(callback, 1000), pieces)

    first = link()
    with monkeypatch.context() as patch:
        patch.setattr(nvjitlink, "link", None)
        patch.setattr(jit, "cuda_compiler", None)
        assert link() == first
    assert code_cache.stored()[0] == 2


def test_bytes_serve_the_cpu_as_well():
    code = compiled("prolog", "complex64")
    assert len(code) > 1000
    assert (code.capability, code.representation) == ((9, 0), "ltoir")
    operand = np.ones((2, 4), np.complex64)
    wanted = np.fft.fft2(2 * operand)
    np.testing.assert_allclose(fft(operand, prolog=DeviceCallable(code, data=2 * operand)), wanted, atol=1e-5)


def test_code_for_an_older_device_is_compiled_anew():
    code = compiled("epilog", "float32")
    assert code.for_device((10, 0)) == bytes(code), "newer devices run it"
    older = code.for_device((8, 0))
    assert older
    assert older != bytes(code)


def test_ptx():
    code = epilog_of(doubling, "float64", representation="ptx", compute_capability="90")
    text = code.decode()
    assert jit.SYMBOLS["epilog", "float64"] in text
    assert ".target sm_90" in text
    assert code.for_device((9, 0))[:4] != code[:4]


def test_functions_that_callbacks_call_are_compiled_for_their_device(monkeypatch, tmp_path):
    """numba-cuda compiles such for the current device, of which there may be none or another one."""
    from numba import cuda

    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(code_cache, "_pieces", code_cache.Pieces())

    def compiled_for(capability: str) -> str:
        @cuda.jit(device=True)
        def twice(x):
            return 2 * x

        def doubled(data_out, offset, data, user_info, reserved):
            data_out[offset] = twice(data)

        return compile_epilog(
            doubled, "float32", "float32", representation="ptx", compute_capability=capability
        ).decode()

    with ThreadPoolExecutor(2) as pool:
        for capability, text in zip(("80", "90"), pool.map(compiled_for, ("80", "90")), strict=True):
            assert f".target sm_{capability}" in text
