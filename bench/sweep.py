"""Each operation over what people run: for every piece of work the ratio of planmath's time to the best of the others',
planned only and autotuned; of all of them the geometric mean, and how many are above a limit.

Signals, images, grids and batches for transforms; layers, Gram matrices and batches for products; quantum chemistry and
tensor networks for contractions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import ModuleType
from typing import Any

import numpy as np

from bench.comparison import THREADS, Maker, Row, Settings, compare, threads
from bench.contender import PLANMATH, Contender
from bench.native import mkl_threads, torch_threads
from bench.operands import aligned, uniform
from bench.verdict import Outcome, Verdict, at_most_of_the_best

PLANNED, AUTOTUNED = "planned", "autotuned"
ROUNDS = 3


@dataclass(frozen=True)
class Work:
    """One piece of work: what makes its contenders, and what they must compute."""

    name: str
    makers: Mapping[str, Maker]
    expected: np.ndarray
    dtype: str


@dataclass(frozen=True)
class Limit:
    """What a sweep has to reach: the geometric mean of all ratios, and the highest of them."""

    mean: float
    most: float


Limits = Mapping[str, Limit]


def sweep(name: str, works: Callable[[], Sequence[Callable[[], Work]]], limits: Limits, settings: Settings) -> Outcome:
    """Measure every work, those above a limit once more, and judge them all together."""
    outcome = Outcome(name, "")
    ratios: dict[str, dict[str, float]] = {how: {} for how in limits}
    for make in works():
        work = make()
        found = measured(work, limits, settings)
        if not all(verdict.met for verdict in found.verdicts):
            found = measured(work, limits, replace(settings, earlier={work.name: found}))
        outcome.raw[work.name] = found.raw
        outcome.notes += [f"{work.name}: {note}" for note in found.notes]
        for verdict in found.verdicts:
            how = next(how for how in limits if verdict.ours.startswith(f"{PLANMATH} {how}"))
            ratios[how][work.name] = found.figures[verdict.ours] / found.figures[verdict.against]
    if not settings.peers_only:
        for how, limit in limits.items():
            judge(outcome, how, limit, ratios[how])
    return outcome


def measured(work: Work, limits: Limits, settings: Settings) -> Outcome:
    """The times of one work."""
    targets = [at_most_of_the_best(limit.most, how) for how, limit in limits.items()]
    settings = replace(settings, rounds=ROUNDS)
    return compare(work.name, work.makers, work.expected, work.dtype, targets, settings)


def judge(outcome: Outcome, how: str, limit: Limit, ratios: Mapping[str, float]) -> None:
    """Add what came out of planned or autotuned works to the outcome."""
    if not ratios:
        outcome.unjudged += 2
        return
    mean, most = math.exp(sum(map(math.log, ratios.values())) / len(ratios)), max(ratios.values())
    above = {work: ratio for work, ratio in ratios.items() if ratio > limit.most}
    means, highest = f"{PLANMATH} {how}, mean of {len(ratios)}", f"{PLANMATH} {how}, highest"
    outcome.figures |= {means: mean, highest: most}
    outcome.verdicts += [
        Verdict(means, "", f"{mean:.3f}", f"at most {limit.mean:g} of the best of the others", mean <= limit.mean),
        Verdict(highest, "", f"{len(above)} above", f"none above {limit.most:g}", not above),
    ]
    if above:
        told = sorted(above.items(), key=lambda pair: -pair[1])
        outcome.notes.append(f"{how}, above {limit.most:g}: {', '.join(f'{work} {ratio:.2f}' for work, ratio in told)}")


def both(make: Callable[[], Any], stack: ExitStack) -> Iterator[Contender]:
    """An operation as it is planned, and another one autotuned."""
    for how in (PLANNED, AUTOTUNED):
        operation = stack.enter_context(make())
        operation.plan()
        if how == AUTOTUNED:
            operation.autotune()
        y = operation.empty_result()
        names, plan = {"execute": operation.execute, "y": y}, repr(operation)
        yield Contender(PLANMATH, f"{how}, execute()", "execute()", names, spins=True, plan=plan)
        yield Contender(PLANMATH, f"{how}, execute(out=)", "execute(out=y)", names, into=y, spins=True, plan=plan)


# ---- transforms ----


@dataclass(frozen=True, eq=False)
class Transform:
    """A transform over some axes: of complex numbers, of real ones, or to real ones."""

    shape: tuple[int, ...]
    dtype: str
    axes: tuple[int, ...]
    kind: str = "C2C"

    @property
    def name(self) -> str:
        short = {"complex64": "c64", "complex128": "c128", "float32": "f32", "float64": "f64"}[self.dtype]
        over = "" if len(self.axes) == len(self.shape) else f" over {','.join(map(str, self.axes))}"
        return f"{'x'.join(map(str, self.shape))}{over} {self.kind} {short}"

    @cached_property
    def x(self) -> np.ndarray:
        if self.kind != "C2R":
            return uniform(self.shape, self.dtype)
        real = uniform((*self.shape[:-1], 2 * (self.shape[-1] - 1)), "float64")  # for Hermitian values
        return np.fft.rfftn(real, axes=self.axes).astype(self.dtype)

    def function(self, module: ModuleType) -> Any:
        return getattr(module, {"C2C": "fftn", "R2C": "rfftn", "C2R": "irfftn"}[self.kind])

    @cached_property
    def expected(self) -> np.ndarray:
        wide = self.x.astype("complex128" if np.iscomplexobj(self.x) else "float64")
        return self.function(np.fft)(wide, axes=self.axes)

    def work(self) -> Work:
        makers: dict[str, Maker] = {
            PLANMATH: self.planmath, "mkl_fft": self.mkl_fft, "SciPy": self.scipy, "torch": self.torch,
        }  # fmt: skip
        return Work(self.name, makers, self.expected, self.dtype)

    def planmath(self, stack: ExitStack) -> Iterator[Contender]:
        from planmath.fft import FFT

        options = {"fft_type": self.kind, "norm": "backward" if self.kind == "C2R" else None}  # as `irfftn` has it
        yield from both(lambda: FFT(self.x, axes=self.axes, options=options), stack)

    def mkl_fft(self, stack: ExitStack) -> Iterator[Contender]:
        from mkl_fft.interfaces import numpy_fft

        names = {"fft": self.function(numpy_fft), "x": self.x, "axes": self.axes}
        for number in reversed(THREADS):
            within, form = partial(mkl_threads, number), threads(number)
            yield Contender("mkl_fft", form, "fft(x, axes=axes)", names, within=within, spins=number > 1)

    def scipy(self, stack: ExitStack) -> Iterator[Contender]:
        import scipy.fft

        names = {"fft": self.function(scipy.fft), "x": self.x, "axes": self.axes}
        for number in THREADS if len(self.shape) > 1 else [1]:
            yield Contender("SciPy", threads(number), f"fft(x, axes=axes, workers={number})", names)

    def torch(self, stack: ExitStack) -> Iterator[Contender]:
        import torch

        names = {"fft": self.function(torch.fft), "x": torch.from_numpy(self.x), "axes": self.axes}
        for number in THREADS:
            within = partial(torch_threads, number)
            yield Contender("torch", threads(number), "fft(x, dim=axes)", names, within=within, spins=number > 1)


SIGNALS = {
    "complex128": (256, 441, 1000, 1024, 4096, 8000, 16384, 44100, 65536, 100_000, 262_144, 1_000_000),
    "complex64": (1009, 4096, 48000, 96000, 2**20),
}
#: Shape and transformed axes.
GRIDS: dict[str, tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]] = {
    "complex128": (
        ((64, 64), (0, 1)), ((64, 256), (0, 1)), ((256, 64), (0,)), ((256, 256), (0, 1)), ((480, 640), (0, 1)),
        ((1024, 1024), (0, 1)), ((1080, 1920), (0, 1)), ((32, 32, 32), (0, 1, 2)), ((96, 96, 96), (0, 1, 2)),
        ((100, 100, 100), (1,)), ((20_000, 32), (1,)), ((1000, 1024), (1,)), ((100, 4096), (1,)),
    ),
    "complex64": (
        ((512, 512), (0, 1)), ((480, 640), (0, 1)), ((64, 64, 64), (0, 1, 2)), ((96, 96, 96), (0, 1, 2)),
        ((128, 128, 128), (0, 1, 2)), ((8, 3, 224, 224), (2, 3)), ((64, 28, 28), (1, 2)), ((5000, 100), (1,)),
        ((4096, 256), (0,)),
    ),
}  # fmt: skip
REALS: tuple[tuple[str, tuple[int, ...], tuple[int, ...], str], ...] = (
    ("float64", (1000,), (0,), "R2C"), ("float64", (44100,), (0,), "R2C"), ("float64", (2**20,), (0,), "R2C"),
    ("float32", (16384,), (0,), "R2C"), ("float64", (512, 512), (0, 1), "R2C"),
    ("float32", (1080, 1920), (0, 1), "R2C"),
    ("float64", (64, 64, 64), (0, 1, 2), "R2C"), ("float32", (8, 3, 224, 224), (2, 3), "R2C"),
    ("float64", (1000, 1024), (1,), "R2C"), ("complex128", (513,), (0,), "C2R"),
    ("complex128", (2**19 + 1,), (0,), "C2R"),
    ("complex128", (512, 257), (0, 1), "C2R"), ("complex64", (1000, 513), (1,), "C2R"),
)  # fmt: skip


def transforms() -> list[Callable[[], Work]]:
    found = [Transform((n,), dtype, (0,)) for dtype, lengths in SIGNALS.items() for n in lengths]
    found += [Transform(shape, dtype, axes) for dtype, grids in GRIDS.items() for shape, axes in grids]
    found += [Transform(shape, dtype, axes, kind) for dtype, shape, axes, kind in REALS]
    return [transform.work for transform in found]


# ---- products ----


@dataclass(frozen=True, eq=False)
class Product:
    """A product of two matrices or of two batches of them, the second one transposed on request."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    dtype: str
    transposed: bool = False

    @property
    def name(self) -> str:
        shapes = " @ ".join("x".join(map(str, shape)) for shape in (self.left, self.right))
        return f"{shapes}{'.T' if self.transposed else ''} {self.dtype}"

    @cached_property
    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = uniform(self.left, self.dtype, seed=1), uniform(self.right, self.dtype, seed=2)
        return a, b.swapaxes(-1, -2) if self.transposed else b

    def result(self) -> np.ndarray:
        a, b = self.operands
        return aligned((*a.shape[:-1], b.shape[-1]), self.dtype)

    def work(self) -> Work:
        a, b = self.operands
        wide = "complex128" if np.iscomplexobj(a) else "float64"
        makers: dict[str, Maker] = {PLANMATH: self.planmath, "NumPy": self.numpy, "torch": self.torch}
        return Work(self.name, makers, a.astype(wide) @ b.astype(wide), self.dtype)

    def planmath(self, stack: ExitStack) -> Iterator[Contender]:
        from planmath.linalg.advanced import Matmul

        yield from both(lambda: Matmul(*self.operands), stack)

    def numpy(self, stack: ExitStack) -> Iterator[Contender]:
        (a, b), d = self.operands, self.result()
        names = {"matmul": np.matmul, "a": a, "b": b, "d": d}
        yield Contender("NumPy", "matmul", "matmul(a, b)", names, spins=True)
        yield Contender("NumPy", "matmul(out=)", "matmul(a, b, out=d)", names, into=d, spins=True)

    def torch(self, stack: ExitStack) -> Iterator[Contender]:
        import torch

        a, b, d = map(torch.from_numpy, (*self.operands, self.result()))
        names = {"matmul": torch.matmul, "a": a, "b": b, "d": d}
        for number in THREADS:
            within, form, spins = partial(torch_threads, number), threads(number), number > 1
            yield Contender("torch", form, "matmul(a, b)", names, within=within, spins=spins)
            statement = "matmul(a, b, out=d)"
            yield Contender("torch", f"out=, {form}", statement, names, into=d, within=within, spins=spins)


