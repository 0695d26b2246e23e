"""Options and preferences of the sparse direct solver."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

import numpy as np

from planmath.core.options import check_choice, check_common
from planmath.sparse.advanced.enums import (
    DirectSolverFactorizationAlg,
    DirectSolverMatchingAlg,
    DirectSolverMatrixType,
    DirectSolverMatrixViewType,
    DirectSolverPivotEpsilonAlg,
    DirectSolverReorderingAlg,
    DirectSolverSolveAlg,
)

#: The memory that planning estimates, in bytes, as cuDSS numbers it (``CUDSS_DATA_MEMORY_ESTIMATES``).
memory_estimates_dtype = np.dtype([
    ("permanent_device_memory", "<u8"), ("peak_device_memory", "<u8"), ("permanent_host_memory", "<u8"),
    ("peak_host_memory", "<u8"), ("hybrid_min_device_memory", "<u8"), ("hybrid_max_device_memory", "<u8"),
    ("reserved", "<u8", (10,)),
])  # fmt: skip


def as_estimates(estimates: np.ndarray) -> np.recarray:
    """One element of `memory_estimates_dtype`, whose fields are attributes as well."""
    return estimates.reshape(()).view(np.recarray)


class DirectSolverOptionsDict(TypedDict, total=False):
    """The fields of `DirectSolverOptions`, as a dictionary may have them."""

    sparse_system_type: int
    sparse_system_view: int
    multithreading_lib: str | None
    logger: logging.Logger | None
    blocking: Literal["auto", True]
    handle: int | None
    provider: str | None
    tuning: bool
    on_inaccurate: Literal["warn", "raise", "ignore"]
    backward_error: Literal["estimate", "exact"]
    allocator: Any


@dataclass(slots=True)
class DirectSolverOptions:
    """Options of `DirectSolver` and `direct_solver`.

    Parameters
    ----------
    sparse_system_type : DirectSolverMatrixType or int
        What is known of the matrix. More knowledge means less work.
    sparse_system_view : DirectSolverMatrixViewType or int
        Which triangle of it the operand holds. LOWER and UPPER are for matrices that are symmetric or Hermitian. With
        GENERAL they are refused, since that might mean all entries, those of a triangle, or a matrix that mirrors it.
        For all entries write FULL; for those of a triangle FULL too, and pass ``scipy.sparse.tril(a, format='csr')``.
    multithreading_lib : str, optional
        File of cuDSS's threading layer, with which it plans several times faster. Default: the one beside cuDSS.
        Without effect on the CPU.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    blocking : {'auto', True}
        Without effect: `factorize` and `solve` return when they are done, also on a CUDA device, for they say how it
        went.
    handle : int, optional
        A cuDSS handle, whose threading layer and memory are used as they are. Default: one of the object's own.
        Without effect on the CPU.
    provider : str, optional
        The library to use: 'pardiso', 'banded' or 'superlu' on the CPU, 'cudss' on a CUDA device. Default: the one
        expected to be fastest.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    on_inaccurate : {'warn', 'raise', 'ignore'}
        What to do about a solution that stays inaccurate after refinement: an `InaccurateSolutionWarning`, an
        `InaccurateSolutionError`, or nothing; `DirectSolver.solution_info` has the numbers in every case.
    backward_error : {'estimate', 'exact'}
        How to find the backward error after each solve: by a random projection of the residual, which costs a few
        passes over vectors, or by the residual itself, which costs a product with the matrix. The estimate differs
        from the error by a factor; it misses an error 100 times too large with a probability of about 1 in 100, and
        one 10^6 times too large with one of 1 in 10^6. On a CUDA device it is the residual in both cases.
    allocator : BaseCUDAMemoryManager or BaseCUDAMemoryManagerAsync, optional
        Where device memory comes from, that of cuDSS as well. Default: the pool of the operands' package.
    """

    sparse_system_type: int = DirectSolverMatrixType.GENERAL
    sparse_system_view: int = DirectSolverMatrixViewType.FULL
    multithreading_lib: str | None = None
    logger: logging.Logger | None = None
    blocking: Literal["auto", True] = "auto"
    handle: int | None = None
    provider: str | None = None
    tuning: bool = True
    on_inaccurate: Literal["warn", "raise", "ignore"] = "warn"
    backward_error: Literal["estimate", "exact"] = "estimate"
    allocator: Any = None

    def __post_init__(self) -> None:
        owner = "DirectSolverOptions"
        for name, numbers in (
            ("sparse_system_type", DirectSolverMatrixType), ("sparse_system_view", DirectSolverMatrixViewType)
        ):  # fmt: skip
            setattr(self, name, as_member(f"{owner}.{name}", getattr(self, name), numbers))
        check_choice(owner, "on_inaccurate", self.on_inaccurate, ("warn", "raise", "ignore"))
        check_choice(owner, "backward_error", self.backward_error, ("estimate", "exact"))
        check_common(self)


def as_member(what: str, value: Any, numbers: type[Any]) -> Any:
    """The member of an enumeration that a user's value stands for."""
    try:
        return numbers(value)
    except ValueError:
        names = ", ".join(numbers.__members__)
        raise ValueError(f"{what} is {value!r}; expected a {numbers.__name__}: {names}") from None


