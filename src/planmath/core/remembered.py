"""Planned operations that stateless calls leave behind for the next call of the same kind.

A stateless call takes the idle operation of its specification, if there is one, and puts it back when done; between the
two nobody else has it, so threads never share one. What is kept is bounded, and holds no operands.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np

from planmath.core.cuda.streams import is_capturing
from planmath.native.thread_limit import stamp

#: How many idle operations are kept, the most recently used.
CAPACITY = 64

#: Plans for a device may need addresses at multiples of up to this many bytes.
ALIGNMENT = 16

#: The least recently used first. Threads share it without a lock, which would take as long as all else: each step is
#: one call of a dictionary's, which stands that looking up a key runs Python, in which another thread takes its turn.
_idle: dict[Hashable, Any] = {}

#: Operations of which CUDA graphs have executions, by `id`. What belongs to their plans is in the graphs, which tell
#: nobody when they end: they are freed at the program's end.
_captured: dict[int, Any] = {}

#: Options whose values are the user's own resources, which no idle operation may hold or use.
OF_USERS = ("allocator", "handle")


def key_of(name: str, arrays: Iterable[Any], execution: Any, options: Any, *rest: Any) -> Hashable | None:
    """What a stateless call has in common with the next one that can use its plan.

    Parameters
    ----------
    name : str
        Of the function.
    arrays : iterable of array
        The operands.
    execution : object
        As the user gave it.
    options, *rest : object
        Options and preferences from `core.options.as_given`, and whatever else a plan depends on.

    Returns
    -------
    hashable or None
        None where that cannot be said cheaply, and where the plan would hold what is the user's.
    """
    try:
        layouts = tuple(
            [(np.ndarray, x.dtype, x.shape, x.strides) if type(x) is np.ndarray else _elsewhere(x) for x in arrays]
        )
        if type(execution) is dict:
            execution = said(execution)
        if type(options) is dict:
            options = said(options)
        hash((execution, options, rest))  # layouts are what can be a key in any case
        key = (name, layouts, execution, options, stamp(), *rest)
    except (AttributeError, TypeError, RuntimeError, NotImplementedError):  # the last two of tensors without memory
        return None
    return key


def said(fields: Any) -> Any:
    """A dictionary of options as part of a key, in which 1 is another value than True; anything else as it is."""
    if type(fields) is not dict:
        return fields
    for name in OF_USERS:
        if fields.get(name) is not None:
            raise TypeError(f"{name} is the user's")
    return tuple(fields.items()), tuple(map(type, fields.values()))


def _elsewhere(array: Any) -> Hashable:
    """What a plan depends on of an array that is not of NumPy's own type, as cheaply as its package tells it."""
    if hasattr(array, "stride"):
        device_id = array.get_device()
        alignment = 0 if device_id < 0 else array.data_ptr() % ALIGNMENT
        return type(array), array.dtype, array.shape, array.stride(), device_id, alignment, array.is_conj()
    if isinstance(array, np.generic):  # which counts as an array without axes, where it counts
        return np.ndarray, array.dtype, (), ()
    if isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray):
        return np.ndarray, array.dtype, array.shape, array.strides
    memory = array.data
    return type(array), array.dtype, array.shape, array.strides, memory.device_id, memory.ptr % ALIGNMENT


def run_once(
    key: Hashable | None,
    create: Callable[[], Any],
    plan: Callable[[Any], Any],
    reset: Callable[[Any], None],
    execute: Callable[[Any], Any] | None = None,
) -> Any:
    """The result of an operation that is executed once.

    Parameters
    ----------
    key : hashable or None
        From `key_of`; None for an operation that is freed at once.
    create, plan : callable
        Make the operation, and plan it.
    reset : callable
        Gives an idle operation of the same key the operands of this call.
    execute : callable, optional
        Executes it with arguments, such as a stream. Default: without any.
    """
    operation: Any = None if key is None else take(key)
    if _captured and id(operation) in _captured and not _is_capturing(operation):
        operation = None  # its temporary memory is that of graphs, which may run just now
    fresh = operation is None
    if fresh:
        operation = create()
    try:
        if operation._queue is not None and _is_capturing(operation):
            hold(operation)
        heard = operation._logger.isEnabledFor(logging.INFO)
        if fresh:
            plan(operation)
        elif heard:
            operation._log_taken_over(reset)
        else:
            reset(operation)
        result = operation.execute() if execute is None else execute(operation)
    except BaseException:
        let_go(operation)
        raise
    if key is None or operation._leaves_much:
        let_go(operation)
    else:
        operation._drop_operands()
        if heard:
            operation._log_left()
        put(key, operation)
    return result


def take(key: Hashable) -> Any | None:
    """The idle operation of this specification, now the caller's alone, or None."""
    return _idle.pop(key, None)


def put(key: Hashable, operation: Any) -> None:
    """Leave an operation, its operands released, to the next call."""
    if _idle.setdefault(key, operation) is not operation:  # another thread was faster
        let_go(operation)
    elif len(_idle) > CAPACITY:
        _free_oldest()


def _free_oldest() -> None:
    """Free the operation that was used before all others, unless another thread does that just now."""
    try:
        oldest = _idle.pop(next(iter(_idle)), None)
    except (StopIteration, RuntimeError):  # of a dictionary that changed meanwhile
        return
    if oldest is not None:
        let_go(oldest)


def _is_capturing(operation: Any) -> bool:
    """Whether work on the package's current stream is being captured into a CUDA graph."""
    return is_capturing(operation._package.current_stream(operation._queue.device_id)())


def hold(operation: Any) -> None:
    """Keep an operation for good, of which a CUDA graph gets an execution."""
    _captured[id(operation)] = operation


def let_go(operation: Any) -> None:
    """Free an operation, unless a CUDA graph has an execution of it."""
    if id(operation) not in _captured:
        operation.free()


def clear() -> None:
    """Free every idle operation."""
    while _idle:
        _free_oldest()


@atexit.register
def _end() -> None:
    """Free those that graphs have executions of as well, which run no more."""
    clear()
    while _captured:
        _captured.popitem()[1].free()