#: Left and right shape, and whether the right operand is stored transposed, as a layer's weights are.
PRODUCTS: dict[str, tuple[tuple[tuple[int, ...], tuple[int, ...], bool], ...]] = {
    "float32": (
        ((1, 768), (768, 768), True), ((32, 784), (128, 784), True), ((64, 1024), (1024, 1024), True),
        ((197, 768), (3072, 768), True), ((512, 768), (768, 768), True), ((1, 4096), (4096, 4096), True),
        ((16, 4096), (4096, 4096), False), ((1024, 1024), (1024, 1024), False), ((96, 128, 64), (96, 64, 128), False),
        ((96, 128, 64), (96, 128, 64), True), ((1000, 16, 16), (1000, 16, 16), False),
    ),
    "float64": (
        ((8, 8), (8, 8), False), ((64, 64), (64, 64), False), ((100, 100), (100, 100), False),
        ((300, 300), (300, 300), False), ((1000, 1000), (1000, 1000), False), ((2048, 64), (64, 2048), False),
        ((64, 2048), (2048, 64), False), ((10_000, 10), (10, 10), False), ((10, 10_000), (10_000, 10), False),
        ((1000, 8, 8), (1000, 8, 8), False), ((10_000, 4, 4), (10_000, 4, 4), False),
        ((100, 64, 64), (100, 64, 64), False),
    ),
    "complex128": (((200, 200), (200, 200), False), ((1000, 8, 8), (1000, 8, 8), False)),
}  # fmt: skip


