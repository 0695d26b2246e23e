"""The programs of dense systems: what stands around a library's factorization and solution.

A factorization is a copy of the matrix that measures it (its norm, and its products with a random vector), and the
library's call on the copy. A solution is a copy of b that projects it, the library's call, and a look at what came out:
v·b - w·x with w = Aᵀv is a random projection of the residual (docs/architecture.md, "How an answer is trusted").

Matrices are factorized as they lie: one that lies by rows is the transposed one by columns, and systems with it are
solved with the transposed factors. What conjugates, conjugates b on its way in and x on its way out. So a library has
two things to solve, with its factors and with the transposed ones.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

import planmath.linalg.solver.kernels as kernels
from planmath.core.accuracy import limits_of
from planmath.core.arrays import ITEMSIZE, REAL_OF, contiguous_strides
from planmath.core.executor import Program
from planmath.linalg.product.matrix import Matrix, batch_loops
from planmath.linalg.solver.problem import RECTANGULAR, DenseProblem, Form, LinearSystem, Region, Unusual
from planmath.native.call import Call, Slot

#: Bytes at multiples of which parts of a plan's memory begin.
ALIGNMENT = 64
#: What `solve` may be asked for: whether with the transposed matrix, and whether with the conjugated one.
TRANS = {"N": (False, False), "T": (True, False), "C": (True, True)}
#: Forms of which what lies by rows is taken as the transposed matrix.
BY_ROWS = ("ge", "po", "sy", "he", "tr")
#: Those of which the other triangle is a mirror image.
MIRRORED = {
    "sy": kernels.SYMMETRIC, "he": kernels.HERMITIAN, "po": kernels.HERMITIAN, "pb": kernels.HERMITIAN,
}  # fmt: skip


class Place(NamedTuple):
    """Where the first of a batch's systems has something, and the bytes to the next one along each axis."""

    slot: Slot
    steps: tuple[int, ...] = ()

    def behind(self, offset: int) -> Place:
        """What is some bytes behind it."""
        return self._replace(slot=self.slot._replace(offset=self.slot.offset + offset))


class Sides(NamedTuple):
    """Right-hand sides where a library turns them into solutions."""

    place: Place
    matrix: Matrix
    """Its rows, columns and strides."""
    by_rows: bool
    """Whether rows follow each other, so that a library sees the transposed matrix."""


