"""Operands of contractions: every dtype of every package, in every memory layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from planmath.tensor.providers import PROVIDERS
from tests.arrays import DEVICE_PACKAGES, HOST_PACKAGES
from tests.linalg.operands import place, poison, random_values
from tests.providers import provider_parameters

DTYPES = {
    "numpy": ("float16", "float32", "float64", "complex64", "complex128"),
    "torch": ("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
}
DTYPES |= {"cupy": DTYPES["numpy"], "torch-cuda": DTYPES["torch"]}
#: Libraries that compute on a CUDA device.
ON_DEVICE = ("cutensor",)


class Case(NamedTuple):
    """Who contracts what: a provider, arrays of a package, a dtype."""

    provider: str
    package: str
    dtype: str

    @property
    def options(self) -> dict[str, Any]:
        return {"provider": self.provider}

    @property
    def on_device(self) -> bool:
        return self.provider in ON_DEVICE

    @property
    def between(self) -> str:
        """The dtype of intermediate results, if they are rounded more than sums are; cuTENSOR converts no bfloat16."""
        return self.dtype if self.on_device and self.dtype == "bfloat16" else ""

    def operand(self, shape: Sequence[int], layout: Callable[..., Any] | None = None, *, seed: int = 0) -> Any:
        return place(random_values(shape, self.dtype, seed), self.dtype, self.package, layout or np.array)

    def like(self, values: Any) -> Any:
        return place(np.asarray(values), self.dtype, self.package, np.array)


def cases(*dtypes: str) -> list[Any]:
    """All combinations of provider, package and dtype that need no copies to another space, as parameters of a test."""
    parameters: list[Any] = []
    for provider in provider_parameters(PROVIDERS):
        (name,) = provider.values
        of_provider = [
            pytest.param(
                Case(name, package.values[0], dtype),
                marks=[*provider.marks, *package.marks],
                id=f"{name}-{package.values[0]}-{dtype}",
            )
            for package in (DEVICE_PACKAGES if name in ON_DEVICE else HOST_PACKAGES)
            for dtype in DTYPES[package.values[0]]
            if not dtypes or dtype in dtypes
        ]
        missing = provider.marks[0].args[0]
        parameters += of_provider[:1] if missing else of_provider  # one that is skipped says it for all
    return parameters


# Memory layouts: functions from an array to one with the same values.


def reversed_axes(values: np.ndarray) -> np.ndarray:
    return np.array(values, order="F")


def gaps(values: np.ndarray) -> np.ndarray:
    """Every other element along each axis."""
    memory = np.full([2 * n for n in values.shape], poison(values.dtype), values.dtype)
    view = memory[tuple(slice(0, None, 2) for _ in values.shape)]
    view[...] = values
    return view


def padded(values: np.ndarray) -> np.ndarray:
    """With more memory along the last axis than it uses."""
    if values.ndim == 0:
        return np.array(values)
    memory = np.full((*values.shape[:-1], values.shape[-1] + 3), poison(values.dtype), values.dtype)
    view = memory[..., 1:-2]
    view[...] = values
    return view


def rolled(values: np.ndarray) -> np.ndarray:
    """The first axis the fastest in memory, the others in their order."""
    return np.moveaxis(np.array(np.moveaxis(values, 0, -1), order="C"), -1, 0) if values.ndim else np.array(values)


def backwards(values: np.ndarray) -> np.ndarray:
    """Negative strides, which PyTorch lacks."""
    flip = (slice(None, None, -1),) * values.ndim
    return np.array(values[flip])[flip]


LAYOUTS = (np.array, reversed_axes, gaps, padded, rolled, backwards)
INEXPRESSIBLE = {("torch", backwards), ("torch-cuda", backwards)}
