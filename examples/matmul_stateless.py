"""One product in one call: ``alpha a b + beta c``, with bias and ReLU in the same pass."""

import numpy as np

from planmath.linalg.advanced import MatmulEpilog, matmul

rng = np.random.default_rng(0)
a, b, c = rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=(5, 4))

assert np.allclose(matmul(a, b), a @ b)
assert np.allclose(matmul(a, b, c, alpha=2.0, beta=-1.0), 2 * a @ b - c)

bias = rng.normal(size=5)  # one number for each row of the result
layer = matmul(a, b, epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias})
assert np.allclose(layer, np.maximum(a @ b + bias[:, None], 0))
print(layer.round(2))
