"""Between any two formats: the arrays of a tensor to the coordinates of its entries, and back, level by level.

Nothing here runs Python for an entry. All arrays are NumPy's, on the host; indices are int64 on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import planmath.sparse.ust.kernels as kernels
from planmath.sparse.ust.expressions import LevelExpr, Operator
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.levels import LevelFormat as F


class Arrays(NamedTuple):
    """What a tensor consists of: for each level pos and crd or None, and the values."""

    pos: tuple[Any, ...]
    crd: tuple[Any, ...]
    val: Any

    def each(self, function: Callable[[Any], Any]) -> Arrays:
        """What a function makes of each of the arrays."""
        pos, crd = (tuple(None if x is None else function(x) for x in of) for of in (self.pos, self.crd))
        return Arrays(pos, crd, function(self.val))


class Entries(NamedTuple):
    """Entries of a tensor: an index array for each dimension, and where each one's value is."""

    indices: list[np.ndarray]
    places: np.ndarray | None
    """None where entry number n has the value number n."""


class Bounds(NamedTuple):
    """The indices that a level may have."""

    low: int
    size: int


def bounds_of(form: TensorFormat, extents: Sequence[int]) -> list[Bounds]:
    """The indices that each level of a tensor of these extents may have."""
    found = []
    for expression, size in zip(form.expressions, form.dim2lvl(list(extents), as_size=True), strict=True):
        low = 0
        if isinstance(expression, LevelExpr) and expression.operator is Operator.SUBTRACT:
            low = 1 - extents[form.dimensions.index(expression.expression2)]
        found.append(Bounds(low, int(size)))
    return found


def batches_of(form: TensorFormat, bounds: Sequence[Bounds]) -> tuple[int, ...]:
    """The extents of the BATCH levels."""
    return tuple(b.size for level, b in zip(form.stored, bounds, strict=True) if level.format is F.BATCH)


# From arrays to entries.


def expand(form: TensorFormat, extents: Sequence[int], arrays: Arrays) -> Entries:
    """The indices of everything that is stored, padding included."""
    bounds = bounds_of(form, extents)
    batches = math.prod(batches_of(form, bounds))
    count = 1
    levels: list[np.ndarray] = []
    for number, (level, (low, size)) in enumerate(zip(form.stored, bounds, strict=True)):
        if level.format in (F.DENSE, F.BATCH, F.RANGE):
            repeats: Any = size
            index = np.tile(np.arange(low, low + size), count)
        elif level.format is F.SINGLETON:
            repeats, index = None, _flat(arrays.crd[number])
        elif level.format is F.STRUCTURED:
            repeats, index = level.number, _flat(arrays.crd[number])
        else:
            pos = joined(arrays.pos[number], batches)
            repeats, index = np.diff(pos), _flat(arrays.crd[number])
            if level.format is F.DELTA:
                index = accumulated(pos, index)
        if repeats is not None:
            levels = [np.repeat(of, repeats) for of in levels]
        levels.append(index)
        count = len(index)
    indices = [np.broadcast_to(np.asarray(i, np.int64), (count,)) for i in form.lvl2dim(levels)]
    if not any(level.format is F.RANGE for level in form.stored):
        return Entries(indices, None)
    inside = np.ones(count, bool)
    for index, extent in zip(indices, extents, strict=True):
        inside &= (index >= 0) & (index < extent)
    (places,) = np.nonzero(inside)
    return Entries([index[places] for index in indices], places)


def _flat(array: Any) -> np.ndarray:
    return np.asarray(array).reshape(-1).astype(np.int64, copy=False)


def joined(pos: Any, batches: int) -> np.ndarray:
    """Where segments begin in the whole array of coordinates, of an array that may begin anew for each batch."""
    pos = np.asarray(pos)
    if pos.ndim == 1:
        return pos.astype(np.int64, copy=False)
    if batches == 0:
        return np.zeros(1, np.int64)
    pos = pos.reshape(batches, -1).astype(np.int64)
    pos += np.concatenate([[0], np.cumsum(pos[:-1, -1])])[:, None]
    return np.concatenate([pos[:, :-1].reshape(-1), pos[-1:, -1]])


def accumulated(pos: np.ndarray, skipped: np.ndarray) -> np.ndarray:
    """Coordinates from the numbers of those that are skipped before each."""
    steps = np.cumsum(skipped + 1)
    before = np.concatenate([[0], steps])[pos[:-1]]
    return steps - np.repeat(before, np.diff(pos)) - 1


