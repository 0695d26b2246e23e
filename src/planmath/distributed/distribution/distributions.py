"""How an array lies across processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, ClassVar, Self

from planmath.core.collective import sections
from planmath.core.collective.sections import Section
from planmath.distributed.distribution.process_grid import ProcessGrid
from planmath.distributed.runtime import required_context


class BindDistributionError(Exception):
    """A distribution has a global shape already, or a local array does not fit it."""


class ConvertDistributionError(Exception):
    """A distribution is none of the other kind."""


def _nranks() -> int:
    return required_context().process_group.nranks


class Distribution(ABC):
    """How an array lies across the processes of the group: an abstract class."""

    _bound: tuple[int, ...] | None = None

    @property
    @abstractmethod
    def ndim(self) -> int | None:
        """How many axes arrays have, if that is known."""

    @abstractmethod
    def section(self, rank: int, global_shape: tuple[int, ...]) -> Section:
        """What a rank has of each axis of an array."""

    @abstractmethod
    def _converted(self, cls: type) -> Distribution:
        """As a distribution of another class. Raises ConvertDistributionError or NotImplementedError."""

    @abstractmethod
    def _extended(self, ndim: int) -> Distribution:
        """With axes of extent 1 appended."""

    def shape(self, rank: int, global_shape: Sequence[int] | None = None) -> tuple[int, ...]:
        """The shape of a rank's local array.

        Parameters
        ----------
        rank : int
        global_shape : sequence of int, optional
            That of the whole array; needed unless the distribution belongs to an array already.

        Raises
        ------
        ValueError
            If there is no such rank, or the shape is another one than that of the array it belongs to.
        RuntimeError
            If no shape is known, or before `planmath.distributed.initialize`.
        """
        nranks = _nranks()
        if type(rank) is not int or not 0 <= rank < nranks:
            raise ValueError(f"rank is {rank!r}; expected the number of a rank, from 0 to {nranks - 1}")
        if global_shape is None:
            if self._bound is None:
                raise RuntimeError(f"{self!r} belongs to no array yet; pass global_shape")
            return self._shape(rank, self._bound)
        given = tuple(global_shape)
        if self._bound is not None and given != self._bound:
            raise ValueError(f"global_shape is {given}, but {self!r} belongs to an array of shape {self._bound}")
        self._check_ndim(given)
        return self._shape(rank, given)

    def _shape(self, rank: int, global_shape: tuple[int, ...]) -> tuple[int, ...]:
        return sections.shape_of(self.section(rank, global_shape))

    def _check_ndim(self, global_shape: tuple[int, ...]) -> None:
        if self.ndim is not None and len(global_shape) != self.ndim:
            raise ValueError(f"global_shape is {global_shape}; expected {self.ndim} extents for {self!r}")

    def to(self, cls: type, /, *, ndim: int | None = None, copy: bool = False) -> Any:
        """The same distribution as an object of another class.

        Parameters
        ----------
        cls : type
            `Slab`, `Box`, `BlockCyclic` or `BlockNonCyclic`.
        ndim : int, optional
            How many axes it shall have: axes of extent 1 are appended.
        copy : bool
            Whether to make a new object in any case.

        Raises
        ------
        ConvertDistributionError
            If it is none of that class.
        NotImplementedError
            If that cannot be told, or there is no way from the one class to the other.
        ValueError
            If `cls` is no class of distributions, or `ndim` below the number of axes.
        """
        if not (isinstance(cls, type) and issubclass(cls, Distribution) and cls in CONCRETE):
            names = ", ".join(c.__name__ for c in CONCRETE)
            raise ValueError(f"cls is {cls!r}; expected one of {names}")
        source: Distribution = self
        if ndim is not None and ndim != self.ndim:
            if self.ndim is not None and ndim < self.ndim:
                raise ValueError(f"ndim is {ndim}, but {self!r} has {self.ndim} axes already")
            source = self._extended(ndim)
        if not isinstance(source, cls):
            return source._converted(cls)
        return source.copy() if copy and source is self else source

    def copy(self) -> Self:
        """A new object with the same values."""
        return copy(self)

    def _bind(self, global_shape: Sequence[int], shape: Sequence[int] | None = None) -> None:
        """Let it belong to an array of this shape, of which this rank has a local array of that shape."""
        if self._bound is not None:
            raise BindDistributionError(f"{self!r} belongs to an array of shape {self._bound} already; use a copy()")
        given = tuple(global_shape)
        self._check_ndim(given)
        if shape is not None:
            rank = required_context().process_group.rank
            expected = self._shape(rank, given)
            if tuple(shape) != expected:
                raise BindDistributionError(
                    f"the local array of rank {rank} has the shape {tuple(shape)}; expected {expected} for {self!r} of "
                    f"the global shape {given}"
                )
        self._bound = given


class Slab(Distribution):
    """One axis is cut into intervals of nearly equal extent, in the order of the ranks.

    ``Slab.X``, ``Slab.Y`` and ``Slab.Z`` cut axis 0, 1 and 2 of arrays of any number of axes.

    Parameters
    ----------
    partition_dim : int
        The axis.
    ndim : int, optional
        How many axes arrays have. Default: any.

    Examples
    --------
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import Slab
    >>> Slab.X == Slab(0, ndim=3), Slab(1, ndim=2)
    (True, Slab(partition_dim=1, ndim=2))
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nccl"])
    >>> Slab.X.shape(0, (4, 3))
    (4, 3)
    >>> distributed.finalize()
    """

    X: ClassVar[Slab]
    Y: ClassVar[Slab]
    Z: ClassVar[Slab]

    def __init__(self, partition_dim: int, ndim: int | None = None):
        if type(partition_dim) is not int or partition_dim < 0:
            raise ValueError(f"partition_dim is {partition_dim!r}; expected the number of an axis, from 0 on")
        if ndim is not None and (type(ndim) is not int or ndim <= partition_dim):
            raise ValueError(f"ndim is {ndim!r}; expected an integer above partition_dim, which is {partition_dim}")
        self.partition_dim = partition_dim
        self._ndim = ndim

    @property
    def ndim(self) -> int | None:
        return len(self._bound) if self._bound is not None else self._ndim

    @property
    def name(self) -> str:
        """'X', 'Y' or 'Z' for the first three axes, else the number of the axis."""
        return "XYZ"[self.partition_dim] if self.partition_dim < 3 else str(self.partition_dim)

    def section(self, rank: int, global_shape: tuple[int, ...]) -> Section:
        axes = list(sections.whole(global_shape))
        axes[self.partition_dim] = sections.part(global_shape[self.partition_dim], _nranks(), rank)
        return tuple(axes)

    def _check_ndim(self, global_shape: tuple[int, ...]) -> None:
        super()._check_ndim(global_shape)
        if len(global_shape) <= self.partition_dim:
            raise ValueError(
                f"global_shape is {global_shape}; expected more than {self.partition_dim} axes for {self!r}"
            )

    def _extended(self, ndim: int) -> Slab:
        extended = Slab(self.partition_dim, ndim)
        if self._bound is not None:
            extended._bound = self._bound + (1,) * (ndim - len(self._bound))
        return extended

    def _converted(self, cls: type) -> Distribution:
        if cls is Box:
            if self._bound is None:
                raise ConvertDistributionError(f"{self!r} belongs to no array, so its boxes are not known")
            return _box_of(self, self._bound)
        ndim = self.ndim
        if ndim is None:
            raise ConvertDistributionError(f"{self!r} has no number of axes; pass ndim to to()")
        nranks = _nranks()
        if self._bound is not None and self._bound[self.partition_dim] % nranks:
            raise NotImplementedError(
                f"{self!r} of an array of shape {self._bound} has parts of different extents on {nranks} ranks, "
                f"which no {cls.__name__} has"
            )
        shape = tuple([nranks if axis == self.partition_dim else 1 for axis in range(ndim)])
        return _bound_like(BlockNonCyclic(ProcessGrid(shape=shape)), self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Slab):
            return NotImplemented
        return self.partition_dim == other.partition_dim and (
            self.ndim is None or other.ndim is None or self.ndim == other.ndim
        )

    def __hash__(self) -> int:
        return hash((Slab, self.partition_dim))

    def __repr__(self) -> str:
        return f"Slab(partition_dim={self.partition_dim}, ndim={self.ndim})"


Slab.X, Slab.Y, Slab.Z = Slab(0), Slab(1), Slab(2)


class Box(Distribution):
    """This rank has a box of the array; each rank has one of its own.

    Parameters
    ----------
    lower, upper : sequence of int
        Its first indices, and those behind its last ones.

    Examples
    --------
    >>> from planmath.distributed.distribution import Box
    >>> lower, upper = Box((0, 2), (4, 4))
    >>> lower, upper
    ((0, 2), (4, 4))
    """

    def __init__(self, lower: Sequence[int], upper: Sequence[int]):
        for name, corner in (("lower", lower), ("upper", upper)):
            if not hasattr(corner, "__iter__") or not all(type(n) is int for n in corner):
                raise ValueError(f"{name} is {corner!r}; expected a sequence of Python integers")
        self.lower, self.upper = tuple(lower), tuple(upper)
        if len(self.lower) != len(self.upper) or not self.lower:
            raise ValueError(
                f"lower is {self.lower} and upper {self.upper}; expected as many indices, at least one each"
            )
        if any(high <= low for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(
                f"lower is {self.lower} and upper {self.upper}; expected upper to be above lower on each axis"
            )

    @property
    def ndim(self) -> int:
        return len(self.lower)

    def section(self, rank: int, global_shape: tuple[int, ...]) -> Section:
        if rank != required_context().process_group.rank:
            raise RuntimeError(
                f"{self!r} is the box of rank {required_context().process_group.rank}; ask rank {rank} for its own"
            )
        return box_section(self.lower, self.upper)

    def _extended(self, ndim: int) -> Box:
        more = ndim - self.ndim
        extended = Box(self.lower + (0,) * more, self.upper + (1,) * more)
        if self._bound is not None:
            extended._bound = self._bound + (1,) * more
        return extended

    def shape(self, rank: int, global_shape: Sequence[int] | None = None) -> tuple[int, ...]:
        super().shape(rank, global_shape)
        return self._shape(rank, ())

    def _converted(self, cls: type) -> Distribution:
        raise NotImplementedError(f"a Box is not converted to a {cls.__name__}: the other ranks' boxes are not known")

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return iter((self.lower, self.upper))

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[int, ...]:
        return (self.lower, self.upper)[index]

    def __eq__(self, other: object) -> bool:
        return (self.lower, self.upper) == (other.lower, other.upper) if isinstance(other, Box) else NotImplemented

    def __hash__(self) -> int:
        return hash((Box, self.lower, self.upper))

    def __repr__(self) -> str:
        return f"Box(lower={self.lower}, upper={self.upper})"


class BlockCyclic(Distribution):
    """The array is cut into blocks, which the processes of a grid have in turn along each axis, as in ScaLAPACK.

    Parameters
    ----------
    process_grid : ProcessGrid
        With an axis for each axis of the array.
    block_sizes : sequence of int
        Extents of a block.
    first_process : sequence of int, optional
        The place in the grid that has the first block. Default: zeros.

    Examples
    --------
    >>> import planmath.distributed as distributed
    >>> from planmath.distributed.distribution import BlockCyclic, ProcessGrid
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nccl"])
    >>> BlockCyclic(ProcessGrid(shape=(1, 1)), (3, 2)).shape(0, (10, 9))
    (10, 9)
    >>> distributed.finalize()
    """

    def __init__(
        self, process_grid: ProcessGrid, block_sizes: Sequence[int], *, first_process: Sequence[int] | None = None
    ):
        self._set_grid(process_grid, first_process)
        sizes = tuple(block_sizes)
        if len(sizes) != process_grid.ndim or not all(type(n) is int and n > 0 for n in sizes):
            raise ValueError(
                f"block_sizes is {sizes}; expected a positive integer for each of the {process_grid.ndim} axes"
            )
        self._block_sizes: tuple[int, ...] | None = sizes

    def _set_grid(self, process_grid: ProcessGrid, first_process: Sequence[int] | None) -> None:
        if not isinstance(process_grid, ProcessGrid):
            raise TypeError(f"process_grid is a {type(process_grid).__name__}; expected a ProcessGrid")
        first = (0,) * process_grid.ndim if first_process is None else tuple(first_process)
        if len(first) != process_grid.ndim or any(
            type(k) is not int or not 0 <= k < n for k, n in zip(first, process_grid.shape, strict=True)
        ):
            raise ValueError(f"first_process is {first}; expected a place in a grid of shape {process_grid.shape}")
        self.process_grid, self.first_process = process_grid, first

    @property
    def ndim(self) -> int:
        return self.process_grid.ndim

    @property
    def block_sizes(self) -> tuple[int, ...] | None:
        """Extents of a block; of `BlockNonCyclic`, once it belongs to an array."""
        return self._block_sizes

    def section(self, rank: int, global_shape: tuple[int, ...]) -> Section:
        assert self._block_sizes is not None
        grid = self.process_grid
        return tuple([
            sections.cyclic(n, size, parts, number, first)
            for n, size, parts, number, first in zip(
                global_shape, self._block_sizes, grid.shape, grid.coordinates(rank), self.first_process, strict=True
            )
        ])  # fmt: skip

    def _extended(self, ndim: int) -> BlockCyclic:
        more = ndim - self.ndim
        assert self._block_sizes is not None
        grid, first = self.process_grid.extended(ndim), self.first_process + (0,) * more
        return _bound_like(BlockCyclic(grid, self._block_sizes + (1,) * more, first_process=first), self)

    def _slab_axis(self) -> int:
        """The one axis that is cut, into an interval for each rank in their order."""
        if self._bound is None:
            raise ConvertDistributionError(f"{self!r} belongs to no array, so whether it is a slab is not known")
        axis = self._only_axis("Slab")
        extent, nranks = self._bound[axis], _nranks()
        assert self._block_sizes is not None
        if nranks > 1 and (extent % nranks or self._block_sizes[axis] != extent // nranks):
            raise ConvertDistributionError(
                f"{self!r} of an array of shape {self._bound} does not have one block of equal extent on each rank"
            )
        return axis

    def _only_axis(self, target: str) -> int:
        axis = self.process_grid.single_axis
        if axis is None:
            raise ConvertDistributionError(f"{self!r} cuts several axes, and a {target} one")
        if any(
            self.process_grid.coordinates(r)[axis] != (self.first_process[axis] + r) % _nranks()
            for r in range(_nranks())
        ):
            raise ConvertDistributionError(f"{self!r} does not have the ranks in their order")
        if self.first_process[axis]:
            raise ConvertDistributionError(f"{self!r} does not begin with rank 0")
        return axis

    def _converted(self, cls: type) -> Distribution:
        if cls is BlockNonCyclic:
            raise NotImplementedError("a BlockCyclic is not converted to a BlockNonCyclic")
        if cls is Slab:
            return _bound_like(Slab(self._slab_axis(), self.ndim), self)
        try:
            self._slab_axis()
        except ConvertDistributionError as error:
            raise NotImplementedError(f"no Box: {error}") from None
        if self._bound is None:
            raise NotImplementedError(f"{self!r} belongs to no array, so its boxes are not known")
        return _box_of(self, self._bound)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlockCyclic):
            return NotImplemented
        return (type(self), self.process_grid, self._block_sizes, self.first_process) == (
            type(other), other.process_grid, other._block_sizes, other.first_process
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        first = f", first_process={self.first_process}" if any(self.first_process) else ""
        return f"BlockCyclic({self.process_grid!r}, block_sizes={self._block_sizes}{first})"


class BlockNonCyclic(BlockCyclic):
    """Each process of a grid has one block, all of nearly equal extents.

    Parameters
    ----------
    process_grid : ProcessGrid
        With an axis for each axis of the array. Where it does not divide an extent, the first blocks have one index
        more, as in `Slab`.
    first_process : sequence of int, optional
        The place in the grid that has the first block. Default: zeros.
    """

    def __init__(self, process_grid: ProcessGrid, *, first_process: Sequence[int] | None = None):
        self._set_grid(process_grid, first_process)
        self._block_sizes = None

    @property
    def block_sizes(self) -> tuple[int, ...] | None:
        if self._bound is None:
            return None
        return tuple([max(-(-n // parts), 1) for n, parts in zip(self._bound, self.process_grid.shape, strict=True)])

    @property
    def is_even(self) -> bool:
        """Whether it belongs to an array whose extents the grid divides, and so is a `BlockCyclic`."""
        return self._bound is not None and not any(
            n % parts for n, parts in zip(self._bound, self.process_grid.shape, strict=True)
        )

    def section(self, rank: int, global_shape: tuple[int, ...]) -> Section:
        grid = self.process_grid
        return tuple([
            sections.part(n, parts, (number - first) % parts)
            for n, parts, number, first in zip(
                global_shape, grid.shape, grid.coordinates(rank), self.first_process, strict=True
            )
        ])  # fmt: skip

    def _extended(self, ndim: int) -> BlockNonCyclic:
        first = self.first_process + (0,) * (ndim - self.ndim)
        return _bound_like(BlockNonCyclic(self.process_grid.extended(ndim), first_process=first), self)

    def _converted(self, cls: type) -> Distribution:
        if cls is Slab:
            return _bound_like(Slab(self._only_axis("Slab"), self.ndim), self)
        if self._bound is None:
            raise NotImplementedError(f"{self!r} belongs to no array, so its boxes are not known")
        try:
            self._only_axis("Box")
        except ConvertDistributionError as error:
            raise NotImplementedError(f"no Box: {error}") from None
        return _box_of(self, self._bound)

    def __repr__(self) -> str:
        first = f", first_process={self.first_process}" if any(self.first_process) else ""
        return f"BlockNonCyclic({self.process_grid!r}{first})"


#: The classes that `Distribution.to` converts to.
CONCRETE = (Slab, Box, BlockCyclic, BlockNonCyclic)


def _bound_like(made: Any, other: Distribution) -> Any:
    if other._bound is not None:
        made._bound = other._bound + (1,) * (made.ndim - len(other._bound))
    return made


def _box_of(distribution: Distribution, global_shape: tuple[int, ...]) -> Box:
    """This rank's box of a distribution that has one interval on each axis."""
    section = distribution.section(required_context().process_group.rank, global_shape)
    if not all(len(indices) == 1 for indices in section):
        raise ConvertDistributionError(f"{distribution!r} of an array of shape {global_shape} is empty on this rank")
    box = Box([indices[0][0] for indices in section], [indices[0][1] for indices in section])
    box._bound = global_shape
    return box


def box_section(lower: Sequence[int], upper: Sequence[int]) -> Section:
    return tuple([sections.interval(low, high) for low, high in zip(lower, upper, strict=True)])
