"""The checks of kernels in the simulator, and of what it finds: run by `test_simulator.py` in a process of its own."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from numba import cuda

import planmath.device as pmd
from planmath.device.simulator import SimulationError, scheduler
from tests.device.checks import *  # noqa: F403
from tests.device.kernels import random_array, run

FFT8 = pmd.FFT(8, np.float32, "c2c", "Block", sm=90, direction="forward", elements_per_thread=4)
MM = pmd.Matmul((4, 4, 4), np.float32, "real", sm=90, arrangement=("row_major",) * 3, block_size=32)


def transform(load: Any, execute: Any) -> Any:
    @cuda.jit
    def kernel(x):
        registers = cuda.local.array(FFT8.storage_size, dtype=FFT8.value_type)
        shared = cuda.shared.array(0, dtype=FFT8.value_type)
        for i in range(FFT8.elements_per_thread):
            if load(i):
                registers[i] = x[cuda.threadIdx.x + i * FFT8.stride]
        if execute(cuda.threadIdx.x):
            FFT8.execute(registers, shared)
        for i in range(FFT8.elements_per_thread):
            x[cuda.threadIdx.x + i * FFT8.stride] = registers[i]

    return kernel


X = random_array(8, np.complex64)


def test_registers_that_were_never_written() -> None:
    with pytest.raises(SimulationError, match=r"FFT.execute reads registers that was never written: "):
        run(transform(lambda i: i != 1, lambda t: True), FFT8, 1, X)
    x = X.copy()
    x[0] = np.nan  # which the user wrote
    (found,) = run(transform(lambda i: True, lambda t: True), FFT8, 1, x)
    assert np.isnan(found).all()


def test_a_call_that_some_threads_do_not_make() -> None:
    with pytest.raises(SimulationError, match=r"has finished, and thread .* calls FFT.execute"):
        run(transform(lambda i: True, lambda t: t == 0), FFT8, 1, X)


def test_a_barrier_that_some_threads_pass_by_a_call() -> None:
    @cuda.jit
    def kernel(x):
        shared = cuda.shared.array(16, dtype=FFT8.value_type)
        if cuda.threadIdx.x == 0:
            cuda.syncthreads()
        else:
            FFT8.execute(shared)

    with pytest.raises(SimulationError, match=r"waits at cuda.syncthreads, thread .* at FFT.execute: .* for ever"):
        run(kernel, FFT8, 1, X)


def _barrier_of_a_warp(x):
    if cuda.threadIdx.x == 0:
        cuda.syncthreads()
    else:
        cuda.syncwarp()


def _barriers_of_two_kinds(x):
    if cuda.threadIdx.x == 0:
        cuda.syncthreads()
    else:
        cuda.syncthreads_count(True)


def _two_masks(x):
    cuda.shfl_sync(0x3 if cuda.threadIdx.x == 0 else 0xF, x[cuda.threadIdx.x], 0)


def _not_named(x):
    cuda.syncwarp(0x1)


def _from_nobody(x):
    if cuda.threadIdx.x < 2:
        cuda.shfl_sync(0x3, x[cuda.threadIdx.x], 3)


def _much_in_arrays(x):
    cuda.shared.array(4000, dtype=np.float64)
    cuda.shared.array(4000, dtype=np.float64)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_barrier_of_a_warp, r"waits at cuda.syncthreads, thread .* at cuda.syncwarp: .* for ever"),
        (_barriers_of_two_kinds, r"waits at cuda.syncthreads, thread .* at cuda.syncthreads_count: .* for ever"),
        (_two_masks, "waits at cuda.shfl_sync for threads that use another mask"),
        (_not_named, r"thread \(1, 0, 0\) .* calls cuda.syncwarp with the mask 0x1, which does not name it"),
        (_from_nobody, "takes a value of lane 3, which does not take part"),
        (_much_in_arrays, "arrays of shared memory take 64000 bytes; a kernel has 49152 at most"),
    ],
)
def test_what_a_block_cannot_do(function: Any, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        run(cuda.jit(function), None, 1, X, block=4)


def test_much_dynamic_memory_is_for_launch_to_allow() -> None:
    kernel = cuda.jit(_not_named)
    with pytest.raises(SimulationError, match=r"49168 bytes of dynamic shared memory: .*\.launch allows"):
        kernel[1, 1, 0, (48 << 10) + 16](X)
    pmd.launch(kernel, 1, None, X, block=1, shared=(48 << 10) + 16)
    kernel[1, 1, 0, (48 << 10) + 16](X)


def test_too_little_shared_memory_and_another_block() -> None:
    kernel = transform(lambda i: True, lambda t: True)
    with pytest.raises(SimulationError, match=r"needs \d+ bytes of shared memory \(shared_memory_size\), and has 8"):
        run(kernel, FFT8, 1, X, shared=8)
    with pytest.raises(SimulationError, match=r"for a block of \(2, 1, 1\) \(block_dim\), not of \(4, 1, 1\)"):
        run(kernel, FFT8, 1, random_array(16, np.complex64), block=4)


def test_another_type_of_elements() -> None:
    @cuda.jit
    def kernel(x):
        FFT8.execute(cuda.local.array(4, dtype=np.complex128), cuda.shared.array(0, dtype=FFT8.value_type))

    with pytest.raises(SimulationError, match="takes an array of complex64, not of complex128"):
        run(kernel, FFT8, 1, X)


def test_shared_memory_that_was_never_written() -> None:
    @cuda.jit
    def kernel(c):
        a, b = cuda.shared.array(16, dtype=np.float32), cuda.shared.array(16, dtype=np.float32)
        s = cuda.shared.array(16, dtype=np.float32)
        if cuda.threadIdx.x < 16:
            a[cuda.threadIdx.x] = 1
            if cuda.threadIdx.x != 5:
                b[cuda.threadIdx.x] = 1
        cuda.syncthreads()
        MM.execute(1, a, b, 0, s)
        cuda.syncthreads()
        c[cuda.threadIdx.x % 16] = s[cuda.threadIdx.x % 16]

    with pytest.raises(SimulationError, match=r"Matmul.execute reads b that was never written: 5"):
        run(kernel, MM, 1, np.zeros(16, np.float32))


def test_arguments_of_products() -> None:
    @cuda.jit
    def kernel(leading, count):
        a = cuda.shared.array(count, dtype=np.float32)
        a[:] = 1
        MM.execute(1, a, leading, a, leading, 0, a, leading)

    with pytest.raises(SimulationError, match="the leading dimension of a is 4 at least, not 3"):
        run(kernel, MM, 1, 3, 64)
    with pytest.raises(SimulationError, match=r"a has 16 elements .* the array has 15"):
        run(kernel, MM, 1, 4, 15)


def _product_of(body: Any) -> None:
    """Run a body with three matrices of shared memory, that is ones and two of zeros, and the same ones elsewhere."""

    @cuda.jit
    def kernel(ones):
        a, b = cuda.shared.array(16, dtype=np.float32), cuda.shared.array(16, dtype=np.float32)
        c = cuda.shared.array(16, dtype=np.float32)
        if cuda.threadIdx.x < 16:
            a[cuda.threadIdx.x], b[cuda.threadIdx.x], c[cuda.threadIdx.x] = 1, 0, 0
        cuda.syncthreads()
        body(a, b, c, ones)

    run(kernel, MM, 1, np.ones((4, 4), np.float32), shared=0)


def _tensors(a: Any, b: Any, layout_a: Any, layout_b: Any) -> None:
    MM.execute(pmd.make_tensor(a, layout_a), pmd.make_tensor(b, layout_b), MM.get_accumulator())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda a, b, c, g: MM.execute(1j, a, b, 0, c), "alpha is complex, and the product is of real matrices"),
        (lambda a, b, c, g: MM.execute(1, a, b, None, c), "takes a number for beta, not NoneType"),
        (lambda a, b, c, g: MM.execute(1, a, 4, b, 4.0, 0, c, 4), r"takes an integer for ldb, not 4\.0"),
        (lambda a, b, c, g: pmd.make_tensor(a, 4), "takes an array and a layout, not Memory and int"),
        (lambda a, b, c, g: _tensors(a, b, MM.get_layout_gmem_a(), MM.get_layout_smem_b()), "for a: not one of gmem_a"),
        (lambda a, b, c, g: _tensors(a, b, MM.get_layout_smem_b(), MM.get_layout_smem_b()), "for a: not one of smem_b"),
        (lambda a, b, c, g: _tensors(a, b, MM.get_layout_smem_a(), MM.get_layout_smem_c()), "for b: not one of smem_c"),
        (lambda a, b, c, g: MM.get_accumulator().map_fragment_index(1), "has the elements 0 to 0, not 1"),
    ],
)
def test_arguments_that_a_compiler_would_refuse(body: Any, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        _product_of(body)


def test_copies_arrive_when_they_are_waited_for() -> None:
    def copied(a: Any, b: Any, ones: Any) -> Any:
        pmd.copy(pmd.make_tensor(ones, MM.get_layout_gmem_b()), pmd.make_tensor(b, MM.get_layout_smem_b()))

    def waiting(a: Any, b: Any, c: Any, ones: Any) -> None:
        copied(a, b, ones)
        assert np.isnan(b[0]), "it is under way"
        pmd.copy_wait()
        MM.execute(1, a, b, 0, c)
        cuda.syncthreads()
        assert (c == 4).all()

    _product_of(waiting)

    def by_arrays(a: Any, b: Any, c: Any, ones: Any) -> None:
        copied(a, b, ones)
        cuda.syncthreads()
        MM.execute(1, a, b, 0, c)

    def by_tensors(a: Any, b: Any, c: Any, ones: Any) -> None:
        copied(a, b, ones)
        _tensors(a, b, MM.get_layout_smem_a(), MM.get_layout_smem_b())

    for body in (by_arrays, by_tensors):
        with pytest.raises(SimulationError, match=r"Matmul\.execute with what a copy is under way to: call copy_wait"):
            _product_of(body)


def test_a_beta_that_is_not_a_number() -> None:
    def body(a: Any, b: Any, c: Any, ones: Any) -> None:
        MM.execute(1, a, b, float("nan"), c)
        cuda.syncthreads()
        assert np.isnan(c).all()

    _product_of(body)


def test_numbers_of_64_bits_without_a_sign() -> None:
    @cuda.jit
    def kernel(states, out):
        for i in range(2):
            pmd.random.init(7, 0, 0, states[i])
            pmd.random.skipahead((-1, (1 << 64) - 1)[i], states[i])
            out[i] = pmd.random.rand(states[i])

    for generator in ("XORWOW", "MRG32k3a", "Philox4_32_10"):
        (out,) = run(kernel, None, 1, getattr(pmd.random, f"States{generator}")(2), np.zeros(2, np.uint32), block=1)
        assert out[0] == out[1]


def test_random_states_that_were_not_started() -> None:
    @cuda.jit
    def kernel(states):
        pmd.random.uniform(states[0])

    with pytest.raises(SimulationError, match=r"thread \(0, 0, 0\) .* a state that init has not started"):
        pmd.launch(kernel, 1, None, pmd.random.StatesXORWOW(1), block=1)

    @cuda.jit
    def beyond(states):
        pmd.random.init(1, 0, 0, states[1])

    with pytest.raises(IndexError, match=r"reads states\[1\] of 1"):
        pmd.launch(beyond, 1, None, pmd.random.StatesXORWOW(1), block=1)

    @cuda.jit
    def unfit(states):
        pmd.random.init(1, 0, 0, states[0])
        pmd.random.uniform4(states[0])

    with pytest.raises(TypeError, match="uniform4 is for Philox4_32_10, not for XORWOW"):
        pmd.launch(unfit, 1, None, pmd.random.StatesXORWOW(1), block=1)


def test_copies_of_states() -> None:
    @cuda.jit
    def kernel(states, out):
        random = pmd.random
        random.init(7, 0, 0, states[0])
        copy = random.load(states[0])
        out[0] = random.uniform(copy)
        out[1] = random.uniform(states[0])
        random.uniform(copy)
        random.store(copy, states[0])
        out[2], out[3] = random.uniform(copy), random.uniform(states[0])

    (out,) = run(kernel, None, 1, pmd.random.StatesXORWOW(1), np.zeros(4, np.float32), block=1)
    assert out[0] == out[1]
    assert out[2] == out[3]


def test_votes_and_device_functions() -> None:
    @cuda.jit(device=True, inline=True)
    def index():
        return cuda.threadIdx.x

    @cuda.jit
    def kernel(out):
        i = index()
        out[i] = cuda.syncthreads_count(i < 3) + 10 * cuda.syncthreads_and(i < 9) + 100 * cuda.syncthreads_or(i == 1)

    (out,) = run(kernel, None, 1, np.zeros(4, np.int64), block=4)
    assert out.tolist() == [113] * 4


def test_a_grid_is_synchronized_where_it_is_a_block() -> None:
    @cuda.jit
    def kernel(x):
        i = cuda.threadIdx.x
        cuda.nanosleep(10)
        x[i] = cuda.laneid
        cuda.cg.this_grid().sync()
        x[i] = x[3 - i]

    (found,) = run(kernel, None, 1, np.zeros(4), block=4)
    assert found.tolist() == [3, 2, 2, 3], "later threads find what earlier ones wrote"
    with pytest.raises(SimulationError, match="blocks run one after the other"):
        run(kernel, None, 2, np.zeros(4), block=4)


def test_errors_name_the_thread_and_leave_nothing_behind() -> None:
    @cuda.jit
    def kernel(x):
        cuda.syncthreads()
        if cuda.threadIdx.x == 2:
            x[99] = 1
        cuda.syncthreads()

    with pytest.raises(IndexError, match=r"thread \(2, 0, 0\) of block \(0, 0, 0\): index 99"):
        run(kernel, None, 1, np.zeros(4), block=4)
    assert scheduler.running is None
    with pytest.raises(RuntimeError, match="in a kernel only"):
        FFT8.execute(None, None)


def test_threads_of_the_system_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_Runner", scheduler._ThreadRunner)
    (found,) = run(transform(lambda i: True, lambda t: True), FFT8, 1, X)
    np.testing.assert_allclose(found, np.fft.fft(X), rtol=1e-5)
    with pytest.raises(SimulationError, match="has finished"):
        run(transform(lambda i: True, lambda t: t == 0), FFT8, 1, X)


def test_autotune_ranks_what_can_be_launched() -> None:
    def prepared(ffts: int, elements: int) -> Any:
        if elements == 4:
            raise ValueError("not this one")
        fft = pmd.FFT(
            16,
            np.float32,
            "c2c",
            "Block",
            sm=90,
            direction="forward",
            ffts_per_block=ffts,
            elements_per_thread=elements,
        )
        from tests.device import kernels

        x = random_array((4, 16), np.complex64)
        kernel = kernels.transform(fft, fft.elements_per_thread, fft.elements_per_thread)
        return lambda: pmd.launch(kernel, -(-4 // ffts), fft, x, x.copy())

    tuned = pmd.autotune(prepared, [(2, 8), (1, 4), (2, 8), (1, 2)], repeat=2)
    assert tuned.best in {(2, 8), (1, 2)}
    assert list(tuned.seconds.values()) == sorted(tuned.seconds.values())
    assert tuned.failed == {(1, 4): "not this one"}
    with pytest.raises(RuntimeError, match="none of the candidates can be launched"):
        pmd.autotune(prepared, [(1, 4)])


def test_autotune_over_what_is_valid() -> None:
    from tests.device import kernels

    make = functools.partial(pmd.FFT, 16, np.float32, "c2c", "Block", sm=90, direction="forward")
    combinations = make(ffts_per_block="suggested").valid("ffts_per_block", "elements_per_thread")
    x = random_array((8, 16), np.complex64)
    found: dict[Any, Any] = {}

    def prepared(ffts: int, elements: int) -> Any:
        fft = make(ffts_per_block=ffts, elements_per_thread=elements)
        kernel = kernels.transform(fft, fft.elements_per_thread, fft.elements_per_thread)
        y = found[ffts, elements] = np.zeros_like(x)
        return lambda: pmd.launch(kernel, -(-8 // ffts), fft, x, y)

    tuned = pmd.autotune(prepared, combinations, repeat=1, limit=4)
    assert list(found) == combinations[:4]
    assert set(tuned.seconds) == set(found)
    assert tuned.best in found
    for y in found.values():
        np.testing.assert_allclose(y, np.fft.fft(x), rtol=1e-4, atol=1e-4)


def test_vectors() -> None:
    @cuda.jit
    def kernel(out):
        v = pmd.float32x2(1, 2)
        w = pmd.float32x4(v, 3, 4)
        out[0], out[1] = v.x + w.z, v.y + w.w

    (out,) = run(kernel, None, 1, np.zeros(2, np.float32), block=1)
    assert out.tolist() == [4, 6]


def test_tensors_in_suggested_and_in_plain_layouts() -> None:
    mm = pmd.Matmul((4, 4, 4), np.float32, "real", sm=90, arrangement=("row_major",) * 3, block_size=32)

    @cuda.jit
    def kernel():
        shared = cuda.shared.array(16, dtype=np.float32)
        a = pmd.make_tensor(shared, mm.suggest_layout_smem_a())
        mm.execute(a, pmd.make_tensor(shared, mm.get_layout_smem_b()), mm.suggest_accumulator())

    with pytest.raises(SimulationError, match="all in suggested layouts, or none is"):
        run(kernel, mm, 1, shared=0)


def _few_registers(x):
    registers = cuda.local.array(2, dtype=FFT8.value_type)
    registers[0] = registers[1] = 0
    FFT8.execute(registers, cuda.shared.array(0, dtype=FFT8.value_type))


def _registers_of_all(x):
    FFT8.execute(x, cuda.shared.array(0, dtype=FFT8.value_type))


def _returning(x):
    return x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_few_registers, r"needs 4 elements in registers \(storage_size\), and has 2"),
        (_registers_of_all, "the same registers from several threads"),
        (_returning, "a kernel returns a value"),
    ],
)
def test_what_a_gpu_would_not_compute(function: Any, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        run(cuda.jit(function), FFT8, 1, X)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kernel": _returning}, "kernel is a function; expected what numba.cuda.jit makes"),
        ({"grid": "3"}, "grid is one to three positive integers, not '3'"),
        ({"grid": (1, 70_000)}, r"grid=\(1, 70000, 1\) is too large: at most \(2147483647, 65535, 65535\)"),
        ({"block": 0}, "block is one to three positive integers, not 0"),
        ({"block": (1, 1, 65)}, r"block=\(1, 1, 65\) is too large: at most \(1024, 1024, 64\)"),
        ({"block": (64, 32)}, r"block=\(64, 32, 1\) is 2048 threads; a block has 1024 at most"),
        ({"shared": -1}, "shared is -1; expected bytes"),
        ({"shared": 1.5}, "shared is 1.5; expected bytes"),
        ({"kernel": cuda.jit(device=True)(_returning)}, r"a function for kernels \(device=True\), which cannot be"),
        ({"traits": None}, "traits is None, which has no block_dim: say block="),
    ],
)
def test_what_launch_refuses(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        pmd.launch(**{"kernel": cuda.jit(_returning), "grid": 1, "traits": FFT8} | given)


def test_autotune_says_what_it_was_given() -> None:
    with pytest.raises(TypeError, match="run returns a NoneType; expected a function that launches once"):
        pmd.autotune(lambda n: None, [(1,)])
