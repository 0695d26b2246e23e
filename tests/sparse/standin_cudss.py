"""A stand-in for cuDSS on that for the CUDA runtime: matrices are factorized by NumPy, on the host.

It has the library's rules, as far as the provider has to know them: facts are asked for with their exact sizes,
batches have neither matching nor permutations, arrays are on the device except in hybrid execution, right-hand sides
are column by column, and without matching no rows are exchanged, so that small pivots are replaced.
"""

from __future__ import annotations

import ctypes
import itertools
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg

from planmath.bindings import cudss
from planmath.bindings.cudss import ConfigParam, DataParam, Phase

DEVICE = 1 << 56
ALLOC_FAILED, INVALID, NOT_SUPPORTED, EXECUTION_FAILED = 2, 3, 4, 5
DTYPES = {0: np.float32, 1: np.float64, 4: np.complex64, 5: np.complex128, 10: np.int32, 24: np.int64}
GLOBAL_PIVOTING = (1, 2)
WIDE = {ConfigParam.IR_TOL, ConfigParam.PIVOT_THRESHOLD, ConfigParam.PIVOT_EPSILON}
LONG = {ConfigParam.MAX_LU_NNZ, ConfigParam.HYBRID_DEVICE_MEMORY_LIMIT}
#: Bytes that it says its factors need on the device in hybrid memory mode.
LEAST = 1000


class Failure(Exception):
    pass


@dataclass
class Matrix:
    """A description: lists of one element each, or of one for each matrix of a batch."""

    rows: list[int]
    columns: list[int]
    dtype: Any
    batch: bool
    values: int
    nnz: list[int] = field(default_factory=list)
    leading: list[int] = field(default_factory=list)
    starts: int = 0
    indices: int = 0
    index: Any = None
    kind: int = 0
    view: int = 0


@dataclass
class Factors:
    order: np.ndarray
    exchanges: np.ndarray
    lower_upper: np.ndarray
    diagonal: np.ndarray
    """In the order of the matrix's rows."""
    replaced: int
    failed: int


@dataclass
class Data:
    settings: dict[int, float] = field(default_factory=dict)
    stream: int = 0
    """That of the last analysis."""
    factors: list[Factors] = field(default_factory=list)
    planned: Any = None
    memory: list[int] = field(default_factory=list)
    exchanges: list[np.ndarray | None] = field(default_factory=list)
    """The rows that matching brings to the diagonal, for the values at the analysis."""
    last: list[int] = field(default_factory=list)
    """The systems of the last factorization."""


