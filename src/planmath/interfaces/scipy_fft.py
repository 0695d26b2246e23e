"""planmath as a backend of `scipy.fft`.

The functions of `scipy.fft` that compute discrete Fourier transforms, by SciPy's names, with SciPy's arguments,
values, dtypes and errors, and plans that are kept between calls. What is no such transform (`dct`, `fht`, ...) stays
with SciPy, and so do arrays of other packages than NumPy.

Threads: `workers` is the most that a call takes. Where it is not given, the number of `set_workers` counts, this
module's or SciPy's, and where there is none, planmath decides. SciPy's ``set_workers(1)`` cannot be told from none.

Transforms of extended precision (`numpy.longdouble`) are NumPy's.

Examples
--------
>>> import numpy as np, scipy.fft
>>> import planmath.interfaces.scipy_fft
>>> with scipy.fft.set_backend(planmath.interfaces.scipy_fft, only=True):
...     scipy.fft.fft(np.array([0, 1, 0, 0])).round(3)
array([ 1.+0.j,  0.-1.j, -1.+0.j,  0.+1.j])
"""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import scipy.fft
from scipy.fft import get_workers as scipys_workers

from planmath.interfaces.transforms import FUNCTIONS, as_if_named, clear, perform

__all__ = [
    "clear", "fft", "fft2", "fftn", "get_workers", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ihfft",
    "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftn", "set_workers",
]  # fmt: skip

__ua_domain__ = "numpy.scipy.fft"

# A global backend takes SciPy's own place. So that what it has not gets to SciPy all the same, that comes last of all.
scipy.fft.register_backend("scipy")

_workers: ContextVar[int | None] = ContextVar("planmath_workers", default=None)
_CPUS = os.cpu_count() or 1


@contextlib.contextmanager
def set_workers(workers: int) -> Iterator[None]:
    """The most threads of transforms within a with statement.

    Parameters
    ----------
    workers : int
        Negative ones count from the number of CPUs down: -1 is all.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.interfaces import scipy_fft
    >>> with scipy_fft.set_workers(1):
    ...     scipy_fft.fft(np.ones(2))
    array([2.+0.j, 0.+0.j])
    """
    token = _workers.set(_threads(operator.index(workers)))
    try:
        yield
    finally:
        _workers.reset(token)


def get_workers() -> int | None:
    """The most threads of a transform that names none; None where planmath decides."""
    return _threads(None)


def _threads(workers: Any) -> int | None:
    if workers is None:
        if (own := _workers.get()) is not None:
            return own
        others = scipys_workers()
        return None if others == 1 else others
    workers = operator.index(workers)
    if workers == 0:
        raise ValueError("workers must not be zero")
    if workers < 0:
        if workers < -_CPUS:
            raise ValueError(f"workers value out of range; got {workers}, must not be less than {-_CPUS}")
        workers += 1 + _CPUS
    return workers


def _reject_plan(plan: Any) -> None:
    if plan is not None:
        raise NotImplementedError(
            "Passing a precomputed plan is not yet supported by scipy.fft functions; plans are kept between calls, and "
            "planmath.fft.FFT is one that you keep yourself"
        )


def _along_one(name: str) -> Callable[..., np.ndarray]:
    of = FUNCTIONS[name]

    def function(
        x: Any, n: int | None = None, axis: int = -1, norm: str | None = None, overwrite_x: bool = False,
        workers: int | None = None, *, plan: Any = None,
    ) -> np.ndarray:  # fmt: skip
        if plan is not None:
            _reject_plan(plan)
        return perform(of, x, n, axis, norm, overwrite_x, _threads(workers))

    return as_if_named(function, __name__, getattr(scipy.fft, name))


def _along_several(name: str) -> Callable[..., np.ndarray]:
    of = FUNCTIONS[name]

    def function(
        x: Any, s: Any = None, axes: Any = (-2, -1) if name[-1] == "2" else None, norm: str | None = None,
        overwrite_x: bool = False, workers: int | None = None, *, plan: Any = None,
    ) -> np.ndarray:  # fmt: skip
        if plan is not None:
            _reject_plan(plan)
        return perform(of, x, s, axes, norm, overwrite_x, _threads(workers))

    return as_if_named(function, __name__, getattr(scipy.fft, name))


fft, ifft, rfft, irfft, hfft, ihfft = map(_along_one, ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fft2, ifft2, rfft2, irfft2, hfft2, ihfft2 = map(
    _along_several, ("fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2")
)
fftn, ifftn, rfftn, irfftn, hfftn, ihfftn = map(
    _along_several, ("fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn")
)

_BY_SCIPYS = {getattr(scipy.fft, name): globals()[name] for name in FUNCTIONS}


def __ua_function__(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    function = _BY_SCIPYS.get(method)
    if function is None:
        return NotImplemented
    x = args[0] if args else kwargs.get("x")
    if type(x) is not np.ndarray and not isinstance(x, np.ndarray) and hasattr(type(x), "__dlpack__"):
        return NotImplemented  # arrays of other packages, which SciPy passes on to these or converts, by its settings
    return function(*args, **kwargs)
