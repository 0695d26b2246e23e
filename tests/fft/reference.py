"""Fourier transforms in higher precision, and how near to them a result must be."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.fft

from tests.arrays import as_complex

FORWARD, INVERSE = -1, 1

#: Up to this length the sum that defines the transform is evaluated as it stands.
MATRIX_LENGTH = 64
#: Up to this prime factor libraries may sum products.
LARGEST_SUM = 256
PI = np.longdouble("3.14159265358979323846264338327950288")


def error_bound(precision: str, length: int) -> float:
    """The largest relative error, in the 2-norm, that a transform of `length` elements may have.

    The transform is a product of stages, one for each prime factor p of the length, whose relative errors add up
    (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 24.1). A stage that sums p
    complex products with rounded weights has at most √(2p) (p + 2) unit roundoffs (section 3.1: γ for each sum, and the
    absolute values of the matrix have a norm √p times larger); for p = 2 these are 8, where theorem 24.2 has 6.7.
    Libraries turn larger primes into convolutions, which are two transforms of at most 4p elements.

    FFTW and pocketfft stay below three epsilons throughout (S. G. Johnson and M. Frigo measure it for many libraries at
    https://www.fftw.org/accuracy); MKL in double precision reaches 145 epsilons for p = 103 (version 2026.2).
    """
    unit_roundoff = float(np.finfo(precision).eps) / 2
    stages = 1.0
    for p in prime_factors(length):
        stages += math.sqrt(2 * p) * (p + 2) if p <= LARGEST_SUM else 2 * 8 * math.log2(4 * p)
    return unit_roundoff * stages


def prime_factors(n: int) -> list[int]:
    """With repetitions."""
    factors, p = [], 2
    while n > 1:
        while n % p == 0:
            factors.append(p)
            n //= p
        p += 1
    return factors


def transform(array: np.ndarray, axes: Sequence[int], direction: int) -> np.ndarray:
    """The unscaled transform of a complex array along some axes, in long double."""
    array = array.astype(np.clongdouble)
    for axis in axes:
        n = array.shape[axis]
        if n <= MATRIX_LENGTH:
            array = np.moveaxis(np.moveaxis(array, axis, -1) @ dft_matrix(n, direction), -1, axis)
        elif direction == FORWARD:
            array = scipy.fft.fft(array, axis=axis)
        else:
            array = scipy.fft.ifft(array, axis=axis, norm="forward")
    return array


def dft_matrix(n: int, direction: int) -> np.ndarray:
    """exp(direction · 2πi jk / n), the exponents reduced exactly."""
    exponents = np.outer(np.arange(n), np.arange(n)) % n
    return np.exp(direction * 2j * PI * exponents.astype(np.longdouble) / n)


def expected(kind: str, operand: np.ndarray, axes: Sequence[int], direction: int, parity: str = "even") -> np.ndarray:
    """What a transform of this kind should give, in long double."""
    if kind == "C2C":
        return transform(operand, axes, direction)
    last = axes[-1]
    if kind == "R2C":
        half = operand.shape[last] // 2 + 1
        return transform(np.take(transform(operand, [last], FORWARD), range(half), last), axes[:-1], FORWARD)
    spectrum = np.moveaxis(transform(operand, axes[:-1], INVERSE), last, -1)
    m = spectrum.shape[-1]
    n = 2 * (m - 1) + (parity == "odd")
    mirrored = spectrum[..., n - m : 0 : -1].conj()
    full = np.concatenate([spectrum, mirrored], axis=-1)
    return np.moveaxis(transform(full, [full.ndim - 1], INVERSE).real, -1, last)


def assert_accurate(
    result: np.ndarray, kind: str, operand: np.ndarray, axes: Sequence[int], direction: int, parity: str = "even"
) -> None:
    """Check each of the batch's results against the reference."""
    precision = "float16" if result.dtype.kind == "V" else np.finfo(result.dtype).dtype.name
    result, operand = as_complex(result), as_complex(operand)
    reference = expected(kind, operand, axes, direction, parity)
    assert result.shape == reference.shape
    length = math.prod((reference if kind == "C2R" else operand).shape[axis] for axis in axes)
    scale = _norm(reference, axes) if kind == "C2R" else np.sqrt(length) * _norm(operand, axes)
    bound = error_bound(precision, length)
    error = _norm(result - reference, axes)
    assert (error <= bound * scale).all(), f"{(error / scale).max():.3g} is more than the error bound {bound:.3g}"


def _norm(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """The 2-norm of each of the batch's arrays."""
    return np.sqrt((np.abs(array.astype(np.clongdouble)) ** 2).sum(axis=tuple(axes)))
