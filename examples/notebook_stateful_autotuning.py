# %% Notebook
# SPDX-License-Identifier: Apache-2.0 AND CC-BY-NC-4.0
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
# http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

# %%
"""A notebook of nvmath-python's on stateful APIs and autotuning, run by planmath: it needs CuPy and a CUDA device.

    python -m planmath run examples/notebook_stateful_autotuning.py

The cells headed "Notebook" are that notebook's code as it stands, under the licence above. Those headed "Exercise" and
"Question" hold what it leaves to the reader; those headed "Check" compare the results with CuPy's own.
"""


def relu_bias(a, b, bias):
    """The product with bias and ReLU, by CuPy in double precision."""
    a, b, bias = (array.astype(cp.float64) for array in (a, b, bias))
    return cp.maximum(a @ b + bias.reshape(*a.shape[:-1], 1), 0)


def check(name, result, expected):
    """Print that a result is right, or raise."""
    assert isinstance(result, cp.ndarray)
    error = float(abs(result - expected).max() / expected.max())
    assert error < 1e-5, f"{name}: a relative error of {error}"
    print(f"checked: {name}")


# %% Notebook
import numpy as np
import cupyx as cpx


# Helper function to benchmark two implementations F and (optionally) F_alternative
# When F_alternative is provided, in addition to raw performance numbers (seconds)
# speedup of F relative to F_alternative is reported
def benchmark(
    F, F_name="Implementation", F_alternative=None, F_alternative_name="Alternative implementation", n_repeat=10, n_warmup=1
):
    timing = cpx.profiler.benchmark(F, n_repeat=n_repeat, n_warmup=n_warmup)  # warm-up + repeated runs
    perf = np.min(timing.gpu_times)  # best time from repeated runs
    print(f"{F_name} performance = {perf:0.4f} sec")

    if F_alternative is not None:
        timing_alt = cpx.profiler.benchmark(F_alternative, n_repeat=n_repeat, n_warmup=n_warmup)
        perf_alt = np.min(timing_alt.gpu_times)
        print(f"{F_alternative_name} performance = {perf_alt:0.4f} sec")
        print(f"Speedup = {perf_alt / perf:0.4f}x")
    else:
        perf_alt = None

    return perf, perf_alt

# %% Notebook
import cupy as cp
import nvmath
from nvmath.linalg.advanced import MatmulEpilog

m, n, k = 124, 10, 15

a = cp.random.rand(m, k, dtype=cp.float32)
b = cp.random.rand(k, n, dtype=cp.float32)
d = cp.empty((m, n), dtype=cp.float32)
bias = cp.random.rand(m, dtype=cp.float32)

d = nvmath.linalg.advanced.matmul(a, b, epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias})

print("d type =", type(d))
print("d shape =", d.shape)

# %% Check
check("one product", d, relu_bias(a, b, bias))

# %% Notebook
# Demonstrate what happens under the hood using nvmath-python's logging capabilities
import logging

# Configure the root logger to INFO and include timestamps
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s", force=True)
logging.disable(logging.NOTSET)  # ensure logging is enabled

logging.info("About to call matmul() — inspect logs for execution flow")

d = nvmath.linalg.advanced.matmul(a, b, epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias})

print("d type =", type(d))
print("d shape =", d.shape)

logging.info("Completed matmul() call")
logging.disable(logging.CRITICAL)  # disable logging

# %% Notebook
import cupy as cp
import nvmath
from nvmath.linalg.advanced import MatmulEpilog

m, n, k, batch_size = 124, 10, 15, 8 # Sizes are small for demonstration purposes

a = cp.random.rand(batch_size, m, k, dtype=cp.float32)
b = cp.random.rand(batch_size, k, n, dtype=cp.float32)
d = cp.empty((batch_size, m, n), dtype=cp.float32)
bias = cp.random.rand(batch_size, m, dtype=cp.float32)


def matmul_batched_stateless(a, b, bias):
    for i in range(batch_size): # We use a for loop to retrieve the new `a[i]`, `b[i]`, and `bias[i]` in the batch.
        d[i] = nvmath.linalg.advanced.matmul(
            a[i], b[i], epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias[i]}
        )

    return d


def matmul_batched_stateful(a, b, bias):
    with nvmath.linalg.advanced.Matmul(a[0], b[0]) as mm: # We create a Matmul object for the first batch element.
        mm.plan(epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias[0]}) # We assume a[0] and b[0] are representative of the batch.
        mm.execute() # The execution doesn't require resetting the operands.
        for i in range(1, batch_size):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]}) # Subsequent executions require resetting the operands.
            d[i] = mm.execute() # We execute with the new operands.

    return d

# %% Notebook
import logging

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s %(message)s", force=True)
logging.disable(logging.NOTSET)

logging.info("*************** Stateless API ***************")

matmul_batched_stateless(a, b, bias)

logging.info("*************** Stateful API ***************")

matmul_batched_stateful(a, b, bias)

logging.disable(logging.CRITICAL)

# %% Check
d[...] = 0
check("stateless sequence", matmul_batched_stateless(a, b, bias), relu_bias(a, b, bias))
d[...] = 0
# The notebook does not keep the first product of its stateful sequence.
check("stateful sequence", matmul_batched_stateful(a, b, bias)[1:], relu_bias(a, b, bias)[1:])

# %% Notebook
m, n, k, batch_size = 124, 1024, 1512, 1024 # Select larger sizes for benchmarking purposes

a = cp.random.rand(batch_size, m, k, dtype=cp.float32)
b = cp.random.rand(batch_size, k, n, dtype=cp.float32)
d = cp.empty((batch_size, m, n), dtype=cp.float32)
bias = cp.random.rand(batch_size, m, dtype=cp.float32)

