"""Short vectors in the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from planmath.device.simulator.memory import Complex64, Complex128


def _parts(given: tuple[Any, ...]) -> list[Any]:
    found: list[Any] = []
    for each in given:
        if isinstance(each, (np.void, np.ndarray)) and each.dtype.names:
            found += [each[name] for name in each.dtype.names]
        elif isinstance(each, (complex, np.complexfloating)):
            found += [each.real, each.imag]
        else:
            found.append(each)
    return found


def vector(scalar: type, parts: Any) -> Any:
    """A vector of numbers, with the fields x, y, z and w."""
    count = len(parts)
    if count == 2 and scalar in (np.float32, np.float64):
        return (Complex64 if scalar is np.float32 else Complex128)(complex(*parts))
    return np.array([tuple(parts)], _dtype(scalar, count)).view(np.recarray)[0]


def _dtype(scalar: type, count: int) -> np.dtype:
    if count == 2 and scalar in (np.float32, np.float64):
        return np.dtype(np.complex64 if scalar is np.float32 else np.complex128)
    return np.dtype((np.record, [(name, scalar) for name in "xyzw"[:count]]))


def _constructor(scalar: type, count: int) -> Callable[..., Any]:
    def construct(thread: Any, *given: Any) -> Any:
        parts = _parts(given)
        if len(parts) != count:
            raise TypeError(f"a vector of {count} takes {count} numbers, not {len(parts)}")
        return vector(scalar, parts)

    return construct


_VECTORS = {
    "float16x2": (np.float16, 2), "float16x4": (np.float16, 4), "float32x2": (np.float32, 2),
    "float32x4": (np.float32, 4), "float64x2": (np.float64, 2), "float64x4": (np.float64, 4),
    "uint32x4": (np.uint32, 4),
}  # fmt: skip
float16x2, float16x4 = _constructor(*_VECTORS["float16x2"]), _constructor(*_VECTORS["float16x4"])
float32x2, float32x4 = _constructor(*_VECTORS["float32x2"]), _constructor(*_VECTORS["float32x4"])
float64x2, float64x4 = _constructor(*_VECTORS["float64x2"]), _constructor(*_VECTORS["float64x4"])
uint32x4 = _constructor(*_VECTORS["uint32x4"])
#: The types of elements of arrays.
TYPES = {name: _dtype(*of) for name, of in _VECTORS.items()}
