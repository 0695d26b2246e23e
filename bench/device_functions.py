"""Functions inside kernels against separate calls: run on a machine with a CUDA device.

    python -m bench.device_functions             all tables
    python -m bench.device_functions first 256   the time to the first result, in this process

    python -m bench.device_functions products    one of them

Times are the best of several launches, by events, in milliseconds. A target is a ratio to what stands beside it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

MIB = 1 << 20
#: nvmath-python's fused kernels on an H200, in milliseconds; the first result in a second process, in seconds.
FUSED, FIRST = {256: 0.195, 1024: 0.322, 4096: 0.273}, 1.0


def judged(ours: float, theirs: float, most: float) -> str:
    """A ratio, and whether it is as small as it is to be."""
    return f"ratio {ours / theirs:.3f} (at most {most:g}: {'met' if ours <= most * theirs else 'missed'})"


def best(run: Callable[[], Any], repeat: int = 10) -> float:
    from numba import cuda

    run()
    times = []
    for _ in range(repeat):
        first, last = cuda.event(), cuda.event()
        first.record()
        run()
        last.record()
        last.synchronize()
        times.append(cuda.event_elapsed_time(first, last))
    return min(times)


def convolution(n: int, ffts: Any, elements: Any) -> tuple[Any, Any]:
    from tests.device import kernels

    import planmath.device as pmd

    make = partial(pmd.FFT, n, np.float32, "c2c", "Block", ffts_per_block=ffts, elements_per_thread=elements)
    forward = make(direction="forward")
    return kernels.convolution(forward, make(direction="inverse")), forward


def first(n: int) -> None:
    """The first result of a fused kernel in this process, after imports."""
    import cupy

    import planmath.device.kernels.hooks  # noqa: F401
    from planmath.device import launch

    x, factors = cupy.ones((64, n), np.complex64), cupy.ones(n, np.complex64)
    start = time.perf_counter()
    kernel, fft = convolution(n, "suggested", "suggested")
    launch(kernel, -(-64 // fft.ffts_per_block), fft, x, factors)
    cupy.cuda.runtime.deviceSynchronize()
    print(f"{time.perf_counter() - start:.2f}")


def convolutions() -> None:
    import cupy

    from planmath.device import autotune, launch

    print("fused FFT -> multiply -> inverse FFT, complex64, 256 MiB: n, suggested, tuned, (knobs), CuPy, first, again")
    for n in (256, 1024, 4096):
        x = cupy.random.standard_normal((256 * MIB // 8 // n, 2 * n), np.float32).view(np.complex64)
        factors = cupy.ones(n, np.complex64)

        def prepared(ffts: Any, elements: Any, n: int = n, x: Any = x, factors: Any = factors) -> Callable[[], None]:
            kernel, fft = convolution(n, ffts, elements)
            return partial(launch, kernel, -(-len(x) // fft.ffts_per_block), fft, x, factors)

        _, fft = convolution(n, "suggested", "suggested")
        cold = subprocess.run(
            [sys.executable, "-m", "bench.device_functions", "first", str(n)], capture_output=True, text=True
        )
        warm = subprocess.run(
            [sys.executable, "-m", "bench.device_functions", "first", str(n)], capture_output=True, text=True
        )
        suggested = best(prepared("suggested", "suggested"))
        tuned = autotune(prepared, fft.valid("ffts_per_block", "elements_per_thread"), limit=3)
        separate = best(lambda x=x, f=factors: cupy.fft.ifft(cupy.fft.fft(x) * f), 4)
        ours, again = 1e3 * tuned.seconds[tuned.best], float(warm.stdout.strip() or "nan")
        print(f"{n:6d} {suggested:.3f} {ours:.3f} {tuned.best} {separate:.3f} {cold.stdout.strip()} {again}",
              judged(ours, FUSED[n], 1), "first:", judged(again, FIRST, 1), cold.stderr[-200:], flush=True)  # fmt: skip


#: Forms of a product inside a kernel, and sizes of the block.
SIZES = ("suggested", 128, 256)
FORMS = [(form, size) for size in SIZES for form in ("one a block", "in turn")]


def product(n: int, batch: int, form: str, size: Any) -> tuple[Any, Any, int]:
    """A kernel for a batch of products, its traits and its grid."""
    import planmath.device as pmd
    from bench import device_kernels

    mm = pmd.Matmul((n, n, n), np.float32, "real", arrangement=("row_major",) * 3, block_size=size)
    if form == "one a block":
        return device_kernels.product(mm), mm, batch
    pairs = 4
    return device_kernels.products_in_turn(mm, pairs), mm, -(-batch // (2 * pairs))


def products() -> None:
    import cupy

    from planmath.device import autotune, launch

    print("batched products float32: n, batch, the best form, CuPy (cuBLAS batched), all forms")
    for n, batch in ((16, 100_000), (32, 50_000)):
        a, b = (cupy.random.standard_normal((batch, n * n), np.float32) for _ in range(2))
        c = cupy.zeros_like(a)
        x, y = a.reshape(batch, n, n), b.reshape(batch, n, n)

        def prepared(form: str, size: Any, n: int = n, arrays: Any = (a, b, c)) -> Callable[[], None]:
            kernel, mm, grid = product(n, len(arrays[0]), form, size)
            return partial(launch, kernel, grid, mm, *arrays, shared=0)

        tuned = autotune(prepared, FORMS, repeat=10)
        prepared(*tuned.best)()
        error = float(abs(c.reshape(x.shape) - cupy.matmul(x, y)).max())
        theirs = best(lambda x=x, y=y: cupy.matmul(x, y))
        ours = 1e3 * tuned.seconds[tuned.best]
        forms = {form: round(1e3 * seconds, 3) for form, seconds in tuned.seconds.items()}
        print(f"{n:6d} {batch} {ours:.3f} {theirs:.3f} {judged(ours, theirs, 1)} error {error:.1e}",
              forms, tuned.failed, flush=True)  # fmt: skip


#: Factorizations of a block.
PER_BLOCK = ("suggested", 1, 4, 8)


def cholesky(n: int, per: Any) -> tuple[Any, Any]:
    import planmath.device as pmd
    from bench import device_kernels

    solver = pmd.CholeskySolver((n, n, 1), np.float32, "Block", "lower", batches_per_block=per)
    return device_kernels.factorization(solver), solver


def choleskys() -> None:
    import cupy

    from planmath.device import autotune, launch

    print("batched Cholesky float32, batch 100,000: n, the best number a block, CuPy, all")
    for n in (16, 32):
        m = cupy.random.standard_normal((100_000, n, n), np.float32)
        m = m @ m.transpose(0, 2, 1) + n * cupy.eye(n, dtype=np.float32)
        info = cupy.zeros(len(m), np.int32)

        def prepared(per: Any, n: int = n, m: Any = m, info: Any = info) -> Callable[[], None]:
            kernel, solver = cholesky(n, per)
            each = solver.batches_per_block
            if len(m) % each:
                raise ValueError("the batch is no multiple of that")
            shape = len(m) // each, -1
            return partial(launch, kernel, shape[0], solver, m.copy().reshape(shape), info.reshape(shape))

        tuned = autotune(prepared, [(per,) for per in PER_BLOCK], repeat=5)
        theirs = best(lambda m=m: cupy.linalg.cholesky(m), 3)
        ours = 1e3 * tuned.seconds[tuned.best]
        numbers = {per: round(1e3 * seconds, 3) for (per,), seconds in tuned.seconds.items()}
        print(f"{n:6d} {ours:.3f} {theirs:.3f} {judged(ours, theirs, 1)} {numbers} {tuned.failed}", flush=True)


def uniforms() -> None:
    import cupy
    from cupy_backends.cuda.libs import curand
    from numba import cuda

    import planmath.device as pmd
    from planmath.device import launch

    print("uniform float32, 2^28 numbers: generator, kernel, curandGenerateUniform")
    total, threads = 1 << 28, 1 << 17
    out = cupy.empty(total, np.float32)
    random, float32x4 = pmd.random, pmd.float32x4_type
    for name, kind in (("XORWOW", 101), ("Philox4_32_10", 161)):
        states = getattr(random, f"States{name}")(threads)

        @cuda.jit(extensions=[random.states.Extension()])
        def start(states):
            random.init(1, cuda.grid(1), 0, states[cuda.grid(1)])

        @cuda.jit(extensions=[random.states.Extension()])
        def one(states, out):
            state = random.load(states[cuda.grid(1)])
            for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
                out[i] = random.uniform(state)
            random.store(state, states[cuda.grid(1)])

        @cuda.jit(extensions=[random.states.Extension()])
        def four(states, out):
            state, fours = random.load(states[cuda.grid(1)]), out.view(float32x4)
            for i in range(cuda.grid(1), fours.size, cuda.gridsize(1)):
                fours[i] = random.uniform4(state)
            random.store(state, states[cuda.grid(1)])

        launch(start, threads // 256, None, states, block=256)
        ours = best(partial(launch, one if name == "XORWOW" else four, threads // 256, None, states, out, block=256))
        generator = curand.createGenerator(kind)
        theirs = best(lambda g=generator: curand.generateUniform(g, out.data.ptr, total))
        print(f"{name:14s} {ours:.3f} {theirs:.3f} {judged(ours, theirs, 1 / 0.9)}", flush=True)


def warm(number: int) -> None:
    """Compile what the tables need, each piece in a process of its own, so that the tables find it on disk."""
    from numba.cuda import types

    import planmath.device.kernels.hooks  # noqa: F401
    from planmath.device import launching

    f, i, n = types.float32[:, ::1], types.int32[:, ::1], (16, 32)[number % 2]
    if number < 2 * len(SIZES):
        for form in ("one a block", "in turn"):
            launching._compiled(product(n, 100, form, SIZES[number // 2])[0], (f, f, f))
    else:
        launching._compiled(cholesky(n, PER_BLOCK[number // 2 - len(SIZES)])[0], (f, i))


TABLES = {table.__name__: table for table in (uniforms, products, choleskys, convolutions)}

if __name__ == "__main__":
    if sys.argv[1:2] == ["first"]:
        first(int(sys.argv[2]))
    elif sys.argv[1:2] == ["warm"]:
        warm(int(sys.argv[2]))
    else:
        for table in [TABLES[name] for name in sys.argv[1:]] or TABLES.values():
            try:
                table()
            except Exception as error:
                print(f"{table.__name__}: {type(error).__name__}: {error}", flush=True)
