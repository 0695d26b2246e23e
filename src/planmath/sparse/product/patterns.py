"""What planning finds out of where the entries of sparse operands are: the pattern of a product, and how to reach it.

All arrays are NumPy's, on the host, and belong to the plan: index arrays that a user changes in place have no effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import planmath.sparse.product.symbolic as symbolic
from planmath.sparse.product.pair_problem import PairProblem, lies_by_columns
from planmath.sparse.product.problem import Sparse, summary
from planmath.sparse.product.sampled_problem import SampledProblem
from planmath.sparse.ust.conversion import Arrays, as_batches, expand
from planmath.sparse.ust.levels import LevelFormat as F
from planmath.sparse.ust.named import NamedFormats as N
from planmath.sparse.ust.packages import to_host
from planmath.sparse.ust.tensor import Tensor


class Rows(NamedTuple):
    """The entries of a matrix by its rows."""

    pos: np.ndarray
    """Where the entries of each row begin, and where the last one's end."""
    crd: np.ndarray
    """The column of each."""
    places: np.ndarray | None
    """Where each one's value is; None where number n has the value number n."""

    @property
    def height(self) -> int:
        """How many rows there are."""
        return len(self.pos) - 1

    def as_indices(self, dtype: Any) -> Rows:
        return self._replace(pos=self.pos.astype(dtype, copy=False), crd=self.crd.astype(dtype, copy=False))

    def is_same(self, other: Rows) -> bool:
        """Whether entries are at the same places in both."""
        if (self.places is None) != (other.places is None):
            return False
        pairs = [(x, y) for x, y in zip(self, other, strict=True) if x is not None and y is not None]
        return all(np.array_equal(x, y) for x, y in pairs)


def _host(tensor: Tensor) -> Arrays:
    levels = range(tensor.num_levels)
    pos, crd = (
        tuple(None if x is None else to_host(x) for x in (of(n) for n in levels)) for of in (tensor.pos, tensor.crd)
    )
    return Arrays(pos, crd, np.empty(0))  # of the values nothing is asked


def rows_of(tensor: Tensor, by_columns: bool = False) -> Rows:
    """The entries of a sparse matrix by its rows, or by its columns, as index arrays of the plan's own."""
    storage = tensor.tensor_format.storage
    if storage == (N.CSC if by_columns else N.CSR).storage:
        host = _host(tensor)
        return Rows(np.array(host.pos[1]), np.array(host.crd[1]), None)
    row, column = _indices(tensor)[0]
    if by_columns:
        row, column = column, row
    return sorted_rows(row, column, tensor.extents[by_columns], _indices(tensor)[1])


def _indices(tensor: Tensor) -> tuple[list[np.ndarray], np.ndarray | None]:
    """The index of each dimension for each entry, and where its value is."""
    entries = expand(tensor.tensor_format, tensor.extents, _host(tensor))
    return entries.indices, entries.places


def sorted_rows(row: np.ndarray, column: np.ndarray, count: int, places: np.ndarray | None) -> Rows:
    """Entries by rows, in the order in which they are within each."""
    pos = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=count), out=pos[1:])
    if len(row) < 2 or (row[1:] >= row[:-1]).all():
        return Rows(pos, column, places)
    order = symbolic.order_of(np.ascontiguousarray(row, np.int64), pos)
    return Rows(pos, column[order], order if places is None else places[order])


