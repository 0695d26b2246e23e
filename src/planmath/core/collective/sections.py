"""Index sets: what part of each axis a rank has, and what two ranks have in common.

On each rank a distributed array is the product of one index set for each axis, whether it is cut into slabs, boxes or
blocks in turn. The local array has the indices of a set one after another, so two products meet axis by axis, and any
redistribution is such meetings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import prod

#: Sorted, disjoint half-open intervals of indices, none of them empty.
IndexSet = tuple[tuple[int, int], ...]
#: An index set for each axis.
Section = tuple[IndexSet, ...]
#: Where common indices begin among those of the one set and of the other, and how many follow.
Run = tuple[int, int, int]


def interval(start: int, stop: int) -> IndexSet:
    return ((start, stop),) if stop > start else ()


def whole(shape: Iterable[int]) -> Section:
    """All of an array."""
    return tuple([interval(0, n) for n in shape])


@lru_cache(4096)
def part(extent: int, parts: int, number: int) -> IndexSet:
    """One of nearly equal intervals of an axis: the first ones have one index more where the extent is uneven.

    Examples
    --------
    >>> [part(5, 3, k) for k in range(3)], part(1, 2, 1)
    ([((0, 2),), ((2, 4),), ((4, 5),)], ())
    """
    size, more = divmod(extent, parts)
    start = number * size + min(number, more)
    return interval(start, start + size + (number < more))


@lru_cache(4096)
def cyclic(extent: int, block: int, parts: int, number: int, first: int = 0) -> IndexSet:
    """Every `parts`-th block of an axis, where part number `first` has block 0.

    Examples
    --------
    >>> cyclic(10, 3, 2, 0), cyclic(10, 3, 2, 1), cyclic(10, 3, 2, 0, first=1)
    (((0, 3), (6, 9)), ((3, 6), (9, 10)), ((3, 6), (9, 10)))
    """
    offset = (number - first) % parts
    if parts == 1:
        return interval(0, extent)
    return tuple([(s, min(s + block, extent)) for s in range(offset * block, extent, parts * block)])


def extent_of(indices: IndexSet) -> int:
    return sum([stop - start for start, stop in indices])


def shape_of(section: Section) -> tuple[int, ...]:
    """The shape of the local array."""
    return tuple([extent_of(indices) for indices in section])


def size_of(section: Section) -> int:
    return prod(shape_of(section))


@lru_cache(1 << 15)
def common(a: IndexSet, b: IndexSet) -> tuple[Run, ...]:
    """The indices that two sets have in common, by their places in both.

    Examples
    --------
    >>> common(((0, 4), (8, 12)), ((2, 9),))
    ((2, 0, 2), (4, 6, 1))
    """
    runs: list[Run] = []
    i = j = at_a = at_b = 0
    while i < len(a) and j < len(b):
        start, stop = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if start < stop:
            run = at_a + start - a[i][0], at_b + start - b[j][0], stop - start
            if runs and runs[-1][0] + runs[-1][2] == run[0] and runs[-1][1] + runs[-1][2] == run[1]:
                runs[-1] = (*runs[-1][:2], runs[-1][2] + run[2])
            else:
                runs.append(run)
        if a[i][1] <= b[j][1]:
            at_a += a[i][1] - a[i][0]
            i += 1
        else:
            at_b += b[j][1] - b[j][0]
            j += 1
    return tuple(runs)


def meet(a: Section, b: Section) -> tuple[tuple[Run, ...], ...] | None:
    """What two sections have in common, for each axis; None where that is nothing."""
    axes = []
    for mine, other in zip(a, b, strict=True):
        runs = common(mine, other)
        if not runs:
            return None
        axes.append(runs)
    return tuple(axes)


def count(axes: Sequence[Sequence[Run]]) -> int:
    """How many elements the product of runs has."""
    return prod([sum([run[2] for run in runs]) for runs in axes])
