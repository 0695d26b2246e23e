"""Groups of processes that compute together."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np


class ReductionOp(enum.IntEnum):
    """How `ProcessGroup.allreduce_buffer` combines what the ranks have."""

    SUM = 0
    MIN = 1
    MAX = 2


class ProcessGroup(ABC):
    """The processes that take part in distributed operations, and three collectives on host data.

    Users may derive classes of their own: these three suffice to plan every operation, and to execute it, though other
    transports are faster.
    """

    @property
    @abstractmethod
    def rank(self) -> int:
        """The number of this process, from 0."""

    @property
    @abstractmethod
    def nranks(self) -> int:
        """How many processes the group has."""

    @abstractmethod
    def broadcast_buffer(self, array: np.ndarray, *, root: int = 0) -> None:
        """Replace an array's values by those that it has on rank `root`."""

    @abstractmethod
    def allreduce_buffer(self, array: np.ndarray, *, op: ReductionOp) -> None:
        """Replace an array's values by the sums, minima or maxima over all ranks."""

    @abstractmethod
    def allreduce_object(self, obj: Any, *, op: Callable[[Any, Any], Any]) -> Any:
        """What a function of two makes of the objects of all ranks; they are combined in the order of the ranks."""


class SingleProcessGroup(ProcessGroup):
    """A group of one: distributed operations in an ordinary program, without a launcher.

    Examples
    --------
    >>> from planmath.distributed import SingleProcessGroup
    >>> group = SingleProcessGroup()
    >>> group.rank, group.nranks, group.allreduce_object(3, op=max)
    (0, 1, 3)
    """

    @property
    def rank(self) -> int:
        return 0

    @property
    def nranks(self) -> int:
        return 1

    def broadcast_buffer(self, array: np.ndarray, *, root: int = 0) -> None:
        check_root(root, 1)
        check_buffer(array)

    def allreduce_buffer(self, array: np.ndarray, *, op: ReductionOp) -> None:
        ReductionOp(op)
        check_buffer(array)

    def allreduce_object(self, obj: Any, *, op: Callable[[Any, Any], Any]) -> Any:
        return obj


def check_buffer(array: Any) -> np.ndarray:
    """An array that collectives can replace the values of. Raises where it is none."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"array is a {type(array).__name__}; expected a numpy.ndarray")
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise ValueError("array is not contiguous in C order, or read-only; pass a copy of it: numpy.array(array)")
    return array


def check_root(root: Any, nranks: int) -> int:
    if not isinstance(root, int) or not 0 <= root < nranks:
        raise ValueError(f"root is {root!r}; expected the number of a rank, from 0 to {nranks - 1}")
    return root
