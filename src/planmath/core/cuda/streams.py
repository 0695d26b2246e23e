"""CUDA streams and events."""

from __future__ import annotations

import sys
from typing import Any

from planmath.bindings import runtime
from planmath.native.call import Call, Slot

#: ``cudaStreamLegacy`` and ``cudaStreamPerThread``, and the default stream: those of whatever device is current.
_OF_ANY_DEVICE = (0, 1, 2)
#: ``cudaEventDefault`` and ``cudaEventDisableTiming``.
_DEFAULT, _DISABLE_TIMING = 0, 2


class Event:
    """A point in a stream's work.

    Parameters
    ----------
    timed : bool
        Whether it notes the time, which costs some.
    """

    def __init__(self, *, timed: bool = False) -> None:
        self.address = 0
        self.address = runtime.event_create_with_flags(_DEFAULT if timed else _DISABLE_TIMING)

    def record(self, stream: int) -> None:
        runtime.event_record(self.address, stream)

    def delay(self, stream: int) -> None:
        """Let the stream's later work wait for the event."""
        runtime.stream_wait_event(stream, self.address, 0)

    def seconds_since(self, start: Event) -> float:
        """Wait for the event; the time that passed since an earlier one."""
        runtime.event_synchronize(self.address)
        return runtime.event_elapsed_time(start.address, self.address) / 1e3  # it counts milliseconds

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            runtime.event_destroy(self.address)


def let_wait(later: int, earlier: int) -> None:
    """Let what comes on one stream wait for what is on another."""
    event = Event()
    event.record(earlier)
    event.delay(later)


def wait_call(stream: Slot) -> Call:
    """The prepared call that waits for what is on a stream."""
    name = "cudaStreamSynchronize"
    address = runtime.LIBRARY.address(name)
    return Call(address, [stream], name=name, returns_status=True, error=runtime.CUDARuntimeError)


def fill(address: int, size: int, stream: int) -> None:
    """Write zeros to device memory."""
    runtime.memset_async(address, 0, size, stream)


def is_capturing(stream: int) -> bool:
    """Whether work on the stream is being captured into a graph."""
    try:
        return runtime.stream_is_capturing(stream) != 0
    except runtime.CUDARuntimeError:  # the default stream, while another is captured that it would have to wait for
        return True


def address_of(stream: Any, device_id: int) -> int:
    """The address of a stream that a user passed in.

    Parameters
    ----------
    stream : object
        A stream of PyTorch, CuPy or cuda.core, any object with ``__cuda_stream__``, or an address.
    device_id : int
        The device that it has to belong to.

    Raises
    ------
    TypeError
        If it is not a stream.
    ValueError
        If it belongs to another device.
    """
    if isinstance(stream, int) and not isinstance(stream, bool):
        address = stream
    elif hasattr(stream, "cuda_stream"):
        address = stream.cuda_stream
    elif hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        address = (protocol() if callable(protocol) else protocol)[1]
    elif hasattr(stream, "ptr"):
        address = stream.ptr
    else:
        raise TypeError(
            f"stream is a {type(stream).__name__}; expected a stream of PyTorch, CuPy or cuda.core, an object with "
            "__cuda_stream__, or a stream's address"
        )
    owner = _device_of(stream, int(address))
    if owner is not None and owner != device_id:
        raise ValueError(
            f"stream belongs to device {owner}; expected one of device {device_id}, where the work is done"
        )
    return int(address)


def _device_of(stream: Any, address: int) -> int | None:
    """The number of the device that a stream belongs to, or None where nothing tells."""
    device = getattr(stream, "device_id", getattr(getattr(stream, "device", None), "index", None))
    if isinstance(device, int) and device >= 0:
        return device
    if address in _OF_ANY_DEVICE or not runtime.LIBRARY.has("cudaStreamGetDevice"):
        return None
    return runtime.stream_get_device(address)
