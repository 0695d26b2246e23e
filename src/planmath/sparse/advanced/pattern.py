"""Where a matrix has entries: checked once, in linear time, and kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays.numpy_arrays import name_of
from planmath.native.call import Call, Slot
from planmath.native.forks import computed
from planmath.sparse.advanced import block_lu, kernels
from planmath.sparse.advanced.block_lu import BlockOrder
from planmath.sparse.advanced.enums import DEFINITE
from planmath.sparse.advanced.enums import DirectSolverMatrixType as MatrixType
from planmath.sparse.advanced.enums import DirectSolverMatrixViewType as View
from planmath.sparse.advanced.errors import SingularMatrixError
from planmath.sparse.advanced.kernels import address

#: What the check says, with the row and the column that it stopped at.
COMPLAINTS = {
    kernels.START: "{name} has row starts that begin with {first}; expected 0",
    kernels.DECREASING: "{name} has row starts that decrease at row {row}; they must not",
    kernels.LENGTH: "{name} has row starts that end beyond its {length} entries, in row {row}",
    kernels.RANGE: "{name} has the column index {column} in row {row}, which is out of range for {n} columns",
    kernels.UNSORTED: "{name} has unsorted column indices in row {row} (at column {column}); {sort}",
    kernels.DUPLICATE: "{name} has the column {column} twice in row {row}; {sum}",
}
MENDS = {
    "numpy": {"sort": "call {name}.sort_indices()", "sum": "call {name}.sum_duplicates()"},
    "cupy": {"sort": "call {name}.sort_indices()", "sum": "call {name}.sum_duplicates()"},
    "torch": {"sort": "sort them in each row", "sum": "make the tensor by to_sparse_coo().coalesce().to_sparse_csr()"},
}


class Arrangement(NamedTuple):
    """The pattern in another form, and where each entry's value comes from."""

    starts: np.ndarray
    columns: np.ndarray
    source: np.ndarray | None
    """Number of the value plus 1; negative where it is to be conjugated, 0 where it is zero. None: as they are."""


class Pairs(NamedTuple):
    """The numbers of entries that mirror each other, and of those on the diagonal (-1 where there is none)."""

    lower: np.ndarray
    upper: np.ndarray
    diagonal: np.ndarray


