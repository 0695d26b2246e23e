"""How arrays lie across processes, and their redistribution."""

from planmath.distributed.distribution.distributions import (
    BindDistributionError,
    BlockCyclic,
    BlockNonCyclic,
    Box,
    ConvertDistributionError,
    Distribution,
    Slab,
)
from planmath.distributed.distribution.process_grid import ProcessGrid
from planmath.distributed.distribution.redistribution.operation import (
    InvalidRedistributeState,
    Redistribute,
    redistribute,
)
from planmath.distributed.distribution.redistribution.options import RedistributeOptions

__all__ = [
    "BindDistributionError",
    "BlockCyclic",
    "BlockNonCyclic",
    "Box",
    "ConvertDistributionError",
    "Distribution",
    "InvalidRedistributeState",
    "ProcessGrid",
    "Redistribute",
    "RedistributeOptions",
    "Slab",
    "redistribute",
]
