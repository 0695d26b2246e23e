"""Conversions of matrices by rows to other usual formats: they take the place of the general ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial

import numpy as np

import planmath.sparse.ust.rows as rows
from planmath.sparse.ust.conversion import Arrays
from planmath.sparse.ust.expressions import LevelExpr
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.named import NamedFormats as N

#: Blocks in a row up to which they are sorted by insertion.
MOST_BLOCKS = 1000


def convert(
    source: TensorFormat, target: TensorFormat, extents: Sequence[int], arrays: Arrays, index_type: str,
    keep_zeros: bool, dtype: str,
) -> Arrays | None:  # fmt: skip
    """The arrays in another format, or None where there is no shorter way.

    Those of the two ways are the same.
    """
    function = _TABLE.get((source.key, target.key))
    if function is None and source.key == N.CSR.key and (blocks := _blocks_of(target)) is not None:
        function = partial(_to_blocks, *blocks)
    indices = next(x for x in (*arrays.crd, arrays.val) if x is not None)
    if function is None or arrays.val.dtype.itemsize > 16 or indices.dtype.name != index_type:
        return None
    if index_type not in ("int32", "int64"):
        return None
    if not keep_zeros and rows.has_zero(rows.as_bits(arrays.val), _bits_of_numbers(arrays.val, dtype)):
        return None
    return function(tuple(extents), arrays, index_type)


def _bits_of_numbers(values: np.ndarray, dtype: str) -> int:
    """The bits of a value that are zero if it is: all but signs."""
    kind = values.dtype.kind
    if values.dtype != dtype and kind in "iu":  # the bits of a dtype that NumPy lacks
        kind = "f"
    signs = {"f": 1 << (8 * values.dtype.itemsize - 1), "c": 1 << 63 | 1 << 31}.get(kind, 0)
    return ~signs & ((1 << 8 * min(values.dtype.itemsize, 8)) - 1)


def _blocks_of(form: TensorFormat) -> tuple[int, int] | None:
    """The extents of blocks that stand by rows, and each by rows; None where there are none."""
    if form.num_levels != 4 or form.num_dimensions != 2:
        return None
    sizes = [e.expression2 for e in form.expressions[:2] if isinstance(e, LevelExpr) and isinstance(e.expression2, int)]
    if len(sizes) != 2 or form.key != N.BSRRight((sizes[0], sizes[1])).key:
        return None
    return sizes[0], sizes[1]


def _transposed(extents: tuple[int, ...], arrays: Arrays, index_type: str, by_rows: bool) -> Arrays:
    pos, crd, val = arrays.pos[1], arrays.crd[1], arrays.val
    columns = extents[1] if by_rows else extents[0]
    starts, across = np.zeros(columns + 1, index_type), np.empty(len(crd), index_type)
    moved = np.empty_like(val)
    rows.to_columns(pos, crd, rows.as_bits(val), columns, starts, across, rows.as_bits(moved))
    return Arrays((None, starts), (None, across), moved)


def _to_list(extents: tuple[int, ...], arrays: Arrays, index_type: str) -> Arrays:
    pos, crd = arrays.pos[1], arrays.crd[1]
    row = np.empty(len(crd), index_type)
    rows.to_list(pos, row)
    return Arrays((np.array([0, len(crd)], index_type), None), (row, crd.copy()), arrays.val.copy())


def _list_to_rows(extents: tuple[int, ...], arrays: Arrays, index_type: str) -> Arrays | None:
    row, columns = arrays.crd
    if len(row) > 1 and ((row[1:] == row[:-1]) & (columns[1:] == columns[:-1])).any():
        return None
    pos = np.zeros(extents[0] + 1, index_type)
    np.cumsum(np.bincount(row, minlength=extents[0]), out=pos[1:])
    return Arrays((None, pos), (None, columns.copy()), arrays.val.copy())


def _to_blocks(
    m: int, n: int, extents: tuple[int, ...], arrays: Arrays, index_type: str
) -> Arrays | None:
    pos, crd, val = arrays.pos[1], arrays.crd[1], arrays.val
    starts = np.zeros(extents[0] // m + 1, index_type)
    count = rows.count_blocks(pos, crd, extents[1], m, n, starts)
    if np.diff(starts).max(initial=0) > MOST_BLOCKS:
        return None
    blocks, filled = np.empty(count, index_type), np.zeros(count * m * n, val.dtype)
    rows.to_blocks(pos, crd, rows.as_bits(val), extents[1], m, n, starts, blocks, rows.as_bits(filled))
    return Arrays((None, starts, None, None), (None, blocks, None, None), filled)


def _to_diagonals(extents: tuple[int, ...], arrays: Arrays, index_type: str, by_rows: bool) -> Arrays:
    m, n = extents
    pos, crd, val = arrays.pos[1], arrays.crd[1], arrays.val
    present = np.zeros(max(m + n - 1, 0), np.uint8)
    rows.mark_diagonals(pos, crd, present)
    (diagonals,) = np.nonzero(present)
    length = m if by_rows else n
    first = np.zeros(len(present), np.int64)
    first[diagonals] = np.arange(len(diagonals)) * length
    filled = np.zeros(len(diagonals) * length, val.dtype)
    rows.to_diagonals(pos, crd, rows.as_bits(val), first, by_rows, rows.as_bits(filled))
    offsets = (diagonals - (m - 1)).astype(index_type)
    return Arrays((np.array([0, len(offsets)], index_type), None), (offsets, None), filled)


_TABLE: dict[tuple[Hashable, Hashable], Callable[..., Arrays | None]] = {
    (N.CSR.key, N.CSC.key): partial(_transposed, by_rows=True),
    (N.CSC.key, N.CSR.key): partial(_transposed, by_rows=False),
    (N.CSR.key, N.COO.key): _to_list,
    (N.COO.key, N.CSR.key): _list_to_rows,
    (N.CSR.key, N.DIAJ.key): partial(_to_diagonals, by_rows=False),
    (N.CSR.key, N.DIAI.key): partial(_to_diagonals, by_rows=True),
}
