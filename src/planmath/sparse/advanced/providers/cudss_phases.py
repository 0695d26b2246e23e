"""What cuDSS is told before its phases, and what it tells after them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from planmath.bindings import cudss
from planmath.bindings.cudss import ConfigParam, DataParam, Phase
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.core.provider import Algorithm
from planmath.sparse.advanced.enums import DEFINITE
from planmath.sparse.advanced.enums import DirectSolverMatchingAlg as Matching
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.enums import DirectSolverReorderingAlg as Reordering
from planmath.sparse.advanced.errors import SingularMatrixError
from planmath.sparse.advanced.execution import ExecutionCUDA, ExecutionHybrid
from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    DirectSolverSolutionPreferences,
    as_estimates,
    memory_estimates_dtype,
)
from planmath.sparse.advanced.problem import DirectSolverProblem
from planmath.sparse.advanced.providers.cudss_objects import Handle, Task
from planmath.sparse.advanced.providers.system import not_definite, unknown

#: The orderings that come with a search for pivots in whole columns or rows.
GLOBAL_PIVOTING = (Reordering.COLAMD, Reordering.BTF_COLAMD)
#: cuDSS's own values of what preferences set, for those that are taken back.
DEFAULTS = {
    ConfigParam.FACTORIZATION_ALG: 0, ConfigParam.PIVOT_EPSILON_ALG: 0, ConfigParam.PIVOT_EPSILON: -1.0,
    ConfigParam.SOLVE_ALG: 0,
}  # fmt: skip


class Choices:
    """The settings of a problem's tasks: those of the user, of the algorithm, and of the execution space.

    Parameters
    ----------
    problem : DirectSolverProblem
    algorithm : Algorithm
    device_id : int
    """

    def __init__(self, problem: DirectSolverProblem, algorithm: Algorithm, device_id: int):
        wanted, space = problem.preferences, problem.space
        self.problem = problem
        self.ordering = Reordering[algorithm.get("ordering")]
        self.matching = Matching[algorithm.get("matching")]
        self.solution: DirectSolverSolutionPreferences | None = None
        self.plan: dict[ConfigParam, Any] = {
            ConfigParam.REORDERING_ALG: self.ordering, ConfigParam.MATCHING_ALG: self.matching,
            ConfigParam.HOST_NTHREADS: wanted.host_nthreads, ConfigParam.PIVOT_TYPE: wanted.pivot_type,
            ConfigParam.PIVOT_THRESHOLD: wanted.pivot_threshold, ConfigParam.ND_NLEVELS: wanted.nd_min_levels,
            ConfigParam.USE_SUPERPANELS: wanted.use_superpanels,
        }  # fmt: skip
        self.limit: int | None = None
        if isinstance(space, ExecutionHybrid):
            self.plan[ConfigParam.HYBRID_EXECUTE_MODE] = 1
            self.plan[ConfigParam.HOST_NTHREADS] = wanted.host_nthreads or space.num_threads
        elif isinstance(space, ExecutionCUDA) and space.hybrid_memory_mode_options.hybrid_memory_mode:  # type: ignore[union-attr]
            hybrid: Any = space.hybrid_memory_mode_options
            self.plan[ConfigParam.HYBRID_MEMORY_MODE] = 1
            self.plan[ConfigParam.USE_CUDA_REGISTER_MEMORY] = hybrid.register_cuda_memory
            if hybrid.hybrid_device_memory_limit is not None:
                name = "hybrid_device_memory_limit"
                self.limit = devices.memory_limit(hybrid.hybrid_device_memory_limit, device_id, name)
                self.plan[ConfigParam.HYBRID_DEVICE_MEMORY_LIMIT] = self.limit

    def apply_plan(self, task: Task) -> None:
        for parameter, value in self.plan.items():
            if value is not None and not (parameter == ConfigParam.MATCHING_ALG and value == Matching.NONE):
                task.set(parameter, value)

    def be_careful(self, task: Task) -> None:
        """Let a task bring large entries to the diagonal, unless the user said how to do that."""
        if self.may_be_careful(task):
            task.set(ConfigParam.MATCHING_ALG, Matching.AUTO)

    def do_without(self, task: Task) -> bool:
        """Take matching back, where the user did not ask for it: cuDSS may not have it with the other settings.

        Returns whether there was any.
        """
        had = _matches(task) and self.problem.preferences.matching_algorithm is None
        if had:
            task.declined = True
            task.set(ConfigParam.MATCHING_ALG, Matching.NONE)
        return had

    def apply_factorization(self, task: Task, wanted: DirectSolverFactorizationPreferences) -> None:
        before = task.settings.get(ConfigParam.FACTORIZATION_ALG)
        _apply(task, ConfigParam.FACTORIZATION_ALG, wanted.factorization_algorithm)
        if task.settings.get(ConfigParam.FACTORIZATION_ALG) != before:
            task.factorizations = 0  # none that could be repeated
        _apply(task, ConfigParam.PIVOT_EPSILON_ALG, wanted.pivot_eps_algorithm)
        _apply(task, ConfigParam.PIVOT_EPSILON, wanted.pivot_eps)

    def apply_solution(self, tasks: Iterable[Task], wanted: DirectSolverSolutionPreferences) -> None:
        for task in tasks:
            _apply(task, ConfigParam.SOLVE_ALG, wanted.solution_algorithm)
        self.solution = wanted

    def may_start_over(self, task: Task) -> bool:
        """Whether another analysis may help: for other values than the last one saw, or with more care."""
        if len(task.members) > 1 or self.may_be_careful(task):
            return True
        return task.factorizations > 1 and (_matches(task) or self.ordering in GLOBAL_PIVOTING)

    def may_be_careful(self, task: Task) -> bool:
        """Whether `be_careful` changes anything."""
        free = self.problem.preferences.matching_algorithm is None and self.ordering not in GLOBAL_PIVOTING
        return free and not _matches(task) and not task.declined


def _matches(task: Task) -> bool:
    return bool(task.settings.get(ConfigParam.MATCHING_ALG))


def _apply(task: Task, parameter: ConfigParam, value: float | None) -> None:
    """Set what the user wants, or put the default back where he wanted something before."""
    if value is not None:
        task.set(parameter, value)
    elif parameter in task.settings:
        task.set(parameter, DEFAULTS[parameter])


# What is checked.


def check_nonzeros(task: Task, name: str) -> None:
    """Raise where the factors have more nonzeros than the user allows."""
    most = task.problem.preferences.max_nnz
    if most is not None and (found := int(task.get(DataParam.LU_NNZ, np.int64)[0])) > most:
        raise UnavailableError(f"{name}: the factors have {found} nonzeros, more than plan_config.max_nnz = {most}")


def check_analysis(task: Task, choices: Choices, names: Sequence[str]) -> None:
    """Raise where the factors are larger than the user allows, or than the limit of device memory."""
    name = names[task.members[0]]
    if choices.ordering not in GLOBAL_PIVOTING:  # with which they are known after the factorization
        check_nonzeros(task, name)
    if choices.limit is not None:
        least = int(task.get(DataParam.HYBRID_DEVICE_MEMORY_MIN, np.int64)[0])
        if least > choices.limit:
            raise ValueError(
                f"hybrid_device_memory_limit is {choices.limit} bytes; the factors of {name} need at least {least} "
                f"({devices.bytes_in_words(least)}) of device memory"
            )


def explained(error: cudss.cuDSSError, task: Task, phase: Phase, handle: Handle, names: Sequence[str]) -> Exception:
    """What to raise for a phase that failed."""
    name = names[task.members[0]]
    if error.status == cudss.Status.NOT_SUPPORTED:
        problem = task.problem
        settings = ", ".join(f"{ConfigParam(p).name}={value:g}" for p, value in task.settings.items())
        return UnavailableError(
            f"{name}: cuDSS does not support the {phase.name} of {len(task.members)} {MatrixType(problem.kind).name} "
            f"systems of {problem.dtype} with {max(problem.columns)} right-hand sides and {settings or 'its defaults'} "
            f"({error})"
        )
    definite = task.problem.kind in DEFINITE
    if error.status == cudss.Status.EXECUTION_FAILED and phase == Phase.FACTORIZATION and definite:
        return no_definite_task(task, names)  # hybrid execution ends so, and does not tell where
    memory = handle.memory
    if error.status != cudss.Status.ALLOC_FAILED and not (memory and memory.failures):
        error.add_note(f"{name}, phase {phase.name}")
        return error
    cause: BaseException = memory.failures.pop() if memory and memory.failures else error
    remedy = "use ExecutionCUDA(hybrid_memory_mode_options={'hybrid_memory_mode': True})"
    try:
        estimates = task.get(DataParam.MEMORY_ESTIMATES, memory_estimates_dtype)[0]
    except cudss.cuDSSError:  # it was the analysis that failed
        what = f"memory to analyse {name} could not be allocated"
    else:
        peak, least = int(estimates["peak_device_memory"]), int(estimates["hybrid_min_device_memory"])
        what = f"the factors of {name} need {devices.bytes_in_words(peak)}, which could not be allocated"
        remedy += f", with which they need at least {devices.bytes_in_words(least)} of device memory"
    found = devices.OutOfDeviceMemoryError(what, handle.queue.device_id, remedy)
    found.__cause__ = cause
    return found


def failed_pivot(task: Task) -> int:
    """For a matrix said to be definite, the number (from 1) of the pivot at which that turned out to be wrong."""
    return task.integer(DataParam.INFO) if task.problem.kind in DEFINITE else 0


def raise_not_definite(task: Task, each: Iterable[Task], names: Sequence[str]) -> None:
    """Raise for the first of a task's systems, `each` by itself, that is not positive definite."""
    for single in each:
        if pivot := failed_pivot(single):
            raise no_definite_task(single, names, int(_order(single, DataParam.PERM_REORDER_ROW)[pivot - 1]))
    raise no_definite_task(task, names)


