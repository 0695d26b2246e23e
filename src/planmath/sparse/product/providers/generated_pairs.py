"""Products with a sparse result on CUDA devices by kernels: of two sparse tensors, and of arrays into a pattern."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from planmath.core.cuda import device_code
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.native.call import Slot
from planmath.sparse.product.functions import exchanged
from planmath.sparse.product.pair_problem import PairProblem
from planmath.sparse.product.patterns import Rows
from planmath.sparse.product.problem import Sparse
from planmath.sparse.product.providers import launching
from planmath.sparse.product.providers.places import SparsePlaces, pair_places, sampled_places
from planmath.sparse.product.sampled_problem import SampledProblem

#: Threads of a block, and of a warp, the most that share a row of a product of sparse matrices.
THREADS, WARP = 128, 32
#: Bytes of shared memory for a block.
SHARED = 40 << 10


def unsupported_pair(problem: PairProblem) -> str | None:
    if problem.result is None and problem.dtype != problem.work:
        return f"it adds to a dense result in {problem.work}, and c is of {problem.dtype}: convert it"
    return None


def prepare_pair(problem: PairProblem, algorithm: Algorithm) -> Prepared:
    """The values of a product whose pattern planning has found."""
    pattern, places = problem.pattern, pair_places(problem)
    sides = [(places.a, problem.a, problem.conjugate[0]), (places.b, problem.b, problem.conjugate[1])]
    if pattern.flipped:
        sides.reverse()
    rows: dict[str, Rows] = {"1": pattern.first, "2": pattern.second}
    if pattern.result is not None:
        rows["3"] = in_order(pattern.result)
    index = np.result_type(*(x.crd.dtype for x in rows.values()))
    arrays: dict[str, np.ndarray] = {}
    for name, each in rows.items():
        found = {"pos": each.pos, "crd": each.crd, "places": each.places}
        arrays |= {f"{kind}{name}": x.astype(index) for kind, x in found.items() if x is not None}
    uploading = launching.Uploading(arrays, places.workspace)
    lines, count = pattern.first.height, 0 if pattern.result is None else len(pattern.result.crd)
    if not lines or (pattern.result is not None and not count) or (pattern.result is None and not pattern.columns):
        return Prepared({None: Program([launching.nothing()])})
    size = uploading.size
    names = [f"{kind}{n}" for n in "123" for kind in ("pos", "crd")] + [f"places{n}" for n in "123"]
    pointers: dict[str, Any] = {name: uploading.slots.get(name) for name in names}
    pointers["totals"] = Slot(places.workspace, size)
    size += count * np.dtype(problem.work).itemsize
    (first, a, first_conjugate), (second, b, second_conjugate) = sides
    pointers |= {"a": Slot(first.val), "b": Slot(second.val), "c": Slot(places.c)}
    steps: dict[str, Any] = {"c_steps": ()}
    values = {"rows": lines, "matrix_rows": max(1, problem.rows), "columns": pattern.columns, "c_row": 0, "c_column": 0}
    if problem.c is not None:
        c_row, c_column = (problem.c.row, problem.c.column)[:: -1 if pattern.flipped else 1]
        values |= {"c_row": c_row, "c_column": c_column}
        steps["c_steps"] = problem.c.batch
    if pattern.flipped:
        values["matrix_rows"] = lines
    semiring = exchanged(problem.semiring) if pattern.flipped else problem.semiring
    wide, threads = index == np.int64, algorithm.get("threads")
    definitions = (
        *launching.definitions(
            problem, (a.dtype, b.dtype), (first_conjugate, second_conjugate), wide, wide, semiring
        ),
        f"UNIQUE={int(has_no_twins(b))}", f"GROUP={threads}",
        f"ROOM={room(rows.get('3'), threads, problem.work)}",
    )  # fmt: skip
    name = "pairs_filled" if pattern.result is None else "pairs_known"
    kernel = device_code.kernel(_source("pairs", name), name, problem.execution[1], definitions)
    blocks = -(-lines * threads // THREADS)
    calls = launching.calls(launching.Kernel(kernel, (blocks, 1), THREADS), problem, places, pointers, values, steps)
    return Prepared({None: Program(calls)}, size, Program(uploading.calls()), watched(places.a, places.b))


def prepare_sampled(problem: SampledProblem, algorithm: Algorithm) -> Prepared:
    """The elements of a product that a sparse c stores."""
    pattern, places = problem.pattern, sampled_places(problem)
    count = len(pattern.a)
    if not count:
        return Prepared({None: Program([launching.nothing()])})
    index = pattern.a.dtype if pattern.places is None else np.result_type(pattern.a, pattern.places)
    arrays = {"rows": pattern.a, "columns": pattern.b, "places": pattern.places}
    given = {name: x.astype(index) for name, x in arrays.items() if x is not None}
    uploading = launching.Uploading(given, places.workspace)
    pointers: dict[str, Any] = {name: uploading.slots.get(name) for name in arrays}
    pointers |= {"a": Slot(places.a), "b": Slot(places.b), "c": Slot(places.c)}
    values = {
        "count": count, "summed": problem.summed, "a_rows": problem.rows, "b_columns": problem.columns,
        "a_row": problem.a.row, "a_sum": problem.a.column, "b_sum": problem.b.row, "b_column": problem.b.column,
    }  # fmt: skip
    batches = (0,) * len(problem.batch)
    steps = {"a_steps": problem.a.batch or batches, "b_steps": problem.b.batch or batches}
    wide = index == np.int64
    lanes = algorithm.get("threads")
    definitions = (
        *launching.definitions(problem, problem.dtypes, problem.conjugate, wide, wide), f"LANES={lanes}",
    )  # fmt: skip
    kernel = device_code.kernel(_source("sampled"), "sampled", problem.execution[1], definitions)
    launch = launching.Kernel(kernel, (-(-count * lanes // THREADS), 1), THREADS)
    calls = launching.calls(launch, problem, places, pointers, values, steps)
    return Prepared({None: Program(calls)}, uploading.size, Program(uploading.calls()), watched(places.sparse))


def pair_threads(problem: PairProblem) -> list[int]:
    """How many threads may share a row, the best first."""
    second = problem.pattern.second
    mean = len(second.crd) // max(1, second.height)
    wanted = min(WARP, max(4, 1 << max(0, mean - 1).bit_length()))
    return list(dict.fromkeys([wanted, WARP, max(4, wanted // 2)]))


def room(rows: Rows | None, threads: int, work: str) -> int:
    """How many entries of a row are summed in shared memory: as many as the longest row has, where there is room."""
    longest = 1 if rows is None else int(np.diff(rows.pos).max(initial=1))
    return min(1 << (longest - 1).bit_length(), SHARED // np.dtype(work).itemsize * threads // THREADS)


def sampled_threads(problem: SampledProblem) -> list[int]:
    """How many threads may share what is summed for an element, the best first."""
    most = min(32, 1 << (max(1, problem.summed) - 1).bit_length())
    return list(dict.fromkeys([max(1, most // 4), max(1, most // 2), most, 1]))


def watched(*operands: SparsePlaces) -> tuple[int, ...]:
    """The numbers of the index arrays of sparse operands."""
    return tuple(n for of in operands for n in (*of.pos, *of.crd) if n is not None)


def has_no_twins(sparse: Sparse) -> bool:
    """Whether no entry comes twice."""
    levels = [level for level in sparse.format.stored if level.format.has_coordinates]
    return not levels or levels[-1].unique


def in_order(rows: Rows) -> Rows:
    """The entries of each row by their columns."""
    pos, crd = rows.pos, rows.crd
    row = np.repeat(np.arange(len(pos) - 1), np.diff(pos))
    if ((crd[1:] > crd[:-1]) | (row[1:] > row[:-1])).all():
        return rows
    order = np.lexsort((crd, row))
    return Rows(pos, crd[order], order if rows.places is None else rows.places[order])


@cache
def _source(*names: str) -> str:
    parts = (Path(__file__).with_name(f"{part}.cu").read_text() for part in ("elements", *names))
    return device_code.numbers() + "".join(parts)