class Memory:
    """A plan's own memory, as it is handed out."""

    def __init__(self) -> None:
        self.size = 0

    def region(self, shape: tuple[int, ...], dtype: str) -> Region:
        found = Region(-(-self.size // ALIGNMENT) * ALIGNMENT, shape, dtype)
        self.size = found.offset + found.size
        return found


class Routine(Protocol):
    """How a library factorizes matrices of one form, and solves with the factors."""

    most_by_rows: int
    """Up to how many unknowns it solves right-hand sides of which rows follow each other as they lie."""

    def memory(self, part: Assembly) -> None:
        """Reserve what it needs."""

    def factorize(self, part: Assembly) -> None: ...

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None: ...

    def run(self, part: Assembly, name: str, arguments: Sequence[Any], batch: tuple[int, ...]) -> None:
        """Add a call of a routine of the library, named without the letter of the dtype, for each of a batch."""


class Assembly:
    """The calls on systems of one form, and where they have what in the plan's memory.

    Parameters
    ----------
    problem : DenseProblem
    system : LinearSystem
    form : Form
        What its matrices are taken for.
    routine : Routine
    memory : Memory

    Attributes
    ----------
    transposed : bool
        Whether what is factorized is the transposed matrix.
    a : Matrix
        What is factorized, in the user's memory.
    regions : dict
        The parts of the plan's memory with something of each matrix, by name.
    leading, f_row, f_col, f_start : int
        Where its elements are among the factors.
    """

    #: whether single systems of a batch can be solved with their factors
    solves_alone = True

    @property
    def factored(self) -> Assembly:
        """What has the factors."""
        return self

    def __init__(self, problem: DenseProblem, system: LinearSystem, form: Form, routine: Routine, memory: Memory):
        self.problem, self.system, self.routine, self.reserve = problem, system, routine, memory
        self.dtype = system.a.dtype
        self.real = REAL_OF.get(self.dtype, self.dtype)
        self.is_complex = self.real != self.dtype
        a = system.a
        tall = form.kind == "ls" and a.rows < a.cols
        self.transposed = tall or (form.kind in BY_ROWS and abs(a.col) < abs(a.row))
        self.form = form.T if self.transposed else form
        self.a = a.T if self.transposed else a
        self.rows, self.cols = self.a.rows, self.a.cols
        itemsize = ITEMSIZE[self.dtype]
        self._slots = [
            Slot(number, start * itemsize)
            for number, (_, start) in zip(problem.numbers(system), system.places, strict=True)
        ]
        self.keep: list[Any] = []
        self.calls: list[Call] = []
        #: the number that decides whether calls are made, and its dtype
        self.unless_zero: tuple[Slot, str] | None = None
        self.regions: dict[str, Region] = {}
        self.leading, self.f_row, self.f_col, self.f_start = self.rows, 1, self.rows, 0
        self.add("status", 1, "int32")
        self.add("squares", 1, "float64")
        self.add("w", self.cols, self.dtype)
        self.add("u", self.rows, self.dtype)
        self._projections = memory.region((system.solutions, 6, system.columns), "float64")
        self._ignored = memory.region((1,), "int32")
        self.scratch: Region | None = None
        #: temporary memory of a routine
        self.work: Any = None
        by_columns = self.a.has_leading and not self.a.leading[0]
        #: whether the factors are where the matrices are
        self.there = by_columns and (problem.inplace[0] or form.kind == "tr")
        if self.there:
            self.leading = self.f_col = self.a.leading[1]
        routine.memory(self)
        if not self.there and "factors" not in self.regions:
            self.add("factors", self.rows * self.cols, self.dtype)
        self.probe = probe(max(self.rows, self.cols), self.real)
        self.keep.append(self.probe)

    @property
    def ignored(self) -> Place:
        """Where a solution's status goes, which tells nothing but wrong arguments."""
        return Place(Slot(self.problem.memory, self._ignored.offset))

    def add(self, name: str, elements: int, dtype: str) -> None:
        """Reserve memory for something of each matrix."""
        self.regions[name] = self.reserve.region((self.system.factorizations, elements), dtype)

    # Where things are.

    def place(self, name: str) -> Place:
        """Something of each matrix."""
        return self._in_memory(self.regions[name], self.system.matrices)

    def _in_memory(self, region: Region, batch: tuple[int, ...]) -> Place:
        each = region.size // region.shape[0]
        steps = contiguous_strides(batch)
        slot = Slot(self.problem.memory, region.offset)
        return Place(slot, tuple(0 if n == 1 else step * each for n, step in zip(batch, steps, strict=True)))

    def projections(self, memory: np.ndarray) -> np.ndarray:
        """Those of b and x: of each solution real parts, imaginary parts and squares."""
        return self._projections.view(memory)

    def operand(self, which: int, matrix: Matrix) -> Place:
        """The user's a (0), b (1) or x (2)."""
        itemsize = ITEMSIZE[self.dtype]
        return Place(self._slots[which], tuple(step * itemsize for step in matrix.batch))

    @property
    def f(self) -> Place:
        """The factors."""
        return self.operand(0, self.a) if self.there else self.place("factors")

    def alone(self, index: int) -> Assembly:
        """The same with one matrix of the batch."""
        whole, other = self.system, copy.copy(self)
        at = np.unravel_index(index, whole.matrices) if whole.matrices else ()
        start = sum(int(i) * step for i, step in zip(at, self.a.batch, strict=True)) * ITEMSIZE[self.dtype]
        other.system = whole._replace(batch=(), matrices=())
        other.a = self.a._replace(batch=())
        other._slots = [self._slots[0]._replace(offset=self._slots[0].offset + start), *self._slots[1:]]
        other.regions = {name: region.alone(index) for name, region in self.regions.items()}
        other.calls, other.keep = [], [*self.keep]
        return other

    # Calls.

    def call(self, function: int, name: str, arguments: Sequence[Any], batch: tuple[int, ...], **checks: Any) -> None:
        """Add a call for each system of a batch; a `Place` among the arguments moves with them."""
        places = [argument for argument in arguments if isinstance(argument, Place)]
        loops = batch_loops(batch, [place.steps or (0,) * len(batch) for place in places])
        words = [argument.slot if isinstance(argument, Place) else argument for argument in arguments]
        checks["unless_zero"] = self.unless_zero
        self.calls.append(Call(function, words, name=name, loops=loops, keep=self.keep, **checks))

    def fortran(self, function: int, name: str, arguments: Sequence[Any], batch: tuple[int, ...]) -> None:
        """The same for Fortran, which takes addresses of numbers and letters, and the letters' lengths at the end."""
        words: list[Any] = []
        for argument in arguments:
            if isinstance(argument, Place):
                words.append(argument)
                continue
            value: Any = argument
            if isinstance(argument, bytes):
                value = ctypes.c_char(argument)
            elif isinstance(argument, int):
                value = ctypes.c_int(argument)
            self.keep.append(value)
            words.append(value.ctypes.data if isinstance(value, np.ndarray) else ctypes.addressof(value))
        letters = sum(isinstance(argument, bytes) for argument in arguments)
        self.call(function, name, [*words, *[1] * letters], batch)

    # Programs.

    def factorization(self) -> list[Call]:
        """The calls that factorize."""
        self.calls = []
        form, a, matrices = self.form, self.a, self.system.matrices
        flag = MIRRORED.get(form.kind, kernels.UNIT if form.unit else 0) | (kernels.MEASURE if self.there else 0)
        target = self.f.behind(self.f_start * ITEMSIZE[self.dtype])
        measured = [self.place(name) for name in ("w", "u", "squares")]
        self.call(
            kernels.TAKE[self.dtype], "copy of a",
            [flag, self.rows, self.cols, *form.reach(self.rows, self.cols), a.row, a.col, self.f_row, self.f_col,
             self.probe.ctypes.data, self.operand(0, a), target, *measured],
            matrices,
        )  # fmt: skip
        self.factorize()
        if self.problem.inplace[0] and not self.there:  # nothing is projected: the sizes of columns are thrown away
            unused = np.empty(3 * self.cols)
            self.keep.append(unused)
            self.call(
                kernels.GIVE[self.dtype], "factors to a",
                [0, self.rows, self.cols, self.f_row, self.f_col, a.row, a.col, self.probe.ctypes.data, self.f,
                 self.operand(0, a), unused.ctypes.data],
                matrices,
            )  # fmt: skip
        everything = [Place(self.place(name).slot) for name in ("status", "squares")]
        arguments = [self.system.factorizations, *everything, int(self.real == "float32")]
        self.call(
            kernels.FACTORIZED, "factorization", arguments, (), returns_status=True, goes_on=True, error=Unusual
        )
        return self.calls

    def factorize(self) -> None:
        """Make factors of the copy."""
        self.routine.factorize(self)

    def turned(self, trans: str) -> tuple[bool, bool]:
        """Whether to solve with the transposed factors, and whether to conjugate what goes in and comes out."""
        transposed, conjugate = TRANS[trans]
        transposed, conjugate = transposed != self.transposed, conjugate != self.system.a.conjugate
        if transposed and self.form.kind in MIRRORED:
            transposed, conjugate = False, conjugate != (self.form.kind != "sy")
        elif transposed and self.form.kind == "ls":
            conjugate = not conjugate
        return transposed, conjugate and self.is_complex

    def solution(self, trans: str) -> list[Call]:
        """The calls that solve."""
        self.calls = []
        system, batch, k = self.system, self.system.batch, self.system.columns
        transposed, conjugate = self.turned(trans)
        sides = self._sides()
        flips = sides.by_rows and self.form.kind == "po"  # the transposed matrix is the conjugated one
        conjugate = conjugate != (flips and self.is_complex)
        y, b, x = sides.matrix, system.b, system.x
        flag = kernels.CONJUGATE if conjugate else 0
        projections = self._in_memory(self._projections, batch)
        self.call(
            kernels.GIVE[self.dtype], "copy of b",
            [flag, b.rows, k, b.row, b.col, y.row, y.col, self.probe.ctypes.data, self.operand(1, b), sides.place,
             projections],
            batch,
        )  # fmt: skip
        self.routine.solve(self, transposed, sides)
        # the transpose of what is solved with, times the probe
        weights = self.place("u" if transposed or flips else "w")
        limits = limits_of(self.dtype)
        self.keep.append(limits)
        judged = limits.ctypes.data if self.form.kind not in RECTANGULAR else 0
        self.call(
            kernels.JUDGE[self.dtype], "judgement",
            [flag, x.rows, k, y.row, y.col, x.row, x.col, weights, sides.place, self.operand(2, x),
             self.place("squares"), projections, judged],
            batch, returns_status=True, goes_on=True, error=Unusual,
        )  # fmt: skip
        return self.calls

    def _sides(self) -> Sides:
        """Where solutions are found: in x if its strides are such that a library can work there."""
        system, x, k = self.system, self.system.x, self.system.columns
        if self.form.kind not in RECTANGULAR:
            if x.row == 1 and (k == 1 or x.col >= self.rows):
                return Sides(self.operand(2, x), x._replace(col=max(x.col, self.rows)), False)
            if x.col == 1 and k > 1 and x.row >= k and self.rows <= self.routine.most_by_rows:
                return Sides(self.operand(2, x), x, True)
        rows = max(system.b.rows, system.x.rows)
        if self.scratch is None:
            self.scratch = self.reserve.region((system.solutions, rows * k), self.dtype)
        return Sides(self._in_memory(self.scratch, system.batch), Matrix(self.dtype, rows, k, 1, rows), False)

    def solving_one(self, index: int, transposed: bool, columns: int) -> Program:
        """What solves with the factors of one matrix, for columns that follow each other, in their place.

        The addresses are those of the matrices, of the plan's memory, and of the columns.
        """
        part = self.alone(index)
        part.system = part.system._replace(b=part.system.b._replace(cols=columns))
        matrix = Matrix(self.dtype, self.rows, columns, 1, self.rows)
        self.routine.solve(part, transposed, Sides(Place(Slot(self.problem.memory + 1)), matrix, False))
        return Program(part.calls)


def probe(n: int, dtype: str) -> np.ndarray:
    """Numbers of mean 0 and variance 1: the square of their product with a residual has the residual's as its mean."""
    return np.random.default_rng(n).uniform(-(3**0.5), 3**0.5, n).astype(dtype)
