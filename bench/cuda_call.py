"""What one call costs the host on CUDA: products and transforms so small that the device is done before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np

from bench import cuda_native
from bench.comparison import Maker, Row, Settings, compare
from bench.contender import Contender
from bench.cuda_device import HOST, address, captured, device_clock, importable, on_device
from bench.cuda_native import LOOPS, Operand
from bench.operands import uniform
from bench.verdict import Outcome, Target, at_most, at_most_more, faster

PACKAGES = ("torch", "cupy")
SIZE = 64
LENGTH = 1024
#: The executions in one captured graph.
CAPTURED = 50

# library: the module that has `linalg.advanced` and `fft`
LIBRARIES = {"planmath": "planmath", "nvmath-python": "nvmath"}

# The peers by the package of their arrays.
NAMES = {"torch": "torch", "cupy": "CuPy"}


@dataclass(frozen=True, eq=False)
class Work:
    """One product and one transform with their operands in a package."""

    package: str

    def array(self, shape: tuple[int, ...], seed: int, dtype: str = "float32") -> Any:
        return on_device(uniform(shape, dtype, seed), self.package)

    @cached_property
    def operands(self) -> tuple[Any, Any]:
        return self.array((SIZE, SIZE), 1), self.array((SIZE, SIZE), 2)

    @cached_property
    def copies(self) -> tuple[Any, Any]:
        """The same operands elsewhere, so that resetting is not to the same arrays."""
        return self.array((SIZE, SIZE), 1), self.array((SIZE, SIZE), 2)

    @cached_property
    def bias(self) -> Any:
        return self.array((SIZE,), 3)

    def result(self) -> Any:
        return self.array((SIZE, SIZE), 4)

    def expected(self, relu_bias: bool = False) -> Any:
        a, b = (uniform((SIZE, SIZE), "float32", seed).astype(np.float64) for seed in (1, 2))
        bias = uniform((SIZE,), "float32", 3).astype(np.float64)[:, None]
        return on_device(np.maximum(a @ b + bias, 0) if relu_bias else a @ b, self.package)

    def signal(self) -> Any:
        return self.array((LENGTH,), 5, "complex64")

    def spectrum(self) -> Any:
        return on_device(np.fft.fft(uniform((LENGTH,), "complex64", 5).astype(np.complex128)), self.package)


# ---- products ----


def product(library: str, work: Work, stack: ExitStack) -> Any:
    """A planned `Matmul` of planmath or nvmath-python, freed with the stack."""
    module = import_module(f"{LIBRARIES[library]}.linalg.advanced")
    operation = stack.enter_context(module.Matmul(*work.operands))
    operation.plan()
    return operation


def bare_product(work: Work, stack: ExitStack) -> Iterator[Contender]:
    (a, b), d = work.operands, work.result()
    call = cuda_native.product(*(Operand(address(array), SIZE, SIZE) for array in (a, b, d)), loops=LOOPS)
    yield Contender("bare", "cublasLtMatmul", "call()", {"call": call}, into=d, operations=LOOPS, clock=HOST)


def execute_product(library: str, work: Work, stack: ExitStack) -> Iterator[Contender]:
    names = {"execute": product(library, work, stack).execute}
    yield Contender(library, "execute()", "execute()", names, clock=HOST)
    if library == "planmath":
        d = work.result()
        yield Contender(library, "execute(out=)", "execute(out=d)", {**names, "d": d}, into=d, clock=HOST)


def reset_product(library: str, work: Work, stack: ExitStack) -> Iterator[Contender]:
    operation, (a, b), (p, q) = product(library, work, stack), work.operands, work.copies
    names = {"reset": operation.reset_operands, "execute": operation.execute, "a": a, "b": b, "p": p, "q": q}
    statement = "reset(a=a, b=b); execute(); reset(a=p, b=q); execute()"
    yield Contender(library, "reset, execute()", statement, names, operations=2, clock=HOST)


def stateless_product(library: str, work: Work, stack: ExitStack) -> Iterator[Contender]:
    module, (a, b) = import_module(f"{LIBRARIES[library]}.linalg.advanced"), work.operands
    names = {
        "matmul": module.matmul, "a": a, "b": b, "epilog": module.MatmulEpilog.RELU_BIAS, "inputs": {"bias": work.bias}
    }  # fmt: skip
    statement = "matmul(a, b, epilog=epilog, epilog_inputs=inputs)"
    yield Contender(library, "matmul(RELU_BIAS)", statement, names, clock=HOST)


def package_product(work: Work, stack: ExitStack) -> Iterator[Contender]:
    (a, b), module = work.operands, importable(work.package)
    names = {"matmul": module.matmul, "a": a, "b": b}
    yield Contender(NAMES[work.package], "matmul", "matmul(a, b)", names, clock=HOST)


def package_relu_bias(work: Work, stack: ExitStack) -> Iterator[Contender]:
    (a, b), module, column = work.operands, importable(work.package), work.bias[:, None]
    if work.package == "torch":
        names = {"relu": module.relu, "addmm": module.addmm, "a": a, "b": b, "column": column}
        yield Contender("torch", "relu(addmm)", "relu(addmm(column, a, b))", names, clock=HOST)
    else:
        names = {"maximum": module.maximum, "a": a, "b": b, "column": column}
        yield Contender("CuPy", "maximum(a @ b + bias, 0)", "maximum(a @ b + column, 0)", names, clock=HOST)


# ---- transforms ----


def transform(library: str, operand: Any, stack: ExitStack) -> Any:
    """A planned `FFT` of planmath or nvmath-python, freed with the stack."""
    operation = stack.enter_context(import_module(f"{LIBRARIES[library]}.fft").FFT(operand))
    operation.plan()
    return operation


def bare_transform(work: Work, stack: ExitStack) -> Iterator[Contender]:
    x, y = work.signal(), work.signal()
    call = cuda_native.transform(address(x), address(y), LENGTH, loops=LOOPS)
    names = {"call": call, "x": x}
    yield Contender("bare", "cufftExecC2C", "call()", names, into=y, operations=LOOPS, clock=HOST)


def execute_transform(library: str, work: Work, stack: ExitStack) -> Iterator[Contender]:
    names = {"execute": transform(library, work.signal(), stack).execute}
    yield Contender(library, "execute()", "execute()", names, clock=HOST)
    if library == "planmath":
        y = work.signal()
        yield Contender(library, "execute(out=)", "execute(out=y)", {**names, "y": y}, into=y, clock=HOST)


def reset_transform(library: str, work: Work, stack: ExitStack) -> Iterator[Contender]:
    x, z = work.signal(), work.signal()
    operation = transform(library, x, stack)
    names = {"reset": operation.reset_operand, "execute": operation.execute, "x": x, "z": z}
    statement = "reset(x); execute(); reset(z); execute()"
    yield Contender(library, "reset, execute()", statement, names, operations=2, clock=HOST)


def package_transform(work: Work, stack: ExitStack) -> Iterator[Contender]:
    names = {"fft": importable(work.package).fft.fft, "x": work.signal()}
    yield Contender(NAMES[work.package], "fft", "fft(x)", names, clock=HOST)


# ---- the replay of a captured graph ----


def replay(name: str, settings: Settings) -> Outcome:
    """The device's time for an execution in a graph of several, against a graph of the bare calls."""
    work = Work("torch")

    def contender(library: str, form: str, run: Callable[[], object], into: Any) -> Contender:
        names = {"replay": captured([run] * CAPTURED)}
        return Contender(library, form, "replay()", names, into=into, operations=CAPTURED, clock=device_clock())

    def planmath(stack: ExitStack) -> Iterator[Contender]:
        operation, d = product("planmath", work, stack), work.result()
        yield contender("planmath", "execute(out=)", partial(operation.execute, out=d), d)
        results: list[Any] = []
        allocating = contender("planmath", "execute()", lambda: results.append(operation.execute()), None)
        yield replace(allocating, into=results[-1])  # where the last execution of a replay writes

    def bare(stack: ExitStack) -> Iterator[Contender]:
        d = work.result()
        operands = [Operand(address(array), SIZE, SIZE) for array in (*work.operands, d)]
        calls: dict[int, Any] = {}

        def run() -> None:
            stream = importable("torch").cuda.current_stream().cuda_stream
            if stream not in calls:
                calls[stream] = cuda_native.product(*operands, stream=stream)
            cuda_native.check(calls[stream])

        yield contender("bare", "cublasLtMatmul", run, d)

    targets = [at_most(1.1, f"planmath {form}", "bare cublasLtMatmul") for form in ("execute()", "execute(out=)")]
    makers: dict[str, Maker] = {"planmath": planmath, "bare": bare}
    return compare(name, makers, work.expected(), "float32", targets, settings, everyone=True)


