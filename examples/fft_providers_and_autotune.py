"""Choose a library by name, or let autotuning measure all of them and keep the fastest."""

import numpy as np

from planmath.fft import FFT

operand = np.random.default_rng(0).normal(size=(64, 1024)) + 0j

with FFT(operand, axes=[1], options={"provider": "pocketfft"}) as transform:  # comes with SciPy: always there
    transform.plan()
    reference = transform.execute()
    print(transform)

try:
    FFT(operand, options={"provider": "pocketft"}).plan()
except ValueError as error:
    print(f"\n{error}\n")

# What is measured is remembered for the next process, in the tuning record; not here, to leave yours alone.
with FFT(operand, axes=[1], options={"tuning": False}) as transform:
    transform.plan()
    transform.autotune(seconds=1)
    assert np.allclose(transform.execute(), reference)
    print(transform.report())
