"""Functions of the user's inside transforms on the CPU: an inverse transform with a filter and a scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

import planmath
from bench.comparison import Maker, Row, Settings, compare
from bench.contender import PLANMATH, Contender
from bench.operands import uniform
from bench.verdict import Outcome, at_most, at_most_of_the_best
from planmath.fft import FFT, DeviceCallable, compile_epilog, compile_prolog

#: batch and length: at most so many times the plain transform's time, and of the best of the others'
SHAPES = {(4096, 1024): (1.25, 0.6), (256, 16384): (1.25, 0.6), (65536, 64): (2.2, 0.7)}


def filtering(data_in, offset, user_info, reserved):
    return data_in[offset] * user_info[offset]


def scaling(data_out, offset, data, user_info, reserved):
    data_out[offset] = data * user_info[0]


def planned(operand: Any, options: dict[str, Any], stack: ExitStack, **callbacks: Any) -> FFT:
    execution = planmath.fft.ExecutionCPU(num_threads=1)
    transform = stack.enter_context(FFT(operand, axes=[-1], options=options, execution=execution))
    transform.plan(**callbacks)
    return transform


def row(name: str, shape: tuple[int, int], settings: Settings) -> Outcome:
    """On one thread, as the others, who have a pass for each multiplication."""
    operand, response = uniform(shape, "complex64", 1), uniform(shape, "complex64", 2)
    scale = np.array([1 / shape[1]], np.float32)
    expected = np.fft.ifft(operand.astype(np.complex128) * response)
    inverse = planmath.fft.FFTDirection.INVERSE

    def ours(stack: ExitStack) -> Iterator[Contender]:
        prolog = DeviceCallable(compile_prolog(filtering, "complex64", "complex64"), data=response)
        epilog = DeviceCallable(compile_epilog(scaling, "complex64", "float32"), data=scale)
        out = np.empty_like(operand)
        for form, callbacks in (("callbacks", {"prolog": prolog, "epilog": epilog}), ("plain", {})):
            transform = planned(operand, {}, stack, **callbacks)
            names = {"execute": transform.execute, "out": out, "inverse": inverse, "expected": expected}
            last = "" if callbacks else "; expected"  # a plain transform is another result
            statement = f"execute(direction=inverse, out=out){last}"
            into = out if callbacks else None
            yield Contender(PLANMATH, form, statement, names, into=into, plan=repr(transform))

    def theirs(library: str, stack: ExitStack) -> Iterator[Contender]:
        module = {"NumPy": "numpy.fft", "SciPy": "scipy.fft", "mkl_fft": "mkl_fft"}[library]
        ifft: Callable[..., Any] = import_module(module).ifft
        names = {"ifft": ifft, "a": operand, "f": response, "s": np.float32(1)}
        keywords = ", workers=1" if library == "SciPy" else ""
        yield Contender(library, "ifft(a * f) * s", f"ifft(a * f{keywords}) * s", names)

    makers: dict[str, Maker] = {PLANMATH: ours}
    makers |= {library: partial(theirs, library) for library in ("SciPy", "mkl_fft", "NumPy")}
    of_plain, of_best = SHAPES[shape]
    targets = [
        at_most(of_plain, f"{PLANMATH} callbacks", f"{PLANMATH} plain"), at_most_of_the_best(of_best, "callbacks"),
    ]  # fmt: skip
    return compare(name, makers, expected, "complex64", targets, settings, True)


def rows(settings: Settings) -> dict[str, Row]:
    names = {f"callbacks/{batch}x{n}": (batch, n) for batch, n in SHAPES}
    return {name: partial(row, name, shape) for name, shape in names.items()}
