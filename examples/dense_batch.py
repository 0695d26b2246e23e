"""Many small systems at a time; some of them singular, which is told and does not concern the others."""

import numpy as np

from planmath.linalg import DirectSolver, SingularMatrixError, direct_solver

rng = np.random.default_rng(0)
a = rng.standard_normal((1000, 8, 8))
b = rng.standard_normal((1000, 8, 1))

with DirectSolver(a, b) as solver:
    solver.plan()
    print(solver.report())  # planmath's own kernels: a system in each lane of a vector register
    solver.factorize()
    x = solver.solve()
    assert np.allclose(a @ x, b)
    print(f"the largest backward error is {solver.solution_info.backward_error:.1e}")

a[17] = 0
try:
    direct_solver(a, b)
except SingularMatrixError as error:
    print(error)
    singular, found = error.indices, error.solution
assert singular == (17,)
assert np.isnan(found[17]).all()
good = np.arange(1000) != 17
assert np.allclose(a[good] @ found[good], b[good])
