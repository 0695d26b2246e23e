"""The planned steps of a contraction of many tensors, and the workspace between them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from planmath.core.arrays import ITEMSIZE, Layout, Package, contiguous_strides
from planmath.core.execution import Execution
from planmath.core.executor import Program
from planmath.core.operands import make_slot
from planmath.core.provider import Algorithm, Prepared
from planmath.core.slots import ArraySlot, commit
from planmath.core.tuning.budget import Budget
from planmath.native.call import Slot
from planmath.report import charts
from planmath.report.pages import Table
from planmath.tensor.expression import Expression
from planmath.tensor.operation import BinaryContraction
from planmath.tensor.options import ContractionOptions
from planmath.tensor.path import Path
from planmath.tensor.problem import ContractionProblem, kept_dtype, specify


class NetworkProblem(NamedTuple):
    """What to contract, and where the result goes."""

    expression: Expression
    layouts: tuple[Layout, ...]
    result: Layout
    execution: tuple[str, int]
    package: str
    memory_limit: int

    @property
    def kept(self) -> str:
        """The dtype of what the steps leave for each other."""
        return kept_dtype(self.result.dtype, self.execution[0])


class Part(NamedTuple):
    """A part of an array."""

    indices: tuple[Any, ...]
    starts: tuple[int, ...]
    """Of each axis, the first index that belongs to it."""


class _Step(BinaryContraction):
    """One step: its operands may be intermediate results, which half precision has in single precision."""

    noun = "step of a Contraction"
    _is_part = True

    def _check_dtypes(self, layouts: Mapping[str, Layout], out: Layout | None) -> None:
        pass

    def _check_gradients(self) -> None:
        """Whose operands they are tells."""

    def follow(self, name: str, whole: ArraySlot, part: Part) -> None:
        """Let an operand be a part of whatever array is bound to another slot."""
        slot = self._slots[name]
        offset = whole.itemsize * sum(start * step for start, step in zip(part.starts, whole.strides, strict=True))
        commit({slot: slot.binding_to_part(whole, part.indices, offset)})

    def drop_addend(self) -> None:
        """Drop the reference to what is added to; `reset_operands` brings another one."""
        commit({self._slots["c"]: None})

    def __del__(self) -> None:
        """Nothing to tell: that a contraction was not freed, it tells itself."""

    @property
    def algorithm(self) -> Algorithm:
        assert self._plan_made is not None
        return self._plan_made.chosen

    @property
    def prepared(self) -> Prepared:
        assert self._plan_made is not None
        return self._plan_made.prepared

    @property
    def workspace_size(self) -> int:
        """Bytes of the copies it makes."""
        return self._executor.workspace_size


class Network:
    """The planned steps of a path, with the workspace between them; a program runs it as a function.

    Parameters
    ----------
    path : Path
    problem : NetworkProblem
    package : Package
    operands : sequence of ArraySlot
        Whose arrays the steps read, whatever is bound to them.
    indices : sequence of tuple
        Which part of each operand's array belongs to the contraction: an axis along which it is repeated does not.
    options : ContractionOptions
        Of the whole.
    execution : ExecutionCPU or ExecutionCUDA
    """

    def __init__(
        self, path: Path, problem: NetworkProblem, package: Package, operands: Sequence[ArraySlot],
        indices: Sequence[tuple[Any, ...]], options: ContractionOptions, execution: Execution,
    ):  # fmt: skip
        self.path, self.problem, self.package, self.execution = path, problem, package, execution
        self.operands, self.indices = operands, indices
        self.sliced, self.count = path.sliced(), len(operands)
        self.adds = any(mode not in path.expression.output for mode in path.parts)
        self.places, elements = path.places()
        work = problem.kept
        workspace = self._empty((max(elements, 1),), (1,), work)
        self.workspace = make_slot(package, package.layout(workspace, "the workspace"))
        commit({self.workspace: self.workspace.binding_for_good(workspace)})
        self.workspace_size = elements * ITEMSIZE[work]
        layouts = tensor_layouts(path, problem)
        self.between = [
            package.with_strides(workspace[place:], layouts[self.count + i]) for i, place in enumerate(self.places)
        ]
        self.steps: list[_Step] = []
        try:
            self._plan(layouts, options, execution)
        except BaseException:
            self.free()
            raise
        #: Whether steps give their copies back, because those of all would take more memory than is allowed.
        self.frugal = self.memory > problem.memory_limit
        self._let_go_of_result()

    @property
    def memory(self) -> int:
        """Bytes of temporary memory, with the copies that all steps make."""
        return self.workspace_size + sum(step.workspace_size for step in self.steps)

    def fused(self) -> tuple[Prepared, dict[str, ArraySlot]] | None:
        """The native calls of all steps as one program, and the arrays that it finds behind the operands.

        None where steps are repeated for slices, run Python, or copy operands to where they are executed.
        """
        prepared = [step.prepared for step in self.steps]
        crosses = (self.execution.space == "cuda") != (self.problem.result.device_id is not None)
        if self.path.parts or crosses or any(of.programs[None].function is not None for of in prepared):
            return None
        count, item = self.count, ITEMSIZE[self.problem.kept]  # as those of a step, with all operands before them:
        alpha, beta, between, result, copies, stream = (Slot(count + i) for i in range(6))
        places = [*(Slot(i) for i in range(count)), *(Slot(between.operand, place * item) for place in self.places)]
        calls = []
        for i, (step, of) in enumerate(zip(self.path.steps, prepared, strict=True)):
            a, b = (places[factor] for factor in step.factors)
            target = places[count + i] if i < len(self.between) else result
            arrays = dict(enumerate((a, b, alpha, beta, target, copies, stream)))
            calls += [call.redirected(arrays) for call in of.programs[None].calls]
            self.steps[i]._executor.release_workspace()
        program = Program(calls, release_gil=any(of.programs[None].release_gil for of in prepared))
        size = max(of.workspace_size for of in prepared)
        return Prepared({None: program}, size), {**self.steps[0]._constants, "between": self.workspace}

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
                    self._follow(i, position)
                    step.execute(release_workspace=frugal)
            target = self._part_of_result(result, position)
            self._follow(len(steps), position)
            if self.adds:
                last.reset_operands(c=target)
                begins = all(part == 0 for mode, part in position.items() if mode not in self.path.expression.output)
                last.execute(beta=0.0 if begins else 1.0, release_workspace=frugal)
            else:
                last.execute(out=target, release_workspace=frugal)
        self._let_go_of_result()

    def autotune(self, iterations: int, budget: Budget) -> None:
        """Tune each step, on what it worked on last."""
        if self.adds:
            first = next(self.path.positions())
            self.steps[-1].reset_operands(c=self._part_of_result(self._empty(*self.problem.result[:3]), first))
        try:
            for i, step in enumerate(self.steps):
                step.autotune(iterations, seconds=max(budget.left() / (len(self.steps) - i), 1e-9))
        finally:
            self._let_go_of_result()

    def release_workspace(self) -> None:
        for step in self.steps:
            step._executor.release_workspace()

    def free(self) -> None:
        for step in self.steps:
            step.free()

    def costs(self) -> list[tuple[int, int]]:
        """FLOPs of each step, and the bytes that it reads and writes, in all slices."""
        path = self.path
        flops_each = 8 if self.problem.kept.startswith("complex") else 2
        layouts = tensor_layouts(path, self.problem)
        found = []
        for i, planned in enumerate(path.steps):
            sizes = [path.size(modes) for modes in (*planned.modes, planned.result)]
            kinds = [ITEMSIZE[layouts[tensor].dtype] for tensor in (*planned.factors, self.count + i)]
            moved = sum(size * item for size, item in zip(sizes, kinds, strict=True))
            found.append((flops_each * path.multiplications(planned) * path.executions(i), path.executions(i) * moved))
        return found

    def report_parts(self) -> list[str | Table]:
        """The steps as a table, and what they come to."""
        path, work, costs = self.path, self.problem.kept, self.costs()
        rows = [
            [i, _equation(planned), planned.factors, f"{flops:.3g}", f"{moved:.3g}", f"{path.size(planned.result):.3g}",
             path.executions(i), str(step.algorithm)]
            for i, (planned, step, (flops, moved)) in enumerate(zip(path.steps, self.steps, costs, strict=True))
        ]  # fmt: skip
        largest = max((path.size(step.result) for step in path.steps[:-1]), default=0)
        header = ["step", "contraction", "of", "FLOPs", "bytes", "elements", "times", "algorithm"]
        parts: list[str | Table] = [Table(header, rows, [flops for flops, _ in costs])]
        total_flops, total_bytes = (sum(column) for column in zip(*costs, strict=True)) if costs else (0, 0)
        parts.append(f"total: {total_flops} FLOPs, {total_bytes} bytes read and written")
        parts.append(f"largest intermediate: {largest} elements, {largest * ITEMSIZE[work]} bytes")
        parts.append(f"workspace: {self.workspace_size} bytes, and the steps' copies of up to "
                     f"{max(step.workspace_size for step in self.steps)} bytes")  # fmt: skip
        if path.parts:
            cut = ", ".join(f"{mode} into {number}" for mode, number in path.parts.items())
            parts.append(f"slices: {path.slices} ({cut})")
        return parts

    def picture(self) -> Any:
        """A figure of the path: operands below, each step above what it contracts, with its cost."""
        figure, (axes,) = charts.figure(3 * len(self.path.steps), 1)
        names = {i: _text(modes) for i, modes in enumerate(self.path.expression.inputs)}
        steps = [
            (_equation(step), step.factors, flops, moved)
            for step, (flops, moved) in zip(self.path.steps, self.costs(), strict=True)
        ]
        charts.tree(axes, names, steps)
        return figure

    # Details.

    def _plan(self, layouts: Sequence[Layout], options: ContractionOptions, execution: Execution) -> None:
        """Make and plan the steps, for the first slice."""
        path, problem = self.path, self.problem
        limited = replace(
            options, memory_limit=problem.memory_limit - self.workspace_size, result_layout="auto", blocking="auto"
        )
        first = next(path.positions())
        for i, step in enumerate(path.steps):
            a, b = (self._tensor(factor, first) for factor in step.factors)
            last = i == len(path.steps) - 1
            target = layouts[-1] if last else self.between[i]
            if last and self.adds:
                target = self._part_of_result(self._empty(*problem.result[:3]), first)
            self.steps.append(
                _Step(
                    [*step.modes_of_factors(path.expression), step.result], a, b,
                    c=target if last and self.adds else None,
                    out=target, options=replace(limited, blocking=options.blocking) if last else limited,
                    execution=execution,
                )
            )  # fmt: skip
            for name, factor in zip("ab", step.factors, strict=True):
                if factor < self.count:
                    self.steps[-1].follow(name, self.operands[factor], self._part(factor, first))
            self.steps[-1].plan()

    def _empty(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Any:
        """A new array where the operands are."""
        return self.package.empty(shape, strides, self.package.dtype(dtype), self.problem.result.device_id)

    def _tensor(self, index: int, position: Mapping[Hashable, int]) -> Any:
        """An operand or an intermediate result, in one slice."""
        if index >= self.count:
            return self.between[index - self.count]
        whole = self.operands[index]
        array = self.package.with_strides(whole.array, whole.layout)  # not of a type that has indices of its own
        return array[self._part(index, position).indices]

    def _part(self, index: int, position: Mapping[Hashable, int]) -> Part:
        """Which part of an operand's array belongs to a slice."""
        whole = self.operands[index]
        modes = iter(self.path.expression.inputs[index])
        chosen = [0 if at == 0 else self._range(next(modes), n, position)
                  for at, n in zip(self.indices[index], whole.shape, strict=True)]  # fmt: skip
        return Part((*chosen, ...), tuple(at if isinstance(at, int) else at.start or 0 for at in chosen))

    def _part_of_result(self, result: Any, position: Mapping[Hashable, int]) -> Any:
        modes = self.path.expression.output
        return result[(*(self._range(m, n, position) for m, n in zip(modes, result.shape, strict=True)), ...)]

    def _range(self, mode: Hashable, length: int, position: Mapping[Hashable, int]) -> slice:
        """The indices along an axis in one slice."""
        if mode not in position or length == 1:
            return slice(None)
        extent = self.path.extents[mode]
        return slice(position[mode] * extent, (position[mode] + 1) * extent)

    def _follow(self, i: int, position: Mapping[Hashable, int]) -> None:
        """Let a step's operands that differ between slices be those of one."""
        for name, factor in zip("ab", self.path.steps[i].factors, strict=True):
            if factor < self.count and self.sliced[factor]:
                self.steps[i].follow(name, self.operands[factor], self._part(factor, position))

    def _let_go_of_result(self) -> None:
        if self.adds:
            self.steps[-1].drop_addend()


def _text(modes: Sequence[Hashable]) -> str:
    text = [str(mode) for mode in modes]
    return "".join(text) if all(len(mode) == 1 for mode in text) else "(" + " ".join(text) + ")"


def _equation(step: Any) -> str:
    return f"{','.join(map(_text, step.modes))}->{_text(step.result)}"


def tensor_layouts(path: Path, problem: NetworkProblem) -> list[Layout]:
    """The layouts of the operands and of what the steps leave, in one slice."""
    extents, work = path.extents, problem.kept

    def cut(layout: Layout, modes: Sequence[Hashable]) -> Layout:
        return layout._replace(
            shape=tuple(1 if n == 1 else extents[m] for m, n in zip(modes, layout.shape, strict=True))
        )

    found = [cut(layout, modes) for layout, modes in zip(problem.layouts, path.expression.inputs, strict=True)]
    for step in path.steps[:-1]:
        shape = tuple(extents[mode] for mode in step.result)
        found.append(problem.result._replace(shape=shape, strides=contiguous_strides(shape), dtype=work))
    return [*found, cut(problem.result, path.expression.output)]


def step_problems(path: Path, problem: NetworkProblem, execution: Execution) -> list[ContractionProblem]:
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
