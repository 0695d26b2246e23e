"""cuTENSOR's operations as stages of a program: contractions, reductions and permutations, each with its own plan."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from planmath.bindings import cutensor, runtime
from planmath.bindings.library_types import CudaDataType
from planmath.core.arrays import ITEMSIZE, contiguous_strides
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError, UnsupportedLayoutError
from planmath.native.call import FAIL, Call, Slot
from planmath.tensor.enums import Operator

DATA_TYPE = {
    "float16": CudaDataType.CUDA_R_16F, "bfloat16": CudaDataType.CUDA_R_16BF, "float32": CudaDataType.CUDA_R_32F,
    "float64": CudaDataType.CUDA_R_64F, "complex64": CudaDataType.CUDA_C_32F, "complex128": CudaDataType.CUDA_C_64F,
}  # fmt: skip
DTYPE = {number: name for name, number in DATA_TYPE.items()}
#: The compute descriptor of operations that only move and add: one for each dtype of the work.
COMPUTE = {
    "float16": "COMPUTE_32F", "bfloat16": "COMPUTE_32F", "float32": "COMPUTE_32F", "complex64": "COMPUTE_32F",
    "float64": "COMPUTE_64F", "complex128": "COMPUTE_64F",
}  # fmt: skip

#: What the addresses of operands are planned to be multiples of. The kernels for smaller ones are slower.
ALIGNMENT = 16
#: Addresses in the workspace are multiples of this many bytes, as cuTENSOR asks for.
WORKSPACE_ALIGNMENT = 256
#: The most launches of a copy whose modes run backwards, which cuTENSOR cannot do.
MOST_LAUNCHES = 4096


class Operand(NamedTuple):
    """A tensor somewhere on the device."""

    dtype: str
    steps: Mapping[int, int]
    """Elements from one position of a mode to the next."""
    place: Slot
    operator: int = Operator.OP_IDENTITY


class Kind(NamedTuple):
    """One of cuTENSOR's operations."""

    create: Callable[..., int]
    execute: str
    adds: bool
    """Whether it adds a tensor to the result, times beta."""
    scratch: bool
    """Whether it takes a workspace."""
    extra: tuple[int, ...] = ()
    """What its description has between the tensors and the compute descriptor."""


CONTRACTION = Kind(cutensor.create_contraction, "cutensorContract", True, True)
TRINARY = Kind(cutensor.create_contraction_trinary, "cutensorContractTrinary", True, True)
REDUCTION = Kind(cutensor.create_reduction, "cutensorReduce", True, True, (Operator.OP_ADD,))
PERMUTATION = Kind(cutensor.create_permutation, "cutensorPermute", False, False)


class Stage(NamedTuple):
    """One of cuTENSOR's operations on tensors."""

    kind: Kind
    factors: tuple[Operand, ...]
    addend: Slot
    """What is added, which has the layout of the result."""
    result: Operand
    compute: str
    alpha: Slot | None = None
    """Where on the host the factor of the result is; None for 1."""
    beta: Slot | None = None
    """And that of what is added; None for 0."""
    loops: tuple[tuple[int, int, int], ...] = ()
    """Repetitions of a permutation, each with the bytes by which operand and result move."""


class Preference(NamedTuple):
    """What cuTENSOR should take into account when it makes a plan."""

    algo: int
    jit: int = 0
    attributes: tuple[tuple[int, int], ...] = ()
    """Of `cutensor.PlanPreferenceAttribute`."""


@cache
def _shared_handle(device_id: int, process: int) -> int:
    with devices.on(device_id):
        return cutensor.create()


def handle_of(device_id: int, handle: int = 0) -> int:
    """The user's own handle, or that of the device, which is made once in a process."""
    return handle or _shared_handle(device_id, os.getpid())


