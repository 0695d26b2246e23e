"""What comes to a product, and what the ranks' products become together, as planned exchanges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, Package, package_named
from planmath.core.collective import sections
from planmath.core.collective.exchange import Exchange, Moves, Traffic
from planmath.core.collective.memory import array_over
from planmath.distributed.linalg.advanced.problem import Placed, Side

#: Makes a planned exchange; the flag says whether it receives in a buffer of its own.
MakeExchange = Callable[[Traffic, bool], Exchange]


class Factor:
    """A factor of the local product: the user's array, or what is gathered from all ranks."""

    def __init__(self, side: Side, needed: Placed, rank: int, package: Package, make_exchange: MakeExchange):
        self._package, self._transposed = package, side.transposed
        self.exchange: Exchange | None = None
        self.traffic: Traffic | None = None
        self.array: Any = None
        if side.placed == needed:
            return
        moves = Moves(side.placed, needed, ITEMSIZE[side.dtype], side.order)
        self.traffic = Traffic(moves, rank, side.strides)
        self.exchange = make_exchange(self.traffic, True)
        layout = self.traffic.shape, self.traffic.dense
        self.array = array_over(package, self.exchange, self.exchange.buffer, *layout, side.dtype)

    def sample(self, user: Any) -> Any:
        """The factor's memory, for planning."""
        if self.exchange is None:
            return user.T if self._transposed else user
        return self.array

    def fetch(self, user: Any) -> Any:
        """The factor as it is now."""
        if self.exchange is None:
            return user.T if self._transposed else user
        self.exchange.run_into_buffer(self._package.address(user))
        return self.array

    def release(self) -> None:
        if self.exchange is not None:
            self.exchange.release()


class Total:
    """Sums over ranks of arrays of which each rank has a section, as planned exchanges.

    Parameters
    ----------
    parts : tuple of Section
        What each rank has a summand for.
    wanted : tuple of Section
        Of what each rank gets the sum.
    """

    def __init__(
        self,
        parts: Placed,
        wanted: Placed,
        rank: int,
        dtype: str,
        strides: tuple[int, ...],
        make_exchange: MakeExchange,
    ):
        nranks = len(parts)
        sources = tuple([(sections.interval(k, k + 1), *part) for k, part in enumerate(parts)])
        targets = tuple([(sections.interval(0, nranks), *part) for part in wanted])
        order = (0, *reversed(range(1, len(parts[0]) + 1)))
        self.traffic = Traffic(Moves(sources, targets, ITEMSIZE[dtype], order), rank, (0, *strides))
        self.exchange = make_exchange(self.traffic, True)
        numpy = package_named("numpy")
        self._received = array_over(
            numpy, self.exchange, self.exchange.buffer, self.traffic.shape, self.traffic.dense, dtype
        )
        if self._received.size:
            self._received[...] = 0  # where a rank has no summand
        self._sum = np.empty(self.traffic.shape[1:], dtype, order="F")
        #: What a rank adds that has nothing to add.
        self.zeros = np.zeros(sections.shape_of(parts[rank]), dtype, order="F")

    def of(self, part: np.ndarray) -> np.ndarray:
        """The sum, in memory that the next one takes."""
        self.exchange.run_into_buffer(part.ctypes.data)
        if self._sum.size:
            np.add.reduce(self._received, axis=0, out=self._sum)
        self.exchange.release()
        return self._sum


class Spread:
    """A vector of which each rank has a section, whole on every rank."""

    def __init__(self, parts: Placed, extent: int, rank: int, dtype: str, make_exchange: MakeExchange):
        targets = tuple([(sections.interval(0, extent),) for _ in parts])
        self.traffic = Traffic(Moves(parts, targets, ITEMSIZE[dtype], (0,)), rank, (1,))
        self.exchange = make_exchange(self.traffic, False)

    def run(self, package: Package, part: Any, result: Any) -> None:
        self.exchange.run(package.address(part), package.address(result))
