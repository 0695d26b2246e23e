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
    dtype = np.dtype((np.record, [(name, scalar) for name in "xyzw"[:count]]))
    return np.array([tuple(parts)], dtype).view(np.recarray)[0]


def _constructor(scalar: type, count: int) -> Callable[..., Any]:
    def construct(thread: Any, *given: Any) -> Any:
        parts = _parts(given)
        if len(parts) != count:
            raise TypeError(f"a vector of {count} takes {count} numbers, not {len(parts)}")
        return vector(scalar, parts)

    return construct


float16x2, float16x4 = _constructor(np.float16, 2), _constructor(np.float16, 4)
float32x2, float32x4 = _constructor(np.float32, 2), _constructor(np.float32, 4)
float64x2, float64x4 = _constructor(np.float64, 2), _constructor(np.float64, 4)
uint32x4 = _constructor(np.uint32, 4)
