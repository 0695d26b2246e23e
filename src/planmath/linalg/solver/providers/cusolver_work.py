"""What a plan does on a device with matrices that are taken for one thing: its memory, programs and findings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import numpy as np

from planmath.bindings import runtime
from planmath.core.accuracy import Judge, SolutionInfo, limits_of
from planmath.core.cuda import devices
from planmath.core.cuda.device_arrays import ALIGNMENT, overwrite, pinned
from planmath.core.cuda.queue import Queue
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.linalg.solver.device_kernels import DETECTING, record
from planmath.linalg.solver.information import Factors
from planmath.linalg.solver.judgement import ROUTINES, Judgement, Part
from planmath.linalg.solver.problem import (
    BANDS,
    RECTANGULAR,
    SINGLE,
    DenseProblem,
    Form,
    PreparedSolver,
    Region,
)
from planmath.linalg.solver.providers.assembly import Memory
from planmath.linalg.solver.providers.cusolver_group import Group, HostPart, groups_of
from planmath.linalg.solver.providers.cusolver_mixed import DONE, MixedGroup
from planmath.linalg.solver.providers.cusolver_refinement import LeastSquares, Refinement
from planmath.linalg.solver.providers.cusolver_routines import Handles, runtime_call
from planmath.linalg.solver.providers.cusolver_small import FEW_ROWS, SmallGroup
from planmath.linalg.solver.providers.mixed import MOST_STEPS
from planmath.linalg.solver.refinement import is_out_of_range, least_squares, refined_in_range
from planmath.linalg.solver.structure import form_of_facts
from planmath.native.forks import load_module

_TO_HOST = runtime.MemcpyKind.DEVICE_TO_HOST
FACTORS, SOLUTIONS = 0, 1


class Work:
    """Factorizations and solutions on a device, put on the queue's stream.

    Parameters
    ----------
    problem : DenseProblem
    form : Form
        What the matrices are taken for.
    settings : tuple of bool
        As of `Group`.
    handles : Handles
    queue : Queue
        Whose device is current at each call.
    """

    def __init__(
        self, problem: DenseProblem, form: Form, settings: tuple[bool, bool, bool], handles: Handles, queue: Queue
    ):
        self.problem, self.form, self.handles, self.queue = problem, form, handles, queue
        self._in_band = settings[2]
        self._found, self._stamps = pinned((2,), "int64"), [0, 0]
        self.groups = list[Group]()
        for members in groups_of(problem):
            in_full = SmallGroup if SmallGroup.fits(problem, members, form, settings) else Group
            kind = MixedGroup if form.mixed else in_full
            self.groups.append(kind(problem, members, form, settings, handles, queue, self._found))
        self._begin = handles.streams if any(group.libraries for group in self.groups) else []
        self._owner, start = queue.allocate(sum(group.size for group in self.groups) + ALIGNMENT)
        for group in self.groups:
            group.settle(start)
            start += group.size
        calls = [call for group in self.groups for call in group.factorization()]
        self._factorization = Program([*self._begin, *calls])
        self._solutions: dict[str, tuple[Program, list[tuple[np.ndarray, np.ndarray]]]] = {}
        #: for factors in single precision, by `trans`: a step of each group's, and what stands at the end
        self._steps: dict[str, list[Program]] = {}
        memory, parts = Memory(), dict[int, HostPart]()
        self._regions = list[tuple[Region, Region, Region]]()
        for group in self.groups:
            regions, own = group.facts(memory)
            self._regions.append(regions)
            parts |= own
        self.memory = np.zeros(memory.size, np.uint8)
        in_order = tuple(parts[number] for number in range(len(parts)))
        self.judgement = DeviceJudgement(problem, PreparedSolver({}, parts=in_order), self.memory)

    # The phases.

    def factorize(self, a: Sequence[int]) -> None:
        """Factorize matrices in arrays at these addresses."""
        stamp = self._next(FACTORS)
        for group in self.groups:
            place = group.operands[0].place(a, self.queue)
            group.taking["a"][0] = group.refining["a"][0] = place
            group.weighing["stamp"] = stamp
        self.judgement.known = False
        self._factorization(self.queue.stream)

    def solve(self, trans: str, b: Sequence[int], x: Sequence[int]) -> bool:
        """Solve for right-hand sides in arrays at these addresses.

        Returns
        -------
        bool
            Whether that could be done: not where solutions could not be refined, of which x has none then.
        """
        program, records = self._solution(trans)
        stamp = self._next(SOLUTIONS)
        for group, (giving, judging) in zip(self.groups, records, strict=True):
            giving["source"][0] = place = group.operands[1].place(b, self.queue)
            judging["target"][0] = group.operands[2].place(x, self.queue)
            judging["stamp"] = stamp
            if self.problem.inplace[1]:
                group.keepings[trans]["source"][0] = place
        self.judgement.known = False
        program(self.queue.stream)
        if not self.form.mixed:
            return True
        self._refine(trans)
        if any(group.unrefined() for group in self._mixed):
            return False
        self._steps[trans][-1](self.queue.stream)
        return True

    @property
    def _mixed(self) -> list[MixedGroup]:
        return [group for group in self.groups if isinstance(group, MixedGroup)]

    @property
    def doubts(self) -> bool:
        """Whether a solution could not be refined by factors in single precision."""
        return any((group.states != DONE).any() for group in self._mixed)

    def _refine(self, trans: str) -> None:
        """Refine solutions by factors in single precision as long as that helps."""
        groups = self._mixed
        if trans not in self._steps:
            records = self._solution(trans)[1]
            steps = [Program([*self.handles.streams, *group.step(trans)]) for group in groups]
            moves = [group.kernels.move(judging) for group, (_, judging) in zip(groups, records, strict=True)]
            self._steps[trans] = [*steps, Program(moves)]
        for group in groups:
            group.begin()
        running = list(range(len(groups)))
        for number in range(MOST_STEPS + 1):
            for i in running:
                self._steps[trans][i](self.queue.stream)
            runtime.stream_synchronize(self.queue.stream)
            running = [i for i in running if groups[i].look(number)]
            if not running:
                return

    def _solution(self, trans: str) -> tuple[Program, list[tuple[np.ndarray, np.ndarray]]]:
        if trans not in self._solutions:
            calls, records = [*self._begin], []
            for group in self.groups:
                own, places = group.solution(trans)
                calls += own
                records.append(places)
            self._solutions[trans] = Program(calls), records
        return self._solutions[trans]

    def _next(self, what: int) -> int:
        self._stamps[what] += 1
        return self._stamps[what]

    def is_ordinary(self, what: int) -> bool:
        """Whether there is nothing to look at; the device has been waited for."""
        return int(self._found[what]) != self._stamps[what]

    @property
    def solved(self) -> int:
        """The number of the last solution."""
        return self._stamps[SOLUTIONS]

    def last_unordinary(self) -> int:
        """The number of the last solution that was found to be one that has to be looked at, of those that are done."""
        return int(self._found[SOLUTIONS])

    def restore(self, b: Sequence[int]) -> None:
        """Put right-hand sides back that solutions have replaced."""
        for group in self.groups:
            place = group.operands[2].place(b, self.queue)
            parameters = group.moving(group.packed(group.at("kept")), place)
            Program([group.kernels.move(parameters)])(self.queue.stream)
        runtime.stream_synchronize(self.queue.stream)

    # What is known.

    def fetch(self) -> None:
        """Bring what the device found to the host."""
        stream = self.queue.stream
        projections = []
        for group, (status, squares, projected) in zip(self.groups, self._regions, strict=True):
            there = np.empty(projected.shape, projected.dtype)
            projections.append(there)
            for name, array in (
                ("status", status.view(self.memory)), ("squares", squares.view(self.memory)), ("projections", there)
            ):  # fmt: skip
                runtime.memcpy_async(array.ctypes.data, group.at(name), array.nbytes, _TO_HOST, stream)
        runtime.stream_synchronize(stream)
        for group, (_, _, projected), there in zip(self.groups, self._regions, projections, strict=True):
            order = group.order if len(group.members) == 1 else np.arange(group.solutions)
            projected.view(self.memory)[order] = there
        self.judgement.known = True

    def told(self) -> DeviceJudgement:
        """What is known of factors and solutions."""
        if not self.judgement.known:
            with devices.on(self.queue.device_id):
                self.fetch()
        return self.judgement

    def detected(self, a: Sequence[int]) -> Form:
        """What the matrices are: the special form of least work that they all have; waits for the device."""
        if any(system.a.rows != system.a.cols for system in self.problem.systems):
            return Form("ls")
        facts, stream = pinned((5,), "int32"), self.queue.stream
        owner, found = self.queue.allocate(facts.nbytes)
        calls = [runtime_call("cudaMemsetAsync", found, 0, facts.nbytes)]
        for group in self.groups:
            m = group.system.a
            base, offsets, table, _, _ = group.operands[0].place(a, self.queue)
            parameters = record(
                DETECTING, a=(base, offsets, table, m.row, m.col), facts=found, n=group.rows, count=group.count
            )
            calls.append(group.kernels.launch("detect", group.count * group.rows**2, parameters))
        Program(calls)(stream)
        runtime.memcpy_async(facts.ctypes.data, found, facts.nbytes, _TO_HOST, stream)
        runtime.stream_synchronize(stream)
        del owner
        below, above, asymmetric, not_hermitian, not_positive = facts.tolist()
        largest = max(group.rows for group in self.groups)
        bands = self._in_band and largest > FEW_ROWS  # of fewer all elements are in registers
        return form_of_facts(
            self.problem.dtype, largest, below, above, not asymmetric, not not_hermitian, not not_positive, bands
        )

    def examine(
        self, trans: str, b: Sequence[int], x: Sequence[int], matrices: Sequence[np.ndarray]
    ) -> tuple[SolutionInfo, ...]:
        """How good the solutions are, after refinement where that is needed.

        Parameters
        ----------
        trans : str
        b, x : sequence of int
            Addresses.
        matrices : sequence of numpy.ndarray
            On the host, which are brought there when they are looked at.

        Raises
        ------
        ValueError
            If a right-hand side has an element that is not finite.
        """
        judgement = self.told()
        doubtful, found = judgement.doubtful(), dict[tuple[int, int], SolutionInfo]()
        for group in self.groups:
            target = group.operands[2].place(x, self.queue)
            if any(number in group.members for number, _ in judgement.singular):
                parameters = group.refining.copy()
                parameters["target"][0] = target
                parameters["cols"] = group.system.x.rows
                work = group.solutions * group.k * group.system.x.rows
                Program([group.kernels.launch("spoil", work, parameters)])(self.queue.stream)
            judges = {
                group.position(number, i): judgement.judge(number, i)
                for number in group.members for i in doubtful[number]
            }  # fmt: skip
            if not judges:
                continue
            if self.problem.inplace[1]:
                source = group.packed(group.at("kept"))
            else:
                source = group.operands[1].place(b, self.queue)
            if self.form.kind in RECTANGULAR:
                least = LeastSquares(group, source, target)
                self._check(group, least, judges)
                infos = least.judged(judges)
                infos |= self._in_range(group, least, infos, judges, trans, matrices)
                found |= {group.where(position): info for position, info in infos.items()}
                continue
            refinement = Refinement(group, trans, source, target)
            self._check(group, refinement, judges)
            if not (self.problem.inplace[0] or self.form.mixed):
                infos = refinement.run(judges)
                infos |= self._in_range(group, refinement, infos, judges, trans, matrices)
                found |= {group.where(position): info for position, info in infos.items()}
        runtime.stream_synchronize(self.queue.stream)
        return judgement.settle(found)

    def _in_range(
        self, group: Group, of: Refinement | LeastSquares, infos: dict[int, SolutionInfo], judges: dict[int, Judge],
        trans: str, matrices: Sequence[np.ndarray],
    ) -> dict[int, SolutionInfo]:  # fmt: skip
        """Solve on the host for what is not accurate because of where in the dtype's range it is."""
        better, solutions = dict[int, SolutionInfo](), dict[int, np.ndarray]()
        for position in (position for position, info in infos.items() if not info.accurate):
            number, i = group.where(position)
            part = self.judgement.parts[number]
            index = int(part.matrix_of[i])
            matrix, side, x = part.matrix(index, matrices, trans), of.side(position), of.solution(position)
            if self.form.kind in RECTANGULAR:
                better[position], rank = least_squares(matrix, side, x, part.rank_tolerance)
                if rank is not None and part.rank_tolerance is not None:
                    part.note_rank(index, rank)
            elif is_out_of_range(matrix, side, x):
                solve = partial(np.linalg.solve, matrix)
                with suppress(np.linalg.LinAlgError):
                    better[position] = refined_in_range(judges[position], matrix, side, x, solve)
            else:
                continue
            solutions[position] = x
        of.replace(solutions)
        return better

    def _check(self, group: Group, refinement: Refinement | LeastSquares, doubtful: dict[int, Judge]) -> None:
        """Raise where a right-hand side is not finite."""
        for position in refinement.not_finite(doubtful):
            rows = np.argwhere(~np.isfinite(refinement.side(position)))
            if not len(rows):  # its norm alone is not
                continue
            name = self.judgement.name("b", *group.where(position))
            raise ValueError(
                f"{name} has an element that is not finite (NaN or infinity) in row {rows[0][0]}; replace it, or leave "
                "the system out"
            )


