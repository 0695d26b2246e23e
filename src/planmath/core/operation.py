"""The lifecycle of every stateful operation: specify, plan, (autotune), execute again and again, free."""

from __future__ import annotations

import enum
import logging
import sys
import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self

from planmath.core import crossing, waiting
from planmath.core.arrays import Package
from planmath.core.autotuning import autotune
from planmath.core.cuda import devices, streams
from planmath.core.cuda.queue import Queue
from planmath.core.errors import InvalidStateError, UnavailableError
from planmath.core.execution import Execution, ExecutionCPU, ExecutionCUDA
from planmath.core.executor import Executor
from planmath.core.log import LOGGER, UNHEARD, format_seconds, levels_of, phase, tell
from planmath.core.operands import Operands, make_slot, scratch_like
from planmath.core.pickling import Travelling
from planmath.core.provider import Algorithm, Hints, Prepared, Provider, choose_by_hints
from planmath.core.slots import ArraySlot, commit
from planmath.core.telling import Plan, Telling
from planmath.core.tuning import budget as budgets
from planmath.core.tuning import collecting, record, wisdom
from planmath.core.tuning.clocks import Clock, DeviceClock, HostClock
from planmath.core.typed import A_co, OfOperand, result


class State(enum.Enum):
    """Where an operation stands in its life."""

    SPECIFIED = "specified"
    PLANNED = "planned"
    FACTORIZED = "factorized"
    """Of operations that execute in two steps: the first is done for the present operands."""
    RELEASED = "operands released"
    FREED = "freed"


_PLAN_FIRST = "{call}() needs a plan{lost}; call plan() first"
_FACTORIZE_FIRST = "{call}() needs a factorization of the present matrix; call factorize() first"
_RESET_FIRST = "{call}() needs operands, and they were released; call {reset}() with new ones first"
_FREED = "{call}() was called after free(); the object's resources are gone, create a new {noun}"

#: What forbids a call in a state. All other calls are allowed in all other states; `free` always is.
FORBIDDEN: dict[str, dict[State, str]] = {
    "plan": {State.RELEASED: _RESET_FIRST, State.FREED: _FREED},
    "autotune": {State.SPECIFIED: _PLAN_FIRST, State.RELEASED: _RESET_FIRST, State.FREED: _FREED},
    "execute": {State.SPECIFIED: _PLAN_FIRST, State.RELEASED: _RESET_FIRST, State.FREED: _FREED},
    "factorize": {State.SPECIFIED: _PLAN_FIRST, State.RELEASED: _RESET_FIRST, State.FREED: _FREED},
    "solve": {
        State.SPECIFIED: _PLAN_FIRST,
        State.PLANNED: _FACTORIZE_FIRST,
        State.RELEASED: _RESET_FIRST,
        State.FREED: _FREED,
    },
    "reset": {State.FREED: _FREED},
    "release": {State.FREED: _FREED},
}


_NOTHING_TO_RUN = Executor((), (), {})


