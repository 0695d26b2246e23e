"""Contractions as matrix products, by the libraries that have such."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import planmath.tensor.kernels as kernels
from planmath.bindings import blas, mkl
from planmath.core.arrays import ITEMSIZE
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.core.tuning.record import machine
from planmath.native.call import Slot
from planmath.native.forks import load_module
from planmath.native.threads import Threads, openmp_threads
from planmath.tensor.enums import ContractionAlgo
from planmath.tensor.problem import ADDEND, WORK_DTYPE, ZEROS, ContractionProblem, Tensor, best_order
from planmath.tensor.providers.program import Builder, Region, Sharing
from planmath.tensor.providers.strategy import (
    LINE,
    Roles,
    Strategy,
    copy_size,
    dense,
    extent_of,
    matrix_of,
    packing_of,
    parts_of,
    roles_of,
    strategies,
)

#: Products of small matrices, by kernels that are compiled with planmath (panels.h).
PANELS = blas.BLAS(
    "planmath's own", lambda: None, lambda routine: kernels.PANELS.get(routine, 0),
    lambda: load_module("planmath").__version__, lambda: None, lambda: 0, lambda: 1, 0, sets_locally=True,
)  # fmt: skip
#: The libraries whose products are used, mostly the fastest for larger products first, and the seconds for which its
#: threads spin after a call.
LIBRARIES = {
    "mkl": (blas.MKL, mkl.BLOCK_TIME), "nvpl": (blas.NVPL, 0.0), "blas": (blas.OPENBLAS, blas.OPENBLAS_SPIN),
    "own": (PANELS, 0.0),
}  # fmt: skip
#: The columns of planmath's own products have at least so many bytes, a vector of any instruction set; or else products
#: have at most so many multiplications, of which a library's call would take several times as long.
COLUMN, FEW = 64, 512
#: Seconds by which a product takes less where it is one of planmath's own, or one of a batch.
CALL_SAVED = 0.2e-6
#: Seconds for each thread that is started for a call, each of a library's that is woken up, and each that shares
#: elements, for which processors wait for memory.
STARTED, WOKEN, SHARING = 40e-6, 20e-6, 100e-6
#: Products of fewer multiplications take the least time by those, where they can be used. Otherwise OpenBLAS's shorter
#: way to its kernels makes it the fastest for a contraction of so few.
TINY_WORK = 40_000
#: What the threads of a library share, which it keeps.
POOLED = ("product", "batch")
#: Below this many, more than one thread was never measured to pay (2 CPUs): about 20 µs.
THREADED_WORK = 250_000
#: Products with fewer than this many are shared by threads only if there are too few of them to share them out.
LARGE_WORK = 100_000_000
#: Rows of a block of a product that take as long as bringing the other factor, which every block needs, into the order
#: in which kernels read it.
PACKED_ROWS = 20
#: Elements summed into one of a part's results, for each of which adding up the parts is little work.
SUM_OF_PARTS = 64
#: Below this many the Python lock is kept: about 5 µs.
SMALL_WORK = 200_000
#: Ways that cost this many times what the best costs are not offered.
HOPELESS = 8.0
#: Most choices of copies that are offered for each order of contractions, and where all factors are packed (gett).
MOST_WAYS, MOST_GETT_WAYS = 4, 2


class Step(NamedTuple):
    """A contraction of two tensors."""

    a: Tensor
    b: Tensor
    d: Tensor
    factors: tuple[int, int]
    """Which operands they are; -1 is what the step before made."""


class GemmProvider(Provider):
    """Products of MKL, NVPL BLAS and the BLAS of SciPy, on operands as they are or copied into a better order."""

    name = "gemm"

    def unavailable(self) -> str | None:
        reasons = [library.missing() for library, _ in LIBRARIES.values()]
        return None if None in reasons else "; ".join(filter(None, reasons))

    def version(self) -> str:
        return ", ".join(f"{name} {of.version()}" for name, (of, _) in LIBRARIES.items() if of.missing() is None)

    def path(self) -> str | None:
        """That of the library expected to be the fastest."""
        return LIBRARIES[usual_library()][0].path()

    def threads(self) -> Threads:
        """The least of what planmath's own threads and those of the libraries may be."""
        found = [of.threads() for of, _ in LIBRARIES.values() if of.missing() is None and of.threads_setter]
        return min([*found, openmp_threads()])

    def unsupported(self, problem: ContractionProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if len(problem.extents) > kernels.MOST_LOOPS:
            return f"it takes up to {kernels.MOST_LOOPS} modes, not {len(problem.extents)}"
        least = least_workspace(problem)
        if least > problem.memory_limit:
            return (
                f"it needs at least {least} bytes of temporary memory, and options.memory_limit allows "
                f"{problem.memory_limit}"
            )
        if not ways(problem):
            return f"it has no algorithm as plan_preference wants it: {dict(problem.preference)}"
        return None

    def algorithms(self, problem: ContractionProblem) -> Sequence[Algorithm]:
        return ways(problem)

    def lingers(self, algorithm: Algorithm) -> float:
        # threads that share loops are planmath's own, and end with the call
        return LIBRARIES[algorithm.get("product")][1] if algorithm.get("share") in POOLED else 0.0

    def prepare(self, problem: ContractionProblem, algorithm: Algorithm) -> Prepared:
        builder = build(problem, algorithm)
        program = Program(builder.calls, release_gil=builder.multiplications > SMALL_WORK)
        return Prepared({None: program}, builder.workspace_size)

    def without_product(self, adds: bool) -> Algorithm:
        """What is left where alpha is 0, with or without what is added.

        BLAS's rule is that factors are not read then, but OpenBLAS's kernels for small products on processors with
        AVX-512 multiply by that 0 what is infinite.
        """
        return Algorithm(self.name, (("only", ADDEND if adds else ZEROS),))


def order_of_steps(problem: ContractionProblem, first: tuple[int, int] | None) -> list[Step]:
    """The contractions of two tensors that make up one of two or three operands.

    Parameters
    ----------
    problem : ContractionProblem
    first : (int, int)
        Of three operands, the two that are contracted first.
    """
    operands = problem.operands
    if first is None:
        return [Step(operands[0], operands[1], problem.d, (0, 1))]
    (other,) = {0, 1, 2} - set(first)
    a, b = (operands[i] for i in first)
    wanted = {*operands[other].modes, *problem.d.modes}
    kept = [m for m in dict.fromkeys((*a.modes, *b.modes)) if m in wanted]
    steps = dense(best_order(kept, [a.steps, b.steps]), problem.extents)
    between = Tensor(WORK_DTYPE[a.dtype], tuple(steps), tuple(steps.values()))
    return [Step(a, b, between, first), Step(between, operands[other], problem.d, (-1, other))]


class Way(NamedTuple):
    """An algorithm, the seconds it is expected to take, and the bytes of temporary memory that it takes."""

    cost: float
    memory: int
    algorithm: Algorithm


@cache
def usual_library() -> str:
    """The one expected to be fastest here for larger products."""
    order = ["blas", *LIBRARIES] if blas.OPENBLAS_FIRST in machine() else [*LIBRARIES]
    return next(name for name in order if LIBRARIES[name][0].missing() is None)


@lru_cache(256)
def every_way(problem: ContractionProblem) -> tuple[Way, ...]:
    """All algorithms that there are for a problem, the one expected to be fastest first."""
    found = []
    for first in PAIRS[len(problem.operands)]:
        steps = order_of_steps(problem, first)
        works = [extent_of(tuple({*step.a.modes, *step.b.modes}), problem.extents) for step in steps]
        choices = [_strategies(step, problem) for step in steps]
        if len(steps) > 1 and all(choices):  # of two steps, the fastest way of each and the one with the least copies
            choices = [
                [of[0], min(of, key=lambda strategy, step=step: _memory(problem, [(step, strategy)], 1, 1))]  # type: ignore[misc]
                for step, of in zip(steps, choices, strict=True)
            ]
        for picked in dict.fromkeys(itertools.product(*choices)):
            for factor, saved, sharing in _sharings(problem, picked, works):
                parts = parts_of(picked[0], problem.extents, problem.threads) if sharing.get("share") == "sums" else 1
                memory = _memory(problem, list(zip(steps, picked, strict=True)), parts, int(sharing["threads"]))
                cost = factor * (sum(strategy.cost for strategy in picked) - saved)
                each = SHARING if "product" not in sharing else WOKEN if sharing.get("share") in POOLED else STARTED
                cost += (int(sharing["threads"]) - 1) * each
                found.append(Way(cost, memory, Algorithm(GemmProvider.name, _knobs(first, picked, sharing))))
    return tuple(sorted(found, key=lambda way: way.cost))


@lru_cache(256)
def ways(problem: ContractionProblem) -> tuple[Algorithm, ...]:
    """The algorithms to choose from: those that fit into memory, without the ones that are far behind."""
    fitting = [way for way in every_way(problem) if way.memory <= problem.memory_limit]
    kept: list[Algorithm] = []
    choices: dict[bool, set[tuple[Any, ...]]] = {True: set(), False: set()}
    for cost, _, algorithm in fitting:
        choice = tuple(algorithm.get(knob) for knob in ("first", "by", "copies"))
        gett = set(choice[1].split("/")) == {"gett"}
        different = choices[gett]
        most = (MOST_GETT_WAYS if gett else MOST_WAYS) * len(PAIRS[len(problem.operands)])
        if cost <= HOPELESS * fitting[0].cost and (choice in different or len(different) < most):
            different.add(choice)
            kept.append(algorithm)
    return tuple(kept)[dict(problem.preference).get("kernel_rank", 0) :]


def least_workspace(problem: ContractionProblem) -> int:
    """Bytes of temporary memory without which there is no algorithm."""
    return min((way.memory for way in every_way(problem)), default=0)


#: Of so many operands, which two can be contracted first.
PAIRS: dict[int, list[tuple[int, int] | None]] = {2: [None], 3: [(0, 1), (0, 2), (1, 2)]}


def _knobs(first: tuple[int, int] | None, picked: Sequence[Strategy], sharing: dict[str, str | int]) -> Knobs:
    order = (("first", "abc"[first[0]] + "abc"[first[1]]),) if first else ()
    kinds = "/".join(strategy.kind for strategy in picked)
    copies = "/".join(strategy.copies or "none" for strategy in picked)
    return (*order, ("by", kinds), ("copies", copies), *sharing.items())


Knobs = tuple[tuple[str, str | int], ...]


def _picked(problem: ContractionProblem, algorithm: Algorithm) -> list[tuple[Step, Strategy]]:
    """The steps of an algorithm, and the strategy of each."""
    first = algorithm.get("first")
    steps = order_of_steps(problem, ("abc".index(first[0]), "abc".index(first[1])) if first else None)
    kinds, copies = algorithm.get("by").split("/"), algorithm.get("copies").split("/")
    return [
        (step, next(
            strategy for strategy in _strategies(step, problem)
            if strategy.kind == kind and (strategy.copies or "none") == names
        ))
        for step, kind, names in zip(steps, kinds, copies, strict=True)
    ]  # fmt: skip


def _sharings(
    problem: ContractionProblem, picked: Sequence[Strategy], works: Sequence[int]
) -> Iterator[tuple[float, float, dict[str, str | int]]]:
    """How the products can be made: by which library, on how many threads, and who divides the work.

    Each comes with the factor by which it should change the time on one core, and the seconds that it saves of that
    before. `works` are the multiplications of the steps.
    """
    many = problem.threads > 1 and max(works) >= THREADED_WORK
    if all(strategy.call is None for strategy in picked):
        for threads in (problem.threads, 1) if many else (1,):
            yield 1 / threads, 0.0, {"threads": threads}
        return
    loops = [math.prod(extent_of(group, problem.extents) for group in s.result_loops) for s in picked]
    counts = [
        count * math.prod(extent_of(group, problem.extents) for group in s.summed_loops)
        for count, s in zip(loops, picked, strict=True)
    ]
    alone = max(work / count for work, count in zip(works, counts, strict=True))  # multiplications of one product
    panels = all(_panels(problem, strategy) for strategy in picked)
    usual = "blas" if sum(works) < TINY_WORK else usual_library()
    preferred = "own" if panels and alone < TINY_WORK else usual
    for name, (library, _) in LIBRARIES.items():
        if library.missing() is not None or (library is PANELS and not panels):
            continue
        factor = 1.0 if name == preferred else 1.2
        batched = CALL_SAVED * sum(count for count, s in zip(counts, picked, strict=True) if s.call)
        saved = batched if library is PANELS else 0.0
        yield factor, saved, {"product": name, "threads": 1}
        if not many:
            continue
        if alone >= (LARGE_WORK if min(loops) >= 4 * problem.threads else THREADED_WORK):
            if library.threads_setter:
                shared: dict[str, str | int] = {"product": name, "threads": problem.threads, "share": "product"}
                yield factor / problem.threads, saved, shared
            sides = [max(extent_of(s.m, problem.extents), extent_of(s.n, problem.extents)) for s in picked if s.call]
            if (sharing := min(problem.threads, *sides)) > 1:
                packing = 1 + PACKED_ROWS * sharing / min(sides)
                yield factor / sharing * packing * 0.98, saved, {"product": name, "threads": sharing, "share": "blocks"}
        if max(loops) > 1:
            sharing = min(problem.threads, max(loops))
            yield factor / sharing * 1.02, saved, {"product": name, "threads": sharing, "share": "loops"}
        if len(picked) == 1 and _sums(problem, picked[0], works[0]):
            yield factor / problem.threads * 1.03, saved, {"product": name, "threads": problem.threads, "share": "sums"}
        if len(picked) == 1 and _batched(problem, picked[0], library):
            shared = {"product": name, "threads": problem.threads, "share": "batch"}
            yield factor / problem.threads * 1.04, batched, shared


def _panels(problem: ContractionProblem, strategy: Strategy) -> bool:
    """Whether planmath's own products can be used: one factor stays in the cache, the first if it is transposed."""
    if strategy.call is None:
        return True
    work = WORK_DTYPE[problem.d.dtype]
    m, n, k = (extent_of(modes, problem.extents) * ITEMSIZE[work] for modes in (strategy.m, strategy.n, strategy.k))
    rows, columns = (n, m) if strategy.call.by_rows else (m, n)
    small = rows if strategy.call.letters[0] != ord("N") else min(rows, columns)
    few = rows * columns * k <= FEW * ITEMSIZE[work] ** 3
    fits = small * k <= kernels.TURNED * ITEMSIZE[work] and (rows >= COLUMN or few)
    return fits and PANELS.find(f"{blas.LETTER[work]}gemm") != 0


def _sums(problem: ContractionProblem, strategy: Strategy, work: int) -> bool:
    """Whether threads can share a long sum, each with a result of its own: where there are no products to share out and
    results are small."""
    if strategy.call is None or strategy.result_loops or "d" not in strategy.copies:
        return False
    parts = parts_of(strategy, problem.extents, problem.threads)
    small = work >= SUM_OF_PARTS * parts * extent_of(problem.d.modes, problem.extents)
    return parts > 1 and small and problem.d.dtype == WORK_DTYPE[problem.d.dtype]


def _batched(problem: ContractionProblem, strategy: Strategy, library: blas.BLAS) -> bool:
    """Whether the library can make all products in one call: along one loop, without overlap."""
    routine = f"{blas.LETTER[WORK_DTYPE[problem.d.dtype]]}gemm_batch_strided"
    if strategy.call is None or strategy.summed_loops or len(strategy.result_loops) != 1 or not library.find(routine):
        return False
    (loop,) = strategy.result_loops
    a, b = problem.operands
    for name, tensor in (("a", a), ("b", b), ("d", problem.d)):
        if name in strategy.copies:
            continue
        steps = tensor.steps
        span = 1 + sum((problem.extents[m] - 1) * abs(steps[m]) for group in matrix_of(name, strategy) for m in group)
        # steps have 32 bits, and matrices may neither overlap nor interleave, though one may serve all
        step = steps.get(loop[-1], 0)
        if step != 0 and not span <= step < 2**31:
            return False
    return True


def _memory(problem: ContractionProblem, picked: Sequence[tuple[Step, Strategy]], parts: int, threads: int) -> int:
    """Bytes of the copies that the steps make, those of the result in parts, of what the first of two leaves, and of
    what threads pack."""
    times = {"a": 1, "b": 1, "d": parts}
    elements = [
        times[name] * copy_size(name, getattr(step, name), roles_of(step.a, step.b, step.d), problem.extents)
        for step, strategy in picked
        for name in strategy.copies
    ]
    elements += [extent_of(step.d.modes, problem.extents) for step, _ in picked[:-1]]
    work = WORK_DTYPE[problem.d.dtype]
    packed = [packing_of(strategy, problem.extents, work, threads) for _, strategy in picked if strategy.gett]
    copied = sum(-(-count * ITEMSIZE[work] // LINE) * LINE for count in elements)
    return copied + sum(threads * of.each + of.together for of in packed)


def build(problem: ContractionProblem, algorithm: Algorithm) -> Builder:
    """The calls of an algorithm."""
    work, names = WORK_DTYPE[problem.d.dtype], problem.names()
    places = {name: Slot(i) for i, name in enumerate(names)}
    addend = names[len(problem.operands)] if problem.c is not None else None
    result = places[addend] if problem.inplace and addend else Slot(len(names))
    workspace = len(names) + (not problem.inplace)
    builder = Builder(problem.extents, work, workspace, problem.threads)
    operands = [Region(tensor, places[names[i]]) for i, tensor in enumerate(problem.operands)]
    d = Region(problem.d, result)
    c = Region(problem.c, places[addend]) if problem.c is not None and addend else None
    if only := algorithm.get("only"):
        builder.scale(c if only == ADDEND else None, d, places["beta"])
        return builder
    sharing = Sharing(
        LIBRARIES[algorithm.get("product", "blas")][0],
        algorithm.get("threads", 1),
        algorithm.get("share", "loops"),
    )
    between: Region | None = None
    steps = _picked(problem, algorithm)
    for position, (step, strategy) in enumerate(steps):
        a, b = (between if i < 0 else operands[i] for i in step.factors)
        assert a is not None
        assert b is not None
        last = position == len(steps) - 1
        if not last:
            between = builder.temporary(step.d.modes)
        alpha, beta = (places["alpha"], places["beta"]) if last else (builder.one, builder.zero)
        builder.contract(a, b, d if last else between, c if last else None, strategy, sharing, alpha, beta)  # type: ignore[arg-type]
    return builder


#: What `ContractionPlanPreference.algo` leaves of the strategies: whether one counts, given the roles of the modes.
KINDS: dict[int, Callable[[Strategy, Roles], bool]] = {
    ContractionAlgo.GETT: lambda strategy, roles: not strategy.copies,
    ContractionAlgo.TGETT: lambda strategy, roles: "d" not in strategy.copies,
    ContractionAlgo.TTGT: lambda strategy, roles: (
        strategy.call is not None
        and not strategy.summed_loops
        and all(set(loop) <= set(roles.batch) for loop in strategy.result_loops)
    ),
}


@lru_cache(512)
def _found(a: Tensor, b: Tensor, d: Tensor, extents: tuple[int, ...], work: str, algo: int | None) -> list[Strategy]:
    found = strategies(a, b, d, extents, work)
    if algo is not None:
        roles = roles_of(a, b, d)
        found = [strategy for strategy in found if KINDS[algo](strategy, roles)]
    return found


def _strategies(step: Step, problem: ContractionProblem) -> list[Strategy]:
    algo = dict(problem.preference).get("algo")
    return _found(step.a, step.b, step.d, problem.extents, WORK_DTYPE[problem.d.dtype], algo)
