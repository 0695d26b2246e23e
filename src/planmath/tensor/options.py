"""Options, plan preferences and qualifiers of tensor contractions."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, Literal, TypedDict

import numpy as np

from planmath.core.cuda import devices
from planmath.core.execution import Execution, ExecutionCUDA
from planmath.core.options import check_choice, check_common
from planmath.tensor.enums import (
    ComputeDescriptor,
    ContractionAlgo,
    ContractionAutotuneMode,
    ContractionCacheMode,
    ContractionJitMode,
)

#: Element type of the `qualifiers` array: an `Operator` for each operand, and one for the operand that is added.
tensor_qualifiers_dtype = np.int32

RESULT_LAYOUTS = ("auto", "C", "F", "optimized")

#: What the units of a memory limit multiply by.
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class ContractionOptionsDict(TypedDict, total=False):
    """The fields of `ContractionOptions`, as a dictionary may have them."""

    compute_type: int | None
    logger: logging.Logger | None
    blocking: Literal["auto", True]
    handle: int | None
    allocator: Any
    memory_limit: int | str | None
    result_layout: Literal["auto", "C", "F", "optimized"]
    provider: str | None
    tuning: bool


@dataclass(slots=True)
class ContractionOptions:
    """Options of the contractions and of the functions for single use.

    Parameters
    ----------
    compute_type : int, optional
        What one of `ComputeDesc` returns. Default: by the operands' dtype, with at least single precision.
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    blocking : {'auto', True}
        When executions on a CUDA device return. On the CPU they return when they are done.
    handle : int, optional
        A cuTENSOR handle, made on the device of the operands. Default: one that planmath makes for each device.
        Without effect on the CPU.
    allocator : object, optional
        Draws temporary device memory. Not used on the CPU.
    memory_limit : int or str, optional
        Most temporary memory to use: bytes, a number with a unit ('512 MiB', '2 GB'), or a percentage of the memory of
        the space that computes. Default: '80%'.
    result_layout : {'auto', 'C', 'F', 'optimized'}
        Strides of a new result: row-major, column-major, or the ones that take least work. 'auto' is the row-major one
        where that costs nothing or where an operand is added, else the optimized one. Ignored where `out` is given.
    provider : str, optional
        The provider to use: 'gemm', 'einsum' or 'cutensor'. Default: the best that can solve the problem.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.

    Examples
    --------
    >>> from planmath.tensor import ContractionOptions
    >>> ContractionOptions(memory_limit="1 GiB").memory_limit
    '1 GiB'
    """

    compute_type: int | None = None
    logger: logging.Logger | None = None
    blocking: Literal["auto", True] = "auto"
    handle: int | None = None
    allocator: Any = None
    memory_limit: int | str | None = "80%"
    result_layout: Literal["auto", "C", "F", "optimized"] = "auto"
    provider: str | None = None
    tuning: bool = True

    def __post_init__(self) -> None:
        check_choice("ContractionOptions", "result_layout", self.result_layout, RESULT_LAYOUTS)
        if self.compute_type is not None and self.compute_type not in list(ComputeDescriptor):
            names = ", ".join(f"{name}()" for name in ComputeDescriptor.__members__)
            raise ValueError(
                f"ContractionOptions.compute_type is {self.compute_type!r}; expected what one of ComputeDesc's methods "
                f"returns: {names}"
            )
        bytes_of_limit(self.memory_limit, 1)
        check_common(self)


def bytes_of_limit(limit: int | str | None, available: int) -> int:
    """The bytes that a memory limit stands for.

    Parameters
    ----------
    limit : int, str or None
        As in `ContractionOptions`; None for all of it.
    available : int
        The bytes of which a percentage is taken.

    Raises
    ------
    ValueError
        If it is none of those.

    Examples
    --------
    >>> bytes_of_limit("50%", 1000), bytes_of_limit("2 KiB", 1000), bytes_of_limit(7, 1000)
    (500, 2048, 7)
    """
    if limit is None:
        return available
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
        return limit
    if isinstance(limit, str):
        number = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(%|([KMGT]i?)?B?)\s*", limit)
        if number is not None and number[2] == "%" and float(number[1]) <= 100:
            return int(float(number[1]) / 100 * available)
        if number is not None and number[2] != "%":
            return int(float(number[1]) * UNITS[number[3] or ""])
    raise ValueError(
        f"memory_limit is {limit!r}; expected a number of bytes, a number with a unit such as '512 MiB' or '2 GB', or "
        "a percentage from '0%' to '100%'"
    )


def memory_of(execution: Execution) -> int:
    """Bytes of memory that the space has in which the work is done."""
    if isinstance(execution, ExecutionCUDA):
        return devices.device(execution.device_id).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 63


#: The preferences that are members of an enumeration, with their defaults, and those that are numbers, with the least.
ENUMERATIONS: dict[str, IntEnum] = {
    "algo": ContractionAlgo.DEFAULT,
    "autotune_mode": ContractionAutotuneMode.NONE,
    "cache_mode": ContractionCacheMode.PEDANTIC,
    "jit": ContractionJitMode.NONE,
}
NUMBERS = {"incremental_count": (4, 1), "kernel_rank": (0, 0), "gpu_arch": (0, 0)}
#: Those that mean something on the CPU.
ON_CPU = ("algo", "kernel_rank")


def _preference(name: str, text: str) -> property:
    def get(self: ContractionPlanPreference) -> Any:
        return self._values[name]

    def put(self: ContractionPlanPreference, value: Any) -> None:
        self._values[name] = _checked(name, value)

    return property(get, put, doc=text)


class ContractionPlanPreference:
    """What `plan` should prefer; an object's `plan_preference` is one.

    Parameters
    ----------
    contraction : BinaryContraction or TernaryContraction
        The object whose planning it configures.

    Notes
    -----
    On the CPU, `algo` and `kernel_rank` choose among the algorithms, where there is such a one; the others concern
    cuTENSOR alone. What has no effect is said in the log, at INFO, and by `report`.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.tensor import BinaryContraction, ContractionAlgo
    >>> with BinaryContraction("ij,jk->ik", np.eye(2), np.eye(2)) as contraction:
    ...     contraction.plan_preference.algo = ContractionAlgo.TTGT
    ...     contraction.plan()
    ...     r = contraction.execute()
    >>> r
    array([[1., 0.],
           [0., 1.]])
    """

    __slots__ = ("_contraction_name", "_values")

    def __init__(self, contraction: Any):
        self._contraction_name = type(contraction).__name__
        self._values: dict[str, Any] = {**ENUMERATIONS, **{name: default for name, (default, _) in NUMBERS.items()}}

    algo = _preference(
        "algo",
        "`ContractionAlgo`: GETT copies no operand, TGETT at most the operands, TTGT makes one matrix product (or a "
        "batch) of transposed operands; DEFAULT and DEFAULT_PATIENT leave it to the cost model and the tuning record.",
    )
    autotune_mode = _preference("autotune_mode", "`ContractionAutotuneMode`; for cuTENSOR.")
    cache_mode = _preference("cache_mode", "`ContractionCacheMode`; for cuTENSOR.")
    jit = _preference("jit", "`ContractionJitMode`; for cuTENSOR.")
    incremental_count = _preference("incremental_count", "How many kernels incremental autotuning tries; for cuTENSOR.")
    kernel_rank = _preference("kernel_rank", "Which of the algorithms to take, counted from the best, 0.")
    gpu_arch = _preference("gpu_arch", "The compute capability to plan for, 0 for the device's own; for cuTENSOR.")

    def chosen(self, space: str) -> tuple[tuple[str, int], ...]:
        """What is not the default, of what matters in an execution space."""
        values = self._set()
        if space == "cpu":
            values = {name: values[name] for name in ON_CPU if name in values}
            if values.get("algo") == ContractionAlgo.DEFAULT_PATIENT:
                del values["algo"]
        return tuple((name, int(value)) for name, value in values.items())

    def hints(self, space: str) -> dict[str, Callable[[Any], Any] | None]:
        """What planning for an execution space may do without, and how a problem loses it."""
        if space != "cpu":
            return {}
        values = {name: value for name, value in self._set().items() if value != ContractionAlgo.DEFAULT_PATIENT}
        return {
            f"plan_preference.{name}={getattr(values[name], 'name', values[name])}":
                partial(_without, name) if name in ON_CPU else None
            for name in sorted(values, key="algo".__eq__)  # a rank among all is given up before an algorithm
        }  # fmt: skip

    def _set(self) -> dict[str, Any]:
        """What is not the default."""
        defaults = {**ENUMERATIONS, **{name: default for name, (default, _) in NUMBERS.items()}}
        return {name: value for name, value in self._values.items() if value != defaults[name]}

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(value, 'name', value)}" for name, value in self._values.items())
        return f"<ContractionPlanPreference of a {self._contraction_name}: {values}>"


def _without(name: str, problem: Any) -> Any:
    return problem._replace(preference=tuple(item for item in problem.preference if item[0] != name))


def _checked(name: str, value: Any) -> Any:
    if name in ENUMERATIONS:
        kind = type(ENUMERATIONS[name])
        if value in list(kind) and not isinstance(value, bool):
            return kind(value)
        raise ValueError(f"{name} is {value!r}; expected a {kind.__name__}: {', '.join(kind.__members__)}")
    least = NUMBERS[name][1]
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise ValueError(f"{name} is {value!r}; expected an integer of at least {least}")
