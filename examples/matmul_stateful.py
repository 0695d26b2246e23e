"""Plan a product once, execute it for many operands of the same layout."""

import numpy as np

from planmath.linalg.advanced import Matmul, MatmulEpilog

rng = np.random.default_rng(0)
weights = rng.normal(size=(32, 64)).astype(np.float32)
bias = rng.normal(size=32).astype(np.float32)
batches = rng.normal(size=(20, 64, 16)).astype(np.float32)

with Matmul(weights, batches[0]) as product:
    product.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias})
    for batch in batches:
        product.reset_operands(b=batch)  # a and bias stay
        result = product.execute()
        assert np.allclose(result, np.maximum(weights @ batch + bias[:, None], 0), atol=1e-4)

    product.reset_operands(alpha=0.5)  # numbers can change as well
    assert np.allclose(product.execute(), np.maximum(0.5 * weights @ batch + bias[:, None], 0), atol=1e-4)
    print(product)
