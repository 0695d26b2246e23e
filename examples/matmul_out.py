"""Execute into an array of your own, here a part of a larger one: nothing is allocated."""

import numpy as np

from planmath.linalg.advanced import Matmul

rng = np.random.default_rng(0)
a = rng.normal(size=(10, 8, 8))
results = np.empty((10, 8, 8))

with Matmul(a[0], a[0]) as product:
    product.plan()
    for matrix, result in zip(a, results, strict=True):
        product.reset_operands(a=matrix, b=matrix)
        product.execute(out=result)

    try:
        product.execute(out=np.empty((8, 9)))
    except ValueError as error:
        print("refused:", error)

assert np.allclose(results, a @ a)
