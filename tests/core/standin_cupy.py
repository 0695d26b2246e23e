"""What planmath asks of CuPy, over the memory of the stand-in for the CUDA runtime: operands without a device."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from planmath.bindings import runtime

DEVICE = 1 << 56


class Memory:
    def __init__(self, size: int):
        self.ptr, self.size, self.device_id = 0, size, runtime.get_device()
        self.ptr = runtime.malloc_async(max(size, 1), STREAM.ptr)

    def __del__(self) -> None:
        if self.ptr:
            runtime.free_async(self.ptr, STREAM.ptr)


class Pointer:
    def __init__(self, memory: Memory, ptr: int):
        self.mem, self.ptr, self.device_id = memory, ptr, memory.device_id

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self.mem, self.ptr + offset)


def alloc(size: int) -> Pointer:
    memory = Memory(size)
    return Pointer(memory, memory.ptr)


def _index(key: Any) -> Any:
    """What NumPy takes for an index."""
    if isinstance(key, tuple):
        return tuple(map(_index, key))
    return key.view() if isinstance(key, ndarray) else key


class ndarray:
    def __init__(self, shape: tuple[int, ...], dtype: Any = float, memptr: Any = None, strides: Any = None):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        host = np.empty(self.shape, self.dtype)
        self.strides = host.strides if strides is None else tuple(strides)
        if memptr is None:
            memory = Memory(host.nbytes)
            memptr = Pointer(memory, memory.ptr)
        self.data = memptr if isinstance(memptr, Pointer) else Pointer(memptr, memptr.ptr)
        self.itemsize, self.ndim = self.dtype.itemsize, len(self.shape)
        columnwise = np.empty(self.shape, self.dtype, order="F").strides
        self.flags = SimpleNamespace(
            c_contiguous=self.strides == host.strides, f_contiguous=self.strides == columnwise
        )  # fmt: skip
        self.device = SimpleNamespace(id=self.data.device_id)

    def __len__(self) -> int:
        return self.shape[0]

    def get(self) -> np.ndarray:
        """A copy on the host, read without the runtime."""
        return self.view().copy()

    def copy(self) -> ndarray:
        return asarray(self.get())

    def set(self, values: Any) -> None:
        self.view()[...] = values

    def view(self, dtype: Any = None) -> Any:
        """The memory as NumPy's array, read without the runtime; with a dtype, an array on the device of that."""
        if dtype is not None:
            (size,), of = self.shape, np.dtype(dtype)
            return ndarray((size * self.itemsize // of.itemsize,), of, self.data)
        interface = {
            "version": 3, "shape": self.shape, "typestr": self.dtype.str, "strides": self.strides,
            "data": (self.data.ptr & (DEVICE - 1), False),
        }  # fmt: skip
        return np.asarray(SimpleNamespace(__array_interface__=interface))


    def __getitem__(self, key: Any) -> ndarray:
        whole = self.view()
        part = whole[_index(key)]
        if not np.may_share_memory(part, whole):
            return asarray(part)
        return ndarray(part.shape, self.dtype, Pointer(self.data.mem, part.ctypes.data | DEVICE), part.strides)

    def __setitem__(self, key: Any, values: Any) -> None:
        self.view()[_index(key)] = values.view() if isinstance(values, ndarray) else values

    @property
    def T(self) -> ndarray:
        return ndarray(self.shape[::-1], self.dtype, self.data, self.strides[::-1])

    def reshape(self, *shape: int) -> ndarray:
        part = self.view().reshape(*shape)
        return ndarray(part.shape, self.dtype, self.data, part.strides)

    def astype(self, dtype: Any, copy: bool = True) -> ndarray:
        return asarray(self.view().astype(dtype)) if copy or self.dtype != np.dtype(dtype) else self

    def __iadd__(self, other: Any) -> ndarray:
        self.view()[...] += other.view() if isinstance(other, ndarray) else other
        return self

    def __isub__(self, other: ndarray) -> ndarray:
        self.view()[...] -= other.view()
        return self

    def __matmul__(self, other: ndarray) -> ndarray:
        return asarray(self.view() @ other.view())

    def sum(self, axis: int) -> ndarray:
        return asarray(self.view().sum(axis=axis))

    def conj(self) -> ndarray:
        return asarray(self.view().conj())

    def __mul__(self, factor: Any) -> ndarray:
        return asarray(self.view() * np.asarray(factor, self.dtype))

    __rmul__ = __mul__


def add(a: ndarray, b: ndarray, out: ndarray) -> ndarray:
    np.add(a.view(), b.view(), out=out.view())
    return out


def triu(a: ndarray, k: int = 0) -> ndarray:
    return asarray(np.triu(a.view(), k))


class csr_matrix:
    def __init__(self, arrays: Any, shape: tuple[int, int]):
        (self.data, self.indices, self.indptr), self.shape = arrays, shape


STREAM = SimpleNamespace(ptr=3)


def asarray(array: np.ndarray) -> ndarray:
    """A copy on the device with the same strides; of negative ones, in C order."""
    if array.size == 0 or any(step < 0 for step in array.strides):
        array = np.ascontiguousarray(array)
    span = array.itemsize + sum((n - 1) * step for n, step in zip(array.shape, array.strides, strict=True))
    copy = ndarray(array.shape, array.dtype, Memory(span), array.strides)
    copy.set(array)
    return copy


def install() -> ModuleType:
    """Let programs import it as CuPy."""

    class ExternalStream:
        def __init__(self, ptr: int, device_id: int = 0):
            self.ptr = ptr

        def __enter__(self) -> Any:
            self.before, STREAM.ptr = STREAM.ptr, self.ptr

        def __exit__(self, *exception: object) -> None:
            STREAM.ptr = self.before

    @contextmanager
    def device(number: int) -> Iterator[None]:
        before = runtime.get_device()
        runtime.set_device(number)
        yield
        runtime.set_device(before)

    names: dict[str, dict[str, Any]] = {
        "cupy": {"ndarray": ndarray, "asarray": asarray, "from_host": asarray, "add": add, "triu": triu},
        "cupy.cuda": {
            "MemoryPointer": lambda memory, offset: Pointer(memory, memory.ptr + offset),
            "UnownedMemory": lambda ptr, size, owner, device_id: SimpleNamespace(
                ptr=ptr, size=size, device_id=device_id, owner=owner
            ),
            "alloc": alloc, "get_current_stream": lambda: STREAM, "ExternalStream": ExternalStream,
            "Stream": SimpleNamespace(), "Device": device, "memory": SimpleNamespace(OutOfMemoryError=MemoryError),
        },
        "cupy_backends": {}, "cupy_backends.cuda": {"stream": None}, "cupyx": {}, "cupyx.scipy": {},
        "cupyx.scipy.sparse": {"csr_matrix": csr_matrix, "issparse": lambda a: False},
    }  # fmt: skip
    for name, contents in names.items():
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(contents)
        module.__spec__ = ModuleSpec(name, None)
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, module)
    return sys.modules["cupy"]
