"""Groups of torch.distributed's processes."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from planmath.core.collective.process_group import ProcessGroup, ReductionOp, check_buffer, check_root
from planmath.core.log import LOGGER

#: Backends that have data on devices alone.
DEVICES_ALONE = ("nccl", "xccl")
#: Bytes for an object, with its size in front of it, before the first one; at least; how they grow, and how often.
FIRST, LEAST, GROWTH, ATTEMPTS = 2048, 128, 1.2, 5
_SIZE = 8


class TorchProcessGroup(ProcessGroup):
    """The processes of a group of torch.distributed.

    Parameters
    ----------
    device_id : int or 'cpu'
        The CUDA device on which the group's messages are, or 'cpu'.
    torch_process_group : torch.distributed.ProcessGroup, optional
        Default: the default group.
    logger : logging.Logger, optional
        Default: the logger 'planmath'.

    Raises
    ------
    RuntimeError
        If torch.distributed is not initialized.
    ValueError
        If `device_id` is neither, or 'cpu' for a group that has data on devices alone.

    Notes
    -----
    How long a rank waits for the others is the timeout of torch's group.
    """

    def __init__(self, *, device_id: Any, torch_process_group: Any = None, logger: logging.Logger | None = None):
        import torch
        import torch.distributed as torch_distributed

        if device_id != "cpu" and (not isinstance(device_id, int) or isinstance(device_id, bool) or device_id < 0):
            raise ValueError(f"device_id is {device_id!r}; expected the number of a CUDA device, or 'cpu'")
        if not torch_distributed.is_available() or not torch_distributed.is_initialized():
            raise RuntimeError(
                "torch.distributed is not initialized; call torch.distributed.init_process_group() first"
            )
        backend = torch_distributed.get_backend(torch_process_group)
        if device_id == "cpu" and backend in DEVICES_ALONE:
            raise ValueError(
                f"device_id is 'cpu', but a {backend} group has data on devices alone; pass the device's number"
            )
        self._logger = logger or LOGGER
        if backend == "mpi":
            self._logger.warning("The group's backend is mpi; MPIProcessGroup takes mpi4py's communicators directly.")
        self._torch, self.distributed, self.torch_process_group = torch, torch_distributed, torch_process_group
        self.device = torch.device("cpu" if device_id == "cpu" else f"cuda:{device_id}")
        self._rank = torch_distributed.get_rank(torch_process_group)
        self._nranks = torch_distributed.get_world_size(torch_process_group)
        if self._rank < 0:
            raise ValueError(
                "torch_process_group does not have this process; pass a group that this process belongs to"
            )
        self._allreduce_obj_buffer_size = FIRST

    @property
    def rank(self) -> int:
        return self._rank

    @property
    def nranks(self) -> int:
        return self._nranks

    @property
    def allreduce_obj_buffer_size(self) -> int:
        """Bytes of the buffer that an object travels in; the same on all ranks. It grows where an object needs more."""
        return self._allreduce_obj_buffer_size

    @allreduce_obj_buffer_size.setter
    def allreduce_obj_buffer_size(self, size: int) -> None:
        if not isinstance(size, int) or isinstance(size, bool) or size < LEAST:
            raise ValueError(f"allreduce_obj_buffer_size is {size!r}; expected an integer from {LEAST} on")
        self._allreduce_obj_buffer_size = size

    def broadcast_buffer(self, array: np.ndarray, *, root: int = 0) -> None:
        check_root(root, self._nranks)
        data = check_buffer(array).reshape(-1).view(np.uint8)
        self._through(data, partial(self._broadcast, root))

    def allreduce_buffer(self, array: np.ndarray, *, op: ReductionOp) -> None:
        function = getattr(self.distributed.ReduceOp, ReductionOp(op).name)
        self._through(
            check_buffer(array),
            lambda tensor: self.distributed.all_reduce(tensor, op=function, group=self.torch_process_group),
        )

    def allreduce_object(self, obj: Any, *, op: Callable[[Any, Any], Any]) -> Any:
        """Along a binomial tree to rank 0, and back from there; see `allreduce_obj_buffer_size`."""
        for _ in range(ATTEMPTS):
            size = self._allreduce_obj_buffer_size
            result, needed = self._reduced(obj, op, size)
            longest = np.array([needed], np.int64)
            self.allreduce_buffer(longest, op=ReductionOp.MAX)
            if longest[0] <= size:
                return result
            self._allreduce_obj_buffer_size = int(longest[0] * GROWTH)
        raise RuntimeError(
            f"allreduce_object: what is reduced grew {ATTEMPTS} times beyond the buffer, to {longest[0]} bytes; "
            f"set allreduce_obj_buffer_size, now {self._allreduce_obj_buffer_size}, to more on all ranks"
        )

    def _reduced(self, obj: Any, op: Callable[[Any, Any], Any], size: int) -> tuple[Any, int]:
        """The result, if it fits into buffers of this size, and the most bytes that this rank needed."""
        buffer, needed = np.zeros(size, np.uint8), 0

        def pack(value: Any) -> None:
            nonlocal needed
            data = pickle.dumps(value)
            needed = max(needed, len(data) + _SIZE)
            fits = len(data) + _SIZE <= size
            buffer[:_SIZE] = np.array([len(data) if fits else 0], np.int64).view(np.uint8)
            if fits:
                buffer[_SIZE : _SIZE + len(data)] = np.frombuffer(data, np.uint8)

        def unpack() -> Any:
            length = int(buffer[:_SIZE].view(np.int64)[0])
            return pickle.loads(buffer[_SIZE : _SIZE + length].tobytes()) if length else _TOO_LONG

        step = 1
        while step < self._nranks:
            if self._rank % (2 * step):
                pack(obj)
                self._through(buffer, partial(self._send, self._rank - step))
                break
            if self._rank + step < self._nranks:
                self._through(buffer, partial(self._receive, self._rank + step))
                other = unpack()
                obj = _TOO_LONG if _TOO_LONG is obj or _TOO_LONG is other else op(obj, other)
            step *= 2
        if self._rank == 0:
            pack(obj)
        self.broadcast_buffer(buffer)
        return unpack(), needed

    def tensor_over(self, array: np.ndarray) -> Any:
        """A tensor over an array's memory."""
        return self._torch.from_numpy(array)

    # Of a group within the default one, torch counts the ranks of messages as the default one does.

    def _global(self, rank: int) -> int:
        group = self.torch_process_group
        return rank if group is None else self.distributed.get_global_rank(group, rank)

    def _broadcast(self, root: int, tensor: Any) -> None:
        self.distributed.broadcast(tensor, self._global(root), group=self.torch_process_group)

    def _send(self, to: int, tensor: Any) -> None:
        self.distributed.send(tensor, self._global(to), group=self.torch_process_group)

    def _receive(self, source: int, tensor: Any) -> None:
        self.distributed.recv(tensor, self._global(source), group=self.torch_process_group)

    def _through(self, array: np.ndarray, work: Callable[[Any], None]) -> None:
        """Do something with an array's memory as a tensor where the group has its data."""
        tensor = self._torch.from_numpy(array)
        there = tensor.to(self.device)
        work(there)
        if there is not tensor:
            tensor.copy_(there)


#: Stands for an object that did not fit into the buffer, on its way to everybody.
_TOO_LONG = object()
