"""Stateful math operations: plan once, execute many times.

The public API is that of nvmath-python; planmath is an independent implementation of it, for the CPU and CUDA devices.
"""

from types import ModuleType

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


def __getattr__(name: str) -> ModuleType:
    if name in _LATER:
        return load_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
