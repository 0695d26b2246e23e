"""Operands of matrix multiplications: every dtype of every package, in every memory layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.linalg.advanced import Matmul, matrix_qualifiers_dtype
from planmath.linalg.advanced.providers import PROVIDERS
from tests.arrays import DEVICE, PACKAGES, dtype_of, missing, to_numpy, to_package
from tests.providers import provider_parameters

REAL = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGER = ("int8",)
DTYPES = {"numpy": ("float16", "float32", "float64", *COMPLEX), "torch": (*REAL, *COMPLEX, *INTEGER)}
DTYPES |= {"cupy": DTYPES["numpy"], "torch-cuda": DTYPES["torch"]}
#: Libraries that compute on a CUDA device.
ON_DEVICE = ("cublaslt",)

#: The result's dtype where it is not the operands'.
RESULT = {"int8": "int32"}


class Case(NamedTuple):
    """Who multiplies what: a library, arrays of a package, a dtype."""

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
    def result_dtype(self) -> str:
        return RESULT.get(self.dtype, self.dtype)

    def operand(self, shape: Sequence[int], layout: Callable[..., Any] | None = None, *, seed: int = 0) -> Any:
        """Random values; integers, so that sums of their products are exact in every dtype, with `exact`."""
        return place(random_values(shape, self.dtype, seed), self.dtype, self.package, layout)

    def exact(self, shape: Sequence[int], layout: Callable[..., Any] | None = None, *, seed: int = 0) -> Any:
        """Integers from -2 to 2: up to a length of 60, even bfloat16 holds sums of their products exactly."""
        return place(random_integers(shape, self.dtype, seed), self.dtype, self.package, layout)

    def addend(self, shape: Sequence[int], layout: Callable[..., Any] | None = None, *, seed: int = 7) -> Any:
        """A random c, of the result's dtype."""
        values = random_values(shape, self.dtype, seed)
        return place(values, self.result_dtype, self.package, layout)

    def like(self, values: Any, dtype: str | None = None, layout: Callable[..., Any] | None = None) -> Any:
        """The values as an array of the package."""
        return place(np.asarray(values), dtype or self.dtype, self.package, layout)


@cache
def refused(provider: str, package: str, dtype: str) -> str | None:
    """Why a library does not multiply a dtype on this processor, where it may on others."""
    if (provider, package, dtype) != ("torch", "torch", "bfloat16") or missing(package):
        return None
    a = place(np.ones((2, 2)), dtype, package)
    try:
        with Matmul(a, a, options={"provider": provider}) as product:
            product.plan()
    except UnavailableError as error:
        return str(error)
    return None


def cases(*dtypes: str, wide_results: bool = False) -> list[Any]:
    """All combinations of provider, package and dtype that exist, as parameters of a test.

    With `wide_results`, without the provider that has only results of the operands' dtype.
    """
    parameters: list[Any] = []
    for provider in provider_parameters(PROVIDERS):
        (name,) = provider.values
        missing = provider.marks[0].args[0]
        for package in PACKAGES:
            (of,) = package.values
            if (name in ON_DEVICE) != (of in DEVICE):
                continue
            for dtype in DTYPES[of]:
                if (dtypes and dtype not in dtypes) or (
                    name == "torch" and (of != "torch" or dtype in INTEGER or wide_results)
                ):
                    continue
                marks = [*provider.marks, *package.marks] if name != "torch" else package.marks
                if (reason := refused(name, of, dtype)) is not None:
                    marks = [*marks, pytest.mark.skipif(True, reason=reason)]
                if missing and name != "torch" and any(p.values[0].provider == name for p in parameters):
                    continue  # one that is skipped says it for all
                parameters.append(pytest.param(Case(name, of, dtype), marks=marks, id=f"{name}-{of}-{dtype}"))
    return parameters


def on_host(*dtypes: str) -> list[Any]:
    """The cases of the CPU alone."""
    return [parameter for parameter in cases(*dtypes) if not parameter.values[0].on_device]


