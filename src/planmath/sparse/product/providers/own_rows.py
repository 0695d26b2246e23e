"""Entries by the rows of the result, for formats in which planmath's own loops would meet them otherwise.

Lists, rows that may be absent, and counts of what is skipped become where each row begins, and columns; entries by
columns or in no order are sorted, too. A prologue finds that out of the index arrays when a plan first meets them.
Values stay where they are, so that they may be changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import planmath.sparse.product.loops as loops
from planmath.core.executor import Program
from planmath.native.call import Call, Slot
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.product.providers.descriptor import Descriptor
from planmath.sparse.product.providers.places import Places
from planmath.sparse.ust.expressions import Dimension
from planmath.sparse.ust.levels import LevelFormat as F
from planmath.sparse.ust.named import NamedFormats as N

#: Bytes at a multiple of which each array begins.
ALIGNMENT = 64
#: Bytes of values up to which those of a list in no order are looked for: each is in another line of the cache.
NEAR_BYTES = 4 << 20


def are_apart(problem: MatmulProblem) -> bool:
    """Whether entries of a matrix are not by rows that follow each other, in a format of which they can be found so."""
    form = problem.sparse.format
    if problem.sparse_batched or problem.vector or form.num_levels != 2 or form.num_dimensions != 2:
        return False
    if not problem.plain or not all(isinstance(e, Dimension) for e in form.expressions):
        return False
    outer, inner = (level.format for level in form.stored)
    if outer not in (F.DENSE, F.COMPRESSED) or inner not in (F.COMPRESSED, F.SINGLETON, F.DELTA):
        return False
    return outer is not F.DENSE or inner is not F.COMPRESSED or not _by_rows(problem)


def are_in_order(problem: MatmulProblem) -> bool:
    """Whether they come row by row all the same, so that nothing is sorted."""
    return _by_rows(problem) and problem.sparse.format.stored[0].ordered


def _by_rows(problem: MatmulProblem) -> bool:
    """Whether the outer level has the rows of the result."""
    form = problem.sparse.format
    return form.dimensions.index(form.expressions[0]) == int(problem.transposed)


def is_added_faster(problem: MatmulProblem, threads: int) -> bool:
    """Whether entries are added to a vector, of which each thread has a copy, faster than values are looked for."""
    segments = problem.sparse.format.stored[1].format is not F.SINGLETON
    if not segments and problem.sparse.nse * np.dtype(problem.work).itemsize <= NEAR_BYTES:
        return False
    return problem.columns == 1 and (threads - 1) * problem.rows <= problem.sparse.nse


class RowsOf:
    """What finds the entries of a problem `are_apart` by rows, in a plan's temporary memory.

    Attributes
    ----------
    problem : MatmulProblem
        The same product of a matrix by rows.
    size : int
        Bytes of temporary memory.
    """

    def __init__(self, problem: MatmulProblem):
        sparse, form = problem.sparse, problem.sparse.format
        self.index_type, in_order = sparse.index_type, are_in_order(problem)
        inner_is_counted = form.stored[1].format is F.DELTA
        by_rows = sparse._replace(
            format=N.CSR, extents=(problem.rows, problem.summed), arrays=((False, False), (True, True))
        )
        self.problem = problem._replace(sparse=by_rows, transposed=False)
        itemsize = np.dtype(self.index_type).itemsize
        lengths = {
            "starts": problem.rows + 1,
            "columns": 0 if in_order and not inner_is_counted else sparse.nse,
            "places": 0 if in_order else sparse.nse + loops.AHEAD,
        }
        self.size, self.offsets = 0, dict[str, int | None]()
        for name, length in lengths.items():
            self.offsets[name] = self.size if length or name == "starts" else None
            self.size += -(-length * itemsize // ALIGNMENT) * ALIGNMENT
        extents = [sparse.extents[form.dimensions.index(e)] for e in form.expressions]
        words = {
            "outer": extents[0] if form.stored[0].format is F.DENSE else -1, "skips": int(inner_is_counted),
            "single": int(form.stored[1].format is F.SINGLETON), "rows": problem.rows,
            "inner": int(not _by_rows(problem)),
        } | {name: -1 if at is None else at // itemsize for name, at in self.offsets.items()}  # fmt: skip
        if not in_order and not sparse.nse:  # there is nothing to sort, but to count
            words["columns"] = words["places"]
        self.descriptor = Descriptor(loops.ROWS_OF_WORDS)
        self.descriptor.put(loops.ROWS_OF, words)
        self.told = form.name

    def arrays(self, places: Places) -> tuple[Sequence[Any], Sequence[Any], Any]:
        """Where programs find pos and crd of the levels of a matrix by rows, and where values are."""
        starts, columns, where = (
            None if at is None else Slot(places.workspace, at) for at in self.offsets.values()
        )
        return (None, starts), (None, columns or Slot(places.crd[1])), where

    def prologue(self, places: Places) -> tuple[Program, tuple[int, ...]]:
        """What finds the rows, and the operands that they are found from."""
        numbers = [n for pair in zip(places.pos, places.crd, strict=True) for n in pair]
        given = [0 if n is None else Slot(n) for n in numbers]
        find = Call(
            loops.FIND_ROWS[self.index_type], [self.descriptor.address, *given, Slot(places.workspace)],
            name="find rows", returns_status=True, error=self._error, keep=self.descriptor,
        )  # fmt: skip
        return Program([find], release_gil=False), tuple(n for n in numbers if n is not None)

    def _error(self, status: int, name: str) -> BaseException:
        return ValueError(
            f"the coordinates of the sparse operand are out of range, or not in the order that its format {self.told} "
            "promises; sort it with convert()"
        )
