"""What comes to a product, and what the ranks' products become together, as planned exchanges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, Package, as_numpy, package_named
from planmath.core.collective import sections
from planmath.core.collective.bench import Bench
from planmath.core.collective.exchange import Exchange, Moves, Session, Traffic
from planmath.core.collective.sections import Section
from planmath.core.collective.spaces import HOST
from planmath.distributed.linalg.advanced.problem import Placed, Side

#: Makes a planned exchange; the flag says whether it receives in a buffer of its own.
MakeExchange = Callable[[Traffic, bool], Exchange]
#: Makes a place for exchanges that receive so many bytes at once.
MakeSession = Callable[[int], Session]


class Factor:
    """A factor of the local product: the user's array, or what is gathered from all ranks."""

    def __init__(self, side: Side, needed: Placed, rank: int, bench: Bench, make_exchange: MakeExchange):
        self._package, self._transposed = bench.package, side.transposed
        self.exchange: Exchange | None = None
        self.traffic: Traffic | None = None
        self.array: Any = None
        if side.placed == needed:
            return
        moves = Moves(side.placed, needed, ITEMSIZE[side.dtype], side.order)
        self.traffic = Traffic(moves, rank, side.strides)
        self.exchange = make_exchange(self.traffic, True)
        self.array = bench.received(self.exchange, self.traffic, side.dtype)

    def sample(self, user: Any) -> Any:
        """The factor's memory, for planning."""
        return self.own(user) if self.exchange is None else self.array

    def own(self, user: Any) -> Any:
        """What this rank has of it."""
        return user.T if self._transposed else user

    def fetch(self, user: Any) -> Any:
        """The factor as it is now."""
        if self.exchange is None:
            return self.own(user)
        self.exchange.run_into_buffer(self._package.address(user))
        return self.array

    def release(self) -> None:
        if self.exchange is not None:
            self.exchange.release()


class PanelFactor:
    """A factor of which one panel after the other comes to the product: columns of a, or rows of b.

    Panels alternate between two sessions, so that one is on its way while the one before is multiplied. A rank that has
    all of a panel multiplies it where it is.

    Parameters
    ----------
    side : Side
    needed : tuple of Section
        What each rank needs of all panels together.
    axis : int
        Which axis the panels are cut along.
    bounds : sequence of tuple of int
        Of the panels.
    rank : int
    bench : Bench
    make_session : callable
        Collective.
    """

    def __init__(
        self, side: Side, needed: Placed, axis: int, bounds: Sequence[tuple[int, int]], rank: int, bench: Bench,
        make_session: MakeSession,
    ):  # fmt: skip
        self._package, self._transposed, self._axis = bench.package, side.transposed, axis
        self.traffics: list[Traffic | None] = []
        #: Where this rank has a panel itself, if it has all of it.
        self._own: list[slice | None] = []
        for bound in bounds:
            found = [_whole_panel(*of, axis, bound) for of in zip(side.placed, needed, strict=True)]
            self._own.append(found[rank])
            targets = tuple([
                ((), ()) if own is not None else _panel(section, axis, bound)
                for own, section in zip(found, needed, strict=True)
            ])  # fmt: skip
            moves = Moves(side.placed, targets, ITEMSIZE[side.dtype], side.order)
            self.traffics.append(Traffic(moves, rank, side.strides) if any(own is None for own in found) else None)
        self._exchanges: list[Exchange | None] = [None] * len(bounds)
        self._arrays: list[Any] = [None] * len(bounds)
        for turn in range(2):
            mine = [(number, of) for number, of in enumerate(self.traffics) if of is not None and number % 2 == turn]
            if not mine:
                continue
            session = make_session(max(of.size for _, of in mine))
            for number, traffic in mine:
                self._exchanges[number] = exchange = session.exchange(traffic, True)
                if self._own[number] is None:
                    self._arrays[number] = bench.received(exchange, traffic, side.dtype)
        self._numbers = [0] * len(bounds)

    def panel(self, number: int, user: Any) -> Any:
        """A panel that is there, or, for planning, will be."""
        own = self._own[number]
        if own is None:
            return self._arrays[number]
        user = user.T if self._transposed else user
        return user[own] if self._axis == 0 else user[:, own]

    def start(self, number: int, user: Any) -> None:
        """Send what this rank has of a panel."""
        exchange = self._exchanges[number]
        if exchange is not None:
            self._numbers[number] = exchange.start(self._package.address(user))

    def arrive(self, number: int, user: Any) -> None:
        """Wait until a panel is there."""
        exchange = self._exchanges[number]
        if exchange is not None:
            exchange.arrive(self._package.address(user), self._numbers[number])

    def release(self, number: int) -> None:
        """Let the other ranks send the panel after the next one."""
        exchange = self._exchanges[number]
        if exchange is not None:
            exchange.finish()
            exchange.release()


