"""Many products in one call: leading axes are a batch, and an operand without them serves the whole batch."""

import numpy as np

from planmath.linalg.advanced import MatmulEpilog, matmul

rng = np.random.default_rng(0)
a, b = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 5, 6))

assert np.allclose(matmul(a, b), a @ b)
assert np.allclose(matmul(a, b[0, 0]), a @ b[0, 0])  # one b for all

bias = rng.normal(size=(2, 3, 4, 1))  # one number for each row of each result
result = matmul(a, b, epilog=MatmulEpilog.BIAS, epilog_inputs={"bias": bias})
assert np.allclose(result, a @ b + bias)

# Vectors: a row times a matrix, a matrix times a column, an inner product.
assert np.allclose(matmul(a[0, 0, 0], b[0, 0]), a[0, 0, 0] @ b[0, 0])
assert np.allclose(matmul(a[0, 0], b[0, 0, :, 0].copy()), a[0, 0] @ b[0, 0, :, 0])
print("6 products in one call:", result.shape)
