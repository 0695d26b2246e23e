"""The planned steps of a contraction of many tensors, and the workspace between them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from planmath.core.arrays import ITEMSIZE, Layout, Package, contiguous_strides
from planmath.core.execution import Execution
from planmath.core.provider import Algorithm
from planmath.report.tables import table
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


class _Step(BinaryContraction):
    """One step: its operands may be intermediate results, which half precision has in single precision."""

    noun = "step of a Contraction"

    def _check_dtypes(self, layouts: Mapping[str, Layout], out: Layout | None) -> None:
        pass

    def _check_gradients(self) -> None:
        """Whose operands they are tells."""

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


class Network:
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
        self, path: Path, problem: NetworkProblem, package: Package, arrays: list[Any],
        options: ContractionOptions, execution: Execution,
    ):  # fmt: skip
        self.path, self.problem, self.package, self.arrays = path, problem, package, arrays
        self.sliced, self.count = path.sliced(), len(arrays)
        self.adds = any(mode not in path.expression.output for mode in path.parts)
        places, elements = path.places()
        work = problem.kept
        workspace = self._empty((max(elements, 1),), (1,), work)
        self.workspace_size = elements * ITEMSIZE[work]
        layouts = tensor_layouts(path, problem)
        self.between = [
            package.with_strides(workspace[place:], layouts[self.count + i]) for i, place in enumerate(places)
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
                first = next(self.path.positions())
                self._bind(len(self.steps) - 1, first, self._part(self._empty(*self.problem.result[:3]), first))
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
        path, work = self.path, self.problem.kept
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
                target = self._part(self._empty(*problem.result[:3]), first)
            self.steps.append(
                _Step(
                    [*step.modes_of_factors(path.expression), step.result], a, b,
                    c=target if last and self.adds else None,
                    out=target, options=replace(limited, blocking=options.blocking) if last else limited,
                    execution=execution,
                )
            )  # fmt: skip
            self.steps[-1].plan()

    def _empty(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str) -> Any:
        """A new array where the operands are."""
        return self.package.empty(shape, strides, self.package.dtype(dtype), self.problem.result.device_id)

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
