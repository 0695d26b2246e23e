"""Planned operations that calls of PyTorch's operators leave to the next ones, as those of stateless calls are left."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

import torch

from planmath.core.log import LOGGER
from planmath.core.remembered import ALIGNMENT, hold, let_go
from planmath.native.thread_limit import stamp

#: How many kinds of calls are remembered; after that, the first one is forgotten.
CAPACITY = 256
#: How many idle operations of a kind are kept: of other dtypes and strides, or for other threads.
MOST = 8
#: Bytes of temporary memory that an idle operation keeps at most, on the host and on a device.
MOST_KEPT, MOST_KEPT_ON_DEVICE = 1 << 20, 4 << 20

_is_capturing = getattr(torch._C, "_cuda_isCurrentStreamCapturing", torch.cuda.is_current_stream_capturing)


class _Idle(list[Any]):
    """Idle operations of a kind.

    What a call takes is its own, in other threads and in signal handlers; taking and giving back are atomic.
    """

    forgotten = False


_idle: dict[Hashable, _Idle] = {}


def executed(
    kind: tuple[Hashable, ...], key: Hashable, operands: tuple[torch.Tensor, ...],
    plan: Callable[..., Any] | None = None,
) -> Any:  # fmt: skip
    """What an operation makes of operands; None where none is there and `plan` is not given, or a call is not ordinary.

    Calls that somebody wants to hear of are not: the functions for single use are for those.

    Parameters
    ----------
    kind : tuple
        What operations are for, shapes of operands included; they themselves see whether dtypes and strides fit.
    key : hashable
        What is executed.
    operands : tuple of torch.Tensor
        In the operation's order.
    plan : callable, optional
        Makes a planned operation for the operands.
    """
    most, captured = MOST_KEPT, False
    if operands[0].is_cpu:
        kind = (kind, stamp())
    else:
        kind = (kind, operands[0].get_device(), *[x.data_ptr() % ALIGNMENT for x in operands])
        captured = _is_capturing()
        most = 0 if captured else MOST_KEPT_ON_DEVICE
    idle = _idle.get(kind)
    if idle is None:
        idle = _remember(kind)
    taken: list[Any] = []
    result = None
    try:
        while result is None:
            try:
                operation = idle.pop()
            except IndexError:
                if plan is None or LOGGER.isEnabledFor(logging.INFO):
                    break
                operation = plan(*operands)
                operation._drop_operands()
                plan = None
            taken.append(operation)
            executor = operation._executor
            if captured:  # temporary memory is the graph's then, and what else a plan has stays for it
                hold(operation)
                executor.release_workspace()
            result = executor.once(key, operands)
            if executor.workspace_size > most:
                executor.release_workspace()
    except BaseException:
        _drop(taken, len(taken))
        raise
    if taken and taken[-1]._leaves_much:
        let_go(taken.pop())
    idle += taken  # the one that fitted is the next one's first
    if idle.forgotten:
        _drop(idle, len(idle))
    elif len(idle) > MOST:
        _drop(idle, len(idle) - MOST)
    return result


def _remember(kind: Hashable) -> _Idle:
    if len(_idle) >= CAPACITY:
        with suppress(RuntimeError):  # another thread forgets one just now
            _forget(next(iter(_idle), None))
    return _idle.setdefault(kind, _Idle())


def _forget(kind: Hashable) -> None:
    idle = _idle.pop(kind, None)
    if idle is not None:
        idle.forgotten = True
        _drop(idle, len(idle))


def _drop(idle: list[Any], count: int) -> None:
    """Free the operations that fitted last."""
    for _ in range(count):
        try:
            operation = idle.pop(0)
        except IndexError:  # another thread took it
            return
        let_go(operation)


@atexit.register
def clear() -> None:
    """Free every idle operation."""
    for kind in list(_idle):
        _forget(kind)
