"""Options of redistributions."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from planmath.core.options import check_choice, check_common


@dataclass(slots=True)
class RedistributeOptions:
    """Options of `Redistribute` and `redistribute`.

    Parameters
    ----------
    logger : logging.Logger, optional
        Default: the logger 'planmath', which passes its records on to the root logger.
    blocking : {'auto', True}
        When executions on a device return. On the CPU they return when they are done.
    provider : str, optional
        How messages are sent: 'mapped' (memory that the ranks of one host share), 'ipc' (the same of CUDA devices),
        'nccl', 'mpi', 'torch', or 'broadcast' (by the collectives of any group; from devices these three go by way of
        the host). Default: the first of them that all ranks have.
    tuning : bool
        Whether to use, and to add to, the record of what autotuning measured.
    check : bool
        Whether to make sure before each execution and reset that all ranks are in the same call. The environment
        variable PLANMATH_DISTRIBUTED_CHECK=1 says so for all objects.
    """

    logger: logging.Logger | None = None
    blocking: Literal["auto", True] = "auto"
    provider: str | None = None
    tuning: bool = True
    check: bool = False

    def __post_init__(self) -> None:
        check_choice("RedistributeOptions", "check", self.check, (False, True))
        check_common(self)