class Operation(Travelling, Telling, Operands, OfOperand[A_co]):
    """What all stateful operations share; each one adds its signature, its problem and its providers.

    A subclass fills ``_execution`` (where to compute), ``_slots`` (name of each operand -> `ArraySlot`, in the order in
    which programs see them) and ``_constants`` (arrays of the object's own on the host, such as scale factors, which
    programs see after the operands), and defines what the abstract methods below say.
    """

    noun: ClassVar[str]
    """What messages and the log call the operation."""
    reset_name: ClassVar[str] = "reset_operands"
    release_name: ClassVar[str] = "release_operands"
    inplace_by: ClassVar[str | None] = "options.inplace"
    """How users let the result replace an operand, if they can."""
    invalid_state: ClassVar[type[InvalidStateError]] = InvalidStateError

    _executor: Executor
    _plan_made: Plan | None
    _execution: Execution = ExecutionCPU()
    _leaves_much = False
    """Whether a plan of it is too large for stateless calls to leave it to the next one."""
    _is_part = False
    """Whether another operation owns it, and tunes it."""
    _tells = True
    """Whether it is this process that shows what takes long."""
    _lost = ""
    """For messages: what became of a plan that new operands ended."""

    def __init__(self, options: Any):
        self._options = options
        self._logger: logging.Logger = options.logger or LOGGER
        self._began = time.perf_counter()
        self._slots: dict[str, ArraySlot] = {}
        self._constants: dict[str, ArraySlot] = {}
        self._package: Package
        self._queue: Queue | None = None
        self._executor = _NOTHING_TO_RUN
        self._plan_made = None
        self._freed = False

    # What a subclass defines.

    def _providers(self) -> Sequence[Provider]:
        """All providers of the operation in order of preference."""
        raise NotImplementedError

    def _result_slots(self, problem: Any) -> dict[str, ArraySlot]:
        """The results of a planned problem, the main one first; without it where it replaces an operand."""
        raise NotImplementedError

    def _inplace_operand(self) -> str | None:
        """Name of the operand that the result replaces, if any."""
        return None

    def _preferred(self, problem: Any, algorithms: list[Algorithm]) -> list[Algorithm]:
        """The algorithms by expected speed, where nothing was measured; they come in the order of the providers."""
        return algorithms

    def _usual_library(self) -> tuple[str, str | None] | None:
        """Of operations of which programs make many different ones in turn: whose threads should make them all."""
        return None

    def _describe(self) -> str:
        """The problem in half a line, for `repr` and the log."""
        raise NotImplementedError

    # State.

    @property
    def state(self) -> State:
        """Where the object stands in its life."""
        if self._freed:
            return State.FREED
        if any(slot.array is None for slot in self._slots.values()):
            return State.RELEASED
        return State.PLANNED if self._plan_made else State.SPECIFIED

    def _require(self, call: str, name: str | None = None) -> None:
        """Raise the error that the state table has for the call, if it has one."""
        message = FORBIDDEN[call].get(self.state)
        if message is not None:
            words = {"reset": self.reset_name, "noun": self.noun, "lost": self._lost}
            raise self.invalid_state(message.format(call=name or call, **words))

    # The phases.

    def _log_specification(self) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            described = "%s", self._describe()
            took = "%s specification took %s.", self.noun, format_seconds(time.perf_counter() - self._began)
            tell(self._logger, ("= %s SPECIFICATION =", self.noun), described, took)

    def _make_plan(
        self, problem: Any, slots: Mapping[str, ArraySlot], given: Sequence[Algorithm] = (), stream: Any = None,
        hints: Hints | None = None, asked: Mapping[str, Any] | None = None,
    ) -> Plan:  # fmt: skip
        """Plan the problem for the operands in `slots`, and only then put plan and operands in place of the old ones.

        With algorithms `given`, only these are candidates. The problem may do without `hints`. `asked` is what a copy's
        `plan` is to be asked for.
        """
        self._require("plan")
        logged = phase(self._logger, self.noun, "PLANNING")
        shown = waiting.going_on(f"{self.noun} planning", here=self._tells)
        with self._on_device(stream), logged, wisdom.kept(self._options.tuning), shown as task:
            chosen, problem, notes = choose_by_hints(self._providers(), self._options.provider, problem, hints or {})
            for note in notes:
                self._logger.info("Hint: %s.", note)
            providers = {provider.name: provider for provider in chosen}
            ranked, origin = self._rank(problem, providers, given)
            passed_over: list[str] = []
            for position, algorithm in enumerate(ranked):
                try:
                    provider = providers[algorithm.provider]
                    task.text = str(algorithm)
                    with budgets.planners(budgets.UNTRIED if origin == "the heuristic" else budgets.TRIED):
                        prepared = provider.prepare(self._problem_for(provider, problem), algorithm)
                except UnavailableError as error:
                    passed_over.append(f"{algorithm}: {error}")
                    self._logger.info("Passed over %s.", passed_over[-1])
                    continue
                ranked.insert(0, ranked.pop(position))
                break
            else:
                raise UnavailableError("no provider can solve this problem. " + "; ".join(passed_over))
            plan = Plan(
                problem, tuple(ranked), prepared, origin, tuple(passed_over), notes=tuple(notes), asked=asked or {}
            )
            executor = self._make_executor(plan.problem, prepared, slots)
            executor.allocate_workspace()
            self._adopt(plan, executor, slots)
            self._logger.info("Chosen by %s: %s.", plan.origin, plan.chosen)
        if not self._is_part:
            collecting.tell(self)
        return plan

    def _rank(
        self, problem: Any, providers: Mapping[str, Provider], given: Sequence[Algorithm]
    ) -> tuple[list[Algorithm], str]:
        """The candidates in the order in which to try them, and where that order comes from."""
        ranked = [a for p in providers.values() for a in p.algorithms(self._problem_for(p, problem))]
        if given:
            if unknown := [a for a in given if a not in ranked]:
                raise ValueError(
                    f"the algorithm {unknown[0]} is not for this problem on this machine; those that are: "
                    f"{', '.join(map(str, ranked))}"
                )
            return list(given), "the user"
        ranked = self._preferred(problem, ranked)
        if self._options.tuning:
            best = record.lookup(self._record_key(problem, providers), self._versions(providers), self._machine())
            if best is not None and best in ranked:
                ranked.insert(0, ranked.pop(ranked.index(best)))
                return ranked, "the tuning record"
        carried = self._carried
        if carried is not None and carried.algorithm in ranked and carried.counts(providers, self._machine()):
            ranked.insert(0, ranked.pop(ranked.index(carried.algorithm)))
            return ranked, carried.origin
        return ranked, "the heuristic"

    def _problem_for(self, provider: Provider, problem: Any) -> Any:
        """The problem as a provider gets it: with the threads that it may use where the user named no number."""
        if not isinstance(self._execution, ExecutionCPU) or self._execution.num_threads is not None:
            return problem
        threads = provider.threads()
        if threads is None or threads.number >= problem.execution[1]:
            return problem
        return problem._replace(execution=(problem.execution[0], threads.number))

    def _record_key(self, problem: Any, providers: Mapping[str, Provider]) -> str:
        """The problem in the tuning record with its threads: measurements under a limit count under that limit only."""
        problems = {name: self._problem_for(provider, problem) for name, provider in providers.items()}
        if len({of.execution for of in problems.values()}) == 1:
            return self._tuning_key(next(iter(problems.values())))
        numbers = ", ".join(f"{name} {of.execution[1]}" for name, of in problems.items())
        return f"{self._tuning_key(problem)}, threads of {numbers}"

    def _tuning_key(self, problem: Any) -> str:
        """The problem in the tuning record, where one device is like another of its kind."""
        if problem.execution[0] == "cuda":
            problem = problem._replace(execution=("cuda", 0))
        return f"{self.noun} {problem}"

    def _machine(self) -> str:
        """What the tuning record calls the processor or the device that computes."""
        if isinstance(self._execution, ExecutionCUDA):
            return devices.device(self._execution.device_id).name
        return record.machine()

    def _versions(self, providers: Mapping[str, Provider]) -> dict[str, str]:
        return {name: provider.version() for name, provider in providers.items()}

    def _make_executor(self, problem: Any, prepared: Prepared, slots: Mapping[str, ArraySlot]) -> Executor:
        named = self._result_slots(problem)
        results = tuple(named.values())
        operands, constants = tuple(slots.values()), tuple(self._constants.values())
        name = self._inplace_operand()
        inplace = None if name is None else list(slots).index(name)
        # what a prologue prepares may be scaled already
        scaling = range(len(operands), len(operands) + len(constants))
        computes_on_host = not isinstance(self._execution, ExecutionCUDA)
        if computes_on_host != (self._device_id is None):
            prepared = crossing.across(prepared, operands, constants, results, inplace, self._queue)
        elif self._queue is not None and self._options.blocking is True:
            stream = len(operands) + len(constants) + len(results) + 1
            prepared = replace(prepared, programs=crossing.synchronized(prepared.programs, stream, self._queue))
        return Executor(
            operands + constants,
            results,
            prepared.programs,
            inplace=-1 if inplace is None else inplace,
            auxiliary=tuple(named)[0 if inplace is not None else 1 :],
            workspace_size=prepared.workspace_size,
            prologue=prepared.prologue,
            watched=prepared.watched if prepared.prologue is None else (*prepared.watched, *scaling),
            log_levels=levels_of(self._logger),
            queue=self._queue,
            host_workspace=computes_on_host,
        )

    @contextmanager
    def _on_device(self, stream: Any = None) -> Iterator[None]:
        """Let the device that takes part, if one does, be current, and a user's stream the package's current one."""
        device_id = self._device_id
        if device_id is None and isinstance(self._execution, ExecutionCUDA):
            device_id = self._execution.device_id
        if device_id is None:
            yield
            return
        devices.device(device_id)
        with devices.on(device_id), ExitStack() as stack:
            if stream is not None:
                address = streams.address_of(stream, device_id)
                stack.enter_context(self._package.on_stream(address, device_id))
            if self._queue is None:
                self._queue = Queue(device_id, self._package, getattr(self._options, "allocator", None), stream)
            self._queue.passed = stream
            try:
                yield
            finally:
                self._queue.passed = None

    def _adopt(self, plan: Plan, executor: Executor, slots: Mapping[str, ArraySlot] | None = None) -> None:
        """Put a plan in the place of the old one, with all that belongs to it at once."""
        commit({}, (self, self._changes(plan, executor, self._slots if slots is None else slots)))

    def _changes(self, plan: Plan, executor: Executor, slots: Mapping[str, ArraySlot]) -> dict[str, Any]:
        """The attributes that change with the plan."""
        return {"_plan_made": plan, "_executor": executor, "_slots": dict(slots)}

    def _add_program(self, key: Hashable, algorithm: Algorithm) -> None:
        """Let `execute` run another of the plan's algorithms under a key of its own."""
        plan = self._plan_made
        assert plan is not None
        provider = {p.name: p for p in self._providers()}[algorithm.provider]
        prepared = provider.prepare(self._problem_for(provider, plan.problem), algorithm)
        if prepared.prologue or plan.prepared.prologue:
            raise UnavailableError(
                f"{algorithm} cannot be used beside {plan.chosen}: one of them packs an operand; plan with it alone"
            )
        size = max(plan.prepared.workspace_size, prepared.workspace_size)
        extended = Prepared({**plan.prepared.programs, key: prepared.programs[None]}, size)
        self._adopt(replace(plan, prepared=extended), self._make_executor(plan.problem, extended, self._slots))

    def _execute(self, key: Hashable, out: Any, stream: Any = None) -> Any:
        """An execution that is not ordinary: it is logged, or out or stream needs a closer look, or it is an error."""
        if self._logger.isEnabledFor(logging.INFO):
            self._require("execute")
            running = "Running %s.", self._plan_made.chosen  # type: ignore[union-attr]
            with phase(self._logger, self.noun, "EXECUTION", running):
                result = None if stream is not None else self._executor.run_heard(key, out)
                return self._execute_checked(key, out, stream) if result is None else result
        return self._execute_checked(key, out, stream)

    def _execute_checked(self, key: Hashable, out: Any, stream: Any) -> Any:
        self._require("execute")
        self._follow_operands()
        self._check_gradients()
        self._check_inplace_operand()
        target = None if out is None else self._check_out(out)
        with self._on_device(stream):
            result = self._executor.execute(key, target, True)
        if result is None:
            raise AssertionError(f"{self.noun}: a checked execution was not made")
        if out is None:
            return result
        return out if self._inplace_operand() is None else (result[0], out[1])

    @result
    def empty_result(self) -> Any:
        """An uninitialized array, or tuple of array and dictionary, that fits ``execute(out=...)``."""
        self._require("execute", "empty_result")
        assert self._plan_made is not None
        with self._on_device():
            arrays = {name: slot.empty() for name, slot in self._result_slots(self._plan_made.problem).items()}
        if not self._executor.auxiliary:
            if not arrays:
                raise self.invalid_state("empty_result() has nothing to make: the result replaces an operand")
            return next(iter(arrays.values()))
        main = next(iter(arrays.values())) if self._inplace_operand() is None else None
        return main, {name: arrays[name] for name in self._executor.auxiliary}

    def _autotune(
        self, iterations: int, prune: int | None, stream: Any = None, seconds: float | None = None
    ) -> None:
        """Measure all candidates on the present operands, adopt the best, and record what was measured."""
        self._require("autotune")
        autotune(self, iterations, prune, stream, seconds)

    def _shares_cpus(self, problem: Any) -> bool:
        """Whether threads of other libraries may meet those that compute."""
        return isinstance(self._execution, ExecutionCPU) and problem.execution[1] > 1

    def _clock(self) -> Clock:
        """What times an execution: the host's clock, or the device's where it returns before the work is done."""
        if self._queue is not None and self._device_id is not None and self._options.blocking is not True:
            return DeviceClock(self._queue)
        return HostClock()

    def _scratch(self, plan: Plan) -> tuple[dict[str, ArraySlot], Any]:
        """Operands and results for measuring, so that the user's own memory is only read."""
        slots = dict(self._slots)
        name = self._inplace_operand()
        if name is not None:
            slot = slots[name]
            slots[name] = make_slot(slot.package, slot.layout, writeable=True)
            commit({slots[name]: self._binding_for(name, slots[name], scratch_like(slot))})
        if name is not None and not self._executor.results:
            return slots, None
        return slots, Operation.empty_result(self)

    # What stateless calls log that find a plan of the one before.

    def _log_taken_over(self, reset: Callable[[Any], None]) -> None:
        """Take the operands of a stateless call over, by `reset`, and tell what there is of the phases."""
        log = self._logger
        tell(log, ("= %s SPECIFICATION =", self.noun), ("%s", self._describe()))
        self._logger, self._executor.silent = UNHEARD, True
        try:
            reset(self)
        finally:
            self._logger, self._executor.silent = log, False
        assert self._plan_made is not None
        remembered = "Remembered from an earlier call: %s.", self._plan_made.chosen
        tell(log, ("= %s PLANNING =", self.noun), remembered)

    def _log_left(self) -> None:
        """Tell that the plan is left to the next stateless call of this kind."""
        kept = "The operands were released; the plan is kept for the next call of this kind."
        tell(self._logger, ("= %s RESOURCE RELEASE =", self.noun), (kept,))

    # The end.

    def _release(self) -> None:
        self._require("release", self.release_name)
        self._drop_operands()
        self._logger.info("%s: the operands were released.", self.noun)

    def free(self) -> None:
        """Release the plan, the workspace and the references to the operands. Calling it again does nothing."""
        if self._freed:
            return
        with phase(self._logger, self.noun, "RESOURCE RELEASE"):
            commit({}, (self, self._nothing_left()))

    def _nothing_left(self) -> dict[str, Any]:
        """The attributes of a freed object."""
        return {
            "_freed": True, "_executor": _NOTHING_TO_RUN, "_plan_made": None, "_slots": {}, "_constants": {},
            "_queue": None,
        }  # fmt: skip

    def __enter__(self) -> Self:
        if self._freed:
            raise self.invalid_state(_FREED.format(call="__enter__", noun=self.noun))
        return self

    def __exit__(self, *exception: object) -> None:
        self.free()

    _is_finalizing = staticmethod(sys.is_finalizing)

    def __del__(self) -> None:
        if getattr(self, "_plan_made", None) is not None:
            if not self._arrived:
                message = f"unfreed {self!r}; use it in a with statement or call free()"
                warnings.warn(message, ResourceWarning, stacklevel=2, source=self)
            if not self._is_finalizing():  # when modules, and what they import, may be gone
                self.free()
