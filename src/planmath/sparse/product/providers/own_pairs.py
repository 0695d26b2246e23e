"""Products of two sparse tensors by planmath's own loops, row after row of a pattern that is known."""

from __future__ import annotations

from typing import Any

import numpy as np

import planmath.sparse.product.pairs as pairs
import planmath.sparse.product.symbolic as symbolic
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.native.call import Call, Slot
from planmath.sparse.product.functions import exchanged
from planmath.sparse.product.pair_problem import PairProblem
from planmath.sparse.product.patterns import Rows
from planmath.sparse.product.providers.descriptor import Descriptor
from planmath.sparse.product.providers.places import Stage, pair_places
from planmath.sparse.ust.packages import to_host

#: Below this many multiplications threads take longer to start than they save.
THREADED_WORK = 100_000
#: Below this many the Python lock is kept.
SMALL_WORK = 2_000
#: Parts for each thread: processors that are shared are not equally fast.
PARTS = 8
#: Bytes of an entry of the result and its index, to which those of a schedule are compared.
ENTRY_BYTES = 12


def unsupported(problem: PairProblem) -> str | None:
    if (problem.semiring, problem.work) not in pairs.PRODUCT:
        return f"it has no {problem.semiring} of {problem.work}"
    return None


def knobs(problem: PairProblem) -> list[tuple[tuple[str, Any], ...]]:
    """The ways to compute it, by settings."""
    most = problem.execution[1]
    threads = [most, 1] if most > 1 and problem.work_amount >= THREADED_WORK else [1]
    return [(("way", way), ("threads", n)) for way in ways(problem) for n in threads]


def ways(problem: PairProblem) -> list[str]:
    """How rows may be put together, the fastest first."""
    pattern = problem.pattern
    if pattern.result is None:
        return ["filled"]
    size = offset_bytes(pattern.result)
    if size == 0 or pattern.products * size > ENTRY_BYTES * len(pattern.result.crd) + (1 << 20):
        return ["gathered"]
    return ["scheduled", "gathered"]


def offset_bytes(result: Rows) -> int:
    """Bytes in which an entry of a row can be told, or none; 0 where rows are too long."""
    longest = int(np.diff(result.pos).max(initial=0))
    return 1 if longest < 1 << 8 else 2 if longest < 1 << 16 else 0


def prepare(problem: PairProblem, algorithm: Algorithm) -> Prepared:
    loops = PairLoops(problem, algorithm.get("way"), algorithm.get("threads"))
    pattern, places = problem.pattern, pair_places(problem)
    gathers = [rows.places for rows in (pattern.first, pattern.second, pattern.result) if rows is not None]
    c = problem.c
    nested = c is not None and any(
        step != problem.rows * c.row * int(np.prod(problem.batch[n + 1 :], dtype=np.int64))
        for n, step in enumerate(c.batch)
    )
    if problem.plain and not nested and all(x is None for x in gathers):
        val = (places.b.val, places.a.val) if pattern.flipped else (places.a.val, places.b.val)
        if c is not None:
            loops.lay_out(c.row, c.column)
        call = loops.call(*map(Slot, (*val, places.c, places.alpha, places.beta)), room=Slot(places.workspace))
        program = Program([call], release_gil=problem.work_amount > SMALL_WORK)
        return Prepared({None: program}, loops.room_size)
    if c is not None:
        loops.lay_out(problem.columns, 1)
    return Prepared({None: Program(function=_Staged(problem, loops))})


