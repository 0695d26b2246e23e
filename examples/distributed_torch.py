"""Tensors that lie across processes, each on its process's GPU where there is one, else on the CPU: the same program.

Runs in one process, and on several: mpiexec -n 2 python -m mpi4py examples/distributed_torch.py
"""

import torch

import planmath.distributed as distributed
from planmath.distributed import SingleProcessGroup
from planmath.distributed.distribution import Slab
from planmath.distributed.fft import FFT, allocate_operand
from planmath.distributed.linalg.advanced import Matmul

try:
    from mpi4py import MPI

    group = MPI.COMM_WORLD
except (ImportError, RuntimeError):  # one process
    group = SingleProcessGroup()

on_gpu = torch.cuda.is_available()
number = getattr(group, "rank", 0) % torch.cuda.device_count() if on_gpu else 0
device = torch.device("cuda", number) if on_gpu else torch.device("cpu")
if on_gpu:
    torch.cuda.set_device(device)
distributed.initialize(number, group, ["nvshmem", "nccl"])
ranks = distributed.get_context().process_group

# A transform there and back: what travels is computed and sent in pieces, where devices reach each other.
shape = (32, 24, 16)
field = allocate_operand(
    Slab.X.shape(ranks.rank, shape), torch, input_dtype=torch.complex128, distribution=Slab.X, memory_space=device.type
)
field[...] = torch.randn(field.shape, dtype=field.dtype, device=device)
before = field.clone()
with FFT(field, distribution=Slab.X, options={"redistribute": False}) as transform:
    transform.plan()
    spectrum = transform.execute(direction="forward")
    transform.reset_operand(spectrum, distribution=Slab.Y)
    after = transform.execute(direction="inverse") / (32 * 24 * 16)
    assert torch.allclose(after, before)
    if ranks.rank == 0:
        print(transform.report())

# A product: rows of a, columns of b, which each rank multiplies as they come from the others.
n = 64
torch.manual_seed(0)  # the same numbers on all ranks
whole_a, whole_b = torch.randn(n, n, dtype=torch.float64), torch.randn(n, n, dtype=torch.float64)
rows, columns = Slab.X.section(ranks.rank, (n, n))[0], Slab.Y.section(ranks.rank, (n, n))[1]
(first, end), (left, right) = rows[0], columns[0]
a = whole_a[first:end].T.contiguous().T.to(device)  # column-major
b = whole_b[:, left:right].T.contiguous().T.to(device)
with Matmul(a, b, distributions=[Slab.X, Slab.Y, Slab.X]) as product:
    product.plan()
    c = product.execute()
assert torch.allclose(c.cpu(), (whole_a @ whole_b)[first:end])
if ranks.rank == 0:
    print(f"{ranks.nranks} ranks on {device.type}, a result of {tuple(c.shape)} here")
distributed.finalize()
