"""Stateful math operations: plan once, execute many times.

The public API is that of nvmath-python; planmath is an independent implementation of it, for the CPU and CUDA devices.
"""

from typing import TYPE_CHECKING, Any

import planmath.core.executor  # noqa: F401 (compiled, on NumPy: if that does not work here, nothing does)
from planmath.native.forks import load_module

if TYPE_CHECKING:
    from planmath import bindings, device, distributed, fft, linalg, memory, sparse, tensor, tuning
    from planmath.core.cuda.memory import BaseCUDAMemoryManager, BaseCUDAMemoryManagerAsync, MemoryPointer
    from planmath.core.datatypes import ComputeType, CudaDataType, LibraryPropertyType
    from planmath.core.errors import AutogradWarning
    from planmath.dropin import install_as_nvmath

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
_MODULES = ("bindings", "device", "distributed", "fft", "linalg", "memory", "sparse", "tensor", "tuning")

#: Where the names are, and what opt_einsum looks for in a backend.
_NAMES = {
    "planmath.core.cuda.memory": ("BaseCUDAMemoryManager", "BaseCUDAMemoryManagerAsync", "MemoryPointer"),
    "planmath.core.datatypes": ("ComputeType", "CudaDataType", "LibraryPropertyType"),
    "planmath.core.errors": ("AutogradWarning",),
    "planmath.dropin": ("install_as_nvmath",),
    "planmath.interfaces.opt_einsum": ("einsum", "tensordot", "transpose"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return load_module(f"{__name__}.{name}")
    for module, names in _NAMES.items():
        if name in names:
            found = globals()[name] = getattr(load_module(module), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
