"""cuDSS's objects: handles with their threading layer and memory, and what is done with one matrix or a batch."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from planmath.bindings import cudss, runtime
from planmath.bindings.cudss import ConfigParam, DataParam, Phase
from planmath.core.cuda import devices
from planmath.core.cuda.device_arrays import upload
from planmath.core.cuda.queue import Queue
from planmath.core.cuda.streams import let_wait
from planmath.native.call import Call, Slot
from planmath.sparse.advanced.execution import ExecutionHybrid
from planmath.sparse.advanced.kernels import address
from planmath.sparse.advanced.problem import DirectSolverProblem

DATA_TYPE = {
    "float32": cudss.DataType.R_32F, "float64": cudss.DataType.R_64F, "complex64": cudss.DataType.C_32F,
    "complex128": cudss.DataType.C_64F, "int32": cudss.DataType.R_32I, "int64": cudss.DataType.R_64I,
}  # fmt: skip

#: The dtypes of settings; all others are C's int.
WIDE_SETTINGS = {
    ConfigParam.PIVOT_THRESHOLD: np.float64, ConfigParam.PIVOT_EPSILON: np.float64, ConfigParam.IR_TOL: np.float64,
    ConfigParam.MAX_LU_NNZ: np.int64, ConfigParam.HYBRID_DEVICE_MEMORY_LIMIT: np.int64,
}  # fmt: skip

#: The type of the lists of numbers that describe a batch.
INTEGER = cudss.DataType.R_32I

#: Files of the threading layer, the preferred first.
LAYERS = ("libcudss_mtlayer_gomp.so*", "libcudss_mtlayer_*.so*", "cudss_mtlayer_*.dll")


def threading_layers() -> list[str]:
    """Files that may be cuDSS's threading layer: the user's choice by cuDSS's own variable, else near the library."""
    chosen = os.environ.get("CUDSS_THREADING_LIB")
    return [chosen] if chosen else cudss.LIBRARY.companions_found(*LAYERS)


class Located(Protocol):
    """An operand's arrays, one for each system of a problem: see `device_operand.Operand`."""

    places: Any
    addresses: list[int]
    table: int


class Memory:
    """Device memory for cuDSS, from where the operation's temporary memory comes.

    Parameters
    ----------
    queue : Queue

    Attributes
    ----------
    failures : list of Exception
        The last failure; empty where there was none.
    """

    def __init__(self, queue: Queue):
        owners: dict[int, Any] = {}
        self.failures: list[Exception] = []
        failures = self.failures

        def allocate(context: int, where: Any, size: int, stream: int) -> int:
            where[0] = None
            try:
                if size:
                    owner, address = queue.allocate(size)
                    # it is there in the order of this stream only, and cuDSS may be at work on another
                    runtime.stream_synchronize(queue.stream)
                    owners[address] = owner
                    where[0] = address
            except Exception as error:  # nothing may pass through C
                failures[:] = [error]
                return 1
            return 0

        def free(context: int, address: int | None, size: int, stream: int) -> int:
            owners.pop(address or 0, None)
            return 0

        pointer, number = ctypes.c_void_p, ctypes.c_size_t
        self._functions = (
            ctypes.CFUNCTYPE(ctypes.c_int, pointer, ctypes.POINTER(pointer), number, pointer)(allocate),
            ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, number, pointer)(free),
        )
        self._handler = np.zeros(1, cudss.device_mem_handler_dtype)
        for field, function in zip(("device_alloc", "device_free"), self._functions, strict=True):
            self._handler[field] = ctypes.cast(function, pointer).value
        self._handler["name"] = b"planmath"
        self.address = self._handler.ctypes.data


class Handle:
    """A handle of cuDSS's, destroyed when nothing refers to it any more.

    Parameters
    ----------
    queue : Queue
        Whose device is current.
    given : int
        A user's handle to take; 0 for one of its own.
    layer : str or None
        The file of the threading layer; None for the one that is found.

    Raises
    ------
    ValueError
        If the user's threading layer cannot be loaded.
    """

    def __init__(self, queue: Queue, given: int, layer: str | None):
        self.queue, self.process, self.library, self.stream = queue, os.getpid(), cudss, -1
        self.memory: Memory | None = None
        self.layer: str | None = None
        self.address, self.owned = given, False
        self.data: set[int] = set()
        """What cuDSS keeps for this handle, to be destroyed before it: collecting garbage knows no order."""
        if not given:
            self.address, self.owned = cudss.create(), True
            self.memory = Memory(queue)
            cudss.set_device_mem_handler(self.address, self.memory.address)
        if layer is not None:
            self._load(layer)
            if self.layer is None:
                raise ValueError(f"options.multithreading_lib is {layer!r}, which cuDSS cannot load: {self.refusal}")
        elif not given:
            for file in threading_layers():
                self._load(file)
                if self.layer:
                    break

    def _load(self, file: str) -> None:
        try:
            cudss.set_threading_layer(self.address, file)
            self.layer = file
        except cudss.cuDSSError as error:
            self.refusal = error

    def follow(self) -> None:
        """Let the next analysis, and all that follows it, go on the queue's present stream."""
        if self.stream != self.queue.stream:
            self.stream = self.queue.stream
            cudss.set_stream(self.address, self.stream)

    def create_data(self) -> int:
        data = cudss.data_create(self.address)
        self.data.add(data)
        return data

    def destroy_data(self, data: int) -> None:
        if data in self.data and self.process == os.getpid():
            self.data.remove(data)
            with devices.on(self.queue.device_id):
                self.library.data_destroy(self.address, data)

    def __del__(self) -> None:
        if sys.is_finalizing() or self.process != os.getpid():
            return
        for data in [*self.data]:
            self.destroy_data(data)
        if self.owned:
            with devices.on(self.queue.device_id):
                self.library.destroy(self.address)


