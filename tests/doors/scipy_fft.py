"""A program that calls scipy.fft, and one line."""

import numpy as np
import scipy.fft
import scipy.signal

import planmath.interfaces.scipy_fft

scipy.fft.set_global_backend(planmath.interfaces.scipy_fft)  # the line

a, b = np.random.default_rng(0).random((2, 300))
convolved = scipy.signal.fftconvolve(a, b)  # SciPy's own functions get there as well
assert np.allclose(convolved, np.convolve(a, b))
assert scipy.fft.dct(a).shape == a.shape  # which stays with SciPy
print("scipy.fft: a convolution of", convolved.size, "elements")
