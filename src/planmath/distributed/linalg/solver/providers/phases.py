"""Planned factorizations and solutions, phase by phase."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from planmath.core.arrays import Layout
from planmath.core.collective import sections
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Moves, Session, Traffic
from planmath.distributed.linalg.solver.problem import SolverProblem
from planmath.distributed.linalg.solver.providers.device_lookahead import DeviceLookahead
from planmath.distributed.linalg.solver.providers.factors import LU, Cholesky, Factors, SingularMatrixError
from planmath.distributed.linalg.solver.providers.lookahead import HostLookahead
from planmath.distributed.linalg.solver.providers.substitution import Substitution


class Phases(ABC):
    """What is done with a matrix in blocks: the user's own, or one that the user's is brought into.

    Parameters
    ----------
    problem : SolverProblem
    session : Session
        With room for the matrix, where it has to be brought into blocks.
    bench : Bench
    """

    def __init__(self, problem: SolverProblem, session: Session, bench: Bench):
        self.problem, self._bench = problem, bench
        placed, rank, itemsize = problem.blocks.placed, problem.rank, np.dtype(problem.dtype).itemsize
        self._shape = shape = sections.shape_of(placed[rank])
        self.leading_dimension = ld = problem.leading_dimension if problem.is_native else max(shape[0], 1)
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

    def matrix(self, a: Any) -> Any:
        """What is factorized."""
        if self._work is not None:
            return self._work
        space = self._bench.space
        layout = Layout(self._shape, (1, self.leading_dimension), self.problem.dtype, space.name, space.device_id)
        return self._bench.package.with_strides(a, layout)

    def factorize(self, a: Any) -> None:
        """Factorize the matrix of which this rank has a."""
        address = self._bench.package.address
        if self._into is not None:
            self._into.run(address(a), address(self._work))
        matrix = self.matrix(a)
        self.replace(matrix)
        if self._back is not None:
            self._back.run(address(matrix), address(a))

    @abstractmethod
    def replace(self, matrix: Any) -> None:
        """Replace this rank's blocks by those of the factors. Raises SingularMatrixError on all ranks."""

    @abstractmethod
    def solve(self, a: Any, b: int, x: int) -> None:
        """Solve for right-hand sides at an address, into solutions at another one."""

    @abstractmethod
    def traffics(self) -> dict[str, list[Traffic]]:
        """Of the exchanges that are planned, by what they are for."""

    def __call__(self, operands: Sequence[Any], results: Sequence[Any]) -> None:
        raise NotImplementedError("phases are executed one by one")


class BlockPhases(Phases):
    """By planmath's own factorizations."""

    def __init__(self, problem: SolverProblem, make_session: Callable[[int], Session], routines: Any, bench: Bench):
        self.routines = routines
        blocks, rank = problem.blocks, problem.rank
        shape, size, itemsize = sections.shape_of(blocks.placed[rank]), blocks.size, np.dtype(problem.dtype).itemsize
        mine = sections.size_of(problem.b[rank])
        room = max(
            blocks.n * min(size, blocks.n) * itemsize, 3 * size * shape[1] * itemsize, mine * itemsize,
            Substitution.room(blocks.n, size, blocks.grid, problem.nrhs, shape[0], itemsize),
            max(sections.size_of(problem.a[rank]), shape[0] * shape[1]) * itemsize * (not problem.is_native),
        )  # fmt: skip
        session = make_session(room)
        super().__init__(problem, session, bench)
        given = blocks, rank, problem.dtype, self.leading_dimension, session, routines, bench
        self.factors: Factors
        if problem.structure:
            self.factors = Cholesky(*given)
        elif blocks.grid[0] > 1:
            self.factors = LU(*given)
        elif bench.space.device_id is None:
            self.factors = HostLookahead(*given, make_session)
        else:
            self.factors = DeviceLookahead(*given)
        self.substitution = Substitution(self.factors, problem.b, problem.nrhs, problem.b_strides, problem.x_strides)

    def replace(self, matrix: Any) -> None:
        self._together(self.factors.factorize, matrix)

    def solve(self, a: Any, b: int, x: int) -> None:
        self._together(self.substitution.solve, self.matrix(a), b, x)

    def _together(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do something between exchanges, of which the other ranks learn where it fails on this one."""
        self.routines.limit(True)
        try:
            work(*arguments)
        except SingularMatrixError:  # on all of them
            raise
        except BaseException as error:
            self.factors.abandon(error)
            raise
        finally:
            self.routines.limit(False)

    def traffics(self) -> dict[str, list[Traffic]]:
        return {"panels of the factorization": self.factors.traffics(), "solution": self.substitution.traffics()}
