"""Convolutions in one kernel: transform, multiply by a filter, transform back, without going through memory between.

Here in Numba's simulator; on a device: NUMBA_ENABLE_CUDASIM=0 python examples/device_convolution.py
"""

import os

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

import numpy as np
from numba import cuda

from planmath.device import FFT, launch

N, BATCH = 128, 10
options = {"size": N, "precision": np.float32, "fft_type": "c2c", "execution": "Block", "ffts_per_block": "suggested"}
forward, inverse = FFT(**options, direction="forward"), FFT(**options, direction="inverse")


@cuda.jit
def convolve(signals, spectrum):
    registers = cuda.local.array(forward.storage_size, dtype=forward.value_type)
    shared = cuda.shared.array(0, dtype=forward.value_type)
    row = cuda.blockIdx.x * forward.ffts_per_block + cuda.threadIdx.y
    for i in range(forward.elements_per_thread):
        column = cuda.threadIdx.x + i * forward.stride
        if column < N:
            registers[i] = signals[row, column] if row < signals.shape[0] else 0
    forward.execute(registers, shared)  # by all threads, also those without a row
    for i in range(forward.elements_per_thread):
        column = cuda.threadIdx.x + i * forward.stride
        if column < N:
            registers[i] = registers[i] * spectrum[column] / N
    inverse.execute(registers, shared)
    for i in range(forward.elements_per_thread):
        column = cuda.threadIdx.x + i * forward.stride
        if column < N and row < signals.shape[0]:
            signals[row, column] = registers[i]


rng = np.random.default_rng(0)
signals = (rng.standard_normal((BATCH, N)) + 1j * rng.standard_normal((BATCH, N))).astype(np.complex64)
window = np.exp(-(((np.arange(N) - N // 2) / 4.0) ** 2)).astype(np.complex64)
spectrum = np.fft.fft(np.fft.ifftshift(window)).astype(np.complex64)

there = cuda.to_device(signals)
launch(convolve, -(-BATCH // forward.ffts_per_block), forward, there, cuda.to_device(spectrum))
smooth = there.copy_to_host()

expected = np.fft.ifft(np.fft.fft(signals) * spectrum)
assert np.allclose(smooth, expected, atol=1e-4)
print(f"{forward}: {forward.ffts_per_block} in a block of {tuple(forward.block_dim)}")
print(f"the largest difference to NumPy's is {abs(smooth - expected).max():.1e}")
