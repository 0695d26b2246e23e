"""CUDA devices: which there are, what they can do, and their memory."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from planmath.bindings import runtime
from planmath.core.errors import UnavailableError
from planmath.native.library import MissingLibraryError

_NONE_THERE = "there is no CUDA device that this process may use: check nvidia-smi and CUDA_VISIBLE_DEVICES"
#: What helps against the errors that looking for devices ends with.
_REMEDIES = {
    "cudaErrorNoDevice": _NONE_THERE,
    "cudaErrorInsufficientDriver": "the NVIDIA driver is missing, or older than the CUDA runtime: install a newer one, "
    "or planmath[cu12] for a driver of CUDA 12",
}
#: Bytes of the units of a memory limit.
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class Device(NamedTuple):
    """A CUDA device."""

    id: int
    name: str
    compute_capability: tuple[int, int]
    multiprocessors: int
    total_memory: int
    """In bytes."""
    l2_size: int
    """In bytes."""

    def __str__(self) -> str:
        major, minor = self.compute_capability
        return (
            f"CUDA device {self.id}: {self.name}, compute capability {major}.{minor}, {self.multiprocessors} "
            f"multiprocessors, {bytes_in_words(self.total_memory)}"
        )


@cache
def missing() -> str | None:
    """Why no CUDA device can be used on this machine, and what would help; None where there is one."""
    try:
        found = runtime.get_device_count()
    except MissingLibraryError as error:
        return str(error)
    except runtime.CUDARuntimeError as error:
        return _REMEDIES.get(error.name, f"{error}; check the driver with nvidia-smi")
    return None if found else _NONE_THERE


def count() -> int:
    """How many devices this process may use."""
    return runtime.get_device_count() if missing() is None else 0


@cache
def device(device_id: int) -> Device:
    """The device with this number.

    Raises
    ------
    UnavailableError
        Where no device can be used.
    ValueError
        Where there is none with this number.
    """
    if reason := missing():
        raise UnavailableError(f"execution on a CUDA device is not possible on this machine: {reason}")
    if not 0 <= device_id < count():
        raise ValueError(f"device_id is {device_id}; this machine has {count()} CUDA devices, numbered from 0")

    with on(device_id):
        _, total = runtime.mem_get_info()
    return Device(
        device_id,
        _name_of(device_id),
        compute_capability(device_id),
        _attribute("MULTI_PROCESSOR_COUNT", device_id),
        total,
        _attribute("L2CACHE_SIZE", device_id),
    )


def compute_capability(device_id: int | None = None) -> tuple[int, int]:
    """A device's, the current one's by default. What makes a context there, and so takes long, is not asked."""
    number = runtime.get_device() if device_id is None else device_id
    return _attribute("COMPUTE_CAPABILITY_MAJOR", number), _attribute("COMPUTE_CAPABILITY_MINOR", number)


def pci_address(device_id: int) -> tuple[int, ...]:
    """Domain, bus and place of a device, which no other one of this host has."""
    return tuple(_attribute(name, device_id) for name in ("PCI_DOMAIN_ID", "PCI_BUS_ID", "PCI_DEVICE_ID"))


def _attribute(name: str, device_id: int) -> int:
    return runtime.device_get_attribute(runtime.DeviceAttr.__members__[name], device_id)


def _name_of(device_id: int) -> str:
    # the struct has grown from version to version, but its name has always come first
    properties = ctypes.create_string_buffer(1 << 14)
    runtime.LIBRARY.function("cudaGetDeviceProperties", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int])(
        ctypes.addressof(properties), device_id
    )
    return properties.value.decode()


@contextmanager
def on(device_id: int | None) -> Iterator[None]:
    """Make a device the current one for a while; None stands for the CPU, where there is nothing to do."""
    if device_id is None:
        yield
        return
    before = runtime.get_device()
    if before != device_id:
        runtime.set_device(device_id)
    try:
        yield
    finally:
        if before != device_id:
            runtime.set_device(before)


def free_memory(device_id: int) -> tuple[int, int]:
    """Free and total bytes of a device's memory."""
    with on(device_id):
        return runtime.mem_get_info()


def place_of(address: int) -> int | None:
    """The number of the device whose memory an address is in, or None for memory of the host."""
    attributes = np.zeros(1, runtime.pointer_attributes_dtype)
    runtime.pointer_get_attributes(attributes.ctypes.data, address)
    on_device = attributes["type"][0] in (runtime.MemoryType.DEVICE, runtime.MemoryType.MANAGED)
    return int(attributes["device"][0]) if on_device else None


def memory_limit(value: Any, device_id: int, what: str = "memory_limit") -> int:
    """The bytes that a user's limit stands for.

    Parameters
    ----------
    value : int or str
        Bytes, bytes with a unit (``"1.5 GiB"``, ``"500 MB"``), or per cent of the device's memory (``"80%"``).
    device_id : int
    what : str
        What messages call it.

    Raises
    ------
    ValueError
        If it is none of these, or more than the device has.
    """
    total = device(device_id).total_memory
    limit = float(value) if isinstance(value, int) and not isinstance(value, bool) else -1.0
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+\.?\d*)\s*(%|[kmgt]?i?b?)\s*", value.lower())):
        number, unit = match.groups()
        limit = float(number) * (total / 100 if unit == "%" else _UNITS.get(unit.removesuffix("b"), -1))
    if not 0 <= limit <= total:
        raise ValueError(
            f"{what} is {value!r}; expected bytes as an integer, bytes with a unit as in '1 GiB' or '500 MB', or "
            f"per cent of the device's memory as in '80%': at most the {bytes_in_words(total)} of device {device_id}"
        )
    return int(limit)


class OutOfDeviceMemoryError(MemoryError):
    """Device memory could not be allocated; the object that asked for it is as it was.

    Parameters
    ----------
    what : str
        What was to be allocated.
    device_id : int
    remedy : str
        What helps, beside releasing memory.
    """

    def __init__(self, what: str, device_id: int, remedy: str = "lower options.memory_limit"):
        free, total = free_memory(device_id)
        super().__init__(
            f"{what} on CUDA device {device_id}, of whose {bytes_in_words(total)} the driver has "
            f"{bytes_in_words(free)} free (pools may hold more): release what is not needed, or {remedy}"
        )


def bytes_in_words(size: float) -> str:
    """A number of bytes with the unit that suits it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:,.{0 if unit == 'bytes' else 2}f} {unit}"
        size /= 1024
    raise AssertionError


class DeviceMemory:
    """Memory from the driver's own pool, for arrays of a package that has none; given back when it is dropped."""

    def __init__(self, size: int, device_id: int, stream: int):
        self.size, self.device_id, self.stream = size, device_id, stream
        self.address = 0
        self.address = runtime.malloc_async(size, stream)

    def __del__(self) -> None:
        if self.address and not sys.is_finalizing():
            with on(self.device_id):
                runtime.free_async(self.address, self.stream)
