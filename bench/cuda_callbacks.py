"""Functions of the user's inside transforms on CUDA: an inverse transform with a filter as prolog, in each way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import planmath
from bench.callbacks import filtering
from bench.comparison import Maker, Row, Settings, compare
from bench.contender import PLANMATH, Contender
from bench.cuda_device import SETTLING, device_clock, importable, on_device
from bench.operands import uniform
from bench.verdict import Outcome, at_most, faster
from planmath.fft import FFT, DeviceCallable, compile_prolog

#: batch and length of complex64: at least so many times as fast as nvmath-python
SHAPES = {(4096, 1024): 1.5, (65536, 256): 2.0, (512, 8192): 1.5, (64, 65536): 1.5, (1, 1 << 22): 1.5}
INVERSE = planmath.fft.FFTDirection.INVERSE


class Work:
    """A batch of spectra and a filter of their size."""

    def __init__(self, shape: tuple[int, int]):
        host, response = uniform(shape, "complex64", 1), uniform(shape, "complex64", 2)
        self.operand, self.response = on_device(host, "torch"), on_device(response, "torch")
        self.expected = on_device(np.fft.ifft(host.astype(np.complex128) * response) * shape[1], "torch")

    def contender(self, library: str, form: str, execute: Any, **more: Any) -> Contender:
        names = {"execute": execute, "inverse": INVERSE}
        statement = more.pop("statement", "execute(direction=inverse)")
        names |= more.pop("names", {})
        return Contender(library, form, statement, names, clock=device_clock(SETTLING), **more)


def ours(work: Work, stack: ExitStack) -> Iterator[Contender]:
    """What autotuning chooses, each of the ways, and the plain transform behind one kernel that multiplies."""
    prolog = DeviceCallable(compile_prolog(filtering, "complex64", "complex64"), data=work.response)
    best = stack.enter_context(FFT(work.operand, axes=[-1]))
    best.plan(prolog=prolog)
    best.autotune()
    yield work.contender(PLANMATH, "best", best.execute, plan=repr(best))
    for algorithm in best._plan_made.algorithms:
        transform = stack.enter_context(FFT(work.operand, axes=[-1]))
        transform.plan(prolog=prolog)
        transform._make_plan(transform._plan_made.problem, transform._slots, [algorithm])
        form = " ".join(str(value) for _, value in algorithm.knobs)
        yield work.contender(PLANMATH, form, transform.execute, plan=repr(transform))


def separate(work: Work, stack: ExitStack) -> Iterator[Contender]:
    torch, product = importable("torch"), work.operand.clone()
    plain = stack.enter_context(FFT(product, axes=[-1]))
    plain.plan()
    names = {"multiply": torch.mul, "a": work.operand, "f": work.response, "product": product}
    statement = "multiply(a, f, out=product); execute(direction=inverse)"
    yield work.contender("separate", "kernel and FFT", plain.execute, names=names, statement=statement)


def theirs(work: Work, stack: ExitStack) -> Iterator[Contender]:
    module = import_module("nvmath.fft")
    code = module.compile_prolog(filtering, "complex64", "complex64")
    transform = stack.enter_context(module.FFT(work.operand, axes=[-1]))
    transform.plan(prolog=module.DeviceCallable(code, data=work.response.data_ptr()))
    execute = partial(transform.execute, direction=module.FFTDirection.INVERSE)
    yield work.contender("nvmath-python", "prolog", execute, statement="execute()")


def row(name: str, shape: tuple[int, int], settings: Settings) -> Outcome:
    work = Work(shape)
    makers: dict[str, Maker] = {
        PLANMATH: partial(ours, work), "separate": partial(separate, work), "nvmath-python": partial(theirs, work),
    }  # fmt: skip
    targets = [
        faster(SHAPES[shape], f"{PLANMATH} best", "nvmath-python prolog"),
        at_most(1.0, f"{PLANMATH} best", "separate kernel and FFT"),
    ]
    return compare(name, makers, work.expected, "complex64", targets, settings, everyone=True)


def rows(settings: Settings) -> dict[str, Row]:
    names = {f"cuda/callbacks/{batch}x{n}": (batch, n) for batch, n in SHAPES}
    return {name: partial(row, name, shape) for name, shape in names.items()}
