"""Functions of Python's applied to whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from planmath.core.errors import warn


def mapped(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """What a function makes of each element of the first array, with those of the others beside it.

    It is called with the arrays; where it cannot take these, it is compiled by Numba, or called for each element.

    Raises
    ------
    ValueError
        If it returns something of another shape, or takes another number of arguments.
    """
    first = arrays[0]
    if not first.size:
        return first.copy()
    try:
        found = function(*arrays)
    except (TypeError, ValueError, AttributeError):  # of numbers alone, such as with a condition
        found = _each(function, len(arrays))(*arrays)
    made = np.asarray(found)
    if made.shape not in (first.shape, ()):
        raise ValueError(f"the function returned an array of the shape {made.shape} for one of {first.shape}")
    with np.errstate(all="ignore"):
        return np.broadcast_to(made, first.shape).astype(first.dtype)


@cache
def _each(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A function of numbers as one of arrays."""
    if find_spec("numba") is None:
        warn(
            "the function does not take arrays, so it is called for each element; install numba to have it compiled",
            UserWarning,
        )
        return np.frompyfunc(function, count, 1)
    import numba

    return numba.vectorize(function)