class ProductPattern:
    """Where the entries of a product of two sparse tensors are.

    It is that of the matrix `first` times the matrix `second`, which are a and b, all matrices of a batch below each
    other; or with `flipped` the transposed ones of b and a, of which the product is the transposed result.

    Attributes
    ----------
    first, second : Rows
    flipped : bool
    columns : int
        Of the second matrix.
    result : Rows or None
        Of the product; its `places` say where values are in c where that gives the pattern. None where it is dense.
    products : int
        Multiplications.
    """

    def __init__(self, problem: PairProblem, tensors: Mapping[str, Tensor]):
        self.flipped = _is_flipped(problem)
        first, second = _factors(problem, tensors, self.flipped)
        self.columns = problem.rows if self.flipped else problem.columns
        sizes = (first.height, second.height, self.columns, len(first.crd), len(second.crd))
        index: Any = np.int32 if max(sizes) < 2**31 else np.int64
        self.first, self.second = first.as_indices(index), second.as_indices(index)
        self.products = symbolic.products(self.first.pos, self.first.crd, self.second.pos)
        self.result: Rows | None = None
        if problem.result is None:
            return
        if problem.inplace:
            self.result = _batched_rows(tensors["c"], problem, self.flipped)
        else:
            pos, crd = symbolic.pattern(*self.first[:2], *self.second[:2], self.columns)
            if problem.result.format.stored[0].format is F.BATCH:
                pos, crd = symbolic.evened(pos, crd, math.prod(problem.batch), self.columns)
            self.result = Rows(pos, crd, None)
        if len(self.result.crd) < 2**31:
            self.result = self.result.as_indices(index)
        else:
            self.first, self.second, self.result = (
                x.as_indices(np.int64) for x in (self.first, self.second, self.result)
            )

    def index_arrays(self, problem: PairProblem) -> Arrays:
        """The index arrays of a new sparse result in its format, without values."""
        assert self.result is not None
        assert problem.result is not None
        form, index = problem.result.format, problem.result.index_type
        pos, crd = self.result.pos.astype(index), self.result.crd.astype(index)
        a_vector, b_vector = len(problem.a.extents) == 1, len(problem.b.extents) == 1
        row = np.repeat(np.arange(self.result.height), np.diff(pos))
        if form.num_levels == 1:
            if b_vector:  # the one column of it
                crd = row.astype(index)
            return Arrays((np.array([0, len(crd)], index),), (crd,), None)
        if form.stored[0].format.has_positions:  # a list
            *batch, last = np.unravel_index(row, (*problem.batch, problem.rows)) if problem.batch else (row,)
            crds = [*batch, *(() if a_vector else (last,)), *(() if b_vector else (crd,))]
            above = (None,) * (len(crds) - 1)
            each = tuple(np.ascontiguousarray(x, index) for x in crds)
            return Arrays((np.array([0, len(crd)], index), *above), each, None)
        if b_vector:  # the rows of a matrix are the elements of a vector, of which there is one for each of the batch
            pos = pos[:: problem.rows].copy() if problem.rows else np.zeros(math.prod(problem.batch) + 1, index)
            crd = (row % max(problem.rows, 1)).astype(index)
        above = (None,) * (form.num_levels - 1)
        if form.stored[0].format is F.BATCH:
            pos, crd = as_batches(form, problem.batch, problem.rows, pos, crd)
        return Arrays((*above, pos), (*above, crd), None)

    def is_same(self, problem: PairProblem, tensors: Mapping[str, Tensor]) -> bool:
        """Whether tensors have their entries where those that it was made of had them."""
        first, second = _factors(problem, tensors, self.flipped)
        if not (first.is_same(self.first) and second.is_same(self.second)):
            return False
        return not problem.inplace or self.result is None or (
            _batched_rows(tensors["c"], problem, self.flipped).is_same(self.result)
        )


def _is_flipped(problem: PairProblem) -> bool:
    """Whether the transposed product is computed: where results and operands lie by columns."""
    if problem.batch or 1 in (len(problem.a.extents), len(problem.b.extents)):
        return False
    if problem.result is None:
        assert problem.c is not None
        return abs(problem.c.row) < abs(problem.c.column)
    return lies_by_columns(problem.result, False)


def _factors(problem: PairProblem, tensors: Mapping[str, Tensor], flipped: bool) -> tuple[Rows, Rows]:
    a, b = tensors["a"], tensors["b"]
    if not problem.batch:
        by_columns = [flag != flipped for flag in problem.transposed]
        both = [
            rows_of(x, flag) if x.num_dimensions == 2 else _vector(x, is_row)
            for x, flag, is_row in ((a, by_columns[0], True), (b, by_columns[1], False))
        ]
        return (both[1], both[0]) if flipped else (both[0], both[1])
    count = math.prod(problem.batch)
    stacked = b.num_dimensions <= 2  # all matrices of a times one b
    first = _stacked(a, problem.batch, problem.transposed[0], problem.rows, 0 if stacked else problem.summed)
    if stacked:
        return first, (_vector(b, False) if b.num_dimensions == 1 else rows_of(b, problem.transposed[1]))
    assert count >= 0
    return first, _stacked(b, problem.batch, problem.transposed[1], problem.summed, 0)


def _vector(tensor: Tensor, is_row: bool) -> Rows:
    (index,), places = _indices(tensor)
    nothing = np.zeros(len(index), np.int64)
    if is_row:
        return Rows(np.array([0, len(index)]), index, places)
    return sorted_rows(index, nothing, tensor.extents[0], places)


def _stacked(tensor: Tensor, batch: tuple[int, ...], transposed: bool, rows: int, apart: int) -> Rows:
    """The matrices of a batch below each other, the columns of each `apart` from those of the one before."""
    (*outer, row, column), places = _indices(tensor) if tensor.num_dimensions > 1 else _as_row(tensor)
    if transposed and tensor.num_dimensions > 1:
        row, column = column, row
    count = math.prod(batch)
    if outer:
        number = np.ravel_multi_index(outer, batch)
    else:  # the same for all
        places = np.tile(np.arange(len(row)) if places is None else places, count)
        number = np.repeat(np.arange(count), len(row))
        row, column = np.tile(row, count), np.tile(column, count)
    return sorted_rows(number * rows + row, column + number * apart, count * rows, places)


