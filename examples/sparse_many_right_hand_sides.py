"""One factorization, many right-hand sides: together as a matrix, and one after the other."""

import numpy as np
import scipy.sparse as sp

from planmath.sparse.advanced import DirectSolver

rng = np.random.default_rng(0)
n = 1000
a = sp.csr_array(sp.random_array((n, n), density=0.005, rng=rng) + 4 * sp.eye_array(n))
b = np.asfortranarray(rng.standard_normal((n, 8)))  # columns in a row in memory are solved for without a copy

with DirectSolver(a, b) as solver:
    solver.plan()
    solver.factorize()
    x = solver.solve()
    assert np.allclose(a @ x, b)
    for _ in range(5):
        solver.reset_operands(b=np.asfortranarray(rng.standard_normal((n, 8))))
        solver.solve(out=x)  # writes into an array of yours
    print(f"{x.shape[1]} solutions at a time, backward error {solver.solution_info.backward_error:.1e}")
