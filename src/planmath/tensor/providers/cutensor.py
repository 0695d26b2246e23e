"""Contractions by cuTENSOR, on CUDA devices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from planmath.bindings import cutensor
from planmath.core.arrays import ITEMSIZE
from planmath.core.cuda import devices
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.call import Slot
from planmath.tensor.enums import ContractionAlgo, ContractionAutotuneMode, Operator
from planmath.tensor.problem import ADDEND, WORK_DTYPE, ZEROS, ContractionProblem, Tensor, best_order, by_step
from planmath.tensor.providers.cutensor_stages import (
    CONTRACTION,
    TRINARY,
    Assembly,
    Operand,
    Preference,
    Stage,
    handle_of,
)

#: The library's algorithms, the one expected to be fastest first, and how many kernels of each autotuning tries.
KERNELS = {
    ContractionAlgo.DEFAULT: 1, ContractionAlgo.DEFAULT_PATIENT: 1, ContractionAlgo.GETT: 4, ContractionAlgo.TGETT: 2,
    ContractionAlgo.TTGT: 2,
}  # fmt: skip
#: What `cutensorCreateContraction` applies to its factors itself; complex tensors have no other operators at all.
DIRECT = (Operator.OP_IDENTITY, Operator.OP_CONJ)
#: The preferences that are passed on as they are.
ATTRIBUTES = ("autotune_mode", "cache_mode", "incremental_count", "kernel_rank", "gpu_arch")
#: All three operands at once, by the library's own contraction of three.
TOGETHER = "abc"


class CuTensorProvider(Provider):
    """Contractions of two and of three tensors, with copies of what cuTENSOR does not take as it is."""

    name = "cutensor"

    def unavailable(self) -> str | None:
        return cutensor.LIBRARY.missing or devices.missing()

    def version(self) -> str:
        return cutensor._api.loaded_version

    def path(self) -> str | None:
        return cutensor.LIBRARY.path

    def unsupported(self, problem: ContractionProblem) -> str | None:
        if problem.execution[0] != "cuda":
            return "it computes on CUDA devices only"
        tensors = [*problem.operands, *([] if problem.c is None else [problem.c]), problem.d]
        for tensor in tensors:
            if tensor.dtype.startswith("complex") and tensor.operator not in DIRECT:
                return f"cuTENSOR has no {Operator(tensor.operator).name} of {tensor.dtype}"
        dtypes = {tensor.dtype for tensor in tensors}
        if "bfloat16" in dtypes and len(dtypes) > 1:
            return "cuTENSOR does not convert bfloat16"
        least = self.least_workspace(problem)
        if least > problem.memory_limit:
            return (
                f"it needs at least {least} bytes of temporary memory, and options.memory_limit allows "
                f"{problem.memory_limit}"
            )
        return None

    def algorithms(self, problem: ContractionProblem) -> Sequence[Algorithm]:
        possible = [way for way in ways(problem) if assemble(problem, way).size <= problem.memory_limit]
        kernels = list(kernels_of(dict(problem.preference)))
        # every way with the first kernel, and every kernel with the first way
        choices = [(way, *kernels[0]) for way in possible] + [(possible[0], *kernel) for kernel in kernels[1:]]
        found = []
        for way, algo, rank in choices:
            knobs = {
                "first": way.first,
                "sums": "before" if way.sums_before else None,
                "algo": algo.name,
                "kernel": rank,
            }
            found.append(Algorithm(self.name, tuple((name, value) for name, value in knobs.items() if value)))
        return found

    def prepare(self, problem: ContractionProblem, algorithm: Algorithm) -> Prepared:
        if dict(problem.preference).get("autotune_mode") == ContractionAutotuneMode.INCREMENTAL:
            return _prepare(problem, algorithm)  # each plan tries another kernel
        return _prepared(problem, algorithm)

    def without_product(self, adds: bool) -> Algorithm:
        """What is left where alpha is 0, with or without what is added.

        A contraction would multiply by that 0 what is infinite: cuTENSOR documents no rule like BLAS's for it.
        """
        return Algorithm(self.name, (("only", ADDEND if adds else ZEROS),))

    def least_workspace(self, problem: ContractionProblem) -> int:
        """Bytes of temporary memory without which it cannot contract."""
        return min(assemble(problem, way).size for way in ways(problem))


def kernels_of(wanted: dict[str, int]) -> Iterator[tuple[ContractionAlgo, int]]:
    """The library's algorithms, each with the ranks of its kernels, as far as the preferences leave a choice."""
    algos = [ContractionAlgo(wanted["algo"])] if "algo" in wanted else list(KERNELS)
    for algo in algos:
        for rank in [wanted["kernel_rank"]] if "kernel_rank" in wanted else range(KERNELS[algo]):
            yield algo, rank


