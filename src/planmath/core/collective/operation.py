"""The lifecycle of operations that several processes execute together."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from planmath.bindings import runtime
from planmath.core.collective import deadline, device_space, interrupts
from planmath.core.collective.agreement import agreed
from planmath.core.collective.exchange import Space
from planmath.core.collective.process_group import ProcessGroup, ReductionOp
from planmath.core.collective.provider import OnAllRanks, TransportProvider
from planmath.core.collective.spaces import HOST
from planmath.core.errors import UnavailableError
from planmath.core.execution import ExecutionCPU, ExecutionCUDA, available_cpus
from planmath.core.executor import Executor
from planmath.core.operation import Operation, Plan
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.core.slots import ArraySlot
from planmath.core.tuning import progress, record
from planmath.core.tuning.budget import Budget
from planmath.core.typed import A_co
from planmath.native.threads import openmp_threads

CHECK = "PLANMATH_DISTRIBUTED_CHECK"
#: Seconds that measuring a candidate may take, and all of them where the user says nothing.
EACH, ALL = 0.5, 8.0


class CollectiveOperation(Operation[A_co]):
    """What all operations across ranks share: equal errors, equal plans, and who is waited for.

    A subclass lists its `Provider` objects for the group in `_local_providers`.
    """

    def __init__(self, options: Any, group: ProcessGroup):
        super().__init__(options)
        self._group = group
        self._tells = group.rank == 0
        self._executions = 0
        self._device_space: device_space.DeviceSpace | None = None
        self._checks = bool(getattr(options, "check", False)) or os.environ.get(CHECK, "") not in ("", "0")

    def _stays_because(self) -> str | None:
        return "its group's ranks plan and execute together, each in its own process; create it on all ranks"

    def _settle_in(self, slot: ArraySlot) -> None:
        """Compute where the operands are: on the CPU, with this rank's share of the threads, or on their device."""
        if slot.device_id is None:
            self._execution = ExecutionCPU(num_threads=local_threads(self._group))
        else:
            self._execution = ExecutionCUDA(device_id=slot.device_id)

    @property
    def _transport(self) -> str:
        """The name of the one that was chosen."""
        assert self._plan_made is not None
        return self._plan_made.chosen.provider

    @property
    def _where(self) -> tuple[str, int]:
        """The same, as problems have it."""
        if isinstance(self._execution, ExecutionCUDA):
            return "cuda", self._execution.device_id
        return "cpu", self._execution.threads

    @property
    def _space(self) -> Space:
        """Where exchanges find the operands; on a device, while that is current."""
        if self._queue is None:
            return HOST
        if self._device_space is None:
            self._device_space = device_space.DeviceSpace(self._queue)
        return self._device_space

    def _local_providers(self) -> Sequence[TransportProvider]:
        """All providers of the operation, for the group, as they are on this rank."""
        raise NotImplementedError

    def _providers(self) -> Sequence[Provider]:
        return [OnAllRanks(provider, self._group) for provider in self._local_providers()]

    def _plan_together(self, make: Callable[[], Plan], **equal: Any) -> Plan:
        """Make a plan on all ranks, or raise the same on all of them.

        Parameters
        ----------
        make : callable
            What makes it.
        equal
            What has to be equal on all ranks.
        """
        call = f"{self.noun}.plan()"
        with deadline.within(call):
            with agreed(self._group, call) as agreement:
                self._require("plan")
                agreement.equal = equal
            with agreed(self._group, f"{call}, its end"):
                return make()

    def _rank(
        self, problem: Any, providers: Mapping[str, Provider], given: Sequence[Algorithm]
    ) -> tuple[list[Algorithm], str]:
        """What all ranks can do, in the order of rank 0, which alone reads the tuning record."""
        ranked, origin = super()._rank(problem, providers, given)
        return self._group.allreduce_object(
            (ranked, origin), op=lambda first, other: ([a for a in first[0] if a in other[0]], first[1])
        )

    def _execute_together(self, work: Callable[[], Any], call: str = "execute") -> Any:
        """Do something that all ranks have to do, with messages that say what it is."""
        self._executions += 1
        self._check(call)
        with deadline.within(f"{self.noun}.{call}()"):
            result = work()
        if self._device_space is not None and self._device_space.failure is not None:
            failure, self._device_space.failure = self._device_space.failure, None
            raise failure
        return result

    def _check(self, call: str) -> None:
        """In check mode: make sure that all ranks are in the same call, in a state that allows it."""
        if self._checks:
            with agreed(self._group, f"{self.noun}.{call}() number {self._executions}"):
                self._require("execute" if call == "execute" else call)

    def _resetting(self, call: str, work: Callable[[], None]) -> None:
        """Reset operands, on this rank alone or, in check mode, on all ranks or on none."""
        if not self._checks:
            work()
            return
        with agreed(self._group, f"{self.noun}.{call}()"):
            work()

    # Measuring: what counts is the slowest rank's time, so that all ranks choose alike.

    def _autotune(self, iterations: int, prune: int | None, stream: Any = None, seconds: float | None = None) -> None:
        call = f"{self.noun}.autotune()"
        with deadline.within(call):
            with agreed(self._group, call) as agreement:
                self._require("autotune")
                for name, value in (("iterations", iterations), ("prune", prune)):
                    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                        raise ValueError(f"{name} is {value!r}; expected a positive integer")
                if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
                    raise ValueError(f"seconds is {seconds!r}; expected a positive number")
                agreement.equal = {"iterations": iterations, "prune": prune, "seconds": seconds}
            assert self._plan_made is not None
            with self._on_device(stream):
                self._measure(self._plan_made, iterations, prune, ALL if seconds is None else seconds)

    def _measure(self, plan: Plan, iterations: int, prune: int | None, seconds: float) -> None:
        """Measure all candidates on all ranks, adopt the best, and record what was measured.

        When one rank is interrupted, all do that with what was measured by then, and all are interrupted.
        """
        taking_part = {algorithm.provider for algorithm in plan.algorithms}
        providers = {provider.name: provider for provider in self._providers() if provider.name in taking_part}
        measured: list[record.Measurement] = []
        prepared: dict[Algorithm, Prepared] = {}
        missed: list[Algorithm] = []
        slots, out = self._scratch(plan)
        budget = Budget(seconds)
        with progress.shown(self.noun, budget, self._tells) as shown, interrupts.noted() as interrupt:
            for algorithm in plan.algorithms:
                if measured and self._slowest(math.inf if interrupt.came else budget.elapsed()) > seconds:
                    missed.append(algorithm)
                    continue
                shown.tell(str(algorithm))
                with suppress(UnavailableError):
                    provider = providers[algorithm.provider]
                    made = provider.prepare(self._problem_for(provider, plan.problem), algorithm)
                    prepared[algorithm] = made
                    executor = self._make_executor(plan.problem, made, slots)
                    times = self._times(executor, out, iterations)
                    measured.append(record.Measurement(algorithm, median(times[1:])))
            interrupted = self._slowest(interrupt.came) > 0
        measured.sort(key=lambda m: m.warm)
        best = measured[0].algorithm
        new = replace(
            plan, algorithms=tuple(m.algorithm for m in measured)[:prune], prepared=prepared[best], origin="autotuning",
            measurements=tuple(measured), missed=tuple(missed),
        )  # fmt: skip
        self._adopt(new, self._make_executor(new.problem, new.prepared, self._slots))
        if self._options.tuning and self._group.rank == 0:
            key = self._record_key(plan.problem, providers)
            entry = record.Entry(
                key, new.measurements, self._versions(providers), record.today(), tuple(map(str, missed))
            )
            record.store(entry, self._machine())
        if interrupted:
            raise KeyboardInterrupt

    def _times(self, executor: Executor, out: Any, iterations: int) -> list[float]:
        """How long executions take on the slowest rank: the first one, and others behind a barrier each."""
        times: list[float] = []
        while len(times) < 2 or (len(times) <= iterations and sum(times) < EACH):
            self._slowest(0.0)
            start = time.perf_counter()
            executor.execute(None, out, True)
            self._wait_for_device()
            times.append(self._slowest(time.perf_counter() - start))
        return times

    def _wait_for_device(self) -> None:
        """Wait until what was executed is done."""
        if self._queue is not None:
            runtime.stream_synchronize(self._queue.stream)

    def _slowest(self, seconds: float) -> float:
        """The longest of the ranks' times."""
        longest = np.array([seconds], np.float64)
        self._group.allreduce_buffer(longest, op=ReductionOp.MAX)
        return float(longest[0])


def local_threads(group: ProcessGroup) -> int:
    """How many threads a rank may have.

    Its share of the CPUs, as if all ranks were on this host, unless the launcher gave it CPUs of its own; and no more
    than OpenMP's runtime says.
    """
    cpus = available_cpus()
    if cpus == os.cpu_count():
        cpus //= group.nranks
    return max(1, min(cpus, openmp_threads().number))


def place_of(name: str, slot: ArraySlot, device_id: int) -> str:
    """Where an operand is, as a word that has to be equal on all ranks.

    Raises
    ------
    ValueError
        If it is on another device than this rank's.
    """
    if slot.device_id is None:
        return "cpu"
    if slot.device_id != device_id:
        raise ValueError(
            f"{name} is on CUDA device {slot.device_id}; expected device {device_id}, which this rank was initialized "
            "with: move it there, or pass its number to planmath.distributed.initialize()"
        )
    return "cuda"
