"""The stateful matrix multiplication, and the function for single use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from planmath.core import provider
from planmath.core.arrays import ITEMSIZE, Layout, Package, package_of
from planmath.core.errors import InvalidStateError
from planmath.core.execution import Execution, ExecutionCUDA, resolve_execution
from planmath.core.operation import Operation, Plan
from planmath.core.options import as_options
from planmath.core.pickling import operands
from planmath.core.scalars import checked
from planmath.core.slots import ArraySlot, commit
from planmath.core.tuning.limits import Work
from planmath.core.typed import A_co, result
from planmath.linalg.advanced.algorithm import Algorithm
from planmath.linalg.advanced.enums import MatmulEpilog
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.narrow import (
    as_block_scales,
    as_scale,
    auxiliary_dtype,
    check_result,
    check_scales,
    given_scales,
)
from planmath.linalg.advanced.options import (
    MatmulEpilogPreferences,
    MatmulOptions,
    MatmulOptionsDict,
    MatmulPlanPreferences,
    MatmulPlanPreferencesDict,
    MatmulQuantizationScales,
    MatmulQuantizationScalesDict,
    for_devices,
)
from planmath.linalg.advanced.problem import (
    AUXILIARY_SCALE,
    MatmulProblem,
    narrow_result,
    result_order,
    scale_slot,
)
from planmath.linalg.advanced.providers import PROVIDERS, expected_order
from planmath.linalg.advanced.specification import (
    as_epilog,
    as_epilog_inputs,
    check_epilog_input,
    check_execution_space,
    epilog_matrix,
    specify,
)
from planmath.linalg.product.matrix import ALIGNED, Matrix


class InvalidMatmulState(InvalidStateError):
    """A method of `Matmul` was called out of order."""


class Matmul(Operation[A_co]):
    """A matrix multiplication, ``epilog(alpha * a @ b + beta * c)``, planned once and executed many times.

    Parameters
    ----------
    a, b : numpy.ndarray, cupy.ndarray or torch.Tensor
        Matrices (m, k) and (k, n), vectors (k,), or batches of matrices (..., m, k) and (..., k, n) with equal batch
        shapes; a single matrix is used for the whole batch of the other. float16, float32, float64, complex64 or
        complex128; for torch also bfloat16, int8 with int32 results, float8_e4m3fn, float8_e5m2 and float4_e2m1fn_x2.
        Row- or column-major; operands of 8 and 4 bits need a row-major a and a column-major b.
    c : array, optional
        (m, n) or (m, 1), with or without the batch; a single column is added to all.
    alpha, beta : number, optional
        Default: 1; beta must be given where c is.
    qualifiers : numpy.ndarray, optional
        Of `matrix_qualifiers_dtype`, three elements for a, b and c: whether to conjugate them. PyTorch's lazy
        conjugates, ``x.conj()`` and ``x.mH``, are not carried out in memory, but taken as conjugated so as well.
    quantization_scales : MatmulQuantizationScales or dict, optional
        For operands of 8 and 4 bits, which need them: of a and b, and of d where the result is FP8. With
        ``options.block_scaling``, arrays with one for each block of a and b.
    options : MatmulOptions or dict, optional
    execution : {'cpu', 'cuda'}, dict, ExecutionCPU or ExecutionCUDA, optional
        Where to compute. Default: where the operands are.
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe a multiplication.

    Notes
    -----
    As in BLAS, where alpha is 0 the values of a and b do not matter, and where beta is 0 those of c do not, not even
    NaN and infinity. All providers agree about NaN, infinity, subnormal numbers and the signs of zeros, but for
    intermediate values that overflow, and for which part of a complex number with a NaN is NaN. A sum of int8 products
    that int32 does not hold is its value modulo 2^32; what is added to it on a device, the largest int32 where a kernel
    saturates. On devices, a complex c with an infinity is multiplied by a beta of 1 as by any other, which makes NaN of
    its other part; and epilogs that sum up a or b (BGRADA, BGRADB) and operands with scales of blocks are read there
    whatever alpha is.

    The result is row-major where a is, unless c (whose order it takes) or the epilog (bias, masks and gradients need
    columns) decide otherwise. An object may be used by one thread at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg.advanced import Matmul, MatmulEpilog
    >>> a, b, bias = np.array([[1.0, 2], [3, -4]]), np.array([[5.0, -6], [7, -8]]), np.array([1.0, 2])
    >>> with Matmul(a, b) as mm:
    ...     algorithms = mm.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias})
    ...     first = mm.execute()
    ...     mm.reset_operands(a=-a)
    ...     second = mm.execute()
    >>> first
    array([[20.,  0.],
           [ 0., 16.]])
    >>> second
    array([[ 0., 23.],
           [15.,  0.]])
    """

    noun = "Matmul"
    invalid_state = InvalidMatmulState

    def __init__(
        self,
        a: A_co,
        b: Any,
        /,
        c: Any = None,
        *,
        alpha: complex | None = None,
        beta: complex | None = None,
        qualifiers: np.ndarray | None = None,
        quantization_scales: MatmulQuantizationScales | MatmulQuantizationScalesDict | dict[str, Any] | None = None,
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        chosen = as_options(MatmulOptions, options)
        super().__init__(chosen)
        package = package_of(a, "a")
        layouts = {"a": package.layout(a, "a", lazy=True), "b": package_of(b, "b").layout(b, "b", lazy=True)}
        if c is not None:
            layouts["c"] = package_of(c, "c").layout(c, "c", lazy=not chosen.inplace)
        device_id = layouts["a"].device_id
        self._execution = resolve_execution(execution, layouts["a"].memory_space, device_id)
        if isinstance(execution, str) and isinstance(self._execution, ExecutionCUDA) and device_id is None:
            self._execution = replace(self._execution, device_id=chosen.device_id or 0)
        check_execution_space(chosen, self._execution)
        self._problem = specify(
            layouts, chosen, qualifiers, self._execution, package.name,
            {name: self._alignment(package, array) for name, array in (("a", a), ("b", b), ("c", c))},
            given_scales(quantization_scales),
        )  # fmt: skip
        scales = self._checked_scales(quantization_scales, all_of=True)
        self._squeeze = tuple(len(layouts[name].shape) == 1 for name in "ab")
        if c is not None and beta is None:
            raise ValueError("beta was not given, but c was; pass beta=1.0 to add c")
        if c is None and beta is not None:
            self._logger.warning("Matmul: beta = %s is ignored, because c was not given.", beta)
        for name, array in (("a", a), ("b", b), ("c", c)):
            if array is not None:
                self._add_operand(name, array, writeable=name == "c" and chosen.inplace, lazy=True)
        for name, value in scales.items():
            self._add_operand(scale_slot(name), self._as_scale(name, value))
        #: Where the executor finds the epilog's inputs, when there is a plan.
        self._input_places: dict[str, int] = {}
        scalars = {"alpha": 1 if alpha is None else alpha, "beta": beta if c is not None else 0}
        for name, number in checked(scalars, self._problem.scale).items():
            self._constants[name] = self._constant(number)
        self._log_specification()

    def plan(
        self,
        *,
        preferences: MatmulPlanPreferences | MatmulPlanPreferencesDict | dict[str, Any] | None = None,
        algorithms: Sequence[Algorithm] | Algorithm | None = None,
        epilog: MatmulEpilog | None = None,
        epilog_inputs: dict[str, Any] | None = None,
        stream: Any = None,
    ) -> list[Algorithm]:
        """Choose how to compute the product, and prepare it.

        Parameters
        ----------
        preferences : MatmulPlanPreferences or dict, optional
        algorithms : sequence of Algorithm, optional
            The only ones to consider, for example those of an earlier, autotuned plan, or of another process. On CUDA,
            also changed ones (`Algorithm`), which are checked.
        epilog : MatmulEpilog, optional
            What to do to the product before it becomes the result. Complex dtypes have DEFAULT only.
        epilog_inputs : dict, optional
            The arrays that the epilog needs: ``bias`` (m,), (m, 1) or (..., m, 1); ``relu_aux`` or ``gelu_aux`` as the
            forward epilog returned it; ``aux_quantization_scale``, a number or an array of one float32, where
            ``preferences.epilog.aux_type`` is FP8.
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Returns
        -------
        list of Algorithm
            The applicable ones, the chosen one first.

        Raises
        ------
        InvalidMatmulState
            After `release_operands` or `free`.
        ValueError
            If the epilog lacks an input, or one does not fit. An earlier plan stays then.
        """
        self._require("plan")
        limits = as_options(MatmulPlanPreferences, preferences, "preferences")
        problem, slots = self._with_epilog(as_epilog(epilog), epilog_inputs, limits)
        if isinstance(algorithms, Algorithm):
            algorithms = [algorithms]
        elif algorithms is not None and not isinstance(algorithms, list | tuple):
            raise TypeError(f"algorithms is a {type(algorithms).__name__}; expected an Algorithm, or a list of them")
        given = list(algorithms or ())
        for algorithm in given:
            if not isinstance(algorithm, Algorithm):
                raise TypeError(f"algorithms has a {type(algorithm).__name__}; expected Algorithm objects")
        hints = for_devices(limits) if problem.cuda is None else {}
        asked = {"preferences": limits, "algorithms": given, "epilog": problem.epilog}
        self._make_plan(problem, slots, [algorithm._algorithm for algorithm in given], stream, hints, asked)
        return self.algorithms[: limits.limit]

    @property
    def algorithms(self) -> list[Algorithm]:
        """The algorithms that the plan knows, the chosen one first.

        Raises
        ------
        InvalidMatmulState
            Before `plan` and after `free`.
        """
        if self._plan_made is None:
            raise self.invalid_state(f"algorithms are known after plan(); the object is {self.state.value}")
        return [Algorithm(algorithm) for algorithm in self._plan_made.algorithms]

    def applicable_algorithm_ids(self, limit: int = 8) -> tuple[int, ...]:
        """The ids of at most `limit` algorithms that can compute the product: on CUDA, the library's own numbers."""
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"limit is {limit!r}; expected a positive integer")
        if self._plan_made is not None:
            chosen = self._provider_of(self._plan_made.chosen)
            if hasattr(chosen, "algorithm_ids"):
                with self._on_device():
                    return chosen.algorithm_ids(self._plan_made.problem, limit)
        return tuple(algorithm.algorithm_id for algorithm in self.algorithms[:limit])

    def autotune(
        self, iterations: int = 10, prune: int | None = None, release_workspace: bool = False, stream: Any = None, *,
        seconds: float | None = None,
    ) -> None:  # fmt: skip
        """Measure every way of every provider to compute the product, and adopt the fastest.

        The measurements go into the tuning record, which the next `plan` of the same product uses.

        Parameters
        ----------
        iterations : int
            Repetitions of each candidate that stays in the race.
        prune : int, optional
            How many of the fastest algorithms to keep. Default: all.
        release_workspace : bool
            Whether to give temporary memory back afterwards.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        seconds : float, optional
            How long this may take. What had no turn by then is not chosen, and `report` names it. Default: 8, and more
            for what runs longer than 0.1 s. Ctrl-C ends it earlier, and keeps what was measured as well.

        Raises
        ------
        InvalidMatmulState
            Before `plan`, after `release_operands` or `free`.
        """
        self._autotune(iterations, prune, stream, seconds)
        if release_workspace:
            self._executor.release_workspace()

    @result
    def execute(
        self,
        *,
        algorithm: Algorithm | None = None,
        release_workspace: bool = False,
        stream: Any = None,
        out: Any = None,
    ) -> Any:
        """Compute the product.

        Parameters
        ----------
        algorithm : Algorithm, optional
            One of `algorithms` to use this time or, on CUDA, one of them with other settings. Default: the chosen one.
        release_workspace : bool
            Whether to give temporary memory back afterwards.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        out : array, or tuple of array and dict, optional
            Where to put the result, and the auxiliary results where the epilog has some: with the shapes, dtypes and
            strides that `empty_result` gives. Nothing is allocated then.

        Returns
        -------
        array, or tuple of array and dict
            The result, in the same package as the operands (`out`, or for ``options.inplace`` c itself). Where there
            are auxiliary results, also these by name: those of epilogs, ``result_amax`` with ``options.result_amax``,
            ``gelu_aux_amax`` with ``preferences.epilog.aux_amax``, and ``d_out_scale``, the scales of a result's
            blocks, with ``options.block_scaling`` where the result has 8 bits or 4.

        Raises
        ------
        InvalidMatmulState
            Before `plan`, after `release_operands` or `free`.
        ValueError
            If `out` does not fit, or the algorithm is not one of `algorithms`.
        """
        key = None if algorithm is None else getattr(algorithm, "_algorithm", algorithm)
        result = self._executor.run(key, out, stream)
        if result is None:
            result = self._execute_carefully(algorithm, out, stream)
        if release_workspace:
            self._executor.release_workspace()
        return result

    def reset_operands(
        self,
        *,
        a: Any = None,
        b: Any = None,
        c: Any = None,
        alpha: complex | None = None,
        beta: complex | None = None,
        quantization_scales: Any = None,
        epilog_inputs: dict[str, Any] | None = None,
        stream: Any = None,
    ) -> None:
        """Replace operands by ones with the same package, memory space, dtype, shape and strides.

        Where a lazy conjugate was planned, new ones are lazy conjugates too.

        Parameters
        ----------
        a, b, c : array, optional
        alpha, beta : number, optional
        quantization_scales : MatmulQuantizationScales or dict, optional
            For FP8 operands, those to replace.
        epilog_inputs : dict, optional
            The epilog's inputs to replace, by name.
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError, ValueError
            If an operand does not fit, or none is given, or after `release_operands` not all are; all stay then.
        InvalidMatmulState
            After `free`.
        """
        if alpha is None and beta is None and quantization_scales is None:
            if epilog_inputs is None and c is None:
                if self._executor.bind_many((a, b)):
                    return
            elif self._executor.bind_many(self._in_order(a, b, c, epilog_inputs)):
                return
        self._reset_carefully("reset_operands", a, b, c, alpha, beta, quantization_scales, epilog_inputs)

    def reset_operands_unchecked(
        self,
        *,
        a: Any = None,
        b: Any = None,
        c: Any = None,
        alpha: complex | None = None,
        beta: complex | None = None,
        quantization_scales: Any = None,
        epilog_inputs: dict[str, Any] | None = None,
        stream: Any = None,
    ) -> None:
        """`reset_operands` for callers that know that the operands fit.

        The comparison that keeps a wrong operand from crashing the process costs some nanoseconds and is made here
        as well.
        """
        if self._freed:
            self._require("reset", "reset_operands_unchecked")
        self.reset_operands(
            a=a, b=b, c=c, alpha=alpha, beta=beta, quantization_scales=quantization_scales, epilog_inputs=epilog_inputs
        )

    def release_operands(self) -> None:
        """Drop the references to all operands; the plan stays, and `reset_operands` brings new ones.

        Raises
        ------
        InvalidMatmulState
            After `free`.
        """
        self._release()

    # What the lifecycle asks for.

    def _providers(self) -> Sequence[Any]:
        return PROVIDERS

    def _preferred(self, problem: MatmulProblem, algorithms: list[provider.Algorithm]) -> list[provider.Algorithm]:
        return expected_order(problem, algorithms)

    def _result_slots(self, problem: MatmulProblem) -> dict[str, ArraySlot]:
        layouts = {} if problem.inplace else {"d": self._result_layout(problem)}
        for name, matrix in problem.auxiliary().items():
            layouts[name] = problem.array_layout(name, matrix)
        return {name: self._make_slot(layout, writeable=True) for name, layout in layouts.items()}

    def _result_layout(self, problem: MatmulProblem) -> Layout:
        d = problem.d
        drop_row, drop_column = self._squeeze
        shape = (*problem.batch, *(() if drop_row else (d.rows,)), *(() if drop_column else (d.cols,)))
        strides = (*d.batch, *(() if drop_row else (d.row,)), *(() if drop_column else (d.col,)))
        return Layout(shape, strides, d.dtype, "cpu", None)

    def _inplace_operand(self) -> str | None:
        return "c" if self._options.inplace else None

    def _work(self) -> Work:
        problem = self._problem
        matrices = [matrix for matrix in (problem.a, problem.b, problem.c, problem.d) if matrix is not None]
        moved = sum(prod(m.batch) * m.rows * m.cols * ITEMSIZE[m.dtype] for m in matrices)
        each = 8 if problem.a.dtype.startswith("complex") else 2
        flops = each * problem.m * problem.n * problem.k * prod(problem.batch)
        return Work(flops, max(moved, 1), problem.a.dtype)

    def _describe(self) -> str:
        p = self._plan_made.problem if self._plan_made else self._problem
        batch = f"{'x'.join(map(str, p.batch))} times " if p.batch else ""
        extra = "".join([" + c" if p.c else "", ", in place" if p.inplace else ""])
        epilog = f", {p.epilog.name}" if p.epilog != MatmulEpilog.DEFAULT else ""
        return f"{p.a.dtype} {batch}({p.m}, {p.k}) @ ({p.k}, {p.n}){extra}{epilog} on {p.execution[0]}"

    # Details.

    def _provider_of(self, algorithm: provider.Algorithm) -> Any:
        return next(p for p in self._providers() if p.name == algorithm.provider)

    def _alignment(self, package: Package, array: Any) -> int:
        """A power of two that divides an operand's address, as far as that matters."""
        if array is None or self._execution.space == "cpu":
            return ALIGNED
        if package.layout(array, "", lazy=True).memory_space == "cpu":
            return ALIGNED
        address = package.address(array)
        return min(ALIGNED, address & -address)

    def _checked_scales(self, scales: Any, *, all_of: bool) -> dict[str, Any]:
        """The quantization scales that a user gave, by name."""
        problem = self._problem
        dtypes = {name: matrix.dtype for name in "abcd" if (matrix := getattr(problem, name)) is not None}
        given = given_scales(scales)
        check_scales(given, problem.narrow.scaled if problem.narrow else (), dtypes, all_of=all_of)
        return given

    def _as_scale(self, name: str, value: Any) -> Any:
        """A quantization scale as an array: one number, or one a block."""
        narrow = self._problem.narrow
        if narrow is not None and narrow.blocks and name in "ab":
            scales = narrow.blocks["ab".index(name)]
            return as_block_scales(scale_slot(name), value, self._package, self._device_id, scales, self._problem.batch)
        return as_scale(scale_slot(name), value, self._package, self._device_id)

    def _with_epilog(
        self, epilog: MatmulEpilog, inputs: dict[str, Any] | None, limits: MatmulPlanPreferences
    ) -> tuple[MatmulProblem, dict[str, ArraySlot]]:
        """The problem with an epilog and the user's preferences, and the operands with the epilog's inputs."""
        base = self._problem
        kind = EPILOGS[epilog]
        given = as_epilog_inputs(inputs)
        extra = as_options(MatmulEpilogPreferences, limits.epilog, "preferences.epilog")
        auxiliary = auxiliary_dtype(epilog, extra, base, given.get("bias"))
        if base.cuda is not None:
            choices = base.cuda._replace(
                reductions=int(limits.reduction_scheme_mask), waves=float(limits.max_waves_count),
                implementations=int(limits.numerical_impl_mask),
            )  # fmt: skip
            base = base._replace(cuda=choices)
        if base.narrow is not None:
            base = base._replace(narrow=base.narrow._replace(auxiliary=auxiliary, auxiliary_amax=extra.aux_amax))
        needed = base._replace(epilog=epilog).input_names
        slots = {name: self._slots[name] for name in self._problem.operand_names}
        missing = [name for name in needed if given.get(name) is None]
        if missing:
            raise ValueError(
                f"epilog_inputs has {sorted(given) or 'nothing'}; {epilog.name} needs {', '.join(needed)}: "
                f"pass epilog_inputs={{{', '.join(f'{name!r}: ...' for name in needed)}}}"
            )
        for name in given:
            check_epilog_input(name, epilog, needed)
        if epilog != MatmulEpilog.DEFAULT and base.d.dtype.startswith("complex"):
            raise ValueError(f"epilog {epilog.name} is not defined for {base.d.dtype}; only DEFAULT is")
        row_major = base.d.leading[0] if base.inplace else result_order(base.a, base.c, epilog)
        if (kind.auxiliary and row_major) or (kind.mask in kind.inputs and row_major):
            raise ValueError(
                f"c is row-major, and {epilog.name} needs a column-major one: pass a column-major copy of c"
            )
        d = base.d if base.inplace else narrow_result(base.d.dtype, base.batch, base.m, base.n, row_major)
        if base.narrow is not None:
            check_result(d, base.d.dtype, self._options)
        matrices = []
        for name in needed:
            array = given[name]
            if name == AUXILIARY_SCALE:
                array = as_scale(f"epilog_inputs[{name!r}]", array, self._package, self._device_id)
            layout, matrix = self._epilog_input(name, array, base)
            slots[name] = self._make_slot(layout)
            commit({slots[name]: self._binding_for(name, slots[name], array, f"epilog_inputs[{name!r}]")})
            matrices.append(matrix)
        return base._replace(d=d, epilog=epilog, inputs=tuple(matrices)), slots

    def _epilog_input(self, name: str, array: Any, problem: MatmulProblem) -> tuple[Layout, Matrix]:
        argument = f"epilog_inputs[{name!r}]"
        package = package_of(array, argument)
        if package is not self._package:
            raise TypeError(f"{argument} is a {package.name} array; expected a {self._package.name} one, like a and b")
        layout = package.layout(array, argument)
        return layout, epilog_matrix(name, argument, layout, problem, self._alignment(package, array))

    def _in_order(self, a: Any, b: Any, c: Any, inputs: dict[str, Any] | None) -> tuple[Any, ...]:
        """Operands as the executor counts them; none at all where there is one that it does not know."""
        arrays = [a, b, *[None] * (len(self._slots) - 2)]
        if c is not None:
            if "c" not in self._slots:
                return ()
            arrays[2] = c
        if inputs is not None:
            if type(inputs) is not dict:
                return ()
            places = self._input_places
            for name, array in inputs.items():
                if name not in places:
                    return ()
                arrays[places[name]] = array
        return tuple(arrays)

    def _changes(self, plan: Any, executor: Any, slots: Mapping[str, ArraySlot]) -> dict[str, Any]:
        inputs = plan.problem.input_names
        places = {name: place for place, name in enumerate(slots) if name in inputs}
        return {**super()._changes(plan, executor, slots), "_input_places": places}

    def _reset_carefully(
        self, call: str, a: Any, b: Any, c: Any, alpha: Any, beta: Any, scales: Any, inputs: dict[str, Any] | None
    ) -> None:
        self._require("reset", call)
        arrays = {name: array for name, array in (("a", a), ("b", b), ("c", c)) if array is not None}
        for name, value in self._checked_scales(scales, all_of=False).items():
            arrays[scale_slot(name)] = self._as_scale(name, value)
        for name, array in as_epilog_inputs(inputs).items():
            if self._plan_made is None:
                raise ValueError(
                    f"epilog_inputs was given to {call}() before plan(); give it to plan(), with an epilog"
                )
            problem = self._plan_made.problem
            check_epilog_input(name, problem.epilog, problem.input_names)
            if array is not None and name == AUXILIARY_SCALE:
                array = as_scale(f"epilog_inputs[{name!r}]", array, self._package, self._device_id)
            if array is not None:
                arrays[name] = array
        scalars = {name: value for name, value in (("alpha", alpha), ("beta", beta)) if value is not None}
        if beta is not None and self._problem.c is None:
            raise ValueError(f"beta was given to {call}(), but this Matmul was created without c")
        numbers = {
            self._constants[name]: self._constants[name].binding_for_good(number)
            for name, number in checked(scalars, self._problem.scale).items()
        }
        self._replace({**self._bindings_for(arrays, call, scalars), **numbers})

    def _present(self) -> dict[str, Any]:
        present = super()._present()
        scales = {name: array for name in "abcd" if (array := present.get(scale_slot(name))) is not None}
        return present | ({"quantization_scales": scales} if scales else {})

    def _asked(self, plan: Plan) -> dict[str, Any]:
        inputs = {name: array for name, array in operands(self._slots).items() if name in plan.problem.input_names}
        return {**plan.asked, "epilog_inputs": inputs}

    def _execute_carefully(self, algorithm: Any, out: Any, stream: Any) -> Any:
        self._require("execute")
        if algorithm is None:
            return self._execute(None, out, stream)
        if not isinstance(algorithm, Algorithm):
            raise TypeError(f"algorithm is a {type(algorithm).__name__}; expected one of the object's algorithms")
        plan = self._plan_made
        assert plan is not None
        if algorithm._algorithm == plan.chosen:
            programs = self._executor.programs
            programs.setdefault(plan.chosen, programs[None])  # so that the next time is an ordinary execution
            return self._execute(None, out, stream)
        if algorithm._algorithm not in self._executor.programs:
            self._add_program(algorithm._algorithm, self._checked_algorithm(plan.problem, algorithm._algorithm))
        return self._execute(algorithm._algorithm, out, stream)

    def _checked_algorithm(self, problem: MatmulProblem, algorithm: provider.Algorithm) -> provider.Algorithm:
        """An algorithm that is one of the plan's, or that its library says can compute the product."""
        plan = self._plan_made
        if plan is not None and algorithm in plan.algorithms:
            return algorithm
        library = next((p for p in self._providers() if p.name == algorithm.provider), None)
        if library is None or not hasattr(library, "checked") or library.unavailable() or library.unsupported(problem):
            raise ValueError(f"{algorithm} is not one of this plan's algorithms; see the algorithms property")
        with self._on_device():
            return library.checked(problem, algorithm)

    def _rank(
        self, problem: MatmulProblem, providers: Mapping[str, Any], given: Sequence[provider.Algorithm]
    ) -> tuple[list[provider.Algorithm], str]:
        """As for every operation; of a library that can check algorithms, users may give any that it has."""
        if given and all(hasattr(providers.get(algorithm.provider), "checked") for algorithm in given):
            return [providers[algorithm.provider].checked(problem, algorithm) for algorithm in given], "the user"
        return super()._rank(problem, providers, given)

    def _tuning_key(self, problem: MatmulProblem) -> str:
        if problem.cuda is not None:
            problem = problem._replace(cuda=problem.cuda._replace(handle=0))
        return super()._tuning_key(problem)
