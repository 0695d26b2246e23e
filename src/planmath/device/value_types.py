"""The types of elements: what NumPy has, complex numbers of all precisions, and short vectors of half precision."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from planmath.device import inside

#: The types of real elements, and of integer ones.
REAL_NP_TYPES = (np.float16, np.float32, np.float64)
INT_NP_TYPES = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)

np_float16x2 = np.dtype([("x", np.float16), ("y", np.float16)])
np_float16x4 = np.dtype([(name, np.float16) for name in "xyzw"])


class _ValueType:
    """What the types that NumPy does not have, or aligns otherwise, have in common."""

    name: str
    _dtype: np.dtype

    @property
    def dtype(self) -> np.dtype:
        """The host's dtype. Arrays of it may be aligned to less than the device needs, and a warning says so."""
        if not inside.simulating():
            warnings.warn(
                f"{self.name} is aligned to {self.itemsize} bytes on the device, {self._dtype} to "
                f"{self._dtype.alignment} on the host",
                UserWarning,
                stacklevel=2,
            )
        return self._dtype

    @property
    def itemsize(self) -> int:
        """Bytes of an element, to which it is aligned as well."""
        return self._dtype.itemsize

    @property
    def _numba_type_(self) -> Any:
        from planmath.device import kernels

        return kernels.type_of(self)

    def __call__(self, *parts: Any) -> Any:
        """An element, on the host and in the simulator; in a kernel it is one of the kernel's type."""
        if self._dtype.names is None:
            return self._dtype.type(complex(*parts))
        return np.array(parts, self._dtype)[()] if len(parts) > 1 else np.array(tuple(parts[0]), self._dtype)[()]

    def __repr__(self) -> str:
        return self.name


class Complex(_ValueType):
    """Complex numbers.

    Parameters
    ----------
    real_dtype : type
        Of the real and the imaginary part: one of `REAL_NP_TYPES` or `INT_NP_TYPES`.
    """

    def __init__(self, real_dtype: type):
        self.real_dtype = _scalar("real_dtype", real_dtype, REAL_NP_TYPES + INT_NP_TYPES)
        self._dtype = _COMPLEX.get(self.real_dtype) or np.dtype([("x", self.real_dtype), ("y", self.real_dtype)])
        bits = np.dtype(self.real_dtype).itemsize * 16
        self.name = f"complex{bits}" if self.real_dtype in REAL_NP_TYPES else f"complex of {self.real_dtype.__name__}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Complex) and other.real_dtype is self.real_dtype

    def __hash__(self) -> int:
        return hash((Complex, self.real_dtype))


class Vector(_ValueType):
    """Two or four numbers of half precision.

    Parameters
    ----------
    real_dtype : type
        ``numpy.float16``.
    size : {2, 4}
    """

    def __init__(self, real_dtype: type, size: int):
        self.real_dtype = _scalar("real_dtype", real_dtype, (np.float16,))
        if size not in (2, 4):
            raise ValueError(f"a vector has 2 or 4 elements, not {size!r}")
        self.size = size
        self._dtype = np_float16x2 if size == 2 else np_float16x4
        self.name = f"half{size}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and other.size == self.size

    def __hash__(self) -> int:
        return hash((Vector, self.size))


def _scalar(name: str, given: Any, allowed: tuple[type, ...]) -> type:
    try:
        found = np.dtype(given).type
    except TypeError:
        found = None
    if found not in allowed:
        raise ValueError(f"{name} is one of {', '.join(each.__name__ for each in allowed)}, not {given!r}")
    return found


_COMPLEX: dict[Any, np.dtype] = {
    np.float16: np_float16x2, np.float32: np.dtype(np.complex64), np.float64: np.dtype(np.complex128),
}  # fmt: skip

complex32 = Complex(np.float16)
complex64 = Complex(np.float32)
complex128 = Complex(np.float64)
half2 = Vector(np.float16, 2)
half4 = Vector(np.float16, 4)

#: By the name in libmathdx's ``commondxValueType``.
_BY_NAME = {
    "R_16F2": half2, "C_16F2": half4, "C_16F": complex32, "C_32F": complex64, "C_64F": complex128,
    "R_16F": np.float16, "R_32F": np.float32, "R_64F": np.float64,
    **{f"R_{bits}{sign}": getattr(np, f"{'u' * (sign == 'UI')}int{bits}")
       for bits in (8, 16, 32, 64) for sign in ("I", "UI")},
    **{f"C_{bits}{sign}": Complex(getattr(np, f"{'u' * (sign == 'UI')}int{bits}"))
       for bits in (8, 16, 32, 64) for sign in ("I", "UI")},
}  # fmt: skip

#: libmathdx's name of a precision.
PRECISION: dict[Any, str] = {
    np.float16: "F16", np.float32: "F32", np.float64: "F64",
    np.int8: "I8", np.int16: "I16", np.int32: "I32", np.int64: "I64",
    np.uint8: "UI8", np.uint16: "UI16", np.uint32: "UI32", np.uint64: "UI64",
}  # fmt: skip


def value_type(number: int) -> Any:
    """The type for a number of libmathdx's ``commondxValueType``."""
    from planmath.bindings import mathdx

    return _BY_NAME[mathdx.CommondxValueType(number).name]


def value_type_number(value: Any) -> int:
    """The number of a type in libmathdx's ``commondxValueType``."""
    from planmath.bindings import mathdx

    name = next(name for name, each in reversed(_BY_NAME.items()) if each == value)
    return int(mathdx.CommondxValueType[name])


def host_dtype(value: Any) -> np.dtype:
    """The NumPy dtype of a value type, without a warning."""
    return value._dtype if isinstance(value, _ValueType) else np.dtype(value)


def precision(name: str, given: Any, allowed: tuple[type, ...] = REAL_NP_TYPES) -> type:
    """A precision as a NumPy scalar type."""
    return _scalar(name, given, allowed)
