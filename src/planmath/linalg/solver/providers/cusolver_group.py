"""Systems of one size on a device: where they have what, and the calls that factorize and solve them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from planmath.core.accuracy import limits_of
from planmath.core.arrays import ITEMSIZE, REAL_OF
from planmath.core.cuda.device_arrays import ALIGNMENT, overwrite
from planmath.core.cuda.queue import Queue
from planmath.linalg.product.matrix import Matrix
from planmath.linalg.solver import device_kernels
from planmath.linalg.solver.device_kernels import MOVING, REFINING, TAKING, WEIGHING, Kernels, record
from planmath.linalg.solver.problem import BANDS, RECTANGULAR, DenseProblem, Form, LinearSystem, Region
from planmath.linalg.solver.providers.assembly import BY_ROWS, TRANS, Memory, probe
from planmath.linalg.solver.providers.cusolver_routines import Handles, Routine, routine_of, runtime_call
from planmath.linalg.solver.providers.least_squares import rounding
from planmath.native.call import Call

#: Forms of which the other triangle is a mirror image.
MIRRORED = {
    "sy": device_kernels.SYMMETRIC, "he": device_kernels.HERMITIAN, "po": device_kernels.HERMITIAN,
    "pb": device_kernels.HERMITIAN,
}  # fmt: skip
#: Those of which LU is made, of all elements.
BY_LU = ("ge", "he", "gb", "gt")
#: Sums of squares between these and infinity are those of elements whose own squares are in range.
TINY = {"float32": 1e-20, "float64": 1e-270}


class HostPart(NamedTuple):
    """What a `Judgement` knows of a system, as of the CPU's."""

    system: LinearSystem
    form: Form
    transposed: bool
    regions: dict[str, Region]
    projected: Region
    group: Any
    """The system's `Group`."""
    first: int
    """The number of its first matrix there."""

    @property
    def solves_alone(self) -> bool:
        """Whether one matrix's factors can be solved with by themselves."""
        return True

    def projections(self, memory: np.ndarray) -> np.ndarray:
        """Those of right-hand sides and solutions."""
        return self.projected.view(memory)


class Operand:
    """Where the matrices or right-hand sides of a group are among the user's arrays.

    Parameters
    ----------
    numbers : numpy.ndarray
        The number of each one's array.
    offsets : numpy.ndarray
        And the bytes behind the array's first element.
    matrix : Matrix
        Its strides.
    """

    def __init__(self, numbers: np.ndarray, offsets: np.ndarray, matrix: Matrix):
        self.numbers, self.offsets, self.row, self.col = numbers, offsets.astype(np.int64), matrix.row, matrix.col
        self.together = bool((numbers == numbers[0]).all())
        self._table, self._given = 0, np.zeros(0, np.int64)

    @property
    def size(self) -> int:
        return self.offsets.nbytes

    def put(self, table: int, queue: Queue) -> None:
        """Leave on the device, at this address, what does not change."""
        self._table = table
        if self.together:
            overwrite(table, self.offsets, queue)

    def place(self, addresses: Sequence[int], queue: Queue) -> tuple[int, ...]:
        """What kernels are told, for arrays at these addresses."""
        if self.together:
            return addresses[int(self.numbers[0])], self._table, 0, self.row, self.col
        given = np.array(addresses, np.int64)[self.numbers] + self.offsets
        if not np.array_equal(given, self._given):
            overwrite(self._table, given, queue)
            self._given = given
        return 0, 0, self._table, self.row, self.col


