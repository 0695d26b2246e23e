"""The phases of a plan for dense systems on a device, run on the operands that are bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

from planmath.bindings import runtime
from planmath.core import crossing
from planmath.core.accuracy import SolutionInfo
from planmath.core.arrays import Layout, outline
from planmath.core.cuda import devices
from planmath.core.cuda.queue import Queue
from planmath.core.cuda.streams import is_capturing
from planmath.core.errors import UnavailableError, warn
from planmath.core.factorization import InaccurateSolutionWarning, Phases, SingularMatrixError
from planmath.core.slots import ArraySlot
from planmath.linalg.solver.options import DirectSolverOptions
from planmath.linalg.solver.problem import MIXED, DenseProblem, Form
from planmath.linalg.solver.providers.cusolver_routines import Handles
from planmath.linalg.solver.providers.cusolver_work import FACTORS, SOLUTIONS, DeviceJudgement, Work


class DevicePhases(Phases):
    """The phases of a plan for dense systems on a device.

    A factorization is put on the stream, and what came out is looked at when the next solution was put behind it, or
    at once with ``options.blocking=True``. That solution is waited for: whether solutions by these factors have to be
    refined is known then. If not, the next ones are not waited for either, and looked at by the phase after them.

    Parameters
    ----------
    problem : DenseProblem
    settings : tuple of bool
        As of `cusolver_group.Group`.
    mixed : bool
        Whether factors are in single precision where that makes sense.
    options : DirectSolverOptions
    queue : Queue
    """

    #: what would solve without Python, had this such programs
    solver = None

    def __init__(
        self, problem: DenseProblem, settings: tuple[bool, bool, bool], mixed: bool, options: DirectSolverOptions,
        queue: Queue,
    ):  # fmt: skip
        super().__init__()
        self._problem, self._settings, self._options, self._queue = problem, settings, options, queue
        self.trans = "N"
        self._a: Sequence[np.ndarray] = ()
        self._b: Sequence[np.ndarray] = ()
        self._handles = Handles(queue, options.handle)
        self._copies = {name: _Copies(queue) for name in "abx"} if problem.on_host else {}
        #: whether a factorization was put on the stream that nobody has looked at, or told the user of
        self._unlooked = self._untold = False
        #: whether the last factorization, or what became of it later, left no factors to solve with
        self.lost = False
        self._mixed = mixed
        #: whether a solution by the last factors was waited for, and there was nothing to do about it
        self._trusted = False
        #: whether one that was not waited for had to be looked at, so that all others are
        self._careful = False
        #: the number of the first solution that was not waited for, since somebody looked; 0 where there is none
        self._first_unseen = 0
        self._use(problem.form._replace(mixed=mixed))

    #: whether factors in single precision did not do
    _gave_up = False
    REBOUND: ClassVar[dict[str, Any]] = {**Phases.REBOUND, "_a": (), "_b": ()}
    UNBOUND: ClassVar[dict[str, Any]] = REBOUND

    def _use(self, form: Form) -> None:
        self._work = Work(self._problem, form, self._settings, self._handles, self._queue)
        self._work.judgement.gave_up = self._gave_up

    @property
    def judgement(self) -> DeviceJudgement:
        """What is known of the factors and solutions."""
        if self._first_unseen:
            with devices.on(self._queue.device_id):
                runtime.stream_synchronize(self._queue.stream)
            self._look_back()
            self._first_unseen = 0
        if self._unlooked:
            with devices.on(self._queue.device_id):
                runtime.stream_synchronize(self._queue.stream)
                self._look()
        return self._work.told()

    @property
    def form(self) -> Form:
        """What the matrices are taken for."""
        return self._work.form

    @property
    def matrices(self) -> Sequence[np.ndarray]:
        """The user's matrices on the host: where they are, or copies."""
        return self._on_host(self._a)

    @property
    def notes(self) -> Sequence[str]:
        return self._work.judgement.notes

    def facts(self, phase: str, name: str) -> Sequence[Any]:
        return self.judgement.facts(phase, name)

    def release_results(self) -> None:
        """Nothing is kept of solutions."""

    def factorize_at_once(self) -> bool | None:
        """Not without Python."""
        return None

    def solve_at_once(self, trans: str, out: Any) -> Any:
        """Not without Python."""
        return None

    # Operands.

    def see(self, matrices: Sequence[ArraySlot], sides: Sequence[ArraySlot]) -> None:
        self._a = [outline(slot.array) for slot in matrices]
        self._b = [outline(slot.array) for slot in sides]

    def _there(self, name: str, arrays: Sequence[np.ndarray], brings: bool = False) -> list[int]:
        """The addresses of arrays on the device, those of the host's copies, which are made now if asked for."""
        if not self._copies:
            return [_address(array) for array in arrays]
        return self._copies[name].there(arrays, brings)

    def _on_host(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return arrays if self._problem.on_host else _Fetched(arrays, self._queue)

    def admit(self, call: str) -> None:
        if is_capturing(self._queue.stream):
            raise UnavailableError(
                f"{call}() cannot be captured into a CUDA graph: the host has to know what came out. Call it outside, "
                "and capture what comes before and after it"
            )

    # Factorization.

    def factorize(self) -> None:
        self._look_back()
        self._trusted = self._careful = False
        self._first_unseen = 0
        a = self._there("a", self._a, brings=True)
        if self._problem.detect:
            form = self._work.detected(a)
            self._take_for(form._replace(mixed=self._mixed and form.kind in MIXED))
        self.lost = False
        self._work.factorize(a)
        self._unlooked = self._untold = True
        if self._options.blocking is True:
            runtime.stream_synchronize(self._queue.stream)
            self._look()
            self._tell_singular(())
        if self._problem.inplace[0] and self._copies:
            self._copies["a"].send(self._a)

    def _take_for(self, form: Form) -> None:
        if form != self._work.form:
            self._use(form)

    def _look(self) -> bool:
        """Find out what came of a factorization that was waited for; whether there are other factors now.

        Raises
        ------
        ValueError
            If a matrix has an element that is not finite.
        """
        again = False
        while not self._work.is_ordinary(FACTORS):
            self._work.fetch()
            self.lost = True
            other = self._work.judgement.look_at_factors(self._on_host(self._a))
            self.lost = False
            if other is None:
                self._unlooked = False
                return again
            again = True
            self._give_up_on(self._work.form)
            self._take_for(other)
            self._work.factorize(self._there("a", self._a))
            runtime.stream_synchronize(self._queue.stream)
        self._work.judgement.factorized_well()
        self._unlooked = False
        return again

    def _give_up_on(self, form: Form) -> None:
        """Make factors in full from now on, where those in single precision did not do."""
        self._gave_up = self._gave_up or form.mixed
        self._mixed = self._mixed and not self._gave_up

    def _tell_singular(self, results: Sequence[Any]) -> None:
        """Tell the user of singular matrices, once."""
        judgement, told = self._work.judgement, not self._untold
        self._untold = False
        if told or not judgement.singular:
            return
        message = judgement.about_singular()
        if self._options.on_singular == "warn":
            warn(f"{message}; their solutions will be NaN", InaccurateSolutionWarning)
            return
        self.lost = True
        error = SingularMatrixError(message, next(iter(judgement.singular.values())))
        error.indices = judgement.singular_indices
        error.solution = results or None
        raise error

    # Solution.

    def _look_back(self) -> None:
        """Tell of solutions that were not waited for, of those that are done by now."""
        if not self._saw_doubtful:
            return
        self._trusted, self._careful, self._first_unseen = False, True, 0
        if self._options.on_inaccurate == "warn":
            warn(
                "one of the last solutions is not as accurate as others by these factors, or its right-hand side has "
                "an element that is not finite: the next ones are waited for, and refined; pass "
                "options={'blocking': True} to have that done with each",
                InaccurateSolutionWarning,
            )

    @property
    def _saw_doubtful(self) -> bool:
        """Whether a solution that was not waited for, and is done, has to be looked at."""
        return bool(self._first_unseen) and self._work.last_unordinary() >= self._first_unseen

    @property
    def _waits(self) -> bool:
        """Whether the next solution is waited for."""
        options, problem = self._options, self._problem
        asked = options.blocking is True or options.on_inaccurate == "raise" or problem.on_host or problem.inplace[1]
        return asked or not self._trusted or self._work.form.mixed or self._work.judgement.suspects

    def solve(self, results: Sequence[Any], layouts: Sequence[Layout]) -> Sequence[SolutionInfo]:
        self.admit("solve")
        self._look_back()
        waits, replaces = self._waits, self._problem.inplace[1]
        found = self._b if replaces else [
            outline(array, layout) for array, layout in zip(results, layouts, strict=True)
        ]  # fmt: skip
        b = self._there("b", self._b, brings=True)
        x = b if replaces else self._there("x", found)
        if self._unlooked and replaces:  # what is not well factorized is not to replace b
            runtime.stream_synchronize(self._queue.stream)
            self._look()
            self._tell_singular(())
        refined = self._work.solve(self.trans, b, x)
        if not waits:
            self._work.judgement.looked = None
            self._first_unseen = self._first_unseen or self._work.solved
            return ()
        runtime.stream_synchronize(self._queue.stream)
        if self._unlooked and self._look():
            refined = self._work.solve(self.trans, b, x)
            runtime.stream_synchronize(self._queue.stream)
        if not refined:
            self._factorize_in_full(b, x)
        judgement = self._work.judgement
        infos: Sequence[SolutionInfo] = ()
        judgement.looked = None
        self._trusted = self._work.is_ordinary(SOLUTIONS) and not self._careful
        if judgement.suspects or self._work.doubts or not self._work.is_ordinary(SOLUTIONS):
            try:
                infos = self._work.examine(self.trans, b, x, self._on_host(self._a))
            except BaseException:
                if replaces:
                    self._work.restore(x)
                raise
        if self._copies:
            self._copies["b" if replaces else "x"].send(found)
        self._tell_singular(results)
        return infos

    def _factorize_in_full(self, b: Sequence[int], x: Sequence[int]) -> None:
        """Give factors in single precision up, until the next plan, and solve."""
        self._give_up_on(self._work.form)
        self._take_for(self._work.form._replace(mixed=False))
        self._work.factorize(self._there("a", self._a))
        self._work.solve(self.trans, b, x)
        runtime.stream_synchronize(self._queue.stream)
        if self._look():
            self._work.solve(self.trans, b, x)
            runtime.stream_synchronize(self._queue.stream)


class _Copies:
    """Copies on the device of arrays of one operand on the host."""

    def __init__(self, queue: Queue):
        self._queue, self._owner, self._starts, self._size = queue, None, list[int](), 0

    def there(self, arrays: Sequence[np.ndarray], brings: bool) -> list[int]:
        """The addresses of the copies' first elements; if it `brings`, the values come to them."""
        bounds = [byte_bounds(array) for array in arrays]
        if self._owner is None:
            sizes = [-(-(high - low) // 256) * 256 for low, high in bounds]
            self._owner, start = self._queue.allocate(sum(sizes))
            self._starts = [start + sum(sizes[:i]) for i in range(len(sizes))]
        if brings:
            kind = runtime.MemcpyKind.HOST_TO_DEVICE
            for (low, high), start in zip(bounds, self._starts, strict=True):
                runtime.memcpy_async(start, low, high - low, kind, self._queue.stream)
        return [
            start + _address(array) - low
            for array, (low, _), start in zip(arrays, bounds, self._starts, strict=True)
        ]

    def send(self, arrays: Sequence[np.ndarray]) -> None:
        """Put the copies back into arrays, and wait."""
        for array, start in zip(arrays, self._starts, strict=True):
            low, high = byte_bounds(array)
            runtime.memcpy_async(low, start, high - low, runtime.MemcpyKind.DEVICE_TO_HOST, self._queue.stream)
        runtime.stream_synchronize(self._queue.stream)


class _Fetched(Sequence):
    """Copies on the host of arrays on a device, made when somebody looks at one."""

    def __init__(self, arrays: Sequence[np.ndarray], queue: Queue):
        self._arrays, self._queue = arrays, queue
        self._copies: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, number: Any) -> Any:
        if number not in self._copies:
            with devices.on(self._queue.device_id):
                (self._copies[number],) = crossing.fetched([self._arrays[number]], self._queue)
        return self._copies[number]


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
