"""Large products on CUDA: planmath, autotuned, against its peers, and against each of its own candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any

from bench.comparison import Maker, Row, Settings, compare
from bench.contender import Contender
from bench.cuda_call import LIBRARIES
from bench.cuda_device import SETTLING, captured, device_clock, importable
from bench.verdict import Outcome, at_most_of_the_best
from planmath.core.cuda import devices

# (m, n, k) of (m x k) @ (k x n)
EXTENTS = {"4096": (4096, 4096, 4096), "8192": (8192, 8192, 8192), "16x4096x4096": (16, 4096, 4096)}
PRECISIONS = {"bf16": "bfloat16", "f16": "float16", "fp8": "float8_e4m3fn"}
NARROW_ONLY = ("8192",)
QUICK = {"4096", "16x4096x4096"}

#: "As fast as" allows what two measurements of one contender differ by.
SAME = 1.02
#: The operations of a graph, at least, and the device memory that they go round, in sizes of its L2 cache.
LEAST_CAPTURED, CACHES = 12, 2


@dataclass(frozen=True, eq=False)
class Product:
    """Torch tensors on the device: several sets of operands, each with its own values."""

    extents: tuple[int, int, int]
    dtype: str

    @property
    def narrow(self) -> bool:
        return self.dtype.startswith("float8")

    @property
    def long(self) -> bool:
        """Whether a product takes so long that the gap between two graphs does not count."""
        m, n, k = self.extents
        return m * n * k > 1e10

    @cached_property
    def sets(self) -> list[tuple[Any, Any]]:
        """Together larger than the cache, so that a round through them finds nothing of the round before."""
        first = self.operands(1)
        size = sum(tensor.numel() * tensor.element_size() for tensor in first)
        number = -(-CACHES * devices.device(0).l2_size // size)
        return [first, *(self.operands(seed) for seed in range(2, number + 1))]

    def operands(self, seed: int) -> tuple[Any, Any]:
        """A row-major a; b likewise, but for FP8, whose kernels on Hopper want its columns contiguous."""
        torch = importable("torch")
        m, n, k = self.extents
        random = torch.Generator("cuda").manual_seed(seed)
        a, b = (torch.rand(shape, device="cuda", generator=random) * 2 - 1 for shape in ((m, k), (n, k)))
        dtype = getattr(torch, self.dtype)
        return a.to(dtype), b.to(dtype).T if self.narrow else b.T.contiguous().to(dtype)

    def expected(self) -> Any:
        torch = importable("torch")
        a, b = self.sets[0]
        return a.to(torch.float64) @ b.to(torch.float64)

    def result(self) -> Any:
        torch = importable("torch")
        m, n, _ = self.extents
        return torch.empty((m, n), device="cuda", dtype=torch.bfloat16 if self.narrow else getattr(torch, self.dtype))

    def tuned(self, library: str, stack: ExitStack) -> Any:
        """An autotuned `Matmul` of planmath or nvmath-python, freed with the stack."""
        module = import_module(f"{LIBRARIES[library]}.linalg.advanced")
        arguments: dict[str, Any] = {}
        if self.narrow:
            bfloat16 = import_module(LIBRARIES[library]).CudaDataType.CUDA_R_16BF
            arguments = {"quantization_scales": {"a": 1.0, "b": 1.0}, "options": {"result_type": bfloat16}}
        operation = stack.enter_context(module.Matmul(*self.sets[0], **arguments))
        operation.plan()
        operation.autotune()
        return operation


# ---- calls, one after the other ----


def planmath(work: Product, stack: ExitStack) -> Iterator[Contender]:
    operation, d = work.tuned("planmath", stack), work.result()
    names, plan = {"execute": operation.execute, "d": d}, repr(operation)
    for form, statement, into in (("execute()", "execute()", None), ("execute(out=)", "execute(out=d)", d)):
        yield Contender(
            "planmath", f"autotuned, {form}", statement, names, into=into, plan=plan, clock=device_clock(SETTLING)
        )


def nvmath(work: Product, stack: ExitStack) -> Iterator[Contender]:
    names = {"execute": work.tuned("nvmath-python", stack).execute}
    yield Contender("nvmath-python", "autotuned, execute()", "execute()", names, clock=device_clock(SETTLING))


def torch(work: Product, stack: ExitStack) -> Iterator[Contender]:
    module, (a, b), d = importable("torch"), work.sets[0], work.result()
    if work.narrow:
        one = module.ones((), device="cuda")
        names = {"mm": partial(module._scaled_mm, scale_a=one, scale_b=one, out_dtype=d.dtype), "a": a, "b": b}
        yield Contender("torch", "_scaled_mm", "mm(a, b)", names, clock=device_clock(SETTLING))
    else:
        names = {"mm": module.mm, "a": a, "b": b, "d": d}
        yield Contender("torch", "mm(out=)", "mm(a, b, out=d)", names, into=d, clock=device_clock(SETTLING))


def calls(name: str, work: Product, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath, work), "nvmath-python": partial(nvmath, work), "torch": partial(torch, work)
    }  # fmt: skip
    return compare(name, makers, work.expected(), work.dtype, [at_most_of_the_best(SAME)], settings)


# ---- candidates, in graphs ----


def candidates(name: str, work: Product, settings: Settings) -> Outcome:
    """The device's time of what autotuning chose, and of each candidate: in graphs, where launching takes no part."""

    def chosen(stack: ExitStack) -> Iterator[Contender]:
        operation, d = work.tuned("planmath", stack), work.result()
        for algorithm in operation.algorithms:  # what a new one brings, such as a larger workspace, ends older graphs
            operation.execute(algorithm=algorithm, out=d)
        shared.append(operation)
        yield in_graph(work, "planmath", "autotuned", operation, str(operation.algorithms[0]))

    def others(stack: ExitStack) -> Iterator[Contender]:
        (operation,) = shared
        for place, algorithm in enumerate(operation.algorithms, start=1):
            yield in_graph(work, "candidate", str(place), operation, str(algorithm), algorithm=algorithm)

    shared: list[Any] = []
    makers: dict[str, Maker] = {"planmath": chosen, "candidate": others}
    return compare(name, makers, work.expected(), work.dtype, [at_most_of_the_best(SAME)], settings)


