"""Newton's method for a nonlinear equation, -u'' + u^3 = f: the values of the matrix change, its pattern stays."""

import numpy as np
import scipy.sparse as sp

from planmath.sparse.advanced import DirectSolver

n = 2000
h = 1 / (n + 1)
a = sp.csr_array(sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)) / h**2)
stiffness = a.copy()
diagonal = np.repeat(np.arange(n), np.diff(a.indptr)) == a.indices
f = 100 * np.sin(np.pi * h * np.arange(1, n + 1))

u, residual = np.zeros(n), f.copy()
with DirectSolver(a, residual) as solver:
    solver.plan()
    for step in range(20):
        a.data[diagonal] = stiffness.data[diagonal] + 3 * u**2  # the Jacobian, in place
        solver.factorize()
        update = solver.solve()
        u += update
        residual[:] = f - stiffness @ u - u**3  # the right-hand side, in place
        print(f"step {step}: the update's largest element is {np.abs(update).max():.1e}")
        if np.abs(update).max() < 1e-10:
            break
assert np.allclose(stiffness @ u + u**3, f)
