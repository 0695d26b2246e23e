"""Stateful math operations: plan once, execute many times.

The public API is that of nvmath-python; planmath is an independent implementation of it, for the CPU and CUDA devices.
"""

from importlib import import_module
from typing import Any

from planmath import bindings, fft, linalg, memory, sparse, tensor, tuning
from planmath.core.cuda.memory import BaseCUDAMemoryManager, BaseCUDAMemoryManagerAsync, MemoryPointer
from planmath.core.datatypes import ComputeType, CudaDataType, LibraryPropertyType
from planmath.core.errors import AutogradWarning
from planmath.dropin import install_as_nvmath
from planmath.native.forks import load_module

__version__ = "0.1.0"

__all__ = [
    "AutogradWarning",
    "BaseCUDAMemoryManager",
    "BaseCUDAMemoryManagerAsync",
    "ComputeType",
    "CudaDataType",
    "LibraryPropertyType",
    "MemoryPointer",
    "bindings",
    "device",
    "distributed",
    "fft",
    "install_as_nvmath",
    "linalg",
    "memory",
    "sparse",
    "tensor",
    "tuning",
]


#: Imported when they are first used; the device's functions set up Numba's simulator then, where that is on.
_LATER = ("device", "distributed")


#: What opt_einsum looks for in a backend, imported when it does.
_FOR_OPT_EINSUM = ("einsum", "tensordot", "transpose")


def __getattr__(name: str) -> Any:
    if name in _FOR_OPT_EINSUM:
        return getattr(import_module("planmath.interfaces.opt_einsum"), name)
    if name in _LATER:
        return load_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
