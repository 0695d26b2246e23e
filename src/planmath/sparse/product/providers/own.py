"""Products by planmath's own loops, over any format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import planmath.sparse.product.loops as loops
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, OwnProvider, Prepared
from planmath.native.call import Call, Slot
from planmath.native.team import LINGER
from planmath.native.threads import Threads, openmp_threads
from planmath.sparse.product.functions import exchanged
from planmath.sparse.product.problem import MatmulProblem, divides_result, loop_levels, meets_once
from planmath.sparse.product.providers import own_pairs, own_rows, own_sampled
from planmath.sparse.product.providers.places import Places, Stage, places_of
from planmath.sparse.ust.conversion import joined
from planmath.sparse.ust.levels import LevelFormat as F
from planmath.sparse.ust.packages import to_host

#: Below this many multiplications threads take longer to find than they save.
THREADED_WORK = 30_000
#: Below this many the Python lock is kept.
SMALL_WORK = 5_000
#: Parts for each thread where parts cost nothing: processors that are shared are not equally fast.
PARTS = 4
#: Bytes of the result that are worked on at a time where all diagonals meet it.
WINDOW_BYTES = 64 << 10
#: Bytes from which on a result is written past the caches, which would read it before and have no room for it.
STREAMED_BYTES = 8 << 20
#: The fewest columns that threads share.
SHARED_COLUMNS = 16

#: What computes products other than those with one dense operand.
OTHERS: dict[str, Any] = {"pair": own_pairs, "sampled": own_sampled}


class OwnLoops(OwnProvider):
    """Loops over the levels of the operand as it is; threads take parts as they come."""

    name = "own"
    kernels = loops

    def threads(self) -> Threads:
        return openmp_threads()

    def lingers(self, algorithm: Algorithm) -> float:
        return LINGER if algorithm.get("threads", 1) > 1 else 0.0

    def unsupported(self, problem: Any) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.kind in OTHERS:
            return OTHERS[problem.kind].unsupported(problem)
        if (problem.semiring, problem.work) not in loops.PRODUCT:
            return f"it has no {problem.semiring} of {problem.work}"
        count = problem.sparse.format.num_levels + len(problem.batch)
        if count > loops.MOST_LEVELS or len(problem.batch) > 4:
            return f"it has loops over up to {loops.MOST_LEVELS} levels and 4 batch dimensions"
        if problem.sparse.format.num_levels == 0:
            return "the sparse operand is a number"
        return None

    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        if problem.kind in OTHERS:
            return [Algorithm(self.name, knobs) for knobs in OTHERS[problem.kind].knobs(problem)]
        most = problem.execution[1]
        threads = [most, 1] if most > 1 and problem.work_amount >= THREADED_WORK else [1]
        ways: list[tuple[tuple[str, int], ...]] = [()]
        if own_rows.are_apart(problem) and not own_rows.are_in_order(problem):
            ways = [(("sorted", n),) for n in ((0, 1) if own_rows.is_added_faster(problem, threads[0]) else (1, 0))]
        return [Algorithm(self.name, (("threads", n), *way)) for way in ways for n in threads]

    def prepare(self, problem: Any, algorithm: Algorithm) -> Prepared:
        if problem.kind in OTHERS:
            return OTHERS[problem.kind].prepare(problem, algorithm)
        if 0 in (problem.rows, problem.columns, *problem.batch):  # the kernels take one matrix at least
            return Prepared({None: Program(function=lambda operands, results: None)})
        places = places_of(problem)
        if own_rows.are_apart(problem) and algorithm.get("sorted", 1):
            rows = own_rows.RowsOf(problem)
            made = Loops(rows.problem, algorithm.get("threads", 1))
            calls = made.calls(places, *rows.arrays(places), offset=rows.size)
            prologue, watched = rows.prologue(places)
            program = Program(calls, release_gil=problem.work_amount > SMALL_WORK)
            return Prepared({None: program}, rows.size + made.workspace_size, prologue, watched)
        made = Loops(problem, algorithm.get("threads", 1))
        batches = any(level.format is F.BATCH for level in problem.sparse.format.stored)
        if problem.plain and not batches:
            program = Program(
                made.calls(places, _slots(places.pos), _slots(places.crd)),
                release_gil=problem.work_amount > SMALL_WORK,
            )
            return Prepared({None: program}, made.workspace_size)
        return Prepared({None: Program(function=_Staged(problem, made))})


def _slots(numbers: Sequence[int | None]) -> list[Any]:
    return [None if n is None else Slot(n) for n in numbers]


class Loops:
    """A descriptor of the loops, and the calls that run them."""

    def __init__(self, problem: MatmulProblem, threads: int):
        self.problem = problem
        levels = loop_levels(problem, loops.REPEAT)
        repeats = len(levels) - problem.sparse.format.num_levels
        size = np.dtype(problem.work).itemsize
        mode, parts = self.sharing(threads, levels, repeats)
        header = np.zeros(loops.HEADER, np.int64)
        span = 1 + sum(abs(s) * (n - 1) for n, s in self.result_axes() if n)
        window = max(1, WINDOW_BYTES // size // max(problem.columns, 1))
        if mode == loops.BY_WINDOWS:
            parts = max(1, -(-problem.rows // window))
        values = {
            "levels": len(levels), "columns": problem.columns, "b_column": problem.b.column,
            "c_column": problem.c.column, "mode": mode, "threads": threads, "parts": parts, "first": repeats,
            "wide": int(problem.sparse.index_type == "int64"), "assigns": int(meets_once(problem)),
            "rows": problem.rows, "row_step": problem.c.row, "span": span, "window": window,
            "runs": int(self.in_runs()), "nested": len(problem.batch), "streams": int(span * size >= STREAMED_BYTES),
        }  # fmt: skip
        for name, value in values.items():
            header[loops.PLACE[name]] = value
        for n, (count, step) in enumerate(zip(problem.batch, problem.c.batch, strict=True)):
            header[loops.OUTER + 2 * n : loops.OUTER + 2 * n + 2] = count, step
        table = np.zeros(2 * len(levels) + 1, np.int64)
        self.descriptor = np.concatenate([header, *(np.array(level, np.int64) for level in levels), table])
        self.table = self.descriptor[-len(table) :].ctypes.data
        self.repeats = repeats
        self.workspace_size = (parts - 1) * span * size if mode == loops.BY_COPIES else 0
        self.mode = mode

    def result_axes(self) -> list[tuple[int, int]]:
        problem = self.problem
        return [
            *zip(problem.batch, problem.c.batch, strict=True),
            (problem.rows, problem.c.row),
            (problem.columns, problem.c.column),
        ]

    def in_runs(self) -> bool:
        """Whether the entries of a list that are in the same row follow each other."""
        top, *below = self.problem.sparse.format.stored
        return (
            top.format is F.COMPRESSED and not top.unique and top.ordered and divides_result(self.problem, 0)
            and bool(below) and below[0].format is F.SINGLETON
        )  # fmt: skip

    def sharing(self, threads: int, levels: Any, repeats: int) -> tuple[int, int]:
        """What threads share, and in how many parts."""
        problem, form = self.problem, self.problem.sparse.format
        top = form.stored[0]
        positions = divides_result(problem, 0) and top.unique and top.format is not F.DELTA
        diagonals = (
            not problem.batch and len(form.stored) == 2 and form.stored[1].format is F.RANGE and problem.c.row > 0
            and not divides_result(problem, 0) and levels[repeats + 1].c != 0
        )  # fmt: skip
        if diagonals:
            return loops.BY_WINDOWS, 1
        if threads == 1 or math.prod(problem.batch) == 0:
            return loops.BY_NOTHING, 1
        if positions:
            return loops.BY_POSITIONS, PARTS * threads
        if self.in_runs():
            return loops.BY_RUNS, PARTS * threads
        if problem.columns >= SHARED_COLUMNS:
            return loops.BY_COLUMNS, threads
        axes = self.result_axes()
        dense = math.prod(n for n, _ in axes) == 1 + sum(step * (n - 1) for n, step in axes if n)
        if top.format is F.DELTA:  # each coordinate follows from those before
            return loops.BY_NOTHING, 1
        if dense and all(step >= 0 for _, step in axes):
            return loops.BY_COPIES, threads
        return loops.BY_NOTHING, 1

    def calls(
        self, places: Places, pos: Sequence[Any], crd: Sequence[Any], where: Any = None, offset: int = 0
    ) -> list[Call]:
        """The calls of a program.

        Parameters
        ----------
        places : Places
            Of the operands.
        pos, crd : sequence of Slot or None
            Of each level.
        where : Slot, optional
            Where the values of entries are.
        offset : int
            Where in the temporary memory copies of the result begin.
        """
        copies: Any = Slot(places.workspace, offset) if self.workspace_size else 0
        return [
            *self.storing(pos, crd, where),
            self.product(*(Slot(n) for n in (places.val, places.b, places.c, places.alpha, places.beta)), copies),
        ]

    def storing(self, pos: Sequence[Any], crd: Sequence[Any], where: Any = None) -> list[Call]:
        """Calls that put addresses into the descriptor: those of the index arrays, and of the places of values."""
        wanted = [*(x for pair in zip(pos, crd, strict=True) for x in pair), where]
        first = self.table + 16 * self.repeats
        calls = []
        for begin in range(0, len(wanted), 8):
            part = [0 if x is None else x for x in wanted[begin : begin + 8]]
            if any(x != 0 for x in part):
                arguments = [first + 8 * begin, len(part), *part, *[0] * (8 - len(part))]
                calls.append(Call(loops.STORE_ADDRESSES, arguments, name="store addresses", keep=self.descriptor))
        return calls

    def product(self, *operands: Any) -> Call:
        """The call for val, b, c, alpha, beta and memory for copies of c."""
        problem = self.problem
        name = exchanged(problem.semiring) if problem.swapped else problem.semiring
        function = loops.PRODUCT[name, problem.work]
        arguments = [self.descriptor.ctypes.data, *operands]
        return Call(function, arguments, name="sparse product", keep=self.descriptor)


class _Staged:
    """The loops between conversions, conjugation and functions of the user's."""

    def __init__(self, problem: MatmulProblem, made: Loops):
        self.problem, self.made = problem, made
        self.stage = Stage(problem)

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        stage, package, problem = self.stage, self.stage.package, self.problem
        with np.errstate(all="ignore"):
            arrays, b = stage.arrays(operands), stage.dense(operands)
        target = stage.target(operands, results)
        b = self.laid_out(b, operands[stage.places.b])
        work = package.dtype(problem.work)
        c = target
        if target.dtype != work:
            c = package.empty(tuple(target.shape), self.strides(target), work, None)
            c[...] = target
        alpha, beta = stage.scalars(operands)
        copies = np.empty(self.made.workspace_size, np.uint8)
        address = package.address
        starts = [None if x is None else self.joined(x) for x in arrays.pos]
        pos = [None if x is None else x.ctypes.data for x in starts]
        crd = [None if x is None else address(x) for x in arrays.crd]
        for call in self.made.storing(pos, crd):
            call()
        operands_at = [address(x) for x in (arrays.val, b, c)]
        self.made.product(*operands_at, *(x.ctypes.data for x in (alpha, beta, copies)))()
        epilog = stage.functions.get("epilog")
        if epilog is not None:
            c = stage.mapped(epilog, c)
        if c is not target:
            target[...] = c

    def joined(self, pos: Any) -> np.ndarray:
        """Where segments begin in all batches, of an array that begins anew for each."""
        pos = to_host(pos)
        return joined(pos, math.prod(pos.shape[:-1])).astype(pos.dtype, copy=False)

    def strides(self, array: Any) -> tuple[int, ...]:
        return self.stage.package.layout(array, "the array", lazy=True).strides

    def laid_out(self, made: Any, planned: Any) -> Any:
        """An operand that was converted, with the strides of the planned one."""
        strides = self.strides(planned)
        if self.strides(made) == strides:
            return made
        copy = self.stage.package.empty(tuple(planned.shape), strides, made.dtype, None)
        copy[...] = made
        return copy