def no_definite_task(task: Task, names: Sequence[str], row: int | None = None) -> SingularMatrixError:
    """The error for a task with a matrix that was said to be positive definite, with the row where that is known."""
    if len(task.members) > 1:
        named = ", ".join(names[i] for i in task.members[:3])
        return SingularMatrixError(f"one of the matrices {named}, ... is not positive definite")
    return not_definite(names[task.members[0]], task.problem.kind, row)


def perturbed(task: Task, factorize_alone: Callable[[int], None]) -> list[int]:
    """How many pivots were replaced in each system.

    Of several at once cuDSS tells the sum. Those with one pattern are factorized again by themselves, where it is not
    zero; of those with different patterns each one gets the sum.
    """
    total = task.integer(DataParam.NPIVOTS)
    if not total or not task.uniform:
        return [total] * len(task.members)
    counts = []
    for i in task.members:
        factorize_alone(i)
        counts.append(task.integer(DataParam.NPIVOTS))
    return counts


def notes_of(handle: Handle) -> list[str]:
    """What is worth knowing of a plan."""
    if handle.layer:
        return [f"cuDSS's threading layer is {handle.layer}"]
    if not handle.owned:
        return ["the handle is options.handle, with the threading layer that it has"]
    return [
        "cuDSS has no threading layer, without which it plans several times slower: no libcudss_mtlayer_gomp.so was "
        "found beside the library; options.multithreading_lib or CUDSS_THREADING_LIB name one"
    ]


