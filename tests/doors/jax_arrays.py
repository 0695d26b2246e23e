"""JAX's arrays, outside of jax.jit and, by a callback, within."""

import sys

import numpy as np

from planmath.interfaces import array_api

try:
    import jax
except ImportError:
    print("JAX is not installed: pip install jax")
    sys.exit()

x = jax.numpy.arange(8, dtype=np.complex64)
spectrum = array_api.fft(x)
assert isinstance(spectrum, jax.Array)
try:
    jax.jit(array_api.fft)(x)
except Exception as error:
    print("within jax.jit:", type(error).__name__)
else:
    raise AssertionError("a tracer has no memory")


@jax.jit
def compiled(x):
    result = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return jax.pure_callback(lambda x: np.asarray(array_api.fft(np.asarray(x))), result, x)


assert np.allclose(compiled(x), spectrum)
print("JAX:", spectrum.dtype, "on", spectrum.devices())
