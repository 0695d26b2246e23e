"""Conversions of matrices by rows to other usual formats: they take the place of the general ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

import planmath.sparse.ust.rows as rows
from planmath.native.threads import openmp_threads
from planmath.sparse.ust.conversion import Arrays
from planmath.sparse.ust.expressions import LevelExpr
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.named import NamedFormats as N

#: Blocks in a row up to which they are sorted by insertion.
MOST_BLOCKS = 1000
#: Below so many entries threads take longer to start than they save.
THREADED_ENTRIES = 50_000

#: Arrays, or None where they would be others than the general way's; and whether a value is zero.
Made = tuple[Arrays | None, bool]


def convert(
    source: TensorFormat, target: TensorFormat, extents: Sequence[int], arrays: Arrays, index_type: str,
    keep_zeros: bool, dtype: str,
) -> Arrays | None:  # fmt: skip
    """The arrays in another format, or None where there is no shorter way.

    They are those of the general way; what is the same in both formats is shared.
    """
    function = _function(source, target)
    indices = next(x for x in (*arrays.crd, arrays.val) if x is not None)
    if function is None or arrays.val.dtype.itemsize > 16 or indices.dtype.name != index_type:
        return None
    if index_type not in ("int32", "int64") or 0 in extents:
        return None
    threads = openmp_threads().number if len(indices) >= THREADED_ENTRIES else 1
    matrix = partial(rows.Matrix, val=arrays.val, mask=_bits_of_numbers(arrays.val.dtype, dtype), threads=threads)
    made, has_zero = function(tuple(extents), arrays, matrix)
    return made if keep_zeros or not has_zero else None


@lru_cache(maxsize=256)
def _function(source: TensorFormat, target: TensorFormat) -> Callable[..., Made] | None:
    """What converts between two formats, or None."""
    found = _TABLE.get((source.key, target.key))
    if found is None and source.key == N.CSR.key and (blocks := _blocks_of(target)) is not None:
        return partial(_to_blocks, *blocks)
    return found


@lru_cache(maxsize=256)
def _bits_of_numbers(given: np.dtype[Any], dtype: str) -> int:
    """The bits of a value that are zero if it is: all but signs."""
    kind = given.kind
    if given != dtype and kind in "iu":  # the bits of a dtype that NumPy lacks
        kind = "f"
    signs = {"f": 1 << (8 * given.itemsize - 1), "c": 1 << 63 | 1 << 31}.get(kind, 0)
    return ~signs & ((1 << 8 * min(given.itemsize, 8)) - 1)


def _blocks_of(form: TensorFormat) -> tuple[int, int] | None:
    """The extents of blocks that stand by rows, and each by rows; None where there are none."""
    if form.num_levels != 4 or form.num_dimensions != 2:
        return None
    sizes = [e.expression2 for e in form.expressions[:2] if isinstance(e, LevelExpr) and isinstance(e.expression2, int)]
    if len(sizes) != 2 or form.key != N.BSRRight((sizes[0], sizes[1])).key:
        return None
    return sizes[0], sizes[1]


def _transposed(extents: tuple[int, ...], arrays: Arrays, matrix: Any, by_rows: bool) -> Made:
    pos, crd, val = arrays.pos[1], arrays.crd[1], arrays.val
    by = extents if by_rows else extents[::-1]
    starts, across, moved = np.empty(by[1] + 1, pos.dtype), np.empty(len(crd), crd.dtype), np.empty_like(val)
    given = matrix(by, pos, crd)
    given.to_columns(starts, across, moved)
    return Arrays((None, starts), (None, across), moved), given.has_zero


def _to_list(extents: tuple[int, ...], arrays: Arrays, matrix: Any) -> Made:
    pos, crd = arrays.pos[1], arrays.crd[1]
    row, given = np.empty(len(crd), crd.dtype), matrix(extents, pos, crd)
    given.to_list(row)
    given.look_for_zeros()
    return Arrays((np.array([0, len(crd)], pos.dtype), None), (row, crd), arrays.val), given.has_zero


def _list_to_rows(extents: tuple[int, ...], arrays: Arrays, matrix: Any) -> Made:
    row, columns = arrays.crd
    if len(row) > 1 and ((row[1:] == row[:-1]) & (columns[1:] == columns[:-1])).any():
        return None, False
    pos = np.zeros(extents[0] + 1, row.dtype)
    np.cumsum(np.bincount(row, minlength=extents[0]), out=pos[1:])
    given = matrix(extents, pos, columns)
    given.look_for_zeros()
    return Arrays((None, pos), (None, columns), arrays.val), given.has_zero


def _to_blocks(m: int, n: int, extents: tuple[int, ...], arrays: Arrays, matrix: Any) -> Made:
    pos, crd, val = arrays.pos[1], arrays.crd[1], arrays.val
    starts, given = np.zeros(extents[0] // m + 1, pos.dtype), matrix(extents, pos, crd)
    count = given.count_blocks(m, n, starts)
    if np.diff(starts).max(initial=0) > MOST_BLOCKS:
        return None, False
    blocks, filled = np.empty(count, crd.dtype), np.zeros(count * m * n, val.dtype)
    given.to_blocks(starts, blocks, filled)
    return Arrays((None, starts, None, None), (None, blocks, None, None), filled), given.has_zero


def _to_diagonals(extents: tuple[int, ...], arrays: Arrays, matrix: Any, by_rows: bool) -> Made:
    m, n = extents
    pos, crd, val = arrays.pos[1], arrays.crd[1], arrays.val
    given = matrix(extents, pos, crd)
    diagonals, length = given.diagonals(), m if by_rows else n
    first = np.zeros(m + n - 1, np.int64)
    first[diagonals] = np.arange(len(diagonals)) * length
    filled = np.zeros(len(diagonals) * length, val.dtype)
    given.to_diagonals(first, by_rows, filled)
    offsets = (diagonals - (m - 1)).astype(crd.dtype)
    return Arrays((np.array([0, len(offsets)], pos.dtype), None), (offsets, None), filled), given.has_zero


_TABLE: dict[tuple[Hashable, Hashable], Callable[..., Made]] = {
    (N.CSR.key, N.CSC.key): partial(_transposed, by_rows=True),
    (N.CSC.key, N.CSR.key): partial(_transposed, by_rows=False),
    (N.CSR.key, N.COO.key): _to_list,
    (N.COO.key, N.CSR.key): _list_to_rows,
    (N.CSR.key, N.DIAJ.key): partial(_to_diagonals, by_rows=False),
    (N.CSR.key, N.DIAI.key): partial(_to_diagonals, by_rows=True),
}
