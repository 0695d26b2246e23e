"""What planmath's own loops are told: integers at the places of a descriptor, addresses of arrays among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Descriptor:
    """A descriptor of so many words, zero at first, and the arrays that it has the addresses of.

    Attributes
    ----------
    words : array of int64
    """

    def __init__(self, words: int):
        self.words = np.zeros(words, np.int64)
        self._kept: list[Any] = []

    @property
    def address(self) -> int:
        """Where the words are."""
        return self.words.ctypes.data

    def put(self, places: Mapping[str, int], values: Mapping[str, int], first: int = 0) -> None:
        """Put values at their places, which are counted from the `first` word."""
        for name, value in values.items():
            self.words[first + places[name]] = value

    def at(self, array: np.ndarray) -> int:
        """The address of an array that is kept."""
        self._kept.append(array)
        return array.ctypes.data