def _prepare(problem: ContractionProblem, algorithm: Algorithm) -> Prepared:
    device_id = problem.execution[1]
    wanted = dict(problem.preference)
    wanted["kernel_rank"] = algorithm.get("kernel", 0)
    preference = Preference(
        ContractionAlgo[algorithm.get("algo", ContractionAlgo.DEFAULT.name)],
        wanted.get("jit", 0),
        tuple(
            (cutensor.PlanPreferenceAttribute[name.upper()], wanted[name]) for name in ATTRIBUTES if wanted.get(name)
        ),
    )  # fmt: skip
    if algorithm.get("only") is None:
        assembly = assemble(problem, Way(algorithm.get("first"), algorithm.get("sums") == "before"))
    else:
        assembly = assemble_addend(problem) if algorithm.get("only") == ADDEND else assemble_zeros(problem)
    calls, size = assembly.calls(handle_of(device_id, problem.handle), device_id, problem.memory_limit, preference)
    return Prepared({None: Program(calls)}, size)


#: Plans are shared by the operations that want the same.
_prepared = lru_cache(64)(_prepare)


class Way(NamedTuple):
    """How a contraction becomes operations of cuTENSOR."""

    first: str | None = None
    """Which of three operands are contracted first: a pair, or all `TOGETHER` by the library; None for two operands."""
    sums_before: bool = False
    """Whether modes of one operand alone are summed before; otherwise the contraction does it."""


def ways(problem: ContractionProblem) -> list[Way]:
    """The ways that keep to the accuracy of the dtype, the one expected to be fastest first.

    Sums of float16, and intermediate results, are kept in float32; the library itself keeps them in float16, which may
    overflow. It does not convert bfloat16, whose intermediate results stay as they are.
    """
    dtype = problem.d.dtype
    orders: list[str | None] = [None]
    if len(problem.operands) == 3:
        orders = [*sorted(("ab", "ac", "bc"), key=lambda pair: work_of(problem, pair))]
        orders += [TOGETHER] if dtype != "float16" else []
    every = [set(tensor.modes) for tensor in (*problem.operands, problem.d)]
    alone = any(sum(mode in modes for modes in every) == 1 for modes in every[:-1] for mode in modes)
    sums = {"float16": [True], "bfloat16": [False]}.get(dtype, [False, True]) if alone else [False]
    return [Way(order, before) for before in sums for order in orders]


def work_of(problem: ContractionProblem, pair: str) -> int:
    """Multiplications of three operands if these two are contracted first."""
    modes = {name: set(tensor.modes) for name, tensor in zip("abc", problem.operands, strict=True)}
    a, b = (modes.pop(name) for name in pair)
    (other,) = modes.values()
    between = (a | b) & (other | set(problem.d.modes))
    return sum(math.prod(problem.extents[mode] for mode in modes) for modes in (a | b, between | other))


def begin(problem: ContractionProblem) -> tuple[Assembly, Operand, Operand | None, list[Operand]]:
    """No stages yet; the result, what is added, and the factors."""
    count, names = len(problem.operands), problem.names()
    arrays = len(names) + (not problem.inplace)
    backwards = reversed_modes(problem)

    def operand(tensor: Tensor, index: int) -> Operand:
        """The tensor with the modes that all tensors run through backwards seen from their other end."""
        turned = [mode for mode in tensor.modes if mode in backwards]
        start = sum((problem.extents[mode] - 1) * tensor.steps[mode] for mode in turned) * ITEMSIZE[tensor.dtype]
        steps = {mode: -step if mode in turned else step for mode, step in tensor.steps.items()}
        return Operand(tensor.dtype, steps, Slot(index, start), tensor.operator)

    return (
        Assembly(problem.extents, arrays, arrays + 1),
        operand(problem.d, count if problem.inplace else len(names)),
        None if problem.c is None else operand(problem.c, count),
        [operand(tensor, i) for i, tensor in enumerate(problem.operands)],
    )


def assemble_zeros(problem: ContractionProblem) -> Assembly:
    """The stages where nothing is left: the number 0 for each element."""
    assembly, result, _, _ = begin(problem)
    assembly.copy(assembly.number(0, result.dtype), result)
    return assembly


