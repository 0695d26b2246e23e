"""A layer of a network whose weights lie across processes: cut by columns, and then by rows (tensor parallel).

Runs in one process, and on several: mpiexec -n 4 python -m mpi4py examples/distributed_mlp.py
"""

import numpy as np

import planmath.distributed as distributed
from planmath.distributed import SingleProcessGroup
from planmath.distributed.distribution import Slab
from planmath.distributed.linalg.advanced import Matmul, MatmulEpilog

try:
    from mpi4py import MPI

    group = MPI.COMM_WORLD
except (ImportError, RuntimeError):  # one process
    group = SingleProcessGroup()
distributed.initialize(0, group, ["nccl"])
ranks = distributed.get_context().process_group

features, hidden, batch = 64, 256, 32
rng = np.random.default_rng(0)  # the same numbers on all ranks
up, down = rng.standard_normal((hidden, features)), rng.standard_normal((features, hidden))
bias, inputs = rng.standard_normal(hidden), rng.standard_normal((features, batch))


def local(array, slab):
    """This rank's part, column-major."""
    starts = [np.r_[tuple(slice(*of) for of in axis) or slice(0, 0)] for axis in slab.section(ranks.rank, array.shape)]
    return np.asfortranarray(array[np.ix_(*starts)])


# hidden = gelu(up @ inputs + bias): rows of `up`, columns of the inputs, which each rank gets from all
rows = local(bias[:, None], Slab.X)[:, 0].copy()
first = Matmul(local(up, Slab.X), local(inputs, Slab.Y), distributions=[Slab.X, Slab.Y, Slab.X])
# result = down @ hidden: columns of `down`, rows of `hidden`; the ranks' products are added up
with first:
    first.plan(epilog=MatmulEpilog.GELU_BIAS, epilog_inputs={"bias": rows})
    activations = first.execute()
    with Matmul(local(down, Slab.Y), activations, distributions=[Slab.Y, Slab.X, Slab.Y]) as second:
        second.plan()
        result = second.execute()
        if ranks.rank == 0:
            print(second.report())

z = up @ inputs + bias[:, None]
expected = down @ (0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))))
assert np.allclose(result, local(expected, Slab.Y), atol=1e-8)
if ranks.rank == 0:
    print(f"{ranks.nranks} ranks, a result of {expected.shape}, here {result.shape}")
distributed.finalize()
