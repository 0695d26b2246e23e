"""A graph: features propagate along its edges, and shortest paths by sums of the least."""

import numpy as np
import scipy.sparse as sp

from planmath.sparse import Matmul

n, rng = 2000, np.random.default_rng(0)
graph = sp.csr_array(sp.random_array((n, n), density=4 / n, rng=rng))
degrees = np.maximum(np.diff(graph.indptr), 1)
walk = sp.csr_array((np.repeat(1 / degrees, np.diff(graph.indptr)), graph.indices, graph.indptr), shape=graph.shape)

x = rng.random((n, 16))
features = x.copy()
with Matmul(walk, features) as step:
    step.plan()
    for _ in range(3):
        features[:] = step.execute()  # b is changed in place
    print(f"propagated by {step!r}")
assert np.allclose(features, walk @ (walk @ (walk @ x)))

distances = np.full(n, np.inf)
distances[0] = 0
with Matmul(graph, distances, distances.copy()) as relax:  # c takes the least of itself and of all sums
    relax.plan(semiring="min_plus")
    found = distances
    for steps in range(1, n):  # noqa: B007
        new = found.copy()
        relax.reset_operands(b=found, c=new)
        relax.execute()
        if np.array_equal(new, found):
            break
        found = new
print(f"{np.isfinite(found).sum()} nodes reach node 0, after {steps} steps")
expected = sp.csgraph.dijkstra(graph.T, indices=0)
assert np.allclose(found, expected)
