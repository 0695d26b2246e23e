"""Constructors of short vectors, in kernels: ``float32x2(1.0, 2.0)`` has the fields ``x`` and ``y``."""

from __future__ import annotations

from planmath.device.inside import KernelFunction

_DOC = "A vector of {0}, in kernels. Its components are {1} numbers, or vectors and complex numbers in a row."


def _constructor(name: str) -> KernelFunction:
    count = int(name[-1])
    return KernelFunction(name, f"vectors.{name}", _DOC.format(name, count))


CONSTRUCTORS = {
    name: _constructor(name)
    for name in ("float16x2", "float16x4", "float32x2", "float32x4", "float64x2", "float64x4", "uint32x4")
}
float16x2, float16x4 = CONSTRUCTORS["float16x2"], CONSTRUCTORS["float16x4"]
float32x2, float32x4 = CONSTRUCTORS["float32x2"], CONSTRUCTORS["float32x4"]
float64x2, float64x4 = CONSTRUCTORS["float64x2"], CONSTRUCTORS["float64x4"]
uint32x4 = CONSTRUCTORS["uint32x4"]