class NativePlan:
    """A description of an operation with a plan for it, destroyed when nothing refers to them any more.

    Parameters
    ----------
    stage : Stage
    extents : sequence of int
        By mode.
    alignment : int
        What the addresses of the tensors are multiples of.
    handle, device_id : int
    limit : int
        Most bytes of workspace.
    preference : Preference, optional
    """

    def __init__(
        self, stage: Stage, extents: Sequence[int], alignment: int, handle: int, device_id: int, limit: int,
        preference: Preference | None = None,
    ):  # fmt: skip
        self.handle, self.device_id, self.process, self.library = handle, device_id, os.getpid(), cutensor
        self.owned: list[tuple[Callable[[int], None], int]] = []
        try:
            operation = self._describe(stage, extents, alignment)
            preferred = self._prefer(preference or Preference(cutensor.Algo.DEFAULT))
            wish = cutensor.WorksizePreference.WORKSPACE_DEFAULT
            estimate = cutensor.estimate_workspace_size(handle, operation, preferred, wish)
            self.address = self._own(
                cutensor.destroy_plan, cutensor.create_plan(handle, operation, preferred, min(estimate, limit))
            )
        except cutensor.cuTENSORError as error:
            self._destroy()
            raise UnavailableError(f"cuTENSOR has no plan for it: {error}") from error
        needed = np.zeros((), np.uint64)
        cutensor.plan_get_attribute(
            handle, self.address, cutensor.PlanAttribute.REQUIRED_WORKSPACE, needed.ctypes.data, needed.nbytes
        )
        self.workspace_size = int(needed)
        if self.workspace_size > limit:  # the library takes its limit for a wish
            self._destroy()
            raise UnavailableError(
                f"cuTENSOR's plan needs {self.workspace_size} bytes of workspace, and options.memory_limit leaves "
                f"{limit}"
            )

    def _describe(self, stage: Stage, extents: Sequence[int], alignment: int) -> int:
        tensors: list[Any] = []
        for operand in stage.factors:
            tensors += [*self._tensor(operand, extents, alignment), operand.operator]
        result = self._tensor(stage.result, extents, alignment)
        if stage.kind.adds:
            tensors += [*result, Operator.OP_IDENTITY]
        compute = getattr(cutensor.ComputeDesc, stage.compute)()
        operation = self._own(
            cutensor.destroy_operation_descriptor,
            stage.kind.create(self.handle, *tensors, *result, *stage.kind.extra, compute),
        )
        scalar = np.zeros((), np.int32)
        attribute = cutensor.OperationDescriptorAttribute.SCALAR_TYPE
        cutensor.operation_descriptor_get_attribute(
            self.handle, operation, attribute, scalar.ctypes.data, scalar.nbytes
        )
        self.scalar = DTYPE[CudaDataType(int(scalar))]
        return operation

    def _tensor(self, operand: Operand, extents: Sequence[int], alignment: int) -> tuple[int, list[int]]:
        """A tensor's descriptor and its modes."""
        modes = list(operand.steps)
        shape, strides = [extents[mode] for mode in modes], list(operand.steps.values())
        descriptor = cutensor.create_tensor_descriptor(
            self.handle, len(modes), shape, strides, DATA_TYPE[operand.dtype], max(alignment, ITEMSIZE[operand.dtype])
        )
        return self._own(cutensor.destroy_tensor_descriptor, descriptor), modes

    def _prefer(self, preference: Preference) -> int:
        made = self._own(
            cutensor.destroy_plan_preference,
            cutensor.create_plan_preference(self.handle, preference.algo, preference.jit),
        )
        for attribute, number in preference.attributes:
            value = np.array(number, np.int32)
            cutensor.plan_preference_set_attribute(self.handle, made, attribute, value.ctypes.data, value.nbytes)
        return made

    def _own(self, destroy: Callable[[int], None], address: int) -> int:
        self.owned.append((destroy, address))
        return address

    def _destroy(self) -> None:
        while self.owned:
            destroy, address = self.owned.pop()
            destroy(address)

    def __del__(self) -> None:
        if sys.is_finalizing() or os.getpid() != self.process:
            return  # the driver takes everything back; after a fork, the parent's plans are the parent's
        with devices.on(self.device_id):
            self._destroy()


