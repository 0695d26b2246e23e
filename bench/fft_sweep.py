"""Transforms from small to large: planmath, autotuned, against the best of the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from bench.comparison import THREADS, Maker, Row, Settings, compare, threads
from bench.contender import Contender
from bench.native import mkl_threads, torch_threads
from bench.transform import Transform
from bench.verdict import Outcome, at_most_of_the_best

SHAPES: dict[str, tuple[int, ...]] = {
    **{f"2^{power}": (2**power,) for power in range(10, 21, 2)},
    "1009": (1009,),
    "1024x1024": (1024, 1024),
    "128x128x128": (128, 128, 128),
    "batch-1000x1024": (1000, 1024),
}
PRECISIONS = {"c64": "complex64", "c128": "complex128"}
QUICK = {"2^10", "2^16", "1009", "1024x1024", "batch-1000x1024"}


def rows(settings: Settings) -> dict[str, Row]:
    return {
        (name := f"fft/{shape}/{precision}"): partial(row, name, SHAPES[shape], PRECISIONS[precision])
        for shape in SHAPES
        for precision in PRECISIONS
        if not settings.quick or (shape in QUICK and precision == "c128")
    }


def row(name: str, shape: tuple[int, ...], dtype: str, settings: Settings) -> Outcome:
    work = Transform.of_noise(shape, dtype, batched="batch" in name)
    makers: dict[str, Maker] = {
        "planmath": partial(planmath, work),
        "nvmath-python": partial(nvmath, work),
        "pyFFTW": partial(pyfftw, work),
        "mkl_fft": partial(mkl_fft, work),
        "SciPy": partial(scipy, work),
        "torch": partial(torch, work),
    }
    return compare(name, makers, work.expected(), dtype, [at_most_of_the_best(1.05)], settings)


def planmath(work: Transform, stack: ExitStack) -> Iterator[Contender]:
    from planmath.fft import FFT

    operation = stack.enter_context(FFT(work.x, axes=work.axes))
    operation.plan()
    operation.autotune()
    y = work.empty()
    names, plan = {"execute": operation.execute, "y": y}, repr(operation)
    yield Contender("planmath", "execute()", "execute()", names, spins=True, plan=plan)
    yield Contender("planmath", "execute(out=)", "execute(out=y)", names, into=y, spins=True, plan=plan)


def nvmath(work: Transform, stack: ExitStack) -> Iterator[Contender]:
    from nvmath.fft import FFT

    for number in THREADS:
        operation = stack.enter_context(FFT(work.x, axes=work.axes, execution={"name": "cpu", "num_threads": number}))
        operation.plan()
        names = {"execute": operation.execute}
        yield Contender("nvmath-python", threads(number), "execute()", names, spins=number > 1)


def pyfftw(work: Transform, stack: ExitStack) -> Iterator[Contender]:
    import pyfftw

    for number in THREADS:
        x, y = work.empty(), work.empty()
        plan = pyfftw.FFTW(x, y, axes=work.axes, threads=number, flags=("FFTW_MEASURE",))
        x[...] = work.x  # planning overwrote it
        yield Contender("pyFFTW", threads(number), "execute()", {"execute": plan.execute}, into=y, spins=number > 1)


def mkl_fft(work: Transform, stack: ExitStack) -> Iterator[Contender]:
    import mkl_fft

    y = work.empty()
    names = {"fft": work.function(mkl_fft), "x": work.x, "y": y}
    # It keeps its last descriptor, which never uses more threads than there were when it was made: many threads first.
    for number in reversed(THREADS):
        within, spins = partial(mkl_threads, number), number > 1
        yield Contender("mkl_fft", threads(number), "fft(x)", names, within=within, spins=spins)
        form = f"out=, {threads(number)}"
        yield Contender("mkl_fft", form, "fft(x, out=y)", names, into=y, within=within, spins=spins)


def scipy(work: Transform, stack: ExitStack) -> Iterator[Contender]:
    import scipy.fft

    names = {"fft": work.function(scipy.fft), "x": work.x}
    # Its workers share out the many one-dimensional transforms of an array: a single one has work for one.
    for number in THREADS if work.x.ndim > 1 else [1]:
        yield Contender("SciPy", threads(number), f"fft(x, workers={number})", names)  # does not spin


def torch(work: Transform, stack: ExitStack) -> Iterator[Contender]:
    import torch

    x, y = torch.from_numpy(work.x), torch.from_numpy(work.empty())
    names = {"fft": work.function(torch.fft), "x": x, "y": y}
    for number in THREADS:
        within, spins = partial(torch_threads, number), number > 1
        yield Contender("torch", threads(number), "fft(x)", names, within=within, spins=spins)
        form = f"out=, {threads(number)}"
        yield Contender("torch", form, "fft(x, out=y)", names, into=y, within=within, spins=spins)
