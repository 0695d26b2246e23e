"""What products and solvers by ScaLAPACK share: where a grid of processes is found, and how matrices are described."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from planmath.bindings import scalapack
from planmath.bindings.scalapack import ScaLAPACK
from planmath.core.collective import sections
from planmath.core.collective.mpi_group import MPIProcessGroup
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.provider import TransportProvider
from planmath.core.collective.sections import IndexSet, Section
from planmath.core.collective.spaces import HOST
from planmath.core.collective.transports.messages import MPITransport
from planmath.core.errors import UnavailableError
from planmath.native.call import invoke
from planmath.native.library import MissingLibraryError
from planmath.native.threads import Threads

#: The libraries, by the names that providers have.
VARIANTS = {"scalapack_mkl": scalapack.MKL, "scalapack": scalapack.SYSTEM}
#: Rows or columns of a block where an axis is not cut, so that any number is right.
USUAL = 64


class Grid(NamedTuple):
    """A grid of all ranks."""

    shape: tuple[int, int]
    places: tuple[tuple[int, int], ...]
    """Of each rank."""


class Blocked(NamedTuple):
    """A matrix in blocks in turn on a grid."""

    shape: tuple[int, int]
    blocks: tuple[int, int]


def grids(nranks: int) -> list[Grid]:
    """The grids of so many ranks, with ranks by rows and by columns."""
    found = []
    for rows in range(1, nranks + 1):
        if nranks % rows == 0:
            columns = nranks // rows
            found.append(Grid((rows, columns), tuple([divmod(rank, columns) for rank in range(nranks)])))
            if rows > 1 and columns > 1:
                by_columns = [divmod(rank, rows)[::-1] for rank in range(nranks)]
                found.append(Grid((rows, columns), tuple(by_columns)))
    return found


def blocked(placed: Sequence[Section], grid: Grid) -> Blocked | None:
    """A matrix whose ranks have these sections, as blocks on a grid; None if it is not that."""
    shape, blocks = [], []
    for axis in (0, 1):
        parts = {place[axis]: section[axis] for place, section in zip(grid.places, placed, strict=True)}
        found = _block(parts, grid.shape[axis])
        if found is None or any(
            section[axis] != parts[place[axis]] for place, section in zip(grid.places, placed, strict=True)
        ):
            return None
        shape.append(found[0])
        blocks.append(found[1])
    return Blocked((shape[0], shape[1]), (blocks[0], blocks[1]))


def _block(parts: dict[int, IndexSet], count: int) -> tuple[int, int] | None:
    """The extent of an axis, and its blocks' size."""
    extent = sum(sections.extent_of(of) for of in parts.values())
    if not extent or not parts[0]:
        return None
    size = USUAL if count == 1 else parts[0][0][1]
    alike = all(parts[k] == sections.cyclic(extent, size, count, k) for k in range(count))
    return (extent, size) if alike else None


@cache
def context(library: ScaLAPACK, group: ProcessGroup, grid: Grid) -> int:
    """BLACS's context of a grid, which is kept. Collective."""
    from mpi4py import MPI

    assert isinstance(group, MPIProcessGroup)
    # an integer of MPICH's, sign and all, or an address of Open MPI's
    (communicator,) = np.array([MPI._handleof(group.private)], np.uint64).view(np.int64).tolist()
    made = np.array([invoke(library.address("Csys2blacs_handle"), communicator)], np.int64).astype(np.int32)
    ranks = np.zeros(grid.shape, np.int32, order="F")
    for rank, place in enumerate(grid.places):
        ranks[place] = rank
    rows, columns = grid.shape
    invoke(library.address("Cblacs_gridmap"), made.ctypes.data, ranks.ctypes.data, rows, rows, columns)
    return int(made[0])


def descriptor(of: Blocked, where: int, leading_dimension: int) -> np.ndarray:
    """What ScaLAPACK calls an array descriptor, of a dense matrix."""
    return np.array([1, where, *of.shape, *of.blocks, 0, 0, max(leading_dimension, 1)], np.int32)


class ScaLAPACKProvider(TransportProvider):
    """A library of ScaLAPACK, for ranks of MPI on the host; what it cannot reach is brought by messages."""

    def __init__(self, name: str, group: ProcessGroup | None = None, space: object = HOST):
        super().__init__(MPITransport(), group, HOST)
        self.name, self.library, self._place = name, VARIANTS[name], space

    def unavailable(self) -> str | None:
        if self._place is not HOST:
            return "it is for arrays on the host"
        return (self.group and self.transport.unavailable(self.group)) or self.library.missing

    def version(self) -> str:
        return self.library.version()

    def path(self) -> str | None:
        return None

    def threads(self) -> Threads | None:
        return Threads(1, "a process of ScaLAPACK's has one thread")

    def context(self, grid: Grid) -> int:
        """BLACS's context of a grid. Collective.

        Raises
        ------
        UnavailableError
            If the library cannot be loaded.
        """
        assert self.group is not None
        try:
            return context(self.library, self.group, grid)
        except MissingLibraryError as error:
            raise UnavailableError(str(error)) from error
