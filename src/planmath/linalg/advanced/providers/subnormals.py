"""Whether a library's products of half precision and of bfloat16 get subnormal numbers right.

The instructions for products of bfloat16, AVX512_BF16's and AMX's, take them for 0, in the operands and in what they
sum (Intel, "Architecture Instruction Set Extensions Programming Reference", VDPBF16PS and TDPBF16PS); MKL's ``hgemm``
makes larger numbers of them (2026.2, AMD EPYC). Conversions to single precision do neither, so the ways differ in more
than rounding. Which instructions a library uses, only its results tell.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

#: Bits of two numbers, by dtype: a subnormal one and 1, 2^-65 and 2^-66.
PAIRS = {"float16": ((0x0003, 0x3C00),), "bfloat16": ((0x0040, 0x3F80), (0x1F00, 0x1E80))}
#: Rows, columns and sums of matrices that are large enough for a library's fastest kernels.
EXTENT = 128


def values(bits: np.ndarray, dtype: str) -> np.ndarray:
    """What bits stand for, in single precision."""
    return bits.view(np.float16).astype("f4") if dtype == "float16" else (bits.astype(np.uint32) << 16).view("f4")


def kept(dtype: str, multiply: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    """Whether products are right where subnormal numbers take part.

    Parameters
    ----------
    dtype : {'float16', 'bfloat16'}
    multiply : callable
        The product, in single precision, of two matrices that are given as bits.
    """
    for x, y in PAIRS[dtype]:
        a, b = np.full((EXTENT, EXTENT), x, np.uint16), np.eye(EXTENT, dtype=np.uint16) * np.uint16(y)
        if (multiply(a, b) != values(a, dtype) * values(np.array(y, np.uint16), dtype)).any():
            return False
    return True


def kept_by(routine: int, dtype: str, result: str) -> bool:
    """The same of a routine of MKL's with the arguments of ``gemm``, by its address."""

    def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        d, scales = np.zeros((EXTENT, EXTENT), result), np.array([1, 0], result)
        size, none = np.array(EXTENT, np.int32), np.array(b"N")
        n, flag, alpha = size.ctypes.data, none.ctypes.data, scales.ctypes.data
        call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(routine)
        call(
            flag, flag, n, n, n, alpha, b.ctypes.data, n, a.ctypes.data, n, alpha + scales.itemsize, d.ctypes.data, n
        )  # by columns: of the transposed product
        return d.astype("f4")

    return kept(dtype, multiply)