def random_values(shape: Sequence[int], dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    if dtype in INTEGER:
        return rng.integers(-128, 128, shape)
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if dtype in COMPLEX else values


def random_integers(shape: Sequence[int], dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    values = rng.integers(-2, 3, shape)
    return values + 1j * rng.integers(-2, 3, shape) if dtype in COMPLEX else values


def place(values: np.ndarray, dtype: str, package: str, layout: Callable[..., Any] | None = None) -> Any:
    """The values, rounded to the dtype, as an array of the package with a memory layout (default: C order)."""
    arrange = layout or row_major
    if dtype == "bfloat16":  # which NumPy lacks: its bits
        import torch

        bits = torch.from_numpy(np.array(values, "f4")).to(torch.bfloat16).view(torch.int16).numpy()
        return to_package(arrange(bits), package).view(torch.bfloat16)
    return to_package(arrange(np.asarray(values).astype(dtype)), package)


def wide(array: Any) -> np.ndarray:
    """The values in a higher precision: long double for double, otherwise double."""
    name, values = dtype_of(array), to_numpy(array)
    if name == "bfloat16":  # the upper half of a float32
        values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    elif name.startswith("float8"):
        import torch

        values = torch.from_numpy(np.array(values)).view(getattr(torch, name)).double().numpy()
    of_double = {"float64": np.longdouble, "complex128": np.clongdouble}
    with np.errstate(invalid="ignore"):  # memory that nobody has written may hold signalling NaNs
        return values.astype(of_double.get(name, np.complex128 if values.dtype.kind == "c" else np.float64))


def with_auxiliary(result: Any) -> tuple[Any, dict[str, Any]]:
    """The result, and what comes with it, if anything does."""
    return result if isinstance(result, tuple) else (result, {})


def repeated(array: Any, shape: tuple[int, ...]) -> Any:
    """The array with steps of 0 along new axes, or those of one element."""
    if hasattr(array, "expand"):
        return array.expand(shape)
    module = np if isinstance(array, np.ndarray) else __import__("cupy")
    return module.broadcast_to(array, shape)


def qualifiers(*conjugate: bool) -> np.ndarray:
    array = np.zeros(3, matrix_qualifiers_dtype)
    array["is_conjugate"] = conjugate
    return array


# Memory layouts: functions from an array to one with the same values.


def row_major(values: np.ndarray) -> np.ndarray:
    return np.array(values, order="C")


def column_major(values: np.ndarray) -> np.ndarray:
    """The columns of each matrix one after the other."""
    if values.ndim < 2:
        return row_major(values)
    return np.array(np.swapaxes(values, -1, -2), order="C").swapaxes(-1, -2)


def padded_rows(values: np.ndarray) -> np.ndarray:
    """Row-major, with a leading dimension larger than the row; for a vector, with gaps between its elements."""
    if values.ndim < 2:
        return spread(values, 3)
    memory = np.full((*values.shape[:-1], values.shape[-1] + 3), poison(values.dtype))
    view = memory[..., 1:-2]
    view[...] = values
    return view


def padded_columns(values: np.ndarray) -> np.ndarray:
    """Column-major, with a leading dimension larger than the column; for a vector, a column of a matrix."""
    if values.ndim < 2:
        return spread(values, 5)
    return padded_rows(values.swapaxes(-1, -2)).swapaxes(-1, -2)


def spread(values: np.ndarray, step: int) -> np.ndarray:
    """Every `step`-th element of the first axis of an array."""
    memory = np.full((values.shape[0] * step, *values.shape[1:]), poison(values.dtype))
    view = memory[1::step]
    view[...] = values
    return view


def batch_spread(values: np.ndarray) -> np.ndarray:
    """Matrices of a batch that are apart in memory."""
    return spread(values, 2) if values.ndim > 2 else padded_rows(values)


def batch_inside(values: np.ndarray) -> np.ndarray:
    """The batch between the rows in memory: row 0 of all matrices, then row 1 of all."""
    if values.ndim < 3:
        return row_major(values)
    return np.moveaxis(np.array(np.moveaxis(values, -2, 0), order="C"), 0, -2)


def batch_backwards(values: np.ndarray) -> np.ndarray:
    """Batch axes with negative strides; only NumPy has such."""
    flip = (slice(None, None, -1),) * (values.ndim - 2)
    return np.array(values[flip], order="C")[flip]


#: Those of a single matrix, and those that only a batch can have.
MATRIX_LAYOUTS = (row_major, column_major, padded_rows, padded_columns)
BATCH_LAYOUTS = (batch_spread, batch_inside, batch_backwards)
#: Layouts that a package cannot express.
INEXPRESSIBLE = {("torch", batch_backwards), ("torch-cuda", batch_backwards)}


def poison(dtype: np.dtype) -> Any:
    """What no product gives: gaps are filled with it, so that one that is read shows."""
    bfloat16_nan = 0x7FC0
    return dtype.type(np.nan if dtype.kind in "fc" else {1: 77, 2: bfloat16_nan}.get(dtype.itemsize, 77777))
