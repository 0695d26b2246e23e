"""Conversions that SciPy has compiled, or that need no work: they take the place of the general ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from planmath.sparse.ust.conversion import Arrays
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.named import NamedFormats as N

#: Value dtypes of SciPy's compiled conversions.
DTYPES = frozenset(
    [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
    + ["float32", "float64", "complex64", "complex128"]
)


def convert(
    source: TensorFormat, target: TensorFormat, extents: Sequence[int], arrays: Arrays, index_type: str,
    keep_zeros: bool,
) -> Arrays | None:  # fmt: skip
    """The arrays in another format, or None where there is no shorter way.

    Those of the two ways are the same.
    """
    function = _TABLE.get((source.key, target.key))
    indices = next(x for x in (*arrays.crd, arrays.val) if x is not None)
    if function is None or arrays.val.dtype.name not in DTYPES or indices.dtype.name != index_type:
        return None
    if index_type not in ("int32", "int64") or (not keep_zeros and not arrays.val.all()):
        return None
    return function(tuple(extents), arrays, index_type)


def _matrix(name: str, level: int, extents: tuple[int, ...], arrays: Arrays) -> Any:
    import scipy.sparse

    make = getattr(scipy.sparse, f"{name}_array")
    made = make((arrays.val, arrays.crd[level], arrays.pos[level]), shape=extents, copy=False)
    made.has_canonical_format = True
    return made


def _transposed(name: str, other: str) -> Callable[..., Arrays]:
    def convert(extents: tuple[int, ...], arrays: Arrays, index_type: str) -> Arrays:
        made = getattr(_matrix(name, 1, extents, arrays), f"to{other}")()
        return Arrays((None, _as(made.indptr, index_type)), (None, _as(made.indices, index_type)), made.data)

    return convert


def _as(array: np.ndarray, index_type: str) -> np.ndarray:
    return array.astype(index_type, copy=False)


def _rows_to_list(extents: tuple[int, ...], arrays: Arrays, index_type: str) -> Arrays:
    pos, crd = arrays.pos[1], arrays.crd[1]
    rows = np.repeat(np.arange(extents[0], dtype=index_type), np.diff(pos))
    return Arrays((np.array([0, len(crd)], index_type), None), (rows, crd.copy()), arrays.val.copy())


def _list_to_rows(extents: tuple[int, ...], arrays: Arrays, index_type: str) -> Arrays | None:
    rows, columns = arrays.crd
    if len(rows) > 1 and ((rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1])).any():
        return None
    pos = np.zeros(extents[0] + 1, index_type)
    np.cumsum(np.bincount(rows, minlength=extents[0]), out=pos[1:])
    return Arrays((None, pos), (None, columns.copy()), arrays.val.copy())


def _to_diagonals(extents: tuple[int, ...], arrays: Arrays, index_type: str) -> Arrays:
    m, n = extents
    pos, crd = arrays.pos[1], arrays.crd[1]
    number = crd + np.repeat(np.arange(m - 1, -1, -1, dtype=index_type), np.diff(pos))
    present = np.zeros(max(m + n - 1, 0), bool)
    present[number] = True
    (diagonals,) = np.nonzero(present)
    place = np.zeros(len(present), np.int64)
    place[diagonals] = np.arange(len(diagonals))
    val = np.zeros(len(diagonals) * n, arrays.val.dtype)
    val[place[number] * n + crd] = arrays.val
    offsets = (diagonals - (m - 1)).astype(index_type)
    return Arrays((np.array([0, len(offsets)], index_type), None), (offsets, None), val)


_TABLE: dict[tuple[Hashable, Hashable], Callable[..., Arrays | None]] = {
    (N.CSR.key, N.CSC.key): _transposed("csr", "csc"),
    (N.CSC.key, N.CSR.key): _transposed("csc", "csr"),
    (N.CSR.key, N.COO.key): _rows_to_list,
    (N.COO.key, N.CSR.key): _list_to_rows,
    (N.CSR.key, N.DIAJ.key): _to_diagonals,
}
