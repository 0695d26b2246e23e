"""Functions inside kernels against separate calls: run on a machine with a CUDA device.

    python -m bench.device_functions             all tables
    python -m bench.device_functions products    one of them, by its function's name
    python -m bench.device_functions ahead       compile what products and factorizations need, side by side

Times are the best of several launches, by events, in milliseconds. A target is a ratio to what stands beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

MIB = 1 << 20
#: nvmath-python's fused kernels on an H200, in milliseconds.
FUSED = {256: 0.195, 1024: 0.322, 4096: 0.273}
#: The first result in a second process, in seconds: of a kernel that `launch` kept; of one whose functions alone are on
#: disk, and what of that planmath takes.
KEPT, COMPILED, ADDED = 1.0, 4.0, 0.3


def judged(ours: float, theirs: float, most: float) -> str:
    """A ratio, and whether it is as small as it is to be."""
    return f"ratio {ours / theirs:.3f} (at most {most:g}: {'met' if ours <= most * theirs else 'missed'})"


def best(run: Callable[[], Any], repeat: int = 10) -> float:
    """Milliseconds of a launch."""
    from planmath.device.launching import seconds

    run()
    return 1e3 * min(seconds(run) for _ in range(repeat))


def transforms(n: int, ffts: Any, elements: Any) -> list[Any]:
    """A transform and its inverse for the kernels."""
    import planmath.device as pmd

    make = partial(pmd.FFT, n, np.float32, "c2c", "Block", ffts_per_block=ffts, elements_per_thread=elements)
    return [make(direction="forward"), make(direction="inverse")]


def knobs_of(n: int) -> list[tuple[int, int]]:
    """The combinations that are measured: the suggested one first."""
    return transforms(n, "suggested", "suggested")[0].valid("ffts_per_block", "elements_per_thread")[:COMBINATIONS]


#: How many.
COMBINATIONS = 3


def first(n: int, kept: bool) -> None:
    """The first result of a fused kernel in this process, after imports, and what of it planmath's own code took."""
    import cupy

    import planmath.device.kernels.hooks  # noqa: F401
    from bench import device_kernels
    from planmath.device import fft, launch, launching
    from planmath.device.kernels import calls

    own = 0.0

    def timed(owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        def measured(*given: Any, **named: Any) -> Any:
            nonlocal own
            start = time.perf_counter()
            try:
                return plain(*given, **named)
            finally:
                if threading.current_thread() is threading.main_thread():
                    own += time.perf_counter() - start

        setattr(owner, name, measured)

    for owner, name in ((fft.FFT, "__init__"), (launching, "_name"), (launching.code_cache, "load")):
        timed(owner, name)
    waited = calls.Pending.data.fget
    holder = type("holder", (), {"data": staticmethod(waited)})
    timed(holder, "data")
    calls.Pending.data = property(lambda pending: holder.data(pending))  # type: ignore[assignment,method-assign]

    x, factors = cupy.ones((64, n), np.complex64), cupy.ones(n, np.complex64)
    start = time.perf_counter()
    pair = transforms(n, "suggested", "suggested")
    kernel, traits, grid = device_kernels.convolution(*pair), pair[0], -(-64 // pair[0].ffts_per_block)
    if kept:
        launch(kernel, grid, traits, x, factors)
    else:
        kernel[grid, tuple(traits.block_dim), 0, traits.shared_memory_size](x, factors)
    cupy.cuda.runtime.deviceSynchronize()
    print(f"{time.perf_counter() - start:.2f} {own:.3f}")


def firsts(sizes: Sequence[int], kept: bool, workers: int, **environment: str) -> list[list[float]]:
    """The same in processes of their own, so many at a time."""

    def run(n: int) -> list[float]:
        command = [sys.executable, "-m", "bench.device_functions", "first", str(n), "kept" if kept else ""]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
        return [float(word) for word in done.stdout.split()] or [float("nan")] * 2

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, sizes))


