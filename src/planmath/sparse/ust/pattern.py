"""Whether the index arrays of a tensor are what its format promises, and where an element is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import planmath.sparse.ust.kernels as kernels
from planmath.sparse.ust import device_pattern
from planmath.sparse.ust.conversion import Arrays, batches_of, bounds_of, finished, joined
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.levels import LevelFormat as F
from planmath.sparse.ust.levels import LevelProperty
from planmath.sparse.ust.packages import to_host

#: Segments are even where the longest is at most so many times as long as the mean, and so many entries longer.
EVEN, SHORT = 8, 64


def described(form: TensorFormat, extents: Sequence[int], arrays: Arrays) -> TensorFormat:
    """The format with what is true of the order of coordinates; itself where they are as it promises.

    Raises
    ------
    ValueError
        If an index is out of range, or an array has a length that the others contradict.
    """
    bounds = bounds_of(form, extents)
    batches = batches_of(form, bounds)
    loose: dict[int, tuple[bool, bool]] = {}
    count = 1
    for number, (level, (low, size)) in enumerate(zip(form.stored, bounds, strict=True)):
        crd = None if arrays.crd[number] is None else arrays.crd[number].reshape(-1)
        fault = ""
        if level.format.has_positions:
            assert crd is not None
            pos = arrays.pos[number]
            if math.prod(batches) > 0 and tuple(pos.shape) != (*batches, count // max(math.prod(batches), 1) + 1):
                fault = f"pos has the shape {tuple(pos.shape)}"
            else:
                fault, ordered, unique = _segments(pos, crd, batches, low, size, level.format is F.DELTA)
                if (level.unique and not unique) or (level.ordered and not ordered):
                    loose[number] = (unique, ordered)
            count = len(crd)
        elif crd is not None:
            count *= level.number if level.format is F.STRUCTURED else 1  # type: ignore[operator]
            if len(crd) != count:
                fault = f"crd has {len(crd)} elements; expected {count}"
            else:
                fault = _range(crd, low, size)
                # of a list that is the whole tensor; within segments nothing depends on the order
                if not fault and level.format is F.SINGLETON and number == 1 and not form.stored[0].unique:
                    ordered, unique = _list(arrays.crd[number - 1].reshape(-1), crd)
                    last = number + 1 == form.num_levels or form.stored[number + 1].format is not F.SINGLETON
                    unique = unique and ordered  # which is not known of a list in no order
                    if last and ((level.unique and not unique) or (level.ordered and not ordered)):
                        loose[number] = (unique, ordered)
        else:
            count *= size
        if fault:
            raise ValueError(f"level {number} of the tensor, {form.expressions[number]} of {form.name}: {fault}")
    if math.prod(arrays.val.shape) != count:
        raise ValueError(f"the tensor has {math.prod(arrays.val.shape)} values; expected {count}, as its indices say")
    return loosened(form, loose) if loose else form


def _segments(
    pos: Any, crd: Any, batches: tuple[int, ...], low: int, size: int, differences: bool
) -> tuple[str, bool, bool]:
    """What is wrong of the segments of a level, in words, and whether each ascends, and has nothing twice."""
    if device_pattern.is_long(crd) and not batches and not differences:
        found = device_pattern.segments(pos, crd, low, size)
        if found is not None:
            return "", *found
    pos, crd = to_host(pos), _contiguous(crd)
    if batches:
        pos = joined(pos, math.prod(batches)).astype(crd.dtype)
    return kernels.check(np.ascontiguousarray(pos), crd, low, size, differences)


def _range(crd: Any, low: int, size: int) -> str:
    """What is wrong of coordinates, in words."""
    if device_pattern.is_long(crd) and device_pattern.inside(crd, low, size):
        return ""
    return kernels.check_range(_contiguous(crd), low, size)


def _list(first: Any, second: Any) -> tuple[bool, bool]:
    """Whether pairs of coordinates ascend, and whether none comes twice."""
    if device_pattern.is_long(second):
        return device_pattern.pairs(first, second)
    return kernels.check_list(_contiguous(first), _contiguous(second))


def _contiguous(array: Any) -> np.ndarray:
    return np.ascontiguousarray(to_host(array))


def has_even_segments(tensor: Any) -> bool:
    """Whether no segment of the last level that has such is much longer than the others, or of a list no run."""
    levels = [n for n in range(tensor.num_levels) if tensor.pos(n) is not None]
    if not levels:
        return True
    pos = tensor.pos(levels[-1])
    count = math.prod(pos.shape[:-1]) * (pos.shape[-1] - 1)
    if count < 2:
        stored = tensor.tensor_format.stored
        if levels[-1] + 1 < tensor.num_levels and stored[-1].format is F.RANGE:
            return True
        return stored[levels[-1]].ordered and _has_short_runs(tensor.crd(levels[-1]))
    pos = pos if device_pattern.is_long(pos) else to_host(pos)
    longest = int((pos[..., 1:] - pos[..., :-1]).max())
    return longest <= EVEN * (math.prod(tensor.crd(levels[-1]).shape) // count) + SHORT


def _has_short_runs(crd: Any) -> bool:
    """Whether no coordinate of an ascending list is there much more often than its range allows in the mean."""
    crd = crd if device_pattern.is_long(crd) else to_host(crd)
    if len(crd) == 0:
        return True
    most = EVEN * (len(crd) // (int(crd[-1]) - int(crd[0]) + 1)) + SHORT
    return not bool((crd[most:] == crd[:-most]).any())


def loosened(form: TensorFormat, loose: dict[int, tuple[bool, bool]]) -> TensorFormat:
    """The format with less promised of some levels: whether each is unique and ordered."""
    levels: dict[Any, Any] = {}
    for number, (expression, level) in enumerate(zip(form.expressions, form.stored, strict=True)):
        unique, ordered = loose.get(number, (level.unique, level.ordered))
        properties = [
            *([] if unique else [LevelProperty.NONUNIQUE]),
            *([] if ordered else [LevelProperty.UNORDERED]),
        ]
        levels[expression] = form.levels[expression] if number not in loose else (level.format, properties)
    return TensorFormat(form.dimensions, levels, name=f"{form.name}-loose")


def cast(form: TensorFormat, extents: Sequence[int], arrays: Arrays, index_type: str) -> Arrays:
    """Copies of the arrays with another index type."""
    batches = math.prod(batches_of(form, bounds_of(form, extents)))
    pos = [None if x is None else joined(x, batches) for x in arrays.pos]
    crd = [None if x is None else x.reshape(-1) for x in arrays.crd]
    return finished(form, bounds_of(form, extents), pos, crd, arrays.val.copy(), index_type)


def places_of(form: TensorFormat, extents: Sequence[int], arrays: Arrays, indices: Sequence[int]) -> np.ndarray:
    """Where the values of an element are: mostly at most one place."""
    bounds = bounds_of(form, extents)
    batches = batches_of(form, bounds)
    places = np.zeros(1, np.int64)
    for number, (level, (low, size), index) in enumerate(
        zip(form.stored, bounds, form.dim2lvl(list(indices)), strict=True)
    ):
        if level.format in (F.DENSE, F.BATCH, F.RANGE):
            places = places * size + (index - low)
            continue
        crd = arrays.crd[number].reshape(-1)
        if level.format is F.SINGLETON:
            places = places[[int(crd[int(p)]) == index for p in places]]
            continue
        if level.format is F.STRUCTURED:
            segments = [(int(p) * level.number, (int(p) + 1) * level.number) for p in places]  # type: ignore[operator]
        else:
            segments = [_segment(arrays.pos[number], batches, len(crd), int(p)) for p in places]
        found = []
        for begin, end in segments:
            part = to_host(crd[begin:end]).astype(np.int64)
            part = np.cumsum(part + 1) - 1 if level.format is F.DELTA else part
            found.append(begin + np.nonzero(part == index)[0])
        places = np.concatenate(found) if found else places[:0]
    return places


def _segment(pos: Any, batches: tuple[int, ...], entries: int, place: int) -> tuple[int, int]:
    if not batches:
        return int(pos[place]), int(pos[place + 1])
    rows = pos.shape[-1] - 1
    batch, row = divmod(place, rows)
    first = batch * (entries // math.prod(batches))
    flat = pos.reshape(-1, rows + 1)[batch]
    return first + int(flat[row]), first + int(flat[row + 1])
