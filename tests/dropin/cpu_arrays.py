"""What the programs in this folder use of CuPy, on the CPU: NumPy arrays, or PyTorch's tensors.

The environment variable ARRAYS says which: ``numpy`` or ``torch``.
"""

import os
import time
from types import SimpleNamespace

if os.environ.get("ARRAYS", "numpy") == "torch":
    import torch as package

    float32, float64 = package.float32, package.float64
    ndarray = package.Tensor

    def random(*shape, dtype=None):
        return package.rand(*shape, dtype=dtype)

    def csr(dense):
        return package.from_numpy(dense).to_sparse_csr()
else:
    import numpy as package

    float32, float64 = package.float32, package.float64
    ndarray = package.ndarray
    _generator = package.random.default_rng(0)

    def random(*shape, dtype=None):
        return _generator.random(shape).astype(dtype)

    def csr(dense):
        from scipy.sparse import csr_array

        return csr_array(dense)


empty = package.empty


def numpy(array):
    """The array as a NumPy one, for checks."""
    import numpy as np

    return np.asarray(array)


def benchmark(function, n_repeat=10, n_warmup=1):
    """Stands in for cupyx.profiler.benchmark: an object with the times, in seconds, of the repeated calls."""
    for _ in range(n_warmup):
        function()
    times = []
    for _ in range(n_repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return SimpleNamespace(gpu_times=times, cpu_times=times)
