"""The stateful transform."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import log2, prod
from typing import Any

from planmath.core.arrays import ITEMSIZE, Layout, contiguous_strides, dtype_name, package_of
from planmath.core.errors import InvalidStateError
from planmath.core.execution import Execution, resolve_execution
from planmath.core.operation import Operation, Plan
from planmath.core.options import as_options
from planmath.core.provider import choose_providers
from planmath.core.slots import ArraySlot
from planmath.core.tuning.limits import Work
from planmath.core.typed import A_co, result
from planmath.fft.callbacks import as_given, with_callbacks
from planmath.fft.options import FFTDirection, FFTOptions, FFTOptionsDict, as_direction
from planmath.fft.problem import DIRECTIONS_OF, FFTProblem, specify
from planmath.fft.providers import PLAIN, PROVIDERS, Estimating
from planmath.report.pages import Table


class InvalidFFTState(InvalidStateError):
    """A method of `FFT` was called out of order."""


class FFT(Operation[A_co]):
    """A Fourier transform that is planned once and executed many times.

    Parameters
    ----------
    operand : numpy.ndarray, cupy.ndarray or torch.Tensor
        Of float32, float64, complex64 or complex128, of any shape and strides. CUDA devices transform half precision
        too, float16 and PyTorch's complex32, along axes whose extents are powers of two.
    axes : sequence of int, optional
        The axes to transform, in any order and number; for R2C and C2R the last one named is the one whose extent
        differs between operand and result. Default: all.
    options : FFTOptions or dict, optional
    execution : {'cpu', 'cuda'}, dict, ExecutionCPU or ExecutionCUDA, optional
        Where to compute. Default: where the operand is. An operand from elsewhere is copied there in each execution,
        and the result comes back.
    stream : object, optional
        Not needed yet; the methods that put work on a CUDA stream take it too.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe a transform.

    Notes
    -----
    Inverse transforms are not scaled: a forward and an inverse transform multiply by the number of elements
    transformed. An object may be used by one thread at a time.

    C2R is defined for any operand, in all providers, as in `numpy.fft.irfftn`: complex inverse transforms along all
    axes but the last one, then a transform along that, which ignores the imaginary parts of its first element and,
    where the result has an even number of them, of its last. For Hermitian-symmetric operands it is the inverse of R2C.

    Examples
    --------
    >>> import numpy as np, planmath
    >>> a = np.arange(8.0).reshape(2, 4) + 0j
    >>> with planmath.fft.FFT(a, axes=[-1]) as transform:
    ...     transform.plan()
    ...     first = transform.execute()
    ...     transform.reset_operand(2 * a)
    ...     second = transform.execute()
    >>> np.allclose(second, 2 * first)
    True
    >>> first.round(3)
    array([[ 6.+0.j, -2.+2.j, -2.+0.j, -2.-2.j],
           [22.+0.j, -2.+2.j, -2.+0.j, -2.-2.j]])
    """

    noun = "FFT"
    reset_name = "reset_operand"
    release_name = "release_operand"
    invalid_state = InvalidFFTState

    def __init__(
        self,
        operand: A_co,
        /,
        *,
        axes: Sequence[int] | None = None,
        options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        super().__init__(as_options(FFTOptions, options))
        package = package_of(operand, "operand")
        layout = package.layout(operand, "operand")
        self._execution = resolve_execution(execution, layout.memory_space, layout.device_id)
        self._problem = specify(layout, axes, self._options, self._execution, package.address(operand))
        self._add_operand("operand", operand, writeable=self._options.inplace)
        self._log_specification()

    def plan(self, *, prolog: Any = None, epilog: Any = None, stream: Any = None, direction: Any = None) -> None:
        """Choose how to compute the transform, and prepare it.

        Parameters
        ----------
        prolog, epilog : DeviceCallable or dict, optional
            Callbacks, which take the place of loading and storing each element, in both directions of C2C; see
            `compile_prolog` and `compile_epilog`. They belong to the plan, with the address of their data.
        stream : object, optional
            CUDA stream that temporary memory is allocated for; see `execute`. Without effect on the CPU.
        direction : FFTDirection, {'forward', 'inverse'} or {-1, 1}, optional
            The only direction that will be executed. Default: C2C transforms are planned for both.

        Raises
        ------
        InvalidFFTState
            After `release_operand` or `free`.
        UnavailableError
            If no provider can compute the transform.
        OutOfDeviceMemoryError
            If a CUDA device has no memory left for it; the object is as it was.
        TypeError, ValueError
            If a callback is none, or does not suit operand, result or where they are computed.
        """
        self._plan_for(with_callbacks(self._problem, prolog, epilog), stream, direction)

    def _plan_for(self, problem: FFTProblem, stream: Any, direction: Any) -> None:
        if direction is not None:
            problem = problem._replace(directions=(int(self._checked_direction(direction, problem)),))
        self._make_plan(problem, self._slots, stream=stream)

    def autotune(
        self, iterations: int = 10, prune: int | None = None, *, stream: Any = None, seconds: float | None = None
    ) -> None:
        """Measure every way of every provider to compute the transform, and adopt the fastest.

        The measurements go into the tuning record, which the next `plan` of the same transform uses.

        Parameters
        ----------
        iterations : int
            Repetitions of each candidate that stays in the race.
        prune : int, optional
            How many of the fastest algorithms to keep in `report`. Default: all.
        stream : object, optional
            CUDA stream to measure on; see `execute`. Without effect on the CPU.
        seconds : float, optional
            How long this may take. What had no turn by then is not chosen, and `report` names it. Default: 8, and more
            for what runs longer than 0.1 s. Ctrl-C ends it earlier, and keeps what was measured as well.

        Raises
        ------
        InvalidFFTState
            Before `plan`, after `release_operand` or `free`.
        """
        self._autotune(iterations, prune, stream, seconds)

    @result
    def execute(
        self, direction: Any = None, stream: Any = None, release_workspace: bool = False, *, out: Any = None
    ) -> Any:
        """Compute the transform.

        Parameters
        ----------
        direction : FFTDirection, {'forward', 'inverse'} or {-1, 1}, optional
            Default: what was planned; for C2C forward.
        stream : object, optional
            CUDA stream to put the work on: a stream of PyTorch, CuPy or cuda.core, or its address. Default: the current
            stream of the operand's package. Work on another stream than the last execution's waits for that one.
            Without effect on the CPU.
        release_workspace : bool
            Whether to give temporary memory back afterwards.
        out : array, optional
            Where to put the result: same package and place as the operand, with the shape, dtype and strides that
            `empty_result` gives. Nothing is allocated then.

        Returns
        -------
        array
            A new array, or `out`, or for ``options.inplace`` the operand.

        Raises
        ------
        InvalidFFTState
            Before `plan`, after `release_operand` or `free`.
        ValueError
            If the direction was not planned, or `out` does not fit.
        UnsupportedLayoutError
            If the operand or `out` is on a CUDA device, at an address that is no multiple of the size of a complex
            element. Operands that were so when the object was created are copied first.
        """
        result = self._executor.run(direction, out, stream)
        if result is None:
            result = self._execute_carefully(direction, out, stream)
        if release_workspace:
            self._executor.release_workspace()
        return result

    def reset_operand(self, operand: Any, *, stream: Any = None) -> None:
        """Replace the operand by one with the same package, memory space, dtype, shape and strides.

        Parameters
        ----------
        operand : array
        stream : object, optional
            Accepted for symmetry: nothing is put on a stream here.

        Raises
        ------
        TypeError, ValueError
            If the new operand does not fit; the old one stays then.
        InvalidFFTState
            After `free`.
        """
        if not self._executor.bind_one(0, operand):
            self._reset({"operand": operand}, "reset_operand")

    def reset_operand_unchecked(self, operand: Any, *, stream: Any = None) -> None:
        """`reset_operand` for callers that know that the operand fits.

        The comparison that keeps a wrong operand from crashing the process costs some nanoseconds and is made here
        as well.
        """
        if not self._executor.bind_one(0, operand):
            self._reset({"operand": operand}, "reset_operand_unchecked")

    def release_operand(self) -> None:
        """Drop the reference to the operand; the plan stays, and `reset_operand` brings a new one.

        Raises
        ------
        InvalidFFTState
            After `free`.
        """
        self._release()

    @staticmethod
    def create_key(
        operand: Any,
        *,
        axes: Sequence[int] | None = None,
        options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        prolog: Any = None,
        epilog: Any = None,
    ) -> FFTProblem:
        """A key for a cache of planned transforms: equal keys mean that one plan serves both.

        Parameters are those of `FFT`.

        Examples
        --------
        >>> import numpy as np
        >>> from planmath.fft import FFT
        >>> FFT.create_key(np.zeros((4, 4)), axes=[0]) == FFT.create_key(np.ones((4, 4)), axes=[-2])
        True
        """
        package = package_of(operand, "operand")
        layout = package.layout(operand, "operand")
        space = resolve_execution(execution, layout.memory_space, layout.device_id)
        problem = specify(layout, axes, as_options(FFTOptions, options), space, package.address(operand))
        return with_callbacks(problem, prolog, epilog)

    @staticmethod
    def create_key_from_metadata(
        shape: Sequence[int],
        dtype: Any,
        memory_space: str,
        *,
        strides: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        prolog: Any = None,
        epilog: Any = None,
    ) -> FFTProblem:
        """The key of a transform whose operand does not exist yet.

        Parameters
        ----------
        shape : sequence of int
        dtype : dtype or str
            Of any package, or its name, or NumPy's code for it, such as 'f8'.
        memory_space : {'cpu', 'cuda'}
        strides : sequence of int, optional
            In elements. Default: C order.
        axes, options, execution, prolog, epilog
            As for `FFT`.

        Raises
        ------
        TypeError, ValueError
            If they do not describe an array, or the arguments no transform of it.

        Examples
        --------
        >>> import numpy as np
        >>> from planmath.fft import FFT
        >>> FFT.create_key_from_metadata((4, 4), "float64", "cpu") == FFT.create_key(np.zeros((4, 4)))
        True
        """
        if memory_space not in ("cpu", "cuda"):
            raise ValueError(f"memory_space is {memory_space!r}; expected 'cpu' or 'cuda'")
        shape = _integers("shape", shape)
        if any(extent < 0 for extent in shape):
            raise ValueError(f"shape is {shape}; expected extents of at least 1")
        steps = contiguous_strides(shape) if strides is None else _integers("strides", strides)
        if len(steps) != len(shape):
            raise ValueError(f"strides has {len(steps)} numbers and shape {len(shape)}; expected as many")
        layout = Layout(shape, steps, dtype_name(dtype), memory_space, None)
        problem = specify(layout, axes, as_options(FFTOptions, options), resolve_execution(execution, memory_space))
        return with_callbacks(problem, prolog, epilog)

    def get_key(self, *, prolog: Any = None, epilog: Any = None) -> FFTProblem:
        """This transform's key, equal to `create_key` of its operand, axes, options, execution and callbacks."""
        return with_callbacks(self._problem, prolog, epilog)

    def get_input_layout(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape, and strides in elements, of the operand."""
        return self._problem.shape, self._problem.strides

    def get_output_layout(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape, and strides in elements, of the result."""
        return self._problem.result_shape, self._problem.result_strides

    def _report_parts(self) -> list[str | Table]:
        parts = super()._report_parts()
        assert self._plan_made is not None
        problem = self._plan_made.problem
        sides = {
            "prolog": ("operand", problem.shape, problem.strides),
            "epilog": ("result", problem.result_shape, problem.result_strides),
        }
        for callback in problem.callbacks:
            side, shape, strides = sides[callback.phase]
            parts.append(f"{callback.name}: offsets in the {side} of shape {shape} by the strides {strides}")
        return parts

    def _providers(self) -> Sequence[Any]:
        return PROVIDERS

    def _result_slots(self, problem: FFTProblem) -> dict[str, ArraySlot]:
        if problem.inplace:
            return {}
        layout = Layout(problem.result_shape, problem.result_strides, problem.result_dtype, "", None)
        return {"result": self._make_slot(layout, writeable=True)}

    def _inplace_operand(self) -> str | None:
        return "operand" if self._options.inplace else None

    def _tuning_key(self, problem: FFTProblem) -> str:
        """One entry serves both directions of a transform: the work is the same."""
        return super()._tuning_key(problem._replace(directions=()))

    def _stays_because(self) -> str | None:
        for callback in () if self._plan_made is None else self._plan_made.problem.callbacks:
            if callback.address and callback.owner is None:
                return f"the data of its {callback.phase} is an address in this process; give the array itself as data"
        return super()._stays_because()

    def _asked(self, plan: Plan) -> dict[str, Any]:
        problem = plan.problem
        directions = problem.directions
        callbacks = {callback.phase: as_given(callback) for callback in problem.callbacks}
        return {**callbacks, "direction": directions[0] if len(directions) == 1 else None}

    def _work(self) -> Work:
        problem = self._problem
        whole, along = prod(problem.real_shape), prod(problem.real_shape[axis] for axis in problem.axes)
        sides = (problem.shape, problem.dtype), (problem.result_shape, problem.result_dtype)
        moved = sum(prod(shape) * ITEMSIZE[dtype] for shape, dtype in sides)
        # what the field counts for radix 2 (Frigo and Johnson, Proceedings of the IEEE 93(2), 2005, section II)
        flops = (5 if problem.kind == "C2C" else 2.5) * whole * log2(max(along, 2))
        return Work(flops, max(moved, 1), problem.dtype)

    def _describe(self) -> str:
        p = self._problem
        place = ", in place" if p.inplace else ""
        return f"{p.kind} {p.dtype} {p.shape} axes={p.axes}{place} on {p.execution[0]}"

    def _checked_direction(self, direction: Any, problem: FFTProblem) -> FFTDirection:
        chosen = as_direction(direction)
        if chosen not in DIRECTIONS_OF[problem.kind]:
            raise ValueError(
                f"direction is {chosen.name}; {problem.kind} transforms are {DIRECTIONS_OF[problem.kind][0].name}"
            )
        return chosen

    def _execute_carefully(self, direction: Any, out: Any, stream: Any) -> Any:
        self._require("execute")
        if direction is not None:
            assert self._plan_made is not None
            problem = self._plan_made.problem
            direction = self._checked_direction(direction, problem)
            if direction not in problem.directions:
                planned = FFTDirection(problem.directions[0]).name
                raise ValueError(f"direction is {direction.name}, but plan() was asked for {planned} only; plan again")
        return self._execute(direction, out, stream)


def estimate_workspace_size(key: FFTProblem, *, technique: str = "default", handle: int | None = None) -> int:
    """Bytes of temporary memory that planmath allocates for executing the transform of this key.

    Parameters
    ----------
    key : tuple
        From `FFT.create_key`, `FFT.create_key_from_metadata` or `FFT.get_key`; callbacks in it do not count.
    technique : {'default', 'refined'}
        How to ask cuFFT: by ``cufftEstimateMany``, which does without a plan's handle, or by ``cufftXtGetSizeMany``. On
        the CPU, both ask the provider that would be chosen.
    handle : int, optional
        A cuFFT plan handle whose properties count for 'refined'. Default: a new one.

    Raises
    ------
    UnavailableError
        If no provider can compute the transform.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.fft import FFT, estimate_workspace_size
    >>> estimate_workspace_size(FFT.create_key(np.ones(8, complex)))
    0
    """
    if not isinstance(key, FFTProblem):
        raise TypeError(f"key is a {type(key).__name__}; expected one made by FFT.create_key")
    if technique not in ("default", "refined"):
        raise ValueError(f"technique is {technique!r}; expected 'default' or 'refined'")
    key = key.plain
    provider = choose_providers(PLAIN, None, key)[0]
    if isinstance(provider, Estimating):
        return provider.workspace_size(key, technique, handle)
    return provider.prepare(key, provider.algorithms(key)[0]).workspace_size


def _integers(name: str, values: Any) -> tuple[int, ...]:
    try:
        return tuple([operator.index(value) for value in values])
    except TypeError:
        raise TypeError(f"{name} is {values!r}; expected a sequence of integers, such as {name}=(4,)") from None