# From entries to arrays.


class _Packing:
    """Where each entry is in the positions of the levels so far."""

    def __init__(self, entries: int):
        self.places = np.zeros(entries, np.int64)
        self.count = 1
        self.distinct = entries <= 1
        """Whether no two entries are known to share a position."""

    def rank(self, index: np.ndarray, bound: Bounds) -> np.ndarray:
        """Give each distinct index below a position a position of its own; an entry for each of them."""
        places, firsts = kernels.rank(self.places, self.count, index, *bound)
        self.places = np.arange(len(index)) if places is None else places
        self.count = len(firsts)
        self.distinct = self.distinct or len(firsts) == len(index)
        return firsts


def pack(
    form: TensorFormat, extents: Sequence[int], indices: Sequence[np.ndarray], values: np.ndarray, index_type: Any,
    add: Callable[[np.ndarray, np.ndarray, np.ndarray], None],
) -> Arrays:  # fmt: skip
    """The arrays of a tensor from its entries; what comes twice is summed.

    Parameters
    ----------
    form : TensorFormat
    extents : sequence of int
    indices : sequence of array of int64
        Of each dimension.
    values : array
    index_type : dtype
    add : callable
        ``add(array, places, values)`` adds values to elements of an array, also where places repeat.

    Raises
    ------
    ValueError
        If the format has no place for an entry, or the indices no room for the positions.
    """
    bounds = bounds_of(form, extents)
    levels = [np.ascontiguousarray(np.broadcast_to(i, values.shape), np.int64) for i in form.dim2lvl(list(indices))]
    packing = _Packing(len(values))
    pos: list[Any] = [None] * form.num_levels
    crd: list[Any] = [None] * form.num_levels
    number = 0
    while number < form.num_levels:
        level, bound, index = form.stored[number], bounds[number], levels[number]
        if level.format.has_positions:
            last = number
            while last + 1 < form.num_levels and form.stored[last + 1].format is F.SINGLETON:
                last += 1
            _compress(form, packing, levels, bounds, number, last, pos, crd)
            number = last
        elif level.format is F.SINGLETON:
            crd[number] = _single(form, number, packing, index)
        elif level.format is F.STRUCTURED:
            crd[number] = _fill(form, number, packing, index, bound)
        else:
            packing.places = packing.places * bound.size + (index - bound.low)
            packing.count *= bound.size
        number += 1
    val = np.zeros(packing.count, values.dtype)
    if not packing.distinct:
        taken = np.zeros(packing.count, bool)
        taken[packing.places] = True
        packing.distinct = int(np.count_nonzero(taken)) == len(values)
    if packing.distinct:
        val[packing.places] = values
    else:
        add(val, packing.places, values)
    return finished(form, bounds, pos, crd, val, index_type)


def _compress(
    form: TensorFormat, packing: _Packing, levels: Any, bounds: Any, first: int, last: int, pos: Any, crd: Any
) -> None:
    """A level of segments, with the levels of single coordinates below it, which share its positions."""
    level = form.stored[first]
    parents, count = packing.places, packing.count
    firsts = packing.rank(levels[first], bounds[first])
    distinct = packing.count
    for below in range(first + 1, last + 1):
        firsts = packing.rank(levels[below], bounds[below])
    if level.unique and packing.count != distinct:
        raise ValueError(
            f"level {first + 1} of the format {form.name} has one coordinate below each of level {first}, and the "
            f"tensor has more: make level {first} NONUNIQUE, or level {first + 1} COMPRESSED"
        )
    if level.format is F.DELTA:
        assert level.number is not None
        _skip(level.number, packing, parents[firsts], levels[first][firsts], count, first, pos, crd)
        for below in range(first + 1, last + 1):
            crd[below] = np.zeros(packing.count, np.int64)
            crd[below][packing.places] = levels[below]
        return
    for each in range(first, last + 1):
        crd[each] = levels[each][firsts]
    pos[first] = _starts(parents[firsts], count)


def _starts(parents: np.ndarray, count: int) -> np.ndarray:
    """Where the segment of each parent begins, from the parents of what is in them."""
    pos = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(parents, minlength=count), out=pos[1:])
    return pos