def products() -> list[Callable[[], Work]]:
    return [
        Product(left, right, dtype, transposed).work
        for dtype, shapes in PRODUCTS.items() for left, right, transposed in shapes
    ]  # fmt: skip


# ---- contractions ----


@dataclass(frozen=True, eq=False)
class Contraction:
    """A contraction of any number of operands, in float64; its extents are written like ``"ij16 a40"``."""

    expr: str
    sizes: str

    @cached_property
    def extents(self) -> dict[str, int]:
        groups = re.findall(r"([a-zA-Z]+)(\d+)", self.sizes)
        return {mode: int(size) for modes, size in groups for mode in modes if mode in self.expr}

    @cached_property
    def operands(self) -> tuple[np.ndarray, ...]:
        modes = self.expr.partition("->")[0].split(",")
        shapes = [tuple(self.extents[mode] for mode in each) for each in modes]
        return tuple(uniform(shape, "float64", seed=seed) for seed, shape in enumerate(shapes, start=1))

    def work(self) -> Work:
        expected = np.einsum(self.expr, *self.operands, optimize=True)
        makers: dict[str, Maker] = {
            PLANMATH: self.planmath, "NumPy": self.numpy, "opt_einsum": self.optimized, "torch": self.torch,
        }  # fmt: skip
        return Work(f"{self.expr} {self.sizes}", makers, expected, "float64")

    def planmath(self, stack: ExitStack) -> Iterator[Contender]:
        from planmath.tensor import Contraction

        yield from both(lambda: Contraction(self.expr, *self.operands), stack)

    def names(self, function: Any, operands: Sequence[Any]) -> tuple[dict[str, Any], str]:
        """The names of a call, and its arguments."""
        arrays = {f"a{number}": array for number, array in enumerate(operands)}
        return {"f": function, "expr": self.expr, **arrays}, ", ".join(["expr", *arrays])

    def numpy(self, stack: ExitStack) -> Iterator[Contender]:
        names, arguments = self.names(np.einsum, self.operands)
        yield Contender("NumPy", "einsum(optimize=True)", f"f({arguments}, optimize=True)", names, spins=True)
        yield Contender("NumPy", "einsum", f"f({arguments})", names)

    def optimized(self, stack: ExitStack) -> Iterator[Contender]:
        import opt_einsum

        names, arguments = self.names(opt_einsum.contract, self.operands)
        yield Contender("opt_einsum", "contract", f"f({arguments})", names, spins=True)

    def torch(self, stack: ExitStack) -> Iterator[Contender]:
        import torch

        names, arguments = self.names(torch.einsum, [torch.from_numpy(array) for array in self.operands])
        for number in THREADS:
            within = partial(torch_threads, number)
            yield Contender("torch", threads(number), f"f({arguments})", names, within=within, spins=number > 1)


