"""The batch of a notebook on stateful APIs: 1,024 products of 124x1512x1024 with bias and ReLU, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any

from bench import cuda_native
from bench.comparison import Maker, Row, Settings, compare
from bench.contender import Contender
from bench.cuda_call import LIBRARIES
from bench.cuda_device import address, device_clock, importable
from bench.cuda_native import Operand
from bench.verdict import Outcome, at_most, faster

BATCH, M, N, K = 1024, 124, 1024, 1512
QUICK_BATCH = 128


@dataclass(frozen=True, eq=False)
class Batch:
    """CuPy arrays, as the notebook makes them; the figures are the time of the whole batch."""

    size: int

    @cached_property
    def operands(self) -> tuple[Any, Any, Any]:
        cp = importable("cupy")
        random = cp.random.default_rng(1)
        shapes = (self.size, M, K), (self.size, K, N), (self.size, M)
        a, b, bias = (random.random(shape, dtype=cp.float32) for shape in shapes)
        return a, b, bias

    def expected(self) -> Any:
        cp = importable("cupy")
        a, b, bias = (array.astype(cp.float64) for array in self.operands)
        return cp.maximum(a @ b + bias[:, :, None], 0)

    def rows(self) -> Any:
        """A result as the notebook has it."""
        return importable("cupy").empty((self.size, M, N), dtype="float32")

    def columns(self) -> Any:
        """A result of matrices in the order that the epilog asks for."""
        return importable("cupy").empty((self.size, N, M), dtype="float32").transpose(0, 2, 1)


def as_in_the_notebook(module: Any, a: Any, b: Any, bias: Any, d: Any) -> None:
    """Reset, execute, and copy the result to its place; the notebook alone leaves out the first one's copy."""
    epilog = module.MatmulEpilog(module.MatmulEpilog.RELU_BIAS)
    with module.Matmul(a[0], b[0]) as mm:
        mm.plan(epilog=epilog, epilog_inputs={"bias": bias[0]})
        d[0] = mm.execute()
        for i in range(1, len(a)):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            d[i] = mm.execute()


def with_out(module: Any, a: Any, b: Any, bias: Any, d: Any) -> None:
    """The same with results written where they belong."""
    with module.Matmul(a[0], b[0]) as mm:
        mm.plan(epilog=module.MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias[0]})
        mm.execute(out=d[0])
        for i in range(1, len(a)):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            mm.execute(out=d[i])


def lifecycle(library: str, batch: Batch, stack: ExitStack) -> Iterator[Contender]:
    module = import_module(f"{LIBRARIES[library]}.linalg.advanced")
    yield contender(library, "as the notebook writes it", as_in_the_notebook, batch, batch.rows(), module=module)
    if library == "planmath":
        yield contender(library, "with out=", with_out, batch, batch.columns(), module=module)


def bare(batch: Batch, stack: ExitStack) -> Iterator[Contender]:
    """One prepared call for each product, since the address of the bias is part of what describes a product."""
    d = batch.columns()
    calls = [
        cuda_native.product(
            Operand(address(a), M, K), Operand(address(b), K, N), Operand(address(result), M, N, columns=True),
            address(bias),
        )
        for a, b, bias, result in zip(*batch.operands, d, strict=True)
    ]  # fmt: skip

    def run(calls: list[Any]) -> None:
        for call in calls:
            call()

    names = {"run": run, "calls": calls, "operands": batch.operands}
    yield Contender("bare", "cublasLtMatmul loop", "run(calls)", names, into=d, clock=device_clock())


def cupy(batch: Batch, stack: ExitStack) -> Iterator[Contender]:
    def loop(a: Any, b: Any, bias: Any, d: Any) -> None:
        cp = importable("cupy")
        for i in range(len(a)):
            d[i] = cp.maximum(a[i] @ b[i] + bias[i][:, None], 0)

    yield contender("CuPy", "loop", loop, batch, batch.rows())


def torch(batch: Batch, stack: ExitStack) -> Iterator[Contender]:
    module = importable("torch")

    def loop(a: Any, b: Any, bias: Any, d: Any) -> None:
        for i in range(len(a)):
            d[i] = module.relu(module.addmm(bias[i][:, None], a[i], b[i]))

    def at_once(a: Any, b: Any, bias: Any, d: Any) -> None:
        module.baddbmm(bias[:, :, None], a, b, out=d)
        d.relu_()

    for form, run in (("loop", loop), ("one batched call", at_once)):
        yield contender("torch", form, run, batch, batch.rows(), convert=module.from_dlpack)


def contender(
    library: str, form: str, run: Any, batch: Batch, d: Any, module: Any = None, convert: Any = None
) -> Contender:
    arrays = [*batch.operands, d]
    names = dict(zip("abcd", map(convert, arrays) if convert else arrays, strict=True))
    if module is not None:
        run = partial(run, module)
    return Contender(library, form, "run(a, b, c, d)", {"run": run, **names}, into=d, clock=device_clock())


def row(name: str, settings: Settings) -> Outcome:
    batch = Batch(QUICK_BATCH if settings.quick else BATCH)
    makers: dict[str, Maker] = {library: partial(lifecycle, library, batch) for library in LIBRARIES}
    makers |= {"bare": partial(bare, batch), "CuPy": partial(cupy, batch), "torch": partial(torch, batch)}
    notebook = "as the notebook writes it"
    targets = [
        faster(4, f"planmath {notebook}", f"nvmath-python {notebook}"),
        at_most(1.2, "planmath with out=", "bare cublasLtMatmul loop"),
    ]
    try:
        return compare(name, makers, batch.expected(), "float32", targets, settings, everyone=True)
    finally:
        importable("cupy").get_default_memory_pool().free_all_blocks()


def rows(settings: Settings) -> dict[str, Row]:
    name = "cuda/matmul/batch"
    return {name: partial(row, name)}
