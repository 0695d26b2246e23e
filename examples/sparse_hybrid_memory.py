"""Factors that may live in host memory as well, for systems that a device's memory cannot hold; else on the CPU."""

import numpy as np
import scipy.sparse as sp

from planmath.sparse.advanced import DirectSolver, ExecutionCPU, ExecutionCUDA, HybridMemoryModeOptions

n = 60
line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
a = sp.csr_array(sp.kron(line, sp.eye_array(n)) + sp.kron(sp.eye_array(n), line))
b = np.ones(n * n)

# without a limit, cuDSS takes what the device has; here it is told to do with a part of it
memory = HybridMemoryModeOptions(hybrid_memory_mode=True, hybrid_device_memory_limit="50%")
for execution in (ExecutionCUDA(hybrid_memory_mode_options=memory), ExecutionCPU()):
    try:
        with DirectSolver(a, b, execution=execution) as solver:
            plan = solver.plan()
            solver.factorize()
            x = solver.solve()
            print(solver)
            estimates = plan.memory_estimates
            print(f"{estimates['peak_host_memory']} bytes of host memory,")
            print(f"{estimates['hybrid_min_device_memory']} bytes of device memory at least")
    except RuntimeError as error:  # this machine lacks the device, or the provider does not tell
        print(error)
        continue
    assert np.allclose(a @ x, b)
    break
