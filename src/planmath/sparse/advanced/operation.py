"""The stateful sparse direct solver."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from planmath.core.arrays import package_named
from planmath.core.errors import InvalidStateError, UnavailableError
from planmath.core.execution import resolve_execution
from planmath.core.executor import Executor
from planmath.core.factorization import FactorizingOperation, Phases, names
from planmath.core.log import levels_of
from planmath.core.operands import make_slot
from planmath.core.options import as_options
from planmath.core.pickling import carried
from planmath.core.provider import Algorithm, Prepared, without_effect
from planmath.core.slots import ArraySlot, commit
from planmath.core.typed import A_co, solution
from planmath.report import charts
from planmath.report.pages import Table
from planmath.sparse.advanced.configuration import (
    DirectSolverFactorizationConfig,
    DirectSolverPlanConfig,
    DirectSolverSolutionConfig,
)
from planmath.sparse.advanced.enums import DirectSolverMatrixType, DirectSolverMatrixViewType
from planmath.sparse.advanced.errors import (
    InvalidDirectSolverState,
)
from planmath.sparse.advanced.execution import SPACES, Execution, ExecutionCPU
from planmath.sparse.advanced.information import (
    DirectSolverFactorizationInfo,
    DirectSolverPlanInfo,
    DirectSolverSolutionInfo,
    complaint,
    summary,
)
from planmath.sparse.advanced.matrix import Matrices, read_matrices, read_right_hand_sides, reread
from planmath.sparse.advanced.options import (
    DirectSolverFactorizationPreferences,
    DirectSolverOptions,
    DirectSolverOptionsDict,
    DirectSolverPlanPreferences,
    DirectSolverSolutionPreferences,
    hints_on_cpu,
)
from planmath.sparse.advanced.pattern import ChangedPatternError
from planmath.sparse.advanced.phases import SparsePhases, patterns_of
from planmath.sparse.advanced.problem import DirectSolverProblem, check_kind
from planmath.sparse.advanced.providers import PROVIDERS, expected_order, reason_of

#: The attributes of a solver without matrices.
_NO_MATRICES = {"_a": None, "_matrices": None}


def _without(name: str, problem: DirectSolverProblem) -> DirectSolverProblem:
    return problem._replace(preferences=replace(problem.preferences, **{name: None}))


class DirectSolver(FactorizingOperation[A_co]):
    """Sparse linear systems ``a @ x = b``, planned once, factorized for each matrix, solved for each right-hand side.

    Parameters
    ----------
    a : csr_array or csr_matrix of scipy.sparse or cupyx.scipy.sparse, or torch.Tensor, or a sequence of them
        The square matrix in CSR format, of float32, float64, complex64 or complex128 with int32 or int64 indices; the
        columns of each row sorted, none twice. A sequence is a batch of systems, which may differ in size; a torch
        tensor of more than two dimensions as well, its last two being those of the matrices.
    b : numpy.ndarray, cupy.ndarray or torch.Tensor, or a sequence of them
        The right-hand side: (n,) or (n, k), of a's dtype, in any memory order, where a is. For a batch a sequence of
        them, or an array (..., n, k). NumPy's arrays go with SciPy's matrices, CuPy's arrays with its matrices, tensors
        with tensors.
    options : DirectSolverOptions or dict, optional
    execution : {'cpu', 'cuda', 'hybrid'}, dict, ExecutionCPU, ExecutionCUDA or ExecutionHybrid, optional
        Where to compute. Default: where the operands are.
    stream : object, optional
        Without effect: `plan`, `factorize` and `solve` are told a CUDA stream where it is not the current one.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe systems. The pattern of the matrices is checked by `plan`.

    Notes
    -----
    Values may be changed in place before `factorize`, right-hand sides before `solve`; the pattern may not change. An
    object may be used by one thread at a time.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from planmath.sparse.advanced import DirectSolver
    >>> a = sp.csr_array([[4.0, 1, 0], [1, 3, 0], [0, 0, 2]])
    >>> b = np.array([1.0, 2, 4])
    >>> with DirectSolver(a, b) as solver:
    ...     plan_info = solver.plan()
    ...     factorization_info = solver.factorize()
    ...     first = solver.solve()
    ...     solver.reset_operands(b=2 * b)
    ...     second = solver.solve()
    >>> np.allclose(a @ first, b)
    True
    >>> np.allclose(second, 2 * first)
    True
    """

    _solution: tuple[DirectSolverSolutionInfo, ...]

    noun = "DirectSolver"
    invalid_state = InvalidDirectSolverState

    def __init__(
        self,
        a: Any,
        b: A_co,
        *,
        options: DirectSolverOptions | DirectSolverOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        super().__init__(as_options(DirectSolverOptions, options))
        matrices = read_matrices(a)
        sides = read_right_hand_sides(b, matrices)
        dtype = matrices.layout.dtype
        self._kind = DirectSolverMatrixType(self._options.sparse_system_type)
        self._view = DirectSolverMatrixViewType(self._options.sparse_system_view)
        check_kind(self._kind, self._view, dtype)
        device_id = matrices.layout.device_id
        self._execution = resolve_execution(execution, matrices.layout.memory_space, device_id, SPACES)
        self._package = package_named(matrices.package)
        self._dtype = dtype
        self._preferences: dict[str, Any] = {
            "plan": DirectSolverPlanPreferences(),
            "factorization": DirectSolverFactorizationPreferences(),
            "solution": DirectSolverSolutionPreferences(),
        }
        self._a = a
        self._sizes = tuple(sample.shape[0] for sample in matrices.samples)
        self._matrices: Any = matrices
        self._bind_systems(matrices.values, sides.arrays, matrices.batch, (matrices.explicit, sides.explicit))
        self._log_specification()

    # The phases.

    def plan(self, *, stream: Any = None) -> DirectSolverPlanInfo:
        """Check the pattern of the matrices, order the unknowns, and find the structure of the factors.

        The settings are those of `plan_config`.

        Parameters
        ----------
        stream : object, optional
            CUDA stream. Default: the package's current one. Without effect where no device takes part.

        Returns
        -------
        DirectSolverPlanInfo

        Raises
        ------
        InvalidDirectSolverState
            After `release_operands` or `free`.
        ValueError
            If a matrix has unsorted, repeated or wrong column indices, a value that is not finite, or a pattern that
            its type does not allow.
        SingularMatrixError
            If a row or a column is empty.
        UnavailableError
            If no provider can solve the systems.
        """
        self._require("plan")
        self._run(self._plan, stream)
        return DirectSolverPlanInfo(self)

    def _plan(self) -> None:
        matrices = reread(self._a, self._matrices)
        self._check_form(matrices)
        patterns = patterns_of(matrices, self._kind, self._view, self._queue)
        limit = self._execution.threads if isinstance(self._execution, ExecutionCPU) else self._execution.device_id
        columns = [1 if len(layout.shape) == 1 else layout.shape[-1] for layout in self._x_layouts]
        problem = DirectSolverProblem(
            patterns, self._dtype, tuple(columns if self._explicit[1] else columns * len(patterns)), self._kind,
            self._batch is not None, (self._execution.space, limit), self._preferences["plan"], self._execution,
            matrices.layout.memory_space == "cpu", self._options.handle or 0, self._options.multithreading_lib,
        )  # fmt: skip
        slots = {
            **self._slots,
            **{name: self._slot_of(name, array) for name, array in self._replaced(matrices).items()},
        }
        hints = {title: partial(_without, name) if name else None for title, name in self._hints("plan").items()}
        self._make_plan(problem, slots, hints=hints)
        self._matrices = matrices  # where it stays another, the next phase finds these once more

    def factorize(self, *, stream: Any = None) -> DirectSolverFactorizationInfo:
        """Factorize the matrices with their present values.

        Parameters
        ----------
        stream : object, optional
            CUDA stream. Default: the package's current one. Without effect where no device takes part.

        Returns
        -------
        DirectSolverFactorizationInfo

        Raises
        ------
        InvalidDirectSolverState
            Before `plan`, after `release_operands` or `free`.
        ValueError
            If a matrix has a value that is not finite, or another pattern than the planned one.
        SingularMatrixError
            If a matrix is singular, or is not positive definite although its type says so.
        """
        self._factorization(stream)
        return DirectSolverFactorizationInfo(self)

    def _may_be_direct(self) -> bool:
        return reread(self._a, self._matrices) is self._matrices

    def _factorize_directly(self) -> bool:
        return self._executor.factorize_directly(self._matrices)

    @solution
    def solve(self, b: Any = None, *, stream: Any = None, out: Any = None) -> Any:
        """Solve with the present right-hand sides, or new ones.

        Parameters
        ----------
        b : array or sequence of arrays, optional
            New right-hand sides like the present ones, which take their place first, as by `reset_operands`.
        stream : object, optional
            CUDA stream. Default: the package's current one. Without effect where no device takes part.
        out : array or sequence of arrays, optional
            Where to put the solutions: like `b`, with the shapes, dtype and strides that `empty_result` gives.

        Returns
        -------
        array or tuple of arrays
            Of b's package, shape and memory order: new ones, or `out`.

        Raises
        ------
        InvalidDirectSolverState
            Before `factorize` and after `reset_operands` with another matrix, after `release_operands` or `free`.
        ValueError
            If a right-hand side has a value that is not finite, or `out` does not fit.
        InaccurateSolutionError
            If a solution stays inaccurate and ``options.on_inaccurate`` is 'raise'.

        Warns
        -----
        InaccurateSolutionWarning
            If it is 'warn'.
        """
        if b is not None:
            self._require("solve")
            self.reset_operands(b=b)
        return self._solutions(stream, out)

    def _complaint(self) -> str:
        try:
            pivots = self._run(self._executor.facts, None, "factorization", "info")
        except UnavailableError:  # of a batch as a whole
            pivots = (0,) * len(self._solution)
        return complaint(names("x", len(self._solution), self._batch is not None), self._solution, pivots)

    def autotune(
        self, iterations: int = 3, prune: int | None = None, *, stream: Any = None, seconds: float | None = None
    ) -> None:
        """Measure a factorization and a solution by every way of every provider, and adopt the fastest.

        The measurements go into the tuning record, which the next `plan` of the same systems uses. `factorize` has to
        be called again afterwards.

        Parameters
        ----------
        iterations : int
            Repetitions of each candidate that stays in the race.
        prune : int, optional
            How many of the fastest algorithms to keep in `report`. Default: all.
        stream : object, optional
            CUDA stream. Default: the package's current one. Without effect where no device takes part.
        seconds : float, optional
            How long this may take. What had no turn by then is not chosen, and `report` names it. Default: 8, and more
            for what runs longer than 0.1 s. Ctrl-C ends it earlier, and keeps what was measured as well.

        Raises
        ------
        InvalidDirectSolverState
            Before `plan`, after `release_operands` or `free`.
        """
        self._require("autotune")
        self._run(self._autotune, stream, iterations, prune, None, seconds)

    # Operands.

    def _given_operands(self) -> Iterable[tuple[str, Any]]:
        matrices = self._a if self._explicit[0] else (self._a,)
        return *zip(self._a_names, matrices, strict=True), *((name, self._slots[name].array) for name in self._b_names)

    def reset_operands(self, *, a: Any = None, b: Any = None, stream: Any = None) -> None:
        """Replace the matrices, or the right-hand sides, or both.

        After new matrices, `factorize` has to be called before `solve`. Matrices with another sparsity pattern than the
        planned one end the plan: `plan` has to be called before `factorize`.

        Parameters
        ----------
        a, b : optional
            As for `DirectSolver`, with the package, dtype and shapes of the old ones, and b with the strides as well.
        stream : object, optional
            CUDA stream. Default: the package's current one. Without effect where no device takes part.

        Raises
        ------
        TypeError, ValueError
            If an operand does not fit, or none is given, or after `release_operands` not both are; all stay then.
        InvalidDirectSolverState
            After `free`.
        """
        self._reset_all("reset_operands", a, b, stream)

    def reset_operands_unchecked(self, *, a: Any = None, b: Any = None, stream: Any = None) -> None:
        """`reset_operands` for callers that know that the operands fit.

        The comparison that keeps a wrong operand from crashing the process is fast and is made here as well.
        """
        self._reset_all("reset_operands_unchecked", a, b, stream)

    def _reset_all(self, call: str, a: Any, b: Any, stream: Any) -> None:
        if a is None:
            self._reset_systems(call, None, b)
            return
        self._require("reset", call)
        matrices = read_matrices(a)
        self._check_form(matrices)
        values = matrices.values if self._explicit[0] else matrices.values[0]
        if self._fits_plan(matrices, stream):
            self._reset_systems(call, values, b, _a=a, _matrices=matrices)
            return
        arrays = self._named_arrays(values, b)
        self._check_given(arrays, call)
        # the slots of new values are others; those of b stay as they are until all is known to fit
        slots = {**self._slots, **{name: self._slot_of(name, arrays[name]) for name in self._a_names}}
        for name in arrays.keys() - set(self._a_names):
            slots[name] = make_slot(self._package, self._slots[name].layout)
            commit({slots[name]: self._binding_for(name, slots[name], arrays[name])})
        self._run(self._start_over, stream, a, matrices, slots)

    def _fits_plan(self, matrices: Matrices, stream: Any) -> bool:
        """Whether what was planned, if anything was, is right for these matrices too."""
        slots = [self._slots[name] for name in self._a_names]
        lengths = [math.prod(array.shape) for array in matrices.values]
        if lengths != [math.prod(slot.shape) for slot in slots]:
            return False
        if self._plan_made is None:
            return True
        try:
            self._run(self._executor.check_patterns, stream, matrices)
        except ChangedPatternError:
            return False
        return True

    def _start_over(self, a: Any, matrices: Matrices, slots: dict[str, ArraySlot]) -> None:
        """Take operands for which there is no plan."""
        changes = {
            "_plan_made": None, "_executor": Phases(), "_slots": slots, "_a": a, "_matrices": matrices,
            "_factorized": False, "_solution": (), "_operand_spans": None, "_has_operands": True,
        }  # fmt: skip
        if self._plan_made is not None:
            lost = f" for the matrix that {self.reset_name}() brought, which has another sparsity pattern"
            changes["_lost"] = lost
        commit({}, (self, changes))
        if self._logger.isEnabledFor(logging.INFO):
            self._logger.info("%s: new operands of another sparsity pattern; the plan is gone.", self.noun)

    def _check_form(self, matrices: Matrices) -> None:
        """Raise where matrices are not of the form that the object was created for."""
        if matrices is self._matrices:
            return
        form = matrices.batch, matrices.explicit, tuple(sample.shape[0] for sample in matrices.samples)
        if form != (self._batch, self._explicit[0], self._sizes):
            raise ValueError(
                f"a has other sizes or another batch than before; create a new {self.noun} for these systems"
            )
        if matrices.package != self._package.name:
            raise TypeError(f"a belongs to {matrices.package}; expected {self._package.name}, as before")
        if matrices.layout.dtype != self._dtype:
            raise ValueError(f"a has the dtype {matrices.layout.dtype}; expected {self._dtype}, as before: convert it")
        if (device_id := matrices.layout.device_id) != self._device_id:
            here, there = ("the CPU" if i is None else f"CUDA device {i}" for i in (device_id, self._device_id))
            raise ValueError(f"a is on {here}; expected {there}, as before: move it there")

    def _replaced(self, matrices: Matrices) -> dict[str, Any]:
        """The arrays of values that are others than before, by name."""
        before = self._matrices.values
        return {
            name: array
            for name, array, known in zip(self._a_names, matrices.values, before, strict=True)
            if array is not known
        }

    def _follow_matrix(self) -> None:
        """Take over arrays that the owner of the matrix replaced, and make sure that the pattern is the planned one."""
        matrices = reread(self._a, self._matrices)
        self._check_form(matrices)
        self._executor.check_patterns(matrices, later=True)
        if matrices is not self._matrices and (replaced := self._replaced(matrices)):
            self._reset(replaced, "factorize", *self._rebound(_matrices=matrices))

    def release_operands(self) -> None:
        """Drop the references to all operands; the plan stays, and `reset_operands` brings new ones.

        Raises
        ------
        InvalidDirectSolverState
            After `free`.
        """
        self._release()

    def _drop_operands(self, *stores: tuple[Any, Mapping[str, Any]]) -> None:
        super()._drop_operands(*stores, (self, _NO_MATRICES))

    def _nothing_left(self) -> dict[str, Any]:
        return {**super()._nothing_left(), **_NO_MATRICES}

    def _stays_because(self) -> str | None:
        if self._a is None:
            return "it has no operands, and without a matrix it is not known what it is; reset operands first"
        return super()._stays_because()

    def _present(self) -> dict[str, Any]:
        return super()._present() | {"a": carried(self._a)}

    def _settings(self) -> dict[str, Any]:
        return dict(self._preferences)

    def _settle(self, settings: dict[str, Any]) -> None:
        self._preferences.update(settings)

    # What it tells.

    @property
    def plan_config(self) -> DirectSolverPlanConfig:
        """The settings for the next `plan`."""
        return DirectSolverPlanConfig(self)

    @property
    def factorization_config(self) -> DirectSolverFactorizationConfig:
        """The settings for the next `factorize`."""
        return DirectSolverFactorizationConfig(self)

    @property
    def solution_config(self) -> DirectSolverSolutionConfig:
        """The settings for the next `solve`."""
        return DirectSolverSolutionConfig(self)

    @property
    def plan_info(self) -> DirectSolverPlanInfo:
        """What `plan` found out."""
        if self._plan_made is None:
            raise self.invalid_state(f"plan_info needs a plan; call plan() first (the object is {self.state.value})")
        return DirectSolverPlanInfo(self)

    @property
    def factorization_info(self) -> DirectSolverFactorizationInfo:
        """What `factorize` found out."""
        self._require("solve", "factorization_info")
        return DirectSolverFactorizationInfo(self)

    @property
    def solution_info(self) -> DirectSolverSolutionInfo:
        """How good the last solution is."""
        if not self._solution:
            raise self.invalid_state(f"solution_info needs a solution; call solve() first (it is {self.state.value})")
        return summary(self._solution) if self._batch is not None else self._solution[0]

    def _hints(self, phase_name: str) -> dict[str, str | None]:
        """What a phase may do without of what its settings ask for."""
        on_cpu = self._execution.space == "cpu"
        return hints_on_cpu(phase_name, self._preferences[phase_name]) if on_cpu else {}

    def _unheard(self, phase_name: str) -> list[str]:
        return [without_effect(title) for title in self._hints(phase_name)]

    # What the lifecycle asks for.

    def _providers(self) -> Sequence[Any]:
        return PROVIDERS

    def _preferred(self, problem: DirectSolverProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
        return expected_order(problem, algorithms)

    def _tuning_key(self, problem: DirectSolverProblem) -> str:
        return f"{self.noun} {problem.key}"

    def _make_executor(self, problem: Any, prepared: Prepared, slots: Mapping[str, ArraySlot]) -> Any:
        batch = None if self._explicit[1] else self._batch
        executor_of = None
        if self._batch is None and (problem.execution[0] == "cpu") == problem.on_host:
            results = tuple(self._result_slots(problem).values())
            executor_of = partial(
                Executor, tuple(slots.values()), results, queue=self._queue, log_levels=levels_of(self._logger)
            )
        solver: Any = prepared.solver  # type: ignore[attr-defined]
        phases = SparsePhases(problem, solver, self._options, self._preferences, batch, self._queue, executor_of)
        self._let_follow(phases, slots)
        phases.analyse()
        return phases

    def _why(self) -> str | None:
        """Why the heuristic chose what it did; None where something else did."""
        plan = self._plan_made
        if plan is None or plan.origin != "the heuristic" or plan.problem.execution[0] != "cpu":
            return None
        return reason_of(plan.problem)

    def _report_parts(self) -> list[str | Table]:
        reason = self._why()
        return super()._report_parts() + ([f"because {reason}"] if reason else [])

    def _picture(self) -> Any:
        """The pattern of the first system, and what its factors add to it; the candidates where they were measured."""
        plan = self._plan_made
        assert plan is not None
        measured = plan.measurements
        figure, axes = charts.figure(len(measured) if measured else 12, 2 if measured else 1)
        if measured:
            charts.candidates(axes[0], [str(m.algorithm) for m in measured], [m.seconds for m in measured])
        pattern = plan.problem.patterns[0]
        title = f"{pattern.n} unknowns, {pattern.nnz} entries"
        with suppress(UnavailableError, InvalidStateError):
            filled = self._fact("factorization", "lu_nnz")
            filled = filled[0] if isinstance(filled, tuple) else filled
            title += f", {filled} in the factors ({filled / pattern.nnz:.1f} times as many)"
        charts.pattern(axes[-1], pattern.starts, pattern.columns, title)
        return figure

    def __repr__(self) -> str:
        why = self._why()
        return super().__repr__() if why is None else f"{super().__repr__()[:-1]}, because {why}>"

    def _describe(self) -> str:
        sizes = f"{min(self._sizes)} to {max(self._sizes)}" if len(set(self._sizes)) > 1 else str(self._sizes[0])
        count = f"{len(self._sizes)} systems of " if self._batch is not None else ""
        return f"{self._kind.name.lower()} {self._dtype} {count}{sizes} unknowns on {self._execution.space}"
