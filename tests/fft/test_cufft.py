"""What is particular to transforms by cuFFT on a device."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planmath.core.errors import UnavailableError, UnsupportedLayoutError
from planmath.fft import FFT, estimate_workspace_size, fft, rfft
from planmath.fft.providers import cufft as provider
from tests.arrays import DEVICE_PACKAGES, package_of, to_numpy, to_package, view_of
from tests.fft.operands import INEXPRESSIBLE, LAYOUTS, memory_of, random_operand
from tests.fft.reference import FORWARD, INVERSE, assert_accurate
from tests.misuse import Misuse, check
from tests.processes import run_python

pytestmark = pytest.mark.parametrize("package", DEVICE_PACKAGES)
COMPLEX = np.arange(12).reshape(3, 4) + 1j


@pytest.fixture
def handles(monkeypatch):
    """The plans that were made, and those that were destroyed."""
    made, destroyed = [], []
    create, destroy = provider.cufft.create, provider.cufft.destroy
    monkeypatch.setattr(provider.cufft, "create", lambda: (made.append(create()), made[-1])[1])
    monkeypatch.setattr(provider.cufft, "destroy", lambda handle: (destroyed.append(handle), destroy(handle))[1])
    return made, destroyed


def test_plans_are_destroyed_with_the_object(package, handles):
    made, destroyed = handles
    with FFT(to_package(COMPLEX, package), options={"tuning": False}) as transform:
        transform.plan()
        assert (len(made), len(destroyed)) == (1, 0), "one plan serves both directions"
        transform.plan()
        gc.collect()
        assert (len(made), len(destroyed)) == (2, 1)
        transform.autotune(iterations=1)
        transform.execute()
        gc.collect()
        assert len(made) - len(destroyed) == len(transform._plan_made.prepared.programs[None].calls) // 2
    gc.collect()
    assert sorted(made) == sorted(destroyed)


def test_plan_that_fails_is_destroyed(package, handles, monkeypatch):
    made, destroyed = handles

    def fail(*_: object) -> int:
        raise provider.cufft.cuFFTError(provider.cufft.Result.ALLOC_FAILED, "cufftXtMakePlanMany")

    monkeypatch.setattr(provider.cufft, "xt_make_plan_many", fail)
    with FFT(to_package(COMPLEX, package)) as transform:
        with pytest.raises(MemoryError, match=r"cuFFT could not allocate .* C2C of \(3, 4\).* free"):
            transform.plan()
        gc.collect()
        assert made == destroyed
        monkeypatch.undo()
        transform.plan()
        assert_accurate(to_numpy(transform.execute()), "C2C", COMPLEX, (0, 1), FORWARD)


def test_failure_of_the_library_names_function_and_status(package):
    with FFT(to_package(COMPLEX, package)) as transform:
        transform.plan()
        plan = transform._plan_made.prepared.programs[None].calls[0].keep
        provider.cufft.destroy(plan.handle)
        plan.process = -1  # it is not to be destroyed again: another plan may have got the same handle
        with pytest.raises(provider.cufft.cuFFTError, match="cufftSetStream failed: CUFFT_INVALID_PLAN"):
            transform.execute()


def test_fork_leaves_the_plans_to_the_parent(package):
    program = """
        import gc, os, sys
        import numpy as np
        from planmath.fft import FFT
        from tests.arrays import to_numpy, to_package

        operand = to_package(np.ones(1009, complex), sys.argv[1])
        transform = FFT(operand)
        transform.plan()
        child = os.fork()
        if child == 0:
            plan = transform._plan_made.prepared.programs[None].calls[0].keep
            plan.__del__()
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), round(to_numpy(transform.execute())[0].real))
        transform.free()
    """
    assert run_python(program, package) == "7 1009\n"


@pytest.mark.parametrize("n", [1 << 17, 1 << 20, 999_983])
@pytest.mark.parametrize("layout", ["dense", "padded", "columns"])
def test_large_c2r_leaves_the_operand_as_it_is(package, n, layout):
    rows, m = 3, n // 2 + 1
    shape, steps, axis = {
        "dense": ((rows, m), (m, 1), 1), "padded": ((rows, m), (m + 5, 1), 1), "columns": ((m, rows), (rows, 1), 0),
    }[layout]  # fmt: skip
    spectrum = random_operand("C2R", "float32", (rows, m), (1,), "odd" if n % 2 else "even")
    memory = np.zeros(1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)), np.complex64)
    view_of(memory, 0, shape, steps)[...] = spectrum if axis else spectrum.T
    everything = to_package(memory, package)
    options = {"fft_type": "C2R", "last_axis_parity": "odd" if n % 2 else "even"}
    with FFT(view_of(everything, 0, shape, steps), axes=[axis], options=options) as transform:
        transform.plan()
        result = to_numpy(transform.execute())
    np.testing.assert_array_equal(to_numpy(everything), memory)
    expected = np.fft.irfft(spectrum.astype(complex), n) * n
    error = np.linalg.norm((result if axis else result.T) - expected) / np.linalg.norm(expected)
    assert error < 1e-5


@pytest.mark.slow
@pytest.mark.alone
def test_more_elements_than_32_bits_count(package):
    """17 GB each for operand and result. The last of the batch would be the first with offsets of 32 bits."""
    rows, n = (1 << 21) + 3, 1024
    row = random_operand("C2C", "float32", (n,), (0,))
    few = to_package(np.array([row, row]), package)
    with FFT(few[0]) as transform:
        transform.plan()
        expected = to_numpy(transform.execute())
    if package == "cupy":
        import cupy as arrays
    else:
        import torch as arrays
    operand = arrays.zeros((rows, n), dtype=few.dtype, **({} if package == "cupy" else {"device": "cuda"}))
    operand[-1] = few[0]
    result = fft(operand, axes=[1])
    np.testing.assert_allclose(to_numpy(result[-1]), expected, rtol=1e-5, atol=1e-4)
    assert not to_numpy(result[: (1 << 21) + 2 - (1 << 20) : 1 << 18]).any()
    del operand, result
    if package == "cupy":
        arrays.get_default_memory_pool().free_all_blocks()
    else:
        arrays.cuda.empty_cache()


@pytest.mark.parametrize("technique", ["default", "refined"])
@pytest.mark.parametrize(
    ("kind", "dtype", "shape", "axes"),
    [
        ("C2C", np.complex64, (1024,), (0,)),
        ("C2C", np.complex64, (1 << 20,), (0,)),
        ("C2C", np.complex128, (3, 1 << 17), (1,)),
        ("R2C", np.float32, (1 << 17, 2), (0,)),
        ("C2R", np.complex128, (64, 33), (0, 1)),
        ("C2R", np.complex64, (8, 32, 33), (1, 2)),
        ("C2C", np.complex64, (4, 4, 4, 4), (0, 1, 2, 3)),
        ("R2C", np.float16, (1 << 17,), (0,)),
    ],
)
def test_estimated_workspace_is_what_is_allocated(package, technique, kind, dtype, shape, axes):
    operand = to_package(np.zeros(shape, dtype), package)
    options = {"fft_type": kind, "tuning": False}
    key = FFT.create_key(operand, axes=axes, options=options)
    estimate = estimate_workspace_size(key, technique=technique)
    handle = provider.cufft.create()
    try:
        assert estimate_workspace_size(key, technique="refined", handle=handle) == estimate
    finally:
        provider.cufft.destroy(handle)
    if dtype is not np.float16 or package == "torch-cuda":
        with FFT(operand, axes=axes, options=options) as transform:
            transform.plan()
            assert transform._executor.workspace_size == estimate


@pytest.mark.parametrize("layout", ["sliced", "rotated", "broadcast", "unaligned", "backwards"])
@pytest.mark.parametrize(("kind", "direction"), [("C2C", FORWARD), ("R2C", FORWARD), ("C2R", INVERSE)])
def test_without_kernels_the_driver_copies(package, layout, kind, direction, monkeypatch):
    if (package, layout) in INEXPRESSIBLE:
        pytest.skip(f"{package} has no such arrays")
    monkeypatch.setattr(provider.strided_copy, "available", lambda device_id: False)
    array = LAYOUTS[layout](random_operand(kind, "float64", (3, 4, 6), (1,)))
    values, operand = array.copy(), to_package(array, package)
    with FFT(operand, axes=[1], options={"fft_type": kind, "tuning": False}) as transform:
        transform.plan()
        calls = {call.name for call in transform._plan_made.prepared.programs[None].calls}
        assert "cudaLaunchKernel" not in calls
        assert_accurate(to_numpy(transform.execute()), kind, values, (1,), direction)


def test_workspace_can_be_released_and_comes_again(package):
    values = random_operand("C2C", "float32", (999_983,), (0,))
    with FFT(to_package(values, package)) as transform:
        transform.plan()
        assert transform._executor.workspace_size > 0
        first = to_numpy(transform.execute(release_workspace=True)).copy()
        np.testing.assert_array_equal(to_numpy(transform.execute()), first)


#: A transform in several stages, with copies: its whole program has to be captured.
STAGES = ((4, 3, 5, 6), (3, 0, 1, 2))


@pytest.mark.parametrize(("shape", "axes"), [((1024,), (0,)), STAGES])
@pytest.mark.parametrize(("kind", "direction"), [("C2C", FORWARD), ("C2R", INVERSE)])
def test_captured_into_a_graph(package, kind, direction, shape, axes):
    first, second = (random_operand(kind, "float64", shape, axes, seed=seed) for seed in (1, 2))
    operand = to_package(first.copy(), package)
    with FFT(operand, axes=axes, options={"fft_type": kind}) as transform:
        transform.plan()
        out = transform.empty_result()
        replay = capture(package, lambda: transform.execute(out=out))
        for values in (second, first):
            operand[...] = to_package(values, package)
            replay()
            assert_accurate(to_numpy(out), kind, values, axes, direction)


def capture(package: str, work: Callable[[], Any]) -> Callable[[], Any]:
    """The work as a graph, to be replayed."""
    if package == "cupy":
        import cupy

        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            work()
            graph = stream.end_capture()
        return lambda: graph.launch(cupy.cuda.Stream.null)
    import torch

    recorded = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(recorded):
        work()
    return recorded.replay


def planned(operand: Any, call: Callable[[FFT], Any], **options: Any) -> Callable[[], Any]:
    """A call on a planned transform."""

    def run() -> None:
        with FFT(operand, options=options) as transform:
            transform.plan()
            call(transform)

    return run


def misuses(package: str) -> list[Misuse]:
    operand = to_package(COMPLEX, package)
    host = to_package(COMPLEX, "numpy" if package == "cupy" else "torch")
    other_error = TypeError if package == "cupy" else ValueError
    other = "numpy array; expected a cupy" if package == "cupy" else "memory space cpu; expected cuda.*move it there"
    inplace = {"inplace": True}
    return [
        Misuse("a library of the CPU", lambda: fft(operand, options={"provider": "pocketfft"}), UnavailableError,
               ("pocketfft: it computes on the CPU only",)),
        Misuse("cuFFT on the CPU", lambda: fft(operand, options={"provider": "cufft"}, execution="cpu"),
               UnavailableError, ("cufft: it computes on CUDA devices only",)),
        Misuse("a device that is not there", lambda: fft(host, execution={"name": "cuda", "device_id": 99}),
               ValueError, ("device_id is 99", "CUDA devices")),
        Misuse("integers", lambda: FFT(to_package(np.arange(4), package)), ValueError, ("dtype int64", "float16")),
        Misuse("an operand of the host", planned(operand, lambda t: t.reset_operand(host)), other_error, (other,)),
        Misuse("out of the host", planned(operand, lambda t: t.execute(out=host)), other_error, (other,)),
        Misuse("another dtype", planned(operand, lambda t: t.reset_operand(to_package(COMPLEX.astype("c8"), package))),
               ValueError, ("operand has the dtype complex64", "expected complex128")),
        Misuse("other strides", planned(operand, lambda t: t.reset_operand(to_package(COMPLEX.T.copy(), package).T)),
               ValueError, (r"operand has the strides \(1, 3\)", r"expected \(4, 1\)")),
        Misuse("out of another shape", planned(operand, lambda t: t.execute(out=operand[:2])), ValueError,
               (r"out has the shape \(2, 4\)", "empty_result")),
        Misuse("out that overlaps", planned(operand, lambda t: t.execute(out=operand)), ValueError,
               ("out shares memory with operand", "inplace")),
        Misuse("broadcast memory in place", lambda: FFT(view_of(operand[0], 0, (3, 4), (0, 1)), options=inplace),
               ValueError, (r"strides \(0, 1\)", "share memory")),
        Misuse("reals in place", lambda: FFT(to_package(np.ones(4), package), options=inplace), ValueError,
               ("inplace is for C2C",)),
        Misuse("a direction that was not planned",
               planned(operand, lambda t: (t.plan(direction=1), t.execute(direction=-1))), ValueError,
               ("direction is FORWARD", "INVERSE only")),
        Misuse("a stream that is none", planned(operand, lambda t: t.execute(stream="default")), TypeError,
               ("stream is a str", "PyTorch, CuPy")),
    ]  # fmt: skip


def test_messages(package):
    for misuse in misuses(package):
        check(misuse)
    if package == "torch-cuda":
        tensor = to_package(COMPLEX, package)
        check(Misuse("conjugate view", lambda: fft(tensor.conj()), UnsupportedLayoutError, (r"resolve_conj\(\)",)))
        check(Misuse("negative view", lambda: rfft(tensor.conj().imag), UnsupportedLayoutError, (r"resolve_neg\(\)",)))


def test_stateless_calls_with_operands_at_any_address(package, nothing_remembered):
    """What is remembered was planned for operands at a multiple of a complex element's size, or not."""
    values = random_operand("R2C", "float32", (65,), (0,))
    everything = to_package(values, package)
    for start in (0, 1, 0, 1, 2):
        result = rfft(everything[start : start + 63])
        assert package_of(result) == package
        assert_accurate(to_numpy(result), "R2C", values[start : start + 63], (0,), FORWARD)


def test_windows_that_overlap(package):
    values = random_operand("R2C", "float64", (200,), (0,))
    operand = view_of(to_package(values, package), 3, (20, 7, 16), (7, 2, 1))
    result = rfft(operand, axes=[2])
    assert_accurate(to_numpy(result), "R2C", view_of(values, 3, (20, 7, 16), (7, 2, 1)), (2,), FORWARD)
    assert memory_of(to_numpy(operand)) == memory_of(view_of(values, 3, (20, 7, 16), (7, 2, 1)))
    assert math.prod(result.shape) == 20 * 7 * 9
