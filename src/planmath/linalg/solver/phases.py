"""The phases of a plan for dense systems, run on the operands that are bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np

from planmath.core import crossing
from planmath.core.accuracy import SolutionInfo
from planmath.core.arrays import Layout, outline, package_named
from planmath.core.cuda.queue import Queue
from planmath.core.errors import warn
from planmath.core.executor import Executor
from planmath.core.factorization import InaccurateSolutionWarning, Phases, SingularMatrixError
from planmath.core.slots import ArraySlot, commit
from planmath.linalg.solver.judgement import Judgement
from planmath.linalg.solver.options import DirectSolverOptions
from planmath.linalg.solver.problem import MIXED, DenseProblem, Form, PreparedSolver, Unusual
from planmath.linalg.solver.structure import copied, detected

#: What an executor of a factorization returns, which has no result.
DONE = True


class DensePhases(Phases):
    """The phases of a plan for dense systems.

    Parameters
    ----------
    problem : DenseProblem
    prepared : PreparedSolver
    options : DirectSolverOptions
    executor_of : callable
        Makes an executor for programs, the plan's own memory, and whether they solve.
    queue : Queue, optional
        Where the operands are on a device.
    others : tuple of str, optional
        Of right-hand sides in a sequence: the names that the executor has for the solutions after the first.
    """

    def __init__(
        self, problem: DenseProblem, prepared: PreparedSolver, options: DirectSolverOptions,
        executor_of: Callable[[dict[Any, Any], ArraySlot, bool], Executor], queue: Queue | None,
        others: tuple[str, ...] | None,
    ):  # fmt: skip
        super().__init__()
        self._problem, self._options, self._executor_of, self._queue = problem, options, executor_of, queue
        self._others = others
        self.trans = "N"
        self._a: Sequence[np.ndarray] = ()
        self._b: Sequence[np.ndarray] = ()
        self._fetched: Sequence[np.ndarray] = ()
        self._use(prepared)
        self._forms: dict[Form, PreparedSolver] = {self.form: prepared}
        #: whether factors are made in single precision where that makes sense
        self._mixed = self.form.mixed

    #: whether factors in single precision did not do
    _gave_up = False
    #: whether a solution found out that there are no factors to solve with
    lost = False
    REBOUND: ClassVar[dict[str, Any]] = {**Phases.REBOUND, "_a": (), "_b": ()}
    UNBOUND: ClassVar[dict[str, Any]] = {**REBOUND, "_fetched": ()}

    def _use(self, prepared: PreparedSolver) -> None:
        """Let other programs do the work, with memory of their own."""
        self.prepared = prepared
        self.form = prepared.parts[0].form if not prepared.parts[0].transposed else prepared.parts[0].form.T
        memory = np.empty(prepared.memory_size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.memory = memory[start : start + prepared.memory_size]
        self.judgement = Judgement(self._problem, prepared, self.memory)
        self._factorizer: Any = None
        #: what solves at once, with the matrices, the plan's memory and the right-hand sides as operands
        self.solver: Any = None
        if self._queue is None:
            replaces_a, replaces_b = self._problem.inplace
            slot = ArraySlot(package_named("numpy"), self.memory.dtype, self.memory.shape, (1,), 1)
            commit({slot: slot.binding_for_good(self.memory)})
            # what replaces an operand goes the long way, which can tell what was there before
            if not replaces_a:
                self._factorizer = self._executor_of({None: prepared.factorize}, slot, False)
            if not replaces_b:
                self.solver = self._executor_of(dict(prepared.programs), slot, True)

    def taken_for(self, form: Form) -> None:
        """Take the matrices for something from now on."""
        if form not in self._forms:
            again = self.prepared.again
            assert again is not None
            self._forms[form] = again(form)
        if self.prepared is not self._forms[form]:
            self._use(self._forms[form])
        self.judgement.gave_up = self._gave_up

    # Operands.

    def see(self, matrices: Sequence[ArraySlot], sides: Sequence[ArraySlot]) -> None:
        self._a = [outline(slot.array) for slot in matrices]
        self._b = [outline(slot.array) for slot in sides]

    def release_results(self) -> None:
        """Give the memory of large solutions back that were dropped."""
        if self.solver is not None:
            self.solver.release_results()

    def _addresses(self, a: Sequence[np.ndarray], b: Sequence[np.ndarray], x: Sequence[np.ndarray]) -> list[int]:
        return [array.__array_interface__["data"][0] for array in (*a, self.memory, *b, *x)]

    @property
    def matrices(self) -> Sequence[np.ndarray]:
        """The user's matrices on the host: where they are, or as the last factorization had them."""
        return self._a if self._queue is None else self._fetched

    # The ordinary ways.

    def factorize_at_once(self) -> bool | None:
        """Factorize what is bound; False where there is more to do, and None where nothing was done at all."""
        if self._factorizer is None or self._problem.detect:
            return None
        try:
            if self._factorizer.run(None, DONE) is not DONE:
                return None
        except Unusual:
            return False
        if self.judgement.suspects:
            self.judgement.factorized_well()
        return True

    def solve_at_once(self, trans: str, out: Any) -> Any:
        """A solution, new or in `out`; None where there is more to do."""
        if self.solver is None or self.judgement.suspects:
            return None
        try:
            found = self.solver.run(trans, out) if self._others is None else self._solve_several(trans, out)
        except Unusual:
            return None
        self.judgement.looked = None
        return found

    def _solve_several(self, trans: str, out: Any) -> Any:
        """The same for a sequence, of which an executor has all but the first as auxiliary results."""
        others = self._others or ()
        if out is None:
            found = self.solver.run(trans, None)
            return found if found is None else (found[0], *found[1].values()) if others else (found,)
        if not isinstance(out, list | tuple) or len(out) != len(others) + 1:
            return None
        given = (out[0], dict(zip(others, out[1:], strict=True))) if others else out[0]
        return None if self.solver.run(trans, given) is None else out

    # The long ways.

    def factorize(self) -> None:
        self._fetched = a = crossing.fetched(self._a, self._queue) if self._queue is not None else self._a
        if self._problem.detect:
            form = detected(self._problem, a)
            self.taken_for(form._replace(mixed=self._mixed and form.kind in MIXED))
        self._make_factors(a)
        self._tell_singular()
        if self._problem.inplace[0] and self._queue is not None:
            crossing.send(a, self._a, self._queue)

    def _make_factors(self, a: Sequence[np.ndarray]) -> None:
        """Factorize the matrices as what they are taken for, or as what they turn out to be instead."""
        while True:
            addresses = self._addresses(a, self._b, ())
            with suppress(Unusual):
                self.prepared.factorize(*addresses)
            other = self.judgement.look_at_factors(a)
            if other is None:
                return
            self._gave_up = self._gave_up or self.form.mixed
            self._mixed = self._mixed and not self._gave_up
            self.taken_for(other)

    def _tell_singular(self) -> None:
        singular = self.judgement.singular
        if not singular:
            return
        message = self.judgement.about_singular()
        if self._options.on_singular == "warn":
            warn(f"{message}; their solutions will be NaN", InaccurateSolutionWarning)
            return
        raise SingularMatrixError(message, next(iter(singular.values())))

    def solve(self, results: Sequence[Any], layouts: Sequence[Layout]) -> Sequence[SolutionInfo]:
        found = [outline(array, layout) for array, layout in zip(results, layouts, strict=True)]
        a, b, x = self._a, self._b, found
        if self._queue is not None:
            a, b = self._fetched, crossing.fetched(b, self._queue)
            x = [np.empty_like(array, order="K") for array in found]
        kept: Sequence[np.ndarray] = b
        if self._problem.inplace[1]:
            kept, x = [copied(array) for array in b], list(b)
        try:
            written = () if self._problem.inplace[1] else x
            with suppress(Unusual):
                self.prepared.programs[self.trans](*self._addresses(a, b, written))
            if self.judgement.unrefined(kept):
                self._factorize_in_full(a)
                for array, before in zip(x, kept, strict=True) if self._problem.inplace[1] else ():
                    np.copyto(array, before)
                with suppress(Unusual):
                    self.prepared.programs[self.trans](*self._addresses(a, b, written))
            infos = self.judgement.look_at_solutions(self.trans, a, kept, x)
        except BaseException:
            if self._problem.inplace[1]:
                for array, before in zip(b, kept, strict=True):
                    np.copyto(array, before)
            raise
        if self._queue is not None:
            crossing.send(x, self._b if self._problem.inplace[1] else found, self._queue)
        return infos

    def _factorize_in_full(self, a: Sequence[np.ndarray]) -> None:
        """Give factors in single precision up, until the next plan."""
        self._gave_up, self._mixed = True, False
        self.taken_for(self.form._replace(mixed=False))
        self._make_factors(a)

    def facts(self, phase: str, name: str) -> Sequence[Any]:
        return self.judgement.facts(phase, name)

    @property
    def notes(self) -> Sequence[str]:
        return self.judgement.notes
