"""One transform in one call. The result belongs to the operand's package; inverse transforms are not scaled."""

import numpy as np

import planmath

signal = np.exp(2j * np.pi * 3 * np.arange(64) / 64)  # one frequency, number 3

spectrum = planmath.fft.fft(signal)
print("strongest frequency:", np.abs(spectrum).argmax())

again = planmath.fft.ifft(spectrum) / signal.size
assert np.allclose(again, signal)
assert np.allclose(spectrum, np.fft.fft(signal))
