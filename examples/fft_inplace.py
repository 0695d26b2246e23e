"""The result replaces the operand. The operand may change between executions without any call."""

import numpy as np

from planmath.fft import FFT

data = np.arange(12, dtype=np.complex64).reshape(3, 4)
expected = np.fft.fft2(data)

with FFT(data, options={"inplace": True}) as transform:
    transform.plan()
    result = transform.execute()
    assert result is data
    assert np.allclose(data, expected, atol=1e-4)

    data[...] = 1  # new values in the same memory
    transform.execute()

print(data.real)
assert data[0, 0] == 12
assert np.count_nonzero(data) == 1
