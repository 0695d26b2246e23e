"""Contractions of any number of tensors, as planned contractions of two at a time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from planmath.core import remembered
from planmath.core.arrays import ITEMSIZE, Layout, Package, contiguous_strides, package_of
from planmath.core.execution import Execution, resolve_execution
from planmath.core.executor import ArraySlot, Executor, Program
from planmath.core.log import levels_of, phase
from planmath.core.operation import Operation, Plan
from planmath.core.options import as_options
from planmath.core.provider import Algorithm, Prepared
from planmath.report.tables import table
from planmath.tensor import path as paths
from planmath.tensor.expression import Expression, read
from planmath.tensor.operation import BinaryContraction, InvalidContractionState
from planmath.tensor.options import ContractionOptions, bytes_of_limit, host_memory
from planmath.tensor.problem import (
    WORK_DTYPE,
    ContractionProblem,
    check_compute,
    check_dtypes,
    result_strides,
    specify,
)
from planmath.tensor.providers import least_workspace


class NetworkProblem(NamedTuple):
    """What to contract, and where the result goes."""

    expression: Expression
    layouts: tuple[Layout, ...]
    result: Layout
    execution: tuple[str, int]
    package: str
    memory_limit: int


class _Step(BinaryContraction):
    """One step: its operands may be intermediate results, which half precision has in single precision."""

    noun = "step of a Contraction"

    def _check_dtypes(self, layouts: Mapping[str, Layout], out: Layout | None) -> None:
        pass

    def drop(self, names: Sequence[str]) -> None:
        """Drop the references to some operands; `reset_operands` brings new ones."""
        for name in names:
            self._slots[name].release()
            self._executor.ready = False

    @property
    def algorithm(self) -> Algorithm:
        assert self._plan_made is not None
        return self._plan_made.chosen

    @property
    def workspace_size(self) -> int:
        """Bytes of the copies it makes."""
        return self._executor.workspace_size


class _Network:
    """The planned steps of a path, with the workspace between them; a program runs it as a function.

    Parameters
    ----------
    path : Path
    problem : NetworkProblem
    package : Package
    arrays : list
        The operands.
    options : ContractionOptions
        Of the whole.
    execution : ExecutionCPU or ExecutionCUDA
    """

    def __init__(
        self, path: paths.Path, problem: NetworkProblem, package: Package, arrays: list[Any],
        options: ContractionOptions, execution: Execution,
    ):  # fmt: skip
        self.path, self.problem, self.package, self.arrays = path, problem, package, arrays
        self.sliced, self.count = path.sliced(), len(arrays)
        self.adds = any(mode not in path.expression.output for mode in path.parts)
        places, elements = path.places()
        work = WORK_DTYPE[problem.result.dtype]
        workspace = package.empty((max(elements, 1),), (1,), package.dtype(work), None)
        self.workspace_size = elements * ITEMSIZE[work]
        layouts = tensor_layouts(path, problem)
        self.between = [
            package.with_strides(workspace[place:], layouts[self.count + i]) for i, place in enumerate(places)
        ]
        self.steps: list[_Step] = []
        limited = replace(options, memory_limit=problem.memory_limit - self.workspace_size, result_layout="auto")
        first = next(path.positions())
        for i, step in enumerate(path.steps):
            a, b = (self._tensor(factor, first) for factor in step.factors)
            last = i == len(path.steps) - 1
            target = layouts[-1] if last else self.between[i]
            if last and self.adds:
                slot = problem.result
                target = self._part(package.empty(slot.shape, slot.strides, package.dtype(slot.dtype), None), first)
            self.steps.append(
                _Step(
                    [*step.modes_of_factors(path.expression), step.result], a, b,
                    c=target if last and self.adds else None,
                    out=target, options=limited, execution=execution,
                )
            )  # fmt: skip
            self.steps[-1].plan()
        kept = sum(step.workspace_size for step in self.steps)
        #: Whether steps give their copies back, because those of all would take more memory than is allowed.
        self.frugal = kept + self.workspace_size > problem.memory_limit
        self._let_go_of_result()

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        (result,) = results
        *steps, last = self.steps
        frugal = self.frugal
        if not self.path.parts:
            for step in steps:
                step.execute(release_workspace=frugal)
            last.execute(out=result, release_workspace=frugal)
            return
        for number, position in enumerate(self.path.positions()):
            for i, step in enumerate(steps):
                if number == 0 or self.sliced[self.count + i]:
                    self._bind(i, position)
                    step.execute(release_workspace=frugal)
            target = self._part(result, position)
            self._bind(len(steps), position, target)
            if self.adds:
                begins = all(part == 0 for mode, part in position.items() if mode not in self.path.expression.output)
                last.execute(beta=0.0 if begins else 1.0, release_workspace=frugal)
            else:
                last.execute(out=target, release_workspace=frugal)
        self._let_go_of_result()

    def bind(self, arrays: list[Any]) -> None:
        """Take new operands."""
        self.arrays = arrays
        first = next(self.path.positions())
        for i in range(len(self.steps) - self.adds):  # a last step that adds has none between executions
            self._bind(i, first, everything=True)

    def autotune(self, iterations: int) -> None:
        """Tune each step, on what it worked on last."""
        for step in self.steps:
            if step is self.steps[-1] and self.adds:
                slot = self.problem.result
                scratch = self.package.empty(slot.shape, slot.strides, self.package.dtype(slot.dtype), None)
                first = next(self.path.positions())
                self._bind(len(self.steps) - 1, first, self._part(scratch, first))
            step.autotune(iterations)
        self._let_go_of_result()

    def release(self) -> None:
        """Drop the references to the operands."""
        self.arrays = []
        for step, planned in zip(self.steps, self.path.steps, strict=True):
            step.drop([name for name, factor in zip("ab", planned.factors, strict=True) if factor < self.count])

    def release_workspace(self) -> None:
        for step in self.steps:
            step._executor.release_workspace()

    def free(self) -> None:
        for step in self.steps:
            step.free()

    def report(self) -> str:
        """The steps as a table, and what they come to."""
        path, work = self.path, WORK_DTYPE[self.problem.result.dtype]
        flops_each = 8 if work.startswith("complex") else 2
        layouts = tensor_layouts(path, self.problem)
        rows, total_flops, total_bytes = [], 0, 0
        for i, (planned, step) in enumerate(zip(path.steps, self.steps, strict=True)):
            flops = flops_each * path.multiplications(planned) * path.executions(i)
            sizes = [path.size(modes) for modes in (*planned.modes, planned.result)]
            kinds = [ITEMSIZE[layouts[tensor].dtype] for tensor in (*planned.factors, self.count + i)]
            moved = path.executions(i) * sum(size * item for size, item in zip(sizes, kinds, strict=True))
            total_flops, total_bytes = total_flops + flops, total_bytes + moved
            inputs = ",".join(map(_text, planned.modes))
            rows.append([
                i, f"{inputs}->{_text(planned.result)}", planned.factors, f"{flops:.3g}", f"{moved:.3g}",
                f"{path.size(planned.result):.3g}", path.executions(i), str(step.algorithm),
            ])  # fmt: skip
        largest = max((path.size(step.result) for step in path.steps[:-1]), default=0)
        lines = [table(["step", "contraction", "of", "FLOPs", "bytes", "elements", "times", "algorithm"], rows)]
        lines.append(f"total: {total_flops} FLOPs, {total_bytes} bytes read and written")
        lines.append(f"largest intermediate: {largest} elements, {largest * ITEMSIZE[work]} bytes")
        lines.append(f"workspace: {self.workspace_size} bytes, and the steps' copies of up to "
                     f"{max(step.workspace_size for step in self.steps)} bytes")  # fmt: skip
        if path.parts:
            cut = ", ".join(f"{mode} into {parts}" for mode, parts in path.parts.items())
            lines.append(f"slices: {path.slices} ({cut})")
        return "\n".join(lines)

    # Details.

    def _tensor(self, index: int, position: Mapping[Hashable, int]) -> Any:
        """An operand or an intermediate result, in one slice."""
        if index >= self.count:
            return self.between[index - self.count]
        if not self.sliced[index]:
            return self.arrays[index]
        return self._cut(self.arrays[index], self.path.expression.inputs[index], position)

    def _part(self, result: Any, position: Mapping[Hashable, int]) -> Any:
        return self._cut(result, self.path.expression.output, position)

    def _cut(self, array: Any, modes: Sequence[Hashable], position: Mapping[Hashable, int]) -> Any:
        extents = self.path.extents
        index = tuple(
            slice(position[mode] * extents[mode], (position[mode] + 1) * extents[mode])
            if mode in position and length != 1 else slice(None)
            for mode, length in zip(modes, array.shape, strict=True)
        )  # fmt: skip
        return array[(*index, ...)]

    def _bind(self, i: int, position: Mapping[Hashable, int], target: Any = None, *, everything: bool = False) -> None:
        """Give a step the operands that differ between slices, or all of the user's; and what the last one adds to."""
        adds = target is not None and self.adds
        found = {
            name: self._tensor(factor, position)
            for name, factor in zip("ab", self.path.steps[i].factors, strict=True)
            if factor < self.count and (everything or adds or self.sliced[factor])
        }
        if adds:
            found["c"] = target
        if found:
            self.steps[i].reset_operands(**found)

    def _let_go_of_result(self) -> None:
        if self.adds:
            self.steps[-1].drop(["c"])


