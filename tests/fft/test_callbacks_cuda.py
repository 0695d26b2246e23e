"""Callbacks of transforms on CUDA devices: what they see and what comes out, in each of the ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from planmath.bindings import nvrtc, runtime  # noqa: E402
from planmath.core.arrays import COMPLEX_OF  # noqa: E402
from planmath.core.cuda import devices  # noqa: E402
from planmath.core.cuda.mathdx import descriptors  # noqa: E402
from planmath.fft import FFT, DeviceCallable, fft, jit  # noqa: E402
from planmath.fft.providers import callback_kernels, callbacks_device  # noqa: E402
from tests.arrays import DEVICE_PACKAGES, address_of, to_numpy, to_package  # noqa: E402
from tests.fft.callbacks import (  # noqa: E402
    ARRANGEMENTS,
    counting,
    doubling,
    epilog_of,
    filtering,
    laid_out_like,
    locating,
    offsets,
    operand_of,
    prolog_of,
    scaling,
    skipping,
)
from tests.fft.operands import random_operand  # noqa: E402
from tests.fft.reference import FORWARD, INVERSE, assert_accurate  # noqa: E402

if reason := devices.missing():
    pytest.skip(str(reason), allow_module_level=True)
if not jit.has_cuda_compiler():
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

package_of_each = pytest.mark.parametrize("package", DEVICE_PACKAGES)
WAYS = {"fused": callbacks_device.FUSED, "kernels": callbacks_device.KERNELS, "library": callbacks_device.LIBRARY,
        "cufftdx": callbacks_device.DX}  # fmt: skip
each_way = pytest.mark.parametrize("way", [way for way in WAYS if way != "cufftdx"])  # which takes seconds to compile
COMPLEX = (np.arange(24).reshape(4, 6) + 1j).astype(np.complex64)


def planned(transform: FFT, way: str, prolog: Any, epilog: Any) -> FFT:
    """The transform, planned to go this way; skips the test where it has no such."""
    transform.plan(prolog=prolog, epilog=epilog)
    plan = transform._plan_made
    chosen = [algorithm for algorithm in plan.algorithms if algorithm.get("callbacks") == WAYS[way]]
    if not chosen:
        pytest.skip("there is no such way")
    transform._make_plan(plan.problem, transform._slots, chosen[:1])
    return transform


def made(array: np.ndarray, package: str) -> Any:
    return to_package(array, package)


@pytest.mark.pairwise
@package_of_each
@each_way
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_offsets_of_an_epilog(package, way, name):
    arranged = ARRANGEMENTS[name]
    operand = operand_of(arranged, "float64")
    dtype = "float64" if arranged.kind == "C2R" else "complex128"
    with FFT(made(operand, package), axes=arranged.axes, options=arranged.options) as transform:
        planned(transform, way, None, DeviceCallable(epilog_of(locating, dtype)))
        result = to_numpy(transform.execute())
        np.testing.assert_array_equal(result, offsets(*transform.get_output_layout()))


@pytest.mark.pairwise
@package_of_each
@each_way
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_prolog_loads_every_element_once(package, way, name):
    arranged = ARRANGEMENTS[name]
    operand = operand_of(arranged, "float64")
    prolog = prolog_of(counting, str(operand.dtype), numba.types.int32)
    with FFT(made(operand, package), axes=arranged.axes, options=arranged.options) as transform:
        places = offsets(*transform.get_input_layout())
        counts = made(np.zeros(places.max() + 1, np.int32), package)
        planned(transform, way, DeviceCallable(prolog, data=counts), None)
        wanted = np.zeros(places.max() + 1, np.int32)
        wanted[places] = 1
        for times in (1, 2):
            transform.execute()
            np.testing.assert_array_equal(to_numpy(counts), times * wanted)


@pytest.mark.pairwise
@package_of_each
@each_way
@pytest.mark.parametrize("given", ["prolog", "epilog", "both"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_filter_and_scale(package, way, given, precision, name):
    arranged = ARRANGEMENTS[name]
    operand = operand_of(arranged, precision)
    result_dtype = precision if arranged.kind == "C2R" else COMPLEX_OF[precision]
    response = laid_out_like(operand, np.random.default_rng(5).standard_normal(operand.shape).astype(precision))
    filtered = DeviceCallable(prolog_of(filtering, str(operand.dtype), precision), data=made(response, package))
    scale = made(np.array([0.25], precision), package)
    scaled = DeviceCallable(epilog_of(scaling, result_dtype, precision), data=scale)
    prolog, epilog = filtered if given != "epilog" else None, scaled if given != "prolog" else None
    with FFT(made(operand, package), axes=arranged.axes, options=arranged.options) as transform:
        result = to_numpy(planned(transform, way, prolog, epilog).execute())
    loaded = operand * response if prolog else operand
    direction = INVERSE if arranged.kind == "C2R" else FORWARD
    parity = arranged.options.get("last_axis_parity", "even")
    assert_accurate(result * 4 if epilog else result, arranged.kind, loaded, arranged.axes, direction, parity)


@pytest.mark.parametrize("columns", [7, 1021])
def test_threads_with_several_elements(monkeypatch, columns):
    """As they have from `MANY` elements on: each is loaded and stored once, also in the last, incomplete block."""
    monkeypatch.setattr(callback_kernels, "MANY", 1)
    operand = random_operand("C2C", "float32", (5, columns), (1,))
    counts = made(np.zeros(operand.shape, np.int32), DEVICE_PACKAGES[0])
    prolog = DeviceCallable(prolog_of(counting, "complex64", numba.types.int32), data=counts)
    epilog = DeviceCallable(epilog_of(doubling, "complex64"))
    with FFT(made(operand, DEVICE_PACKAGES[0]), axes=[1]) as transform:
        result = to_numpy(planned(transform, "kernels", prolog, epilog).execute())
    assert_accurate(result / 2, "C2C", operand, (1,), FORWARD)
    np.testing.assert_array_equal(to_numpy(counts), 1)


@package_of_each
@each_way
def test_both_directions(package, way):
    operand = random_operand("C2C", "float32", (333, 256), (1,))
    prolog = DeviceCallable(prolog_of(filtering, "complex64"), data=made(operand, package))
    epilog = DeviceCallable(epilog_of(doubling, "complex64"))
    for callbacks in ((prolog, None), (None, epilog), (prolog, epilog)):
        with FFT(made(operand, package), axes=[1]) as transform:
            planned(transform, way, *callbacks)
            for direction in (FORWARD, INVERSE):
                result = to_numpy(transform.execute(direction=direction))
                loaded = operand * operand if callbacks[0] else operand
                assert_accurate(result / (2 if callbacks[1] else 1), "C2C", loaded, (1,), direction)


@pytest.mark.pairwise
@package_of_each
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(3, 64), (2, 5, 128), (7, 256), (301, 512), (5, 1024), (3, 2048), (2, 2, 4096), (128,)]
)
@pytest.mark.parametrize("layout", ["dense", "rows with gaps", "in place"])
def test_one_kernel(package, precision, shape, layout):
    operand = random_operand("C2C", precision, shape, (len(shape) - 1,))
    if layout == "rows with gaps":
        operand = np.concatenate([operand, operand], axis=-1)[..., : shape[-1]]
    complex_ = COMPLEX_OF[precision]
    filtered = DeviceCallable(prolog_of(filtering, complex_), data=made(laid_out_like(operand, operand), package))
    doubled = DeviceCallable(epilog_of(doubling, complex_))
    for callbacks in ((filtered, doubled), (filtered, None), (None, doubled)):
        with FFT(made(operand.copy() if layout == "in place" else operand, package), axes=[-1],
                 options={"inplace": layout == "in place"}) as transform:  # fmt: skip
            planned(transform, "fused", *callbacks)
            loaded = operand
            for direction in (FORWARD, INVERSE)[: 1 if layout == "in place" else 2]:
                result = to_numpy(transform.execute(direction=direction)) / (2 if callbacks[1] else 1)
                loaded = operand * operand if callbacks[0] else operand
                assert_accurate(result, "C2C", loaded, (len(shape) - 1,), direction)


@package_of_each
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("kind", "shape", "axis"),
    [("R2C", (5, 128), 1), ("R2C", (3, 4, 2048), 2), ("R2C", (256, 11), 0), ("R2C", (2, 8192), 1),
     ("C2R", (5, 65), 1), ("C2R", (3, 4, 1025), 2), ("C2R", (129, 11), 0), ("C2R", (2, 4097), 1),
     ("C2C", (64, 37), 0), ("C2C", (2, 512, 9), 1), ("C2C", (3, 8192), 1), ("C2C", (3, 16384), 1),
     ("C2C", (2, 2, 65536), 2), ("C2C", (1 << 17,), 0)],
)  # fmt: skip
def test_own_kernels(package, precision, kind, shape, axis):
    _check_one_axis(package, "fused", precision, kind, shape, axis)


@pytest.mark.parametrize(
    ("kind", "precision", "shape", "axis"),
    [("C2C", "float32", (7, 1000), 1), ("R2C", "float64", (5, 81), 1), ("C2R", "float32", (2, 3, 61), 2)],
)
def test_around_a_function_of_cufftdx(precision, kind, shape, axis):
    if descriptors.missing():
        pytest.skip(str(descriptors.missing()))
    _check_one_axis(DEVICE_PACKAGES[0], "cufftdx", precision, kind, shape, axis)


def _check_one_axis(package: str, way: str, precision: str, kind: str, shape: tuple[int, ...], axis: int) -> None:
    operand = random_operand(kind, precision, shape, (axis,))
    options = {"fft_type": kind, "norm": "ortho", "result_layout": "natural"}
    with FFT(made(operand, package), axes=[axis], options=options) as transform:
        problem = transform.get_key()
        filter_ = random_operand(kind, precision, shape, (axis,), seed=1)
        filtered = DeviceCallable(prolog_of(filtering, problem.dtype), data=made(filter_, package))
        doubled = DeviceCallable(epilog_of(doubling, problem.result_dtype))
        for callbacks in ((filtered, doubled), (filtered, None), (None, doubled)):
            planned(transform, way, *callbacks)
            loaded = operand * filter_ if callbacks[0] else operand
            for direction in problem.directions:
                keywords = {"direction": direction} if kind == "C2C" else {}
                result = to_numpy(transform.execute(**keywords)) / (2 if callbacks[1] else 1)
                assert_accurate(result / problem.factor(direction), kind, loaded, (axis,), direction)


@package_of_each
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_an_epilog_gets_what_is_scaled(package, norm):
    operand = random_operand("C2C", "float64", (30, 24), (1,))

    def raised(data_out, offset, data, user_info, reserved):
        data_out[offset] = data + 1

    with FFT(made(operand, package), axes=[1], options={"norm": norm}) as transform:
        transform.plan(epilog=DeviceCallable(epilog_of(raised, "complex128")))
        for direction in (FORWARD, INVERSE):
            result = to_numpy(transform.execute(direction=direction)) - 1
            assert_accurate(result / transform.get_key().factor(direction), "C2C", operand, (1,), direction)


@package_of_each
def test_what_is_not_stored_stays(package):
    operand = np.arange(12.0).reshape(3, 4) + 0j
    with FFT(made(operand, package), axes=[1]) as transform:
        transform.plan(epilog=DeviceCallable(epilog_of(skipping, "complex128")))
        out = made(np.full((3, 4), 7j), package)
        result = to_numpy(transform.execute(out=out))
    np.testing.assert_array_equal(result[:, 1::2], 7j)
    np.testing.assert_allclose(result[:, ::2], np.fft.fft(operand)[:, ::2], atol=1e-12)


@package_of_each
def test_operands_of_the_host(package):
    response = made(2 * COMPLEX, package)
    prolog = DeviceCallable(prolog_of(filtering, "complex64"), data=response)
    result = fft(COMPLEX, prolog=prolog, execution="cuda")
    np.testing.assert_allclose(result, np.fft.fft2(2 * COMPLEX.astype(complex) ** 2), rtol=1e-4, atol=1e-2)


@package_of_each
def test_operands_of_the_device_on_the_host(package):
    prolog = DeviceCallable(prolog_of(filtering, "complex64"), data=2 * COMPLEX)
    result = fft(made(COMPLEX, package), prolog=prolog, execution="cpu")
    np.testing.assert_allclose(to_numpy(result), np.fft.fft2(2 * COMPLEX.astype(complex) ** 2), rtol=1e-4, atol=1e-2)


@package_of_each
def test_data_elsewhere_is_refused(package):
    code = prolog_of(filtering, "complex64")
    for operand, data, execution in (
        (made(COMPLEX, package), COMPLEX, None), (COMPLEX, made(COMPLEX, package), None), (COMPLEX, COMPLEX, "cuda"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"prolog's data is on .*, and the transform is computed on .*move it"):
            fft(operand, prolog=DeviceCallable(code, data=data), execution=execution)


@package_of_each
def test_stateless_calls_and_addresses(package, nothing_remembered):
    operand = made(COMPLEX, package)
    plain = to_numpy(fft(operand))
    code = epilog_of(scaling, "complex64", "float32")
    for factor in (2.0, 3.0):
        data = made(np.array([factor], np.float32), package)
        for given in (data, address_of(data)):
            result = to_numpy(fft(operand, epilog=DeviceCallable(code, data=given)))
            np.testing.assert_allclose(result, factor * plain, rtol=1e-5)
    np.testing.assert_array_equal(to_numpy(fft(operand)), plain)


@package_of_each
@each_way
def test_code_from_elsewhere(package, way):
    source = """