# What is told. Facts of a batch are those of its systems, as far as cuDSS tells them apart.

PERMUTATIONS = {
    ("plan", "row_permutation"): DataParam.PERM_REORDER_ROW, ("plan", "col_permutation"): DataParam.PERM_REORDER_COL,
    ("plan", "matching_col_permutation"): DataParam.PERM_MATCHING,
    ("factorization", "row_permutation"): DataParam.PERM_ROW, ("factorization", "col_permutation"): DataParam.PERM_COL,
}  # fmt: skip
SCALES = {"row_scale_factors": DataParam.SCALE_ROW, "col_scale_factors": DataParam.SCALE_COL}
#: Those that are the same of all systems with one pattern.
OF_THE_PATTERN = ("row_permutation", "col_permutation", "num_superpanels", "lu_nnz")


def facts(task: Task, phase: str, name: str, judges: Sequence[Any]) -> list[Any]:
    """A fact of each of a task's systems.

    Raises
    ------
    UnavailableError
        Where cuDSS does not tell it.
    """
    count = len(task.members)
    if name == "memory_estimates":
        return [as_estimates(task.get(DataParam.MEMORY_ESTIMATES, memory_estimates_dtype)[:1])] * count
    counts = [judges[i].perturbed for i in task.members]
    if name == "npivots" and not (task.together and any(counts)):
        return counts
    if name == "info" and not any(counts):
        return [0] * count
    if count == 1 or (task.uniform and name in OF_THE_PATTERN):
        try:
            return [_fact(task, phase, name)] * count
        except cudss.cuDSSError:  # it does not tell that here
            pass
    raise unknown("cudss", f"the {phase}'s {name}{' for each system of a batch' * (count > 1)}")


def _fact(task: Task, phase: str, name: str) -> Any:
    problem, n = task.problem, task.patterns[0].n
    if (phase, name) in PERMUTATIONS:
        return _order(task, PERMUTATIONS[phase, name])
    if name in SCALES:
        return task.get(SCALES[name], np.dtype(problem.dtype).type(0).real.dtype, n)
    if name == "num_superpanels":
        return task.integer(DataParam.NSUPERPANELS)
    if name == "lu_nnz":
        return int(task.get(DataParam.LU_NNZ, np.int64)[0])
    has_inertia = (
        not _matches(task)
        and problem.kind != MatrixType.GENERAL
        and not (problem.kind == MatrixType.SYMMETRIC and problem.is_complex)
    )
    if name == "inertia" and has_inertia:
        return task.get(DataParam.INERTIA, problem.index_dtype, 2)
    if not isinstance(problem.space, ExecutionHybrid):  # with which cuDSS tells zeros
        if name == "diag":
            return _diagonal(task)[_order(task, DataParam.PERM_REORDER_ROW)]
        if name == "info":
            return 1 + int(np.argmin(np.abs(_diagonal(task))))
    raise unknown("cudss", f"the {phase}'s {name}")


def _order(task: Task, parameter: DataParam) -> np.ndarray:
    """A permutation: entry k is what comes k-th."""
    return task.get(parameter, task.problem.index_dtype, task.patterns[0].n)


def _diagonal(task: Task) -> np.ndarray:
    """The diagonal of the factors, in the order of the matrix's rows."""
    return task.get(DataParam.DIAG, task.problem.dtype, task.patterns[0].n)