def in_graph(work: Product, library: str, form: str, operation: Any, plan: str, **algorithm: Any) -> Contender:
    d = work.result()

    def step(a: Any, b: Any) -> None:
        operation.reset_operands_unchecked(a=a, b=b)
        operation.execute(out=d, **algorithm)

    rounds = 1 if work.long else -(-LEAST_CAPTURED // len(work.sets))
    steps: Sequence[Callable[[], None]] = [partial(step, a, b) for a, b in reversed(work.sets)] * rounds
    names = {"replay": captured(steps)}  # whose last step is the product of the first set
    return Contender(
        library, form, "replay()", names, into=d, operations=len(steps), plan=plan, clock=device_clock(SETTLING)
    )


# ---- the rows ----


def row(name: str, measure: Any, extents: tuple[int, int, int], dtype: str, settings: Settings) -> Outcome:
    outcome: Outcome = measure(name, Product(extents, dtype), settings.longer())
    importable("torch").cuda.empty_cache()
    return outcome


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for precision, dtype in PRECISIONS.items():
        for size, extents in EXTENTS.items():
            narrow = precision == "fp8"
            if (narrow and size not in NARROW_ONLY) or (settings.quick and not narrow and size not in QUICK):
                continue
            for kind, measure in (("", calls), *([] if settings.peers_only else [("/candidates", candidates)])):
                name = f"cuda/matmul/{size}/{precision}{kind}"
                rows[name] = partial(row, name, measure, extents, dtype)
    return rows
