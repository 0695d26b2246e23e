"""Direction vectors and scramble constants of Sobol's generators, from cuRAND."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from planmath.bindings import curand
from planmath.bindings.curand import DirectionVectorSet
from planmath.device.function import positive

__all__ = [
    "DirectionVectorSet",
    "get_direction_vectors32",
    "get_direction_vectors64",
    "get_scramble_constants32",
    "get_scramble_constants64",
]
#: Dimensions that cuRAND has vectors for.
LARGEST = 20000


def _array(address: int, dims: int, width: int, bits: int) -> np.ndarray:
    if positive("dims", dims) > LARGEST:
        raise ValueError(f"dims is {LARGEST} at most, not {dims}")
    kind = ctypes.c_uint32 if bits == 32 else ctypes.c_uint64
    found = np.ctypeslib.as_array((kind * (dims * width)).from_address(address)).copy()
    return found.reshape(dims, width) if width > 1 else found


def get_direction_vectors32(set: Any, dims: int) -> np.ndarray:
    """The direction vectors of the first dimensions: shape (dims, 32).

    Parameters
    ----------
    set : DirectionVectorSet
        One of those for 32 bits.
    dims : int
        20000 at most.
    """
    return _array(curand.get_direction_vectors32(set), dims, 32, 32)


def get_direction_vectors64(set: Any, dims: int) -> np.ndarray:
    """The direction vectors of the first dimensions: shape (dims, 64)."""
    return _array(curand.get_direction_vectors64(set), dims, 64, 64)


def get_scramble_constants32(dims: int) -> np.ndarray:
    """The constants of scrambled generators for the first dimensions."""
    return _array(curand.get_scramble_constants32(), dims, 1, 32)


def get_scramble_constants64(dims: int) -> np.ndarray:
    """The constants of scrambled generators for the first dimensions."""
    return _array(curand.get_scramble_constants64(), dims, 1, 64)
