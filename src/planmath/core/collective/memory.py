"""Memory that others own, as arrays."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, Layout, Package


class _Memory:
    """Bytes at an address, and what keeps them."""

    def __init__(self, owner: Any, address: int, size: int):
        self.base = owner
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "data": (address, False), "shape": (size,)}


def array_over(
    package: Package, owner: Any, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str
) -> Any:
    """A package's array over dense memory at an address, which `owner` keeps."""
    size = prod(shape) * ITEMSIZE[dtype]
    if not size:
        return package.empty(shape, strides, package.dtype(dtype), None)
    data = np.asarray(_Memory(owner, address, size))
    layout = Layout(shape, strides, dtype, "cpu", None)
    if package.name == "numpy":
        return package.with_strides(data.view(dtype), layout)
    import torch

    return package.with_strides(torch.from_numpy(data).view(package.dtype(dtype)), layout)
