"""The specification of dense systems: all that matters for planning."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from planmath.core.executor import Program
from planmath.core.provider import Prepared
from planmath.linalg.product.matrix import Matrix

#: What a matrix may be taken for, by letters as LAPACK's.
KINDS = {
    "ge": "general", "po": "positive definite", "sy": "symmetric", "he": "Hermitian", "tr": "triangular",
    "dg": "diagonal", "gb": "banded", "gt": "tridiagonal", "pb": "positive definite banded", "ls": "rectangular",
    "rr": "possibly rank-deficient",
}  # fmt: skip
#: Those that may have factors in single precision, because these are what takes the time.
MIXED = ("ge", "po", "sy", "he")
#: The dtype of such factors, by that of the matrices.
SINGLE = {"float64": "float32", "complex128": "complex64"}
#: Those that are solved in the sense of least squares; of the last one the rank is found out.
RECTANGULAR = ("ls", "rr")
#: Those of which one triangle is read.
HALVES = ("po", "sy", "he", "tr", "pb")
#: Those that have elements near the diagonal alone.
BANDS = ("gb", "gt", "pb")


class Form(NamedTuple):
    """What the matrices are taken for: which elements are read, and so which routines do the work."""

    kind: str = "ge"
    upper: bool = False
    """Of those of which one triangle is read: whether it is the upper one."""
    unit: bool = False
    """Whether ones stand on the diagonal of a triangular matrix, whatever is stored there."""
    below: int = 0
    """Of banded ones: how many diagonals there are below the main one,"""
    above: int = 0
    """and above it."""
    mixed: bool = False
    """Whether the factors are in single precision, and solutions are refined with them."""

    @property
    def T(self) -> Form:
        """That of the transposed matrix."""
        flipped = self._replace(below=self.above, above=self.below)
        return flipped._replace(upper=not self.upper) if self.kind in HALVES else flipped

    def reach(self, rows: int, cols: int) -> tuple[int, int]:
        """How many diagonals are read below the main one, and above it."""
        if self.kind in BANDS:
            return self.below, self.above
        if self.kind == "dg":
            return 0, 0
        if self.kind in HALVES:
            return (0, cols - 1) if self.upper else (rows - 1, 0)
        return rows - 1, cols - 1

    def __str__(self) -> str:
        triangle = ["upper" if self.upper else "lower"] if self.kind == "tr" else []
        single = ["in single precision"] if self.mixed else []
        return " ".join([*(["unit"] if self.unit else []), *triangle, KINDS[self.kind], *single])


class LinearSystem(NamedTuple):
    """Systems of one form: a single one, or those of a batch in one array."""

    a: Matrix
    b: Matrix
    x: Matrix
    batch: tuple[int, ...]
    matrices: tuple[int, ...]
    """The batch of a alone: with extents of 1 where a matrix serves several right-hand sides."""
    places: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    """Of each of a, b and x: among its arrays which one it is in, and how many elements behind the first."""

    @property
    def factorizations(self) -> int:
        """How many matrices are factorized."""
        return math.prod(self.matrices)

    @property
    def solutions(self) -> int:
        """How many systems are solved."""
        return math.prod(self.batch)

    @property
    def columns(self) -> int:
        return self.b.cols


class DenseProblem(NamedTuple):
    """What to solve."""

    systems: tuple[LinearSystem, ...]
    form: Form
    detect: bool
    """Whether each factorization finds out what the matrices are."""
    dtype: str
    arrays: tuple[int, int]
    """How many arrays hold matrices, and how many right-hand sides."""
    inplace: tuple[bool, bool]
    """Whether factors replace matrices, and solutions right-hand sides."""
    execution: tuple[str, int]
    package: str
    on_host: bool
    precision: str = "full"
    """Of the factors: 'full', 'mixed', or 'auto'."""
    rank_tolerance: float = 0.0
    """Of matrices whose rank is found out: the largest diagonal element, in parts of the first, that counts as zero."""

    @property
    def threads(self) -> int:
        return self.execution[1]

    @property
    def work(self) -> int:
        """Multiplications of a factorization of the largest general matrix."""
        return max(system.a.rows * system.a.cols * min(system.a.rows, system.a.cols) for system in self.systems)

    @property
    def memory(self) -> int:
        """The number of the plan's own memory among the arrays of programs: behind the matrices."""
        return self.arrays[0]

    def numbers(self, system: LinearSystem) -> tuple[int, int, int]:
        """The numbers of the arrays of a, b and x."""
        (a, _), (b, _), (x, _) = system.places
        first_b = self.arrays[0] + 1
        return a, first_b + b, first_b + (b if self.inplace[1] else self.arrays[1] + x)


def may_be_mixed(problem: DenseProblem) -> bool:
    """Whether factors in single precision make sense."""
    return problem.form.kind in MIXED and problem.dtype in SINGLE and not problem.inplace[0]


class Region(NamedTuple):
    """Part of a plan's own memory."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def alone(self, index: int) -> Region:
        """That of one matrix of the batch."""
        each = self.size // self.shape[0]
        return Region(self.offset + index * each, (1, *self.shape[1:]), self.dtype)

    def view(self, memory: np.ndarray) -> np.ndarray:
        """As an array."""
        return np.ndarray(self.shape, self.dtype, memory, self.offset)


@dataclass(frozen=True, slots=True)
class PreparedSolver(Prepared):
    """A way to solve systems made ready. Its programs solve, by `trans`.

    The arrays that all programs refer to are the matrices, the plan's own memory, the right-hand sides and the
    solutions.

    Parameters
    ----------
    factorization : Program
        Raises `Unusual` where a status or a norm is not ordinary.
    memory_size : int
        Bytes of the plan's own memory.
    parts : tuple
        For each of the problem's systems, where it has what in there (`providers.assembly.Assembly`).
    again : callable
        The same for matrices that are taken for something else.
    """

    factorization: Any = None
    memory_size: int = 0
    parts: tuple[Any, ...] = ()
    again: Callable[[Form], PreparedSolver] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def factorize(self) -> Program:
        return self.factorization


class Unusual(Exception):
    """A phase ended with something to look at: a status, a norm, or an error that is not small."""

    def __init__(self, status: int = 0, name: str = ""):
        super().__init__(f"{name}: {status}")