# ---- the rows ----


@dataclass(frozen=True)
class Kind:
    """What is compared in a row, for each of the array packages."""

    lifecycle: Callable[[str, Work, ExitStack], Iterator[Contender]]
    peer: Callable[[Work, ExitStack], Iterator[Contender]]
    bare: Callable[[Work, ExitStack], Iterator[Contender]] | None
    expected: Callable[[Work], Any]
    targets: Sequence[Target]


def against(ours: str, bare: str | None, seconds: float, factor: float) -> Sequence[Target]:
    """At most so many seconds more than the bare call, and so many times as fast as nvmath-python."""
    first = (at_most_more(seconds, f"planmath {ours}", f"bare {bare}"),) if bare else ()
    return (*first, faster(factor, f"planmath {ours}", f"nvmath-python {ours}"))


KINDS = {
    f"cuda/matmul/{SIZE}/execute": Kind(
        execute_product, package_product, bare_product, Work.expected,
        against("execute()", "cublasLtMatmul", 3e-6, 3.5),
    ),
    f"cuda/matmul/{SIZE}/reset": Kind(
        reset_product, package_product, bare_product, Work.expected,
        against("reset, execute()", "cublasLtMatmul", 4.5e-6, 5),
    ),
    f"cuda/matmul/{SIZE}/stateless": Kind(
        stateless_product, package_relu_bias, None, partial(Work.expected, relu_bias=True),
        against("matmul(RELU_BIAS)", None, 0, 6),
    ),
    f"cuda/fft/{LENGTH}/execute": Kind(
        execute_transform, package_transform, bare_transform, Work.spectrum,
        against("execute()", "cufftExecC2C", 3e-6, 4.5),
    ),
    f"cuda/fft/{LENGTH}/reset": Kind(
        reset_transform, package_transform, bare_transform, Work.spectrum,
        (faster(12, "planmath reset, execute()", "nvmath-python reset, execute()"),),
    ),
}  # fmt: skip


def row(name: str, kind: Kind, package: str, settings: Settings) -> Outcome:
    work = Work(package)
    makers: dict[str, Maker] = {library: partial(kind.lifecycle, library, work) for library in LIBRARIES}
    makers[NAMES[package]] = partial(kind.peer, work)
    if kind.bare is not None:
        makers["bare"] = partial(kind.bare, work)
    return compare(name, makers, kind.expected(work), "float32", kind.targets, settings.longer(), everyone=True)


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for start, kind in KINDS.items():
        for package in PACKAGES:
            name = f"{start}/{package}"
            rows[name] = partial(row, name, kind, package)
    name = f"cuda/matmul/{SIZE}/graph"
    return {**rows, name: partial(replay, name)}
