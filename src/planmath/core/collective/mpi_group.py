"""Groups of MPI's processes, by mpi4py."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np

from planmath.core.collective import deadline
from planmath.core.collective.process_group import ProcessGroup, ReductionOp, check_buffer, check_root


class MPIProcessGroup(ProcessGroup):
    """The processes of a communicator of mpi4py.

    Parameters
    ----------
    mpi_comm : mpi4py.MPI.Intracomm

    Raises
    ------
    TypeError
        If it is no such communicator.
    ValueError
        If it is the null communicator, or has been freed.

    Notes
    -----
    The collectives have a communicator of their own, so that they do not meet the program's messages. They wait for the
    other ranks no longer than the environment variable PLANMATH_DISTRIBUTED_TIMEOUT says, 300 seconds if it is not set.
    """

    def __init__(self, mpi_comm: Any):
        self.communicator = _checked(mpi_comm)
        self._rank, self._nranks = mpi_comm.Get_rank(), mpi_comm.Get_size()
        self._calls = 0
        self._private: Any = None

    @property
    def rank(self) -> int:
        return self._rank

    @property
    def nranks(self) -> int:
        return self._nranks

    def broadcast_buffer(self, array: np.ndarray, *, root: int = 0) -> None:
        check_root(root, self._nranks)
        data = check_buffer(array).reshape(-1).view(np.uint8)
        self.wait(self.private.Ibcast(data, root))

    def allreduce_buffer(self, array: np.ndarray, *, op: ReductionOp) -> None:
        from mpi4py import MPI

        functions = {ReductionOp.SUM: MPI.SUM, ReductionOp.MIN: MPI.MIN, ReductionOp.MAX: MPI.MAX}
        self.wait(self.private.Iallreduce(MPI.IN_PLACE, check_buffer(array), functions[ReductionOp(op)]))

    def allreduce_object(self, obj: Any, *, op: Callable[[Any, Any], Any]) -> Any:
        from mpi4py import MPI

        mine = np.frombuffer(pickle.dumps(obj), np.uint8)
        sizes = np.empty(self._nranks, np.int64)
        self.wait(self.private.Iallgather(np.array([mine.size], np.int64), sizes))
        everything = np.empty(sizes.sum(), np.uint8)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self.wait(self.private.Iallgatherv(mine, [everything, (sizes, starts[:-1]), MPI.BYTE]))
        parts = [everything[a:b] for a, b in pairwise(starts)]
        return reduce(op, [pickle.loads(part.tobytes()) for part in parts])

    @property
    def private(self) -> Any:
        """The communicator of planmath's own messages, made when it is first needed; collective then."""
        if self._private is None:
            duplicate, request = self.communicator.Idup()
            self.wait(request)
            self._private = duplicate
        return self._private

    def wait(self, request: Any) -> None:
        """Wait until MPI has done what was asked, or raise TimeoutError."""
        self._calls += 1
        deadline.poll(
            request.Test,
            lambda: deadline.expired(
                self._rank, self._nranks, self._calls, "MPI does not tell which of the other ranks did not come"
            ),
        )


def _checked(communicator: Any) -> Any:
    from mpi4py import MPI

    if isinstance(communicator, MPI.Comm) and communicator == MPI.COMM_NULL:
        raise ValueError("mpi_comm is the null communicator: this process does not belong to it, or it was freed")
    if not isinstance(communicator, MPI.Intracomm):
        raise TypeError(
            f"mpi_comm is a {type(communicator).__name__}; expected an mpi4py communicator, such as MPI.COMM_WORLD"
        )
    return communicator


def as_group(candidate: Any) -> ProcessGroup | None:
    """A group for what a user passes as one, if it is one or a communicator of mpi4py."""
    if isinstance(candidate, ProcessGroup):
        return candidate
    if type(candidate).__module__.partition(".")[0] == "mpi4py":  # only who imported it has communicators
        return MPIProcessGroup(candidate)
    return None
