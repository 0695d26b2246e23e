"""Arrays of every package, made from NumPy's and turned back into them without a copy."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

PACKAGES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("numpy", "torch")
]


def to_package(array: np.ndarray, package: str) -> Any:
    """An array of the package over the same memory, with the same strides."""
    if package == "numpy":
        return array
    import torch

    return torch.from_numpy(array)


def to_numpy(array: Any) -> np.ndarray:
    """A NumPy array over the memory of an array of any package."""
    return array if isinstance(array, np.ndarray) else array.detach().numpy()


def package_of(array: Any) -> str:
    """The name of the package that an array belongs to."""
    if type(array) is np.ndarray:
        return "numpy"
    return "torch" if "torch" in sys.modules and type(array) is sys.modules["torch"].Tensor else str(type(array))


def strides_of(array: Any) -> tuple[int, ...]:
    """Strides in elements."""
    if isinstance(array, np.ndarray):
        return tuple(step // array.itemsize for step in array.strides)
    return tuple(array.stride())


def address_of(array: Any) -> int:
    """The address of the first element."""
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data_ptr()