def _panel(section: Section, axis: int, bound: tuple[int, int]) -> Section:
    """A panel of a section, which has all indices of the axis; nothing where it is empty."""
    if () in section:
        return (), ()
    return tuple([sections.interval(*bound) if k == axis else of for k, of in enumerate(section)])


def _whole_panel(mine: Section, needed: Section, axis: int, bound: tuple[int, int]) -> slice | None:
    """Where in a rank's part a panel is, if the part has exactly what is needed of it, one after another."""
    if () in needed or mine[1 - axis] != needed[1 - axis]:
        return None
    runs = sections.common(mine[axis], sections.interval(*bound))
    if len(runs) != 1 or runs[0][2] != bound[1] - bound[0]:
        return None
    return slice(runs[0][0], runs[0][0] + runs[0][2])


class Sums:
    """What sums over ranks are computed with: NumPy on the host, the operands' package on a device."""

    def __init__(self, bench: Bench):
        self._user, self._on_device = bench.package, bench.space.device_id is not None
        self.bench = bench if self._on_device else Bench(package_named("numpy"), HOST)
        self.add = import_module(self.bench.package.name).add

    def wide(self, array: Any, dtype: str) -> Any:
        """An operand's values in a dtype that they are added in."""
        if not self._on_device:
            return as_wide(array)
        if self._user.name == "torch":
            return array.detach().to(self._user.dtype(dtype))
        return array.astype(self._user.dtype(dtype), copy=False)

    def in_package(self, array: Any) -> Any:
        """What was computed, as an array of the operands' package."""
        return array if self.bench.package is self._user else as_tensor(array)


def as_tensor(array: np.ndarray) -> Any:
    """A tensor over an array's memory."""
    import torch

    return torch.from_numpy(array)


def as_wide(array: Any) -> np.ndarray:
    """An array's values in a dtype that NumPy can add: of 16 bits as float32."""
    if isinstance(array, np.ndarray):
        return array.astype("float32") if array.dtype == np.float16 else array
    return (
        array.detach().float().numpy() if str(array.dtype) in ("torch.bfloat16", "torch.float16") else as_numpy(array)
    )


class Total:
    """Sums over ranks of arrays of which each rank has a section, as planned exchanges.

    Parameters
    ----------
    parts : tuple of Section
        What each rank has a summand for.
    wanted : tuple of Section
        Of what each rank gets the sum.
    sums : Sums
    """

    def __init__(
        self,
        parts: Placed,
        wanted: Placed,
        rank: int,
        dtype: str,
        strides: tuple[int, ...],
        make_exchange: MakeExchange,
        sums: Sums,
    ):
        nranks, bench = len(parts), sums.bench
        sources = tuple([(sections.interval(k, k + 1), *part) for k, part in enumerate(parts)])
        targets = tuple([(sections.interval(0, nranks), *part) for part in wanted])
        order = (0, *reversed(range(1, len(parts[0]) + 1)))
        self.traffic = Traffic(Moves(sources, targets, ITEMSIZE[dtype], order), rank, (0, *strides))
        self.exchange = make_exchange(self.traffic, True)
        self._add, self._address_of = sums.add, bench.package.address
        self._received = bench.received(self.exchange, self.traffic, dtype)
        shape = self.traffic.shape[1:]
        self._is_empty = 0 in self.traffic.shape
        if not self._is_empty:
            self._received[...] = 0  # where a rank has no summand
        backwards = tuple(reversed(range(len(shape))))
        self._sum = bench.empty(shape, dtype, backwards)
        #: What a rank adds that has nothing to add.
        mine = sections.shape_of(parts[rank])
        self.zeros = bench.empty(mine, dtype, tuple(reversed(range(len(mine)))))
        if 0 not in mine:
            self.zeros[...] = 0

    def of(self, part: Any, works: Sequence[Callable[[], None]] = ()) -> Any:
        """The sum, in memory that the next one takes; of parts that come about in pieces, as the exchange is split."""
        if works:
            self.exchange.run_into_buffer(self._address_of(part), works)  # type: ignore[call-arg]
        else:
            self.exchange.run_into_buffer(self._address_of(part))
        if not self._is_empty:
            received, total = self._received, self._sum
            if len(received) == 1:
                total[...] = received[0]
            else:
                self._add(received[0], received[1], out=total)
            for k in range(2, len(received)):
                total += received[k]
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
