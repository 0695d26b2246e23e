"""What happens where a solution is inaccurate: the backward error, refinement, and what the options say to do."""

import warnings

import numpy as np
import scipy.sparse as sp

from planmath.sparse.advanced import DirectSolver, InaccurateSolutionError, SingularMatrixError, direct_solver

rng = np.random.default_rng(0)
n = 300
a = sp.csr_array(
    sp.random_array((n, n), density=0.02, rng=rng, dtype=np.float32) + sp.eye_array(n, k=1) + sp.eye_array(n)
)
a = sp.csr_array(a.astype(np.float32))
b = rng.standard_normal(n).astype(np.float32)

# Refinement: as many steps as asked for; without a wish only where the backward error is too large.
with DirectSolver(a, b, options={"backward_error": "exact"}) as solver:
    solver.plan()
    solver.factorize()
    for steps in (0, 1):
        solver.solution_config.ir_num_steps = steps
        solver.solve()
        print(f"{steps} steps of refinement: backward error {solver.solution_info.backward_error:.1e}")
    assert solver.solution_info.accurate

# Matrices that are singular, and nearly so: the constant vector is in the null space, or all but.
for gap in (0.0, 1e-15):
    line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)).tolil()
    line[0, 0], line[n - 1, n - 1] = 1.0, 1.0 + gap
    for mode in ("raise", "warn"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                direct_solver(sp.csr_array(line), rng.standard_normal(n), options={"on_inaccurate": mode})
            except (InaccurateSolutionError, SingularMatrixError) as error:
                print(f"{type(error).__name__}: {error}")
            for warning in caught:
                print(f"{warning.category.__name__}: {warning.message}")
