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
except TypeError as error:
    print("array_api within jax.jit:", error)
else:
    raise AssertionError("a tracer has no memory")


from planmath.interfaces.jax import einsum, fft, matmul  # noqa: E402 (which need JAX)

assert np.allclose(jax.jit(fft)(x), spectrum)
assert np.allclose(jax.vmap(fft)(x.reshape(2, 4)), np.fft.fft(x.reshape(2, 4)), atol=1e-5)


@jax.jit
@jax.grad
def gradient(weights, inputs):
    return (matmul(inputs, weights) ** 2).sum() / 2


inputs, weights = (np.random.default_rng(0).random(shape, np.float32) for shape in ((4, 3), (3, 2)))
assert np.allclose(gradient(weights, inputs), inputs.T @ inputs @ weights, atol=1e-5)
_, tangent = jax.jvp(lambda w: einsum("ij,jk->", inputs, w), (weights,), (np.ones_like(weights),))
assert np.allclose(tangent, 2 * inputs.sum(), atol=1e-5)
print("JAX:", spectrum.dtype, "on", spectrum.devices(), "and under jit, vmap and grad")
