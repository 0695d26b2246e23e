"""What is done with the values of a tensor, of whichever package and dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

#: The bits of the sign, of dtypes that NumPy lacks.
_SIGNS = {1: 0x80, 2: -0x8000}


def added(array: np.ndarray, places: np.ndarray, values: np.ndarray) -> None:
    """Add values to elements of an array, also where places repeat."""
    np.add.at(array, places, values)


def nonzero(values: np.ndarray, dtype: str) -> np.ndarray:
    """Which values are not zero; of a dtype that NumPy lacks they are given as bits."""
    if values.dtype == dtype or values.dtype.kind not in "iu":
        return values != 0
    return (values & ~np.array(_SIGNS[values.itemsize], values.dtype)) != 0


def package_dtype(package: str, dtype: str) -> Any:
    """A package's own object for a dtype."""
    if package == "torch":
        import torch

        found = getattr(torch, dtype, None)
        if not isinstance(found, torch.dtype):
            raise TypeError(f"PyTorch has no dtype {dtype}")
        return found
    try:
        return np.dtype(dtype)
    except TypeError:
        raise TypeError(f"NumPy has no dtype {dtype}; use torch tensors for it") from None


def converted(package: str, values: Any, dtype: str) -> Any:
    """Values in another dtype."""
    wanted = package_dtype(package, dtype)
    return values.to(wanted) if package == "torch" else values.astype(wanted)
