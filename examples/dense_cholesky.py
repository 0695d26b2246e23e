"""A loop over positive definite matrices: planned once, factorized for new values, with the log-determinant of each."""

import numpy as np

from planmath.linalg import DirectSolver

rng = np.random.default_rng(0)
n = 200
points = np.sort(rng.uniform(0, 10, n))
data = np.sin(points) + 0.1 * rng.standard_normal(n)
covariance = np.empty((n, n))

with DirectSolver(covariance, data, structure="positive definite") as solver:
    solver.plan()
    best = (-np.inf, 0.0)
    for scale in (0.1, 0.3, 1.0, 3.0):
        # the values change in place; factorize reads them
        covariance[...] = np.exp(-(((points[:, None] - points) / scale) ** 2) / 2) + 0.01 * np.eye(n)
        solver.factorize()
        weights = solver.solve()
        _, size = solver.factorization_info.log_determinant()
        likelihood = -0.5 * (data @ weights + size + n * np.log(2 * np.pi))
        print(f"scale {scale}: log-likelihood {likelihood:.1f}")
        best = max(best, (likelihood, scale))
    assert best[1] == 1.0
