"""Any axes of arrays with any strides, without a copy; and the memory order of the result."""

import numpy as np

from planmath.fft import FFT, fft

rng = np.random.default_rng(0)
block = rng.normal(size=(4, 6, 8, 10)) + 1j * rng.normal(size=(4, 6, 8, 10))

# Four axes at once; one axis in the middle, the others being the batch.
assert np.allclose(fft(block), np.fft.fftn(block))
assert np.allclose(fft(block, axes=[1]), np.fft.fft(block, axis=1))

# Every second element, backwards, transposed: the library reads it where it stands.
view = block[::2, :, ::-1].transpose(3, 0, 2, 1)
assert np.allclose(fft(view, axes=[0, 3]), np.fft.fftn(view, axes=[0, 3]))

# 'natural' keeps the operand's memory order; 'optimized' lets the transformed axes vary fastest.
for layout in ("natural", "optimized"):
    with FFT(block, axes=[0, 1], options={"result_layout": layout}) as transform:
        shape, strides = transform.get_output_layout()
        print(f"{layout:>9}: shape {shape}, strides {strides} in elements")
        transform.plan()
        assert np.allclose(transform.execute(), np.fft.fftn(block, axes=[0, 1]))
