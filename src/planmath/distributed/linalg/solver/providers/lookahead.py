"""LU of matrices all of whose rows every rank has: the next panel is factorized before the rest is updated.

Rows stay on their ranks, so exchanging them is local. A panel goes to all ranks as soon as its own columns are up to
date; what is left of the update is done while it is on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from planmath.core.collective import sections
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Exchange, Moves, Session, Traffic
from planmath.distributed.linalg.solver.problem import Blocks
from planmath.distributed.linalg.solver.providers.factors import LU
from planmath.distributed.linalg.solver.providers.routines import Routines


class Lookahead(LU):
    """L and U, with partial pivoting, on ranks in one row of the grid; subclasses say how panels come to all."""

    def factorize(self, a: Any) -> None:
        self.diagonal, self._order = [], list(range(self.blocks.n))
        self._send(a, 0)
        for number, (start, stop) in enumerate(self.bounds):
            width = stop - start
            panel, pivots = self._received(a, number)
            self.diagonal.append(self.bench.copied(panel[:width]))
            _, _, c0, c1 = self._local(start, stop)
            ahead = c1
            if number + 1 < len(self.bounds):
                ahead = self._local(*self.bounds[number + 1])[3]
                self._update(a, start, panel, pivots, c1, ahead)
                self._send(a, number + 1)
            self._update(a, start, panel, pivots, ahead, a.shape[1])
            self.routines.swap(a[start:, :c0], pivots, width)
            self._end(a, number)
        self._conclude()
        self.permutation = np.array(self._order)

    def _send(self, a: Any, number: int) -> None:
        """Let a panel come to all ranks, and be factorized, now that its columns are up to date."""
        raise NotImplementedError

    def _received(self, a: Any, number: int) -> tuple[Any, Any]:
        """A factorized panel, and its pivots as the routines take them."""
        raise NotImplementedError

    def _end(self, a: Any, number: int) -> None:
        """A panel is not needed any more."""
        raise NotImplementedError

    def _conclude(self) -> None:
        """All panels have been applied."""

    def _update(self, a: Any, start: int, panel: Any, pivots: Any, first: int, end: int) -> None:
        """Apply a panel to some columns."""
        if first == end:
            return
        width = panel.shape[1]
        self.routines.swap(a[start:, first:end], pivots, width)
        top = a[start : start + width, first:end]
        self.routines.trsm(panel[:width], top, lower=True, unit=True)
        self.routines.subtract_product(a[start + width :, first:end], panel[width:], top)

    def _follow(self, number: int, pivots: np.ndarray, zero: int) -> None:
        """Take a panel's pivots into the permutation, or raise where one is zero."""
        start, stop = self.bounds[number]
        if zero > 0:
            raise self.singular(start + zero)
        order = self._order
        for k, pivot in enumerate(pivots[: stop - start].tolist(), start):
            other = start + pivot - 1
            order[k], order[other] = order[other], order[k]


class HostLookahead(Lookahead):
    """On the host the rank that has a panel factorizes it, and sends it with its pivots.

    Parameters
    ----------
    make_session : callable
        Two panels are on their way at a time, and pivots beside them: each has a session of its own.
    """

    routines: Routines

    def __init__(
        self, blocks: Blocks, rank: int, dtype: str, leading_dimension: int, session: Session, routines: Routines,
        bench: Bench, make_session: Callable[[int], Session],
    ):  # fmt: skip
        widest = min(blocks.size, blocks.n)
        self._sessions = session, make_session(blocks.n * widest * np.dtype(dtype).itemsize)
        super().__init__(blocks, rank, dtype, leading_dimension, session, routines, bench)
        #: Pivots, and the order of a minor that is zero behind them.
        self._words = np.zeros(widest + 1, np.int32)
        session = make_session(self._words.nbytes)
        whole = (sections.interval(0, self._words.size),)
        self._tellings = []
        for column in range(blocks.grid[1]):
            has = tuple([whole if place == (0, column) else ((),) for place in blocks.places])
            told = Traffic(Moves(has, (whole,) * len(has), self._words.itemsize, (0,)), rank, (1,))
            self._tellings.append(session.exchange(told, True))

    def _panel_exchange(self, number: int) -> tuple[Traffic, Exchange]:
        (start, stop), owner = self.bounds[number], self.blocks.owner(number)
        panel = sections.interval(start, self.blocks.n), sections.interval(start, stop)
        others = tuple([((), ()) if place == owner else panel for place in self.blocks.places])
        traffic = Traffic(Moves(self.placed, others, self.itemsize, (1, 0)), self.rank, self.strides)
        return traffic, self._sessions[number % 2].exchange(traffic, True)

    def _own(self, a: Any, number: int) -> Any:
        """The columns of a panel that this rank has."""
        start, stop = self.bounds[number]
        _, _, c0, c1 = self._local(start, stop)
        return a[start:, c0:c1]

    def _send(self, a: Any, number: int) -> None:
        if self.place == self.blocks.owner(number):
            self._words[-1] = self.routines.factorize(self._own(a, number), self._words)
            self._exchange(a, number)

    def _exchange(self, a: Any, number: int) -> None:
        self._panels[number][1].run_into_buffer(self.bench.package.address(a))
        self._telling(number).run_into_buffer(self._words.ctypes.data)

    def _telling(self, number: int) -> Exchange:
        return self._tellings[self.blocks.owner(number)[1]]

    def _received(self, a: Any, number: int) -> tuple[Any, np.ndarray]:
        telling = self._telling(number)
        if self.place == self.blocks.owner(number):
            panel = self._own(a, number)
        else:
            self._exchange(a, number)
            traffic, exchange = self._panels[number]
            panel = self.bench.received(exchange, traffic, self.dtype)
        words = self.bench.over(telling, telling.buffer, self._words.shape, (1,), "int32").copy()
        telling.release()
        try:
            self._follow(number, words, int(words[-1]))
        except BaseException:
            self._end(a, number)
            raise
        return panel, words

    def _end(self, a: Any, number: int) -> None:
        self._panels[number][1].release()