__device__ float2 cufftJITCallbackLoadComplex(void *in, unsigned long long offset, void *info, void *shared) {
    const float2 x = ((const float2 *)in)[offset];
    const float by = ((const float *)info)[0];
    return make_float2(by * x.x, by * x.y);
}"""
    major, minor = devices.compute_capability()
    code = nvrtc.compile_to_ltoir(source, [f"--gpu-architecture=sm_{major}{minor}", "-dlto", "-rdc=true"])
    kept = np.frombuffer(code, np.uint8)
    operand = random_operand("C2C", "float32", (9, 64), (1,))
    data = made(np.array([3], np.float32), package)
    for ltoir, size in ((code, None), (kept.ctypes.data, kept.size)):
        with FFT(made(operand, package), axes=[1]) as transform:
            planned(transform, way, DeviceCallable(ltoir, size, data), None)
            assert_accurate(to_numpy(transform.execute()) / 3, "C2C", operand, (1,), FORWARD)


@package_of_each
@each_way
@pytest.mark.parametrize("gap", [0, 1, 2], ids=["aligned", "amid an element", "behind an element"])
def test_data_at_any_address(package, way, gap):
    """Both parts of an element are loaded at a time only where they may be."""
    operand = random_operand("C2C", "float32", (9, 64), (1,))
    factors = np.random.default_rng(3).standard_normal(operand.shape).astype(np.complex64) + np.complex64(1j)
    memory = made(np.concatenate([np.zeros(gap, np.float32), factors.reshape(-1).view(np.float32)]), package)
    prolog = DeviceCallable(prolog_of(filtering, "complex64"), data=address_of(memory) + 4 * gap)
    with FFT(made(operand, package), axes=[1]) as transform:
        planned(transform, way, prolog, None)
        assert_accurate(to_numpy(transform.execute()), "C2C", operand * factors, (1,), FORWARD)


@package_of_each
def test_prologs_that_load_into_the_result(package):
    for shape in ((1, 4096), (30, 20)):
        operand = random_operand("C2C", "float32", shape, (1,))
        values = made(operand, package)
        with FFT(values, axes=[1]) as transform:
            transform.plan(prolog=DeviceCallable(prolog_of(filtering, "complex64"), data=made(operand, package)))
            plan = transform._plan_made
            ways = [each for each in plan.algorithms if callbacks_device.WITHIN in each.knobs]
            transform._make_plan(plan.problem, transform._slots, ways[:1])
            assert_accurate(to_numpy(transform.execute()), "C2C", operand * operand, (1,), FORWARD)
            np.testing.assert_array_equal(to_numpy(values), operand)


def dividing(data_in, offset, user_info, reserved):
    return data_in[offset] / user_info[offset]


@package_of_each
@each_way
def test_quotients_are_those_of_numpy(package, way):
    operand = random_operand("C2C", "float32", (128, 64), (1,))
    divisors = operand.copy()
    divisors[5, 7] = divisors[9] = 0
    prolog = DeviceCallable(prolog_of(dividing, "complex64"), data=made(divisors, package))
    with FFT(made(operand, package), axes=[1]) as transform:
        found = to_numpy(planned(transform, way, prolog, None).execute())
    impossible = np.zeros(len(operand), bool)
    impossible[[5, 9]] = True
    assert not np.isfinite(found[impossible]).any()
    assert_accurate(found[~impossible], "C2C", np.ones_like(operand)[~impossible], (1,), FORWARD)


@package_of_each
def test_autotune_compares_the_ways(package, tuning_record):
    operand = random_operand("C2C", "float32", (64, 256), (1,))
    prolog = DeviceCallable(prolog_of(filtering, "complex64"), data=made(operand, package))
    with FFT(made(operand, package), axes=[1]) as transform:
        transform.plan(prolog=prolog)
        transform.autotune(iterations=3)
        assert_accurate(to_numpy(transform.execute()), "C2C", operand * operand, (1,), FORWARD)
        report = transform.report()
    assert "callbacks=fused" in report
    assert "callbacks=kernels" in report
    assert f"callbacks={callbacks_device.LIBRARY}" in report
    assert "filtering" in report


@package_of_each
def test_on_another_stream(package):
    operand = random_operand("C2C", "float32", (128, 4096), (1,))
    data = made(operand, package)
    with FFT(made(operand, package), axes=[1]) as transform:
        transform.plan(prolog=DeviceCallable(prolog_of(filtering, "complex64"), data=data))
        runtime.device_synchronize()
        stream = runtime.stream_create()
        try:
            result = transform.execute(stream=stream)
            runtime.stream_synchronize(stream)
            assert_accurate(to_numpy(result), "C2C", operand * operand, (1,), FORWARD)
        finally:
            transform.free()
            runtime.stream_destroy(stream)


@package_of_each
def test_half_precision_is_refused(package):
    operand = made(np.ones((4, 8), np.float16), package)
    with FFT(operand, axes=[1]) as transform, pytest.raises(ValueError, match="half precision has no callbacks"):
        transform.plan(epilog=DeviceCallable(epilog_of(doubling, "complex64")))
