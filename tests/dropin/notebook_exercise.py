"""The solution of the notebook's exercise: a batch as one more dimension, against a sequence of products.

BATCH scales it; the exercise has 512 products of 64x256x128.
"""

import os

import cpu_arrays as cp
import numpy as np
import nvmath
from nvmath.linalg.advanced import MatmulEpilog

m, n, k, batch_size = 64, 128, 256, int(os.environ.get("BATCH", "512"))

a = cp.random(batch_size, m, k, dtype=cp.float32)
b = cp.random(batch_size, k, n, dtype=cp.float32)
bias = cp.random(batch_size, m, 1, dtype=cp.float32)
d = cp.empty((batch_size, m, n), dtype=cp.float32)


def matmul_batched_stateless(a, b, bias):
    return nvmath.linalg.advanced.matmul(
        a, b, epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias}
    )


def matmul_batched_stateful_sequence(a, b, bias):
    with nvmath.linalg.advanced.Matmul(a[0], b[0]) as mm:
        mm.plan(epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias[0]})
        d[0] = mm.execute()
        for i in range(1, batch_size):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            d[i] = mm.execute()
    return d


expected = np.maximum(cp.numpy(a) @ cp.numpy(b) + cp.numpy(bias), 0)
dimension = matmul_batched_stateless(a, b, bias)
sequence = matmul_batched_stateful_sequence(a, b, bias)
print("type:", isinstance(dimension, cp.ndarray))
print("batch dimension:", np.allclose(cp.numpy(dimension), expected, rtol=1e-4, atol=1e-3))
print("batch sequence:", np.allclose(cp.numpy(sequence), expected, rtol=1e-4, atol=1e-3))

times = [
    np.min(cp.benchmark(lambda call=call: call(a, b, bias), n_repeat=3).gpu_times)
    for call in (matmul_batched_stateless, matmul_batched_stateful_sequence)
]
print(f"speedup of the dimension over the sequence: {times[1] / times[0]:0.4f}x")
