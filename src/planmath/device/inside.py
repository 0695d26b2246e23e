"""Where a call comes from: a kernel in the simulator, or the host, where functions for kernels cannot be called."""

from __future__ import annotations

import os
import sys
from typing import Any


def simulating() -> bool:
    """Whether Numba's kernels run in the simulator in this process (``NUMBA_ENABLE_CUDASIM=1``)."""
    if "numba" in sys.modules:
        config = sys.modules.get("numba.core.config") or sys.modules.get("numba.cuda.core.config")
        if config is not None:
            return bool(config.ENABLE_CUDASIM)
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def thread(function: str) -> Any:
    """The simulated thread that calls a function for kernels.

    Raises
    ------
    RuntimeError
        On the host.
    """
    if simulating():
        from planmath.device import simulator

        return simulator.current(function)
    raise RuntimeError(
        f"{function} can be called in a kernel of numba.cuda only. To run kernels without a GPU, set "
        "NUMBA_ENABLE_CUDASIM=1 before the first import of Numba"
    )


class KernelFunction:
    """A function for kernels: compiled hooks and the simulator each have a body of it.

    Parameters
    ----------
    name : str
        As messages call it.
    simulated : str
        Module and function of the body in the simulator, as in ``tensors.copy``. It gets the thread first.
    doc : str
    """

    def __init__(self, name: str, simulated: str, doc: str):
        self.__name__ = self.__qualname__ = name
        self.__doc__ = doc
        self._simulated = simulated
        self._body: Any = None

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        caller = thread(self.__name__)
        if self._body is None:
            from importlib import import_module

            module, _, function = self._simulated.rpartition(".")
            self._body = getattr(import_module(f"planmath.device.simulator.{module}"), function)
        return self._body(caller, *arguments, **keywords)

    @property
    def _numba_type_(self) -> Any:
        from planmath.device import kernels

        return kernels.type_of(self)

    def __repr__(self) -> str:
        return f"<function {self.__name__}, for kernels>"