class DeviceJudgement(Judgement):
    """What is known of factors and solutions on a device, once it was brought to the host."""

    known = False

    def __init__(self, problem: DenseProblem, prepared: PreparedSolver, memory: np.ndarray):
        super().__init__(problem, prepared, memory)
        self.parts: list[Any] = [DevicePart(problem, part, memory) for part in prepared.parts]

    def doubtful(self) -> list[np.ndarray]:
        """Of each system the solutions that have to be looked at, by their projections."""
        found = []
        for number, part in enumerate(self.parts):
            if part.form.kind in RECTANGULAR:
                fine = [(number, int(matrix)) in self.singular for matrix in part.matrix_of]
                found.append(np.flatnonzero(~np.array(fine)))
                continue
            if part.form.mixed:
                found.append(np.flatnonzero(part.refinement()[0] != DONE))
                continue
            tolerance, product, most = limits_of(part.dtype)
            error, growth = part.measures(self._norms_of(number))
            fine = (error <= tolerance) & (growth <= most) & (error * (growth + 1) <= product)
            if self.singular or self._norms:
                keys = [(number, int(matrix)) for matrix in part.matrix_of]
                fine &= [key not in self._norms for key in keys]
                fine |= [key in self.singular for key in keys]
            found.append(np.flatnonzero(~fine))
        return found

    @property
    def notes(self) -> list[str]:
        said = self._problem.form
        wide = [
            f"{said} matrices have the factors of all of their elements: cuSOLVER has no others for them"
        ] if said.kind in BANDS and not self.parts[0].part.group.in_band else []  # fmt: skip
        return [*super().notes, *wide]

    def judge(self, number: int, i: int) -> Judge:
        """Who decides what to do about a solution."""
        judge = Judge(self.parts[number].dtype)
        judge.norm = float(self._norms_of(number)[self.parts[number].matrix_of[i]])
        return judge

    def settle(self, found: dict[tuple[int, int], SolutionInfo]) -> tuple[SolutionInfo, ...]:
        """Keep what was found out of solutions beyond their projections; one where all of those were accurate."""
        infos = [part.estimates(self._norms_of(number)) for number, part in enumerate(self.parts)]
        for (number, i), info in found.items():
            infos[number][i] = info
        for number, matrix in self.singular:
            for spoilt in np.flatnonzero(self.parts[number].matrix_of == matrix).tolist():
                infos[number][spoilt] = infos[number][spoilt]._replace(backward_error=np.nan, accurate=False)
        self.looked = infos
        told = [
            info for number, own in enumerate(infos) for i, info in enumerate(own)
            if not info.accurate and (number, int(self.parts[number].matrix_of[i])) not in self.singular
        ]  # fmt: skip
        return tuple(told)


