"""Poisson's equation on a square: plan, factorize, solve; what the solver tells about each phase."""

import numpy as np
import scipy.sparse as sp

from planmath.sparse.advanced import DirectSolver, DirectSolverMatrixType

n = 60
line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
a = sp.csr_array(sp.kron(line, sp.eye_array(n)) + sp.kron(sp.eye_array(n), line))
b = np.ones(n * n)

options = {"sparse_system_type": DirectSolverMatrixType.SPD}  # half the work, where the matrix is known to be so
with DirectSolver(a, b, options=options) as solver:
    solver.plan()
    info = solver.factorize()
    x = solver.solve()
    print(solver)
    print(f"{a.nnz} entries in the matrix, {info.lu_nnz} in its factors")
    print(f"backward error {solver.solution_info.backward_error:.1e}")
    assert np.allclose(a @ x, b)