def _text(modes: Sequence[Hashable]) -> str:
    text = [str(mode) for mode in modes]
    return "".join(text) if all(len(mode) == 1 for mode in text) else "(" + " ".join(text) + ")"


class Contraction(Operation):
    """A contraction of any number of tensors, planned once and executed many times.

    Parameters
    ----------
    expr : str, or sequence of sequences of hashable
        As for `BinaryContraction`, with a term for each operand.
    *operands : numpy.ndarray or torch.Tensor
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
    again as soon as they are free; half precision is kept in single precision there.

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
    invalid_state = InvalidContractionState

    def __init__(
        self,
        expr: Any,
        *operands: Any,
        optimize: str | Sequence[tuple[int, ...]] = "auto",
        options: ContractionOptions | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        super().__init__(as_options(ContractionOptions, options))
        if not operands:
            raise TypeError("Contraction got no operand; pass one for each term of the expression")
        names = [f"operands[{i}]" for i in range(len(operands))]
        layouts = {n: package_of(array, n).layout(array, n) for n, array in zip(names, operands, strict=True)}
        check_dtypes(layouts)
        first = layouts[names[0]]
        check_compute(first.dtype, self._options.compute_type)
        expression = read(expr, names, [layout.shape for layout in layouts.values()])
        self._expr = expr
        self._execution = resolve_execution(execution, first.memory_space)
        for name, array in zip(names, operands, strict=True):
            self._add_operand(name, array)
        self._optimize = optimize
        # an axis along which an operand is repeated is no mode of it
        self._index = [
            tuple(0 if n == 1 != expression.extents[m] else slice(None) for m, n in zip(modes, of.shape, strict=True))
            for modes, of in zip(expression.inputs, layouts.values(), strict=True)
        ]
        layouts = {n: _without(of, index) for (n, of), index in zip(layouts.items(), self._index, strict=True)}
        inputs = [_kept(modes, index) for modes, index in zip(expression.inputs, self._index, strict=True)]
        expression = expression._replace(inputs=tuple(inputs))
        self._extra: list[Any] = []
        if len(operands) == 1:  # a product with the number 1
            one = self._package.empty((), (), self._package.dtype(first.dtype), None)
            one[...] = 1
            self._extra = [one]
            layouts["1"] = first._replace(shape=(), strides=())
            expression = expression._replace(inputs=(*expression.inputs, ()))
        limit = bytes_of_limit(self._options.memory_limit, host_memory())
        steps = [steps_of(of, modes) for of, modes in zip(layouts.values(), expression.inputs, strict=True)]
        wanted = self._options.result_layout
        layout = "C" if wanted == "auto" and len(steps) > 2 else wanted
        result = Layout(expression.shape, result_strides(expression, steps, layout), *first[2:])
        space = (self._execution.space, getattr(self._execution, "threads", 0))
        self._problem = NetworkProblem(expression, tuple(layouts.values()), result, space, self._package.name, limit)
        self._network: _Network | None = None
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
        with phase(self._logger, self.noun, "PLANNING"):
            path = self._path()
            network = _Network(path, self._problem, self._package, self._arrays(), self._options, self._execution)
            program = Program(function=network)
            knobs = (("steps", len(network.steps)), ("slices", path.slices))
            executor = Executor(
                (), (self._make_slot(self._problem.result, writeable=True),), {None: program},
                log_levels=levels_of(self._logger),
            )  # fmt: skip
            plan = Plan(self._problem, (Algorithm("gemm", knobs),), Prepared({None: program}), "opt_einsum")
            old, self._network = self._network, network
            self._adopt(plan, executor)
            if old is not None:
                old.free()
            self._logger.info("The path has %d steps and %d slices.", len(path.steps), path.slices)

    def autotune(self, iterations: int = 10, *, stream: Any = None) -> None:
        """Measure the ways to compute each step, and adopt the fastest. The order of the steps stays.

        Parameters
        ----------
        iterations : int
            Repetitions of each candidate that stays in the race.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        """
        self._require("autotune")
        assert self._network is not None
        self.execute()  # every step has operands then
        self._network.autotune(iterations)

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
        result = self._executor.run(None, None) if out is None else None
        if result is None:
            result = self._execute(None, out)
        if release_workspace and self._network is not None:
            self._network.release_workspace()
        return result

    def reset_operands(self, *operands: Any, stream: Any = None) -> None:
        """Replace operands by ones with the same package, memory space, dtype, shape and strides.

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
        self._require("reset", "reset_operands")
        if len(operands) != len(self._slots):
            raise ValueError(
                f"reset_operands() got {len(operands)} operands; expected {len(self._slots)}, with None for those "
                "that stay"
            )
        self._reset(
            {name: array for name, array in zip(self._slots, operands, strict=True) if array is not None},
            "reset_operands",
        )
        if self._network is not None:
            self._network.bind(self._arrays())

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
        network, self._network = getattr(self, "_network", None), None
        if network is not None:
            network.free()
        super().free()

    def report(self) -> str:
        """The steps, what each costs, and how it is computed, as text.

        FLOPs count a multiplication and an addition each (a complex one four of both); bytes are those of the operands
        read and of the results written.

        Raises
        ------
        InvalidContractionState
            Before `plan` and after `free`.
        """
        if self._network is None:
            raise self.invalid_state(f"report() needs a plan; the object is {self.state.value}")
        return f"{self.noun} {self._describe()}\n{self._network.report()}"

    # What the lifecycle asks for.

    def _result_slots(self, problem: NetworkProblem) -> dict[str, ArraySlot]:
        return {"out": self._make_slot(problem.result, writeable=True)}

    def _describe(self) -> str:
        p = self._problem
        return f"{self._expr!r} of {len(p.layouts) - len(self._extra)} operands of {p.result.dtype} on {p.execution[0]}"

    def _drop_operands(self) -> None:
        super()._drop_operands()
        if self._network is not None:
            self._network.release()

    # Details.

    def _arrays(self) -> list[Any]:
        arrays = [slot.array[(*index, ...)] for slot, index in zip(self._slots.values(), self._index, strict=True)]
        return arrays + self._extra

    def _path(self) -> paths.Path:
        """The steps, cut into as many slices as the limit of memory asks for."""
        problem, work = self._problem, WORK_DTYPE[self._problem.result.dtype]
        steps = [steps_of(of, modes) for of, modes in zip(problem.layouts, problem.expression.inputs, strict=True)]
        path = paths.find(problem.expression, steps, self._optimize)

        def needed(path: paths.Path) -> int:
            _, elements = path.places()
            copies = [least_workspace(step) for step in step_problems(path, problem, self._execution)]
            return elements * ITEMSIZE[work] + max(copies)

        return paths.fit(path, problem.memory_limit, needed, only_result=problem.result.dtype != work)


