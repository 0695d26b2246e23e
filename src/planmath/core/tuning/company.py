"""The other libraries of this process that compute on threads: a program may call them in turn with planmath.

Their threads look for work for a while after a call, and so do planmath's libraries'. What is in whose way depends on
which of them share a pool, so it is measured: an execution right behind a call of theirs, and their next call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from planmath.native.forks import load_module
from planmath.native.threads import available_cpus

#: Rows of the product that stands for NumPy's, which takes OpenBLAS's threads and about a millisecond; and the batch of
#: transforms, and the elements, that stand for the others' work.
ROWS, BATCH, ELEMENTS = 320, (64, 1024), 1 << 18


def neighbours() -> dict[str, Callable[[], Any]]:
    """A short call on several threads of each package that is loaded, by its name; none where there is one CPU."""
    if available_cpus() == 1:
        return {}
    return {name: make(sys.modules[name]) for name, make in _CALLS.items() if _is_loaded(name)}


def _is_loaded(name: str) -> bool:
    """Whether a package was imported, to the end."""
    module = sys.modules.get(name)
    return module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False)


def _product(numpy: Any) -> Callable[[], Any]:
    a = np.full((ROWS, ROWS), 0.5)
    return partial(np.matmul, a, a, out=np.empty_like(a))


def _transforms(mkl_fft: Any) -> Callable[[], Any]:
    return partial(mkl_fft.fft, np.ones(BATCH, np.complex64))


def _elements(torch: Any) -> Callable[[], Any]:
    x = torch.ones(ELEMENTS, dtype=torch.float32)
    return partial(torch.exp, x, out=load_module("torch").empty_like(x))


_CALLS: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "numpy": _product, "mkl_fft": _transforms, "torch": _elements,
}  # fmt: skip