def _as_row(tensor: Tensor) -> tuple[list[np.ndarray], np.ndarray | None]:
    (index,), places = _indices(tensor)
    return [np.zeros(len(index), np.int64), index], places


def _batched_rows(c: Tensor, problem: PairProblem, flipped: bool) -> Rows:
    """The entries of a sparse c, as the product has them."""
    if c.num_dimensions == 2 and not problem.batch:
        return rows_of(c, flipped)
    indices, places = _indices(c)
    *outer, last = _with_vectors(indices, (len(problem.a.extents) == 1, len(problem.b.extents) == 1))
    shape = (*problem.batch, problem.rows)
    row = np.ravel_multi_index(outer, shape) if len(outer) > 1 else outer[0]
    return sorted_rows(row, last, math.prod(shape), places)


class EntriesPattern:
    """Where the entries of a sparse c are, and what of dense operands each is a product of.

    Attributes
    ----------
    a, b : array of int32 or int64
        Of each entry, the number of the row of a and the number of the column of b, batches behind each other.
    places : array or None
        Where each one's value is; None where number n has the value number n.
    """

    def __init__(self, problem: SampledProblem, tensors: Mapping[str, Tensor]):
        indices, self.places = self._entries(tensors["c"])
        *batch, row, column = _with_vectors(indices, problem.vectors)
        number = np.ravel_multi_index(batch, problem.batch) if batch else np.zeros(len(row), np.int64)
        a = row + (number * problem.rows if problem.a.batch else 0)
        b = column + (number * problem.columns if problem.b.batch else 0)
        count = max(math.prod(problem.batch), 1) * max(problem.rows, problem.columns)
        index: Any = np.int32 if count < 2**31 else np.int64
        self.a, self.b = np.array(a, index), np.array(b, index)

    @staticmethod
    def _entries(c: Tensor) -> tuple[list[np.ndarray], np.ndarray | None]:
        return _indices(c)

    def is_same(self, problem: SampledProblem, tensors: Mapping[str, Tensor]) -> bool:
        """Whether a tensor has its entries where the one that it was made of had them."""
        other = EntriesPattern(problem, tensors)
        places = (self.places is None) == (other.places is None) and (
            self.places is None or np.array_equal(self.places, other.places)  # type: ignore[arg-type]
        )
        return bool(places) and np.array_equal(self.a, other.a) and np.array_equal(self.b, other.b)


def _with_vectors(indices: list[np.ndarray], vectors: tuple[bool, bool]) -> list[np.ndarray]:
    """Indices of entries with those of rows and columns, also where a or b is a vector."""
    nothing = np.zeros(len(indices[0]), np.int64)
    if vectors[0]:
        return [*indices[:-1], nothing, indices[-1]] if not vectors[1] else [nothing, nothing]
    return [*indices, nothing] if vectors[1] else list(indices)


def planned(problem: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The problem with the pattern of these tensors, where it has one.

    Raises
    ------
    ValueError
        If the result has more entries than its index type counts.
    """
    if problem.kind == "sampled":
        return problem._replace(sparse=summary(tensors["c"]), pattern=EntriesPattern(problem, tensors))
    if problem.kind != "pair":
        return problem
    problem = problem._replace(a=summary(tensors["a"]), b=summary(tensors["b"]))
    pattern = ProductPattern(problem, tensors)
    result = problem.result
    if result is not None:
        assert pattern.result is not None
        count = len(pattern.result.crd)
        if not problem.inplace and count > np.iinfo(result.index_type).max:
            raise ValueError(
                f"the product has {count} entries, which {result.index_type} does not count; convert the indices of a "
                "or b to int64"
            )
        result = summary(tensors["c"]) if problem.inplace else result._replace(nse=count)
    return problem._replace(result=result, pattern=pattern)


def new_result(problem: PairProblem, val: Any, put: Any, package: str) -> Tensor:
    """A sparse result over its values, with index arrays of its own.

    Parameters
    ----------
    problem : PairProblem
        With its pattern.
    val : array
    put : callable
        Makes arrays of the operands' package of NumPy's.
    package : str
    """
    result: Sparse | None = problem.result
    assert result is not None
    arrays = problem.pattern.index_arrays(problem)
    pos, crd = (tuple(None if x is None else put(x) for x in of) for of in (arrays.pos, arrays.crd))
    return Tensor._of(result.extents, result.format, Arrays(pos, crd, val), package)
