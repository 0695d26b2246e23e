"""Real operands: half of the spectrum determines the rest, so R2C computes only that, and C2R goes back."""

import numpy as np

import planmath

for length in (8, 9):
    signal = np.cos(np.arange(length))
    half = planmath.fft.rfft(signal)
    assert half.shape == (length // 2 + 1,)

    # Both lengths have five numbers in their half spectrum: only you know which one it was.
    parity = "odd" if length % 2 else "even"
    again = planmath.fft.irfft(half, options={"last_axis_parity": parity}) / length
    assert np.allclose(again, signal)
    print(f"{length} real numbers, {half.size} complex ones, {again.size} real ones again")
