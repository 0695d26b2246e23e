"""planmath's transforms, products and contractions as functions of JAX's: under `jit`, `vmap`, and differentiated.

What is traced has no memory: shapes and dtypes of results are known without computing, and the work is done by
callbacks from the compiled program, on the CPU, which keep plans between calls. An axis that `vmap` maps over is one
more axis of the batch, in one call. Derivatives are made of the same functions, in both modes (`jax.grad`, `jax.jvp`,
`jax.jacfwd`, `jax.hessian`) and of any order. Arrays on other devices are copied to the host and back.

`fft`, `ifft`, `rfft`, `irfft`
    Transforms, as in `planmath.fft`, with `norm`.
`matmul`
    Products, with bias and activation in the same call where epilogs say so.
`einsum`
    Contractions of any number of arrays, with `jax.numpy.einsum`'s signature.

Examples
--------
>>> import jax, jax.numpy as jnp
>>> from planmath.interfaces.jax import matmul, rfft
>>> jax.jit(rfft)(jnp.arange(4.0))
Array([ 6.+0.j, -2.+2.j, -2.+0.j], dtype=complex64)
>>> jax.grad(lambda a: matmul(a, jnp.eye(2)).sum())(jnp.ones((3, 2))).shape
(3, 2)
"""

from __future__ import annotations

from planmath.interfaces.jax_product import einsum, matmul
from planmath.interfaces.jax_transform import fft, ifft, irfft, rfft

__all__ = ["einsum", "fft", "ifft", "irfft", "matmul", "rfft"]
