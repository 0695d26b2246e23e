"""Tensors from files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np


def read(filename: Any) -> tuple[tuple[int, ...], list[np.ndarray], np.ndarray, str]:
    """Extents, indices of each dimension, values, and the index type of what a file holds."""
    path = Path(filename)
    reader = {".mtx": _read_matrix_market, ".tns": _read_frostt}.get(path.suffix)
    if reader is None:
        raise TypeError(f"filename is {str(filename)!r}; expected one that ends with .mtx or .tns")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(filename)!r}")
    return reader(path)


def _read_matrix_market(path: Path) -> tuple[tuple[int, ...], list[np.ndarray], np.ndarray, str]:
    import scipy.io
    import scipy.sparse

    matrix = scipy.sparse.coo_array(scipy.io.mmread(path))
    return tuple(matrix.shape), [matrix.row.astype(np.int64), matrix.col.astype(np.int64)], matrix.data, "int32"


def _read_frostt(path: Path) -> tuple[tuple[int, ...], list[np.ndarray], np.ndarray, str]:
    try:
        table = np.loadtxt(io.StringIO(path.read_text()), comments="#", ndmin=2)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no table of indices and values: {error}") from None
    if table.size == 0 or table.shape[1] < 2:
        raise ValueError(f"{str(path)!r} has no entries; expected lines of indices, counted from 1, and a value")
    indices = table[:, :-1].astype(np.int64) - 1
    if (indices != table[:, :-1] - 1).any() or (indices < 0).any():
        raise ValueError(f"{str(path)!r} has indices that are no positive integers")
    extents = tuple(int(n) + 1 for n in indices.max(axis=0))
    return extents, [np.ascontiguousarray(column) for column in indices.T], table[:, -1].copy(), "int64"