#: i to n count occupied orbitals, a to f virtual ones, p to s all of them.
ORBITALS = "ijklmn16 abcdef40"
BASIS = "pqrs48 i16 Q150"
#: A bond of a matrix product state, its sites, and the bond of an operator.
CHAIN = "lrtu64 pq4 mn8"
CONTRACTIONS: tuple[tuple[str, str], ...] = (
    ("kbia,ckbj->aijc", "k24 b20 i30 a28 c26 j22"),
    ("bijm,bmkn->bikjn", "b6 i20 j18 m64 k24 n16"),
    ("ijef,abef->ijab", ORBITALS), ("imae,mbej->ijab", ORBITALS), ("mnab,mnij->ijab", ORBITALS),
    ("mnef,mnaf->ae", ORBITALS), ("ijab,ijab->", ORBITALS), ("ie,abej->ijab", ORBITALS),
    ("pqrs,pi->iqrs", BASIS), ("pqrs,rs->pq", BASIS), ("Qpq,Qrs->pqrs", BASIS), ("Qpq,pi->Qqi", BASIS),
    ("lpr,rqt->lpqt", CHAIN), ("lpr,mpqn,lqt->rmnt", CHAIN), ("lmt,lpr,mpqn,tqu->rnu", CHAIN),
    ("abc,cd,bde->ae", "a30 b40 c50 d60 e30"), ("ab,bc,cd,de->ae", "a200 b50 c300 d40 e250"),
    ("abcd,dbea->ec", "a36 b24 c30 d36 e30"), ("bhqd,bhkd->bhqk", "b8 h12 q64 k64 d64"),
)  # fmt: skip


def contractions() -> list[Callable[[], Work]]:
    return [Contraction(expr, extents).work for expr, extents in CONTRACTIONS]


# ---- the rows ----

SWEEPS: dict[str, tuple[Callable[[], Sequence[Callable[[], Work]]], Limits]] = {
    "sweep/fft": (transforms, {PLANNED: Limit(0.65, 1.15), AUTOTUNED: Limit(0.55, 1.05)}),
    "sweep/matmul": (products, {PLANNED: Limit(1.0, 1.05), AUTOTUNED: Limit(0.95, 1.05)}),
    "sweep/contraction": (contractions, {PLANNED: Limit(1.0, 1.05), AUTOTUNED: Limit(0.95, 1.05)}),
}


def rows(settings: Settings) -> dict[str, Row]:
    if settings.quick:
        return {}
    return {name: partial(sweep, name, works, limits) for name, (works, limits) in SWEEPS.items()}