def assemble_addend(problem: ContractionProblem) -> Assembly:
    """The stages where what is added is left: its product with the number 1, times beta."""
    assembly, result, addend, _ = begin(problem)
    assert addend is not None
    work = WORK_DTYPE[result.dtype] if addend.dtype != result.dtype else result.dtype
    factor = assembly.copy(addend, assembly.dense(by_step(result), work))
    total = result if work == result.dtype else assembly.dense(by_step(result), work)
    beta = Slot(problem.names().index("beta"))
    compute = problem.compute if work == result.dtype else "COMPUTE_32F"
    assembly.stages.append(
        Stage(CONTRACTION, (factor, assembly.number(1, work)), total.place, total, compute, alpha=beta)
    )
    if total is not result:
        assembly.copy(total, result)
    return assembly


@lru_cache(256)
def assemble(problem: ContractionProblem, way: Way) -> Assembly:
    """The stages of a contraction."""
    count, names = len(problem.operands), problem.names()
    assembly, result, addend, given = begin(problem)
    factors = without_repetition(given)
    alone = [own_modes(factors, i, result) if way.sums_before else set() for i in range(count)]
    pair = way.first is not None and way.first != TOGETHER
    mixed = len({tensor.dtype for tensor in (*factors, result)}) > 1
    wide = mixed or (result.dtype == "float16" and (pair or any(alone)))
    work = WORK_DTYPE[result.dtype] if wide else result.dtype
    compute = "COMPUTE_32F" if wide else problem.compute
    factors = [ready(assembly, factor, own, work) for factor, own in zip(factors, alone, strict=True)]
    total = assembly.dense(by_step(result), work) if wide else result
    added = total.place
    if addend is not None:
        if wide or (addend.steps, addend.operator) != (result.steps, Operator.OP_IDENTITY):
            added = assembly.copy(addend, assembly.like(result) if problem.inplace and not wide else total).place
        else:
            added = addend.place
    if pair:
        assert way.first is not None
        x, y = (factors["abc".index(name)] for name in way.first)
        (other,) = (factors[i] for i, name in enumerate("abc") if name not in way.first)
        kept = [m for m in dict.fromkeys((*x.steps, *y.steps)) if m in other.steps or m in result.steps]
        between = assembly.dense(best_order(kept, [x.steps, y.steps]), work)
        assembly.stages.append(Stage(CONTRACTION, (x, y), between.place, between, compute))
        factors = [between, other]
    kind = CONTRACTION if len(factors) == 2 else TRINARY
    scalars = Slot(names.index("alpha")), Slot(names.index("beta"))
    assembly.stages.append(Stage(kind, tuple(factors), added, total, compute, *scalars))
    if wide:
        assembly.copy(total, result)
    return assembly


def reversed_modes(problem: ContractionProblem) -> set[int]:
    """The modes to be seen from their other end: the result decides, then the operands in their order."""
    addend = [] if problem.c is None else [problem.c]
    backwards: dict[int, bool] = {}
    for tensor in (problem.d, *addend, *problem.operands):
        for mode, step in tensor.steps.items():
            if step:
                backwards.setdefault(mode, step < 0)
    return {mode for mode, is_backwards in backwards.items() if is_backwards}


def without_repetition(factors: Iterable[Operand]) -> list[Operand]:
    """The factors, each without the modes along which it only repeats, if another one has them."""
    factors = list(factors)
    moving = {mode for factor in factors for mode, step in factor.steps.items() if step}
    found = []
    for factor in factors:
        kept = {mode: step for mode, step in factor.steps.items() if step or mode not in moving}
        moving |= set(kept)
        found.append(factor._replace(steps=kept))
    return found


def own_modes(factors: Sequence[Operand], index: int, result: Operand) -> set[int]:
    """The modes that no other tensor has, so that they are summed in this one alone."""
    elsewhere = {mode for i, other in enumerate(factors) if i != index for mode in other.steps}
    return set(factors[index].steps) - elsewhere - set(result.steps)


def ready(assembly: Assembly, factor: Operand, own: set[int], work: str) -> Operand:
    """A factor as cuTENSOR contracts it: in the dtype of the work, without modes of its own."""
    as_it_is = factor.dtype == work and all(step > 0 for step in factor.steps.values())
    if not as_it_is or factor.operator not in DIRECT:
        factor = assembly.copy(factor, assembly.dense(by_step(factor), work))
    if own:
        factor = assembly.reduce(factor, [mode for mode in by_step(factor) if mode not in own])
    return factor
