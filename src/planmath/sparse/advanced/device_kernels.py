"""What the sparse solver does itself on a CUDA device: look at patterns and values, multiply with them, refine.

All systems of a plan are looked at in one launch. Launches are put on the queue's stream and return at once; what they
find out is in memory of the host that the device writes to, and may be read once the stream has been waited for. Sums
are kept in double precision, whatever the dtype of the matrix, and are added up in an order that the plan fixes: the
same values give the same bits.

Patterns themselves are checked on the host (`pattern.Pattern`): a problem holds them there in any case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import REAL_OF
from planmath.core.cuda import device_code, devices
from planmath.core.cuda.device_arrays import overwrite, pinned, upload
from planmath.core.cuda.queue import Queue
from planmath.native.call import Call, Slot
from planmath.sparse.advanced.enums import DirectSolverMatrixViewType as View
from planmath.sparse.advanced.pattern import Pattern

#: Threads of a block, and how many blocks there are, at most, for each multiprocessor: those that run at a time.
THREADS, BLOCKS = 256, 4
#: Pieces of a plan's rows, for each multiprocessor, that there are at least, however many columns there are.
FEWEST = 2
#: What a row costs beside its entries, in entries; and the least that is worth a piece of its own.
ROW, LEAST = 4, 2048
#: Right-hand sides that a block works on at a time, where there are several: it reads the matrix once for them.
TOGETHER = 4
#: How many entries of a row are worth another thread that shares it.
SHARE = 6
#: A row with more entries than this for each thread that would work on it gets the whole block.
LONG = 64
#: Numbers that a block puts together for each column, at most.
WIDTH = 6

#: What the kernels are given, as their source declares it: words of 64 bits.
SYSTEM = np.dtype(
    [(name, np.int64) for name in (
        "starts", "columns", "whole_starts", "whole_columns", "source", "number", "rows", "n_columns", "first_column",
        "lanes", "first_piece", "n_pieces",
    )]
)  # fmt: skip
PIECE = np.dtype([(name, np.int64) for name in ("system", "first", "last", "long_rows", "n_long_rows")])
PARAMETERS = np.dtype(
    [*((name, np.int64) for name in ("pieces", "systems", "partial", "tickets", "largest_x", "found")),
     ("of", np.int64, (5, 5)), ("only", SYSTEM)]
)  # fmt: skip
#: In C: real and complex numbers of each precision, and indices.
REALS = {"float32": "float", "float64": "double"}
INDICES = {"int32": "int", "int64": "long long"}


class Places(NamedTuple):
    """Where the arrays of one operand are, one for each system, in device memory.

    Parameters
    ----------
    first : int
        The address of the first system's.
    leading : int
        Of right-hand sides and solutions: elements from a column to the next. 0: as many as the system has rows.
    stride : int
        Of these: elements from a row to the next, which is 1 everywhere but in `DeviceSystems.copy`.
    step : int
        Bytes from each system's to the next one's.
    table : int
        0, or the address, on the device, of first, leading and stride of each system, in whose place these count.
    """

    first: int
    leading: int = 0
    stride: int = 1
    step: int = 0
    table: int = 0


class Table:
    """Where arrays of one operand are: copied to the device where that takes a table, and only when it has changed.

    Parameters
    ----------
    systems : int
    queue : Queue
    """

    def __init__(self, systems: int, queue: Queue):
        self._queue, self._rows = queue, np.zeros((systems, 3), np.int64)
        self._owner, (self._address,) = upload([self._rows], queue)

    def places(
        self, addresses: Sequence[int] | np.ndarray, leading: int | np.ndarray = 0, stride: int | np.ndarray = 1
    ) -> Places:
        """The places of arrays at these addresses, one for each system.

        Parameters
        ----------
        addresses, leading, stride
            As in `Places`; one for all systems, or one for each.
        """
        if len(addresses) == 1:
            return Places(int(addresses[0]), *(int(np.ravel(steps)[0]) for steps in (leading, stride)))
        rows = np.empty_like(self._rows)
        rows[:, 0], rows[:, 1], rows[:, 2] = addresses, leading, stride
        if not np.array_equal(rows, self._rows):
            overwrite(self._address, rows, self._queue)
            self._rows = rows
        return Places(0, table=self._address)


class DeviceSystems:
    """The patterns of all systems of a plan on a device, and the kernels that look at their values and solutions.

    Parameters
    ----------
    patterns : sequence of Pattern
        One for each system; systems may share one.
    dtype : str
        Of the values, right-hand sides and solutions: 'float32', 'float64', 'complex64' or 'complex128'.
    columns : sequence of int
        Right-hand sides of each system. They are column-major, and so are solutions.
    queue : Queue
        Where work goes, and where memory comes from. The queue's device has to be current at each call.

    Raises
    ------
    UnavailableError
        Where kernels cannot be compiled or loaded, with the reason.
    OutOfDeviceMemoryError
        Where there is no memory for copies of the patterns.

    Attributes
    ----------
    changed : numpy.ndarray of shape (systems,), float64
        By `compare`: 1 where a system has another pattern than was planned for, else 0.
    norms, bad_rows : numpy.ndarray of shape (systems,), float64
        By `measure`: the largest row sum of magnitudes of each matrix, and the first row with a value that is not
        finite, or -1.
    sizes : numpy.ndarray of shape (all columns, 3), float64
        By `residual`: the 2-norms of each column of r, x and b, the systems' columns one after the other. NaN and
        infinity stay what they are.
    forward : numpy.ndarray of shape (all columns,), float64
        By `relative`: the largest relative error of an unknown in each column, estimated; infinity where it is NaN.
    first_columns : tuple of int
        The number of each system's first column among those of all.
    """

    def __init__(self, patterns: Sequence[Pattern], dtype: str, columns: Sequence[int], queue: Queue):
        together = TOGETHER if max(columns) > 1 else 1
        rows_of_grid = -(-max(columns) // together)
        distinct = {id(pattern): pattern for pattern in patterns}
        work = {key: int(pattern.full.starts[-1]) + ROW * pattern.n for key, pattern in distinct.items()}
        wanted = max(BLOCKS // rows_of_grid, FEWEST) * devices.device(queue.device_id).multiprocessors
        whole = sum(work[id(pattern)] for pattern in patterns)
        divisions = {
            key: divide(pattern.full.starts, max(1, min(wanted * work[key] // whole, work[key] // LEAST)), together)
            for key, pattern in distinct.items()
        }
        owner, resident = _upload(distinct, divisions, queue)

        first_columns, first_piece = np.cumsum([0, *columns]).tolist(), 0
        systems, pieces = np.zeros(len(patterns), SYSTEM), list[np.ndarray]()
        for number, pattern in enumerate(patterns):
            division, arrays = divisions[id(pattern)], resident[id(pattern)]
            of_system = division.pieces(number, arrays.long_rows)
            systems[number] = (
                *arrays[:5], number, pattern.n, columns[number], first_columns[number], division.lanes, first_piece,
                len(of_system),
            )  # fmt: skip
            pieces.append(of_system)
            first_piece += len(of_system)
        tickets = np.zeros(len(patterns) * rows_of_grid, np.uint32)
        tables, (of_systems, of_pieces, of_tickets) = upload([systems, np.concatenate(pieces), tickets], queue)
        if len(systems) == 1:
            of_systems = 0  # kernels get it with their parameters, which takes no reading first
        n_partial = first_piece * rows_of_grid * together * WIDTH
        scratch, of_scratch = queue.allocate(8 * (n_partial + first_columns[-1]))

        self._queue, self._resident, self._owners = queue, [resident[id(p)] for p in patterns], (owner, tables, scratch)
        self.first_columns = tuple(first_columns[:-1])
        self.changed, self.sizes, self.forward, measured = (
            pinned(shape)
            for shape in ((len(patterns),), (first_columns[-1], 3), (first_columns[-1],), (len(patterns), 2))
        )
        self.norms, self.bad_rows = measured.T
        definitions = _definitions(dtype, patterns[0].index_dtype, patterns[0].view != View.FULL, together)

        def made(name: str, found: np.ndarray | None, grid_rows: int) -> device_code.Launch:
            kernel = device_code.kernel(_source(), name, queue.device_id, definitions)
            parameters = np.zeros(1, PARAMETERS)
            parameters[0] = (
                of_pieces, of_systems, of_scratch, of_tickets, of_scratch + 8 * n_partial,
                0 if found is None else found.ctypes.data, 0, systems[0],
            )  # fmt: skip
            return device_code.Launch(kernel, (first_piece, grid_rows), THREADS, parameters, "of")

        self._compare, self._measure = made("compare", self.changed, 1), made("measure", measured, 1)
        self._residual, self._add = made("residual", self.sizes, rows_of_grid), made("add", None, rows_of_grid)
        self._copy, self._copy_values = made("copy", None, rows_of_grid), made("copy_values", None, 1)
        self._noise, self._relative = made("noise", None, rows_of_grid), made("relative", self.forward, rows_of_grid)

    def indices(self, system: int) -> tuple[int, int]:
        """The addresses of the row starts and of the column indices that were planned for, in device memory.

        They are copies that nobody else writes to, of the pattern's index dtype, and live as long as this object: what
        to give to a library.
        """
        return self._resident[system][:2]

    def compare(self, starts: Places, columns: Places) -> None:
        """Compare index arrays, of the planned dtype and of at least the planned lengths, with the patterns."""
        self._compare(self._queue.stream, (*starts, *columns))

    def measure(self, values: Places) -> None:
        """Find `norms` and `bad_rows`. The magnitude of a complex number is that of its parts added, as on the CPU."""
        self._measure(self._queue.stream, values)

    def residual(self, values: Places, x: Places, b: Places, r: Places) -> None:
        """r = b - A x, and `sizes`. r may not be where x or b is."""
        self._residual(self._queue.stream, (*values, *x, *b, *r))

    def prepared_residual(self, values: Places, x: Places, b: Places, r: Places, *slots: Slot) -> list[Call]:
        """`residual` as prepared calls, for values, x and b of one system laid out like these.

        Parameters
        ----------
        values, x, b, r : Places
        *slots : Slot
            For the addresses of the values, x and b, and for the stream.
        """
        of_values, of_x, of_b, stream = slots
        return self._residual.prepared(stream, (of_values, *values[1:], of_x, *x[1:], of_b, *b[1:], *r))

    def add(self, x: Places, correction: Places, total: Places) -> None:
        """total = x + correction; total may be where either is."""
        self._add(self._queue.stream, (*x, *correction, *total))

    def copy(self, source: Places, target: Places) -> None:
        """Copy right-hand sides or solutions between any layouts, which do not overlap."""
        self._copy(self._queue.stream, (*source, *target))

    def copy_values(self, source: Places, target: Places) -> None:
        """Copy the values of the matrices."""
        self._copy_values(self._queue.stream, (*source, *target))

    def noise(self, values: Places, x: Places, b: Places, r: Places, noise: Places) -> None:
        """What the errors of a solution are made of, with random signs: ±(|r| + eps (|A| |x| + |b|)).

        The signs are the same at each call. Solving for the result tells, by `relative`, how far x may be from the
        exact solution (as in LAPACK's gerfs; LAPACK Users' Guide, "Further Details: Error Bounds for Linear Equation
        Solving"). noise may be where r is.
        """
        self._noise(self._queue.stream, (*values, *x, *b, *r, *noise))

    def relative(self, x: Places, effect: Places) -> None:
        """Find `forward`: the largest |effect| / |x| of an unknown, after `noise` for the same x.

        Unknowns that are smaller than the rounding of the largest one count as being as large as that.
        """
        self._relative(self._queue.stream, (*x, *effect))


class Division(NamedTuple):
    """How the work on the rows of a matrix is divided."""

    lanes: int
    """Threads that share a row."""
    cuts: np.ndarray
    """The rows at which pieces begin, and the end of the last one."""
    long_rows: np.ndarray
    """Rows that whole blocks share."""

    def pieces(self, system: int, long_rows: int) -> np.ndarray:
        """The pieces, as kernels take them; `long_rows` is where the device has those."""
        pieces = np.zeros(len(self.cuts) - 1, PIECE)
        before = np.searchsorted(self.long_rows, self.cuts)
        pieces["system"], pieces["first"], pieces["last"] = system, self.cuts[:-1], self.cuts[1:]
        pieces["long_rows"] = long_rows + before[:-1] * self.long_rows.itemsize
        pieces["n_long_rows"] = np.diff(before)
        return pieces


def divide(starts: np.ndarray, pieces: int, fewest_lanes: int) -> Division:
    """Divide the rows of a matrix into pieces of about equal work.

    Parameters
    ----------
    starts : numpy.ndarray
        Where each row's entries start, and where the last one's end.
    pieces : int
        How many pieces there shall be, at most.
    fewest_lanes : int
        A power of two, and so is the number of threads that share a row.
    """
    n, lengths = len(starts) - 1, np.diff(starts)
    lanes = fewest_lanes
    mean = np.minimum(lengths, 32 * LONG).mean()
    # another thread shares a row where that pays, or where it would have nothing else to do
    while lanes < 32 and (2 * lanes * SHARE <= mean or (2 * lanes * n <= pieces * THREADS and 2 * lanes <= mean)):
        lanes *= 2
    work = starts + ROW * np.arange(n + 1, dtype=np.int64)
    cuts = np.searchsorted(work, np.linspace(0, work[-1], pieces + 1))
    cuts[-1] = n
    return Division(lanes, np.unique(cuts), np.flatnonzero(lengths > LONG * lanes).astype(starts.dtype))


class _Resident(NamedTuple):
    """The addresses of a pattern's arrays on the device; 0 where there is none."""

    starts: int
    columns: int
    whole_starts: int
    whole_columns: int
    source: int
    long_rows: int


def _upload(
    patterns: Mapping[int, Pattern], divisions: Mapping[int, Division], queue: Queue
) -> tuple[Any, dict[int, _Resident]]:
    """Copy patterns to the device; those of a triangle also in the form that has all entries of the matrix."""
    arrays, numbers = list[np.ndarray](), dict[int, list[int]]()
    for key, pattern in patterns.items():
        full, own = pattern.full, [pattern.starts, pattern.columns]
        if pattern.view != View.FULL:
            numbers_of_values = np.arange(1, pattern.nnz + 1) if full.source is None else full.source
            own += [full.starts, full.columns, numbers_of_values.astype(pattern.starts.dtype)]
        own.append(divisions[key].long_rows)
        numbers[key] = list(range(len(arrays), len(arrays) + len(own)))
        arrays += own
    owner, addresses = upload(arrays, queue)
    resident = {}
    for key, own_numbers in numbers.items():
        starts, columns, *whole, long_rows = (addresses[number] for number in own_numbers)
        whole_starts, whole_columns, source = whole or [starts, columns, 0]
        resident[key] = _Resident(starts, columns, whole_starts, whole_columns, source, long_rows)
    return owner, resident


@cache
def _source() -> str:
    return Path(__file__).with_suffix(".cu").read_text()


def _definitions(dtype: str, index_dtype: str, triangle: bool, together: int) -> tuple[str, ...]:
    real = REALS[REAL_OF.get(dtype, dtype)]
    is_complex = dtype in REAL_OF
    return (
        f"VALUE={real}", f"NUMBER={real}{2 if is_complex else ''}", f"IS_COMPLEX={int(is_complex)}",
        f"INDEX={INDICES[index_dtype]}", f"TRIANGLE={int(triangle)}", f"THREADS={THREADS}",
        f"BLOCKS={2 if together > 1 else BLOCKS}", f"COLUMNS={together}", f"LONG={LONG}",
        f"EPSILON={float(np.finfo(dtype).eps)!r}",
    )  # fmt: skip
