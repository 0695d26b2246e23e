"""Tensor contractions on CUDA: what one call costs the host, and how long the device takes for larger ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any

from bench import cuda_native
from bench.comparison import Maker, Row, Settings, compare
from bench.contender import Contender
from bench.cuda_call import LIBRARIES
from bench.cuda_device import HOST, device_clock, importable, on_device
from bench.cuda_native import LOOPS
from bench.operands import uniform
from bench.tensor import LARGE, SMALL
from bench.verdict import Outcome, Target, at_most_more, at_most_of_the_best, faster

DTYPES = {"f32": "float32", "f64": "float64"}
QUICK = {"f32"}
#: "As fast as the best of the others" allows this much.
SAME = 1.03


@dataclass(frozen=True, eq=False)
class Work:
    """A contraction of two torch tensors on the device."""

    expr: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtype: str

    @cached_property
    def operands(self) -> tuple[Any, Any]:
        return self.arrays()

    @cached_property
    def copies(self) -> tuple[Any, Any]:
        """The same operands elsewhere, so that resetting is not to the same arrays."""
        return self.arrays()

    def arrays(self) -> tuple[Any, Any]:
        a, b = (on_device(uniform(shape, self.dtype, seed), "torch") for seed, shape in enumerate(self.shapes, start=1))
        return a, b

    @cached_property
    def expected(self) -> Any:
        return importable("torch").einsum(self.expr, *(tensor.double() for tensor in self.operands))

    def result(self) -> Any:
        """In the order of the expression."""
        return importable("torch").empty(self.expected.shape, device="cuda", dtype=self.operands[0].dtype)

    def planned(self, library: str, stack: ExitStack, **arguments: Any) -> Any:
        """A `BinaryContraction` of planmath or nvmath-python, freed with the stack."""
        module = import_module(f"{LIBRARIES[library]}.tensor")
        operation = stack.enter_context(module.BinaryContraction(self.expr, *self.operands, **arguments))
        operation.plan()
        return operation


# ---- what a call costs the host ----


def bare(work: Work, stack: ExitStack) -> Iterator[Contender]:
    d = work.result()
    call = cuda_native.contraction(work.expr, *work.operands, d, loops=LOOPS)
    yield Contender("bare", "cutensorContract", "call()", {"call": call}, into=d, operations=LOOPS, clock=HOST)


def execute(library: str, work: Work, stack: ExitStack) -> Iterator[Contender]:
    operation = work.planned(library, stack)
    names = {"execute": operation.execute}
    yield Contender(library, "execute()", "execute()", names, clock=HOST)
    if library == "planmath":
        d = operation.empty_result()
        yield Contender(library, "execute(out=)", "execute(out=d)", {**names, "d": d}, into=d, clock=HOST)


def reset(library: str, work: Work, stack: ExitStack) -> Iterator[Contender]:
    operation, (a, b), (p, q) = work.planned(library, stack), work.operands, work.copies
    names = {"reset": operation.reset_operands, "execute": operation.execute, "a": a, "b": b, "p": p, "q": q}
    statement = "reset(a=a, b=b); execute(); reset(a=p, b=q); execute()"
    yield Contender(library, "reset, execute()", statement, names, operations=2, clock=HOST)


def stateless(library: str, work: Work, stack: ExitStack) -> Iterator[Contender]:
    a, b = work.operands
    names = {"contract": import_module(f"{LIBRARIES[library]}.tensor").binary_contraction, "a": a, "b": b}
    yield Contender(library, "binary_contraction()", f"contract({work.expr!r}, a, b)", names, clock=HOST)


def einsum(clock: Any, work: Work, stack: ExitStack) -> Iterator[Contender]:
    a, b = work.operands
    names = {"einsum": importable("torch").einsum, "a": a, "b": b}
    yield Contender("torch", "einsum", f"einsum({work.expr!r}, a, b)", names, clock=clock)


@dataclass(frozen=True)
class Kind:
    """What is compared in a row about the cost of a call."""

    lifecycle: Callable[[str, Work, ExitStack], Iterator[Contender]]
    targets: Sequence[Target]


KINDS = {
    "execute": Kind(execute, [at_most_more(3e-6, "planmath execute()", "bare cutensorContract")]),
    "reset": Kind(reset, [at_most_more(5e-6, "planmath reset, execute()", "bare cutensorContract")]),
    "stateless": Kind(
        stateless, [faster(8, "planmath binary_contraction()", "nvmath-python binary_contraction()")]
    ),
}  # fmt: skip


def call(name: str, kind: Kind, dtype: str, settings: Settings) -> Outcome:
    work = Work(SMALL[0], SMALL[1:], dtype)
    makers: dict[str, Maker] = {library: partial(kind.lifecycle, library, work) for library in LIBRARIES}
    makers |= {"torch": partial(einsum, HOST, work), "bare": partial(bare, work)}
    return compare(name, makers, work.expected, dtype, kind.targets, settings.longer(), everyone=True)


# ---- larger ones ----


def tuned(work: Work, stack: ExitStack) -> Iterator[Contender]:
    """Results in the order of the expression, as the others have them, and in the order that takes least work."""
    for form, layout in (("autotuned", "C"), ("autotuned, optimized layout", "optimized")):
        operation = work.planned("planmath", stack, options={"result_layout": layout})
        operation.autotune()
        names, plan = {"execute": operation.execute}, repr(operation)
        yield Contender("planmath", form, "execute()", names, plan=plan, clock=device_clock())


def nvmath(work: Work, stack: ExitStack) -> Iterator[Contender]:
    from nvmath.tensor import BinaryContraction, ContractionAlgo

    for form, algo in (("execute()", "DEFAULT"), ("patient, execute()", "DEFAULT_PATIENT")):
        operation = stack.enter_context(BinaryContraction(work.expr, *work.operands))
        operation.plan_preference.algo = ContractionAlgo[algo]
        operation.plan()
        yield Contender("nvmath-python", form, "execute()", {"execute": operation.execute}, clock=device_clock())


def bare_on_device(work: Work, stack: ExitStack) -> Iterator[Contender]:
    d = work.result()
    names = {"call": cuda_native.contraction(work.expr, *work.operands, d)}
    yield Contender("bare", "cutensorContract", "call()", names, into=d, clock=device_clock())


def large(name: str, key: str, dtype: str, settings: Settings) -> Outcome:
    (expr, *shapes), *_ = LARGE[key]
    work = Work(expr, (shapes[0], shapes[1]), dtype)
    makers: dict[str, Maker] = {
        "planmath": partial(tuned, work), "nvmath-python": partial(nvmath, work),
        "torch": partial(einsum, device_clock(), work), "bare": partial(bare_on_device, work),
    }  # fmt: skip
    try:
        return compare(name, makers, work.expected, dtype, [at_most_of_the_best(SAME)], settings, everyone=True)
    finally:
        importable("torch").cuda.empty_cache()


# ---- the rows ----


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for short, dtype in DTYPES.items():
        if settings.quick and short not in QUICK:
            continue
        for kind, of in KINDS.items():
            name = f"cuda/contraction/{SMALL[1][0]}/{kind}/{short}"
            rows[name] = partial(call, name, of, dtype)
        for key in LARGE:
            name = f"cuda/contraction/{key}/{short}"
            rows[name] = partial(large, name, key, dtype)
    return rows
