"""A dense system whose matrix lies in blocks on a grid of processes, and an array from one distribution to another.

Runs in one process, and on several: mpiexec -n 4 python -m mpi4py examples/distributed_solve.py
"""

import numpy as np

import planmath.distributed as distributed
from planmath.distributed import SingleProcessGroup
from planmath.distributed.distribution import BlockCyclic, ProcessGrid, Slab, redistribute
from planmath.distributed.linalg import DirectSolver

try:
    from mpi4py import MPI

    group = MPI.COMM_WORLD
except (ImportError, RuntimeError):  # one process
    group = SingleProcessGroup()
distributed.initialize(0, group, ["nccl"])
ranks = distributed.get_context().process_group

n = 300
rows = next(k for k in range(int(ranks.nranks**0.5), 0, -1) if ranks.nranks % k == 0)
grid = ProcessGrid(shape=(rows, ranks.nranks // rows), layout=ProcessGrid.Layout.ROW_MAJOR)
blocks = BlockCyclic(grid, (32, 32))

# Each rank makes its rows of the matrix, and of right-hand sides; the matrix goes into blocks.
((start, stop),) = Slab.X.section(ranks.rank, (n, n))[0] or ((0, 0),)
matrix = np.random.default_rng(0).standard_normal((n, n))
a = redistribute(np.asfortranarray(matrix[start:stop]), Slab.X, blocks)
solution = np.arange(2.0 * n).reshape(n, 2) / n
b = np.asfortranarray((matrix @ solution)[start:stop])

with DirectSolver(a, b, distributions=[blocks, Slab.X]) as solver:
    solver.plan()
    solver.factorize()  # a becomes its factors
    x = solver.solve()  # b becomes the solution
    assert x is b
    assert np.allclose(x, solution[start:stop], atol=1e-9)
    if ranks.rank == 0:
        print(solver.report())
        print(f"{ranks.nranks} ranks, the first row of the solution: {x[0]}")
distributed.finalize()