def tensor_layouts(path: paths.Path, problem: NetworkProblem) -> list[Layout]:
    """The layouts of the operands and of what the steps leave, in one slice."""
    extents, work = path.extents, WORK_DTYPE[problem.result.dtype]

    def cut(layout: Layout, modes: Sequence[Hashable]) -> Layout:
        return layout._replace(
            shape=tuple(1 if n == 1 else extents[m] for m, n in zip(modes, layout.shape, strict=True))
        )

    found = [cut(layout, modes) for layout, modes in zip(problem.layouts, path.expression.inputs, strict=True)]
    for step in path.steps[:-1]:
        shape = tuple(extents[mode] for mode in step.result)
        found.append(problem.result._replace(shape=shape, strides=contiguous_strides(shape), dtype=work))
    return [*found, cut(problem.result, path.expression.output)]


def step_problems(path: paths.Path, problem: NetworkProblem, execution: Execution) -> list[ContractionProblem]:
    """The problems of the steps in one slice."""
    layouts = tensor_layouts(path, problem)
    found = []
    for i, step in enumerate(path.steps):
        modes = step.modes_of_factors(path.expression)
        extents = {mode: path.extents[mode] for mode in dict.fromkeys((*modes[0], *modes[1]))}
        factors = {name: layouts[factor] for name, factor in zip("ab", step.factors, strict=True)}
        out = layouts[len(problem.layouts) + i]
        expression = Expression(modes, step.result, extents)
        found.append(
            specify(expression, factors, out, ContractionOptions(), (1, 1), execution, problem.package).problem
        )
    return found


