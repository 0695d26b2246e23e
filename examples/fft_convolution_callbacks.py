"""Circular convolution: the filter multiplies as the inverse transform loads, the scale as it stores.

On the CPU, and on a CUDA device where there is one and CuPy to make arrays on it.
"""

import importlib.util

import numpy as np

from planmath.core.cuda import devices
from planmath.fft import FFT, DeviceCallable, compile_epilog, compile_prolog, fft


def filtered(data_in, offset, user_info, reserved):
    return data_in[offset] * user_info[offset]


def scaled(data_out, offset, data, user_info, reserved):
    data_out[offset] = data * user_info[0]


def convolve(signals, kernel, where):
    """Each row of `signals` with `kernel`, whose arrays belong to the package `where`."""
    n = signals.shape[1]
    spectra = fft(signals, axes=[1])
    response = where.broadcast_to(fft(kernel), spectra.shape).copy()  # the prolog finds it at the same offsets
    scale = where.asarray([1 / n], dtype="float32")
    prolog = DeviceCallable(compile_prolog(filtered, "complex64", "complex64"), data=response)
    epilog = DeviceCallable(compile_epilog(scaled, "complex64", "float32"), data=scale)
    with FFT(spectra, axes=[1]) as transform:
        transform.plan(prolog=prolog, epilog=epilog, direction="inverse")
        print(repr(transform))
        return transform.execute(direction="inverse")


rng = np.random.default_rng(0)
signals = rng.standard_normal((500, 1024)).astype(np.complex64)
kernel = np.zeros(1024, np.complex64)
kernel[:5] = 1 / 5  # the mean of five

means = sum(np.roll(signals, shift, axis=1) for shift in range(5)) / 5
assert np.allclose(convolve(signals, kernel, np), means, atol=1e-4)

if devices.missing() is None and importlib.util.find_spec("cupy"):
    import cupy

    result = convolve(cupy.asarray(signals), cupy.asarray(kernel), cupy)
    assert np.allclose(cupy.asnumpy(result), means, atol=1e-4)
