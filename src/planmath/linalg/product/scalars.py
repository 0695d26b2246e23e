"""alpha and beta: numbers that belong to an operation, and that its programs read at each execution."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, package_named
from planmath.core.executor import ArraySlot


class Scalars:
    """The scale factors of a product, each an array of one element on the host.

    Parameters
    ----------
    dtype : str
        NumPy's name of their dtype.
    names : tuple of str
    """

    def __init__(self, dtype: str, names: tuple[str, ...] = ("alpha", "beta")):
        self._arrays = {name: np.zeros((), dtype) for name in names}
        self.slots: dict[str, ArraySlot] = {}
        for name, array in self._arrays.items():
            slot = ArraySlot(package_named("numpy"), array.dtype, (), (), ITEMSIZE[dtype])
            slot.bind(array)
            self.slots[name] = slot

    def checked(self, values: dict[str, Any]) -> dict[str, np.ndarray]:
        """The values as numbers of the dtype.

        Raises
        ------
        ValueError
            If one is not a single number that fits.
        """
        checked = {}
        for name, value in values.items():
            dtype = self._arrays[name].dtype
            try:
                number = np.asarray(value)
                if dtype.kind == "i" and number.shape == () and number == int(number):
                    number = np.asarray(int(number))
                if number.shape != () or not np.can_cast(number.dtype, dtype, casting="same_kind"):
                    raise TypeError
                checked[name] = number.astype(dtype)
            except (TypeError, ValueError):
                raise ValueError(f"{name} is {value!r}; expected a single number that fits {dtype}") from None
        return checked

    def set(self, checked: dict[str, np.ndarray]) -> None:
        """Let the next execution use what `checked` returned."""
        for name, number in checked.items():
            self._arrays[name][...] = number
