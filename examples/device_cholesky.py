"""Many small systems, factorized and solved in one kernel, some in each block; one of them is not definite.

Here in Numba's simulator; on a device: NUMBA_ENABLE_CUDASIM=0 python examples/device_cholesky.py
"""

import os

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

import numpy as np
from numba import cuda

from planmath.device import CholeskySolver, launch

N, BLOCKS = 6, 4
solver = CholeskySolver((N, N, 1), np.float64, "Block", "lower", batches_per_block=2)
batches, size_a, size_b, threads = solver.batches_per_block, solver.a_size(), solver.b_size(), solver.block_dim.x


@cuda.jit
def solve(a, b, info):
    shared_a = cuda.shared.array(size_a, dtype=np.float64)
    shared_b = cuda.shared.array(size_b, dtype=np.float64)
    shared_info = cuda.shared.array(batches, dtype=np.int32)
    block = cuda.blockIdx.x
    for i in range(cuda.threadIdx.x, size_a, threads):
        shared_a[i] = a[block, i]
    for i in range(cuda.threadIdx.x, size_b, threads):
        shared_b[i] = b[block, i]
    cuda.syncthreads()
    solver.factorize(shared_a, shared_info)
    cuda.syncthreads()
    solver.solve(shared_a, shared_b)
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, size_b, threads):
        b[block, i] = shared_b[i]
    for i in range(cuda.threadIdx.x, batches, threads):
        info[block, i] = shared_info[i]


rng = np.random.default_rng(0)
m = rng.standard_normal((BLOCKS * batches, N, N))
a = m @ m.transpose(0, 2, 1) + np.eye(N)
a[3] = -a[3]
b = rng.standard_normal((BLOCKS * batches, N))

x = cuda.to_device(b.reshape(BLOCKS, -1))
info = cuda.to_device(np.zeros((BLOCKS, batches), np.int32))
launch(solve, BLOCKS, solver, cuda.to_device(a.reshape(BLOCKS, -1)), x, info)  # symmetric: columns are rows
solution, status = x.copy_to_host().reshape(-1, N), info.copy_to_host().reshape(-1)

good = status == 0
assert status.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
assert np.allclose(np.einsum("bij,bj->bi", a[good], solution[good]), b[good])
print(f"{solver.functions}: {good.sum()} of {len(a)} systems solved; minor {status[3]} of number 3 is not positive")
