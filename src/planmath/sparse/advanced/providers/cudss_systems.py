"""Linear systems on a CUDA device: cuDSS's phases, and how accurate the solutions are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from planmath.bindings import cudss, runtime
from planmath.bindings.cudss import Phase
from planmath.core import crossing
from planmath.core.cuda.queue import Queue
from planmath.core.errors import UnavailableError
from planmath.core.executor import Executor
from planmath.core.provider import Algorithm
from planmath.sparse.advanced.device_kernels import DeviceSystems
from planmath.sparse.advanced.information import DirectSolverSolutionInfo
from planmath.sparse.advanced.options import DirectSolverFactorizationPreferences, DirectSolverSolutionPreferences
from planmath.sparse.advanced.pattern import changed_pattern
from planmath.sparse.advanced.problem import DirectSolverProblem, ExecutorOf
from planmath.sparse.advanced.providers import cudss_phases
from planmath.sparse.advanced.providers.accuracy import Decisions, Judge, Request
from planmath.sparse.advanced.providers.cudss_objects import Handle, Task
from planmath.sparse.advanced.providers.cudss_phases import Choices
from planmath.sparse.advanced.providers.cudss_solution import direct_solution
from planmath.sparse.advanced.providers.device_operand import Operand
from planmath.sparse.advanced.providers.system import check_right_hand_side

#: The values of the algorithms' knob "batch": all systems at once, or each by itself.
AT_ONCE, ONE_BY_ONE = "at once", "one by one"


class CudssSystems:
    """The systems of a problem on a device.

    It has the methods of `systems.Systems`; the operands that these are given are on the device, or all on the host.

    Parameters
    ----------
    problem : DirectSolverProblem
    algorithm : Algorithm
    """

    def __init__(self, problem: DirectSolverProblem, algorithm: Algorithm):
        self.problem, self.algorithm = problem, algorithm
        self.names = [f"a[{i}]" if problem.batched else "a" for i in range(len(problem.patterns))]
        self.judges = [Judge(problem.dtype) for _ in problem.patterns]
        self.tasks: list[Task] = []
        self.notes: list[str] = []
        self._compared: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None

    def attach(self, queue: Queue, on_host: bool, executor_of: ExecutorOf | None) -> None:
        """Take the queue that work is put on; the operands are on the host or on its device."""
        problem = self.problem
        count = len(problem.patterns)
        self.queue, self.on_host = queue, on_host
        self.kernels = DeviceSystems(problem.patterns, problem.dtype, problem.columns, queue)
        self.handle = Handle(queue, problem.handle, problem.threading_layer)
        self.notes = cudss_phases.notes_of(self.handle)
        self.choices = Choices(problem, self.algorithm, queue.device_id)
        everything = count > 1 and self.algorithm.get("batch") == AT_ONCE
        members = [range(count)] if everything else [[i] for i in range(count)]
        self.tasks = [self._task(each) for each in members]
        patterns, kernels = problem.patterns, self.kernels
        lengths, starts = [(pattern.nnz, 1) for pattern in patterns], [(pattern.n + 1, 1) for pattern in patterns]
        self.starts, self.columns = (Operand(shapes, problem.index_dtype, queue) for shapes in (starts, lengths))
        self.shapes = [(pattern.n, k) for pattern, k in zip(patterns, problem.columns, strict=True)]
        self._form: dict[str, Any] = {"packed": count == 1 or self.tasks[0].uniform, "listed": self.tasks[0].together}
        self.values = Operand(lengths, problem.dtype, queue, kernels.copy_values, on_host=on_host, **self._form)
        self.b, self.x, self.direct_b, self.direct_x = (
            Operand(self.shapes, problem.dtype, queue, kernels.copy, on_host=on_host, **self._form) for _ in range(4)
        )
        self.residual = self._scratch()
        self._spare: tuple[Operand, Operand] | None = None
        self._executor_of, self._direct = executor_of, None

    def _task(self, members: Sequence[int]) -> Task:
        task = Task(self.handle, self.problem, members, self.kernels.indices)
        self.choices.apply_plan(task)
        return task

    def _scratch(self) -> Operand:
        return Operand(self.shapes, self.problem.dtype, self.queue, **self._form).use_own()

    def release(self) -> None:
        """Let go of the operands."""
        for operand in (self.values, self.b, self.x, self.starts, self.columns):
            operand.release()

    # Phases.

    def analyse(self, values: Sequence[np.ndarray]) -> None:
        """Order the unknowns and find out the structure of the factors."""
        self._bring_values(values)
        self.kernels.measure(self.values.places)
        runtime.stream_synchronize(self.queue.stream)
        self._check_values()
        for task in self.tasks:
            self._analyse(task)

    def _analyse(self, task: Task) -> None:
        try:
            self._run(task, Phase.ANALYSIS, self.residual, self.residual)
        except UnavailableError:
            if not self.choices.do_without(task):
                raise
            self._run(task, Phase.ANALYSIS, self.residual, self.residual)
        runtime.stream_synchronize(self.queue.stream)
        cudss_phases.check_analysis(task, self.choices, self.names)

    def _factorize(self, task: Task) -> None:
        self._run(task, Phase.FACTORIZATION, self.residual, self.residual)

    def compare(self, starts: Sequence[np.ndarray], columns: Sequence[np.ndarray]) -> None:
        """Let the next factorization find out whether these index arrays on the device have the planned patterns.

        They are dense, and have the planned dtype and at least the planned lengths.
        """
        self._compared = starts, columns

    def check_patterns(self, starts: Sequence[np.ndarray], columns: Sequence[np.ndarray]) -> None:
        """Find it out now."""
        self.compare(starts, columns)
        self._launch_comparison()
        runtime.stream_synchronize(self.queue.stream)
        self._check_patterns()

    def factorize(self, values: Sequence[np.ndarray], preferences: DirectSolverFactorizationPreferences) -> None:
        """Factorize the matrices with these values."""
        self._bring_values(values)
        for task in self.tasks:
            self.choices.apply_factorization(task, preferences)
        self._launch_comparison()
        self.kernels.measure(self.values.places)
        # a pattern that changed does no harm meanwhile: the arrays are as long as planned, cuDSS has other indices
        for task in self.tasks:
            self._factorize(task)
        runtime.stream_synchronize(self.queue.stream)
        self._check_patterns()
        self._check_values()
        for task in self.tasks:
            self._check_task(task)

    def solve(
        self, values: Sequence[np.ndarray], b: Sequence[np.ndarray], x: Sequence[np.ndarray], exact: bool,
        preferences: DirectSolverSolutionPreferences, factorization_preferences: DirectSolverFactorizationPreferences,
    ) -> tuple[DirectSolverSolutionInfo, ...]:  # fmt: skip
        """Solve for x; arrays of any strides."""
        self.b.take(b)
        self.x.take(x)
        self.b.bring()
        if self.choices.solution is not preferences:
            self.choices.apply_solution(self.tasks, preferences)
        self._solve(self.tasks, self.x, self.b)
        self._find_residual(self.x)
        self.x.send()
        runtime.stream_synchronize(self.queue.stream)
        infos = self._judged(b, preferences, factorization_preferences)
        if self._executor_of is not None and self._direct is None:
            self._direct = self._direct_after(infos[0], b, x, self._executor_of)
        self.x.land()
        self.x.release()
        return infos

    def solve_directly(
        self, out: Any, preferences: DirectSolverSolutionPreferences
    ) -> tuple[Any, tuple[DirectSolverSolutionInfo, ...]] | None:
        """The solution of the only system for what is bound, and how good it is; None where `solve` has more to do."""
        if self._direct is None or preferences is not self.choices.solution or preferences.ir_num_steps:
            return None
        try:
            x = self._direct.run(None, out)
        except cudss.cuDSSError as failure:
            raise cudss_phases.explained(failure, self.tasks[0], Phase.SOLVE, self.handle, self.names) from failure
        if x is None:
            return None
        (judge,) = self.judges
        error, growth = judge.error(self.kernels.sizes)
        if judge.satisfied(error, growth):
            return x, (judge.info(error, False, 0, growth),)
        self._direct = None  # further ones are likely to need more as well
        return None

    def _direct_after(
        self, info: DirectSolverSolutionInfo, b: Sequence[np.ndarray], x: Sequence[np.ndarray], executor_of: ExecutorOf
    ) -> Executor | None:
        """The direct solution of the only system, for arrays that lie like these, if this one was accurate at once."""
        (task,) = self.tasks
        accurate = info.accurate and not info.refinement_steps and info.forward_error is None
        if not accurate or self.values.copied or self.x.copied or self.b.copied or task.columnwise:
            return None
        for operand, arrays in ((self.direct_x, x), (self.direct_b, b)):
            operand.take(arrays)
            operand.release()
        operands = self.values, self.direct_x, self.direct_b, self.residual
        return executor_of({None: direct_solution(self.kernels, task, *operands)}, only_stream=task.home)

    def _judged(
        self, b: Sequence[np.ndarray], preferences: DirectSolverSolutionPreferences,
        factorization_preferences: DirectSolverFactorizationPreferences,
    ) -> tuple[DirectSolverSolutionInfo, ...]:  # fmt: skip
        """How good the solutions are, whose residuals are known, after what had to be done about it."""
        wanted = preferences.ir_num_steps
        sizes, first = self.kernels.sizes, self.kernels.first_columns
        infos: list[Any] = []
        doubtful = []
        for i, (judge, start, k) in enumerate(zip(self.judges, first, self.problem.columns, strict=True)):
            own = sizes[start : start + k]
            error, growth = judge.error(own)
            if not growth * error < np.inf:
                self._check_right_hand_side(i, b[i], own)
            infos.append(judge.info(error, False, 0, growth))
            if wanted or not judge.satisfied(error, growth):
                doubtful.append(i)
        if doubtful:
            for i, info in self._improve(doubtful, wanted, factorization_preferences).items():
                infos[i] = info
            self.x.send()
            runtime.stream_synchronize(self.queue.stream)
        return tuple(infos)

    def facts(self, phase: str, name: str) -> tuple[Any, ...]:
        """A fact of every system."""
        found: dict[int, Any] = {}
        for task in self.tasks:
            given = cudss_phases.facts(task, phase, name, self.judges)
            found |= dict(zip(task.members, given, strict=True))
        return tuple(found[i] for i in range(len(self.names)))

    # What the phases consist of.

    def _bring_values(self, values: Sequence[np.ndarray]) -> None:
        self.values.take(values)
        self.values.bring()

    def _solve(self, tasks: Iterable[Task], x: Operand, b: Operand) -> None:
        for task in tasks:
            self._run(task, Phase.SOLVE, x, b)

    def _run(self, task: Task, phase: Phase, x: Operand, b: Operand) -> None:
        """Put a phase on the queue's stream."""
        try:
            task.execute(phase, self.values, x, b)
        except cudss.cuDSSError as error:
            raise cudss_phases.explained(error, task, phase, self.handle, self.names) from error

    def _find_residual(self, x: Operand) -> None:
        self.kernels.residual(self.values.places, x.places, self.b.places, self.residual.places)

    def _launch_comparison(self) -> None:
        if self._compared is not None:
            for operand, arrays in zip((self.starts, self.columns), self._compared, strict=True):
                operand.take(arrays)
            self.kernels.compare(self.starts.places, self.columns.places)

    def _check_patterns(self) -> None:
        if self._compared is not None:
            self._compared = None
            changed = np.flatnonzero(self.kernels.changed)
            if len(changed):
                raise changed_pattern(self.names[changed[0]])

    def _check_values(self) -> None:
        for judge, norm in zip(self.judges, self.kernels.norms.tolist(), strict=True):
            judge.norm = norm
        bad = np.flatnonzero(self.kernels.bad_rows >= 0)
        if len(bad):
            row = int(self.kernels.bad_rows[bad[0]])
            raise ValueError(f"{self.names[bad[0]]} has a value that is not finite (NaN or infinity) in row {row}")

    def _check_task(self, task: Task) -> None:
        """Note how many pivots were replaced; raise where a matrix is not positive definite."""
        if cudss_phases.failed_pivot(task):
            cudss_phases.raise_not_definite(task, self._alone(task), self.names)
        cudss_phases.check_nonzeros(task, self.names[task.members[0]])
        counts = cudss_phases.perturbed(task, lambda i: self._factorize_alone(task, i))
        for i, count in zip(task.members, counts, strict=True):
            judge = self.judges[i]
            judge.perturbed = count
            judge.may_start_over = self.choices.may_start_over(task)

    def _factorize_alone(self, task: Task, member: int) -> None:
        task.execute_alone(member, Phase.REFACTORIZATION, self.values, self.residual, self.residual)
        runtime.stream_synchronize(self.queue.stream)

    def _alone(self, task: Task) -> Iterable[Task]:
        """Each system of a task factorized by itself."""
        if len(task.members) == 1:
            yield task
            return
        for i in task.members:
            single = self._task([i])
            self._analyse(single)
            self._factorize(single)
            runtime.stream_synchronize(self.queue.stream)
            yield single

    def _check_right_hand_side(self, number: int, b: np.ndarray, sizes: np.ndarray) -> None:
        if (sizes[:, 2] < np.inf).all():
            return
        (array,) = [b] if self.on_host else crossing.fetched([b], self.queue)
        check_right_hand_side(self.names[number], array)

    # Solutions that are not good enough.

    def _improve(
        self, doubtful: Sequence[int], wanted: int | None, preferences: DirectSolverFactorizationPreferences
    ) -> dict[int, DirectSolverSolutionInfo]:
        """Do what the decisions on these systems ask for, the same of all of them at a time."""
        if self._spare is None:
            self._spare = self._scratch(), self._scratch()
        actions: dict[Request, Callable[[Sequence[int]], dict[int, Any]]] = {
            Request.RESIDUAL: self._errors_of_x, Request.REFINE: self._refine, Request.KEEP: self._keep,
            Request.DISCARD: lambda members: {}, Request.FORWARD: self._forward_errors,
            Request.START_OVER: lambda members: self._start_over(members, preferences),
        }  # fmt: skip
        decisions: dict[int, Decisions] = {i: self.judges[i].decide(wanted) for i in doubtful}
        requests = {i: next(made) for i, made in decisions.items()}
        infos = {}
        while requests:
            request = min(requests.values())
            members = [i for i, asked in requests.items() if asked == request]
            answers = actions[request](members)
            for i in members:
                try:
                    requests[i] = decisions[i].send(answers.get(i))
                except StopIteration as end:
                    infos[i] = end.value
                    del requests[i]
        return infos

    def _errors(self, x: Operand, members: Sequence[int]) -> dict[int, tuple[float, float]]:
        self._find_residual(x)
        runtime.stream_synchronize(self.queue.stream)
        sizes, first = self.kernels.sizes, self.kernels.first_columns
        return {i: self.judges[i].error(sizes[first[i] : first[i] + self.problem.columns[i]]) for i in members}

    def _errors_of_x(self, members: Sequence[int]) -> dict[int, tuple[float, float]]:
        return self._errors(self.x, members)

    def _refine(self, members: Sequence[int]) -> dict[int, tuple[float, float]]:
        assert self._spare is not None
        correction, refined = self._spare
        self._find_residual(self.x)  # what is there may be that of another step
        self._solve(self.tasks, correction, self.residual)
        self.kernels.add(self.x.places, correction.places, refined.places)
        return self._errors(refined, members)

    def _keep(self, members: Sequence[int]) -> dict[int, Any]:
        assert self._spare is not None
        return self._put(self._spare[1], members)

    def _put(self, source: Operand, members: Sequence[int]) -> dict[int, Any]:
        """Put the solutions of some systems in x's place."""
        for i in members:
            runtime.memcpy_async(
                self.x.addresses[i], source.addresses[i], source.sizes[i],
                runtime.MemcpyKind.DEVICE_TO_DEVICE, self.queue.stream,
            )  # fmt: skip
        return {}

    def _forward_errors(self, members: Sequence[int]) -> dict[int, float]:
        assert self._spare is not None
        noise, effect = self._spare
        self._find_residual(self.x)
        places = self.values.places, self.x.places, self.b.places, self.residual.places
        self.kernels.noise(*places, noise.places)
        self._solve(self.tasks, effect, noise)
        self.kernels.relative(self.x.places, effect.places)
        runtime.stream_synchronize(self.queue.stream)
        found, first = self.kernels.forward, self.kernels.first_columns
        return {i: float(found[first[i] : first[i] + self.problem.columns[i]].max()) for i in members}

    def _start_over(self, members: Sequence[int], preferences: DirectSolverFactorizationPreferences) -> dict[int, Any]:
        """Analyse these systems anew, each by itself, for their present values, with large entries on the diagonal."""
        assert self._spare is not None
        fresh = []
        for i in members:
            task = self._task([i])
            self.choices.be_careful(task)
            self.choices.apply_factorization(task, preferences)
            self._analyse(task)
            self._factorize(task)
            fresh.append(task)
        runtime.stream_synchronize(self.queue.stream)
        self._direct = None  # it would keep the factors of before
        replaced = {task.members for task in fresh}
        self.tasks = [task for task in self.tasks if task.members not in replaced] + fresh
        for task in fresh:
            self._check_task(task)
            self.judges[task.members[0]].may_start_over = False
        self._solve(fresh, self._spare[0], self.b)
        note = f"solutions of {', '.join(self.names[i] for i in members[:3])}{' and more' * (len(members) > 3)} were"
        note += " inaccurate, so that the analysis was made anew, with matching"
        if note not in self.notes:
            self.notes.append(note)
        return self._put(self._spare[0], members)
