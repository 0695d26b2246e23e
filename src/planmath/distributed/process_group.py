"""Groups of processes, and how their collectives reduce."""

from planmath.core.collective.mpi_group import MPIProcessGroup
from planmath.core.collective.process_group import ProcessGroup, ReductionOp, SingleProcessGroup
from planmath.core.collective.torch_group import TorchProcessGroup

__all__ = ["MPIProcessGroup", "ProcessGroup", "ReductionOp", "SingleProcessGroup", "TorchProcessGroup"]
