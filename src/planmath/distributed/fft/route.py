"""The route of a transform: which axes are transformed where, and how the array lies in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from planmath.core.collective import sections
from planmath.core.collective.costs import Network
from planmath.core.collective.sections import Section

Placed = tuple[Section, ...]
"""What every rank has."""


class Stage(NamedTuple):
    """Axes that are transformed while every rank has them whole."""

    axes: tuple[int, ...]
    before: Placed
    """As the stage begins; of another shape than `after` where the real axis is among its own."""
    after: Placed


class Route(NamedTuple):
    """The stages with the exchanges between them, and where the result shall be."""

    name: str
    stages: tuple[Stage, ...]
    target: Placed

    @property
    def exchanges(self) -> list[tuple[Placed, Placed]]:
        """From where to where."""
        ends = [*(stage.before for stage in self.stages[1:]), self.target]
        return [(stage.after, end) for stage, end in zip(self.stages, ends, strict=True) if stage.after != end]

    def seconds(self, itemsize: int, rank: int, network: Network) -> float:
        """What the exchanges are expected to take on a rank."""
        total = 0.0
        for before, after in self.exchanges:
            sizes = [_overlap(before[rank], after[other]) for other in range(len(before)) if other != rank]
            total += network.seconds(sum(size > 0 for size in sizes), sum(sizes) * itemsize)
        return total


def _overlap(a: Section, b: Section) -> int:
    met = sections.meet(a, b)
    return 0 if met is None else sections.count(met)


def routes(
    shapes: tuple[Sequence[int], Sequence[int]], axes: Sequence[int], kind: str, source: Placed, target: Placed
) -> list[Route]:
    """The routes of a transform, different ones only.

    Parameters
    ----------
    shapes : tuple of two sequences of int
        The global shapes of operand and result, which differ along the last one of the axes for R2C and C2R.
    axes : sequence of int
        The axes to transform.
    kind : {'C2C', 'R2C', 'C2R'}
    source, target : tuple of Section
        Where operand and result are.
    """
    found: list[Route] = []
    for name, between in (("slabs", _slabs), ("pencils", _pencils)):
        route = Route(name, tuple(_stages(shapes, list(axes), kind, source, target, between)), target)
        if all(route[1:] != other[1:] for other in found):
            found.append(route)
    return found


def _stages(
    shapes: tuple[Sequence[int], Sequence[int]], left: list[int], kind: str, source: Placed, target: Placed,
    between: Callable[[Sequence[int], Sequence[int], int, int], Placed],
) -> list[Stage]:  # fmt: skip
    stages = []
    real = left[-1]
    shape, here = shapes[0], source
    while True:
        ready = [axis for axis in left if is_whole(here, shape, axis)]
        if kind == "R2C" and real in left and real not in ready:
            ready = []  # complex axes come after the real one
        if kind == "C2R" and len(ready) < len(left):
            ready = [axis for axis in ready if axis != real]  # and before it
        after = here
        if real in ready:
            after, shape = _with_whole(here, real, shapes[1][real]), shapes[1]
        stages.append(Stage(tuple(ready), here, after))
        here, left = after, [axis for axis in left if axis not in ready]
        if not left:
            return stages
        if all(is_whole(target, shapes[1], axis) for axis in left):
            here = _with_whole(target, real, shape[real]) if real in left else target
            continue
        first = real if kind == "R2C" and real in left else next((a for a in left if a != real), real)
        here = between(shape, left, first, len(source))


def _with_whole(placed: Placed, axis: int, extent: int) -> Placed:
    """The same with all of an axis of this extent wherever there was some."""
    everything = sections.interval(0, extent)
    return tuple((*of[:axis], everything if of[axis] else (), *of[axis + 1 :]) for of in placed)


def is_whole(placed: Placed, shape: Sequence[int], axis: int) -> bool:
    """Whether every rank that has something has an axis as a whole."""
    everything = sections.interval(0, shape[axis])
    return all(section[axis] == everything for section in placed if sections.size_of(section))


def _slabs(shape: Sequence[int], left: Sequence[int], first: int, nranks: int) -> Placed:
    """Cut along one axis that is not the next to transform: if there is one, one that is done, the longest of them."""
    others = [axis for axis in range(len(shape)) if axis not in left] or [axis for axis in left if axis != first]
    if not others:  # an array of one axis: the first rank gets it
        return tuple([sections.whole(shape) if rank == 0 else ((),) * len(shape) for rank in range(nranks)])
    cut = max(others, key=lambda axis: (shape[axis], -axis))
    return grid_sections(shape, {cut: nranks}, nranks)


def _pencils(shape: Sequence[int], left: Sequence[int], first: int, nranks: int) -> Placed:
    """Cut along the two longest axes other than the next one to transform."""
    others = sorted((axis for axis in range(len(shape)) if axis != first), key=lambda axis: (-shape[axis], axis))
    if len(others) < 2:
        return _slabs(shape, left, first, nranks)
    rows, columns = squarish(nranks)
    one, other = sorted(others[:2])
    return grid_sections(shape, {one: rows, other: columns}, nranks)


def squarish(nranks: int) -> tuple[int, int]:
    """The grid of two axes with the nearest extents.

    Examples
    --------
    >>> squarish(12), squarish(7)
    ((3, 4), (1, 7))
    """
    rows = next(n for n in range(int(nranks**0.5), 0, -1) if nranks % n == 0)
    return rows, nranks // rows


def grid_sections(shape: Sequence[int], cuts: dict[int, int], nranks: int) -> Placed:
    """Sections of nearly equal intervals along some axes, the last of which varies fastest with the rank."""
    assert prod(cuts.values()) == nranks
    found = []
    for rank in range(nranks):
        numbers, left = {}, rank
        for axis, parts in reversed(cuts.items()):
            left, numbers[axis] = divmod(left, parts)
        found.append(tuple([
            sections.part(n, cuts[axis], numbers[axis]) if axis in cuts else sections.interval(0, n)
            for axis, n in enumerate(shape)
        ]))  # fmt: skip
    return tuple(found)
