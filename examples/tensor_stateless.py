"""Contract two or three tensors once, in einsum notation."""

import numpy as np

from planmath.tensor import binary_contraction, ternary_contraction

rng = np.random.default_rng(0)
a, b, c = rng.random((8, 6, 4)), rng.random((6, 4, 5)), rng.random((5, 3))

r = binary_contraction("ijk,jkl->il", a, b)
assert np.allclose(r, np.einsum("ijk,jkl->il", a, b))

# Without the result's modes: those that occur once, sorted. And with something added.
r = binary_contraction("ijk,jkl", a, b, c=np.ones((8, 5)), alpha=2.0, beta=-1.0)
assert np.allclose(r, 2 * np.einsum("ijk,jkl", a, b) - 1)

# Modes can be any hashable values.
r = binary_contraction([("row", 0, 1), (0, 1, "column"), ("column", "row")], a, b)
assert np.allclose(r, np.einsum("ijk,jkl->li", a, b))

r = ternary_contraction("ijk,jkl,lm->im", a, b, c)
assert np.allclose(r, np.einsum("ijk,jkl,lm->im", a, b, c))
print("a result of shape", r.shape)
