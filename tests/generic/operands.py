"""Operands of generic products: a case, its arrays in any layout, and what the product is in extended precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planmath.linalg import (
    DiagonalMatrixQualifier,
    DiagType,
    FillMode,
    GeneralMatrixQualifier,
    HermitianMatrixQualifier,
    SymmetricMatrixQualifier,
    TriangularMatrixQualifier,
    matrix_qualifiers_dtype,
)

DTYPES = ("float32", "float64", "complex64", "complex128")
#: How a matrix lies: by rows, by columns, with gaps, backwards, every other column, and one that is repeated.
LAYOUTS = ("rows", "columns", "gaps", "backwards", "strided")
LOWER, UPPER = FillMode.LOWER, FillMode.UPPER


class Kind(NamedTuple):
    """What an operand is."""

    name: str
    uplo: FillMode = LOWER
    unit: bool = False
    incx: int = 1
    conjugate: bool = False

    def qualifier(self) -> np.ndarray:
        c = self.conjugate
        if self.name == "tr":
            return TriangularMatrixQualifier.create(c, self.uplo, DiagType.UNIT if self.unit else DiagType.NON_UNIT)
        if self.name == "dg":
            return DiagonalMatrixQualifier.create(c, self.incx)
        if self.name == "ge":
            return GeneralMatrixQualifier.create(c)
        return {"sy": SymmetricMatrixQualifier, "he": HermitianMatrixQualifier}[self.name].create(c, self.uplo)

    def dense(self, stored: np.ndarray) -> np.ndarray:
        """The matrices that stored elements stand for, in extended precision."""
        x = stored.astype(np.clongdouble if stored.dtype.kind == "c" else np.longdouble)
        if self.name == "dg":
            x = x[..., :: self.incx]
            x = np.eye(x.shape[-1], dtype=x.dtype) * x[..., None, :]
        elif self.name != "ge":
            upper = self.uplo == UPPER
            triangle = np.triu(x) if upper else np.tril(x)
            strict = np.triu(x, 1) if upper else np.tril(x, -1)
            mirrored = np.swapaxes(strict, -1, -2)
            if self.name == "sy":
                x = triangle + mirrored
            elif self.name == "he":
                x = strict + mirrored.conj() + np.where(np.eye(x.shape[-1], dtype=bool), x.real, 0)
            else:
                x = strict + np.eye(x.shape[-1]) if self.unit else triangle
        return x.conj() if self.conjugate else x


def qualifiers(*kinds: Kind) -> np.ndarray:
    return np.array([kind.qualifier() for kind in kinds], dtype=matrix_qualifiers_dtype)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def laid(x: np.ndarray, layout: str) -> np.ndarray:
    """The same elements in another layout of the last two axes, or of the last one."""
    if x.ndim == 1:
        layout = "rows" if layout in ("columns", "gaps") else layout
    if layout == "columns":
        return np.swapaxes(np.swapaxes(x, -1, -2).copy(), -1, -2)
    if layout == "gaps":
        wide = np.full((*x.shape[:-1], x.shape[-1] + 3), np.nan, x.dtype)
        wide[..., :-3] = x
        return wide[..., :-3]
    if layout == "backwards":
        return x[..., ::-1].copy()[..., ::-1]
    if layout == "strided":
        wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    return x.copy()


def spoiled(x: np.ndarray, kind: Kind) -> np.ndarray:
    """NaN wherever the product must not read."""
    x = x.copy()
    if kind.name in ("sy", "he", "tr"):
        n = x.shape[-1]
        unread = np.triu(np.ones((n, n), bool), 1) if kind.uplo == LOWER else np.tril(np.ones((n, n), bool), -1)
        x[..., unread] = np.nan
        if kind.unit:
            x[..., np.eye(n, dtype=bool)] = np.nan
    return x


def assert_close(result: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, dtype: str, k: int) -> None:
    """Errors of each element are at most those of sums of k products (Higham, Accuracy and Stability, section 3.1)."""
    unit = np.finfo(dtype).eps
    bound = (k + 8) * unit * magnitude * (4 if dtype.startswith("complex") else 2) + np.finfo(dtype).tiny
    assert result.shape == expected.shape
    assert np.all(np.abs(result - expected) <= bound)
