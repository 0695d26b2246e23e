"""Factors of a matrix in blocks on a grid of processes.

Each panel, the rows in a diagonal block and below, goes to every rank, which factorizes it: so all know the pivots, and
a pivot that is zero, without a word more. Then rows that change places go to where they shall be, and those of the
block row to all ranks that need them, in one exchange; what is left is local: a triangular solution and a product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from planmath.core import factorization
from planmath.core.collective import sections
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Exchange, Moves, Session, Traffic
from planmath.core.collective.sections import IndexSet
from planmath.distributed.linalg.solver.problem import Blocks
from planmath.distributed.linalg.solver.providers.routines import Routines


class SingularMatrixError(factorization.SingularMatrixError, RuntimeError):
    """A matrix across processes has no inverse, or is not positive definite although the options say so."""


def as_indices(index_set: IndexSet) -> np.ndarray:
    """An index set as an array."""
    return np.concatenate([np.arange(0), *[np.arange(start, stop) for start, stop in index_set]])


def as_set(indices: np.ndarray) -> IndexSet:
    """Sorted indices as an index set.

    Examples
    --------
    >>> as_set(np.array([1, 2, 5]))
    ((1, 3), (5, 6))
    """
    if not indices.size:
        return ()
    ends = np.flatnonzero(np.diff(indices) != 1)
    starts = [int(indices[0]), *indices[ends + 1].tolist()]
    stops = [*(indices[ends] + 1).tolist(), int(indices[-1]) + 1]
    return tuple(zip(starts, stops, strict=True))


def without(index_set: IndexSet, start: int, stop: int) -> IndexSet:
    """The indices that are not in an interval."""
    parts = [of for a, b in index_set for of in ((a, min(b, start)), (max(a, stop), b)) if of[0] < of[1]]
    return tuple(parts)


class Factors:
    """A factorization of matrices with one layout; subclasses are LU with pivots, and Cholesky.

    Parameters
    ----------
    blocks : Blocks
    rank : int
    dtype : str
    leading_dimension : int
        Of this rank's part, which is column-major, in elements.
    session : Session
        With room for a panel, and for twice the block size of rows.
    routines : Routines
    bench : Bench
        Of whose package the arrays are.
    """

    #: Whether panels come into the session's buffer, or into memory of the factorization's own.
    buffers_panels = True

    def __init__(
        self, blocks: Blocks, rank: int, dtype: str, leading_dimension: int, session: Session, routines: Routines,
        bench: Bench,
    ):  # fmt: skip
        self.bench = bench
        self.blocks, self.rank, self.dtype, self.session, self.routines = blocks, rank, dtype, session, routines
        self.itemsize = np.dtype(dtype).itemsize
        self.placed = blocks.placed
        self.strides = (1, leading_dimension)
        self.row_set, self.column_set = self.placed[rank]
        self.rows, self.columns = as_indices(self.row_set), as_indices(self.column_set)
        self.place = blocks.places[rank]
        self.bounds = blocks.bounds()
        #: The diagonal blocks of the factors, which every rank has.
        self.diagonal: list[Any] = []
        #: Which row of the matrix each row of the factors is.
        self.permutation = np.arange(blocks.n)
        self._panels = [self._panel_exchange(number) for number in range(len(self.bounds))]

    def _panel_exchange(self, number: int) -> tuple[Traffic, Exchange]:
        start, stop = self.bounds[number]
        everywhere = (sections.interval(start, self.blocks.n), sections.interval(start, stop))
        moves = Moves(self.placed, (everywhere,) * len(self.placed), self.itemsize, (1, 0))
        traffic = Traffic(moves, self.rank, self.strides)
        return traffic, self.session.exchange(traffic, self.buffers_panels)

    def traffics(self) -> list[Traffic]:
        """Of the exchanges that are planned."""
        return [traffic for traffic, _ in self._panels]

    def abandon(self, error: BaseException) -> None:
        """Take no part in the next exchange, whichever it is: all are of one session."""
        self._panels[0][1].abandon(error)

    def _fetched(self, traffic: Traffic, exchange: Exchange, a: Any) -> Any:
        """What an exchange brings, in memory of its own."""
        exchange.run_into_buffer(self.bench.package.address(a))
        copy = self.bench.copied(self.bench.received(exchange, traffic, self.dtype))
        exchange.release()
        return copy

    def factorize(self, a: Any) -> None:
        """Replace this rank's part of a matrix by that of its factors.

        Raises
        ------
        SingularMatrixError
            On all ranks, with the order of the minor that is singular, or not positive definite.
        """
        self.diagonal, self.permutation = [], np.arange(self.blocks.n)
        for number, (start, stop) in enumerate(self.bounds):
            panel = self._fetched(*self._panels[number], a)
            self._eliminate(a, number, start, stop, panel)

    def _eliminate(self, a: Any, number: int, start: int, stop: int, panel: Any) -> None:
        raise NotImplementedError

    def _local(self, start: int, stop: int) -> tuple[int, int, int, int]:
        """Where this rank's rows from two indices on begin, and its columns."""
        return (
            *np.searchsorted(self.rows, [start, stop]).tolist(),
            *np.searchsorted(self.columns, [start, stop]).tolist(),
        )

    def _keep_panel(self, a: Any, number: int, start: int, panel: Any, place: Sequence[int]) -> None:
        """Put the rows of a panel that this rank has to where they are."""
        r0, _, c0, c1 = place
        if self.place[1] == self.blocks.owner(number)[1]:
            a[r0:, c0:c1] = panel[self.bench.as_index(self.rows[r0:] - start)]


