"""Memory of simulated kernels: it starts as a NaN that is told from others, so that reading it is found."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from planmath.device.simulator import SimulationError
from planmath.device.value_types import host_dtype

#: Bytes of shared memory that a block has in any case, and the most that a device lets it have.
USUAL, MOST = 48 << 10, 227 << 10
#: By the size of a real number: a NaN with a payload that computations do not make.
_POISON: dict[int, Any] = {2: np.uint16(0x7E5A), 4: np.uint32(0x7FC5A5A5), 8: np.uint64(0x7FF85A5A5A5AA5A5)}


class Memory(np.ndarray):
    """An array of registers or of shared memory. Its complex elements have the fields of vectors as well."""

    def __getitem__(self, index: Any) -> Any:
        found = np.ndarray.__getitem__(self, index)
        kind = _WITH_FIELDS.get(type(found))
        return found if kind is None else kind(found)


class Complex64(np.complex64):
    """A complex number with the fields of a vector."""

    x = property(lambda self: self.real)
    y = property(lambda self: self.imag)


class Complex128(np.complex128):
    """A complex number with the fields of a vector."""

    x = property(lambda self: self.real)
    y = property(lambda self: self.imag)


_WITH_FIELDS: dict[type, type] = {np.complex64: Complex64, np.complex128: Complex128}


def real_size(dtype: np.dtype) -> int:
    """Bytes of a real number of a type, 0 for integers."""
    if dtype.names:
        dtype = dtype.fields[dtype.names[0]][0]  # type: ignore[index]
    if dtype.kind not in "fc":
        return 0
    return dtype.itemsize // (2 if dtype.kind == "c" else 1)


def fresh(shape: Any, dtype: Any) -> Memory:
    """Memory that was never written to."""
    dtype = _record(dtype)
    made: Any = np.empty(shape, dtype)
    size = real_size(dtype)
    made.view(np.uint8).reshape(-1)[:] = 0xA5
    if size in _POISON:
        made.reshape(-1).view(_POISON[size].dtype)[:] = _POISON[size]
    return made.view(np.recarray if dtype.names else Memory)


def _record(given: Any) -> np.dtype:
    dtype = _dtype(given)
    return np.dtype((np.record, dtype)) if dtype.names else dtype


def _dtype(given: Any) -> np.dtype:
    if hasattr(given, "_dtype"):
        return host_dtype(given)
    if isinstance(given, str) or not hasattr(given, "bitwidth"):
        try:
            return np.dtype(given)
        except TypeError:
            pass
    from numba.cuda.simulator.kernelapi import numpy_support

    return numpy_support.as_dtype(given)


def unwritten(array: np.ndarray) -> np.ndarray:
    """Where an array holds what it held before anything was written, as flat indices."""
    size = real_size(array.dtype)
    if size not in _POISON or not array.size:
        return np.empty(0, int)
    words = np.ascontiguousarray(array).reshape(-1).view(_POISON[size].dtype).reshape(array.size, -1)
    return np.flatnonzero((words == _POISON[size]).any(axis=1))


def check_written(name: str, what: str, array: np.ndarray) -> None:
    """Raise if something reads memory that was never written."""
    places = unwritten(array)
    if places.size:
        shown = ", ".join(map(str, places[:4].tolist())) + ", ..." * (places.size > 4)
        raise SimulationError(f"{name} reads {what} that was never written: {shown}")


class Local:
    """``cuda.local``."""

    def array(self, shape: Any, dtype: Any, alignment: Any = None) -> Memory:
        return fresh(shape, dtype)


class Shared:
    """``cuda.shared``: one array for each place in the source; of size 0, the dynamic memory."""

    def __init__(self, dynamic: int):
        self.dynamic: Any = fresh(-(-dynamic // 16) * 16, np.uint8)
        self.bytes = dynamic
        self._static: dict[Any, Memory] = {}

    def array(self, shape: Any, dtype: Any, alignment: Any = None) -> Memory:
        if shape == 0 or shape == (0,):
            found = _record(dtype)
            if not hasattr(self, "_poisoned"):  # with the first type that looks at it
                self._poisoned = True
                whole = fresh(self.dynamic.size // found.itemsize, found)
                self.dynamic[: whole.nbytes] = np.asarray(whole).view(np.uint8)
            count = self.bytes // found.itemsize
            view = np.asarray(self.dynamic)[: count * found.itemsize].view(found)
            return view.view(np.recarray if found.names else Memory)  # type: ignore[return-value]
        frame = sys._getframe(1)
        place = frame.f_code, frame.f_lasti
        if place not in self._static:
            self._static[place] = fresh(shape, dtype)
            taken = sum(each.nbytes for each in self._static.values())
            if taken > USUAL:
                raise SimulationError(
                    f"the arrays of shared memory take {taken} bytes; a kernel has {USUAL} at most, beside dynamic "
                    "memory, which is an array of 0 elements"
                )
        return self._static[place]
