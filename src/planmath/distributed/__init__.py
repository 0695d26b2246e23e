"""Operations that several processes execute together, each with its part of the data.

The same program runs in one process, under ``mpiexec -n 4 python -m mpi4py program.py``, and under ``torchrun``.
"""

from planmath.distributed import distribution, fft, linalg
from planmath.distributed.process_group import MPIProcessGroup, ProcessGroup, SingleProcessGroup, TorchProcessGroup
from planmath.distributed.runtime import DistributedContext, finalize, get_context, initialize
from planmath.distributed.symmetric_memory import allocate_symmetric_memory, free_symmetric_memory

__all__ = [
    "DistributedContext",
    "MPIProcessGroup",
    "ProcessGroup",
    "SingleProcessGroup",
    "TorchProcessGroup",
    "allocate_symmetric_memory",
    "distribution",
    "fft",
    "finalize",
    "free_symmetric_memory",
    "get_context",
    "initialize",
    "linalg",
]
