"""Choose the library, or let autotuning measure them all on your matrix."""

import numpy as np
import scipy.sparse as sp

from planmath.core.errors import UnavailableError
from planmath.sparse.advanced import DirectSolver, DirectSolverReorderingAlg

n = 40
line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
a = sp.csr_array(sp.kron(line, sp.eye_array(n)) + sp.kron(sp.eye_array(n), line))
b = np.ones(n * n)

for provider in ("pardiso", "superlu"):
    with DirectSolver(a, b, options={"provider": provider}) as solver:
        solver.plan_config.reordering_algorithm = DirectSolverReorderingAlg.AMD
        try:
            solver.plan()
        except UnavailableError as error:  # this machine has no MKL
            print(error)
            continue
        print(f"{provider}: {solver.factorize().lu_nnz} nonzeros in the factors")

with DirectSolver(
    a, b, options={"tuning": False}
) as solver:  # tuning=True, the default, remembers for the next process
    solver.plan()
    solver.autotune(seconds=1)
    print(solver.report())
    solver.factorize()
    assert np.allclose(a @ solver.solve(), b)