class DevicePart(Part):
    """One group of systems, whose factors are on the device."""

    def refinement(self) -> tuple[np.ndarray, ...]:
        """Of each solution of a matrix with factors in single precision: whether it is refined, its backward error,
        the steps that took, and its growth."""
        group: MixedGroup = self.part.group
        first = self.part.first * group.per_matrix
        positions = np.arange(first, first + self.system.solutions)
        if len(group.members) == 1:
            order = np.empty_like(group.order)
            order[group.order] = np.arange(group.solutions)
            positions = order
        return tuple(facts[positions] for facts in (group.states, group.errors, group.steps, group.growths))

    def estimates(self, norms: np.ndarray) -> list[SolutionInfo]:
        if not self.form.mixed:
            return super().estimates(norms)
        judge = Judge(self.dtype)
        _, errors, steps, growths = self.refinement()
        known = zip(errors.tolist(), steps.tolist(), growths.tolist(), strict=True)
        return [judge.info(error, False, made, grown) for error, made, grown in known]

    def factors(self, index: int, a: Sequence[np.ndarray]) -> Factors:
        """One matrix's factors, copied."""
        group, kind = self.part.group, self.part.form.kind
        if kind == "rr":
            raise UnavailableError(
                "the factors are a singular value decomposition on the device; use numpy.linalg.svd, or execution='cpu'"
            )
        rows, cols, single = group.rows, group.cols, "single " if self.form.mixed else ""
        dtype = SINGLE[self.dtype] if self.form.mixed else self.dtype
        m = self.part.first + index
        if group.in_band:  # those of all matrices lie next to each other
            low, high = group.band
            shape, count = (cols, 2 * low + high + 1, group.count), group.count
            values = self._copy("factors", 0, shape, dtype, "C")[:, :, m].T.copy()
            return Factors("gbtrf", values, self._copy("pivots", 0, (cols, count), "int32", "C")[:, m] - 1, False)
        values = self._copy(f"{single}factors", m, (rows,) if kind == "dg" else (rows, cols), dtype)
        pivots, routine = None, "potrf" if kind == "pb" else ROUTINES[kind]
        if group.by_lu:
            routine = "getrf"
            pivots = self._copy(f"{single}pivots", m, (cols,), group.routine.pivot_dtype) - 1
        elif kind == "sy":
            pivots = self._copy(f"{single}narrow pivots", m, (cols,), "int32")
        elif kind == "ls":
            pivots = self._copy("tau", m, (cols,), self.dtype)
        return Factors(routine, values, pivots, self.part.transposed)

    def _copy(
        self, name: str, m: int, shape: tuple[int, ...], dtype: str, order: Literal["C", "F"] = "F"
    ) -> np.ndarray:  # fmt: skip
        group = self.part.group
        found = np.empty(shape, dtype, order=order)
        with devices.on(group.queue.device_id):
            source = group.at(name, m * found.nbytes)
            runtime.memcpy_async(found.ctypes.data, source, found.nbytes, _TO_HOST, group.queue.stream)
            runtime.stream_synchronize(group.queue.stream)
        return found

    def rank(self, index: int) -> int:
        return int(self._copy("ranks", self.part.first + index, (1,), "int32")[0])

    def note_rank(self, index: int, rank: int) -> None:
        group = self.part.group
        overwrite(group.at("ranks", 4 * (self.part.first + index)), np.array([rank], np.int32), group.queue)

    def diagonal(self, index: int, a: Sequence[np.ndarray] = ()) -> tuple[Any, np.ndarray]:
        if self.part.group.in_band:
            _, values, pivots, _ = self.factors(index, a)
            assert pivots is not None
            exchanges = int(np.count_nonzero(pivots != np.arange(len(pivots))))
            return (-1) ** exchanges, values[sum(self.part.group.band)]
        if self.part.form.kind == "pb":
            return 1, np.diagonal(self.factors(index, a).values).real.astype(self.dtype) ** 2
        if not self.part.group.by_lu:
            return super().diagonal(index, a)
        _, values, pivots, _ = self.factors(index, a)
        exchanges = int(np.count_nonzero(pivots != np.arange(len(values))))
        return (-1) ** exchanges, np.diagonal(values)

    def solve(self, index: int, trans: str, a: Sequence[np.ndarray], side: np.ndarray) -> np.ndarray:
        """Solve with a copy of one matrix's factors, on the host."""
        if self.form.mixed:  # whose factors are not as accurate
            return np.linalg.solve(self.matrix(index, a, trans), side)
        transposed, conjugate = self.part.group.turned(trans)
        routine, values, pivots, _ = self.factors(index, a)
        form, b = self.part.form, side.conj() if conjugate else side
        if routine == "division":
            found = b / values[:, None]
        else:
            (function,) = load_module("scipy.linalg").get_lapack_funcs((routine[:-1] + "s",), (values,))
            found = {
                "gbtrf": lambda: function(values, *self.part.group.band, b, pivots, trans=int(transposed)),
                "getrf": lambda: function(values, pivots, b, trans=int(transposed)),
                "potrf": lambda: function(values, b, lower=not form.upper),
                "sytrf": lambda: function(values, pivots, b, lower=not form.upper),
                "trtrs": lambda: function(values, b, lower=not form.upper, trans=int(transposed), unitdiag=form.unit),
            }[routine]()[0]
        return found.conj() if conjugate else found