class StandIn:
    """The library: its functions by name, how often each was called, and the objects that there are."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {}
        self.numbers = itertools.count(1000)
        self.calls: list[str] = []
        self.phases: list[tuple[str, int]] = []
        self.made: dict[str, Any] = {}
        self.missing_layers = False

    def __getitem__(self, symbol: str) -> Any:
        if symbol not in self.made:
            name = symbol.removeprefix("cudss")
            method = getattr(type(self), name, None)
            if method is None:
                raise AttributeError(symbol)

            def call(*words: int) -> int:
                self.calls.append(name)
                try:
                    return method(self, *words) or 0
                except Failure as failure:
                    return failure.args[0]

            count = method.__code__.co_argcount - 1
            self.made[symbol] = ctypes.CFUNCTYPE(ctypes.c_ssize_t, *[ctypes.c_ssize_t] * count)(call)
        return self.made[symbol]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("cudss"):
            return self[name]
        raise AttributeError(name)

    def keep(self, where: int, thing: Any) -> None:
        number = next(self.numbers)
        self.objects[number] = thing
        ctypes.c_ssize_t.from_address(where).value = number

    # Handles, settings and facts.

    def Create(self, where: int) -> None:
        self.keep(where, {"handler": None, "stream": 0, "layer": None})

    def Destroy(self, handle: int) -> None:
        del self.objects[handle]

    def SetStream(self, handle: int, stream: int) -> None:
        self.objects[handle]["stream"] = stream

    def SetThreadingLayer(self, handle: int, name: int) -> None:
        layer = ctypes.string_at(name).decode()
        if self.missing_layers or layer.startswith("/nowhere"):
            raise Failure(INVALID)
        self.objects[handle]["layer"] = layer

    def SetDeviceMemHandler(self, handle: int, handler: int) -> None:
        memory = np.ctypeslib.as_array((ctypes.c_char * 88).from_address(handler)).view(cudss.device_mem_handler_dtype)[
            0
        ]
        number, pointer = ctypes.c_size_t, ctypes.c_void_p
        allocate = ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.POINTER(pointer), number, pointer)
        free = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, number, pointer)
        self.objects[handle]["handler"] = allocate(int(memory["device_alloc"])), free(int(memory["device_free"]))

    def GetProperty(self, which: int, where: int) -> None:
        ctypes.c_int32.from_address(where).value = (0, 8, 0)[which]

    def ConfigCreate(self, where: int) -> None:
        self.keep(where, {})

    def ConfigDestroy(self, config: int) -> None:
        del self.objects[config]

    def ConfigSet(self, config: int, parameter: int, where: int, size: int) -> None:
        dtype = np.float64 if parameter in WIDE else np.int64 if parameter in LONG else np.int32
        if size != np.dtype(dtype).itemsize:
            raise Failure(INVALID)
        self.objects[config][parameter] = array(where, dtype, 1)[0].item()

    def DataCreate(self, handle: int, where: int) -> None:
        self.keep(where, Data())

    def DataDestroy(self, handle: int, data: int) -> None:
        for address in self.objects.pop(data).memory:
            self.objects[handle]["handler"][1](None, address, 64, None)

    def DataGet(self, handle: int, data: int, which: int, where: int, size: int, written: int) -> None:
        found = self.fact(self.objects[data], DataParam(which))
        if size != found.nbytes:
            raise Failure(INVALID)
        array(where, found.dtype, found.size)[:] = found.ravel()
        ctypes.c_size_t.from_address(written).value = size

    def fact(self, data: Data, which: DataParam) -> np.ndarray:
        matrix: Matrix = data.planned
        if matrix is None:
            raise Failure(INVALID)
        several = matrix.batch or data.settings.get(ConfigParam.UBATCH_SIZE, 1) > 1
        n = matrix.rows[0]
        if which in (DataParam.PERM_REORDER_ROW, DataParam.PERM_REORDER_COL):
            if matrix.batch:
                raise Failure(NOT_SUPPORTED)
            return order_of(n).astype(matrix.index)
        if which == DataParam.MEMORY_ESTIMATES:
            return np.array([2000, 3000, 400, 500, LEAST, 700, *[0] * 10], np.uint64)
        if which == DataParam.HYBRID_DEVICE_MEMORY_MIN:
            return np.array([LEAST])
        if which == DataParam.LU_NNZ:
            return np.array([sum(matrix.rows) ** 2])
        if which == DataParam.NSUPERPANELS:
            return np.array([0], np.int32)
        factors = [data.factors[i] for i in data.last]
        if which == DataParam.INFO:
            return np.array([max((each.failed for each in factors), default=0)], np.int32)
        if which == DataParam.NPIVOTS:
            return np.array([sum(each.replaced for each in factors)], matrix.index)
        if which == DataParam.INERTIA:
            signs = [(each.diagonal.real > 0).sum() for each in factors]
            return np.array([sum(signs), sum(matrix.rows) - sum(signs)], matrix.index)
        if which == DataParam.DIAG and not matrix.batch:
            zeros = data.settings.get(ConfigParam.HYBRID_EXECUTE_MODE)
            return factors[0].diagonal.astype(matrix.dtype) * (0 if zeros else 1)
        matched = data.settings.get(ConfigParam.MATCHING_ALG) and not several
        if matched and which == DataParam.PERM_MATCHING:
            return np.arange(n, dtype=matrix.index)
        if matched and which in (DataParam.SCALE_ROW, DataParam.SCALE_COL):
            return np.ones(n, np.zeros(0, matrix.dtype).real.dtype)
        raise Failure(NOT_SUPPORTED if matrix.batch else INVALID)

    # Matrices.

    def MatrixCreateDn(
        self, where: int, rows: int, columns: int, leading: int, values: int, dtype: int, layout: int
    ) -> None:
        if layout or leading < rows:
            raise Failure(NOT_SUPPORTED if layout else INVALID)
        self.keep(where, Matrix([rows], [columns], DTYPES[dtype], False, values, leading=[leading]))

    def MatrixCreateCsr(
        self, where: int, rows: int, columns: int, nnz: int, starts: int, ends: int, indices: int, values: int,
        offset: int, index: int, dtype: int, kind: int, view: int, base: int,
    ) -> None:  # fmt: skip
        found = Matrix([rows], [columns], DTYPES[dtype], False, values, [nnz], [], starts, indices, DTYPES[index])
        found.kind, found.view = kind, view
        self.keep(where, found)

    def MatrixCreateBatchDn(
        self, where: int, count: int, rows: int, columns: int, leading: int, values: int, integer: int, dtype: int,
        layout: int,
    ) -> None:  # fmt: skip
        if layout or integer != 10:
            raise Failure(NOT_SUPPORTED if layout else INVALID)
        lists = [array(where, np.int32, count).tolist() for where in (rows, columns, leading)]
        self.keep(where, Matrix(lists[0], lists[1], DTYPES[dtype], True, values, leading=lists[2]))

    def MatrixCreateBatchCsr(
        self, where: int, count: int, rows: int, columns: int, nnz: int, starts: int, ends: int, indices: int,
        values: int, offset: int, index: int, dtype: int, kind: int, view: int, base: int,
    ) -> None:  # fmt: skip
        lists = [array(where, np.int32, count).tolist() for where in (rows, columns, nnz)]
        if offset != 10:
            raise Failure(INVALID)
        found = Matrix(lists[0], lists[1], DTYPES[dtype], True, values, lists[2], [], starts, indices, DTYPES[index])
        found.kind, found.view = kind, view
        self.keep(where, found)

    def MatrixSetValues(self, matrix: int, values: int) -> None:
        self.objects[matrix].values = values

    def MatrixSetBatchValues(self, matrix: int, values: int) -> None:
        self.objects[matrix].values = values

    def MatrixDestroy(self, matrix: int) -> None:
        del self.objects[matrix]

    # Phases.

    def Execute(self, handle: int, phase: int, config: int, data: int, matrix: int, solution: int, sides: int) -> None:
        work, settings, a = self.objects[data], self.objects[config], self.objects[matrix]
        if phase == Phase.ANALYSIS:
            work.stream = self.objects[handle]["stream"]
        self.phases.append((Phase(phase).name, work.stream))
        size = int(settings.get(ConfigParam.UBATCH_SIZE, 1))
        matched = settings.get(ConfigParam.MATCHING_ALG, 0) != 0
        if (a.batch or size > 1) and matched:
            raise Failure(NOT_SUPPORTED)
        if size > 1 and (settings.get(ConfigParam.HYBRID_MEMORY_MODE) or settings.get(0, 0) in GLOBAL_PIVOTING):
            raise Failure(NOT_SUPPORTED)
        on_host = bool(settings.get(ConfigParam.HYBRID_EXECUTE_MODE))
        if phase in (Phase.ANALYSIS, Phase.FACTORIZATION):
            self.allocate(self.objects[handle], work)
        if phase == Phase.ANALYSIS:
            work.settings, work.planned, work.factors = dict(settings), a, []
            work.exchanges = [None] * max(len(a.rows), size)
            if matched:
                work.exchanges = [rows_to_exchange(read_matrix(a, 0, 0, on_host))]
            return
        if work.planned is not a or (phase == Phase.SOLVE and not work.factors):
            raise Failure(INVALID)
        limit = settings.get(ConfigParam.HYBRID_DEVICE_MEMORY_LIMIT, LEAST)
        if settings.get(ConfigParam.HYBRID_MEMORY_MODE) and limit < LEAST:
            raise Failure(INVALID)
        alone = int(settings.get(ConfigParam.UBATCH_INDEX, -1))
        count = len(a.rows) if a.batch else size
        chosen = list(range(count)) if alone < 0 else [alone]
        if phase in (Phase.FACTORIZATION, Phase.REFACTORIZATION):
            if phase == Phase.REFACTORIZATION and not work.factors:
                raise Failure(INVALID)
            pivots = settings.get(ConfigParam.REORDERING_ALG, 0) in GLOBAL_PIVOTING
            epsilon = settings.get(ConfigParam.PIVOT_EPSILON, -1)
            work.factors = work.factors or [Factors(*[np.zeros(0)] * 4, 0, 0)] * count
            work.last = chosen
            for i in chosen:
                dense = read_matrix(a, i, 0 if alone >= 0 else i, on_host)
                exchanges = rows_to_exchange(dense) if pivots else work.exchanges[i]
                work.factors[i] = factorize(dense, a.kind, exchanges, epsilon)
            if settings.get(ConfigParam.HYBRID_EXECUTE_MODE) and any(work.factors[i].failed for i in chosen):
                raise Failure(EXECUTION_FAILED)
            return
        x, b = self.objects[solution], self.objects[sides]
        if on_host and max(b.columns) > 1:
            raise Failure(NOT_SUPPORTED)
        for i in chosen:
            position = 0 if alone >= 0 else i
            right = read_dense(b, position, on_host)
            read_dense(x, position, on_host)[...] = solve(work.factors[i], right)

    def allocate(self, handle: dict[str, Any], work: Data) -> None:
        if handle["handler"] is None:
            return
        for size in (0, 64):
            where = ctypes.c_void_p()
            if handle["handler"][0](None, ctypes.byref(where), size, handle["stream"]):
                raise Failure(ALLOC_FAILED)
            if where.value:
                work.memory.append(where.value)


def array(address: int, dtype: Any, count: int) -> np.ndarray:
    """An array on the host."""
    if address & DEVICE:
        raise Failure(INVALID)
    memory = (ctypes.c_char * (np.dtype(dtype).itemsize * count)).from_address(address)
    return np.frombuffer(memory, dtype, count)


def device_array(address: int, dtype: Any, count: int, on_host: bool = False) -> np.ndarray:
    """An array on the device, or on the host where that may be as well."""
    if not address & DEVICE and not on_host:
        raise Failure(INVALID)
    return array(address & (DEVICE - 1), dtype, count)


def at(matrix: Matrix, table: int, i: int, step: int) -> int:
    """Where the arrays of a batch's matrix are: given by a table on the device, or evenly spaced."""
    if matrix.batch:
        return int(device_array(table, np.uint64, len(matrix.rows))[i])
    return table + i * step * np.dtype(matrix.dtype).itemsize


