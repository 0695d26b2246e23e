"""A batch of systems on a CUDA device, or on a device and the CPU together; the operands may stay on the host."""

import numpy as np
import scipy.sparse as sp

from planmath.sparse.advanced import DirectSolver

rng = np.random.default_rng(0)
line = sp.csr_array(sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(200, 200)))
matrices = [sp.csr_array(line * factor) for factor in rng.uniform(0.5, 2, 16)]
sides = rng.standard_normal((16, 200, 1))

for execution in ("cuda", "hybrid", "cpu"):
    try:
        with DirectSolver(matrices, sides, execution=execution) as solver:
            plan = solver.plan()
            solver.factorize()
            x = solver.solve()
            print(solver)
            for note in plan.notes:  # such as the threading layer, with which cuDSS plans several times faster
                print(note)
            info = solver.solution_info
            print(f"worst backward error {info.backward_error:.1e} after {info.refinement_steps} steps of refinement")
    except RuntimeError as error:
        print(f"{execution}: {error}")
        continue
    assert all(np.allclose(a @ each, b) for a, each, b in zip(matrices, x, sides, strict=True))
