"""Transforms by cuFFT, on CUDA devices."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planmath.bindings import cufft, runtime
from planmath.bindings.library_types import CudaDataType
from planmath.core.arrays import ITEMSIZE
from planmath.core.cuda import devices, strided_copy
from planmath.core.errors import UnavailableError, UnsupportedLayoutError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.fft.problem import FFTProblem, fuse
from planmath.fft.providers.cufft_stages import (
    COMPLEX,
    OPERAND,
    REAL,
    RESULT,
    Stage,
    divisions,
    intermediate_elements,
)  # fmt: skip
from planmath.native.call import MAX_LOOPS, Call, Slot

DATA_TYPE = {
    "float16": CudaDataType.CUDA_R_16F, "float32": CudaDataType.CUDA_R_32F, "float64": CudaDataType.CUDA_R_64F,
    "complex32": CudaDataType.CUDA_C_16F, "complex64": CudaDataType.CUDA_C_32F, "complex128": CudaDataType.CUDA_C_64F,
}  # fmt: skip
#: The type that cufftEstimateMany knows a kind of transform by, which has no half precision.
TYPE = {
    ("C2C", "float32"): cufft.Type.C2C, ("R2C", "float32"): cufft.Type.R2C, ("C2R", "float32"): cufft.Type.C2R,
    ("C2C", "float64"): cufft.Type.Z2Z, ("R2C", "float64"): cufft.Type.D2Z, ("C2R", "float64"): cufft.Type.Z2D,
}  # fmt: skip

#: Half precision needs compute capability 5.3 ("Half-precision cuFFT Transforms" in cuFFT's documentation).
HALF_SINCE = (5, 3)
#: Addresses in the workspace are multiples of this many bytes, as those that cudaMalloc gives.
ALIGNMENT = 256
#: Rows of fewer bytes are copied faster one element after the other.
NARROW = 64
#: The largest distance of two rows that cudaMemcpy2D copies (``cudaDevAttrMaxPitch``).
MAX_PITCH = 2**31 - 1
NAMES = {-1: "forward", 1: "inverse"}


class CuFFTProvider(Provider):
    name = "cufft"

    def unavailable(self) -> str | None:
        return cufft.LIBRARY.missing or devices.missing()

    def version(self) -> str:
        return cufft._api.loaded_version

    def path(self) -> str | None:
        return cufft.LIBRARY.path

    def unsupported(self, problem: FFTProblem) -> str | None:
        if problem.execution[0] != "cuda":
            return "it computes on CUDA devices only"
        if problem.norm is not None:
            return "it does not scale; leave options.norm away, and multiply the result"
        if problem.precision == "float16":
            lengths = {axis: problem.real_shape[axis] for axis in problem.axes}
            if odd := {axis: n for axis, n in lengths.items() if n & (n - 1)}:
                axis, n = next(iter(odd.items()))
                return (
                    f"in half precision it transforms lengths that are powers of two, and axis {axis} has {n} "
                    "elements; convert the operand to single precision, or pad it"
                )
            capability = devices.device(problem.execution[1]).compute_capability
            if capability < HALF_SINCE:
                return "half precision needs compute capability {}.{}, and the device has {}.{}".format(
                    *HALF_SINCE, *capability
                )
        return None

    def algorithms(self, problem: FFTProblem) -> Sequence[Algorithm]:
        ways = list(divisions(problem))
        return [Algorithm(self.name, (("axes", way),) if len(ways) > 1 else ()) for way in ways]

    def prepare(self, problem: FFTProblem, algorithm: Algorithm) -> Prepared:
        ways = divisions(problem)
        return self.prepare_stages(problem, ways[algorithm.get("axes", next(iter(ways)))])

    def prepare_stages(
        self, problem: FFTProblem, stages: Sequence[Stage], adjust: Mapping[int, Callable[[int], None]] | None = None
    ) -> Prepared:
        """Stages, made ready; for some of them, by number, `adjust` is given the plan's handle before it is made."""
        adjust = adjust or {}
        plans = [
            None if stage.kind == "copy" else NativePlan(stage, problem, adjust.get(number))
            for number, stage in enumerate(stages)
        ]
        size, slots = self.places(problem, stages, [plan.work_size for plan in plans if plan])
        prepare = [call for plan in plans if plan for call in plan.preparing(slots["workspace"], slots["stream"])]
        programs: dict[object, Program] = {}
        for direction in problem.directions:
            calls = list(prepare)
            for stage, plan in zip(stages, plans, strict=True):
                if plan is None:
                    calls += _copy(stage, problem, slots)
                else:
                    if stage.kind == "C2R":
                        calls += _clearing(stage, problem, slots)
                    calls.append(plan.executing(stage, problem, slots, direction))
            programs[direction] = programs[NAMES[direction]] = Program(calls)
        programs[None] = programs[problem.directions[0]]
        return Prepared(programs, size)

    def workspace_size(self, problem: FFTProblem, technique: str, handle: int | None = None) -> int:
        """What `prepare` would need, by the library's estimate for each plan.

        Parameters
        ----------
        problem : FFTProblem
        technique : {'default', 'refined'}
            'default' asks cufftEstimateMany, where it can; 'refined' asks cufftXtGetSizeMany.
        handle : int, optional
            A plan handle, whose properties count for 'refined'. Default: a new one.
        """
        stages = next(iter(divisions(problem).values()))
        with devices.on(problem.execution[1]):
            sizes = [_estimate(stage, problem, technique, handle) for stage in stages if stage.kind != "copy"]
        return self.places(problem, stages, sizes)[0]

    @staticmethod
    def places(problem: FFTProblem, stages: Sequence[Stage], work_sizes: Sequence[int]) -> tuple[int, dict[str, Slot]]:
        """The size of the workspace, which starts with the work area of all plans, and where everything is."""
        result = 0 if problem.inplace else 1
        slots = {OPERAND: Slot(0), RESULT: Slot(result), "workspace": Slot(result + 1), "stream": Slot(result + 2)}
        size = max(work_sizes, default=0)
        for place, elements in intermediate_elements(stages).items():
            start = -(-size // ALIGNMENT) * ALIGNMENT
            slots[place] = Slot(result + 1, start)
            size = start + elements * ITEMSIZE[_dtype(place, problem)]
        return size, slots


class NativePlan:
    """A cuFFT plan for a stage, destroyed when nothing refers to it any more.

    It is made on the current device, without a work area of its own. `adjust` is given its handle before that.
    """

    def __init__(self, stage: Stage, problem: FFTProblem, adjust: Callable[[int], None] | None = None):
        self.keep = adjust
        self.device_id, self.library, self.process = problem.execution[1], cufft, 0
        self.handle = cufft.create()
        self.process = os.getpid()
        try:
            cufft.set_auto_allocation(self.handle, 0)
            if adjust is not None:
                adjust(self.handle)
            self.work_size = cufft.xt_make_plan_many(self.handle, *_arguments(stage, problem))
        except cufft.cuFFTError as error:
            if error.status == cufft.Result.ALLOC_FAILED:
                what = f"cuFFT could not allocate what its plan for {problem.kind} of {problem.shape} needs"
                raise devices.OutOfDeviceMemoryError(what, self.device_id) from error
            raise UnavailableError(f"cuFFT has no plan for it: {error}") from error

    def __del__(self) -> None:
        if sys.is_finalizing() or os.getpid() != self.process:
            return  # the driver takes everything back; after a fork, the parent's plans are the parent's
        with devices.on(self.device_id):
            self.library.destroy(self.handle)

    def preparing(self, workspace: Slot, stream: Slot) -> list[Call]:
        """The calls that tell the plan the stream and, if it needs one, the work area: 30 ns each."""
        calls = [self._call("cufftSetStream", [stream])]
        return [*calls, self._call("cufftSetWorkArea", [workspace])] if self.work_size else calls

    def executing(self, stage: Stage, problem: FFTProblem, slots: dict[str, Slot], direction: int) -> Call:
        sizes = [ITEMSIZE[_dtype(place, problem)] for place in (stage.source, stage.target)]
        loops = [(n, (s * sizes[0], r * sizes[1])) for n, s, r in stage.loops]
        return self._call("cufftXtExec", [slots[stage.source], slots[stage.target], direction], loops)

    def _call(
        self, function: str, arguments: list[Slot | int], loops: Sequence[tuple[int, tuple[int, int]]] = ()
    ) -> Call:
        return Call(
            cufft.LIBRARY.address(function), [self.handle, *arguments], name=function, returns_status=True,
            error=_failure, loops=_checked(loops), keep=self,
        )  # fmt: skip


def _failure(status: int, function: str) -> Exception:
    """Executions of a valid plan with valid arguments have one reason to reject a value."""
    if (function, status) == ("cufftXtExec", cufft.Result.INVALID_VALUE):
        return UnsupportedLayoutError(
            "operand or out is at an address where cuFFT cannot use it: it must be a multiple of the size of a complex "
            "element, also for real ones; copy it into a new array"
        )
    return cufft.cuFFTError(status, function)


def _dtype(place: str, problem: FFTProblem) -> str:
    """The dtype of what is in a place."""
    kinds = {OPERAND: problem.dtype, RESULT: problem.result_dtype, REAL: problem.precision}
    return kinds.get(place, problem.dtype if problem.kind == "C2R" else problem.result_dtype)


def _arguments(stage: Stage, problem: FFTProblem) -> list[object]:
    """What cufftXtMakePlanMany and cufftXtGetSizeMany take, after the handle."""
    lengths, sides, batch = _description(stage)
    types = [DATA_TYPE[_dtype(place, problem)] for place in (stage.source, stage.target)]
    return [
        len(lengths), lengths, *sides[0], types[0], *sides[1], types[1], batch,
        DATA_TYPE[_dtype(COMPLEX, problem)],
    ]  # fmt: skip


def _description(stage: Stage) -> tuple[list[int], list[tuple[list[int], int, int]], int]:
    """Lengths; extents of the larger array, factor and distance of the batch, for both sides; size of the batch."""
    batch = stage.native
    sides = [(*stage.embedding(side), batch[side]) for side in (1, 2)]
    return [n for n, _, _ in stage.transformed], sides, batch[0]


def _estimate(stage: Stage, problem: FFTProblem, technique: str, handle: int | None) -> int:
    """Bytes of the work area of a stage's plan."""
    lengths, sides, batch = _description(stage)
    kind = TYPE.get((stage.kind, problem.precision))
    numbers = [*lengths, batch, *(n for larger, factor, distance in sides for n in (*larger, factor, distance))]
    if technique == "default" and kind is not None and max(numbers) < 2**31:
        return cufft.estimate_many(len(lengths), lengths, *sides[0], *sides[1], kind, batch)
    given = cufft.create() if handle is None else handle
    try:
        return cufft.xt_get_size_many(given, *_arguments(stage, problem))
    finally:
        if handle is None:
            cufft.destroy(given)


def _copy(stage: Stage, problem: FFTProblem, slots: dict[str, Slot]) -> list[Call]:
    """A copy: by the driver where it is one of rows without gaps, else by a kernel, else by many of the driver's."""
    size, device_id = ITEMSIZE[_dtype(stage.source, problem)], problem.execution[1]
    source, target, stream = slots[stage.source], slots[stage.target], slots["stream"]
    axes = [(n, s * size, d * size) for n, s, d in stage.batch]
    rows = next((axis for axis in axes if axis[1:] == (size, size)), (1, size, size))
    width = rows[0] * size
    rest = [axis for axis in axes if axis is not rows]
    fitting = [axis for axis in rest if all(width <= step <= MAX_PITCH for step in axis[1:])]
    longest = max(fitting, key=lambda axis: axis[0], default=(1, width, width))
    loops = [axis for axis in rest if axis is not longest]
    if (loops or (longest[0] > 1 and width < NARROW)) and strided_copy.available(device_id):
        if not problem.aligned and size > ITEMSIZE[problem.precision]:
            size //= 2
            axes.append((2, size, size))
        return strided_copy.calls(axes, size, source, target, stream, device_id)
    n, read, written = longest
    return [
        Call(
            runtime.LIBRARY.address("cudaMemcpy2DAsync"),
            [target, written, source, read, width, n, runtime.MemcpyKind.DEVICE_TO_DEVICE, stream],
            name="cudaMemcpy2DAsync", returns_status=True, error=runtime.CUDARuntimeError,
            loops=_checked([(n, (d, s, 0)) for n, s, d in loops]),
        )
    ]  # fmt: skip


def _clearing(stage: Stage, problem: FFTProblem, slots: dict[str, Slot]) -> list[Call]:
    """Make the imaginary parts zero that C2R has to ignore, in the intermediate that it reads."""
    size = ITEMSIZE[problem.dtype]
    place, half = slots[stage.source], size // 2
    rows = [(n, s * size) for n, s, _ in fuse((n, s, s) for n, s, _ in stage.batch)]
    height, pitch = max((row for row in rows if size <= row[1] <= MAX_PITCH), default=(1, size))
    loops = [(n, (step, 0)) for n, step in rows if (n, step) != (height, pitch)]
    return [
        Call(
            runtime.LIBRARY.address("cudaMemset2DAsync"),
            [Slot(place.operand, place.offset + element * size + half), pitch, 0, half, height, slots["stream"]],
            name="cudaMemset2DAsync", returns_status=True, error=runtime.CUDARuntimeError, loops=_checked(loops),
        )
        for element in stage.ignored
    ]  # fmt: skip


def _checked(loops: Sequence[Any]) -> Sequence[Any]:
    if len(loops) > MAX_LOOPS:
        raise UnavailableError(f"cuFFT would need {len(loops)} loops around it; {MAX_LOOPS} can nest")
    return loops
