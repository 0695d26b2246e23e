"""The functions of `numpy.fft` by their names, computed by planmath, with plans that are kept between calls.

Arguments, values and dtypes are NumPy's (of version 2: single precision stays single). Where this differs: an axis can
be transformed once in a call.

Examples
--------
>>> import numpy as np
>>> from planmath.interfaces import numpy_fft
>>> numpy_fft.fft(np.array([0, 1, 0, 0])).round(3)
array([ 1.+0.j,  0.-1.j, -1.+0.j,  0.+1.j])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.fft
from numpy.fft import fftfreq, fftshift, ifftshift, rfftfreq

from planmath.interfaces.transforms import FUNCTIONS, as_if_named, clear, perform

__all__ = [
    "clear", "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft",
    "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip


def _along_one(name: str) -> Callable[..., np.ndarray]:
    of = FUNCTIONS[name]

    def function(
        a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        return perform(of, a, n, axis, norm, out=out)

    return as_if_named(function, __name__, getattr(numpy.fft, name))


def _along_several(name: str) -> Callable[..., np.ndarray]:
    of = FUNCTIONS[name]

    def function(
        a: Any, s: Any = None, axes: Any = (-2, -1) if name[-1] == "2" else None, norm: str | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        return perform(of, a, s, axes, norm, out=out)

    return as_if_named(function, __name__, getattr(numpy.fft, name))


fft, ifft, rfft, irfft, hfft, ihfft = map(_along_one, ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fft2, ifft2, rfft2, irfft2 = map(_along_several, ("fft2", "ifft2", "rfft2", "irfft2"))
fftn, ifftn, rfftn, irfftn = map(_along_several, ("fftn", "ifftn", "rfftn", "irfftn"))
