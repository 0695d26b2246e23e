"""The stateful dense solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from planmath.core.accuracy import SolutionInfo, summary
from planmath.core.arrays import package_of, share_memory
from planmath.core.errors import InvalidStateError, UnavailableError
from planmath.core.execution import Execution, ExecutionCPU, resolve_execution
from planmath.core.executor import Executor
from planmath.core.factorization import FactorizingOperation, SingularMatrixError, span_of
from planmath.core.log import levels_of
from planmath.core.operands import make_slot
from planmath.core.options import as_options, check_choice
from planmath.core.provider import Algorithm, Prepared
from planmath.core.slots import ArraySlot, commit
from planmath.core.typed import A_co, solution
from planmath.linalg.solver.information import FactorizationInfo
from planmath.linalg.solver.options import DirectSolverOptions, DirectSolverOptionsDict
from planmath.linalg.solver.phases import DensePhases
from planmath.linalg.solver.problem import KINDS, RECTANGULAR, DenseProblem, PreparedSolver
from planmath.linalg.solver.providers import PROVIDERS, expected_order
from planmath.linalg.solver.specification import (
    as_operands,
    check_precision,
    form_of,
    layouts_of,
    rank_tolerance,
    specify,
)

#: Bytes of right-hand sides whose solutions may keep memory.
LARGE = 1 << 20
#: What stands for several arrays.
SEQUENCES = (list, tuple)
#: What `solve` may be asked for: systems with a, with the transposed a, with the conjugated and transposed one.
TRANS = ("N", "T", "C")


class InvalidDirectSolverState(InvalidStateError):
    """A method of `DirectSolver` was called out of order."""


class DirectSolver(FactorizingOperation[A_co]):
    """Dense linear systems ``a @ x = b``, planned once, factorized for each matrix, solved for each right-hand side.

    Parameters
    ----------
    a : numpy.ndarray, cupy.ndarray or torch.Tensor, or a sequence of them
        Matrices (..., n, n) of float32, float64, complex64 or complex128, of any strides. Rectangular ones,
        (..., m, n), are solved in the sense of least squares, or where m < n for the solution of the least norm. A
        sequence is a batch of systems, which may differ in size. Diagonal ones are given as their diagonals, (..., n),
        banded ones in LAPACK's band storage, (..., kl + ku + 1, n).
    b : of the same package, or a sequence
        Right-hand sides: (n,), or (..., n, k) with a batch shape that broadcasts with a's as in `numpy.linalg.solve`;
        (..., n), a vector for each matrix, where a has the same batch shape.
    options : DirectSolverOptions or dict, optional
    execution : {'cpu', 'cuda'}, dict, ExecutionCPU or ExecutionCUDA, optional
        Where to compute. Default: where the operands are.
    stream : object, optional
        CUDA stream; without effect on the CPU.
    qualifiers : numpy.ndarray, optional
        What is known of a: one element of `matrix_qualifiers_dtype`, as `SymmetricMatrixQualifier.create` and the
        others return it. Of symmetric, Hermitian and triangular matrices one triangle is read.
    structure : {None, 'auto', 'positive definite', 'least squares'}
        'positive definite': symmetric, or Hermitian, matrices that have a Cholesky factorization; one triangle is read,
        the lower one unless qualifiers say otherwise. Where one has none, all are factorized as indefinite ones, until
        the next `plan`, and `report` says so. 'auto': each `factorize` finds out by one pass what the matrices are; not
        with ``options.inplace_a``.
        'least squares': matrices of any shape and any rank, which `factorization_info` tells; of all solutions in the
        sense of least squares that of the least norm.
    bandwidths : tuple of int, optional
        For banded matrices: the diagonals below the main one, and those above it. ``a[..., ku + i - j, j]`` is element
        (i, j). With structure 'positive definite' one of the two is 0.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe systems.

    Notes
    -----
    a is read by `factorize`, b by `solve`; triangular matrices, and what refines a solution, by `solve` as well. So
    values may be changed in place before `factorize`. An object may be used by one thread at a time. On a device a
    factorization that went wrong is told by `solve`, unless ``options.blocking`` is True.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg import DirectSolver
    >>> a, b = np.array([[2.0, 0], [1, 4]]), np.array([2.0, 9])
    >>> with DirectSolver(a, b) as solver:
    ...     solver.plan()
    ...     solver.factorize()
    ...     first = solver.solve()
    ...     transposed = solver.solve(trans="T")
    ...     solver.reset_operands(b=2 * b)
    ...     second = solver.solve()
    >>> first, second
    (array([1., 2.]), array([2., 4.]))
    >>> np.allclose(a.T @ transposed, b)
    True
    """

    noun = "DirectSolver"
    invalid_state = InvalidDirectSolverState

    def __init__(
        self,
        a: Any,
        b: A_co,
        options: DirectSolverOptions | DirectSolverOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
        *,
        qualifiers: Any = None,
        structure: str | None = None,
        bandwidths: tuple[int, int] | None = None,
    ):
        super().__init__(as_options(DirectSolverOptions, options))
        operands = as_operands(a, b)
        layouts = layouts_of(operands)
        first = next(iter(layouts.values()))
        self._execution = resolve_execution(execution, first.memory_space, first.device_id)
        self._package = package_of(operands.a[0], "a")
        form, detect, conjugate, backwards = form_of(qualifiers, structure, bandwidths, first.dtype)
        inplace = self._options.inplace_a, self._options.inplace_b
        if detect and inplace[0]:
            raise ValueError(
                "structure is 'auto', and options.inplace_a is set; what a holds after factorize() would depend on its "
                "values: say what a is, or leave inplace_a away"
            )
        found, form = specify(operands, layouts, form, conjugate, backwards, inplace)
        limit = (
            self._execution.threads if isinstance(self._execution, ExecutionCPU) else self._execution.device_id
        )  # fmt: skip
        self._problem = DenseProblem(
            found.systems, form, detect and form.kind not in RECTANGULAR, first.dtype,
            (len(operands.a), len(operands.b)), inplace, (self._execution.space, limit), self._package.name,
            first.memory_space == "cpu", self._options.precision,
            rank_tolerance(self._options.rank_tolerance, found.systems, form),
        )  # fmt: skip
        check_precision(self._problem)
        self._bind_systems(operands.a, operands.b, found.batch, operands.explicit)
        self._x_layouts = found.x
        self._log_specification()

    def _slot_of(self, name: str, array: Any) -> ArraySlot:
        slot = make_slot(
            self._package, self._package.layout(array, name), writeable=self._problem.inplace[name.startswith("b")]
        )
        commit({slot: self._binding_for(name, slot, array)})
        return slot

    # The phases.

    def plan(self, stream: Any = None) -> None:
        """Choose how to solve the systems, and prepare it.

        Parameters
        ----------
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        InvalidDirectSolverState
            After `release_operands` or `free`.
        UnavailableError
            If no provider can solve the systems here.
        """
        self._require("plan")
        self._run(self._make_plan, stream, self._problem, self._slots)

    def factorize(self, *, stream: Any = None) -> None:
        """Factorize the matrices with their present values.

        Parameters
        ----------
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        InvalidDirectSolverState
            Before `plan`, after `release_operands` or `free`.
        ValueError
            If a matrix has an element that is not finite.
        SingularMatrixError
            If a matrix is singular, or of a batch some are: the error names them and has the solutions of the others.
        """
        if stream is None and self._has_operands and self._plan_made is not None:
            before, self._factorized = self._factorized, False
            done = self._executor.factorize_at_once()
            if done:
                self._factorized = True
                return
            if done is None:
                self._factorized = before
        self._factorization(stream)

    def _factorize(self) -> None:
        if self._problem.inplace[0]:
            self._follow_operands()
            self._check_apart()
            self._note_replaced(self._a_names)
        try:
            super()._factorize()
        except SingularMatrixError as error:
            error.indices = self._executor.judgement.singular_indices
            if self._batch is not None and not any(self._problem.inplace):
                results = [slot.empty() for slot in self._result_slots_made]
                self._executor.trans = "N"
                with suppress(ValueError):  # of right-hand sides that are not finite
                    self._executor.solve(results, self._x_layouts)
                    error.solution = tuple(results) if self._explicit[1] else results[0]
            raise

    @solution
    def solve(self, b: Any = None, *, stream: Any = None, out: Any = None, trans: str = "N") -> Any:
        """Solve with the present right-hand sides, or new ones.

        Parameters
        ----------
        b : array or sequence of arrays, optional
            New right-hand sides like the present ones, which take their place first, as by `reset_operands`.
        stream : object, optional
            CUDA stream; without effect on the CPU.
        out : array or sequence of arrays, optional
            Where to put the solutions: with the shapes, dtype and strides that `empty_result` gives.
        trans : {'N', 'T', 'C'}
            Whether to solve with a, with the transposed a, or with the conjugated and transposed one.

        Returns
        -------
        array or tuple of arrays
            In b's memory order: new ones, or `out`, or for ``options.inplace_b`` b itself.

        Raises
        ------
        InvalidDirectSolverState
            Before `factorize` and after `reset_operands` with another matrix, after `release_operands` or `free`.
        ValueError
            If a right-hand side has an element that is not finite, or `out` does not fit.
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
        if self._factorized and stream is None:
            found = self._executor.solve_at_once(trans, out)
            if found is not None:
                return found
        check_choice(f"{self.noun}.solve", "trans", trans, TRANS)
        if trans != "N" and self._problem.form.kind in RECTANGULAR:
            kind = KINDS[self._problem.form.kind]
            raise ValueError(
                f"trans is {trans!r}, and a is {kind}; its factors solve for a alone: create a "
                f"{self.noun} for the transposed a"
            )
        if self._factorized:
            self._executor.trans = trans
        return self._solutions(stream, out)

    def _solve(self, out: Any) -> Any:
        try:
            return self._solved(out)
        except SingularMatrixError as error:  # on a device, which tells only now
            if error.solution is not None:
                several = self._batch is not None
                solution = tuple(error.solution) if self._explicit[1] else error.solution[0]
                error.solution = solution if several and not any(self._problem.inplace) else None
            raise
        finally:
            self._factorized = self._factorized and not self._executor.lost

    def _solved(self, out: Any) -> Any:
        if not self._problem.inplace[1]:
            return super()._solve(out)
        if out is not None:
            raise ValueError("out was given, but the solutions replace b (options.inplace_b); leave out away")
        self._follow_operands()
        self._check_apart()
        self._note_replaced(self._b_names)
        self._solution = self._executor.solve([], [])
        found = tuple(self._slots[name].array for name in self._b_names)
        return found if self._explicit[1] else found[0]

    #: the operands that were found to have no memory in common where one is replaced
    _apart: Any = None

    def _check_apart(self) -> None:
        """Raise where an operand that is replaced has elements in common with another one."""
        if self._apart is self._executor.seen:
            return
        letters = zip(self._problem.inplace, (self._a_names, self._b_names), strict=True)
        replaced = [name for is_replaced, names in letters for name in names if is_replaced]
        spans = sorted(span_of(slot, name) for name, slot in self._slots.items())
        for i, (_, end, first, _) in enumerate(spans):
            for low, _, second, _ in spans[i + 1 :]:
                if low >= end:
                    break
                written = next((name for name in (first, second) if name in replaced), None)
                arrays = self._slots[first].array, self._slots[second].array
                if written and share_memory(self._package, *arrays):
                    other = second if written is first else first
                    raise ValueError(
                        f"{written} shares memory with {other}, and options.inplace_{written[0]} replaces it; pass a "
                        f"copy of {other}, or leave the option away"
                    )
        self._apart = self._executor.seen

    def _note_replaced(self, names: Sequence[str]) -> None:
        """Tell the package which operands are written to."""
        if self._package.differentiates:
            for name in names:
                self._check_written(name, self._slots[name].array)
                self._package.changed((self._slots[name].array,))

    def _complaint(self) -> str:
        return self._executor.judgement.complaint()

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
            CUDA stream; without effect on the CPU.
        seconds : float, optional
            How long it may take. Default: as long as that is.

        Raises
        ------
        InvalidDirectSolverState
            Before `plan`, after `release_operands` or `free`.
        UnavailableError
            Where operands are replaced (``options.inplace_a``, ``inplace_b``).
        """
        self._require("autotune")
        if any(self._problem.inplace):
            raise UnavailableError(
                "autotune() repeats what it measures, and options.inplace_a or inplace_b replaces operands each time; "
                "name a provider, or leave the option away"
            )
        self._run(self._autotune, stream, iterations, prune, None, seconds)

    # Operands.

    def reset_operands(self, *, a: Any = None, b: Any = None, stream: Any = None) -> None:
        """Replace the matrices, or the right-hand sides, or both, by ones with the same layouts.

        After new matrices, `factorize` has to be called before `solve`.

        Parameters
        ----------
        a, b : optional
            As for `DirectSolver`, with the package, dtype, shapes and strides of the old ones.
        stream : object, optional
            CUDA stream; without effect on the CPU.

        Raises
        ------
        TypeError, ValueError
            If an operand does not fit, or none is given, or after `release_operands` not both are; all stay then.
        InvalidDirectSolverState
            After `free`.
        """
        self._reset_systems("reset_operands", a, b)

    def reset_operands_unchecked(self, *, a: Any = None, b: Any = None, stream: Any = None) -> None:
        """`reset_operands` for callers that know that the operands fit.

        The comparison that keeps a wrong operand from crashing the process is fast and is made here as well.
        """
        self._reset_systems("reset_operands_unchecked", a, b)

    def release_operands(self) -> None:
        """Drop the references to all operands; the plan stays, and `reset_operands` brings new ones.

        Raises
        ------
        InvalidDirectSolverState
            After `free`.
        """
        self._release()

    # What it tells.

    @property
    def solution_info(self) -> SolutionInfo:
        """How good the last solution is; for a batch the worst, with that of each system."""
        self._require("solve", "solution_info")
        infos = self._executor.judgement.infos()
        return infos[0] if self._batch is None else summary(tuple(infos))

    @property
    def factorization_info(self) -> FactorizationInfo:
        """What the factorization tells: structure, determinant, inverse, condition and the factors themselves."""
        self._require("solve", "factorization_info")
        self._follow_operands()
        return FactorizationInfo(self)

    # What the lifecycle asks for.

    def _providers(self) -> Sequence[Any]:
        return PROVIDERS

    def _preferred(self, problem: DenseProblem, algorithms: list[Algorithm]) -> list[Algorithm]:
        return expected_order(problem, algorithms)

    def _result_slots(self, problem: Any) -> dict[str, ArraySlot]:
        return {} if problem.inplace[1] else super()._result_slots(problem)

    def _make_executor(self, problem: Any, prepared: Prepared, slots: Mapping[str, ArraySlot]) -> DensePhases:
        matrices = [slots[name] for name in self._a_names]
        sides = [slots[name] for name in self._b_names]
        found = self._result_slots(problem)
        results, others = tuple(found.values()), tuple(found)[1:]
        if not isinstance(prepared, PreparedSolver):  # on a device
            phases = prepared.phases(problem, self._options, self._queue)  # type: ignore[attr-defined]
            self._let_follow(phases, slots)
            return phases

        def executor_of(programs: dict[Any, Any], memory: ArraySlot, solves: bool) -> Executor:
            operands = (*matrices, memory, *sides) if solves else (*matrices, memory)
            levels = levels_of(self._logger)
            if not solves:
                return Executor(operands, (), programs, log_levels=levels)
            return Executor(operands, results, programs, auxiliary=others, log_levels=levels)

        several = others if self._explicit[1] else None
        phases = DensePhases(problem, prepared, self._options, executor_of, self._queue, several)
        self._let_follow(phases, slots)
        return phases

    def _describe(self) -> str:
        systems = self._problem.systems
        sizes = sorted({max(system.a.rows, system.a.cols) for system in systems})
        extents = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
        count = sum(system.solutions for system in systems)
        several = f"{count} systems of " if self._batch is not None else ""
        kind = "of unknown structure" if self._problem.detect else str(self._problem.form)
        return f"{kind} {self._problem.dtype} {several}{extents} unknowns on {self._execution.space}"
