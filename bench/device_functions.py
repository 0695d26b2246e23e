"""Functions inside kernels against separate calls: run on a machine with a CUDA device.

    python -m bench.device_functions             all tables
    python -m bench.device_functions first 256   the time to the first result, in this process

Times are the best of several launches, by events, in milliseconds.
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
        print(f"{n:6d} {suggested:.3f} {1e3 * tuned.seconds[tuned.best]:.3f} {tuned.best} {separate:.3f} "
              f"{cold.stdout.strip()} {warm.stdout.strip()} {cold.stderr[-200:]}", flush=True)  # fmt: skip


def products() -> None:
    import cupy
    from tests.device import kernels

    import planmath.device as pmd
    from planmath.device import launch

    print("batched products float32: n, batch, kernel, CuPy (cuBLAS batched)")
    for n, batch in ((16, 100_000), (32, 50_000)):
        mm = pmd.Matmul((n, n, n), np.float32, "real", arrangement=("row_major",) * 3, block_size="suggested")
        a, b = (cupy.random.standard_normal((batch, n * n), np.float32) for _ in range(2))
        c = cupy.zeros_like(a)
        kernel = kernels.product(mm)
        ours = best(partial(launch, kernel, batch, mm, np.float32(1), a, b, np.float32(0), c))
        x, y = a.reshape(batch, n, n), b.reshape(batch, n, n)
        print(f"{n:6d} {batch} {ours:.3f} {best(lambda x=x, y=y: cupy.matmul(x, y)):.3f}", flush=True)


def choleskys() -> None:
    import cupy
    from tests.device import kernels

    import planmath.device as pmd
    from planmath.device import launch

    print("batched Cholesky and solution float32, batch 100,000: n, kernel, CuPy cholesky alone")
    for n in (16, 32):
        solver = pmd.CholeskySolver((n, n, 1), np.float32, "Block", "lower", batches_per_block="suggested")
        per = solver.batches_per_block
        m = cupy.random.standard_normal((100_000, n, n), np.float32)
        m = m @ m.transpose(0, 2, 1) + n * cupy.eye(n, dtype=np.float32)
        blocks = len(m) // per
        a, b = m.reshape(blocks, -1), cupy.ones((blocks, per * n), np.float32)
        info = cupy.zeros((blocks, per), np.int32)
        ours = best(partial(launch, kernels.cholesky(solver), blocks, solver, a.copy(), b, info), 5)
        print(f"{n:6d} {ours:.3f} {best(lambda m=m: cupy.linalg.cholesky(m), 3):.3f} ({per} a block)", flush=True)


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
        print(f"{name:14s} {ours:.3f} {theirs:.3f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["first"]:
        first(int(sys.argv[2]))
    else:
        for table in (uniforms, products, choleskys, convolutions):
            try:
                table()
            except Exception as error:
                print(f"{table.__name__}: {type(error).__name__}: {error}", flush=True)
