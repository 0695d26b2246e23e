"""The runtime: which processes compute together."""

from __future__ import annotations

import atexit
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planmath.core.collective.agreement import agreed
from planmath.core.collective.mpi_group import as_group
from planmath.core.collective.process_group import ProcessGroup
from planmath.core.collective.transports.ipc import finish
from planmath.core.errors import nearest
from planmath.core.log import LOGGER

#: Names that programs pass for the libraries of other implementations.
BACKENDS = ("nvshmem", "nccl")


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """What `initialize` set up.

    Parameters
    ----------
    device_id : int
    process_group : ProcessGroup
    nvshmem_available : bool
        Always False: no operation needs symmetric memory.
    nccl_comm : None
        No operation needs a communicator of NCCL.
    """

    device_id: int
    process_group: ProcessGroup
    nvshmem_available: bool = False
    nccl_comm: Any = None


_context: DistributedContext | None = None


def initialize(device_id: int, process_group: Any, backends: Sequence[str]) -> None:
    """Let the processes of a group compute together. Collective.

    Parameters
    ----------
    device_id : int
        Number of the CUDA device of this process; without one, as on a machine that has only CPUs, it is not used.
    process_group : ProcessGroup or mpi4py.MPI.Intracomm
        All processes that take part. `SingleProcessGroup` is a group of one.
    backends : sequence of {'nvshmem', 'nccl'}
        At least one. planmath needs neither: the names are checked, and choose nothing.

    Raises
    ------
    TypeError
        If `device_id` is no integer, or `process_group` no group.
    ValueError
        If a backend does not exist, or none is given, or the group is None.
    RuntimeError
        If it was called before, without `finalize` in between.

    Examples
    --------
    >>> import planmath.distributed as distributed
    >>> distributed.initialize(0, distributed.SingleProcessGroup(), ["nccl"])
    >>> distributed.get_context().process_group.nranks
    1
    >>> distributed.finalize()
    """
    global _context
    if not isinstance(device_id, int):
        raise TypeError(f"device_id is a {type(device_id).__name__}; expected the number of a CUDA device")
    names = [backends] if isinstance(backends, str) else list(backends)
    for name in names:
        if name not in BACKENDS:
            raise ValueError(f"backend {name!r} does not exist: {nearest(name, BACKENDS)}")
    if not names:
        raise ValueError(f"backends is empty; expected at least one of {', '.join(map(repr, BACKENDS))}")
    if process_group is None:
        raise ValueError(
            "process_group is None; pass MPI.COMM_WORLD of mpi4py, a TorchProcessGroup, or SingleProcessGroup()"
        )
    if _context is not None:
        raise RuntimeError("initialize() was called before; call finalize() first")
    group = as_group(process_group)
    if group is None:
        raise TypeError(
            f"process_group is a {type(process_group).__name__}; expected a ProcessGroup or an mpi4py communicator"
        )
    with agreed(group, "initialize()") as agreement:
        agreement.equal = {"the number of ranks": group.nranks}
    _context = DistributedContext(int(device_id), group)
    # of a rank that was killed launchers tell the process's number, and end all others at once
    LOGGER.info(
        "initialize(): rank %d of %d is process %d on %s.", group.rank, group.nranks, os.getpid(), platform.node()
    )
    atexit.register(finalize)


def finalize() -> None:
    """End what `initialize` began. Collective; without effect where that was not called.

    Operations that are left keep their memory until they are freed.
    """
    global _context
    if _context is not None:
        finish(_context.process_group)
    _context = None
    atexit.unregister(finalize)


def get_context() -> DistributedContext | None:
    """What `initialize` set up, or None."""
    return _context


def required_context() -> DistributedContext:
    """What `initialize` set up.

    Raises
    ------
    RuntimeError
        Where it was not called.
    """
    if _context is None:
        raise RuntimeError("planmath.distributed is not initialized; call planmath.distributed.initialize() first")
    return _context
