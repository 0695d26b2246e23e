"""Operations that execute in two steps: `factorize` for a matrix, `solve` for right-hand sides.

A direct solver of any kind of matrix is one: it adds its signature, how it reads matrices, its problem, its providers
and its `Phases`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from planmath.core.arrays import Layout, contiguous_strides
from planmath.core.errors import warn
from planmath.core.execution import ExecutionCPU
from planmath.core.log import phase
from planmath.core.operands import make_slot
from planmath.core.operation import Operation, Plan, State
from planmath.core.slots import ArraySlot, Binding, commit, followed
from planmath.core.tuning.clocks import Clock, HostClock
from planmath.core.typed import A_co, solution
from planmath.report.pages import Table


class SingularMatrixError(np.linalg.LinAlgError):
    """The matrix has no inverse, or is not positive definite although its type says so.

    Parameters
    ----------
    message : str
    row : int, optional
        The row of the matrix, or the number of the pivot, where that became certain.

    Attributes
    ----------
    indices : tuple
        Of a batch of dense systems: which matrices are singular.
    solution : array or tuple of arrays, optional
        Of such a batch: the solutions of the other systems; NaN where a matrix is singular.
    """

    indices: tuple[Any, ...] = ()
    solution: Any = None

    def __init__(self, message: str, row: int | None = None):
        super().__init__(message)
        self.row = row


class InaccurateSolutionError(ArithmeticError):
    """A solution is inaccurate, also after refinement, and the options say to raise."""


class InaccurateSolutionWarning(RuntimeWarning):
    """A solution is inaccurate, also after refinement."""


class Judged(Protocol):
    """What is known of a solution."""

    @property
    def accurate(self) -> bool: ...


class Phases:
    """What `core.executor.Executor` is to operations of one step: the plan's work and the operands to do it on.

    As it is, that of an object without a plan. What a subclass keeps between the phases is its own.
    """

    results = auxiliary = ()
    silent = False

    #: The attributes where other operands are bound, which the next phase looks for; and where none are.
    REBOUND: ClassVar[dict[str, Any]] = {"seen": None}
    UNBOUND: ClassVar[dict[str, Any]] = REBOUND

    def __init__(self) -> None:
        self.seen: tuple[Binding, ...] | None = None

    def follow(self, matrices: Sequence[ArraySlot], sides: Sequence[ArraySlot]) -> bool:
        """Find the operands where they are now; False where one cannot be followed."""
        found = followed((*matrices, *sides))
        if found is None:
            return False
        if found != self.seen:
            self.see(matrices, sides)
            self.seen = found
        return True

    def see(self, matrices: Sequence[ArraySlot], sides: Sequence[ArraySlot]) -> None:
        """Work from now on on what is bound to these slots."""
        raise NotImplementedError

    def admit(self, call: str) -> None:
        """Raise where a phase cannot begin now; what was there before stays as it was then."""

    def factorize(self) -> None:
        """Factorize the matrices with their present values. Raises where one has no factors."""
        raise NotImplementedError

    def solve(self, results: Sequence[Any], layouts: Sequence[Layout]) -> Sequence[Judged]:
        """Solve with the present right-hand sides into arrays of these layouts, and tell how good each solution is."""
        raise NotImplementedError

    def solve_directly(self, out: Any) -> tuple[Any, Sequence[Judged]] | None:
        """A new solution, or `out`, and how good it is, where that takes nothing out of the ordinary; else None."""
        return None

    def execute(self, key: object, results: tuple[Sequence[Any], Sequence[Layout]]) -> Sequence[Any]:
        """Factorize and solve: what autotuning measures."""
        self.factorize()
        self.solve(*results)
        return results[0]

    def facts(self, phase: str, name: str) -> Sequence[Any]:
        """What is known of each system after the phase 'plan' or 'factorization'."""
        raise NotImplementedError

    @property
    def notes(self) -> Sequence[str]:
        """What is worth knowing of the plan."""
        return ()

    def let_go(self) -> None:
        """Drop what is kept of operands that are gone."""

    def allocate_workspace(self) -> None:
        """Nothing: what the phases need is kept between them."""

    def release_results(self) -> None:
        """Give the memory of large solutions back that were dropped."""


#: The attributes of an object without operands.
_NO_OPERANDS = {"_has_operands": False, "_factorized": False, "_operand_spans": None}


class FactorizingOperation(Operation[A_co]):
    """What operations share that factorize matrices and solve for right-hand sides.

    A subclass calls `_bind_systems` when it is made, makes `Phases` in the place of an executor, and defines what
    stands under "What a subclass defines" here and in `Operation`. Its options have ``on_inaccurate``.
    """

    _executor: Any  # `Phases`

    def __init__(self, options: Any):
        super().__init__(options)
        self._executor = Phases()
        self._factorized = False
        self._solution: Sequence[Judged] = ()
        self._operand_spans: list[Span] | None = None
        self._result_slots_made: list[ArraySlot] = []

    def _bind_systems(
        self, matrices: Sequence[Any], sides: Sequence[Any], batch: tuple[int, ...] | None,
        explicit: tuple[bool, bool] = (False, False),
    ) -> None:  # fmt: skip
        """Take arrays as the operands, which fix the layouts of all later ones; package and execution are known.

        Parameters
        ----------
        matrices, sides : sequence of array
        batch : tuple of int, optional
            The shape of the batch; None for one system.
        explicit : tuple of two bool
            Whether the matrices, and whether the right-hand sides, came as sequences.
        """
        self._batch, self._explicit = batch, explicit
        self._a_names = names("a", len(matrices), explicit[0])
        self._b_names = names("b", len(sides), explicit[1])
        for name, array in zip((*self._a_names, *self._b_names), (*matrices, *sides), strict=True):
            self._slots[name] = self._slot_of(name, array)
        self._x_layouts = [result_layout(self._slots[name].layout) for name in self._b_names]
        self._host_alone = self._device_id is None and isinstance(self._execution, ExecutionCPU)
        self._has_operands = True

    def _slot_of(self, name: str, array: Any) -> ArraySlot:
        slot = make_slot(self._package, self._package.layout(array, name))
        commit({slot: self._binding_for(name, slot, array)})
        return slot

    # What a subclass defines.

    def _follow_matrix(self) -> None:
        """Take over what the owner of a matrix changed beside the arrays that are bound, or raise; here nothing."""

    def _may_be_direct(self) -> bool:
        """Whether the matrices are those of the last time with other values, so that the direct way may be tried."""
        return False

    def _factorize_directly(self) -> bool:
        """Factorize what is bound if that takes nothing out of the ordinary; whether it was done."""
        raise NotImplementedError

    def _unheard(self, phase_name: str) -> Sequence[str]:
        """Settings of the phase 'factorization' or 'solution' that have no effect, each with the reason."""
        return ()

    def _complaint(self) -> str:
        """What is wrong with the solutions that are not accurate."""
        raise NotImplementedError

    # The phases.

    def _run(self, work: Callable[..., Any], stream: Any, *arguments: Any) -> Any:
        """Do something with the device that takes part, if one does, current, and after what is on its stream."""
        if self._host_alone:
            return work(*arguments)
        if stream is None and self._queue is not None:
            return self._queue.run(work, *arguments)
        with self._on_device(stream):
            queue: Any = self._queue
            return queue.run(work, *arguments)

    def _factorization(self, stream: Any) -> None:
        """`factorize`: in the direct way where nobody listens and it is open, else in the long one."""
        if self._plan_made is None or not self._has_operands:
            self._require("factorize")
        if self._host_alone and not self._logger.isEnabledFor(logging.INFO) and self._may_be_direct():
            self._follow_operands()
            before, self._factorized = self._factorized, False
            done = self._factorize_directly()
            self._factorized = done or before  # the long way, else, finds out what was in the way
            if done:
                return
        self._run(self._factorize, stream)

    def _factorize(self) -> None:
        self._executor.admit("factorize")
        self._follow_matrix()
        self._follow_operands()
        self._factorized = False
        with phase(self._logger, self.noun, "FACTORIZATION"):
            self._log_hints("factorization")
            self._executor.factorize()
        self._factorized = True

    def _solutions(self, stream: Any, out: Any) -> Any:
        """`solve`: in the direct way where it is open, else in the long one."""
        if not self._factorized:
            self._require("solve")
        if self._package.differentiates:
            self._check_gradients()
            self._note_written(out)
        if stream is None and (solution := self._executor.solve_directly(out)) is not None:
            found, self._solution = solution
            return found
        if self._logger.isEnabledFor(logging.INFO):
            with phase(self._logger, self.noun, "SOLUTION"):
                self._log_hints("solution")
                found = self._run(self._solve, stream, out)
        else:
            found = self._run(self._solve, stream, out)
        for info in self._solution:
            if not info.accurate:
                self._complain()
                break
        return found

    def _solve(self, out: Any) -> Any:
        self._follow_operands()
        slots = self._result_slots_made
        results = [slot.empty() for slot in slots] if out is None else self._checked_out(out)
        self._solution = self._executor.solve(results, self._x_layouts)
        if out is not None:
            return out
        return tuple(results) if self._explicit[1] else results[0]

    def _complain(self) -> None:
        """Tell of inaccurate solutions, in the way that the options say."""
        message = self._complaint()
        self._logger.info("%s: %s.", self.noun, message)
        if self._options.on_inaccurate == "raise":
            raise InaccurateSolutionError(message)
        if self._options.on_inaccurate == "warn":
            warn(message, InaccurateSolutionWarning)

    # Operands.

    def _reset_systems(self, call: str, a: Any, b: Any, **changes: Any) -> None:
        """Bind other arrays of the matrices, other right-hand sides, or both; attributes change with new matrices."""
        self._require("reset", call)
        if a is None and b is not None and len(self._b_names) == 1 and self._has_operands:  # the ordinary case
            slot = self._slots.get("b")
            if slot is not None and not self._logger.isEnabledFor(logging.INFO) and (binding := slot.binding(b)):
                commit({slot: binding}, *self._rebound())
                return
        if a is not None:
            changes["_factorized"] = False
        self._reset(self._named_arrays(a, b), call, *self._rebound(**changes))

    def _named_arrays(self, a: Any, b: Any) -> dict[str, Any]:
        """The arrays of operands, of which either may be None, by their names."""
        found: dict[str, Any] = {}
        operands = ("a", a, self._a_names, self._explicit[0]), ("b", b, self._b_names, self._explicit[1])
        for operand, given, named, explicit in operands:
            if given is None:
                continue
            arrays = given if explicit else (given,)
            if not isinstance(arrays, list | tuple) or len(arrays) != len(named):
                raise ValueError(
                    f"{operand} is a {type(given).__name__}; expected a sequence of {len(named)}, as planned"
                )
            found.update(zip(named, arrays, strict=True))
        return found

    def _rebound(self, **changes: Any) -> tuple[tuple[Any, dict[str, Any]], ...]:
        """What changes with the operands: attributes of this object, and of the phases."""
        own = {"_operand_spans": None, "_has_operands": True, **changes}
        return (self, own), (self._executor, self._executor.REBOUND)

    def _follow_operands(self) -> None:
        before = self._executor.seen
        self._let_follow(self._executor, self._slots)
        if self._executor.seen is not before:
            self._operand_spans = None

    def _let_follow(self, phases: Phases, slots: Mapping[str, ArraySlot]) -> None:
        places = [slots[name] for name in self._a_names], [slots[name] for name in self._b_names]
        if not phases.follow(*places):
            super()._follow_operands()  # raises where one does not fit any more
            phases.follow(*places)

    def _drop_operands(self, *stores: tuple[Any, Mapping[str, Any]]) -> None:
        phases = self._executor
        super()._drop_operands(*stores, (self, _NO_OPERANDS), (phases, phases.UNBOUND))
        phases.let_go()

    # Results.

    def _result_slots(self, problem: Any) -> dict[str, ArraySlot]:
        found = names("x", len(self._x_layouts), self._explicit[1])
        slots = {layout: self._make_slot(layout, writeable=True) for layout in set(self._x_layouts)}
        return {name: slots[layout] for name, layout in zip(found, self._x_layouts, strict=True)}

    @solution
    def empty_result(self) -> Any:
        """An uninitialized array, or tuple of arrays, that fits ``solve(out=...)``."""
        self._require("factorize", "empty_result")
        results = self._run(lambda: [slot.empty() for slot in self._result_slots_made], None)
        return tuple(results) if self._explicit[1] else results[0]

    def _note_written(self, out: Any) -> None:
        """Tell the package that it is written to."""
        arrays = out if isinstance(out, list | tuple) else (out,)
        for name, array in zip(names("out", len(arrays), isinstance(out, list | tuple)), arrays, strict=True):
            if isinstance(array, self._package.array_type):  # what is none is refused later
                self._check_written(name, array)
                self._package.changed((array,))

    def _checked_out(self, out: Any) -> list[Any]:
        """`out` as arrays with exactly the planned layouts. Raises where it does not fit."""
        if self._operand_spans is not None and not self._explicit[1]:  # the ordinary case, with less Python
            start = (slot := self._result_slots_made[0]).locate(out)
            if start and is_apart(start, start + slot.high, self._operand_spans):
                return [out]
        given = out if self._explicit[1] else (out,)
        if not isinstance(given, list | tuple) or len(given) != len(self._x_layouts):
            raise TypeError(
                f"out is a {type(out).__name__}; expected a sequence of {len(self._x_layouts)} arrays, like b"
            )
        found = names("out", len(given), self._explicit[1])
        views, spans = [], list[Span]()
        for name, slot, array in zip(found, self._result_slots_made, given, strict=True):
            start, view = slot.locate(array), array
            if not start:
                view = self._view_for(name, slot, array)
                start = slot.locate(view)
            views.append(view)
            spans.append((start, start + slot.high, name, True))  # it is dense
        if self._operand_spans is None:
            self._operand_spans = [span_of(slot, name) for name, slot in self._slots.items()]
        check_overlaps(spans, self._operand_spans)
        return views

    # What the lifecycle asks for.

    @property
    def state(self) -> State:
        """Where the object stands in its life."""
        state = super().state
        return State.FACTORIZED if state is State.PLANNED and self._factorized else state

    def _changes(self, plan: Plan, executor: Any, slots: Mapping[str, ArraySlot]) -> dict[str, Any]:
        made = list(self._result_slots(plan.problem).values())
        own = {"_factorized": False, "_solution": (), "_result_slots_made": made, "_operand_spans": None, "_lost": ""}
        return {**super()._changes(plan, executor, slots), **own}

    def _scratch(self, plan: Plan) -> tuple[dict[str, ArraySlot], Any]:
        return self._slots, ([slot.empty() for slot in self._result_slots_made], self._x_layouts)

    def _clock(self) -> Clock:
        return HostClock()  # a solution is there when `solve` returns

    def _nothing_left(self) -> dict[str, Any]:
        return {**super()._nothing_left(), **_NO_OPERANDS, "_executor": Phases()}

    def free(self) -> None:
        """Release the plan, the factorization and the references to the operands. Calling it again does nothing."""
        if not self._freed:
            if self._queue is None:
                super().free()
            else:
                self._run(super().free, None)

    # What it tells.

    def _fact(self, phase_name: str, name: str) -> Any:
        """What is known after a phase; for a batch a sequence of it."""
        if phase_name == "plan":
            if self._plan_made is None:
                raise self.invalid_state("plan_info is of a plan that is gone; call plan() first")
        else:
            self._require("solve", "factorization_info")
        facts = self._run(self._executor.facts, None, phase_name, name)
        return facts if self._batch is not None else facts[0]

    def _log_hints(self, phase_name: str) -> None:
        if self._logger.isEnabledFor(logging.INFO):
            for note in self._unheard(phase_name):
                self._logger.info("Hint: %s.", note)

    def _notes(self) -> Sequence[str]:
        return self._executor.notes

    def _report_parts(self) -> list[str | Table]:
        unheard = (note for name in ("factorization", "solution") for note in self._unheard(name))
        return [*super()._report_parts(), *unheard, *self._notes()]


def names(name: str, count: int, explicit: bool) -> tuple[str, ...]:
    """How messages call the arrays of an operand."""
    return tuple(f"{name}[{i}]" for i in range(count)) if explicit else (name,)


# The arrays that solutions are written to.


def result_layout(layout: Layout) -> Layout:
    """Dense, with the axes in the right-hand side's order in memory."""
    order = tuple(sorted(range(len(layout.shape)), key=lambda axis: (-abs(layout.strides[axis]), axis)))
    return layout._replace(strides=contiguous_strides(layout.shape, order))


#: The addresses of the first byte of an array and of the first one behind it, its name, and whether it is written to.
Span = tuple[int, int, str, bool]


def span_of(slot: ArraySlot, name: str) -> Span:
    """Where the operand lies that is bound to a slot, and only read."""
    start = slot.bound.address
    return start + slot.low, start + slot.high, name, False


def is_apart(start: int, end: int, spans: Iterable[Span]) -> bool:
    """Whether the bytes from one address to another are in none of these arrays."""
    for low, high, _, _ in spans:  # noqa: SIM110 (all() takes three times as long)
        if low < end and start < high:
            return False
    return True


def check_overlaps(written: Sequence[Span], read: Sequence[Span]) -> None:
    """Raise where an array that is written to shares memory with another one."""
    highest, last, writes = 0, "", False
    for low, high, name, is_written in sorted([*written, *read]):
        if low < highest and (is_written or writes):
            raise ValueError(f"{name} and {last} may share memory, and one is written to; pass memory of its own")
        if high > highest:
            highest, last, writes = high, name, is_written
