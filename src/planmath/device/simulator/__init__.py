"""Kernels without a GPU: Numba's simulator, with a scheduler of planmath's and the functions for kernels in Python.

With ``NUMBA_ENABLE_CUDASIM=1`` Numba runs kernels as Python functions. `install`, which importing `planmath.device`
does, puts planmath's kernels in place of the simulator's: threads of a block take turns at barriers (greenlets, so runs
repeat exactly), memory starts as a NaN that is known again, and what a GPU would not tell raises `SimulationError`.
"""

from __future__ import annotations

from typing import Any


class SimulationError(RuntimeError):
    """A kernel did what a GPU does not tell: it would have computed nonsense, or waited for ever."""


def current(function: str) -> Any:
    """The simulated thread that runs; RuntimeError outside of kernels."""
    from planmath.device.simulator import scheduler

    if scheduler.running is None:
        raise RuntimeError(f"{function} can be called in a kernel only")
    return scheduler.running


def install() -> None:
    """Let ``numba.cuda.jit`` make planmath's simulated kernels."""
    from planmath.device.simulator import kernels

    kernels.install()