benchmark(
    lambda: matmul_batched_stateful(a, b, bias), "Stateful API", lambda: matmul_batched_stateless(a, b, bias), "Stateless API"
)


# %% Question: which is faster, resetting the operands or updating them in place?
def matmul_batched_in_place(a, b, bias):
    a_now, b_now, bias_now = a[0].copy(), b[0].copy(), bias[0].copy()
    with nvmath.linalg.advanced.Matmul(a_now, b_now) as mm:
        mm.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias_now})
        d[0] = mm.execute()
        for i in range(1, batch_size):
            a_now[...], b_now[...], bias_now[...] = a[i], b[i], bias[i]
            d[i] = mm.execute()
    return d


benchmark(
    lambda: matmul_batched_stateful(a, b, bias), "Reset operands",
    lambda: matmul_batched_in_place(a, b, bias), "In-place update",
)  # fmt: skip
check("in-place update", matmul_batched_in_place(a, b, bias)[::100], relu_bias(a[::100], b[::100], bias[::100]))
# Resetting is: it exchanges addresses, while an update moves all elements of a and b through the device's memory, by
# three more launches for each product. An update is for operands that are computed where they are needed anyway; then
# there is nothing to copy, and nothing to reset.

# %% Exercise: batch dimension vs. batch sequence, solved
## Exercise: Batch Dimension vs. Batch Sequence

import nvmath
from nvmath.linalg.advanced import MatmulEpilog
import cupy as cp
import numpy as np
import cupyx as cpx


# Helper function to benchmark two implementations F and (optionally) F_alternative
# When F_alternative is provided, in addition to raw performance numbers (seconds)
# speedup of F relative to F_alternative is reported
def benchmark(
    F, F_name="Implementation", F_alternative=None, F_alternative_name="Alternative implementation", n_repeat=10, n_warmup=1
):
    timing = cpx.profiler.benchmark(F, n_repeat=n_repeat, n_warmup=n_warmup)  # warm-up + repeated runs
    perf = np.min(timing.gpu_times)  # best time from repeated runs
    print(f"{F_name} performance = {perf:0.4f} sec")

    if F_alternative is not None:
        timing_alt = cpx.profiler.benchmark(F_alternative, n_repeat=n_repeat, n_warmup=n_warmup)
        perf_alt = np.min(timing_alt.gpu_times)
        print(f"{F_alternative_name} performance = {perf_alt:0.4f} sec")
        print(f"Speedup = {perf_alt / perf:0.4f}x")
    else:
        perf_alt = None

    return perf, perf_alt


m, n, k, batch_size = 64, 128, 256, 512 # Select larger sizes for benchmarking purposes

a = cp.random.rand(batch_size, m, k, dtype=cp.float32)
b = cp.random.rand(batch_size, k, n, dtype=cp.float32)
bias = cp.random.rand(batch_size, m, 1, dtype=cp.float32)
d = cp.empty((batch_size, m, n), dtype=cp.float32) # Use pre-allocated resulting array to save memory


def matmul_batched_stateless(a, b, bias):
    return nvmath.linalg.advanced.matmul(a, b, epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias})


def matmul_batched_stateful_sequence(a, b, bias):
    with nvmath.linalg.advanced.Matmul(a[0], b[0]) as mm:
        mm.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias[0]})
        d[0] = mm.execute()
        for i in range(1, batch_size):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            d[i] = mm.execute()
    return d

benchmark(
    lambda: matmul_batched_stateless(a, b, bias),
    "Stateless batched dimension approach",
    lambda: matmul_batched_stateful_sequence(a, b, bias),
    "Stateful with a batch sequence approach",
)

# %% Check
check("batch dimension", matmul_batched_stateless(a, b, bias), relu_bias(a, b, bias))
check("batch sequence", matmul_batched_stateful_sequence(a, b, bias), relu_bias(a, b, bias))
# One call for the whole batch is one launch, and its blocks fill the device; a single product of the sequence has too few
# of them, ends sooner than the next one is launched, and is copied to its place after that. The sequence is for data that
# comes piece by piece, or that does not fit into the device's memory at once, and it costs nothing when one product
# keeps the whole device busy.

# %% Notebook: the names are the batch of 124x1512x1024 again, and so is the function that the last cell compares with
m, n, k, batch_size = 124, 1024, 1512, 1024

a = cp.random.rand(batch_size, m, k, dtype=cp.float32)
b = cp.random.rand(batch_size, k, n, dtype=cp.float32)
d = cp.empty((batch_size, m, n), dtype=cp.float32)
bias = cp.random.rand(batch_size, m, dtype=cp.float32)


def matmul_batched_stateful_autotuned(a, b, bias):
    with nvmath.linalg.advanced.Matmul(a[0], b[0]) as mm:
        mm.plan(epilog=MatmulEpilog(MatmulEpilog.RELU_BIAS), epilog_inputs={"bias": bias[0]})
        mm.autotune(iterations=5)
        mm.execute()
        for i in range(1, batch_size):
            mm.reset_operands(a=a[i], b=b[i], epilog_inputs={"bias": bias[i]})
            d[i] = mm.execute()


benchmark(
    lambda: matmul_batched_stateful_autotuned(a, b, bias),
    "Stateful API with autotuning",
    lambda: matmul_batched_stateful(a, b, bias),
    "Stateful API without autotuning",
)

# %% Check
matmul_batched_stateful_autotuned(a, b, bias)
check("autotuned sequence", d[100::100], relu_bias(a[100::100], b[100::100], bias[100::100]))
