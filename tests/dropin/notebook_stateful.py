"""The program of a notebook on stateful APIs and autotuning: written for nvmath-python, it knows nothing of planmath.

Prints one line `name: value` for everything that the test looks at. The environment variables BATCH and LARGE scale it:
the notebook has 1024 products, of 124x1512x1024.
"""

import logging
import os

import cpu_arrays as cp
import numpy as np
import nvmath
from nvmath.linalg.advanced import MatmulEpilog

BATCH = int(os.environ.get("BATCH", "1024"))
LARGE = [int(extent) for extent in os.environ.get("LARGE", "124,1024,1512").split(",")]


def benchmark(F, F_name, F_alternative, F_alternative_name, n_repeat=3, n_warmup=1):
    perf = np.min(cp.benchmark(F, n_repeat=n_repeat, n_warmup=n_warmup).gpu_times)
    perf_alt = np.min(cp.benchmark(F_alternative, n_repeat=n_repeat, n_warmup=n_warmup).gpu_times)
    print(f"speedup of {F_name} over {F_alternative_name}: {perf_alt / perf:0.4f}x")


def relu_bias(a, b, bias):
    a, b, bias = cp.numpy(a), cp.numpy(b), cp.numpy(bias)
    return np.maximum(a @ b + bias.reshape(*bias.shape[: a.ndim - 1], 1), 0)


def operands(batch_size, m, n, k):
    a = cp.random(batch_size, m, k, dtype=cp.float32)
    b = cp.random(batch_size, k, n, dtype=cp.float32)
    d = cp.empty((batch_size, m, n), dtype=cp.float32)
    bias = cp.random(batch_size, m, dtype=cp.float32)
    return a, b, d, bias


# One stateless product.

m, n, k = 124, 10, 15
a = cp.random(m, k, dtype=cp.float32)
b = cp.random(k, n, dtype=cp.float32)
bias = cp.random(m, dtype=cp.float32)

d = nvmath.linalg.advanced.matmul(a, b, epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias})
print("type:", isinstance(d, cp.ndarray))
print("shape:", tuple(d.shape))
print("one product:", np.allclose(cp.numpy(d), relu_bias(a, b, bias), atol=1e-4))

# The same with the log of what happens, switched on and off again.

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s", force=True)
logging.disable(logging.NOTSET)
logging.info("before the stateless product")
d = nvmath.linalg.advanced.matmul(a, b, epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias})
logging.info("after the stateless product")
logging.disable(logging.CRITICAL)

# A sequence of products.

batch_size = 8
a, b, d, bias = operands(batch_size, m, n, k)


def matmul_batched_stateless(a, b, bias):
    for i in range(batch_size):
        d[i] = nvmath.linalg.advanced.matmul(
            a[i], b[i], epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias[i]}
        )
    return d


def matmul_batched_stateful(a, b, bias):
    with nvmath.linalg.advanced.Matmul(a[0], b[0]) as mm:
        mm.plan(epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias[0]})
        d[0] = mm.execute()
        for i in range(1, batch_size):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            d[i] = mm.execute()
    return d


expected = relu_bias(a, b, bias)
logging.disable(logging.NOTSET)
logging.info("stateless sequence")
stateless = np.array(cp.numpy(matmul_batched_stateless(a, b, bias)))
logging.info("stateful sequence")
stateful = np.array(cp.numpy(matmul_batched_stateful(a, b, bias)))
logging.info("end of the sequences")
logging.disable(logging.CRITICAL)
print("stateless sequence:", np.allclose(stateless, expected, atol=1e-4))
print("stateful sequence:", np.allclose(stateful, expected, atol=1e-4))

# The operands may also change in place: no reset then.

with nvmath.linalg.advanced.Matmul(a[0], b[0]) as mm:
    mm.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias[0]})
    a[0] *= 2
    d[0] = mm.execute()
    a[0] /= 2
print("changed in place:", np.allclose(cp.numpy(d[0]), relu_bias(2 * a[0], b[0], bias[0]), atol=1e-4))

# Larger products, timed.

m, n, k = LARGE
batch_size = BATCH
a, b, d, bias = operands(batch_size, m, n, k)
benchmark(
    lambda: matmul_batched_stateful(a, b, bias), "stateful", lambda: matmul_batched_stateless(a, b, bias), "stateless"
)

# The same with autotuning.


def matmul_batched_stateful_autotuned(a, b, bias):
    with nvmath.linalg.advanced.Matmul(a[0], b[0]) as mm:
        mm.plan(epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias[0]})
        mm.autotune(iterations=5)
        d[0] = mm.execute()
        for i in range(1, batch_size):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            d[i] = mm.execute()
    return d


tuned = np.array(cp.numpy(matmul_batched_stateful_autotuned(a, b, bias)))
print("autotuned sequence:", np.allclose(tuned, relu_bias(a, b, bias), rtol=1e-4, atol=1e-3))
benchmark(
    lambda: matmul_batched_stateful_autotuned(a, b, bias), "autotuned",
    lambda: matmul_batched_stateful(a, b, bias), "stateful",
)  # fmt: skip
