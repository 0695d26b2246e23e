"""Whether long index arrays on a device are what a format promises, by the arrays' own package: nothing is copied."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Shorter arrays are copied to the host: that takes less time than the package's calls.
LONG = 1 << 16


def is_long(array: Any) -> bool:
    """Whether it is an array on a device that is worth looking at there."""
    on_host = isinstance(array, np.ndarray) or getattr(array, "is_cpu", False)
    return not on_host and array.shape[-1] >= LONG


def segments(pos: Any, crd: Any, low: int, size: int) -> tuple[bool, bool] | None:
    """Whether the coordinates of each segment ascend, and whether none comes twice; None where something is wrong."""
    starts, count = pos[:-1], crd.shape[0]
    if int(pos[0]) != 0 or int(pos[-1]) != count or bool((pos[1:] < starts).any()) or not inside(crd, low, size):
        return None
    begins = _zeros_like(crd)
    begins[starts[starts < count]] = True
    before, after, within = crd[:-1], crd[1:], ~begins[1:]
    ordered = not bool(((after < before) & within).any())
    return ordered, not bool(((after == before) & within).any())


def inside(crd: Any, low: int, size: int) -> bool:
    """Whether all coordinates are within their bounds."""
    return not bool(((crd < low) | (crd >= low + size)).any())


def pairs(first: Any, second: Any) -> tuple[bool, bool]:
    """Whether pairs of coordinates ascend, and whether none comes twice."""
    same = first[1:] == first[:-1]
    descends = (first[1:] < first[:-1]) | (same & (second[1:] < second[:-1]))
    return not bool(descends.any()), not bool((same & (second[1:] == second[:-1])).any())


def _zeros_like(array: Any) -> Any:
    """No for each element, in the same place."""
    return array != array