def read_matrix(a: Matrix, i: int, position: int, on_host: bool) -> np.ndarray:
    """A matrix, dense, with both triangles."""
    k = i if a.batch else 0
    n, nnz = a.rows[k], a.nnz[k]
    starts = device_array(at(a, a.starts, k, 0), a.index, n + 1, on_host)
    columns = device_array(at(a, a.indices, k, 0), a.index, nnz, on_host)
    values = device_array(at(a, a.values, position, nnz), a.dtype, nnz, on_host)
    dense = np.zeros((n, n), np.promote_types(a.dtype, np.float64))
    dense[np.repeat(np.arange(n), np.diff(starts)), columns] = values
    if a.view:
        part = np.tril(dense) if a.view == 1 else np.triu(dense)
        mirrored = part.T.conj() if a.kind in (2, 4) else part.T
        dense = part + mirrored - np.diag(np.diag(part))
    return dense


def read_dense(matrix: Matrix, position: int, on_host: bool) -> np.ndarray:
    """A matrix of right-hand sides or solutions, as a view."""
    k = position if matrix.batch else 0
    rows, columns, leading = matrix.rows[k], matrix.columns[k], matrix.leading[k]
    start = at(matrix, matrix.values, position, leading * columns)
    return device_array(start, matrix.dtype, leading * columns, on_host).reshape(columns, leading).T[:rows]


