"""A dense layer forward and backward: the forward pass leaves a bit mask that the backward pass reads."""

import numpy as np

from planmath.linalg.advanced import MatmulEpilog, matmul

rng = np.random.default_rng(0)
outputs, inputs, samples = 24, 32, 10
weights = rng.normal(size=(outputs, inputs))
bias = rng.normal(size=outputs)
x = rng.normal(size=(inputs, samples))

# Forward: y = relu(W x + b), and where W x + b was positive, one bit an element.
y, auxiliary = matmul(weights, x, epilog=MatmulEpilog.RELU_AUX_BIAS, epilog_inputs={"bias": bias})
mask = auxiliary["relu_aux"]
positive = weights @ x + bias[:, None] > 0
assert np.allclose(y, np.where(positive, weights @ x + bias[:, None], 0))

# The mask is packed along the rows, 8 bits a byte, columns padded to 128 bits.
bits = np.unpackbits(mask, axis=0, bitorder="little")[:outputs]
assert np.array_equal(bits, positive)
print("mask:", mask.shape, mask.dtype, "for a result of", y.shape)

# Backward: the gradient arriving from the next layer V y, through V and through this layer's ReLU; and its sum over
# samples, which is the gradient of the bias.
following = rng.normal(size=(6, outputs))
arriving = rng.normal(size=(6, samples))
gradient, auxiliary = matmul(following.T, arriving, epilog=MatmulEpilog.DRELU_BGRAD, epilog_inputs={"relu_aux": mask})
expected = np.where(positive, following.T @ arriving, 0)
assert np.allclose(gradient, expected)
assert np.allclose(auxiliary["drelu_bgrad"], expected.sum(axis=1))
print("gradient of the bias:", auxiliary["drelu_bgrad"].round(2)[:4], "...")
