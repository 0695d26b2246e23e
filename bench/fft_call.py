"""What one call costs: a complex128 transform of length 8, whose arithmetic is next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import Any

from bench.comparison import Maker, Row, Settings, compare
from bench.contender import Contender
from bench.transform import Transform
from bench.verdict import Outcome, Target, at_most, faster

# library: the module that has `FFT` and `fft` with one and the same signature
LIFECYCLE_MODULES = {"planmath": "planmath.fft", "nvmath-python": "nvmath.fft"}

# library: the module that has the function `fft`
STATELESS_MODULES = {**LIFECYCLE_MODULES, "SciPy": "scipy.fft", "NumPy": "numpy.fft", "mkl_fft": "mkl_fft"}


def rows(settings: Settings) -> dict[str, Row]:
    targets: Mapping[str, list[Target]] = {
        "fft/8/execute": [faster(15, "planmath execute()", "nvmath-python execute()")],
        "fft/8/reset": [
            faster(80, "planmath reset, execute()", "nvmath-python reset, execute()"),
            at_most(1, "planmath reset, execute()", "pyFFTW plan(x)"),
        ],
        "fft/8/stateless": [
            faster(10, "planmath fft(x)", "nvmath-python fft(x)"),
            at_most(2.5, "planmath fft(x)", "SciPy fft(x)"),
        ],
    }
    makers = {"fft/8/execute": execute_makers, "fft/8/reset": reset_makers, "fft/8/stateless": stateless_makers}
    return {name: partial(row, name, makers[name], targets[name]) for name in makers}


def row(name: str, makers: Any, targets: list[Target], settings: Settings) -> Outcome:
    work = Transform.of_noise((8,), "complex128")
    return compare(name, makers(work), work.expected(), "complex128", targets, settings, everyone=True)


def prepared(stack: ExitStack, library: str, work: Transform) -> Any:
    """A planned `FFT` object of planmath or nvmath-python, freed with the stack."""
    operation = stack.enter_context(import_module(LIFECYCLE_MODULES[library]).FFT(work.x))
    operation.plan()
    return operation


def execute_makers(work: Transform) -> dict[str, Maker]:
    def lifecycle(library: str, stack: ExitStack) -> Iterator[Contender]:
        names = {"execute": prepared(stack, library, work).execute}
        yield Contender(library, "execute()", "execute()", names)
        if library == "planmath":
            y = work.empty()
            yield Contender(library, "execute(out=)", "execute(out=y)", {**names, "y": y}, into=y)

    def pyfftw(stack: ExitStack) -> Iterator[Contender]:
        import pyfftw

        x, y = work.empty(), work.empty()
        plan = pyfftw.FFTW(x, y, flags=("FFTW_MEASURE",))
        x[...] = work.x  # planning overwrote it
        yield Contender("pyFFTW", "execute()", "execute()", {"execute": plan.execute}, into=y)

    return {**{library: partial(lifecycle, library) for library in LIFECYCLE_MODULES}, "pyFFTW": pyfftw}


def reset_makers(work: Transform) -> dict[str, Maker]:
    """Each call resets the operand twice, to two arrays in turn, so that no library can find that nothing changed."""
    x, z = work.x, work.copy()

    def lifecycle(library: str, stack: ExitStack) -> Iterator[Contender]:
        operation = prepared(stack, library, work)
        names = {"reset": operation.reset_operand, "execute": operation.execute, "x": x, "z": z}
        statement = "reset(x); execute(); reset(z); execute()"
        yield Contender(library, "reset, execute()", statement, names, operations=2)
        if library == "planmath":
            y = work.empty()
            statement = "reset(x); execute(out=y); reset(z); execute(out=y)"
            yield Contender(library, "reset, execute(out=)", statement, {**names, "y": y}, into=y, operations=2)

    def pyfftw(stack: ExitStack) -> Iterator[Contender]:
        import pyfftw

        y = work.empty()
        plan = pyfftw.FFTW(work.copy(), y, flags=("FFTW_MEASURE",))
        yield Contender("pyFFTW", "plan(x)", "plan(x); plan(z)", {"plan": plan, "x": x, "z": z}, into=y, operations=2)

    return {**{library: partial(lifecycle, library) for library in LIFECYCLE_MODULES}, "pyFFTW": pyfftw}


def stateless_makers(work: Transform) -> dict[str, Maker]:
    def stateless(library: str, stack: ExitStack) -> Iterator[Contender]:
        yield Contender(
            library, "fft(x)", "fft(x)", {"fft": import_module(STATELESS_MODULES[library]).fft, "x": work.x}
        )

    return {library: partial(stateless, library) for library in STATELESS_MODULES}
