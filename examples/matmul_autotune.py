"""Let autotuning measure every library and every way it has, and keep the fastest."""

import numpy as np

from planmath.linalg.advanced import Matmul

rng = np.random.default_rng(0)
a, b = rng.normal(size=(256, 256)).astype(np.float32), rng.normal(size=(256, 256)).astype(np.float32)

with Matmul(a, b, options={"tuning": False}) as product:  # tuning=True, the default, remembers for the next process
    algorithms = product.plan()
    print(f"plan() proposes {len(algorithms)} algorithms, the first one is {algorithms[0]}")
    product.autotune(seconds=1)
    print(product.report())
    assert np.allclose(product.execute(), a @ b, atol=1e-3)
