"""Products on CUDA devices by kernels that are generated for the format of the sparse operand; NVRTC compiles them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from planmath.core.cuda import device_code, devices
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.call import Call, Slot
from planmath.native.forks import load_module
from planmath.sparse.product.functions import exchanged
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.product.providers import generated_pairs, launching
from planmath.sparse.product.providers.gathering import FEW, Gathering
from planmath.sparse.product.providers.nests import GATHERED, Nest, nest_of
from planmath.sparse.product.providers.places import places_of

#: Threads of a block where it has several rows, and the most of a row.
THREADS, MOST_LANES = 128, 256
#: Threads of a block where columns are shared, and from how many on in all: rows that follow each other read rows of b
#: in common, which are then in the cache of one multiprocessor.
TOGETHER, MANY_THREADS = 512, 1 << 19
#: The most columns of the result that a thread has.
MOST_PER_THREAD = 4
#: The most rows of a grid in y.
MOST_BLOCKS = 65_535
#: The most batch dimensions.
MOST_BATCHES = 8


class GeneratedKernels(Provider):
    """Kernels over the levels of the operand as it is, where the entries of a row can be found there, else over its
    entries gathered row by row. Nothing is added atomically, so results repeat.
    """

    name = "generated"

    def unavailable(self) -> str | None:
        return devices.missing()

    def version(self) -> str:
        return load_module("planmath").__version__

    def unsupported(self, problem: Any) -> str | None:
        if problem.execution[0] != "cuda":
            return "it computes on CUDA devices only"
        if problem.functions or not isinstance(problem.semiring, str):
            return "functions of Python's are for products on the CPU: pass execution='cpu'"
        if len(problem.batch) > MOST_BATCHES:
            return f"it has at most {MOST_BATCHES} batch dimensions"
        if problem.kind == "pair":
            return generated_pairs.unsupported_pair(problem)
        if problem.kind == "dense" and problem.sparse.format.num_levels == 0:
            return "the sparse operand is a number"
        return None

    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        if problem.kind != "dense":
            known = generated_pairs.pair_threads if problem.kind == "pair" else generated_pairs.sampled_threads
            return [Algorithm(self.name, (("threads", n),)) for n in known(problem)]
        nest = nest_of(problem)
        ways = ["gathered"] if nest is None else ["levels"]
        if nest is not None and not nest.lanes and len(problem.sparse.format.stored) > 2:
            ways.append("gathered")
        return [
            Algorithm(self.name, (("entries", way), ("threads", threads)))
            for way in ways
            for threads in _threads(problem, nest if way == "levels" else None)
        ]

    def prepare(self, problem: Any, algorithm: Algorithm) -> Prepared:
        if problem.kind == "pair":
            return generated_pairs.prepare_pair(problem, algorithm)
        if problem.kind == "sampled":
            return generated_pairs.prepare_sampled(problem, algorithm)
        places = places_of(problem)
        if 0 in (problem.rows, problem.columns, *problem.batch):
            return Prepared({None: Program([launching.nothing()])})
        nest = nest_of(problem) if algorithm.get("entries") == "levels" else None
        gathering = Gathering(problem) if nest is None else None
        calls = _Kernel(problem, places, nest, gathering, algorithm.get("threads")).calls()
        if gathering is None:
            return Prepared({None: Program(calls)})
        return Prepared({None: Program(calls)}, gathering.size, Program(gathering.calls()), gathering.watched)


def _threads(problem: MatmulProblem, nest: Nest | None) -> list[int]:
    """How many threads may share a row, the best first: negative numbers share its entries, others its columns.

    Four entries a thread were the fastest, or next to it, for 5 to 16 entries a row (H200, 2026-11-29).
    """
    lines = max(1, problem.rows * (math.prod(problem.batch) if problem.sparse_batched else 1))
    mean = max(1, problem.sparse.nse // lines // (1 if nest is None else max(1, nest.inner)))
    lanes = 1
    if nest is None or nest.lanes:
        lanes = MOST_LANES if mean >= 4 * MOST_LANES else min(32, max(1, (1 << (mean - 1).bit_length()) // 4))
    if problem.columns < 4:
        others = (min(32, 2 * lanes), max(1, lanes // 2)) if nest is None or nest.lanes else ()
        return [-n for n in dict.fromkeys([lanes, *others])]
    widest = min(32, 1 << (problem.columns - 1).bit_length())
    widths = list(dict.fromkeys([widest, max(4, widest // 2), max(4, widest // 4)]))
    if problem.b.column == 1 or problem.c.column == 1:
        return [*widths, -lanes]
    return [-lanes, widest]


class _Kernel:
    """A kernel with its parameters."""

    def __init__(
        self, problem: MatmulProblem, places: Any, nest: Nest | None, gathering: Gathering | None, threads: int
    ):
        self.problem, self.places = problem, places
        self.nest, self.gathering = nest, gathering
        self.by_columns = threads > 0
        self.width = threads if self.by_columns else 0
        self.lanes = 1 if self.by_columns else -threads
        self.per = min(MOST_PER_THREAD, -(-problem.columns // self.width)) if self.by_columns else 1
        self.batches = math.prod(problem.batch)
        self.lines = problem.rows * (self.batches if problem.sparse_batched else 1)
        self.repeats = 1 if problem.sparse_batched else self.batches
        self.device_id = problem.execution[1]
        self.name = "by_columns" if self.by_columns else "by_entries"

    def pointers(self) -> list[tuple[str, Slot]]:
        """The index arrays that the kernel reads, by their names in it."""
        if self.gathering is not None:
            found = {"starts": self.gathering.starts, "indices": self.gathering.indices}
            if self.gathering.places is not None:
                found["places"] = self.gathering.places
            return list(found.items())
        assert self.nest is not None
        numbers = {"pos": self.places.pos, "crd": self.places.crd}
        return [(f"{kind}{level}", Slot(numbers[kind][level])) for kind, level in self.nest.arrays]

    def source(self) -> str:
        if self.gathering is not None:
            entries = GATHERED.format(place="q" if self.gathering.places is None else "places[q]")
        else:
            assert self.nest is not None
            entries = self.nest.code
        names = [name for name, _ in self.pointers()]
        text = (
            _source(self.name)
            .replace("POINTERS\n", "".join(f"pointer<const INDEX> {name};\n    " for name in names) + "\n", 1)
            .replace("    NAMES\n", "".join(f"    const INDEX *{name} = p.{name};\n" for name in names), 1)
            .replace("    ENTRIES\n", entries + "\n", 1)
        )
        return device_code.numbers() + text

    def definitions(self) -> tuple[str, ...]:
        p = self.problem
        wide = self.gathering.wide if self.gathering is not None else p.sparse.index_type == "int64"
        large = max(p.sparse.nse, p.summed, self.lines) >= FEW or _may_be_large(p)
        semiring = exchanged(p.semiring) if p.swapped else p.semiring
        return (
            *launching.definitions(p, (p.sparse.dtype, p.dense_dtype), p.conjugate, wide, large, semiring),
            f"BATCHED={int(p.sparse_batched)}", f"WIDTH={self.width}", f"PER={self.per}", f"LANES={self.lanes}",
        )  # fmt: skip

    def calls(self) -> list[Call]:
        p, places = self.problem, self.places
        pointers = {**dict(self.pointers()), "a": Slot(places.val), "b": Slot(places.b), "c": Slot(places.c)}
        values = {
            "rows": p.rows, "lines": self.lines, "columns": p.columns, "repeats": self.repeats, "b_row": p.b.row,
            "b_column": p.b.column, "c_row": p.c.row, "c_column": p.c.column,
        }  # fmt: skip
        steps = {"b_steps": p.b.batch if p.dense_batched else (0,) * len(p.batch), "c_steps": p.c.batch}
        threads = max(THREADS, self.lanes)
        if self.by_columns and self.lines * self.width >= MANY_THREADS:
            threads = TOGETHER
        blocks = -(-self.lines * (self.width or self.lanes) // threads)
        chunks = -(-p.columns // (self.width * self.per)) if self.by_columns else p.columns
        kernel = device_code.kernel(self.source(), self.name, self.device_id, self.definitions())
        launch = launching.Kernel(kernel, (blocks, min(MOST_BLOCKS, chunks * self.repeats)), threads)
        return launching.calls(launch, p, places, pointers, values, steps)


def _may_be_large(problem: MatmulProblem) -> bool:
    """Whether a place in a level may not be counted in 32 bits; those of the last level are the values'."""
    form = problem.sparse.format
    sizes = form.dim2lvl(list(problem.sparse.extents), as_size=True)
    listed = [n for n, level in enumerate(form.stored) if level.format.has_coordinates]
    before = math.prod(int(n) for n in sizes[: listed[0]]) if listed else 0
    between = listed and any(n not in listed for n in range(listed[0], listed[-1]))
    return before >= FEW or bool(between)


@cache
def _source(name: str) -> str:
    return "".join(Path(__file__).with_name(f"{part}.cu").read_text() for part in ("elements", "rows", f"rows_{name}"))