def steps_of(layout: Layout, modes: Sequence[Hashable]) -> dict[Hashable, int]:
    steps: dict[Hashable, int] = {}
    for mode, stride in zip(modes, layout.strides, strict=True):
        steps[mode] = steps.get(mode, 0) + stride
    return steps


def _kept(values: Sequence[Any], index: Sequence[Any]) -> tuple[Any, ...]:
    """Those of the axes that an index does not take a single element of."""
    return tuple(value for value, position in zip(values, index, strict=True) if position != 0)


def _without(layout: Layout, index: Sequence[Any]) -> Layout:
    return layout._replace(shape=_kept(layout.shape, index), strides=_kept(layout.strides, index))


def contract(
    expr: Any,
    *operands: Any,
    out: Any = None,
    optimize: str | Sequence[tuple[int, ...]] = "auto",
    options: ContractionOptions | dict[str, Any] | None = None,
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
    key = None
    if options is None and isinstance(optimize, str):
        key = remembered.key_of("contract", operands, execution, expr, optimize)
    return remembered.run_once(
        key,
        lambda: Contraction(expr, *operands, optimize=optimize, options=options, execution=execution, stream=stream),
        lambda contraction: contraction.plan(stream=stream),
        lambda contraction: contraction.reset_operands(*operands),
        lambda contraction: contraction.execute(out=out, stream=stream),
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
