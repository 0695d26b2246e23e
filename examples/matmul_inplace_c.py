"""Accumulate: with ``options.inplace`` the result of ``a b + c`` replaces c."""

import numpy as np

from planmath.linalg.advanced import Matmul

rng = np.random.default_rng(0)
parts = [(rng.normal(size=(40, 30)), rng.normal(size=(30, 20))) for _ in range(5)]
total = np.zeros((40, 20))

with Matmul(*parts[0], total, beta=1.0, options={"inplace": True}) as product:
    product.plan()
    for a, b in parts:
        product.reset_operands(a=a, b=b)
        assert product.execute() is total

assert np.allclose(total, sum(a @ b for a, b in parts))
print("sum of 5 products, norm", np.linalg.norm(total).round(2))
