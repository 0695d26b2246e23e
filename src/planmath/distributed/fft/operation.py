"""The stateful distributed transform, and the functions for single use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from planmath.core.arrays import COMPLEX_OF, REAL_OF, package_of
from planmath.core.collective import sections
from planmath.core.collective.agreement import agreed
from planmath.core.collective.costs import exchange_report
from planmath.core.collective.operation import CollectiveOperation, place_of
from planmath.core.errors import InvalidStateError
from planmath.core.log import format_seconds
from planmath.core.options import as_options
from planmath.core.slots import ArraySlot, commit
from planmath.core.typed import A_co, of_one, result
from planmath.distributed.distribution.distributions import Box, Distribution, Slab
from planmath.distributed.fft import memory
from planmath.distributed.fft.options import FFTOptions, FFTOptionsDict
from planmath.distributed.fft.pipeline import Pipeline
from planmath.distributed.fft.problem import FFTProblem
from planmath.distributed.fft.providers import Run, providers_for
from planmath.distributed.fft.specification import (
    Given,
    as_given,
    check_layout,
    checked_axes,
    kind_of,
    specify,
)
from planmath.distributed.runtime import required_context
from planmath.fft.options import as_direction
from planmath.fft.problem import DIRECTIONS_OF
from planmath.report.pages import Table


class InvalidFFTState(InvalidStateError):
    """A method of `FFT` was called out of order."""


class FFT(CollectiveOperation[A_co]):
    """A Fourier transform of an array that lies across processes, in place, planned once and executed many times.

    Constructor, `plan`, `autotune` and `execute` are collective.

    Parameters
    ----------
    operand : numpy.ndarray, cupy.ndarray or torch.Tensor
        This rank's part: float32, float64, complex64 or complex128, in C order. Its buffer also holds the result, as
        that of an array from `allocate_operand` does; real operands may have a padded last axis.
    distribution : Slab, BlockCyclic, BlockNonCyclic, or pair of Box
        How the operand lies across the processes: any slab, or blocks; with a pair of boxes, what this rank has of the
        operand, and of the result.
    axes : sequence of int, optional
        The axes to transform; for R2C and C2R the last one named is the one whose extent differs between operand and
        result. Default: all.
    options : FFTOptions or dict, optional
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    RuntimeError
        Before `planmath.distributed.initialize`; or if a rank's buffer does not hold the result.
    TypeError, ValueError, BindDistributionError
        If the arguments do not describe a transform, on any rank: the same on all of them.

    Notes
    -----
    The result is a view of the operand's buffer. Transforms are not scaled.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import Slab
    >>> from planmath.distributed.fft import FFT
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nvshmem"])
    >>> a = np.arange(6.0).reshape(2, 3) + 0j
    >>> with FFT(a, distribution=Slab.X) as transform:
    ...     transform.plan()
    ...     b = transform.execute()
    >>> np.allclose(b, np.fft.fftn(np.arange(6.0).reshape(2, 3)))
    True
    >>> distributed.finalize()
    """

    noun = "FFT"
    reset_name = "reset_operand"
    release_name = "release_operand"
    inplace_by = None
    invalid_state = InvalidFFTState

    def __init__(
        self,
        operand: A_co,
        /,
        *,
        distribution: Distribution | Sequence[Box],
        axes: Sequence[int] | None = None,
        options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        context = required_context()
        group = context.process_group
        #: The transform of operands that lie as the result does, where there is one, and whether it has the operand.
        self._mirror: FFT | None = None
        self._is_mirrored = False
        with agreed(group, "FFT()") as agreement:
            super().__init__(as_options(FFTOptions, options), group)
            package = package_of(operand, "operand")
            layout = package.layout(operand, "operand")
            ndim = len(layout.shape)
            if ndim == 0:
                raise ValueError("operand has no axes; expected at least one")
            kind = kind_of(layout.dtype, self._options)
            check_layout(layout, kind)
            self._axes = checked_axes(axes, ndim)
            self._given = as_given(distribution, ndim)
            self._add_operand("operand", operand, writeable=True)
            o = self._options
            agreement.equal = {
                "the package of operand": package.name,
                "the memory space of operand": place_of("operand", self._slots["operand"], context.device_id),
                "the dtype of operand": layout.dtype,
                "the number of axes of operand": ndim, "distribution": self._given.described(), "axes": self._axes,
                "options.fft_type": o.fft_type, "options.redistribute": o.redistribute,
                "options.last_axis_parity": o.last_axis_parity, "options.provider": o.provider,
                "options.check": self._checks,
            }  # fmt: skip
            agreement.local = (
                *layout.shape, *layout.strides, *self._given.corners(ndim), memory.available(package, operand)
            )  # fmt: skip
        self._settle_in(self._slots["operand"])
        problems = specify(
            kind,
            layout.dtype,
            self._axes,
            self._given,
            o,
            ndim,
            agreement.everybody,
            self._where,
        )
        for problem, words in zip(problems, agreement.everybody, strict=True):
            if words[-1] < problem.capacity:
                raise RuntimeError(
                    f"the buffer of rank {problem.rank} has {words[-1]} bytes from the operand on, and the operand or "
                    f"the result needs {problem.capacity}; allocate_operand() makes one that is large enough"
                )
        self._problem = problems[group.rank]
        self._log_specification()

    def plan(self, *, stream: Any = None) -> None:
        """Choose how to compute the transform, and prepare it. Collective. A second plan does nothing.

        Raises
        ------
        InvalidFFTState
            After `release_operand` or `free`, on any rank.
        UnavailableError
            If the way that the options name is not open on all ranks.
        """
        if self._plan_made is None or self._checks:
            self._plan_together(partial(self._made_plan, stream))
            self._plan_mirror(stream)
        else:
            self._require("plan")

    def _made_plan(self, stream: Any = None) -> Any:
        return self._plan_made or self._make_plan(self._problem, self._slots, stream=stream)

    def _plan_mirror(self, stream: Any) -> None:
        """Where operands may come as the results lie: plan the transform of those."""
        problem, given = self._problem, self._given
        between = given.result is not None or (isinstance(given.operand, Slab) and not self._options.redistribute)
        if self._mirror is not None or problem.kind != "C2C" or not between:
            return
        with self._on_device(stream):
            scratch = self._package.empty(
                (-(-problem.capacity // 16) * 16 // self._slots["operand"].itemsize,), (1,),
                self._package.dtype(problem.dtypes[0]), self._device_id,
            )  # fmt: skip
        shape = problem.local_shapes[1]
        operand = memory.view(self._package, scratch, shape, problem.result_strides, problem.dtypes[1])
        back = given.mirrored
        distribution: Any = (back.operand, back.result) if back.result is not None else back.operand
        mirror = FFT(operand, distribution=distribution, axes=self._axes, options=replace(self._options, check=False))
        mirror._checks = False
        mirror._plan_together(partial(mirror._made_plan, stream))
        mirror._drop_operands()
        self._mirror = mirror

    def autotune(
        self, iterations: int = 10, prune: int | None = None, *, seconds: float | None = None, stream: Any = None
    ) -> None:
        """Measure every way to compute the transform, and adopt the one whose slowest rank is the fastest. Collective.

        Parameters
        ----------
        iterations : int
            Most repetitions of each.
        prune : int, optional
            How many of the fastest to keep in `report`. Default: all.
        seconds : float, optional
            How long this may take. Default: 8.
        stream : object, optional
            As of `execute`.
        """
        self._autotune(iterations, prune, stream, seconds)

    @result
    def execute(
        self, *, direction: Any = None, stream: Any = None, release_workspace: bool = False,
        sync_symmetric_memory: bool = True,
    ) -> Any:  # fmt: skip
        """Compute the transform in place. Collective.

        Parameters
        ----------
        direction : FFTDirection, {'forward', 'inverse'} or {-1, 1}, optional
            Default: forward for C2C and R2C, inverse for C2R.
        stream : object, optional
            CUDA stream. Default: the package's current one. Without effect on the CPU.
        sync_symmetric_memory : bool
            Without effect: executions wait for the other ranks where they have to, in the order of the stream.
        release_workspace : bool
            Without effect: receive buffers are shared with the other ranks, and go back with `free`.

        Returns
        -------
        array
            This rank's part of the result: a view of the operand's buffer, or the operand itself where it has the same
            layout.

        Raises
        ------
        InvalidFFTState
            Before `plan`, after `release_operand` or `free`.
        ValueError
            If the kind of transform does not have the direction.
        TimeoutError
            If other ranks do not come.
        """
        active = self._mirror if self._is_mirrored and self._mirror is not None else self
        return self._execute_together(lambda: active._run(direction, stream))

    def _run(self, direction: Any, stream: Any) -> Any:
        key = None
        if direction is not None:
            chosen = as_direction(direction)
            possible = DIRECTIONS_OF[self._problem.kind]
            if chosen not in possible:
                raise ValueError(f"direction is {chosen.name}; {self._problem.kind} transforms are {possible[0].name}")
            key = int(chosen)
        operand = self._executor.run(key, None, stream)
        if operand is None:
            operand = self._execute(key, None, stream)
        problem = self._problem
        shape, strides, dtype = problem.local_shapes[1], problem.result_strides, problem.dtypes[1]
        if (shape, strides, dtype) == (problem.local_shapes[0], problem.strides, problem.dtypes[0]):
            return operand
        return memory.view(self._package, operand, shape, strides, dtype)

    def reset_operand(self, operand: Any, *, distribution: Distribution | Sequence[Box], stream: Any = None) -> None:
        """Replace the operand by one with the same package, dtype and layout.

        Parameters
        ----------
        operand : array
        distribution : Slab, BlockCyclic, BlockNonCyclic, or pair of Box
            That of the plan; for C2C transforms whose result lies otherwise than the operand, also that of the result,
            and the result then lies as the operand did.

        Raises
        ------
        TypeError, ValueError
            If the new operand or the distribution does not fit; the old one stays then.
        RuntimeError
            If its buffer does not hold the result.
        InvalidFFTState
            After `free`.
        """
        self._resetting("reset_operand", lambda: self._take(operand, distribution))

    def reset_operand_unchecked(
        self, operand: Any, *, distribution: Distribution | Sequence[Box], stream: Any = None
    ) -> None:
        """`reset_operand` for callers that know that operand and distribution fit."""
        self._take(operand, distribution)

    def _take(self, operand: Any, distribution: Any) -> None:
        self._require("reset", "reset_operand")
        given = as_given(distribution, len(self._problem.shapes[0]))
        if same(given, self._given):
            active, idle, mirrored = self, self._mirror, False
        elif self._mirror is not None and same(given, self._given.mirrored):
            active, idle, mirrored = self._mirror, self, True
        else:
            planned = [self._given.described()] + ([self._given.mirrored.described()] if self._mirror else [])
            raise ValueError(f"distribution is {given.described()}; expected {' or '.join(planned)}, as planned")
        slot = active._slots["operand"]
        binding = active._binding_for("operand", slot, operand)
        free, needed = memory.available(self._package, operand), active._problem.capacity
        if free < needed:
            raise RuntimeError(
                f"the buffer has {free} bytes from the operand on, and the operand or the result needs {needed}; "
                "allocate_operand() makes one that is large enough"
            )
        commit({slot: binding}, (self, {"_is_mirrored": mirrored}))
        if idle is not None:
            idle._drop_operands()

    @property
    def state(self) -> Any:
        """Where the object stands in its life."""
        if getattr(self, "_is_mirrored", False) and self._mirror is not None and not self._freed:
            return self._mirror.state
        return super().state

    def release_operand(self) -> None:
        """Drop the reference to the operand; the plan stays, and `reset_operand` brings a new one."""
        self._release()
        if self._mirror is not None:
            self._mirror._drop_operands()
        self._is_mirrored = False

    def free(self) -> None:
        """Release the plan, the workspace and the references to the operand. Calling it again does nothing."""
        if getattr(self, "_mirror", None) is not None:
            self._mirror.free()  # type: ignore[union-attr]
        super().free()

    def _pipeline(self) -> Pipeline:
        assert self._plan_made is not None
        run: Run = self._plan_made.prepared.programs[None].function
        return run.pipeline

    def _report_parts(self) -> list[str | Table]:
        """What was chosen, and what this rank sends and receives in each exchange, with the time expected."""
        pipeline = self._pipeline()
        lines = super()._report_parts()
        for number, traffic in enumerate(pipeline.traffics, 1):
            lines += exchange_report(traffic, self._transport, f"exchange {number} of {len(pipeline.traffics)}")
        stages = [f"axes {', '.join(map(str, stage.axes))}" for stage in pipeline.route.stages if stage.axes]
        lines.append(f"transforms: {'; then '.join(stages)}")
        measured = self._plan_made.measurements if self._plan_made else ()
        if measured:
            lines.append(f"the slowest rank took {format_seconds(measured[0].warm)}")
        return lines

    def _local_providers(self) -> Sequence[Any]:
        return providers_for(self._group, self._package, lambda: self._slots["operand"].array, self._space)

    def _result_slots(self, problem: FFTProblem) -> dict[str, ArraySlot]:
        return {}

    def _inplace_operand(self) -> str | None:
        return "operand"

    def _scratch(self, plan: Any) -> tuple[dict[str, ArraySlot], Any]:
        """Memory of its own with the operand's values, and room for the result."""
        problem, slot = self._problem, self._slots["operand"]
        size = -(-problem.capacity // slot.itemsize)
        room = self._package.empty((size,), (1,), slot.dtype, self._device_id)
        copy = memory.view(self._package, room, slot.shape, slot.strides, problem.dtypes[0])
        copy[...] = slot.array
        scratch = self._make_slot(slot.layout, writeable=True)
        commit({scratch: self._binding_for("operand", scratch, copy)})
        return {"operand": scratch}, None

    def _tuning_key(self, problem: FFTProblem) -> str:
        return super()._tuning_key(problem._replace(rank=0, strides=(), result_strides=()))

    def _describe(self) -> str:
        p = self._problem
        return (
            f"{p.kind} {p.dtypes[0]} {p.shapes[0]} axes={p.axes} on {self._group.nranks} ranks, here "
            f"{p.local_shapes[0]} to {sections.shape_of(p.target[p.rank])}"
        )


def same(one: Given, other: Given) -> bool:
    """Whether two distributions are equal; boxes by this rank's own."""
    return one.operand == other.operand and one.result == other.result


def _once(
    name: str, domain: Any, operand: Any, distribution: Any, options: Any, stream: Any, direction: int,
    error: type[Exception], kind: str,
) -> Any:  # fmt: skip
    group = required_context().process_group
    with agreed(group, f"{name}()"):
        dtype = package_of(operand, "operand").layout(operand, "operand").dtype
        if dtype not in domain:
            raise error(f"{name}() got an operand of dtype {dtype}; expected {' or '.join(domain)}")
        chosen = as_options(FFTOptions, options)
        if kind == "C2R" and chosen.fft_type is None:
            chosen = replace(chosen, fft_type="C2R")
    with FFT(operand, distribution=distribution, options=chosen, stream=stream) as transform:
        transform._plan_together(partial(transform._made_plan, stream))
        return transform.execute(direction=direction, stream=stream)


_COMPLEX = [dtype for dtype in REAL_OF if dtype != "complex32"]
_REAL = [dtype for dtype in COMPLEX_OF if dtype != "float16"]


@of_one
def fft(
    operand: Any, /, *, distribution: Distribution | Sequence[Box], sync_symmetric_memory: bool = True,
    options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None, stream: Any = None,
) -> Any:  # fmt: skip
    """Transform a complex array forward, in place. Collective; parameters are those of `FFT`.

    Examples
    --------
    >>> import numpy as np
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.fft import Slab, fft
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nvshmem"])
    >>> fft(np.array([[0, 1], [0, 0j]]), distribution=Slab.X).real
    array([[ 1., -1.],
           [ 1., -1.]])
    >>> distributed.finalize()
    """
    return _once("fft", _COMPLEX, operand, distribution, options, stream, -1, ValueError, "C2C")


@of_one
def ifft(
    operand: Any, /, *, distribution: Distribution | Sequence[Box], sync_symmetric_memory: bool = True,
    options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None, stream: Any = None,
) -> Any:  # fmt: skip
    """Transform a complex array backward, in place and not scaled. Collective; parameters are those of `FFT`."""
    return _once("ifft", _COMPLEX, operand, distribution, options, stream, 1, ValueError, "C2C")


@of_one
def rfft(
    operand: Any, /, *, distribution: Distribution | Sequence[Box], sync_symmetric_memory: bool = True,
    options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None, stream: Any = None,
) -> Any:  # fmt: skip
    """Transform a real array, in place. Collective; parameters are those of `FFT`."""
    return _once("rfft", _REAL, operand, distribution, options, stream, -1, RuntimeError, "R2C")


@of_one
def irfft(
    operand: Any, /, *, distribution: Distribution | Sequence[Box], sync_symmetric_memory: bool = True,
    options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None, stream: Any = None,
) -> Any:  # fmt: skip
    """Transform a half spectrum back into a real array, in place and not scaled. Collective; parameters as of `FFT`."""
    return _once("irfft", _COMPLEX, operand, distribution, options, stream, 1, ValueError, "C2R")