class Group:
    """Systems that are factorized, and solved, together: those of a batch, or members of sequences that are alike.

    Parameters
    ----------
    problem : DenseProblem
    members : sequence of int
        The numbers of the problem's systems.
    form : Form
        What the matrices are taken for.
    settings : tuple of bool
        Whether to work on all at once, whether on symmetric matrices by LU, and whether on banded ones in their bands.
    handles : Handles
    queue : Queue
    found : numpy.ndarray
        Two integers in memory that the device writes to: of the last factorization, and the last solution, that was
        not ordinary.
    """

    #: whether libraries are called, which have to be told the stream
    libraries = True

    def __init__(
        self, problem: DenseProblem, members: Sequence[int], form: Form, settings: tuple[bool, bool, bool],
        handles: Handles, queue: Queue, found: np.ndarray,
    ):  # fmt: skip
        self.problem, self.members, self.handles, self.queue = problem, tuple(members), handles, queue
        self.found, self._offsets, self.size = found, dict[str, int](), 0
        self._tables = dict[str, tuple[str, int]]()
        #: the parameters that tell where b is, of the copies that are kept where x replaces it, by `trans`
        self.keepings = dict[str, np.ndarray]()
        system = self.system = problem.systems[members[0]]
        several = len(members)
        self.dtype, self.k = system.a.dtype, system.columns
        self.count, self.solutions = system.factorizations * several, system.solutions * several
        self.per_matrix = self.solutions // self.count
        self.columns = self.per_matrix * self.k
        is_wide = form.kind in RECTANGULAR and system.a.rows < system.a.cols
        self.transposed = is_wide or (form.kind in BY_ROWS and abs(system.a.col) < abs(system.a.row))
        self.form = form.T if self.transposed else form
        self.a = system.a.T if self.transposed else system.a
        #: of what is factorized, which has at least as many rows as columns; right-hand sides and solutions have room
        #: for as many
        self.rows, self.cols = self.a.rows, self.a.cols
        self.kernels = Kernels(self.dtype, self.rows, self.cols, queue.device_id)
        below, above = form.below, form.above
        self.band = (below + above, below + above) if form.kind == "pb" else (below, above)
        self.tolerance = problem.rank_tolerance
        self.in_band = form.kind in BANDS and settings[2]
        self.by_lu = form.kind in BY_LU or (form.kind == "sy" and settings[1])
        #: positions of solutions, those of each matrix together -> their numbers in the batch
        matrix_of = np.broadcast_to(np.arange(system.factorizations).reshape(system.matrices), system.batch)
        self.order = np.argsort(matrix_of.reshape(-1), kind="stable")
        self.operands = self._operands()
        rows, cols, itemsize = self.rows, self.cols, ITEMSIZE[self.dtype]
        each = rows if form.kind == "dg" else rows * cols
        if self.in_band:
            each = (2 * self.band[0] + self.band[1] + 1) * cols
        for name, size in (
            ("factors", self.count * each * itemsize), ("y", self.sides), ("w", self.count * cols * itemsize),
            ("u", self.count * rows * itemsize), ("status", 4 * self.count), ("squares", 8 * self.count),
            ("projections", 48 * self.solutions * self.k), ("v", rows * itemsize), ("offsets", 8 * self.solutions),
        ):  # fmt: skip
            self.reserve(name, size)
        for name, operand in zip("abx", self.operands, strict=True):
            self.reserve(name, operand.size)
        if problem.inplace[1]:
            self.reserve("kept", self.sides)
        if rows != cols:
            self.reserve("short offsets", 8 * self.solutions)
        if form.kind != "dg" and not self.in_band and not self.kernels.small:
            row_tiles, col_tiles = self.kernels.tiles
            wide = 16 if self.dtype in REAL_OF else 8
            self.reserve("w_parts", self.count * row_tiles * cols * wide)
            self.reserve("u_parts", self.count * col_tiles * rows * wide)
            self.reserve("square_parts", self.count * row_tiles * col_tiles * 8)
        self.routine = self._routine_of(settings)

    def _routine_of(self, settings: tuple[bool, bool, bool]) -> Routine:
        """What works on the matrices."""
        return routine_of(self, *settings)

    def _operands(self) -> tuple[Operand, Operand, Operand]:
        found = []
        itemsize = ITEMSIZE[self.dtype]
        for which in range(3):
            numbers, offsets = [], []
            for member in self.members:
                system = self.problem.systems[member]
                number, start = system.places[which]
                matrix = (system.a, system.b, system.x)[which]
                batch = system.batch if which else system.matrices
                own = start + _steps(batch, matrix.batch)
                own = own[self.order] if which else own
                if which == 2 and self.problem.inplace[1]:
                    number = system.places[1][0]
                numbers.append(np.full(len(own), number))
                offsets.append(own * itemsize)
            system = self.system
            matrix = (self.a, system.b, system.x)[which]
            found.append(Operand(np.concatenate(numbers), np.concatenate(offsets), matrix))
        return found[0], found[1], found[2]

    @property
    def sides(self) -> int:
        """Bytes of right-hand sides or solutions that lie column by column."""
        return self.solutions * self.k * self.rows * ITEMSIZE[self.dtype]

    # Memory.

    def reserve(self, name: str, size: int) -> None:
        """Ask for so many bytes of device memory."""
        self._offsets[name] = self.size
        self.size += -(-size // ALIGNMENT) * ALIGNMENT

    def reserve_table(self, name: str, region: str, step: int) -> None:
        """Ask for a table of addresses of each matrix's part of a region."""
        self.reserve(name, 8 * self.count)
        self._tables[name] = region, step

    def at(self, name: str, offset: int = 0) -> int:
        """Where that is, once there is memory."""
        return self._start + self._offsets[name] + offset if name in self._offsets else 0

    def settle(self, start: int) -> None:
        """Take the memory at an address, and leave there what does not change."""
        self._start, queue = start, self.queue
        for name, operand in zip("abx", self.operands, strict=True):
            operand.put(self.at(name), queue)
        for name, (region, step) in self._tables.items():
            overwrite(self.at(name), self.at(region) + step * np.arange(self.count, dtype=np.int64), queue)
        each = self.rows * self.k * ITEMSIZE[self.dtype]
        overwrite(self.at("offsets"), each * np.arange(self.solutions, dtype=np.int64), queue)
        if self.rows != self.cols:
            short = self.cols * self.k * ITEMSIZE[self.dtype]
            overwrite(self.at("short offsets"), short * np.arange(self.solutions, dtype=np.int64), queue)
        overwrite(self.at("v"), probe(self.rows, REAL_OF.get(self.dtype, self.dtype)).astype(self.dtype), queue)
        overwrite(self.at("status"), np.zeros(self.count, np.int32), queue)
        self._make_records()

    def _make_records(self) -> None:
        below, above = self.form.reach(self.rows, self.cols)
        flags = MIRRORED.get(self.form.kind, 0) | (device_kernels.UNIT if self.form.unit else 0)
        row_tiles, col_tiles = self.kernels.tiles
        whole = self.form.kind in MIRRORED and (self.by_lu or self.form.mixed)
        names = "factors", "w", "u", "squares", "status", "v", "w_parts", "u_parts", "square_parts"
        self.taking = record(
            TAKING, **{name: self.at(name) for name in names}, count=self.count, rows=self.rows, cols=self.cols,
            below=below, above=above, flags=flags | (device_kernels.EXPAND if whole else 0), row_tiles=row_tiles,
            col_tiles=col_tiles, tolerance=rounding(self.dtype, self.rows),
        )  # fmt: skip
        tiny = TINY[REAL_OF.get(self.dtype, self.dtype)]
        self.weighing = record(
            WEIGHING, status=self.at("status"), squares=self.at("squares"), count=self.count, tiny=tiny,
            found=self.found.ctypes.data,
        )  # fmt: skip
        self.refining = record(
            REFINING, rows=self.rows, cols=self.cols, b_rows=self.rows, below=below, above=above, flags=flags,
            columns=self.solutions * self.k, columns_of_matrix=self.columns, k=self.k, status=self.at("status"),
        )  # fmt: skip
        tolerance, product, growth = limits_of(self.dtype)
        self._moving = record(
            MOVING, squares=self.at("squares"), projections=self.at("projections"), n=self.system.b.rows, k=self.k,
            per_matrix=self.per_matrix, columns=self.solutions * self.k, tolerance=tolerance, product=product,
            growth=growth, tiny=tiny, found=self.found[1:].ctypes.data,
        )  # fmt: skip

    def packed(self, address: int, rows: int = 0) -> tuple[int, ...]:
        """The place of right-hand sides that lie column by column, one behind the other, in room for a matrix's rows,
        or for fewer, as many as its columns."""
        if rows in (0, self.rows):
            return address, self.at("offsets"), 0, 1, self.rows
        return address, self.at("short offsets"), 0, 1, self.cols

    # Calls.

    def factorization(self) -> list[Call]:
        """What factorizes the matrices."""
        kind = self.form.kind
        calls = self.kernels.take(self.taking, self.count, "band" if self.in_band else kind)
        if kind == "dg":
            calls.append(self.kernels.launch_blocks("zeros_of_diagonals", self.count, self.taking))
        calls += [*self._before_factors(), *self.routine.factorize()]
        if kind == "ls":
            calls.append(self.kernels.launch_blocks("dependent_columns", self.count, self.taking))
        if kind == "tr" and not self.form.unit:
            calls.append(self.kernels.launch_blocks("zeros_of_triangles", self.count, self.taking))
        if self.problem.inplace[0]:
            calls.append(self.kernels.launch("give_back", self.count * self.rows * self.cols, self.taking))
        return [*calls, self.kernels.launch("weigh", self.count, self.weighing)]

    def _before_factors(self) -> list[Call]:
        """What is done with copies of matrices before they are factorized."""
        return []

    def moving(self, source: tuple[int, ...], target: tuple[int, ...], flags: int = 0, **fields: Any) -> np.ndarray:
        """The parameters of a copy of right-hand sides or solutions."""
        made = self._moving.copy()
        made["source"][0], made["target"][0], made["flags"] = source, target, flags
        for name, value in fields.items():
            made[name] = value
        return made

    def turned(self, trans: str) -> tuple[bool, bool]:
        """Whether to solve with the transposed factors, and whether to conjugate what goes in and comes out."""
        transposed, conjugate = TRANS[trans]
        transposed, conjugate = transposed != self.transposed, conjugate != self.system.a.conjugate
        if transposed and self.form.kind in MIRRORED:
            transposed, conjugate = False, conjugate != (self.form.kind != "sy")
        elif transposed and self.form.kind in RECTANGULAR:
            conjugate = not conjugate
        return transposed, conjugate and self.dtype in REAL_OF

    def solution(self, trans: str) -> tuple[list[Call], tuple[np.ndarray, np.ndarray]]:
        """What solves: the calls, and the parameters that tell where b and x are, of the first and of the last."""
        transposed, conjugate = self.turned(trans)
        y, nowhere = self.packed(self.at("y")), (0, 0, 0, 0, 0)
        first, after = (device_kernels.FIRST, device_kernels.AFTER) if conjugate else (0, 0)
        projects, judges = device_kernels.PROJECTS, device_kernels.JUDGES
        giving = self.moving(nowhere, y, projects | first, weights=self.at("v"))
        weights = self.at("u" if transposed else "w")
        # of what is no solution but in the sense of least squares, no projection tells anything
        judges = 0 if self.form.kind in RECTANGULAR else judges
        step = self.rows if transposed else self.cols
        judging = self.moving(
            y, nowhere, projects | judges | after, weights=weights, weights_step=step, part=1, n=self.system.x.rows
        )  # fmt: skip
        calls = [*self._keeping(trans), self.kernels.move(giving), *self.routine.solve(transposed)]
        if transposed and self.form.kind == "ls":  # behind b, which is shorter, are zeros
            calls.insert(0, runtime_call("cudaMemsetAsync", self.at("y"), 0, self.sides))
        return [*calls, self.kernels.move(judging)], (giving, judging)

    def _keeping(self, trans: str) -> list[Call]:
        """What keeps right-hand sides that solutions replace."""
        if not self.problem.inplace[1]:
            return []
        self.keepings[trans] = self.moving((0, 0, 0, 0, 0), self.packed(self.at("kept")))
        return [self.kernels.move(self.keepings[trans])]

    def solving(self, trans: str, source: int, target: int) -> list[Call]:
        """What solves for right-hand sides that lie column by column, into memory like that."""
        transposed, conjugate = self.turned(trans)
        first, after = (device_kernels.FIRST, device_kernels.AFTER) if conjugate else (0, 0)
        y = self.packed(self.at("y"))
        before, behind = self.moving(self.packed(source), y, first), self.moving(y, self.packed(target), after)
        return [self.kernels.move(before), *self.routine.solve(transposed), self.kernels.move(behind)]

    # What the host knows of them.

    def where(self, position: int) -> tuple[int, int]:
        """Of a solution: the number of its system among the problem's, and its own there."""
        if len(self.members) > 1:
            return self.members[position], 0
        return self.members[0], int(self.order[position])

    def position(self, number: int, i: int) -> int:
        """The reverse."""
        return self.members.index(number) if len(self.members) > 1 else int(np.flatnonzero(self.order == i)[0])

    def facts(self, memory: Memory) -> tuple[tuple[Region, Region, Region], dict[int, HostPart]]:
        """Room on the host for what is known of the systems: of all together, and of each."""
        status = memory.region((self.count, 1), "int32")
        squares = memory.region((self.count, 1), "float64")
        projections = memory.region((self.solutions, 6, self.k), "float64")
        parts = {}
        for place, member in enumerate(self.members):
            own = (status, squares, projections)
            if len(self.members) > 1:
                own = status.alone(place), squares.alone(place), projections.alone(place)
            regions = {"status": own[0], "squares": own[1]}
            system = self.problem.systems[member]
            parts[member] = HostPart(system, self.form, self.transposed, regions, own[2], self, place)
        return (status, squares, projections), parts


def _steps(batch: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """How many elements each one of a batch is behind the first."""
    found = np.zeros(batch, np.int64)
    for axis, (extent, step) in enumerate(zip(batch, steps, strict=True)):
        found += (np.arange(extent, dtype=np.int64) * step).reshape(-1, *(1,) * (len(batch) - axis - 1))
    return found.reshape(-1)


def groups_of(problem: DenseProblem) -> list[list[int]]:
    """The numbers of systems that may be worked on together."""
    if len(problem.systems) == 1:
        return [[0]]
    found: dict[Any, list[int]] = {}
    for number, system in enumerate(problem.systems):
        found.setdefault((system.a, system.b, system.x), []).append(number)
    return list(found.values())
