"""The work of the rows about Fourier transforms."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from bench.operands import aligned, uniform


@dataclass(frozen=True, eq=False)
class Transform:
    """A forward complex transform of an operand, over its last axis or over all.

    These are the defaults of every library's `fft` and `fftn`, so that no contender has axes to look at.
    """

    x: np.ndarray
    batched: bool = False

    @classmethod
    def of_noise(cls, shape: tuple[int, ...], dtype: str, batched: bool = False) -> Transform:
        return cls(uniform(shape, dtype), batched)

    @property
    def axes(self) -> tuple[int, ...]:
        return (self.x.ndim - 1,) if self.batched else tuple(range(self.x.ndim))

    def empty(self) -> np.ndarray:
        return aligned(self.x.shape, self.x.dtype)

    def copy(self) -> np.ndarray:
        x = self.empty()
        x[...] = self.x
        return x

    def expected(self) -> np.ndarray:
        return np.fft.fftn(self.x.astype(np.complex128), axes=self.axes)

    def function(self, module: ModuleType) -> Any:
        """The function of a module `fft` that does this work, given the operand alone."""
        return module.fft if len(self.axes) == 1 else module.fftn
