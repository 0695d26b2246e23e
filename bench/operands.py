"""The arrays that every contender of a row works on."""

from __future__ import annotations

import numpy as np


def aligned(shape: tuple[int, ...], dtype: str | np.dtype) -> np.ndarray:
    """An uninitialised array that starts at a multiple of 64 bytes, as every library likes it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def uniform(shape: tuple[int, ...], dtype: str, seed: int = 7) -> np.ndarray:
    """An aligned array of noise between -1 and 1, real and imaginary part alike."""
    random = np.random.default_rng(seed)
    array = aligned(shape, dtype)
    if np.iscomplexobj(array):
        array.real, array.imag = random.uniform(-1, 1, shape), random.uniform(-1, 1, shape)
    else:
        array[...] = random.uniform(-1, 1, shape)
    return array
