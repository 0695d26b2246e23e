"""Contract many tensors: the order, what it costs, and less memory by slices."""

import numpy as np

from planmath.tensor import Contraction, contract

rng = np.random.default_rng(0)
bond, sites = 12, 6
# The norm of a matrix product state: two rows of tensors, contracted with each other.
state = [rng.normal(size=(bond, 2, bond)) for _ in range(sites)]
upper = [(("u", i), ("s", i), ("u", i + 1)) for i in range(sites)]
lower = [(("l", i), ("s", i), ("l", i + 1)) for i in range(sites)]
ends = (("u", 0), ("l", 0), ("u", sites), ("l", sites))
expr = [*upper, *lower, ends]

with Contraction(expr, *state, *state) as norm:
    norm.plan()
    r = norm.execute()
    print(norm.report())

# With little memory for what the steps leave, some modes are cut, and the slices are contracted one after the other.
with Contraction(expr, *state, *state, options={"memory_limit": "64 KiB"}) as norm:
    norm.plan()
    assert np.allclose(norm.execute(), r)
    print(norm.report().splitlines()[-1])

a, b, c = rng.random((3, 4)), rng.random((4, 5)), rng.random((5, 3))
assert np.allclose(contract("ij,jk,ki", a, b, c), np.trace(a @ b @ c))
