"""What solves distributed systems: planmath's own factorization in blocks, with exchanges by any transport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from planmath.core.arrays import Layout, Package, contiguous_strides
from planmath.core.collective import sections
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Moves, Session, Traffic
from planmath.core.collective.provider import TransportProvider
from planmath.core.collective.transports import TRANSPORTS
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.distributed.linalg.solver.problem import SolverProblem
from planmath.distributed.linalg.solver.providers.device_routines import DeviceRoutines
from planmath.distributed.linalg.solver.providers.factors import LU, Cholesky, Factors
from planmath.distributed.linalg.solver.providers.lookahead import Lookahead
from planmath.distributed.linalg.solver.providers.routines import Routines
from planmath.distributed.linalg.solver.providers.substitution import Substitution


class BlockProvider(TransportProvider):
    """One transport, for blocks of the size that the problem has."""

    package: Package

    def algorithms(self, problem: SolverProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name, (("block", problem.blocks.size),))]

    def prepare(self, problem: SolverProblem, algorithm: Algorithm) -> Prepared:
        bench = Bench(self.package, self.space)
        routines: Any = Routines(problem.dtype, problem.execution[1])
        if self.space.device_id is not None:
            routines = DeviceRoutines(problem.dtype, bench)
        phases = BlockPhases(problem, self.session, routines, bench)
        return Prepared({None: Program(function=phases)})


class BlockPhases:
    """Planned factorizations and solutions.

    Called as a program is, with a, b and x, it does both.
    """

    def __init__(self, problem: SolverProblem, make_session: Callable[[int], Session], routines: Any, bench: Bench):
        self.problem, self._bench, self.routines = problem, bench, routines
        blocks, rank = problem.blocks, problem.rank
        placed = blocks.placed
        shape = sections.shape_of(placed[rank])
        size, itemsize = blocks.size, np.dtype(problem.dtype).itemsize
        mine = sections.size_of(problem.b[rank])
        room = max(
            blocks.n * min(size, blocks.n) * itemsize, 3 * size * shape[1] * itemsize, mine * itemsize,
            Substitution.room(blocks.n, size, blocks.grid, problem.nrhs, shape[0], itemsize),
            max(sections.size_of(problem.a[rank]), shape[0] * shape[1]) * itemsize * (not problem.is_native),
        )  # fmt: skip
        session = make_session(room)
        kind: type[Factors] = Cholesky if problem.structure else LU
        if kind is LU and bench.space.device_id is not None and blocks.grid[0] == 1:
            kind = Lookahead
        ld = problem.leading_dimension if problem.is_native else max(shape[0], 1)
        self.factors = kind(blocks, rank, problem.dtype, ld, session, routines, bench)
        self.substitution = Substitution(self.factors, problem.b, problem.nrhs, problem.b_strides, problem.x_strides)
        self._strides = 1, ld
        self._work: Any = None
        self._into = self._back = None
        if not problem.is_native:
            self._work = bench.empty(shape, problem.dtype, (1, 0))
            given = 1, problem.leading_dimension
            there = Traffic(Moves(problem.a, placed, itemsize, (1, 0)), rank, given)
            self._into = session.exchange(there, False)
            if problem.inplace_a:
                moves = Moves(placed, problem.a, itemsize, (1, 0))
                self._back = session.exchange(Traffic(moves, rank, (1, ld), given), False)
        self._shape = shape

    def _matrix(self, a: Any) -> Any:
        """What is factorized."""
        if self._work is not None:
            return self._work
        space = self._bench.space
        layout = Layout(self._shape, self._strides, self.problem.dtype, space.name, space.device_id)
        return self._bench.package.with_strides(a, layout)

    def factorize(self, a: Any) -> None:
        """Factorize the matrix of which this rank has a."""
        address = self._bench.package.address
        if self._into is not None:
            self._into.run(address(a), address(self._work))
        matrix = self._matrix(a)
        self.routines.limit(True)
        try:
            self.factors.factorize(matrix)
        finally:
            self.routines.limit(False)
        if self._back is not None:
            self._back.run(address(matrix), address(a))

    def solve(self, a: Any, b: int, x: int) -> None:
        """Solve for right-hand sides at an address, into solutions at another one."""
        self.routines.limit(True)
        try:
            self.substitution.solve(self._matrix(a), b, x)
        finally:
            self.routines.limit(False)

    def __call__(self, operands: Sequence[Any], results: Sequence[Any]) -> None:
        raise NotImplementedError("phases are executed one by one")


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a column-major array."""
    return contiguous_strides(shape, tuple(reversed(range(len(shape)))))


#: As `planmath info` lists them.
PROVIDERS = [BlockProvider(transport) for transport in TRANSPORTS]
