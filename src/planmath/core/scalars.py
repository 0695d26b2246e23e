"""alpha and beta: numbers that belong to an operation, and that its programs read at each execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def checked(values: Mapping[str, Any], dtype: str) -> dict[str, np.ndarray]:
    """Scale factors as arrays of one element.

    Parameters
    ----------
    values : mapping of str to number
    dtype : str
        NumPy's name of what they are stored as.

    Raises
    ------
    ValueError
        If one is not a single number that fits.
    """
    found = {}
    wanted = np.dtype(dtype)
    for name, value in values.items():
        try:
            number = np.asarray(value)
            if wanted.kind == "i" and number.shape == () and number == int(number):
                number = np.asarray(int(number))
            if number.shape != () or not np.can_cast(number.dtype, wanted, casting="same_kind"):
                raise TypeError
            with np.errstate(all="ignore", over="raise"):
                found[name] = number.astype(wanted)
        except (TypeError, ValueError, OverflowError, FloatingPointError):
            raise ValueError(f"{name} is {value!r}; expected a single number that fits {wanted}") from None
    return found
