"""Where an array lies as a whole: what each rank has, found out from the local arrays of all."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from planmath.core.collective import sections
from planmath.core.collective.sections import Section
from planmath.distributed.distribution.distributions import (
    BindDistributionError,
    BlockCyclic,
    Box,
    Distribution,
    Slab,
    box_section,
)


class Placement(NamedTuple):
    """A distributed array: its shape as a whole, and the section of each rank."""

    global_shape: tuple[int, ...]
    sections: tuple[Section, ...]


def described(distribution: Distribution) -> str:
    """What of a distribution has to be equal on all ranks."""
    return "a Box on each rank" if isinstance(distribution, Box) else repr(distribution)


def corners(distribution: Distribution, ndim: int) -> tuple[int, ...]:
    """What of a distribution may differ from rank to rank: the corners of a box; as many zeros of another one."""
    return (*distribution.lower, *distribution.upper) if isinstance(distribution, Box) else (0,) * (2 * ndim)


def checked(name: str, distribution: Any, ndim: int) -> Distribution:
    """A copy of a user's distribution that belongs to no array yet. Raises where it is none for so many axes."""
    if not isinstance(distribution, Distribution):
        raise TypeError(
            f"{name} is a {type(distribution).__name__}; expected a Slab, Box, BlockCyclic or BlockNonCyclic"
        )
    if distribution.ndim is not None and distribution.ndim != ndim:
        raise ValueError(f"{name} is {distribution!r} of {distribution.ndim} axes, but the array has {ndim}")
    if isinstance(distribution, Slab) and distribution.partition_dim >= ndim:
        raise ValueError(f"{name} is {distribution!r}, but the array has {ndim} axes")
    if distribution._bound is None:
        return distribution.copy()
    free = distribution.copy()
    free._bound = None
    return free


def place(
    name: str, distribution: Distribution, shapes: Sequence[tuple[int, ...]], boxes: Sequence[tuple[int, ...]]
) -> Placement:
    """The placement of an array whose local arrays have these shapes. Equal on all ranks.

    Parameters
    ----------
    name : str
        The array's name, for messages.
    distribution : Distribution
    shapes : sequence of tuple of int
        By rank.
    boxes : sequence of tuple of int
        By rank, what `corners` gives.

    Raises
    ------
    ValueError, BindDistributionError
        If a local array does not fit the distribution.
    """
    ndim = len(shapes[0])
    for rank, shape in enumerate(shapes):
        if len(shape) != ndim:
            raise ValueError(f"{name} has {ndim} axes on rank 0 and {len(shape)} on rank {rank}; expected as many")
    if isinstance(distribution, Box):
        return _placed_boxes(name, shapes, boxes)
    extents = []
    for axis in range(ndim):
        along = _line(distribution, axis, len(shapes))
        extents.append(sum(shapes[rank][axis] for rank in along))
    global_shape = tuple(extents)
    placement = placed(distribution, global_shape, len(shapes))
    for rank, (shape, section) in enumerate(zip(shapes, placement.sections, strict=True)):
        if shape != sections.shape_of(section):
            raise BindDistributionError(
                f"the local array {name} of rank {rank} has the shape {shape}; expected {sections.shape_of(section)} "
                f"for {distribution!r}, as all local arrays together have the global shape {global_shape}"
            )
    return placement


def placed(distribution: Distribution, global_shape: tuple[int, ...], nranks: int) -> Placement:
    """The placement of an array of this shape by any distribution but boxes."""
    return Placement(global_shape, tuple([distribution.section(rank, global_shape) for rank in range(nranks)]))


def _line(distribution: Distribution, axis: int, nranks: int) -> list[int]:
    """The ranks whose extents along an axis add up to the global one."""
    if isinstance(distribution, Slab):
        return list(range(nranks)) if axis == distribution.partition_dim else [0]
    assert isinstance(distribution, BlockCyclic)
    places = distribution.process_grid.process_array
    return [int(rank) for rank in places[tuple([slice(None) if k == axis else 0 for k in range(places.ndim)])]]


def _placed_boxes(name: str, shapes: Sequence[tuple[int, ...]], boxes: Sequence[tuple[int, ...]]) -> Placement:
    ndim = len(shapes[0])
    placement = placed_boxes(boxes)
    for rank, (shape, section) in enumerate(zip(shapes, placement.sections, strict=True)):
        if shape != sections.shape_of(section):
            low, high = boxes[rank][:ndim], boxes[rank][ndim:]
            raise BindDistributionError(
                f"the local array {name} of rank {rank} has the shape {shape}; expected {sections.shape_of(section)} "
                f"for its box from {low} to {high}"
            )
    volume = sum(prod(shape) for shape in shapes)
    if volume != prod(placement.global_shape):
        raise ValueError(
            f"the boxes of {name} have {volume} elements together, and the box around them, of shape "
            f"{placement.global_shape}, has {prod(placement.global_shape)}; expected boxes that fill it without overlap"
        )
    return placement


def placed_boxes(boxes: Sequence[tuple[int, ...]]) -> Placement:
    """The placement of an array by a box of each rank, counted from the lowest corner of all."""
    ndim = len(boxes[0]) // 2
    lowest = [min(box[axis] for box in boxes) for axis in range(ndim)]
    placed = [
        box_section(
            [n - low for n, low in zip(box[:ndim], lowest, strict=True)],
            [n - low for n, low in zip(box[ndim:], lowest, strict=True)],
        )
        for box in boxes
    ]
    shape = tuple([max(box[ndim + axis] for box in boxes) - low for axis, low in enumerate(lowest)])
    return Placement(shape, tuple(placed))


def target(
    name: str, distribution: Distribution, global_shape: tuple[int, ...], boxes: Sequence[tuple[int, ...]]
) -> Placement:
    """The placement of a result of this shape. Raises ValueError where boxes are those of another shape."""
    if not isinstance(distribution, Box):
        return placed(distribution, global_shape, len(boxes))
    placement = placed_boxes(boxes)
    if placement.global_shape != global_shape:
        raise ValueError(
            f"the boxes of {name} span an array of shape {placement.global_shape}; expected {global_shape}"
        )
    return placement
