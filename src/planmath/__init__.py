"""Stateful math operations: plan once, execute many times.

The public API is that of nvmath-python; planmath is an independent implementation of it, for the CPU and CUDA devices.
"""

from planmath import bindings, distributed, fft, linalg, memory, sparse, tensor, tuning
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


def __getattr__(name: str) -> object:
    if name == "device":  # which few programs use, and which sets up Numba's simulator where that is on
        return load_module("planmath.device")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
