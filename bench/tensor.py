"""The rows about tensor contractions, in float64.

The contractions of coupled cluster with single and double excitations (CCSD) are those of the doubles residual and of
the intermediates that it is made of, in spin orbitals: equations (2) to (8) of J. F. Stanton, J. Gauss, J. D. Watts and
R. J. Bartlett, "A direct product decomposition approach for symmetry exploitation in many-body methods. I. Energy
calculations", The Journal of Chemical Physics 94, 4334 (1991). Terms that differ by a permutation or by a factor alone
are there once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from bench.comparison import CORES, THREADS, Maker, Row, Settings, compare, threads
from bench.contender import PLANMATH, Contender
from bench.native import torch_threads
from bench.operands import aligned, uniform
from bench.verdict import Outcome, Target, Verdict, at_most, at_most_of_the_best, faster, within

DTYPE = "float64"

SMALL = ("ijk,jkl->il", (8, 8, 8), (8, 8, 8))
#: Expression and shapes, the extents of the matrix product with as many FLOPs, and what is to be reached: how many
#: times as fast as the best of the others, and how much more than the product's time it may take.
LARGE: dict[str, tuple[tuple[str, tuple[int, ...], tuple[int, ...]], tuple[int, int, int], float, float | None]] = {
    "mhkn,ukh": (("mhkn,ukh->mnu", (96, 64, 64, 96), (96, 64, 64)), (96 * 96, 64 * 64, 96), 1.6, 1.2),
    "abcd,dbea": (("abcd,dbea->ec", (48, 36, 24, 36), (36, 36, 48, 48)), (24, 48 * 36 * 36, 48), 1.2, None),
    "aebf,dfce": (("aebf,dfce->abcd", (48, 32, 48, 32), (48, 32, 24, 32)), (48 * 48, 32 * 32, 48 * 24), 1.0, 1.15),
}  # fmt: skip

#: i, j, m, n count occupied orbitals, and a, b, e, f virtual ones.
CCSD = (
    # the doubles residual, (2)
    "ijae,be->ijab", "imab,mj->ijab", "mnab,mnij->ijab", "ijef,abef->ijab", "imae,mbej->ijab", "ie,mbej->imbj",
    "ma,imbj->ijab", "ie,abej->ijab", "ma,mbij->ijab",
    # F of two virtual, of two occupied and of one of each: (3) to (5)
    "mf,mafe->ae", "mnaf,mnef->ae", "ne,mnie->mi", "inef,mnef->mi", "nf,mnef->me",
    # W of four occupied, of four virtual, and of two of each: (6) to (8)
    "je,mnie->mnij", "ijef,mnef->mnij", "mb,amef->abef", "mnab,mnef->abef", "jf,mbef->mbej", "nb,mnej->mbej",
    "jnfb,mnef->mbej",
)  # fmt: skip
OCCUPIED, VIRTUAL = 20, 60
CCSD_SPEED = 1.15


#: NumPy's contraction, as it stands, which is the faster one for small operands, and with its products.
OPTIMIZED = "einsum(optimize=True)"
EINSUM = {"einsum": "einsum(e{i}, a{i}, b{i})", OPTIMIZED: "einsum(e{i}, a{i}, b{i}, optimize=True)"}

#: Contractions of single use that NumPy spells in other ways too, and how many times the best of these they may take.
SPELLED: dict[str, tuple[str, tuple[tuple[int, ...], ...], str]] = {
    "8x8": ("ij,jk->ik", ((8, 8), (8, 8)), "x0 @ x1"),
    "row-sums": ("ij->i", ((1000, 1000),), "x0.sum(1)"),
    "column-sums": ("ij->j", ((1000, 1000),), "x0.sum(0)"),
    "elements": ("ij,ij->ij", ((1000, 1000), (1000, 1000)), "x0 * x1"),
    "bilinear": ("i,ij,j->", ((500,), (500, 500), (500,)), "x0 @ x1 @ x2"),
    "batch": ("bij,bjk->bik", ((10_000, 4, 4), (10_000, 4, 4)), "x0 @ x1"),
}
SPELLED_TIME, SMALL_TIME = 1.3, 4e-6
#: Elements of operands up to which NumPy takes part without its products; for larger ones that takes seconds.
LARGEST_PLAIN = 1 << 12


@dataclass(frozen=True, eq=False)
class Work:
    """A contraction of two operands, the same for NumPy and for torch."""

    expr: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]

    @cached_property
    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        return uniform(self.shapes[0], DTYPE, seed=1), uniform(self.shapes[1], DTYPE, seed=2)

    @cached_property
    def tensors(self) -> tuple[Any, Any]:
        import torch

        a, b = map(torch.from_numpy, self.operands)
        return a, b

    @cached_property
    def expected(self) -> np.ndarray:
        return np.einsum(self.expr, *self.operands, optimize=True)


# ---- targets ----


def faster_than_the_best(factor: float, ours: str) -> Target:
    """`ours` is to be at least `factor` times as fast as the best contraction of another library."""

    def judge(figures: Mapping[str, float], contenders: Mapping[str, Contender]) -> Verdict | None:
        others = [x for x in figures if not contenders[x].ours and not x.startswith("product")]
        return faster(factor, ours, min(others, key=figures.__getitem__))(figures, contenders) if others else None

    return judge


def at_most_the_product(factor: float, ours: str) -> Target:
    """`ours` is to take at most `factor` times what a matrix product of as many FLOPs takes."""

    def judge(figures: Mapping[str, float], contenders: Mapping[str, Contender]) -> Verdict | None:
        products = [x for x in figures if x.startswith("product")]
        return at_most(factor, ours, min(products, key=figures.__getitem__))(figures, contenders) if products else None

    return judge


# ---- what a call costs ----


def small_execute(name: str, settings: Settings) -> Outcome:
    work = Work(SMALL[0], SMALL[1:])
    makers: dict[str, Maker] = {PLANMATH: partial(planmath, [work], tune=False), **peers([work])}
    targets = [faster_than_the_best(8, "planmath execute()")]
    return compare(name, makers, work.expected, DTYPE, targets, settings, everyone=True)


def small_stateless(name: str, settings: Settings) -> Outcome:
    work = Work(SMALL[0], SMALL[1:])
    makers: dict[str, Maker] = {PLANMATH: partial(planmath_stateless, work), **peers([work])}
    targets = [at_most(1.5, "planmath binary_contraction()", f"NumPy {form}") for form in EINSUM]
    return compare(name, makers, work.expected, DTYPE, targets, settings, everyone=True)


def planmath_stateless(work: Work, stack: ExitStack) -> Iterator[Contender]:
    from planmath.tensor import binary_contraction

    a, b = work.operands
    names = {"contract": binary_contraction, "expr": work.expr, "a": a, "b": b}
    yield Contender(PLANMATH, "binary_contraction()", "contract(expr, a, b)", names)


def spelled(name: str, key: str, settings: Settings) -> Outcome:
    """A stateless contraction, with the ways in which NumPy says the same."""
    from planmath.tensor import contract

    expr, shapes, spelling = SPELLED[key]
    operands = {f"x{i}": uniform(shape, DTYPE, seed=i) for i, shape in enumerate(shapes)}
    arguments = ", ".join(operands)

    def ours(stack: ExitStack) -> Iterator[Contender]:
        names = {"f": contract, "e": expr, **operands}
        yield Contender(PLANMATH, "contract()", f"f(e, {arguments})", names, spins=True)

    def theirs(stack: ExitStack) -> Iterator[Contender]:
        names = {"f": np.einsum, "e": expr, **operands}
        yield Contender("NumPy", "einsum", f"f(e, {arguments})", names)
        yield Contender("NumPy", OPTIMIZED, f"f(e, {arguments}, optimize=True)", names, spins=True)
        yield Contender("NumPy", spelling, spelling, operands, spins=True)

    expected = np.asarray(np.einsum(expr, *operands.values(), optimize=True))
    target = within(SMALL_TIME, "planmath contract()") if key == "8x8" else at_most_of_the_best(SPELLED_TIME)
    return compare(name, {PLANMATH: ours, "NumPy": theirs}, expected, DTYPE, [target], settings, everyone=True)


# ---- larger ones ----


def large(name: str, key: str, settings: Settings) -> Outcome:
    (expr, *shapes), extents, speed, over = LARGE[key]
    work = Work(expr, (shapes[0], shapes[1]))
    makers: dict[str, Maker] = {
        PLANMATH: partial(planmath, [work], tune=True), **peers([work]), "product": partial(product, extents, work),
    }  # fmt: skip
    targets = [faster_than_the_best(speed, "planmath execute()")]
    if over is not None:
        targets.append(at_most_the_product(over, "planmath execute(out=)"))  # which has memory for its result as well
    return compare(name, makers, work.expected, DTYPE, targets, settings, everyone=True)


def ccsd(name: str, settings: Settings) -> Outcome:
    extents = {**dict.fromkeys("ijmn", OCCUPIED), **dict.fromkeys("abef", VIRTUAL)}
    works = []
    for expr in CCSD:
        a, b = expr.partition("->")[0].split(",")
        works.append(Work(expr, (tuple(extents[x] for x in a), tuple(extents[x] for x in b))))
    makers: dict[str, Maker] = {PLANMATH: partial(planmath, works, tune=True), **peers(works)}
    targets = [faster_than_the_best(CCSD_SPEED, "planmath execute()")]
    return compare(name, makers, works[-1].expected, DTYPE, targets, settings, everyone=True)


# ---- contenders: of several contractions, made one after the other, the last one's result is compared ----


def in_turn(name: str, works: Sequence[Work], calls: Mapping[str, Any], statement: str) -> str:
    """Source text that makes every contraction; each one's result is compared with the expected one first."""
    for i, work in enumerate(works[:-1]):
        value = eval(statement.format(i=i), dict(calls))
        if not np.allclose(np.asarray(value), work.expected, rtol=1e-10, atol=1e-10 * np.abs(work.expected).max()):
            raise ArithmeticError(f"{name} has a wrong result for {work.expr}")
    return "; ".join(statement.format(i=i) for i in range(len(works)))


