"""Plan once, execute many times: new operands of the same layout, and both directions, use the same plan."""

import numpy as np

from planmath.fft import FFT

rng = np.random.default_rng(0)
signals = [rng.normal(size=256) + 1j * rng.normal(size=256) for _ in range(100)]

with FFT(signals[0]) as transform:  # leaving the block frees the plan
    transform.plan()
    for signal in signals:
        transform.reset_operand(signal)
        spectrum = transform.execute()
        assert np.allclose(spectrum, np.fft.fft(signal))

    transform.reset_operand(spectrum)
    assert np.allclose(transform.execute("inverse") / 256, signals[-1])
    print(transform)