def aligned(size: int) -> int:
    """The next place in the workspace."""
    return -(-size // WORKSPACE_ALIGNMENT) * WORKSPACE_ALIGNMENT


@dataclass(eq=False)
class Assembly:
    """Stages one after the other, and the parts of the workspace that they use.

    Parameters
    ----------
    extents : tuple of int
        By mode.
    workspace, stream : int
        Their numbers among a program's arrays.
    """

    extents: tuple[int, ...]
    workspace: int
    stream: int
    stages: list[Stage] = field(default_factory=list)
    numbers: list[tuple[int, str, Slot]] = field(default_factory=list)
    """Which are brought there before the stages."""
    size: int = 0
    """Bytes of the workspace that tensors take."""

    def room(self, size: int) -> Slot:
        """A part of the workspace with so many bytes."""
        start = aligned(self.size)
        self.size = start + size
        return Slot(self.workspace, start)

    def dense(self, modes: Sequence[int], dtype: str) -> Operand:
        """A new tensor in the workspace, its slowest mode first."""
        shape = tuple(self.extents[mode] for mode in modes)
        steps = dict(zip(modes, contiguous_strides(shape), strict=True))
        return Operand(dtype, steps, self.room(math.prod(shape) * ITEMSIZE[dtype]))

    def number(self, value: int, dtype: str) -> Operand:
        """The number 0 or 1 in the workspace, as a tensor without modes."""
        place = self.room(ITEMSIZE[dtype])
        self.numbers.append((value, dtype, place))
        return Operand(dtype, {}, place)

    def like(self, operand: Operand) -> Operand:
        """A new tensor in the workspace with the steps of another, gaps included."""
        reach = 1 + sum((self.extents[mode] - 1) * step for mode, step in operand.steps.items())
        return operand._replace(place=self.room(reach * ITEMSIZE[operand.dtype]), operator=Operator.OP_IDENTITY)

    def copy(self, source: Operand, result: Operand) -> Operand:
        """Let the elements of a tensor be copied, with its operator applied.

        Modes along which the source does not move are repeated; for those along which the two run in opposite
        directions, the copy is made once for each position.
        """
        steps = {mode: step for mode, step in source.steps.items() if step}
        backwards = [mode for mode in steps if steps[mode] < 0]
        loops = tuple(
            (self.extents[m], steps[m] * ITEMSIZE[source.dtype], result.steps[m] * ITEMSIZE[result.dtype])
            for m in backwards
        )  # fmt: skip
        launches = math.prod(count for count, *_ in loops)
        if launches > MOST_LAUNCHES:
            raise UnavailableError(
                f"cuTENSOR takes no negative strides, and to copy around them would take {launches} launches; pass a "
                "copy of the operand that has them"
            )
        rest = {mode: step for mode, step in steps.items() if mode not in backwards}
        inside = {mode: step for mode, step in result.steps.items() if mode not in backwards}
        wider = max(source.dtype, result.dtype, key=lambda dtype: ITEMSIZE[dtype])
        self.stages.append(
            Stage(
                PERMUTATION, (source._replace(steps=rest),), source.place, result._replace(steps=inside),
                COMPUTE[wider], loops=loops,
            )
        )  # fmt: skip
        return result

    def reduce(self, source: Operand, modes: Sequence[int]) -> Operand:
        """Let a tensor be summed over all but some modes."""
        result = self.dense(modes, source.dtype)
        self.stages.append(Stage(REDUCTION, (source,), result.place, result, COMPUTE[source.dtype]))
        return result

    def calls(self, handle: int, device_id: int, limit: int, preference: Preference) -> tuple[list[Call], int]:
        """The stages as prepared calls, and the size of the workspace, the scratch memory of all stages included.

        Parameters
        ----------
        handle, device_id : int
        limit : int
            Most bytes of workspace.
        preference : Preference
            For the contractions.

        Raises
        ------
        UnavailableError
            If cuTENSOR has no plan for a stage, or none within the limit.
        """
        scratch = Slot(self.workspace, aligned(self.size))
        left = max(limit - scratch.offset, 0)
        planned: list[tuple[Stage, dict[int, NativePlan]]] = []
        for stage in self.stages:
            preferred = preference if stage.kind in (CONTRACTION, TRINARY) else None
            plans = {
                alignment: NativePlan(stage, self.extents, alignment, handle, device_id, left, preferred)
                for alignment in self._alignments(stage)
            }
            planned.append((stage, plans))
        needed = max(plan.workspace_size for _, plans in planned for plan in plans.values())
        calls = [self._bring(*number) for number in self.numbers]
        for stage, plans in planned:
            call = Call(FAIL, [cutensor.Status.INVALID_VALUE], name=stage.kind.execute, returns_status=True)
            for alignment, plan in sorted(plans.items()):
                call = self._call(stage, plan, scratch, call, alignment)
            calls.append(call)
        return calls, scratch.offset + needed if needed else self.size

    def _bring(self, value: int, dtype: str, place: Slot) -> Call:
        number = _constants(dtype)[value]
        return Call(
            runtime.LIBRARY.address("cudaMemcpyAsync"),
            [place, number.ctypes.data, ITEMSIZE[dtype], runtime.MemcpyKind.HOST_TO_DEVICE, Slot(self.stream)],
            name="cudaMemcpyAsync", returns_status=True, error=runtime.CUDARuntimeError, keep=number,
        )  # fmt: skip

    def _alignments(self, stage: Stage) -> list[int]:
        """What the addresses of a stage's tensors may be multiples of: a plan is needed for each."""
        size = min(ITEMSIZE[operand.dtype] for operand in (*stage.factors, stage.result))
        if stage.loops:
            return [size]
        places = [*(operand.place for operand in stage.factors), stage.result.place, stage.addend]
        if size >= ALIGNMENT or all(place.operand == self.workspace for place in places):
            return [ALIGNMENT]
        return [ALIGNMENT, size]

    def _call(self, stage: Stage, plan: NativePlan, scratch: Slot, unaligned: Call, alignment: int) -> Call:
        constants = _constants(plan.scalar)
        places = [operand.place for operand in stage.factors]
        alpha = constants[1].ctypes.data if stage.alpha is None else stage.alpha
        beta = constants[0].ctypes.data if stage.beta is None else stage.beta
        arguments = [plan.handle, plan.address, alpha, *places]
        arguments += [beta, stage.addend] if stage.kind.adds else []
        arguments += [stage.result.place]
        if stage.kind.scratch:
            arguments += [scratch if plan.workspace_size else 0, plan.workspace_size]
        slots = sum(isinstance(argument, Slot) for argument in arguments)
        arguments += [Slot(self.stream)]
        return Call(
            cutensor.LIBRARY.address(stage.kind.execute), arguments, name=stage.kind.execute, returns_status=True,
            error=_failure, loops=[(n, (s, r, 0)) for n, s, r in stage.loops], keep=(plan, constants),
            unaligned=unaligned, alignment=alignment, aligned_slots=slots,
        )  # fmt: skip


def _failure(status: int, function: str) -> Exception:
    """Executions of a valid plan with valid arguments have one reason to reject a value."""
    if status == cutensor.Status.INVALID_VALUE:
        return UnsupportedLayoutError(
            "an operand or out is at an address that is not a multiple of the size of its elements, where cuTENSOR "
            "cannot use it; copy it into a new array"
        )
    return cutensor.cuTENSORError(status, function)


@cache
def _constants(dtype: str) -> dict[int, np.ndarray]:
    """The numbers 0 and 1 on the host; bfloat16's as their bits, which are the upper half of float32's."""
    if dtype == "bfloat16":
        return {value: np.array([value], np.float32).view(np.uint16)[1:] for value in (0, 1)}
    return {value: np.array(value, dtype) for value in (0, 1)}
