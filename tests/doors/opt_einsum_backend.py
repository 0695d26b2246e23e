"""opt_einsum with planmath's products, and NumPy's signature."""

import numpy as np
import opt_einsum

from planmath.tensor import einsum

a, b, c = (np.random.default_rng(i).random((20, 20)) for i in range(3))
expected = np.einsum("ij,jk,kl->il", a, b, c)
assert np.allclose(opt_einsum.contract("ij,jk,kl->il", a, b, c, backend="planmath"), expected)
assert np.allclose(einsum("ij,jk,kl->il", a, b, c, optimize=True), expected)
print("opt_einsum:", expected.shape)
