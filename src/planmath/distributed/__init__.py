"""Operations that several processes execute together, each with its part of the data.

The same program runs in one process, under ``mpiexec -n 4 python -m mpi4py program.py``, and under ``torchrun``.
"""

from planmath.distributed import distribution
from planmath.distributed.process_group import MPIProcessGroup, ProcessGroup, SingleProcessGroup, TorchProcessGroup
from planmath.distributed.runtime import DistributedContext, finalize, get_context, initialize

__all__ = [
    "DistributedContext",
    "MPIProcessGroup",
    "ProcessGroup",
    "SingleProcessGroup",
    "TorchProcessGroup",
    "distribution",
    "finalize",
    "get_context",
    "initialize",
]