#: What a preference may be: an enumeration, or bounds for a number (lowest, highest, whether it is an integer).
_POSITIVE = (1, 2**63 - 1, True)
KINDS: dict[str, Any] = {
    "host_nthreads": _POSITIVE, "reordering_algorithm": DirectSolverReorderingAlg, "pivot_type": (0, 6, True),
    "pivot_threshold": (0.0, 1.0, False), "max_nnz": _POSITIVE, "matching_algorithm": DirectSolverMatchingAlg,
    "nd_min_levels": _POSITIVE, "use_superpanels": bool, "factorization_algorithm": DirectSolverFactorizationAlg,
    "pivot_eps_algorithm": DirectSolverPivotEpsilonAlg, "pivot_eps": (0.0, 1.0, False),
    "solution_algorithm": DirectSolverSolveAlg, "ir_num_steps": (0, 1000, True),
}  # fmt: skip


def checked_preference(what: str, name: str, value: Any) -> Any:
    """The value of a preference, as the type that it has; None stays None and means the default."""
    kind = KINDS[name]
    if value is None:
        return None
    if kind is bool:
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{what} is {value!r}; expected True or False")
        return bool(value)
    if not isinstance(kind, tuple):
        return as_member(what, value, kind)
    low, high, integral = kind
    wanted = (int, np.integer) if integral else (int, float, np.integer, np.floating)
    if not isinstance(value, wanted) or isinstance(value, bool) or not low <= value <= high:
        noun = "an integer" if integral else "a number"
        bounds = f"of at least {low}" if high == _POSITIVE[1] else f"from {low} to {high}"
        raise ValueError(f"{what} is {value!r}; expected {noun} {bounds}")
    return int(value) if integral else float(value)


class _Preferences:
    __slots__ = ()

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            what = f"{type(self).__name__}.{field.name}"
            setattr(self, field.name, checked_preference(what, field.name, getattr(self, field.name)))


class DirectSolverPlanPreferencesDict(TypedDict, total=False):
    """The fields of `DirectSolverPlanPreferences`, as a dictionary may have them."""

    host_nthreads: int | None
    reordering_algorithm: int | None
    pivot_type: int | None
    pivot_threshold: float | None
    max_nnz: int | None
    matching_algorithm: int | None
    nd_min_levels: int | None
    use_superpanels: bool | None


