"""Products of two dense arrays for the entries of a sparse one, by planmath's own loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import planmath.sparse.product.sampled as sampled
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.native.call import Call, Slot
from planmath.sparse.product.problem import Steps
from planmath.sparse.product.providers.descriptor import Descriptor
from planmath.sparse.product.providers.places import Stage, sampled_places
from planmath.sparse.product.sampled_problem import SampledProblem
from planmath.sparse.ust.packages import to_host

#: Below this many multiplications threads take longer to start than they save.
THREADED_WORK = 500_000
#: Below this many the Python lock is kept.
SMALL_WORK = 5_000
#: Parts for each thread: processors that are shared are not equally fast.
PARTS = 8
#: Entries for each row of a, or column of b, from which on copying it to align it pays.
USES = 8


def unsupported(problem: SampledProblem) -> str | None:
    if (problem.semiring, problem.work) not in sampled.PRODUCT:
        return f"it has no {problem.semiring} of {problem.work}"
    return None


def knobs(problem: SampledProblem) -> list[tuple[tuple[str, Any], ...]]:
    """The ways to compute it, by settings."""
    most = problem.execution[1]
    threads = [most, 1] if most > 1 and problem.work_amount >= THREADED_WORK else [1]
    return [(("threads", n),) for n in threads]


def prepare(problem: SampledProblem, algorithm: Algorithm) -> Prepared:
    places = sampled_places(problem)
    threads = algorithm.get("threads")
    if problem.plain:
        loops = SampledLoops(problem, threads, problem.a, problem.b)
        at = (places.a, places.b, places.c, places.alpha, places.beta)
        program = Program(
            [loops.call(*map(Slot, at), room=Slot(places.workspace))], release_gil=problem.work_amount > SMALL_WORK
        )
        return Prepared({None: program}, loops.room_size)
    return Prepared({None: Program(function=_Staged(problem, threads))})


class SampledLoops:
    """A descriptor of the loops, and the call that runs them."""

    def __init__(self, problem: SampledProblem, threads: int, a: Steps, b: Steps):
        pattern = problem.pattern
        self.descriptor = made = Descriptor(sampled.WORDS)
        self.function = sampled.PRODUCT[problem.semiring, problem.work]
        words = {
            "count": len(pattern.a), "summed": problem.summed, "threads": threads,
            "parts": PARTS * threads if threads > 1 else 1, "wide": int(pattern.a.dtype == np.int64),
            "list_a": made.at(pattern.a), "list_b": made.at(pattern.b),
            "values": 0 if pattern.places is None else made.at(np.ascontiguousarray(pattern.places, np.int64)),
        }  # fmt: skip
        made.put(sampled.PLACE, words)
        size = np.dtype(problem.work).itemsize
        self.room_size = 0
        for first, batch, step, inner, lines in (
            (sampled.SIDES[0], a.batch, a.row, a.column, problem.rows),
            (sampled.SIDES[1], b.batch, b.column, b.row, problem.columns),
        ):
            counts = problem.batch if batch else ()
            offsets = np.zeros(counts or (1,), np.int64)
            for axis, (count, stride) in enumerate(zip(counts, batch, strict=True)):
                offsets += (np.arange(count) * stride).reshape(-1, *[1] * (len(counts) - axis - 1))
            offsets = np.ascontiguousarray(offsets.reshape(-1))
            apart = bool((offsets != np.arange(len(offsets)) * lines * step).any())  # one batch is not behind the other
            copied = sampled.NOT_COPIED
            if (inner != 1 and problem.summed > 1) or apart:
                copied = sampled.ALWAYS_COPIED
            elif step * size % sampled.LINE == 0 and len(pattern.a) >= USES * len(offsets) * lines:
                copied = sampled.COPIED_TO_ALIGN
            side = {
                "step": step, "copied": copied, "inner": inner, "lines": lines, "batches": len(offsets),
                "offsets": made.at(offsets),
            }  # fmt: skip
            made.put(sampled.SIDE, side, first)
            if copied != sampled.NOT_COPIED:
                self.room_size += math.prod((len(offsets), lines, problem.summed)) * size + sampled.LINE

    def call(self, *operands: Any, room: Any) -> Call:
        """The call for a, b, the values of c, and the factors."""
        arguments = [self.descriptor.address, *operands, room if self.room_size else 0]
        return Call(self.function, arguments, name="sampled product", keep=self.descriptor)


class _Staged:
    """The product of arrays that are converted, conjugated, or given to functions of the user's."""

    def __init__(self, problem: SampledProblem, threads: int):
        self.problem, self.stage, self.threads = problem, Stage(problem), threads
        self.made_for: tuple[Steps, ...] = ()
        self.loops: Any = None

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"):
            self.run(operands, results)

    def run(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        problem, stage = self.problem, self.stage
        a, b = (
            to_host(stage.ready(operands[at], flag, name))
            for name, at, flag in zip("ab", (stage.places.a, stage.places.b), problem.conjugate, strict=True)
        )
        target = stage.target(operands, results)
        before = target.to(stage.package.dtype(problem.work)) if hasattr(target, "to") else target
        c = np.array(to_host(before), problem.work)
        alpha, beta = stage.scalars(operands)
        steps = tuple(map(self.steps, (a, b), problem.transposed, (True, False)))
        if steps != self.made_for:
            self.loops, self.made_for = SampledLoops(problem, self.threads, *steps), steps
        loops = self.loops
        room = np.empty(loops.room_size, np.uint8)
        loops.call(*(x.ctypes.data for x in (a, b, c, alpha, beta)), room=room.ctypes.data)()
        found: Any = c
        if stage.package.name == "torch":
            import torch

            found = torch.from_numpy(c)
        epilog = stage.functions.get("epilog")
        target[...] = found if epilog is None else stage.mapped(epilog, found)

    @staticmethod
    def steps(array: np.ndarray, transposed: bool, vector_is_row: bool) -> Steps:
        """Steps of a converted array as batch, rows and columns."""
        strides = tuple(x // array.itemsize for x in array.strides)
        if array.ndim == 1:
            return Steps((), *((0, strides[0]) if vector_is_row else (strides[0], 0)))
        *batch, row, column = strides
        return Steps(tuple(batch), *((column, row) if transposed else (row, column)))
