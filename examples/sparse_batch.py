"""Many systems at a time, of different sizes, shared out among the threads."""

import numpy as np
import scipy.sparse as sp

from planmath.sparse.advanced import DirectSolver, direct_solver

rng = np.random.default_rng(0)
matrices = [
    sp.csr_array(sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(n, n))) for n in range(100, 400, 3)
]
sides = [rng.standard_normal(a.shape[0]) for a in matrices]

solutions = direct_solver(matrices, sides)
assert all(np.allclose(a @ x, b) for a, x, b in zip(matrices, solutions, sides, strict=True))

with DirectSolver(matrices, sides) as solver:
    solver.plan()
    for _ in range(3):
        for a in matrices:
            a.data *= 1.1
        solver.factorize()
        solutions = solver.solve()
    info = solver.solution_info
    print(f"{len(solutions)} systems, the largest backward error is {info.backward_error:.1e}")
    assert all(system.accurate for system in info.systems)
