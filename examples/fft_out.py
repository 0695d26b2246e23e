"""Execute into an array of your own: nothing is allocated, and the result may be a part of something larger."""

import numpy as np

from planmath.fft import FFT

rng = np.random.default_rng(0)
frames = rng.normal(size=(50, 512)) + 1j * rng.normal(size=(50, 512))
spectra = np.empty_like(frames)

with FFT(frames[0]) as transform:
    transform.plan()
    for frame, spectrum in zip(frames, spectra, strict=True):
        transform.reset_operand(frame)
        transform.execute(out=spectrum)
    fits = transform.empty_result()  # an array with the planned shape, strides and dtype

    try:
        transform.execute(out=np.empty(512, np.complex64))
    except ValueError as error:
        print("refused:", error)

assert np.allclose(spectra, np.fft.fft(frames))
assert fits.shape == (512,)
