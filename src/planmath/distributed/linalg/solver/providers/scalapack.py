"""Factorizations and solutions by ScaLAPACK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.bindings.scalapack import LETTER
from planmath.core.arrays import Package
from planmath.core.collective import sections
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Moves, Traffic
from planmath.core.collective.process_group import ReductionOp
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.distributed.linalg.providers import Blocked, Grid, ScaLAPACKProvider, descriptor
from planmath.distributed.linalg.solver.problem import SolverProblem
from planmath.distributed.linalg.solver.providers.factors import LU, Cholesky, as_indices
from planmath.distributed.linalg.solver.providers.phases import Phases
from planmath.native.call import invoke


class ScaLAPACKPhases(Phases):
    """``p?getrf`` and ``p?getrs``, or ``p?potrf`` and ``p?potrs``."""

    def __init__(self, problem: SolverProblem, library: ScaLAPACKProvider, bench: Bench):
        super().__init__(problem, library.session(0), bench)
        assert library.group is not None
        blocks, rank, itemsize = problem.blocks, problem.rank, np.dtype(problem.dtype).itemsize
        where, n, size = library.context(Grid(blocks.grid, blocks.places)), blocks.n, blocks.size
        kind = "po" if problem.structure else "ge"
        names = [f"p{LETTER[problem.dtype]}{kind}{of}_" for of in ("trf", "trs")]
        self._factorize, self._solve = [library.library.address(name) for name in names]
        self._group = library.group
        placed = tuple([
            (sections.cyclic(n, size, blocks.grid[0], p), sections.cyclic(problem.nrhs, size, blocks.grid[1], q))
            for p, q in blocks.places
        ])  # fmt: skip
        self._sides = bench.empty(sections.shape_of(placed[rank]), problem.dtype, (1, 0))
        rows = max(self._sides.shape[0], 1)
        self._traffics = [
            Traffic(Moves(problem.b, placed, itemsize, (1, 0)), rank, problem.b_strides),
            Traffic(Moves(placed, problem.b, itemsize, (1, 0)), rank, (1, rows), problem.x_strides),
        ]
        self._there, self._back_again = [library.session(0).exchange(of, False) for of in self._traffics]
        self._a = descriptor(Blocked((n, n), (size, size)), where, self.leading_dimension)
        self._b = descriptor(Blocked((n, problem.nrhs), (size, size)), where, rows)
        self._pivots = np.zeros(self._shape[0] + size, np.int32)
        self._numbers = np.array([1, n, problem.nrhs, 0], np.int32)
        self._letter = np.frombuffer(b"L" if problem.structure else b"N", np.uint8)
        row_set, column_set = blocks.placed[rank]
        #: Where this rank's part of the diagonal is: in the matrix, and in its array.
        self._diagonal, *self._places = np.intersect1d(
            as_indices(row_set), as_indices(column_set), assume_unique=True, return_indices=True
        )

    def _words(self) -> tuple[int, int, int, int]:
        first = self._numbers.ctypes.data
        return first, first + 4, first + 8, first + 12

    def replace(self, matrix: Any) -> None:
        one, n, _, info = self._words()
        words = [matrix.ctypes.data, one, one, self._a.ctypes.data]
        if self.problem.structure:
            invoke(self._factorize, self._letter.ctypes.data, n, *words, info)
        else:
            invoke(self._factorize, n, n, *words, self._pivots.ctypes.data, info)
        self._check(matrix)

    def _check(self, matrix: Any) -> None:
        """Raise on all ranks where the matrix is singular, of which not every library tells."""
        n, info = self.problem.blocks.n, int(self._numbers[3])
        least = np.array([info if info > 0 else n + 1], np.int64)
        if not self.problem.structure:
            zeros = self._diagonal[matrix[tuple(self._places)] == 0]
            least[0] = min(least[0], zeros.min(initial=n) + 1)
        self._group.allreduce_buffer(least, op=ReductionOp.MIN)
        if least[0] <= n:
            raise (Cholesky if self.problem.structure else LU).singular(int(least[0]))

    def solve(self, a: Any, b: int, x: int) -> None:
        one, n, nrhs, info = self._words()
        sides = self._sides.ctypes.data
        self._there.run(b, sides)
        factors = [self.matrix(a).ctypes.data, one, one, self._a.ctypes.data]
        pivots = [] if self.problem.structure else [self._pivots.ctypes.data]
        invoke(
            self._solve, self._letter.ctypes.data, n, nrhs, *factors, *pivots, sides, one, one, self._b.ctypes.data,
            info,
        )  # fmt: skip
        self._back_again.run(sides, x)

    def traffics(self) -> dict[str, list[Traffic]]:
        return {"right-hand sides": self._traffics[:1], "solution": self._traffics[1:]}


class ScaLAPACKSolver(ScaLAPACKProvider):
    """Systems of equations in square blocks on a grid."""

    package: Package

    def unsupported(self, problem: SolverProblem) -> str | None:
        return None

    def algorithms(self, problem: SolverProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name, (("block", problem.blocks.size),))]

    def prepare(self, problem: SolverProblem, algorithm: Algorithm) -> Prepared:
        return Prepared({None: Program(function=ScaLAPACKPhases(problem, self, Bench(self.package, self.space)))})