def _skip(
    bits: int, packing: _Packing, parents: np.ndarray, indices: np.ndarray, count: int, number: int, pos: Any, crd: Any
) -> None:
    """Distances instead of coordinates; longer ones than the bits can tell are divided by entries of padding."""
    unit = 1 << min(bits, 62)
    begins = np.ones(len(parents), bool)
    begins[1:] = parents[1:] != parents[:-1]
    skipped = indices.copy()
    skipped[1:] -= np.where(begins[1:], 0, indices[:-1] + 1)
    padding, rest = np.divmod(skipped, unit)
    places = np.cumsum(padding + 1) - 1
    total = int(places[-1]) + 1 if len(places) else 0
    crd[number] = np.full(total, unit - 1, np.int64)
    crd[number][places] = rest
    filled = np.repeat(parents, padding + 1)
    pos[number] = _starts(filled, count)
    packing.places, packing.count = places[packing.places], total


def _single(form: TensorFormat, number: int, packing: _Packing, index: np.ndarray) -> np.ndarray:
    crd = np.zeros(packing.count, np.int64)
    crd[packing.places] = index
    if not np.array_equal(crd[packing.places], index):
        raise ValueError(
            f"level {number} of the format {form.name} has one coordinate for each position above it, and the tensor "
            "has more; make it COMPRESSED"
        )
    return crd


def _fill(form: TensorFormat, number: int, packing: _Packing, index: np.ndarray, bound: Bounds) -> np.ndarray:
    """Exactly so many coordinates for each position; what is missing is padded with the least that are free."""
    wanted = form.stored[number].number
    assert wanted is not None
    if wanted > bound.size:
        raise ValueError(
            f"level {number} of the format {form.name} has {wanted} entries in each strip, and a strip of this tensor "
            f"has {bound.size} elements"
        )
    used = np.zeros((packing.count, bound.size), bool)
    used[packing.places, index - bound.low] = True
    present = used.sum(axis=1)
    if len(present) and present.max() > wanted:
        raise ValueError(
            f"the tensor has {present.max()} entries in a strip of {bound.size}, and level {number} of the format "
            f"{form.name} has room for {wanted}; prune the tensor first"
        )
    free = ~used
    used |= free & (np.cumsum(free, axis=1) <= (wanted - present)[:, None])
    within = np.cumsum(used, axis=1) - 1
    packing.places = packing.places * wanted + within[packing.places, index - bound.low]
    packing.count *= wanted
    return np.nonzero(used)[1] + bound.low


def finished(
    form: TensorFormat, bounds: Sequence[Bounds], pos: Sequence[Any], crd: Sequence[Any], val: np.ndarray,
    index_type: Any,
) -> Arrays:  # fmt: skip
    """Arrays with the axes of batches, in the index type.

    Raises
    ------
    ValueError
        If batches differ in their entries, or an index does not fit.
    """
    batches = batches_of(form, bounds)
    most = np.iinfo(index_type).max
    for number, (starts, coordinates) in enumerate(zip(pos, crd, strict=True)):
        low, size = bounds[number]
        largest = max(0 if starts is None else int(starts[-1]), 0 if coordinates is None else low + size - 1)
        if largest > most:
            raise ValueError(
                f"level {number} of the format {form.name} has indices up to {largest}, and {np.dtype(index_type)} "
                f"ends with {most}; pass index_type='int64'"
            )
    rows = [math.prod(b.size for b in bounds[len(batches) : number]) for number in range(len(bounds))]
    pairs = [
        as_batches(form, batches, parents, *pair) if batches and pair[1] is not None else pair
        for parents, *pair in zip(rows, pos, crd, strict=True)
    ]
    cast = [[None if x is None else np.ascontiguousarray(x, index_type) for x in pair] for pair in pairs]
    return Arrays(tuple(p for p, _ in cast), tuple(c for _, c in cast), val)


def as_batches(form: TensorFormat, batches: tuple[int, ...], rows: int, pos: Any, crd: Any) -> tuple[Any, Any]:
    """Index arrays of a level with the axes of batches, of those of the whole tensor; each batch has so many rows."""
    count = math.prod(batches)
    if pos is not None:
        first = pos[: (count * rows) + 1 : rows] if rows else np.zeros(count + 1, np.int64)
        sizes = np.diff(first)
        if len(sizes) and (sizes != sizes[0]).any():
            raise ValueError(
                f"the format {form.name} has as many entries in each batch, and this tensor has {sizes.min()} to "
                f"{sizes.max()}; make the first levels DENSE instead of BATCH"
            )
        within = pos[np.arange(rows + 1)[None, :] + rows * np.arange(count)[:, None]]
        pos = (within - within[:, :1]).reshape(*batches, rows + 1)
    return pos, crd.reshape(*batches, -1) if count else crd.reshape(*batches, 0)