class Task:
    """What cuDSS works on at once: one system, several with one pattern, or several with any patterns.

    Parameters
    ----------
    handle : Handle
    problem : DirectSolverProblem
    members : sequence of int
        The numbers of the systems in the problem.
    indices : callable
        Tells where the row starts and the column indices of a system are.
    """

    def __init__(
        self, handle: Handle, problem: DirectSolverProblem, members: Sequence[int],
        indices: Callable[[int], tuple[int, int]],
    ):  # fmt: skip
        self.handle, self.problem, self.members = handle, problem, tuple(members)
        self.patterns = [problem.patterns[i] for i in members]
        alike = len({(id(problem.patterns[i]), problem.columns[i]) for i in members}) == 1
        self.uniform, self.together = len(members) > 1 and alike, len(members) > 1 and not alike
        self.columnwise = isinstance(problem.space, ExecutionHybrid)
        self.library = cudss
        self.settings: dict[int, float] = {}
        self.factorizations = 0
        """Since the last analysis."""
        self.home, self._keeps_home = 0, None
        """The stream of the last analysis, on which all of cuDSS's work is, and what keeps it alive."""
        self.declined = False
        """Whether cuDSS turned out not to have matching with the other settings."""
        self.config = self.data = 0
        self._described: dict[int, tuple[int, Any]] = {}
        self._indices, self._keep = [indices(i) for i in members], list[Any]()
        self.config = cudss.config_create()
        self.data = handle.create_data()
        if self.uniform:
            self.set(ConfigParam.UBATCH_SIZE, len(members))

    def set(self, parameter: ConfigParam, value: float) -> None:
        """Change a setting."""
        if self.settings.get(parameter) != value:
            array = np.array([value], WIDE_SETTINGS.get(parameter, np.int32))
            cudss.config_set(self.config, parameter, array.ctypes.data, array.nbytes)
            self.settings[parameter] = value

    def get(self, parameter: DataParam, dtype: Any, count: int = 1) -> np.ndarray:
        """A fact, once the stream's work is done."""
        found = np.zeros(count, dtype)
        cudss.data_get(self.handle.address, self.data, parameter, found.ctypes.data, found.nbytes)
        return found

    def integer(self, parameter: DataParam) -> int:
        """A fact that is a number: some are as wide as the indices, others are C's int with any."""
        try:
            return int(self.get(parameter, self.problem.index_dtype)[0])
        except cudss.cuDSSError as error:
            if error.status != cudss.Status.INVALID_VALUE:
                raise
            return int(self.get(parameter, np.int32)[0])

    def execute(self, phase: Phase, values: Located, x: Located, b: Located) -> None:
        """Put a phase on the stream; a factorization after the first one since the analysis is a refactorization."""
        matrix, solution, right_hand_side = self._matrix(values), self._dense(x), self._dense(b)
        if phase == Phase.FACTORIZATION and self.factorizations:
            phase = Phase.REFACTORIZATION
        self._put(phase, matrix, solution, right_hand_side)
        if phase == Phase.ANALYSIS:
            self.factorizations = 0
        elif phase != Phase.SOLVE:
            self.factorizations += 1
        elif self.columnwise:
            self._solve_other_columns(matrix, (solution, x), (right_hand_side, b))

    def _put(self, phase: Phase, *described: int) -> None:
        """Put a phase between what was on the queue's stream before and what comes after.

        Where an analysis was, cuDSS (0.8) does all that follows for the matrix, whatever stream its handle has by then.
        """
        queue = self.handle.queue
        if phase == Phase.ANALYSIS:
            self.handle.follow()
            self.home, self._keeps_home = queue.stream, queue.held
        if self.home != queue.stream:
            let_wait(self.home, queue.stream)
        cudss.execute(self.handle.address, phase, self.config, self.data, *described)
        if self.home != queue.stream:
            let_wait(queue.stream, self.home)

    def prepared_solution(self, values: Located, x: Located, b: Located, of_x: Slot, of_b: Slot) -> list[Call]:
        """The solution of one system as prepared calls, for x and b like these where the slots say."""
        matrix, solution, right_hand_side = self._matrix(values), self._dense(x), self._dense(b)
        phase = [self.handle.address, Phase.SOLVE, self.config, self.data, matrix, solution, right_hand_side]
        calls = [
            ("cudssMatrixSetValues", [solution, of_x]), ("cudssMatrixSetValues", [right_hand_side, of_b]),
            ("cudssExecute", phase),
        ]  # fmt: skip
        common = {"returns_status": True, "error": cudss.cuDSSError, "keep": self}
        return [Call(cudss.LIBRARY.address(name), arguments, name=name, **common) for name, arguments in calls]

    def moved(self, *operands: Located) -> None:
        """Note that the descriptions of these operands are at other addresses now."""
        for operand in operands:
            self._described[id(operand)] = self._described[id(operand)][0], None

    def _solve_other_columns(self, matrix: int, *pairs: tuple[int, Located]) -> None:
        """Hybrid execution takes one right-hand side at a time: those behind the first."""
        size, n = np.dtype(self.problem.dtype).itemsize, self.patterns[0].n
        for column in range(1, self.problem.columns[self.members[0]]):
            for dense, operand in pairs:
                start = operand.addresses[self.members[0]]
                cudss.matrix_set_values(dense, start + column * (operand.places.leading or n) * size)
            self.moved(*(operand for _, operand in pairs))
            self._put(Phase.SOLVE, matrix, *(dense for dense, _ in pairs))

    def execute_alone(self, member: int, phase: Phase, values: Located, x: Located, b: Located) -> None:
        """Execute a phase for one system of those with one pattern."""
        for matrix, operand in ((self._matrix(values), values), (self._dense(x), x), (self._dense(b), b)):
            cudss.matrix_set_values(matrix, operand.addresses[member])
        self.moved(values, x, b)
        self.set(ConfigParam.UBATCH_INDEX, self.members.index(member))
        try:
            self._put(phase, *(self._described[id(operand)][0] for operand in (values, x, b)))
        finally:
            self.set(ConfigParam.UBATCH_INDEX, -1)

    # Descriptions of operands, which follow them to other addresses.

    def _matrix(self, values: Located) -> int:
        return self._at(values, self._create_matrix)

    def _dense(self, operand: Located) -> int:
        return self._at(operand, self._create_dense)

    def _at(self, operand: Located, create: Callable[[Located], int]) -> int:
        matrix, places = self._described.get(id(operand), (0, None))
        if places is operand.places:
            return matrix
        if not matrix:
            self._keep.append(operand)  # nothing else may get its number
            matrix = create(operand)
        elif self.together:
            cudss.matrix_set_batch_values(matrix, operand.table)
        else:
            cudss.matrix_set_values(matrix, operand.addresses[self.members[0]])
        self._described[id(operand)] = matrix, operand.places
        return matrix

    def _create_matrix(self, values: Located) -> int:
        problem, pattern = self.problem, self.patterns[0]
        index, value = DATA_TYPE[problem.index_dtype], DATA_TYPE[problem.dtype]
        kind = problem.kind, pattern.view, cudss.IndexBase.ZERO
        if not self.together:
            starts, columns = self._indices[0]
            n, at = pattern.n, values.addresses[self.members[0]]
            return cudss.matrix_create_csr(n, n, pattern.nnz, starts, 0, columns, at, index, index, value, *kind)
        n, nnz = self._numbers([p.n for p in self.patterns]), self._numbers([p.nnz for p in self.patterns])
        starts, columns = (self._table([pair[which] for pair in self._indices]) for which in (0, 1))
        return cudss.matrix_create_batch_csr(
            len(self.members), n, n, nnz, starts, 0, columns, values.table, INTEGER, index, value, *kind
        )

    def _create_dense(self, operand: Located) -> int:
        columns = [self.problem.columns[i] for i in self.members]
        value, order = DATA_TYPE[self.problem.dtype], cudss.Layout.COL_MAJOR
        if not self.together:
            n = self.patterns[0].n
            at, leading = operand.addresses[self.members[0]], operand.places.leading or n
            return cudss.matrix_create_dn(n, 1 if self.columnwise else columns[0], leading, at, value, order)
        n = self._numbers([p.n for p in self.patterns])
        return cudss.matrix_create_batch_dn(
            len(self.members), n, self._numbers(columns), n, operand.table, INTEGER, value, order
        )

    def _numbers(self, numbers: Sequence[int]) -> int:
        """The address of a list of integers on the host."""
        self._keep.append(np.array(numbers, np.int32))
        return address(self._keep[-1])

    def _table(self, addresses: Sequence[int]) -> int:
        """The address of a list of addresses on the device."""
        owner, (table,) = upload([np.array(addresses, np.uint64)], self.handle.queue)
        self._keep.append(owner)
        return table

    def __del__(self) -> None:
        if sys.is_finalizing():
            return
        self.handle.destroy_data(self.data)
        for matrix, _ in self._described.values():
            self.library.matrix_destroy(matrix)
        if self.config:
            self.library.config_destroy(self.config)
