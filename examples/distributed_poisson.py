"""Poisson's equation on a periodic grid that lies across processes, by Fourier transforms.

Runs in one process, and on several: mpiexec -n 4 python -m mpi4py examples/distributed_poisson.py
"""

import numpy as np

import planmath.distributed as distributed
from planmath.distributed import SingleProcessGroup
from planmath.distributed.distribution import Slab
from planmath.distributed.fft import FFT, allocate_operand

try:
    from mpi4py import MPI

    group = MPI.COMM_WORLD
except (ImportError, RuntimeError):  # one process
    group = SingleProcessGroup()
distributed.initialize(0, group, ["nvshmem"])
ranks = distributed.get_context().process_group

n = 32
shape = (n, n, n)


def mine(axis, slab):
    """The indices of an axis that this rank has."""
    ((start, stop),) = slab.section(ranks.rank, shape)[axis] or ((0, 0),)
    return np.arange(start, stop)


def coordinates(slab):
    return np.meshgrid(*[2 * np.pi * mine(axis, slab) / n for axis in range(3)], indexing="ij", sparse=True)


# -laplace(u) = f with u = sin(x) cos(2 y) sin(3 z)
x, y, z = coordinates(Slab.X)
solution = np.sin(x) * np.cos(2 * y) * np.sin(3 * z)
field = allocate_operand(Slab.X.shape(ranks.rank, shape), np, input_dtype=np.complex128, distribution=Slab.X)
field[...] = (1 + 4 + 9) * solution

# There in slabs along x, and back out of slabs along y: one exchange each.
with FFT(field, distribution=Slab.X, options={"redistribute": False}) as transform:
    transform.plan()
    spectrum = transform.execute(direction="forward")
    frequencies = [np.fft.fftfreq(n, 1 / n)[mine(axis, Slab.Y)] for axis in range(3)]
    kx, ky, kz = np.meshgrid(*frequencies, indexing="ij", sparse=True)
    squares = kx**2 + ky**2 + kz**2
    spectrum /= np.where(squares == 0, np.inf, squares) * n**3
    transform.reset_operand(spectrum, distribution=Slab.Y)
    result = transform.execute(direction="inverse")
    error = np.array([np.abs(result - solution).max(initial=0)])
    if ranks.rank == 0:
        print(transform.report())

ranks.allreduce_buffer(error, op=distributed.process_group.ReductionOp.MAX)
if ranks.rank == 0:
    print(f"{ranks.nranks} ranks, largest error {error[0]:.1e}")
assert error[0] < 1e-12
distributed.finalize()