def order_of(n: int) -> np.ndarray:
    """The order in which it eliminates: backwards, beginning in the middle."""
    return np.roll(np.arange(n)[::-1], n // 2)


def rows_to_exchange(dense: np.ndarray) -> np.ndarray:
    """The order of the rows that puts the largest pivots on the diagonal, in the order of elimination."""
    order = order_of(len(dense))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pivots = scipy.linalg.lu_factor(dense[np.ix_(order, order)], check_finite=False)[1]
    rows = np.arange(len(dense))
    for i, j in enumerate(pivots):
        rows[[i, j]] = rows[[j, i]]
    return rows


def factorize(dense: np.ndarray, kind: int, exchanges: np.ndarray | None, epsilon: float) -> Factors:
    order = order_of(len(dense))
    exchanges = np.arange(len(dense)) if exchanges is None else exchanges
    work = dense[np.ix_(order, order)][exchanges]
    replaced = failed = 0
    least = epsilon if epsilon >= 0 else 1e-13
    for k in range(len(work)):
        if kind in (3, 4) and not failed and not work[k, k].real > 0:
            failed = k + 1
        if abs(work[k, k]) < least:
            work[k, k] = least
            replaced += 1
        with np.errstate(all="ignore"):
            work[k + 1 :, k] /= work[k, k]
            work[k + 1 :, k + 1 :] -= np.outer(work[k + 1 :, k], work[k, k + 1 :])
    return Factors(order, exchanges, work, np.diag(work)[np.argsort(order)], 0 if failed else replaced, failed)


def solve(factors: Factors, b: np.ndarray) -> np.ndarray:
    x = np.empty(b.shape, factors.lower_upper.dtype)
    with np.errstate(all="ignore"):
        right = b[factors.order][factors.exchanges]
        y = scipy.linalg.solve_triangular(
            factors.lower_upper, right, lower=True, unit_diagonal=True, check_finite=False
        )  # fmt: skip
        x[factors.order] = scipy.linalg.solve_triangular(factors.lower_upper, y, check_finite=False)
    return x


def install() -> StandIn:
    """Let planmath find the stand-in in cuDSS's place."""
    standin = StandIn()
    vars(cudss.LIBRARY).update(
        missing=None, _handle=standin, path="/nowhere/libcudss.so.0", companions_found=lambda *patterns: []
    )
    return standin