@dataclass(slots=True, kw_only=True)
class DirectSolverPlanPreferences(_Preferences):
    """Preferences for `DirectSolver.plan`. None is the default of each: the provider decides.

    On the CPU they are hints, but for `max_nnz`: where no provider follows one, planning does without it, and says so
    in the log, at INFO, and in `DirectSolver.report`.

    Parameters
    ----------
    host_nthreads : int, optional
        Threads of the CPU that planning (on the CPU, all work) may use.
    reordering_algorithm : DirectSolverReorderingAlg or int, optional
    pivot_type : int, optional
        Where to look for a pivot (``cudssPivotType_t``): 0 where it suits matrix and ordering, 1 nowhere, 2 in columns
        and 3 in rows (with BTF_COLAMD and COLAMD), 4 on the diagonal, 5 in a block, 6 by Bunch and Kaufman.
    pivot_threshold : float, optional
        A diagonal pivot is kept that has at least this part of the largest one's size, from 0 to 1.
    max_nnz : int, optional
        Most nonzeros that the factors may have; more are an error.
    matching_algorithm : DirectSolverMatchingAlg or int, optional
    nd_min_levels : int, optional
        Least depth of nested dissection; without effect on the CPU.
    use_superpanels : bool, optional
        Without effect on the CPU.
    """

    host_nthreads: int | None = None
    reordering_algorithm: int | None = None
    pivot_type: int | None = None
    pivot_threshold: float | None = None
    max_nnz: int | None = None
    matching_algorithm: int | None = None
    nd_min_levels: int | None = None
    use_superpanels: bool | None = None


class DirectSolverFactorizationPreferencesDict(TypedDict, total=False):
    """The fields of `DirectSolverFactorizationPreferences`, as a dictionary may have them."""

    factorization_algorithm: int | None
    pivot_eps_algorithm: int | None
    pivot_eps: float | None


@dataclass(slots=True, kw_only=True)
class DirectSolverFactorizationPreferences(_Preferences):
    """Preferences for `DirectSolver.factorize`. None is the default of each: the provider decides.

    Parameters
    ----------
    factorization_algorithm : DirectSolverFactorizationAlg or int, optional
        Without effect on the CPU.
    pivot_eps_algorithm : DirectSolverPivotEpsilonAlg or int, optional
        What small pivots are compared with; on the CPU that is the size of the matrix in any case.
    pivot_eps : float, optional
        Pivots smaller than this are replaced by it, relative to the size of the matrix. 'pardiso' rounds it to a power
        of ten; 'banded' and 'superlu' replace none.
    """

    factorization_algorithm: int | None = None
    pivot_eps_algorithm: int | None = None
    pivot_eps: float | None = None


class DirectSolverSolutionPreferencesDict(TypedDict, total=False):
    """The fields of `DirectSolverSolutionPreferences`, as a dictionary may have them."""

    solution_algorithm: int | None
    ir_num_steps: int | None


@dataclass(slots=True, kw_only=True)
class DirectSolverSolutionPreferences(_Preferences):
    """Preferences for `DirectSolver.solve`. None is the default of each: the provider decides.

    Parameters
    ----------
    solution_algorithm : DirectSolverSolveAlg or int, optional
        Without effect on the CPU.
    ir_num_steps : int, optional
        Steps of iterative refinement to make in any case. Default: none, but as many as help (at most 5) where the
        backward error is larger than `core.accuracy.TOLERANCE`.
    """

    solution_algorithm: int | None = None
    ir_num_steps: int | None = None


#: Preferences that may choose between the libraries of the CPU, which planning does without where none has them.
CHOOSING = ("pivot_threshold", "pivot_type", "matching_algorithm", "reordering_algorithm")
#: Those that no library of the CPU knows.
FOR_DEVICES = (
    "nd_min_levels", "use_superpanels", "factorization_algorithm", "pivot_eps_algorithm", "solution_algorithm"
)  # fmt: skip


def hints_on_cpu(phase: str, preferences: _Preferences) -> dict[str, str | None]:
    """The preferences of a phase that are hints on the CPU, as users read them.

    Returns
    -------
    dict
        The name of the preference where a library of the CPU may follow it, else None.
    """
    hints = {}
    for name in (field.name for field in fields(preferences)):  # type: ignore[arg-type]
        value = getattr(preferences, name)
        if value is not None and name in CHOOSING + FOR_DEVICES:
            shown = getattr(value, "name", value)
            hints[f"{phase}_config.{name}={shown}"] = name if name in CHOOSING else None
    return hints
