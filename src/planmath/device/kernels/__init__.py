"""How kernels that numba-cuda compiles see functions for kernels: types, constants, calls and the code to link.

Imported when Numba first asks for the type of one of planmath's objects, so that nothing of planmath imports Numba.
"""

from __future__ import annotations

from typing import Any


def type_of(value: Any) -> Any:
    """Numba's type of an object that kernels can name: a function for kernels, a value type, a transform."""
    from planmath.device.kernels import hooks

    return hooks.type_of(value)


def states_type(kind: str) -> Any:
    """Numba's type of an array of random states."""
    from planmath.device.kernels import hooks

    return hooks.random.StatesType(kind)