def planmath(works: Sequence[Work], stack: ExitStack, *, tune: bool) -> Iterator[Contender]:
    from planmath.tensor import BinaryContraction

    calls, plans = {}, []
    for i, work in enumerate(works):
        operation = stack.enter_context(BinaryContraction(work.expr, *work.operands))
        operation.plan()
        if tune:
            operation.autotune(iterations=4)
        calls[f"execute{i}"] = operation.execute
        plans.append(repr(operation))
    statement = in_turn(PLANMATH, works, calls, "execute{i}()")
    yield Contender(PLANMATH, "execute()", statement, calls, spins=tune, plan="; ".join(plans))
    if len(works) == 1:
        d = operation.empty_result()
        statement = "execute0(out=d)"
        yield Contender(PLANMATH, "execute(out=)", statement, {**calls, "d": d}, into=d, spins=tune, plan=plans[0])


def peers(works: Sequence[Work]) -> dict[str, Maker]:
    return {
        "NumPy": partial(numpy, works), "torch": partial(torch, works), "opt_einsum": partial(optimized, works),
    }  # fmt: skip


def numpy(works: Sequence[Work], stack: ExitStack) -> Iterator[Contender]:
    calls: dict[str, Any] = {"einsum": np.einsum}
    for i, work in enumerate(works):
        calls |= {f"e{i}": work.expr, f"a{i}": work.operands[0], f"b{i}": work.operands[1]}
    small = max(np.prod(shape) for work in works for shape in work.shapes) <= LARGEST_PLAIN
    for form, statement in EINSUM.items() if small else [(OPTIMIZED, EINSUM[OPTIMIZED])]:
        yield Contender("NumPy", form, in_turn("NumPy", works, calls, statement), calls, spins=True)


