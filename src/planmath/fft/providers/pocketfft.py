"""Transforms by pocketfft (from SciPy 1.18 on: by ducc, its successor), which comes with SciPy and is always there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from planmath.core.arrays import as_numpy
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.fft.problem import FFTProblem, only_on_devices
from planmath.fft.providers.fftw3_interface import fftw3_name, thread_counts
from planmath.native.forks import load_module
from planmath.native.threads import Threads, openmp_threads

#: pocketfft's number for what is scaled: nothing, by the square root, by the number of elements.
UNSCALED, BY_ROOT, BY_LENGTH = 0, 1, 2


class PocketFFTProvider(Provider):
    name = "pocketfft"

    def unavailable(self) -> str | None:
        return (
            None if _kernels() else f"SciPy {self.version()} has neither pocketfft nor ducc where planmath looks for it"
        )

    def version(self) -> str:
        return str(load_module("scipy").__version__)

    def path(self) -> str | None:
        return str(_kernels().__file__)

    def threads(self) -> Threads:
        return openmp_threads()

    def unsupported(self, problem: FFTProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        return None if problem.precision in ("float32", "float64") else only_on_devices(problem.dtype)

    def algorithms(self, problem: FFTProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name, (("threads", n),)) for n in thread_counts(problem)]

    def prepare(self, problem: FFTProblem, algorithm: Algorithm) -> Prepared:
        programs: dict[Any, Program] = {}
        for direction in problem.directions:
            function = _transform(problem, direction, algorithm.get("threads"))
            programs[direction] = programs[fftw3_name(direction)] = Program(function=function)
        programs[None] = programs[problem.directions[0]]
        return Prepared(programs)


@cache
def _kernels() -> Any:
    """The compiled module under scipy.fft: pocketfft, or ducc, its successor. Its functions write into given arrays."""
    for name in ("scipy.fft._pocketfft.pypocketfft", "scipy.fft._duccfft.pyduccfft"):
        try:
            return load_module(name)
        except ImportError:
            continue
    return None


def _transform(problem: FFTProblem, direction: int, threads: int) -> Callable[[tuple, tuple], None]:
    kernels, axes, forward = _kernels(), list(problem.axes), direction < 0
    c2c, r2c, c2r = kernels.c2c, kernels.r2c, kernels.c2r
    extent = problem.real_shape[problem.axes[-1]]
    scale = UNSCALED
    if problem.factor(direction) != 1:
        scale = BY_ROOT if problem.norm == "ortho" else BY_LENGTH

    def run(operands: tuple[Any], results: tuple[Any, ...]) -> None:
        operand = as_numpy(operands[0])
        result = as_numpy(results[0]) if results else operand
        if problem.kind == "C2C":
            c2c(operand, axes, forward, scale, result, threads)
        elif problem.kind == "R2C":
            r2c(operand, axes, True, scale, result, threads)
        else:
            c2r(operand, axes, extent, False, scale, result, threads)

    return run
