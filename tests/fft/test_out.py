"""Stateless transforms into arrays of the user's."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.fft import fft, ifft, irfft, rfft
from planmath.linalg.advanced import matmul

X = np.arange(8.0) + 1j


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (fft, X, np.fft.fft(X)),
        (ifft, X, 8 * np.fft.ifft(X)),
        (rfft, X.real.copy(), np.fft.rfft(X.real)),
        (irfft, X[:5], 8 * np.fft.irfft(X[:5])),
    ],
    ids=["fft", "ifft", "rfft", "irfft"],
)
def test_out(function, x, expected, nothing_remembered):
    out = np.empty_like(expected)
    for _ in range(2):  # planned, then remembered
        assert function(x, out=out) is out
        np.testing.assert_allclose(out, expected, atol=1e-12)
        out[...] = 0
    with pytest.raises(ValueError, match=r"out has the shape \(3,\)"):
        function(x, out=np.empty(3, out.dtype))
    np.testing.assert_allclose(function(x), expected, atol=1e-12)


def test_out_of_a_product(nothing_remembered):
    a = np.arange(4.0).reshape(2, 2)
    out = np.empty((2, 2))
    for _ in range(2):
        assert matmul(a, a, out=out) is out
        np.testing.assert_allclose(out, a @ a)
    with pytest.raises(ValueError, match="out shares memory with a"):
        matmul(a, a, out=a)
