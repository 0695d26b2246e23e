"""Entries of the sparse operand on a device, gathered row by row of the result when a plan first meets its indices."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from planmath.bindings import runtime
from planmath.core.cuda import device_code
from planmath.core.errors import LibraryError
from planmath.native.call import STORE, Call, Slot
from planmath.sparse.product.patterns import Rows, sorted_rows
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.product.providers.launching import ALIGNMENT
from planmath.sparse.product.providers.nests import in_row_order
from planmath.sparse.product.providers.places import places_of
from planmath.sparse.ust.conversion import Arrays, batches_of, bounds_of, expand
from planmath.sparse.ust.levels import LevelFormat as F
from planmath.sparse.ust.named import NamedFormats as N

#: Threads of a block.
THREADS = 128
#: Indices are counted in 32 bits below this.
FEW = 1 << 31


def gathered(problem: MatmulProblem, arrays: Arrays) -> Rows:
    """The entries of a sparse operand on the host, row by row of the result, over all matrices of its batch.

    Those of a row stay in the order in which they are stored.
    """
    found = expand(problem.sparse.format, problem.sparse.extents, arrays)
    *batch, first, second = found.indices if not problem.vector else [np.zeros_like(found.indices[0]), *found.indices]
    row, summed = (second, first) if problem.transposed and not problem.vector else (first, second)
    lines = problem.rows
    if problem.sparse_batched:
        row = np.ravel_multi_index(batch, problem.batch) * problem.rows + row
        lines *= math.prod(problem.batch)
    return sorted_rows(row, summed, lines, found.places)


class Gathering:
    """What makes entries row by row of the arrays of the sparse operand, in a plan's temporary memory.

    Parameters
    ----------
    problem : MatmulProblem
    offset : int
        Where in the temporary memory they begin.

    Attributes
    ----------
    starts, indices, places : Slot or None
        Where programs find them.
    wide : bool
        Whether they are int64.
    size : int
        Bytes of temporary memory, up to their end.
    watched : tuple of int
        The operands that they are made of.
    """

    def __init__(self, problem: MatmulProblem, offset: int = 0):
        self.problem = problem
        places = places_of(problem)
        lines = problem.rows * (math.prod(problem.batch) if problem.sparse_batched else 1)
        count = problem.sparse.nse
        self.is_list = is_list(problem)
        self.wide = max(count, problem.summed, lines) >= FEW
        if self.is_list:  # whose columns are read where they are
            self.wide = problem.sparse.index_type == "int64"
        self.dtype = np.dtype(np.int64 if self.wide else np.int32)
        self.in_order = in_row_order(problem)
        lengths = [lines + 1, 0 if self.is_list else count, 0 if self.in_order else count]
        self.offsets: list[int] = []
        for length in lengths:
            self.offsets.append(offset)
            offset += -(-length * self.dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self.size = offset
        self.starts, self.indices, where = (Slot(places.workspace, start) for start in self.offsets)
        self.places = None if self.in_order else where
        self.lines = lines
        if self.is_list:
            self.indices = Slot(next(n for n in places.crd[1:] if n is not None))
        numbers = [n for pair in zip(places.pos, places.crd, strict=True) for n in pair]
        self.numbers = numbers
        self.watched = tuple(n for n in numbers if n is not None)
        self.workspace, self.stream = places.workspace, places.workspace + 1
        self.words = np.zeros(len(numbers) + 2, np.int64)
        self.failure: BaseException | None = None

    def calls(self) -> list[Call]:
        """What a prologue calls."""
        if self.is_list:
            return self._starts_of_list()
        # the function of Python's that does it is called by address, and finds the arrays in a table
        callback = ctypes.CFUNCTYPE(ctypes.c_int)(self._run)
        address = ctypes.cast(callback, ctypes.c_void_p).value
        numbers = [*self.numbers, self.workspace, self.stream]
        stores = [
            Call(STORE, [self.words[n:].ctypes.data, Slot(number)], name="store", keep=self.words)
            for n, number in enumerate(numbers)
            if number is not None
        ]
        gather = Call(address, [], name="gather", returns_status=True, error=self._error, keep=callback)
        return [*stores, gather]

    def _starts_of_list(self) -> list[Call]:
        """A kernel finds where each row begins."""
        fields = [("list", np.uintp), ("starts", np.uintp), ("count", np.int64), ("lines", np.int64)]
        parameters = np.zeros(1, np.dtype(fields))
        parameters["count"], parameters["lines"] = self.problem.sparse.nse, self.lines
        rows = next(n for n in places_of(self.problem).crd if n is not None)
        index = "long long" if self.wide else "int"
        kernel = device_code.kernel(_source(), "starts_of", self.problem.execution[1], (f"INDEX={index}",))
        return [
            device_code.store(parameters, "list", Slot(rows)),
            device_code.store(parameters, "starts", self.starts),
            device_code.launch(kernel, (self.lines // THREADS + 1, 1), THREADS, parameters, Slot(self.stream)),
        ]

    def _error(self, status: int, name: str) -> BaseException:
        failure, self.failure = self.failure, None
        return failure or LibraryError(name, status)

    def _run(self) -> int:
        try:
            self._gather()
        except BaseException as error:
            self.failure = error
            return 1
        return 0

    def _gather(self) -> None:
        *addresses, workspace, stream = map(int, self.words)
        arrays = fetched(self.problem, addresses, stream)
        entries = gathered(self.problem, arrays)
        if self.in_order and entries.places is not None:
            raise ValueError(
                f"the coordinates of the sparse operand are not in the order that its format "
                f"{self.problem.sparse.format.name} promises; sort it with convert()"
            )
        for array, offset in zip(entries, self.offsets, strict=True):
            if array is not None and len(array):
                given = np.ascontiguousarray(array, self.dtype)
                kind = runtime.MemcpyKind.HOST_TO_DEVICE
                runtime.memcpy_async(workspace + offset, given.ctypes.data, given.nbytes, kind, stream)
        if not self.in_order and entries.places is None and len(entries.crd):
            given = np.arange(len(entries.crd), dtype=self.dtype)
            kind = runtime.MemcpyKind.HOST_TO_DEVICE
            runtime.memcpy_async(workspace + self.offsets[2], given.ctypes.data, given.nbytes, kind, stream)


def is_list(problem: MatmulProblem) -> bool:
    """Whether the operand is a list of rows and columns in the order of rows: these are found without any copy."""
    return problem.sparse.format.storage == N.COO.storage and not problem.sparse_batched and in_row_order(problem)


@cache
def _source() -> str:
    return Path(__file__).with_name("starts.cu").read_text()


def fetched(problem: MatmulProblem, addresses: Sequence[int], stream: int) -> Arrays:
    """Copies on the host of the index arrays of the sparse operand, given by their addresses on a device.

    The values are none that anybody reads.
    """
    form, extents = problem.sparse.format, problem.sparse.extents
    dtype = np.dtype(problem.sparse.index_type)
    bounds = bounds_of(form, extents)
    batches = batches_of(form, bounds)
    around = math.prod(batches)

    def copy(address: int, shape: tuple[int, ...]) -> np.ndarray:
        array = np.empty(shape, dtype)
        if array.size:
            kind = runtime.MemcpyKind.DEVICE_TO_HOST
            runtime.memcpy_async(array.ctypes.data, address, array.nbytes, kind, stream)
            runtime.stream_synchronize(stream)
        return array

    pos: list[np.ndarray | None] = []
    crd: list[np.ndarray | None] = []
    count = 1
    for number, (level, bound) in enumerate(zip(form.stored, bounds, strict=True)):
        starts = coordinates = None
        if level.format.has_positions:
            starts = copy(addresses[2 * number], (*batches, count // max(around, 1) + 1))
            count = int(starts.reshape(-1, starts.shape[-1])[:, -1].sum()) if starts.size else 0
        elif level.format is F.STRUCTURED:
            count *= level.number or 1
        elif level.format is not F.SINGLETON:
            count *= bound.size
        if level.format.has_coordinates:
            coordinates = copy(addresses[2 * number + 1], (count,))
        pos.append(starts)
        crd.append(coordinates)
    return Arrays(tuple(pos), tuple(crd), np.empty(0, np.uint8))
