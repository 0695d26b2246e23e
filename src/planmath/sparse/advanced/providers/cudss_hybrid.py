"""cuDSS's hybrid execution on matrices in host memory, which it uses where they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.bindings import cudss, runtime
from planmath.bindings.cudss import Phase
from planmath.core.cuda.queue import Queue
from planmath.core.errors import UnavailableError
from planmath.core.provider import Algorithm
from planmath.sparse.advanced.device_kernels import Places
from planmath.sparse.advanced.kernels import address
from planmath.sparse.advanced.options import DirectSolverFactorizationPreferences
from planmath.sparse.advanced.pattern import Pattern
from planmath.sparse.advanced.problem import DirectSolverProblem, ExecutorOf
from planmath.sparse.advanced.providers import cudss_phases
from planmath.sparse.advanced.providers.cudss_objects import Handle, Task
from planmath.sparse.advanced.providers.cudss_phases import Choices
from planmath.sparse.advanced.providers.system import Step
from planmath.sparse.advanced.providers.systems import Systems, systems_of


class HybridSystems(Systems):
    """Systems on the host, each factorized by cuDSS, and looked at like those of the CPU's providers."""

    def __init__(self, problem: DirectSolverProblem, algorithm: Algorithm):
        self.problem, self.algorithm = problem, algorithm
        self.notes: list[str] = []

    def attach(self, queue: Queue, on_host: bool, executor_of: ExecutorOf | None) -> None:
        """Take the queue that work is put on."""
        handle = Handle(queue, self.problem.handle, self.problem.threading_layer)
        self.notes = cudss_phases.notes_of(handle)
        choices = Choices(self.problem, self.algorithm, queue.device_id)
        columns = iter(self.problem.columns)
        made = systems_of(
            self.problem, lambda pattern, name: HybridFactorization(handle, choices, pattern, next(columns), name)
        )
        super().__init__(made, 1)

    def release(self) -> None:
        """No operand is kept."""


class HostArray:
    """An operand of one system, as `cudss_objects.Task` takes it."""

    table = 0

    def __init__(self, start: int):
        self.places, self.addresses = Places(start), [start]

    def move(self, start: int) -> None:
        if start != self.places.first:
            self.places, self.addresses = Places(start), [start]


class HybridFactorization:
    """cuDSS's factorization of one matrix that is on the host."""

    def __init__(self, handle: Handle, choices: Choices, pattern: Pattern, columns: int, name: str):
        self.handle, self.choices, self.name, self.perturbed = handle, choices, name, 0
        self.looks_at_values = True
        problem = choices.problem._replace(patterns=(pattern,), columns=(columns,))
        self.task = Task(handle, problem, [0], lambda i: (address(pattern.starts), address(pattern.columns)))
        choices.apply_plan(self.task)
        self.scratch = np.empty(pattern.n * columns, problem.dtype)
        start = address(self.scratch)
        self.values, self.x, self.b = HostArray(start), HostArray(start), HostArray(start)

    @property
    def special(self) -> bool:
        """Whether the analysis went without matching, which it may be made with."""
        return self.choices.may_be_careful(self.task)

    def generalize(self) -> None:
        self.choices.be_careful(self.task)

    def analyse(self, values: np.ndarray) -> list[Step]:
        self.values.move(address(values))
        try:
            self._run(Phase.ANALYSIS)
        except UnavailableError:
            if not self.choices.do_without(self.task):
                raise
            self._run(Phase.ANALYSIS)
        return []

    def factorize(self, values: np.ndarray, preferences: DirectSolverFactorizationPreferences) -> list[Step]:
        self.choices.apply_factorization(self.task, preferences)
        self.values.move(address(values))
        self._run(Phase.FACTORIZATION)
        return []

    def solve(self, b: np.ndarray, x: np.ndarray, columns: int) -> list[Step]:
        self.b.move(address(b))
        self.x.move(address(x))
        self._run(Phase.SOLVE)
        return []

    def _run(self, phase: Phase) -> None:
        try:
            self.task.execute(phase, self.values, self.x, self.b)
        except cudss.cuDSSError as error:
            raise cudss_phases.explained(error, self.task, phase, self.handle, [self.name]) from error
        runtime.stream_synchronize(self.handle.queue.stream)

    def check(self, phase: str) -> None:
        if phase == "plan":
            cudss_phases.check_analysis(self.task, self.choices, [self.name])
        if phase == "factorization":
            if cudss_phases.failed_pivot(self.task):
                cudss_phases.raise_not_definite(self.task, [self.task], [self.name])
            (self.perturbed,) = cudss_phases.perturbed(self.task, lambda i: None)

    def fact(self, phase: str, name: str) -> Any:
        return cudss_phases.facts(self.task, phase, name, [self])[0]
