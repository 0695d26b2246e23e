"""Contractions of any number of tensors, as planned contractions of two at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from planmath.core import remembered, waiting
from planmath.core.arrays import ITEMSIZE, Layout, package_of
from planmath.core.cuda import devices
from planmath.core.execution import Execution, resolve_execution
from planmath.core.executor import Executor, Program
from planmath.core.log import levels_of, phase
from planmath.core.operation import Operation, Plan
from planmath.core.options import as_given, as_options
from planmath.core.provider import Algorithm, Prepared
from planmath.core.slots import ArraySlot, commit
from planmath.core.tuning import collecting, progress
from planmath.core.tuning.budget import Budget, checked
from planmath.core.typed import A_co, result
from planmath.report.pages import Report
from planmath.tensor import path as paths
from planmath.tensor.expression import read
from planmath.tensor.operation import MOST_KEPT, InvalidContractionState
from planmath.tensor.options import ContractionOptions, ContractionOptionsDict, bytes_of_limit, memory_of
from planmath.tensor.problem import HALF, as_operand, check_compute, check_dtypes, place_of, result_strides
from planmath.tensor.providers import least_workspace
from planmath.tensor.steps import Network, NetworkProblem, step_problems, steps_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    class ContractArguments(TypedDict, total=False):
        """What `contract` takes beside expression and operands."""

        out: Any
        optimize: str | Sequence[tuple[int, ...]]
        options: ContractionOptions | ContractionOptionsDict | dict[str, Any] | None
        execution: Execution | str | dict[str, Any] | None
        stream: Any


#: The package's own type, of operands and result.
A = TypeVar("A")


class Contraction(Operation[A_co]):
    """A contraction of any number of tensors, planned once and executed many times.

    Parameters
    ----------
    expr : str, or sequence of sequences of hashable
        As for `BinaryContraction`, with a term for each operand.
    *operands : numpy.ndarray, cupy.ndarray or torch.Tensor
        At least one, of the dtypes and strides that `BinaryContraction` takes.
    optimize : str or sequence of tuple of int
        The order: the name of one of opt_einsum's optimizers, or a path as `opt_einsum.contract_path` returns it.
    options : ContractionOptions or dict, optional
        ``memory_limit`` bounds what the steps leave and the copies that they make; where it does not suffice, the
        contraction is cut into slices along some modes, which are contracted one after the other.
    execution : {'cpu', 'cuda'}, dict, ExecutionCPU or ExecutionCUDA, optional
        Where to compute. Default: where the operands are.
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe a contraction.

    Notes
    -----
    Each step is a `BinaryContraction`. What it leaves for a later one is in one workspace, in which places are used
    again as soon as they are free; half precision is kept in single precision there, but for bfloat16 on a CUDA device.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.tensor import Contraction
    >>> a, b, c, d = np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 5)), np.ones(5)
    >>> with Contraction("ij,jk,kl,l->i", a, b, c, d) as contraction:
    ...     contraction.plan()
    ...     r = contraction.execute()
    >>> r
    array([60., 60.])
    """

    noun = "Contraction"
    inplace_by = None
    invalid_state = InvalidContractionState

    def __init__(
        self,
        expr: Any,
        *operands: A_co,
        optimize: str | Sequence[tuple[int, ...]] = "auto",
        options: ContractionOptions | ContractionOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        super().__init__(as_options(ContractionOptions, options))
        if not operands:
            raise TypeError("Contraction got no operand; pass one for each term of the expression")
        names = [f"operands[{i}]" for i in range(len(operands))]
        given = [(name, as_operand(array)) for name, array in zip(names, operands, strict=True)]
        layouts = {name: package_of(array, name).layout(array, name, lazy=True) for name, array in given}
        check_dtypes(layouts)
        first = layouts[names[0]]
        check_compute(first.dtype, self._options.compute_type)
        expression = read(expr, names, [layout.shape for layout in layouts.values()])
        self._expr = expr
        self._execution = resolve_execution(execution, first.memory_space, first.device_id)
        for name, array in given:
            self._add_operand(name, array, lazy=True)
        self._optimize = optimize
        # an axis along which an operand is repeated is no mode of it
        self._index = [
            tuple(0 if n == 1 != expression.extents[m] else slice(None) for m, n in zip(modes, of.shape, strict=True))
            for modes, of in zip(expression.inputs, layouts.values(), strict=True)
        ]
        layouts = {n: _without(of, index) for (n, of), index in zip(layouts.items(), self._index, strict=True)}
        inputs = [_kept(modes, index) for modes, index in zip(expression.inputs, self._index, strict=True)]
        expression = expression._replace(inputs=tuple(inputs))
        self._extra: list[ArraySlot] = []
        if len(operands) == 1:  # a product with the number 1
            with devices.on(first.device_id):
                one = self._package.empty((), (), self._package.dtype(first.dtype), first.device_id)
                one[...] = 1
            layouts["1"] = first._replace(shape=(), strides=(), conjugate=False)
            number = self._make_slot(layouts["1"])
            commit({number: self._binding_for("1", number, one)})
            self._extra, self._index = [number], [*self._index, ()]
            expression = expression._replace(inputs=(*expression.inputs, ()))
        limit = bytes_of_limit(self._options.memory_limit, memory_of(self._execution))
        steps = [steps_of(of, modes) for of, modes in zip(layouts.values(), expression.inputs, strict=True)]
        wanted = self._options.result_layout
        layout = "C" if wanted == "auto" and len(steps) > 2 else wanted
        result = Layout(expression.shape, result_strides(expression, steps, layout), *first[2:5])
        space = place_of(self._execution)
        self._problem = NetworkProblem(expression, tuple(layouts.values()), result, space, self._package.name, limit)
        self._network: Network | None = None
        self._log_specification()

    def plan(self, *, stream: Any = None) -> None:
        """Find the order of the steps, plan each, and lay out the workspace.

        Parameters
        ----------
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        InvalidContractionState
            After `release_operands` or `free`.
        UnavailableError
            If no slices are small enough for ``options.memory_limit``: it names the least that would do. An earlier
            plan stays then.
        """
        self._require("plan")
        shown = waiting.going_on(f"{self.noun} planning")
        with self._on_device(stream), phase(self._logger, self.noun, "PLANNING"), shown:
            path = self._path()
            operands = [*self._slots.values(), *self._extra]
            network = Network(path, self._problem, self._package, operands, self._index, self._options, self._execution)
            old = self._network
            self._adopt_network(network)
            if old is not None:
                old.free()
            self._logger.info("The path has %d steps and %d slices.", len(path.steps), path.slices)
        collecting.tell(self)

    def _adopt_network(self, network: Network) -> None:
        """Let planned steps be what is executed: as one program where that is possible."""
        found = network.fused()
        if found is not None:
            prepared, constants = found
            self._constants = {**{str(i): slot for i, slot in enumerate(self._extra)}, **constants}
            executor = self._make_executor(self._problem, prepared, self._slots)
            executor.allocate_workspace()
        else:
            prepared = Prepared({None: Program(function=network)})
            executor = Executor(
                tuple(self._slots.values()), tuple(self._result_slots(self._problem).values()), prepared.programs,
                log_levels=levels_of(self._logger), queue=self._queue,
            )  # fmt: skip
        knobs = (("steps", len(network.steps)), ("slices", network.path.slices))
        chosen = Algorithm(network.steps[-1].algorithm.provider, knobs)
        plan = Plan(self._problem, (chosen,), prepared, "opt_einsum")
        large = network.memory > MOST_KEPT
        changes = {**self._changes(plan, executor, self._slots), "_network": network, "_leaves_much": large}
        commit({}, (self, changes))

    def autotune(self, iterations: int = 10, *, stream: Any = None, seconds: float | None = None) -> None:
        """Measure the ways to compute each step, and adopt the fastest. The order of the steps stays.

        Parameters
        ----------
        iterations : int
            Repetitions of each candidate that stays in the race.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        seconds : float, optional
            How long this may take, shared out among the steps. Default: 8, and more for what runs longer than 0.1 s.
            Ctrl-C ends it earlier, and keeps what was measured as well.
        """
        self._require("autotune")
        budget = Budget(checked(seconds))
        assert self._network is not None
        self.execute(stream=stream)  # every step has operands then
        budget.suit(budget.elapsed())
        with self._on_device(stream), progress.shown(self.noun, budget):
            self._network.autotune(iterations, budget)
            self._adopt_network(self._network)

    @result
    def execute(self, *, release_workspace: bool = False, stream: Any = None, out: Any = None) -> Any:
        """Compute the contraction.

        Parameters
        ----------
        release_workspace : bool
            Whether to give the steps' temporary memory back afterwards; what they leave for each other stays.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        out : array, optional
            Where to put the result: with the shape, dtype and strides that `empty_result` gives.

        Returns
        -------
        array

        Raises
        ------
        InvalidContractionState
            Before `plan`, after `release_operands` or `free`.
        ValueError
            If `out` does not fit.
        """
        result = self._executor.run(None, out, stream)
        if result is None:
            result = self._execute(None, out, stream)
        if release_workspace and self._network is not None:
            self._executor.release_workspace()
            self._network.release_workspace()
        return result

    def reset_operands(self, *operands: Any, stream: Any = None) -> None:
        """Replace operands by ones with the same package, memory space, dtype, shape and strides.

        Where a lazy conjugate was planned, new ones are lazy conjugates too.

        Parameters
        ----------
        *operands : array or None
            All of them, in their order; None for one that stays.
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError, ValueError
            If an operand does not fit, or their number is another one; all stay then.
        InvalidContractionState
            After `free`.
        """
        if len(operands) == len(self._slots) and self._executor.bind_many(operands):
            return
        self._require("reset", "reset_operands")
        if len(operands) != len(self._slots):
            raise ValueError(
                f"reset_operands() got {len(operands)} operands; expected {len(self._slots)}, with None for those "
                "that stay"
            )
        self._reset(
            {name: as_operand(array) for name, array in zip(self._slots, operands, strict=True) if array is not None},
            "reset_operands",
        )

    reset_operands_unchecked = reset_operands

    def release_operands(self) -> None:
        """Drop the references to all operands; the plan stays, and `reset_operands` brings new ones.

        Raises
        ------
        InvalidContractionState
            After `free`.
        """
        self._release()

    def free(self) -> None:
        """Release the plans of all steps, the workspace and the references to the operands."""
        network = getattr(self, "_network", None)
        super().free()
        if network is not None:
            network.free()

    def _nothing_left(self) -> dict[str, Any]:
        return {**super()._nothing_left(), "_network": None}

    def report(self, *, plot: bool = False) -> Report:
        """The steps, what each costs, and how it is computed, as text, which a notebook shows with bars.

        FLOPs count a multiplication and an addition each (a complex one four of both); bytes are those of the operands
        read and of the results written.

        Parameters
        ----------
        plot : bool
            Whether the report has a ``figure`` as well, of matplotlib: the path as a graph, with each step's FLOPs and
            bytes.

        Raises
        ------
        InvalidContractionState
            Before `plan` and after `free`.
        ImportError
            With `plot` where matplotlib is not installed.
        """
        if self._network is None:
            raise self.invalid_state(f"report() needs a plan; the object is {self.state.value}")
        parts = [f"{self.noun} {self._describe()}", *self._network.report_parts()]
        return Report(parts, self._network.picture() if plot else None)

    def _repr_html_(self) -> str:
        return super()._repr_html_() if self._network is None else self.report()._repr_html_()

    # What the lifecycle asks for.

    def _result_slots(self, problem: NetworkProblem) -> dict[str, ArraySlot]:
        return {"out": self._make_slot(problem.result, writeable=True)}

    def _describe(self) -> str:
        p = self._problem
        return f"{self._expr!r} of {len(p.layouts) - len(self._extra)} operands of {p.result.dtype} on {p.execution[0]}"

    # Details.

    def _path(self) -> paths.Path:
        """The steps, cut into as many slices as the limit of memory asks for."""
        problem, work = self._problem, self._problem.kept
        steps = [steps_of(of, modes) for of, modes in zip(problem.layouts, problem.expression.inputs, strict=True)]
        path = paths.find(problem.expression, steps, self._optimize)

        def needed(path: paths.Path) -> int:
            _, elements = path.places()
            copies = [least_workspace(step) for step in step_problems(path, problem, self._execution)]
            return elements * ITEMSIZE[work] + max(copies)

        return paths.fit(path, problem.memory_limit, needed, only_result=problem.result.dtype in HALF)


def _kept(values: Sequence[Any], index: Sequence[Any]) -> tuple[Any, ...]:
    """Those of the axes that an index does not take a single element of."""
    return tuple(value for value, position in zip(values, index, strict=True) if position != 0)


def _without(layout: Layout, index: Sequence[Any]) -> Layout:
    return layout._replace(shape=_kept(layout.shape, index), strides=_kept(layout.strides, index))


@overload
def contract(
    expr: str | Sequence[Sequence[Hashable]], *operands: NDArray[Any], **arguments: Unpack[ContractArguments]
) -> NDArray[Any]: ...
@overload
def contract(
    expr: str | Sequence[Sequence[Hashable]], *operands: A, **arguments: Unpack[ContractArguments]
) -> A: ...
@overload  # operands, each followed by its modes
def contract(expr: Any, *operands: Any, **arguments: Unpack[ContractArguments]) -> Any: ...
def contract(
    expr: Any,
    *operands: Any,
    out: Any = None,
    optimize: str | Sequence[tuple[int, ...]] = "auto",
    options: ContractionOptions | ContractionOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Contract any number of tensors once.

    Parameters
    ----------
    expr, *operands, optimize, options, execution, stream
        As for `Contraction`; or operands and their modes in turn, with the modes of the result at the end if they
        should not be the sorted ones: ``contract(a, ('i', 'j'), b, ('j', 'k'), ('i', 'k'))``.
    out : array, optional
        For the result, with the layout that ``Contraction.empty_result`` gives.

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.tensor import contract
    >>> a, b, c = np.ones((2, 3)), np.ones((3, 4)), np.ones((4, 2))
    >>> contract("ij,jk,ki", a, b, c)
    array(24.)
    >>> contract(a, ("i", "j"), b, ("j", "k"), ("k", "i")).shape
    (4, 2)
    """
    if not isinstance(expr, str | list | tuple):
        expr, operands = _from_turns((expr, *operands))
    options, key = as_given(ContractionOptions, options), None
    if isinstance(optimize, str):
        key = remembered.key_of("contract", operands, execution, options, expr, optimize)
    return remembered.run_once(
        key,
        lambda: Contraction(expr, *operands, optimize=optimize, options=options, execution=execution, stream=stream),
        lambda contraction: contraction.plan(stream=stream),
        lambda contraction: contraction.reset_operands(*operands),
        None if out is None and stream is None else lambda contraction: contraction.execute(out=out, stream=stream),
    )


def _from_turns(arguments: Sequence[Any]) -> tuple[tuple[tuple[Hashable, ...], ...], tuple[Any, ...]]:
    """Modes and operands, from operands each followed by its modes."""
    operands, modes = list(arguments[0::2]), list(arguments[1::2])
    if len(operands) > len(modes):
        modes.append(operands.pop())
    for i, of in enumerate(modes):
        if isinstance(of, str) or not isinstance(of, Sequence):
            raise TypeError(
                f"the modes number {i} are a {type(of).__name__}; expected a sequence such as ('i', 'j')"
                " after each operand"
            )
    return tuple(tuple(of) for of in modes), tuple(operands)