class PairLoops:
    """A descriptor of the loops, and the call that runs them."""

    def __init__(self, problem: PairProblem, way: str, threads: int):
        pattern = problem.pattern
        first, second, result = pattern.first, pattern.second, pattern.result
        self.flipped, name = pattern.flipped, problem.semiring
        self.function = pairs.PRODUCT[exchanged(name) if pattern.flipped else name, problem.work]
        self.descriptor = made = Descriptor(pairs.WORDS)
        parts = min(PARTS * threads, max(first.height, 1)) if threads > 1 else 1
        starts, before = symbolic.part_starts(first.pos, first.crd, second.pos, parts)
        words = {
            "way": pairs.WAYS[way], "rows": first.height, "columns": pattern.columns, "threads": threads,
            "parts": parts, "wide": int(first.crd.dtype == np.int64), "masked": int(problem.inplace),
            "pos_1": made.at(first.pos), "crd_1": made.at(first.crd), "pos_2": made.at(second.pos),
            "crd_2": made.at(second.crd), "starts": made.at(starts), "before": made.at(before),
        }  # fmt: skip
        if result is not None:
            words |= {"pos_c": made.at(result.pos), "crd_c": made.at(result.crd)}
        if way == "scheduled":
            assert result is not None
            size = words["offset_bytes"] = offset_bytes(result)
            schedule = np.empty(pattern.products, np.uint8 if size == 1 else np.uint16)
            symbolic.schedule(*first[:2], *second[:2], *result[:2], pattern.columns, schedule)
            words["schedule"] = made.at(schedule)
        made.put(pairs.PLACE, words)
        size = np.dtype(problem.work).itemsize
        self.room_size = threads * pattern.columns * size if way == "gathered" else 0

    def lay_out(self, row: int, column: int) -> None:
        """Say how a dense result lies: the steps of its rows and columns."""
        steps = (column, row) if self.flipped else (row, column)
        self.descriptor.put(pairs.PLACE, {"row_step": steps[0], "column_step": steps[1]})

    def call(self, *operands: Any, room: Any) -> Call:
        """The call for the values of the first and the second matrix, those of the result, and the factors."""
        arguments = [self.descriptor.address, *operands, room if self.room_size else 0]
        return Call(self.function, arguments, name="sparse pair product", keep=self.descriptor)


class _Staged:
    """The product of values that are converted, conjugated, put in order, or given to functions of the user's."""

    def __init__(self, problem: PairProblem, loops: PairLoops):
        self.problem, self.loops, self.stage = problem, loops, Stage(problem)

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"):
            self.run(operands, results)

    def run(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        problem, stage, pattern = self.problem, self.stage, self.problem.pattern
        values = [
            to_host(stage.ready(operands[at.val], flag, name))
            for name, at, flag in zip("ab", (stage.places.a, stage.places.b), problem.conjugate, strict=True)
        ]
        if pattern.flipped:
            values.reverse()
        taken = [
            np.ascontiguousarray(x if rows.places is None else x[rows.places])
            for x, rows in zip(values, (pattern.first, pattern.second), strict=True)
        ]
        target = stage.target(operands, results)
        made = self.start(target)
        alpha, beta = stage.scalars(operands)
        room = np.empty(self.loops.room_size, np.uint8)
        addresses = [x.ctypes.data for x in (*taken, made, alpha, beta)]
        self.loops.call(*addresses, room=room.ctypes.data)()
        self.finish(target, made)

    def start(self, target: Any) -> np.ndarray:
        """Contiguous memory for the result in the dtype of the work, with what is replaced."""
        rows, work = self.problem.pattern.result, np.dtype(self.problem.work)
        shape = tuple(target.shape) if rows is None else rows.crd.shape
        if not self.problem.inplace:
            return np.empty(shape, work)
        before = to_host(target.to(self.stage.package.dtype(self.problem.work)) if hasattr(target, "to") else target)
        return np.array(before if rows is None or rows.places is None else before[rows.places], work, order="C")

    def finish(self, target: Any, made: np.ndarray) -> None:
        """Write the result, and what the user's epilog makes of it."""
        epilog, rows = self.stage.functions.get("epilog"), self.problem.pattern.result
        found: Any = made
        if self.stage.package.name == "torch":
            import torch

            found = torch.from_numpy(made)
        if epilog is not None:
            found = self.stage.mapped(epilog, found)
        if rows is None or rows.places is None:
            target[...] = found
        else:
            target[rows.places] = found
