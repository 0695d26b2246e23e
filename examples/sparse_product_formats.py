"""Formats as data: a stencil by its diagonals, and weights of which two of four are kept."""

import numpy as np
import scipy.sparse as sp

from planmath.sparse import matmul, ust

n = 100
one = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
poisson = sp.csr_array(sp.kron(sp.eye_array(n), one) + sp.kron(one, sp.eye_array(n)))
stencil = ust.Tensor.from_package(poisson).convert(tensor_format=ust.NamedFormats.DIAI)
u = np.random.default_rng(0).random(n * n)
assert np.allclose(matmul(stencil, u), poisson @ u)
print(stencil.explain())

weights = np.random.default_rng(1).standard_normal((64, 128)).astype("float32")
strips = weights.reshape(-1, 4)
least = np.argsort(np.abs(strips), axis=1)[:, :2]
np.put_along_axis(strips, least, 0, axis=1)
pruned = ust.Tensor.from_package(weights).convert(tensor_format=ust.NamedFormats.Structured(2, 4))
x = np.random.default_rng(2).standard_normal((128, 8)).astype("float32")
assert np.allclose(matmul(pruned, x), weights @ x, atol=1e-4)
print(pruned.explain())

mine = ust.TensorFormat.parse("[i, j] -> (i // 8: dense, j: compressed, i % 8: dense)", name="columns of eight rows")
tall = ust.Tensor.from_package(poisson).convert(tensor_format=mine)
assert np.allclose(matmul(tall, u), poisson @ u)
print(f"{tall!r}")
