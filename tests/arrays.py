"""Arrays of every package: made from NumPy's with the same strides, and turned back.

Beside the packages themselves there is ``torch-cuda``, PyTorch's tensors on a CUDA device. On the host, no element is
copied; a device has a copy of all bytes between the array's first and last.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from planmath.bindings import runtime
from planmath.core.arrays import Layout, package_named
from planmath.core.cuda import devices

HOST, DEVICE = ("numpy", "torch"), ("cupy", "torch-cuda")

#: Stands in for torch.complex32, which NumPy lacks.
COMPLEX32 = np.dtype([("real", np.float16), ("imag", np.float16)], align=True)
#: What NumPy shows of the dtypes that it lacks: bits, but for complex32.
LACKING = {"bfloat16": np.int16, "float8_e4m3fn": np.uint8, "float8_e5m2": np.uint8, "complex32": COMPLEX32}


@cache
def missing(package: str) -> str | None:
    """Why this machine has no arrays of the package."""
    if find_spec(package.removesuffix("-cuda")) is None:
        return f"{package.removesuffix('-cuda')} is not installed"
    if package in HOST or devices.missing() is not None:
        return None if package in HOST else devices.missing()
    if package == "torch-cuda":
        import torch

        return None if torch.cuda.is_available() else "this torch was built without CUDA"
    return None


def parameters(packages: tuple[str, ...]) -> list[Any]:
    """The packages as parameters of a test; those that this machine lacks are skipped with the reason."""
    return [
        pytest.param(name, marks=pytest.mark.skipif((reason := missing(name)) is not None, reason=str(reason)))
        for name in packages
    ]


HOST_PACKAGES, DEVICE_PACKAGES = parameters(HOST), parameters(DEVICE)
PACKAGES = HOST_PACKAGES + DEVICE_PACKAGES


def to_package(array: np.ndarray, package: str) -> Any:
    """An array of the package with the same elements and the same strides.

    On the host it has the same memory. On a device its address has the same remainder modulo 16 or, where PyTorch
    cannot express that, the nearest one below that is a multiple of the element's size.
    """
    if package == "numpy":
        return array
    if array.dtype == COMPLEX32:
        import torch

        parts = np.lib.stride_tricks.as_strided(array["real"], (*array.shape, 2), (*array.strides, 2))
        return torch.view_as_complex(to_package(parts, package))
    if package == "torch":
        import torch

        return torch.from_numpy(array)
    low, span = extent(array)
    if package == "cupy":
        import cupy

        room = cupy.empty(span + 16, np.uint8)
        start = (low - room.data.ptr) % 16
        first = room.data + start + (address_of(array) - low)
        copy = cupy.ndarray(array.shape, array.dtype, first, strides=array.strides)
    else:
        import torch

        room = torch.empty(span // array.itemsize + 16, dtype=getattr(torch, array.dtype.name), device="cuda")
        start = (low - room.data_ptr()) % 16 // array.itemsize
        copy = room.as_strided(array.shape, strides_of(array), start)
    runtime.device_synchronize()
    runtime.memcpy(extent(copy)[0], low, span, runtime.MemcpyKind.HOST_TO_DEVICE)
    runtime.device_synchronize()  # a short copy returns before it has arrived, and other streams would not wait for it
    return copy


def to_numpy(array: Any) -> np.ndarray:
    """A NumPy array with the same strides: over the same memory on the host, a copy of all of it for a device.

    Dtypes that NumPy lacks appear as `LACKING` has them.
    """
    if isinstance(array, np.ndarray):
        return array
    name = dtype_of(array)
    if package_of(array) == "torch" and name not in LACKING:
        return array.detach().numpy()
    dtype = np.dtype(LACKING.get(name, name))
    low, span = extent(array)
    if package_of(array) == "torch":
        memory = (ctypes.c_char * span).from_address(low)
        memory.owner = array  # type: ignore[attr-defined]
        start = 0
    else:
        memory = np.empty(span + 16, np.uint8)
        start = (low - memory.ctypes.data) % 16
        runtime.device_synchronize()
        runtime.memcpy(memory.ctypes.data + start, low, span, runtime.MemcpyKind.DEVICE_TO_HOST)
    strides = tuple(step * dtype.itemsize for step in strides_of(array))
    return np.ndarray(tuple(array.shape), dtype, memory, start + address_of(array) - low, strides)


def view_of(memory: Any, start: int, shape: Sequence[int], strides: Sequence[int]) -> Any:
    """An array with these strides, in elements, in the memory of one with one axis, from its element `start` on."""
    arrays = package_named(package_of(memory).removesuffix("-cuda"))
    return arrays.with_strides(memory[start:], Layout(tuple(shape), tuple(strides), dtype_of(memory), "", None))


def as_complex(array: np.ndarray) -> np.ndarray:
    """What stands in for complex32 as complex128; any other array as it is."""
    return array["real"].astype(float) + 1j * array["imag"] if array.dtype == COMPLEX32 else array


def as_complex32(values: np.ndarray) -> np.ndarray:
    """Complex values as what stands in for complex32."""
    array = np.empty(values.shape, COMPLEX32)
    array["real"], array["imag"] = values.real, values.imag
    return array


def package_of(array: Any) -> str:
    """The name of the package that an array belongs to."""
    for name in ("numpy", "torch", "cupy"):
        module = sys.modules.get(name)
        if module is not None and type(array) is (module.Tensor if name == "torch" else module.ndarray):
            return "torch-cuda" if name == "torch" and array.is_cuda else name
    return str(type(array))


def dtype_of(array: Any) -> str:
    """The dtype's name, NumPy's or PyTorch's."""
    return str(array.dtype).removeprefix("torch.")


def strides_of(array: Any) -> tuple[int, ...]:
    """Strides in elements."""
    return tuple(array.stride() if hasattr(array, "stride") else (step // array.itemsize for step in array.strides))


def address_of(array: Any) -> int:
    """The address of the first element."""
    if isinstance(array, np.ndarray):
        return array.ctypes.data
    return array.data_ptr() if hasattr(array, "data_ptr") else array.data.ptr


def extent(array: Any) -> tuple[int, int]:
    """The address of the array's lowest byte, and how many there are up to its highest."""
    spans = [(n - 1) * step * array.itemsize for n, step in zip(array.shape, strides_of(array), strict=True)]
    low = address_of(array) + sum(span for span in spans if span < 0)
    return low, array.itemsize + sum(map(abs, spans))