def convolutions() -> None:
    import cupy

    import planmath.device as pmd
    from bench import device_kernels
    from planmath.device import autotune, launch

    print("fused FFT -> multiply -> inverse FFT, complex64, 256 MiB: n, suggested, tuned, (knobs), CuPy")
    functions = [each for n in FUSED for knobs in knobs_of(n) for each in transforms(n, *knobs)]
    start = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda f: pmd.compile_fft_execute(f, pmd.CodeType("lto", f.sm), "register_memory"), functions))
    print(f"{len(functions)} functions compiled side by side: {time.perf_counter() - start:.1f} s", flush=True)
    for n in FUSED:
        x = cupy.random.standard_normal((256 * MIB // 8 // n, 2 * n), np.float32).view(np.complex64)
        factors = cupy.ones(n, np.complex64)

        def prepared(ffts: Any, elements: Any, n: int = n, x: Any = x, factors: Any = factors) -> Callable[[], None]:
            forward, inverse = transforms(n, ffts, elements)
            kernel = device_kernels.convolution(forward, inverse)
            return partial(launch, kernel, -(-len(x) // forward.ffts_per_block), forward, x, factors)

        tuned = autotune(prepared, [("suggested", "suggested"), *knobs_of(n)[1:]], repeat=10)
        separate = best(lambda x=x, f=factors: cupy.fft.ifft(cupy.fft.fft(x) * f), 4)
        ours, suggested = (1e3 * tuned.seconds[knobs] for knobs in (tuned.best, ("suggested", "suggested")))
        print(f"{n:6d} {suggested:.3f} {ours:.3f} {tuned.best} {separate:.3f}", judged(ours, FUSED[n], 1), tuned.failed,
              flush=True)  # fmt: skip


def results() -> None:
    """After `convolutions`, which leaves everything on disk."""
    sizes = list(FUSED)
    print("first result after imports, s: n, nothing on disk, the functions, of which planmath, the kernel")
    with tempfile.TemporaryDirectory() as empty:
        cold = firsts(sizes, True, 3, PLANMATH_CACHE_DIR=empty)
    compiled, kept = firsts(sizes, False, 1), firsts(sizes, True, 1)
    for n, (nothing, _), (whole, own), (loaded, _) in zip(sizes, cold, compiled, kept, strict=True):
        print(f"{n:6d} {nothing:.2f} {whole:.2f} {own:.3f} {loaded:.2f}", judged(whole, COMPILED, 1),
              judged(own, ADDED, 1), judged(loaded, KEPT, 1), flush=True)  # fmt: skip


#: Products inside a kernel, by the rows of a matrix: the threads of a block, how many it computes in turn, and how
#: results are stored.
FORMS = {
    16: ((64, 4, "alone"), (32, 4, "fours")),
    32: ((128, 1, "alone"), (64, 1, "fours"), (32, 2, "fours")),
}


def product(n: int, threads: int, turns: int, stored: str) -> tuple[Any, Any]:
    """A kernel for a batch of products, and its traits."""
    import planmath.device as pmd
    from bench import device_kernels

    mm = pmd.Matmul(
        (n, n, n), np.float32, "real", arrangement=("row_major",) * 3, block_size=threads, alignment=(16, 16, 16),
        leading_dimension=(n + 4, n, n),
    )  # fmt: skip
    return device_kernels.products_by_vectors(mm, turns, stored), mm


def products() -> None:
    import cupy

    from planmath.device import autotune, launch

    start = time.perf_counter()
    ahead("products")
    print(f"batched products float32, forms compiled in {time.perf_counter() - start:.0f} s: n, batch, the best form, "
          "CuPy (cuBLAS batched), all forms")  # fmt: skip
    for n, batch in ((16, 100_000), (32, 50_000)):
        a, b = (cupy.random.standard_normal((batch, n * n), np.float32) for _ in range(2))
        c = cupy.zeros_like(a)
        x, y = a.reshape(batch, n, n), b.reshape(batch, n, n)
        expected = cupy.matmul(x, y)

        def prepared(threads: int, turns: int, stored: str, n: int = n, arrays: Any = (a, b, c)) -> Callable[[], None]:
            kernel, mm = product(n, threads, turns, stored)
            return partial(launch, kernel, -(-len(arrays[0]) // turns), mm, *arrays, shared=0)

        tuned = autotune(prepared, FORMS[n], repeat=10, limit=len(FORMS[n]))
        errors = []
        for form in tuned.seconds:
            c[...] = 0
            prepared(*form)()
            errors.append(float(abs(c.reshape(x.shape) - expected).max()))
        theirs = best(lambda x=x, y=y: cupy.matmul(x, y))
        ours = 1e3 * tuned.seconds[tuned.best]
        forms = {form: round(1e3 * seconds, 3) for form, seconds in tuned.seconds.items()}
        print(f"{n:6d} {batch} {ours:.3f} {theirs:.3f} {judged(ours, theirs, 1)} error {max(errors):.1e}",
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

    ahead("choleskys")
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
    total = 1 << 28
    threads = 1024 * cupy.cuda.Device().attributes["MultiProcessorCount"]  # which all run at a time
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
            i, step, count = np.uint32(cuda.grid(1)), np.uint32(cuda.gridsize(1)), np.uint32(fours.size)
            while i < count:  # in 32 bits and without a sign: a tenth less is to be done for four numbers
                fours[i] = random.uniform4(state)
                i = np.uint32(i + step)
            random.store(state, states[cuda.grid(1)])

        launch(start, threads // 256, None, states, block=256)
        ours = best(partial(launch, one if name == "XORWOW" else four, threads // 256, None, states, out, block=256))
        generator = curand.createGenerator(kind)
        theirs = best(lambda g=generator: curand.generateUniform(g, out.data.ptr, total))
        print(f"{name:14s} {ours:.3f} {theirs:.3f} {judged(ours, theirs, 1 / 0.9)}", flush=True)


def first_plan(space: str, batch: int, n: int, way: str) -> None:
    """The time of `plan` in this process, after another plan: without callbacks, and with them."""
    import numba  # noqa: F401

    from bench.callbacks import filtering
    from planmath.fft import FFT, DeviceCallable, compile_prolog

    if space == "cuda":
        import cupy as package
    else:
        package = np

    def plan(shape: tuple[int, int], **callbacks: Any) -> tuple[float, FFT]:
        transform = FFT(package.ones(shape, np.complex64), axes=[-1], execution=space)
        start = time.perf_counter()
        transform.plan(**callbacks)
        return time.perf_counter() - start, transform

    plan((7, 81))
    plain, _ = plan((batch, n))
    response = package.ones((batch, n), np.complex64)
    transform = FFT(package.ones((batch, n), np.complex64), axes=[-1], execution=space)
    start = time.perf_counter()
    code = compile_prolog(filtering, "complex64", "complex64")
    compiled = time.perf_counter() - start
    transform.plan(prolog=DeviceCallable(code, data=response))
    seconds = time.perf_counter() - start
    made = transform._plan_made
    ways = {str(each.get("callbacks")): each for each in made.algorithms}
    if made.algorithms[0].get("callbacks") != way:
        start = time.perf_counter()
        transform._make_plan(made.problem, transform._slots, [ways[way]])
        seconds = time.perf_counter() - start + compiled
    print(f"{1e3 * plain:.1f} {1e3 * seconds:.1f}")


#: What is planned in a second process: where, batch, length, how.
PLANS = (
    ("cpu", 4096, 1024, "tiles"), ("cuda", 65536, 256, "fused"), ("cuda", 1, 1 << 22, "kernels"),
    ("cuda", 16384, 1000, "cuFFTDx"),
)  # fmt: skip


def plans() -> None:
    print("plan in a second process, ms: where, batch, length, way, without callbacks, with one and its compile_prolog")
    for each in PLANS:
        words = list(map(str, each))
        command = [sys.executable, "-m", "bench.device_functions", "plan", *words]
        for _ in range(2):  # the first process compiles
            done = subprocess.run(command, capture_output=True, text=True)
        said = done.stdout.split()
        if len(said) != 2:
            print(*words, done.stderr[-300:])
            continue
        plain, ours = map(float, said)
        print(*words, plain, ours, judged(ours, plain + 50, 1), flush=True)


def jobs(table: str) -> list[tuple[str, int, Any]]:
    """What a process each compiles ahead of a table, or of all: what libmathdx makes is the same for several forms."""
    products = [("products", n, threads) for n in FORMS for threads in dict.fromkeys(form[0] for form in FORMS[n])]
    every = products + [("choleskys", n, per) for n in (32, 16) for per in PER_BLOCK]
    return [job for job in every if table in ("", job[0])]


def compile_ahead(table: str, n: int, what: Any) -> None:
    from numba.cuda import types

    import planmath.device.kernels.hooks  # noqa: F401
    from planmath.device import launching

    f, i = types.float32[:, ::1], types.int32[:, ::1]
    if table == "choleskys":
        launching._compiled(cholesky(n, what)[0], (f, i))
        return
    for form in FORMS[n]:
        if form[0] == what:
            try:
                launching._compiled(product(n, *form)[0], (f, f, f))
            except RuntimeError as error:  # the table tells that, too
                print(form, error, file=sys.stderr)


def ahead(table: str = "") -> None:
    waiting = jobs(table)

    def run(number: int) -> str:
        command = [sys.executable, "-m", "bench.device_functions", "job", table, str(number)]
        return subprocess.run(command, capture_output=True, text=True).stderr[-300:]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for job, said in zip(waiting, pool.map(run, range(len(waiting))), strict=True):
            if said:
                print(*job, said, flush=True)


TABLES = {table.__name__: table for table in (uniforms, convolutions, results, plans, products, choleskys)}

if __name__ == "__main__":
    name, *words = sys.argv[1:] or [""]
    if name == "first":
        first(int(words[0]), words[1] == "kept")
    elif name == "plan":
        first_plan(words[0], int(words[1]), int(words[2]), words[3])
    elif name == "job":
        compile_ahead(*jobs(words[0])[int(words[1])])
    elif name == "ahead":
        ahead(*words)
    else:
        for table in [TABLES[name] for name in sys.argv[1:]] or TABLES.values():
            try:
                table()
            except Exception as error:
                print(f"{table.__name__}: {type(error).__name__}: {error}", flush=True)
