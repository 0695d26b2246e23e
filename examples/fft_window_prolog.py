"""A window inside a transform: a prolog in Python multiplies each element as it is loaded."""

import math

import numpy as np

from planmath.fft import FFT, DeviceCallable, compile_prolog

FRAME = 1024


def hann(data_in, offset, user_info, reserved):
    """Each frame's element times the window, which is computed on the way."""
    position = offset % FRAME
    return data_in[offset] * (0.5 - 0.5 * math.cos(2 * math.pi * position / FRAME))


rng = np.random.default_rng(0)
frames = rng.standard_normal((2000, FRAME))
prolog = DeviceCallable(compile_prolog(hann, "float64", "float64"))

with FFT(frames, axes=[1]) as transform:
    transform.plan(prolog=prolog)
    print(transform.report())
    spectra = transform.execute()

window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
assert np.allclose(spectra, np.fft.rfft(frames * window))
