"""Plan a contraction once, execute it for many operands of the same layout; tune it; write into an array of yours."""

import numpy as np

from planmath.tensor import BinaryContraction

rng = np.random.default_rng(0)
a, b = rng.random((12, 16, 8, 16)), rng.random((16, 16, 12, 12))

with BinaryContraction("abcd,dbea->ec", a, b) as contraction:
    contraction.plan()
    first = contraction.execute()
    contraction.reset_operands(a=2 * a)
    assert np.allclose(contraction.execute(alpha=0.5), first)

    contraction.autotune(seconds=2)  # measures every way: which operands to copy, whose products, how many threads
    print(contraction.report())

    out = contraction.empty_result()
    assert contraction.execute(out=out) is out

# Where the result is added up: out may be what is added.
total = np.zeros((12, 8))
with BinaryContraction("abcd,dbea->ec", a, b, c=total, out=total) as contraction:
    contraction.plan()
    for _ in range(3):
        contraction.execute(beta=1.0)
assert np.allclose(total, 3 * first)
