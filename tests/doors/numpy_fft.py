"""A program that calls numpy.fft, with another import."""

import numpy as np

from planmath.interfaces import numpy_fft as fft

x = np.random.default_rng(0).random((4, 100))
assert np.allclose(fft.irfft(fft.rfft(x), 100), x)
print("numpy.fft:", fft.rfftfreq(100, 0.01)[:3])