class LU(Factors):
    """L and U, with partial pivoting."""

    @staticmethod
    def singular(order: int) -> SingularMatrixError:
        return SingularMatrixError(
            f"the matrix is singular: its leading minor of order {order} is 0 in the order of the pivots", order - 1
        )

    def _eliminate(self, a: Any, number: int, start: int, stop: int, panel: Any) -> None:
        width = stop - start
        panel, pivots, zero = self.routines.getrf(panel)
        if zero:
            raise self.singular(start + zero)
        order = np.arange(self.blocks.n - start)
        for k, pivot in enumerate(pivots):
            if pivot != k:
                order[k], order[pivot] = order[pivot], order[k]
        self.permutation[start:] = self.permutation[start:][order]
        self.diagonal.append(self.bench.copied(panel[:width]))
        r0, r1, _, c1 = place = self._local(start, stop)
        top = self._exchange_rows(a, start, stop, order, place)
        self._keep_panel(a, number, start, panel, place)
        if 0 in top.shape:
            return
        top = self.routines.trsm(self.diagonal[-1], top, lower=True, unit=True)
        if self.place[0] == self.blocks.owner(number)[0]:
            a[r0:r1, c1:] = top
        below = self.bench.column_major(panel[self.bench.as_index(self.rows[r1:] - start)])
        self.routines.subtract_product(a[r1:, c1:], below, top)

    def _exchange_rows(self, a: Any, start: int, stop: int, order: np.ndarray, place: Sequence[int]) -> Any:
        """Give rows their places outside the panel; returns this rank's columns, behind it, of the block row."""
        _, _, c0, c1 = place
        width = stop - start
        moved = np.flatnonzero(order != np.arange(order.size))
        needs: dict[int, np.ndarray] = {}  # by row of the grid: which rows its ranks get
        for p in range(self.blocks.grid[0]):
            rows = moved[(moved + start) // self.blocks.size % self.blocks.grid[0] == p]
            needs[p] = np.unique(np.concatenate([order[rows], order[:width]])) + start
        received = self._fetched_rows(a, start, stop, needs)
        have = needs[self.place[0]]
        mine = moved[(moved + start) // self.blocks.size % self.blocks.grid[0] == self.place[0]]
        index = self.bench.as_index
        to = index(np.searchsorted(self.rows, mine + start))
        from_ = index(np.searchsorted(have, order[mine] + start))
        a[to, :c0] = received[from_, :c0]
        a[to, c1:] = received[from_, c0:]
        return self.bench.column_major(received[index(np.searchsorted(have, order[:width] + start)), c0:])

    def _fetched_rows(self, a: Any, start: int, stop: int, needs: Mapping[int, np.ndarray]) -> Any:
        """The rows that this rank needs, without the columns of the panel."""
        sets = {p: as_set(rows) for p, rows in needs.items()}
        targets = tuple([
            (sets[p], without(section[1], start, stop))
            for (p, _), section in zip(self.blocks.places, self.placed, strict=True)
        ])  # fmt: skip
        traffic = Traffic(Moves(self.placed, targets, self.itemsize, (1, 0)), self.rank, self.strides)
        return self._fetched(traffic, self.session.exchange(traffic, True), a)


class Cholesky(Factors):
    """The lower factor of a symmetric or Hermitian matrix."""

    @staticmethod
    def singular(order: int) -> SingularMatrixError:
        return SingularMatrixError(
            f"the matrix is not positive definite: its leading minor of order {order} is not positive", order - 1
        )

    @cached_property
    def _triu(self) -> Any:
        return import_module(self.bench.package.name).triu

    def _eliminate(self, a: Any, number: int, start: int, stop: int, panel: Any) -> None:
        width = stop - start
        block, zero = self.routines.potrf(self.bench.column_major(panel[:width]))
        if zero:
            raise self.singular(start + zero)
        self.diagonal.append(block)
        panel[:width] = block
        panel[width:] = self.routines.trsm_right(block, self.bench.column_major(panel[width:]))
        _, r1, _, c1 = place = self._local(start, stop)
        self._keep_panel(a, number, start, panel, place)
        across = panel[self.bench.as_index(self.columns[c1:] - start)]
        below = self.bench.column_major(panel[self.bench.as_index(self.rows[r1:] - start)])
        # of each block of columns what is on the diagonal and below it
        edges = [*range(0, across.shape[0], self.blocks.size), across.shape[0]]
        for first, end in pairwise(edges):
            row = int(np.searchsorted(self.rows[r1:], self.columns[c1 + first]))
            factor = self.bench.column_major(across[first:end].conj().T)
            self.routines.subtract_product(a[r1 + row :, c1 + first : c1 + end], below[row:], factor)

    def _keep_panel(self, a: Any, number: int, start: int, panel: Any, place: Sequence[int]) -> None:
        """As for every panel, but what is above the diagonal stays as the user has it."""
        r0, r1, c0, c1 = place
        if self.place[1] != self.blocks.owner(number)[1]:
            return
        mine = panel[self.bench.as_index(self.rows[r0:] - start)]
        if r1 > r0:  # the diagonal block, whose factor has zeros above
            mine[: r1 - r0] += self._triu(a[r0:r1, c0:c1], 1)
        a[r0:, c0:c1] = mine