def torch(works: Sequence[Work], stack: ExitStack) -> Iterator[Contender]:
    import torch as library

    calls: dict[str, Any] = {"einsum": library.einsum}
    for i, work in enumerate(works):
        calls |= {f"e{i}": work.expr, f"a{i}": work.tensors[0], f"b{i}": work.tensors[1]}
    statement = in_turn("torch", works, calls, "einsum(e{i}, a{i}, b{i})")
    for number in THREADS:
        within = partial(torch_threads, number)
        yield Contender("torch", f"einsum, {threads(number)}", statement, calls, within=within, spins=number > 1)


def optimized(works: Sequence[Work], stack: ExitStack) -> Iterator[Contender]:
    import opt_einsum

    calls: dict[str, Any] = {"contract": opt_einsum.contract}
    for i, work in enumerate(works):
        calls |= {f"e{i}": work.expr, f"a{i}": work.operands[0], f"b{i}": work.operands[1]}
    statement = in_turn("opt_einsum", works, calls, "contract(e{i}, a{i}, b{i})")
    yield Contender("opt_einsum", "contract", statement, calls, spins=True)


def product(extents: tuple[int, int, int], work: Work, stack: ExitStack) -> Iterator[Contender]:
    """A yardstick, no contraction: a matrix product of as many FLOPs. What it is compared with is what is expected."""
    import torch as library

    m, k, n = extents
    x, y, z = uniform((m, k), DTYPE, seed=3), uniform((k, n), DTYPE, seed=4), aligned((m, n), DTYPE)
    names = {"mm": np.matmul, "x": x, "y": y, "z": z, "r": work.expected}
    yield Contender("product", f"of the same FLOPs, NumPy, {threads(CORES)}", "mm(x, y, out=z); r", names, spins=True)
    tensors = {name: library.from_numpy(array) for name, array in (("x", x), ("y", y), ("z", z))}
    names = {"mm": library.mm, **tensors, "r": work.expected}
    yield Contender("product", f"of the same FLOPs, torch, {threads(CORES)}", "mm(x, y, out=z); r", names, spins=True)


# ---- the rows ----


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {
        "tensor/8/execute": partial(small_execute, "tensor/8/execute"),
        "tensor/8/stateless": partial(small_stateless, "tensor/8/stateless"),
    }
    for key in SPELLED:
        rows[f"tensor/stateless/{key}"] = partial(spelled, f"tensor/stateless/{key}", key)
    for key in LARGE:
        rows[f"tensor/{key}"] = partial(large, f"tensor/{key}", key)
    if not settings.quick:
        rows["tensor/ccsd"] = partial(ccsd, "tensor/ccsd")
    return rows