class Pattern:
    """The positions of a matrix's entries.

    Parameters
    ----------
    starts, columns : numpy.ndarray
        Of int32 or int64, and copied: what a user does to his arrays later does not reach the library.
    kind : DirectSolverMatrixType
    view : DirectSolverMatrixViewType
    name : str
        What messages call the matrix.
    package : str

    Raises
    ------
    ValueError
        If they are not a matrix of that kind, whose columns are sorted.
    SingularMatrixError
        If there is a row or a column without entries.
    """

    def __init__(self, starts: np.ndarray, columns: np.ndarray, kind: MatrixType, view: View, name: str, package: str):
        self.n = len(starts) - 1
        self.kind, self.view = kind, view
        self.index_dtype = name_of(starts.dtype)
        if self.index_dtype not in kernels.CHECK or columns.dtype != starts.dtype:
            raise ValueError(
                f"{name} has row starts of {starts.dtype} and column indices of {columns.dtype}; expected int32 or "
                "int64 for both: convert them"
            )
        facts, seen = np.empty(kernels.FACTS, np.int64), np.zeros(self.n, np.uint8)
        self.starts, columns = np.array(starts), np.ascontiguousarray(columns)
        check = CHECK[self.index_dtype]
        wrong = check(self.n, len(columns), view, *map(address, (self.starts, columns, seen, facts)))
        row, column = int(facts[kernels.ROW]), int(facts[kernels.COLUMN])
        if wrong:
            mends = {key: text.format(name=name) for key, text in MENDS[package].items()}
            raise ValueError(
                COMPLAINTS[wrong].format(
                    name=name, row=row, column=column, n=self.n, length=len(columns), first=self.starts[0], **mends
                )
            )
        self.nnz = int(self.starts[-1])
        self.columns = np.array(columns[: self.nnz])
        self.bandwidths = int(facts[kernels.LOWER_BANDWIDTH]), int(facts[kernels.UPPER_BANDWIDTH])
        if view != View.FULL:
            self.bandwidths = (max(self.bandwidths),) * 2
        self.checksum = int(facts[kernels.CHECKSUM])
        self.has_diagonal = facts[kernels.NO_DIAGONAL] < 0
        for what, fact in (("row", kernels.EMPTY_ROW), ("column", kernels.EMPTY_COLUMN)):
            if facts[fact] >= 0:
                raise SingularMatrixError(
                    f"{name} has no entry in {what} {facts[fact]}, so it is singular whatever its values",
                    int(facts[fact]),
                )
        if kind in DEFINITE and not self.has_diagonal:
            row = int(facts[kernels.NO_DIAGONAL])
            raise ValueError(
                f"{name} has no entry on the diagonal in row {row}, so it is not positive definite; "
                "use sparse_system_type SYMMETRIC or HERMITIAN"
            )
        if kind != MatrixType.GENERAL and view == View.FULL and self.pairs is None:
            raise ValueError(
                f"{name} has a pattern that is not symmetric, but options.sparse_system_type is {kind.name}; "
                "use GENERAL, or a sparse_system_view of LOWER or UPPER where it holds one triangle only"
            )

    def __repr__(self) -> str:
        return f"Pattern(n={self.n}, nnz={self.nnz}, {self.index_dtype}, {self.checksum:x})"

    @property
    def hermitian(self) -> bool:
        return self.kind in (MatrixType.HERMITIAN, MatrixType.HPD)

    def fits(self, starts: np.ndarray, columns: np.ndarray) -> bool:
        """Whether these arrays have the dtype and the lengths of the pattern's."""
        same_dtypes = starts.dtype == self.starts.dtype and columns.dtype == self.columns.dtype
        return same_dtypes and starts.shape == self.starts.shape and len(columns) >= self.nnz

    def same(self, starts: np.ndarray, columns: np.ndarray) -> bool:
        """Whether these arrays have the pattern: a comparison of memory, of some 10 GB/s."""
        if not self.fits(starts, columns):
            return False
        if not (starts.flags.c_contiguous and columns.flags.c_contiguous):
            return bool(np.array_equal(starts, self.starts) and np.array_equal(columns[: self.nnz], self.columns))
        return bool(
            not DIFFER(self.starts.nbytes, address(self.starts), address(starts))
            and not DIFFER(self.columns.nbytes, address(self.columns), address(columns))
        )

    @computed
    def rows(self) -> np.ndarray:
        """The row of each entry."""
        return np.repeat(np.arange(self.n, dtype=np.int64), np.diff(self.starts))

    @computed
    def pairs(self) -> Pairs | None:
        """Each entry below the diagonal with its mirror image; None where one has none. Of a triangle, the diagonal."""
        both = self.view == View.FULL
        lower, upper = (np.empty(self.nnz // 2 if both else 0, self.starts.dtype) for _ in range(2))
        diagonal, following = np.empty_like(self.starts[1:]), np.empty_like(self.starts[1:])
        arrays = (self.starts, self.columns, lower, upper, diagonal)
        if PAIRS[self.index_dtype](self.n, *map(address, arrays), address(following) if both else 0):
            return None
        count = (self.nnz - np.count_nonzero(diagonal >= 0)) // 2
        return Pairs(lower[:count], upper[:count], diagonal)

    def symmetries(self, values: np.ndarray, pairs: bool = True) -> int:
        """What these values are: a sum of SYMMETRIC, HERMITIAN and POSITIVE_DIAGONAL (kernels.h).

        Where neither of the first two holds, it is 0. Without pairs, only the diagonal is looked at.
        """
        if self.pairs is None:
            return 0
        check, arguments = self.lacking(name_of(values.dtype), pairs, address(values), -1)
        return check(*arguments)

    def lacking(self, dtype: str, pairs: bool, values: int | Slot, expected: int) -> tuple[Call, tuple[Any, ...]]:
        """The call that returns whether values of a symmetric pattern are not what is expected, with its arguments."""
        assert self.pairs is not None
        lower, upper, diagonal = self.pairs
        count = len(lower) if pairs else 0
        return SYMMETRIES[self.index_dtype, dtype], (
            self.n, count, address(lower), address(upper), address(diagonal), values, expected,
        )  # fmt: skip

    def differs(self, starts: int | Slot, columns: int | Slot) -> list[tuple[Call, tuple[Any, ...]]]:
        """The calls that return whether dense arrays of the pattern's dtype and lengths are not the pattern's."""
        both = (self.starts, starts), (self.columns, columns)
        return [(DIFFER, (own.nbytes, address(own), other)) for own, other in both]

    @computed
    def upper(self) -> Arrangement:
        """The entries on and above the diagonal, with a whole diagonal."""
        room = self.nnz + self.n
        starts, columns = np.empty_like(self.starts), np.empty(room, self.starts.dtype)
        source = np.empty(room, np.int64)
        arrays = map(address, (self.starts, self.columns, starts, columns, source))
        UPPER_PART[self.index_dtype](self.n, self.view, -1 if self.hermitian else 1, *arrays)
        count = int(starts[-1])
        return self._arrangement(starts, columns[:count].copy(), source[:count].copy())

    @computed
    def full(self) -> Arrangement:
        """All entries, those of the mirrored triangle as well."""
        return Arrangement(self.starts, self.columns, None) if self.view == View.FULL else self.mirrored

    @computed
    def blocks(self) -> BlockOrder:
        """The whole matrix's blocks, with a diagonal that has entries, in any order within them."""
        return BlockOrder(*self._narrow, block_lu.UNORDERED)

    @computed
    def block_order(self) -> BlockOrder:
        """The order in which the whole matrix is eliminated by blocks, with pivots on the diagonal."""
        return BlockOrder(*self._narrow, block_lu.BY_DIAGONAL, self._ordered)

    @computed
    def column_block_order(self) -> BlockOrder:
        """The same for whatever pivots the values ask for."""
        return BlockOrder(*self._narrow, block_lu.BY_COLUMNS, self._ordered)

    @property
    def _ordered(self) -> BlockOrder | None:
        """What there is already that has the blocks."""
        known = vars(self)
        return next((known[n] for n in ("blocks", "block_order", "column_block_order") if n in known), None)

    def matched(self) -> int:
        """How many rows can have a pivot of their own."""
        return self.n if self.has_diagonal else (self._ordered or self.blocks).matched

    def weak(self, dtype: str, values: int, threshold: float) -> int:
        """How many rows of the values at an address, those of all entries, have an entry on the diagonal of the blocks
        that is less than this part of the largest one."""
        own = None if self.has_diagonal else self._ordered or self.blocks
        return int(block_lu.weak(*self._narrow, own, dtype, values, threshold))

    @computed
    def _narrow(self) -> tuple[np.ndarray, np.ndarray]:
        starts, columns, _ = self.full
        return starts.astype(np.int32, copy=False), columns.astype(np.int32, copy=False)

    @computed
    def mirrored(self) -> Arrangement:
        """All entries of a symmetric or Hermitian matrix as one triangle has them: the upper one, of a full view."""
        rows, columns, source = self.rows, self.columns.astype(np.int64), np.arange(1, self.nnz + 1)
        counts = columns <= rows if self.view == View.LOWER else columns >= rows
        rows, columns, source = rows[counts], columns[counts], source[counts]
        mirror = rows != columns
        sign = -1 if self.hermitian else 1
        return self._arranged(
            np.concatenate([rows, columns[mirror]]), np.concatenate([columns, rows[mirror]]),
            np.concatenate([source, sign * source[mirror]]),
        )  # fmt: skip

    def _arranged(self, rows: np.ndarray, columns: np.ndarray, source: np.ndarray) -> Arrangement:
        order = np.argsort(rows * self.n + columns, kind="stable")
        dtype = self.starts.dtype
        starts = np.zeros(self.n + 1, dtype)
        np.cumsum(np.bincount(rows, minlength=self.n), out=starts[1:])
        return self._arrangement(starts, columns[order].astype(dtype), source[order])

    def _arrangement(self, starts: np.ndarray, columns: np.ndarray, source: np.ndarray) -> Arrangement:
        whole = len(source) == self.nnz and np.array_equal(source, np.arange(1, self.nnz + 1))
        return Arrangement(starts, columns, None if whole else source)


class ChangedPatternError(ValueError):
    """A matrix has entries at other positions than were planned for."""


def changed_pattern(name: str) -> ChangedPatternError:
    """The error for such a matrix."""
    return ChangedPatternError(
        f"{name} has another sparsity pattern than the one that was planned for; "
        "call plan() again after the pattern changed, or create a new DirectSolver"
    )


def kernel(function: int, arguments: int) -> Call:
    """A kernel whose arguments, integers and addresses, are all given when it is called."""
    return Call(function, [Slot(i) for i in range(arguments)], returns_status=True)


DIFFER = kernel(kernels.DIFFER, 3)
SYMMETRIES = {key: kernel(function, 7) for key, function in kernels.SYMMETRIES.items()}
PAIRS = {index_dtype: kernel(function, 7) for index_dtype, function in kernels.PAIRS.items()}
UPPER_PART = {index_dtype: kernel(function, 8) for index_dtype, function in kernels.UPPER_PART.items()}
CHECK = {index_dtype: kernel(function, 7) for index_dtype, function in kernels.CHECK.items()}
