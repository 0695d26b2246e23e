"""Solutions with the factors of a matrix in blocks: forward and backward substitution, block by block."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from planmath.core.collective import sections
from planmath.core.collective.exchange import Exchange, Moves, Traffic
from planmath.core.collective.sections import IndexSet
from planmath.distributed.linalg.solver.problem import Placed
from planmath.distributed.linalg.solver.providers.factors import Cholesky, Factors, as_indices, as_set


class Substitution:
    """Systems with the same factors and right-hand sides of one layout.

    A rank has the rows of its blocks of the right-hand sides, as a sum over its row of the grid. For each block the
    sum comes to the ranks of the grid's column that has the block's columns of the factor; they solve for it, and
    subtract what it means for the other rows.

    Parameters
    ----------
    factors : Factors
    b : tuple of Section
        What each rank has of the right-hand sides.
    nrhs : int
    b_strides, x_strides : tuple of int
        Of this rank's right-hand sides and solutions, in elements.
    """

    def __init__(self, factors: Factors, b: Placed, nrhs: int, b_strides: tuple[int, int], x_strides: tuple[int, int]):
        self.factors, self.b, self.nrhs, self.b_strides = factors, b, nrhs, b_strides
        blocks, rank = factors.blocks, factors.rank
        self._all = sections.interval(0, nrhs)
        self._by_rows = [self._sum_over(0, number) for number in range(len(factors.bounds))]
        self._by_columns = (
            [self._sum_over(1, number) for number in range(len(factors.bounds))]
            if isinstance(factors, Cholesky)
            else []
        )
        diagonal = []
        for place in blocks.places:
            numbers = [k for k in range(len(factors.bounds)) if blocks.owner(k) == place]
            diagonal.append((tuple([factors.bounds[k] for k in numbers]), self._all))
        merged = tuple([(as_set(as_indices(rows)), columns) for rows, columns in diagonal])
        self._solved = factors.bench.empty((sections.extent_of(merged[rank][0]), nrhs), factors.dtype, (1, 0))
        self._traffic = Traffic(
            Moves(merged, b, factors.itemsize, (1, 0)), rank, (1, max(len(self._solved), 1)), x_strides
        )
        self._result = factors.session.exchange(self._traffic, False)

    @staticmethod
    def room(n: int, size: int, grid: tuple[int, int], nrhs: int, rows: int, itemsize: int) -> int:
        """Bytes that a rank receives at once, at most."""
        return itemsize * nrhs * max(rows, max(grid) * min(size, n))

    def _sum_over(self, axis: int, number: int) -> tuple[Traffic, Exchange]:
        """The exchange that brings a block's summands together, along the rows of the grid or along its columns."""
        factors = self.factors
        blocks = factors.blocks
        bounds, owner = factors.bounds[number], blocks.owner(number)
        parts = blocks.grid[1 - axis]
        sources = tuple([
            (sections.interval(place[1 - axis], place[1 - axis] + 1), section[axis], self._all)
            for place, section in zip(blocks.places, factors.placed, strict=True)
        ])  # fmt: skip
        wanted = (sections.interval(0, parts), sections.interval(*bounds), self._all)
        nothing: tuple[IndexSet, ...] = ((), (), ())
        targets = tuple([wanted if place[1 - axis] == owner[1 - axis] else nothing for place in blocks.places])
        mine = sections.extent_of(factors.placed[factors.rank][axis])
        traffic = Traffic(Moves(sources, targets, factors.itemsize, (0, 2, 1)), factors.rank, (0, 1, max(mine, 1)))
        return traffic, factors.session.exchange(traffic, True)

    def _sum(self, planned: tuple[Traffic, Exchange], parts: Any) -> Any:
        """A block's sum, on the ranks that solve for it."""
        traffic, exchange = planned
        exchange.run_into_buffer(self.factors.bench.package.address(parts))
        total = None
        if prod(traffic.shape):
            bench = self.factors.bench
            total = bench.column_major(bench.received(exchange, traffic, self.factors.dtype).sum(axis=0))
        exchange.release()
        return total

    def solve(self, a: Any, b: int, x: int) -> None:
        """Solve with the factors in a, for right-hand sides at an address, into solutions at another one."""
        f = self.factors
        parts = self._permuted(b)
        solved: dict[int, Any] = {}
        is_cholesky = isinstance(f, Cholesky)
        for number, (start, stop) in enumerate(f.bounds):
            total = self._sum(self._by_rows[number], parts)
            if total is not None:
                found = f.routines.trsm(f.diagonal[number], total, lower=True, unit=not is_cholesky)
                solved[number] = found
                _, r1, c0, c1 = f._local(start, stop)
                parts[r1:] -= a[r1:, c0:c1] @ found
        axis = 1 if is_cholesky else 0
        parts = f.bench.zeros((len((f.rows, f.columns)[axis]), self.nrhs), f.dtype)
        for number in reversed(range(len(f.bounds))):
            start, stop = f.bounds[number]
            r0, r1, c0, c1 = f._local(start, stop)
            here = (slice(r0, r1), slice(c0, c1))[axis]
            if f.place == f.blocks.owner(number):
                parts[here] += solved[number]
            total = self._sum((self._by_columns if is_cholesky else self._by_rows)[number], parts)
            if total is None:
                continue
            solved[number] = found = f.routines.trsm(f.diagonal[number], total, lower=is_cholesky, adjoint=is_cholesky)
            if is_cholesky:
                parts[:c0] -= a[r0:r1, :c0].conj().T @ found
            else:
                parts[:r0] -= a[:r0, c0:c1] @ found
        at = 0
        for number, (start, stop) in enumerate(f.bounds):
            if f.place == f.blocks.owner(number):
                self._solved[at : at + stop - start] = solved[number]
                at += stop - start
        self._result.run(f.bench.package.address(self._solved), x)

    def _permuted(self, b: int) -> Any:
        """The right-hand sides in the order of the pivots, on the first column of the grid; zeros elsewhere."""
        f = self.factors
        rows = {
            p: f.permutation[as_indices(sections.cyclic(f.blocks.n, f.blocks.size, f.blocks.grid[0], p))]
            for p in range(f.blocks.grid[0])
        }
        sets = {p: as_set(np.sort(of)) for p, of in rows.items()}
        targets = tuple([(sets[p], self._all) if q == 0 else ((), ()) for p, q in f.blocks.places])
        traffic = Traffic(Moves(self.b, targets, f.itemsize, (1, 0)), f.rank, self.b_strides)
        exchange = f.session.exchange(traffic, True)
        exchange.run_into_buffer(b)
        parts = f.bench.zeros((len(f.rows), self.nrhs), f.dtype)
        if f.place[1] == 0 and 0 not in parts.shape:
            received = f.bench.received(exchange, traffic, f.dtype)
            mine = rows[f.place[0]]
            parts[f.bench.as_index(np.argsort(mine, kind="stable"))] = received
        exchange.release()
        return parts

    def traffics(self) -> list[Traffic]:
        return [*(traffic for traffic, _ in (*self._by_rows, *self._by_columns)), self._traffic]
