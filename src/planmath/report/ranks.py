"""What there is for programs of several processes: MPI, torch.distributed, and who launched this one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

#: How launchers tell a process how many there are, and what they are called.
LAUNCHERS = {"OMPI_COMM_WORLD_SIZE": "Open MPI's mpiexec", "PMI_SIZE": "mpiexec", "WORLD_SIZE": "torchrun"}


def launched(environment: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """Who launched this process, and how many of them.

    Examples
    --------
    >>> launched({"PMI_SIZE": "4"}), launched({})
    (('mpiexec', 4), None)
    """
    for variable, launcher in LAUNCHERS.items():
        if environment.get(variable, "").isdigit():
            return launcher, int(environment[variable])
    return None


def lines() -> Sequence[str]:
    """Facts on MPI and torch.distributed, each in a line."""
    return [_mpi(), _torch()]


def _mpi() -> str:
    if not find_spec("mpi4py"):
        return "no MPI: mpi4py is not installed: pip install 'planmath[mpi]'"
    import mpi4py

    started = launched()
    mpi4py.rc.initialize = started is not None and started[0] != "torchrun"
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return f"no MPI: mpi4py {mpi4py.__version__} finds no library of MPI ({error}): pip install 'planmath[mpi]'"
    library = MPI.Get_library_version().rstrip("\0").replace("\t", " ").splitlines()
    found = f"mpi4py {mpi4py.__version__} on {' '.join(' '.join(library[:1]).split())}"
    if started is None or not MPI.Is_initialized():
        return f"MPI: {found}; not launched by mpiexec"
    launcher, wanted = started
    size = MPI.COMM_WORLD.Get_size()
    if size == wanted:
        return f"MPI: {found}; rank {MPI.COMM_WORLD.Get_rank()} of the {size} that {launcher} launched"
    return (
        f"MPI: {found}; {launcher} launched {wanted} processes, but the world has {size}: the launcher belongs to "
        "another library of MPI than mpi4py found; use the one beside this Python"
    )


def _torch() -> str:
    if not find_spec("torch"):
        return "no torch.distributed: PyTorch is not installed"
    import torch.distributed

    if not torch.distributed.is_available():
        return "no torch.distributed: this PyTorch was built without it"
    backends = [name for name in ("gloo", "nccl", "mpi") if getattr(torch.distributed, f"is_{name}_available")()]
    return f"torch.distributed: {', '.join(backends)}"
