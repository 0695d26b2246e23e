"""Dense systems of each structure: what is passed, what is said of it, and the matrix that is meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from planmath.core.accuracy import TOLERANCE
from planmath.linalg import (
    DiagonalMatrixQualifier,
    DiagType,
    FillMode,
    GeneralMatrixQualifier,
    HermitianMatrixQualifier,
    SymmetricMatrixQualifier,
    TriangularMatrixQualifier,
)

DTYPES = ("float32", "float64", "complex64", "complex128")
#: What `trans` makes of a matrix.
OPERATIONS = {"N": lambda a: a, "T": lambda a: np.swapaxes(a, -1, -2), "C": lambda a: np.swapaxes(a, -1, -2).conj()}
LOWER, UPPER = FillMode.LOWER, FillMode.UPPER
WIDE = {"float32": "longdouble", "float64": "longdouble", "complex64": "clongdouble", "complex128": "clongdouble"}


class Said(NamedTuple):
    """A matrix as it is passed, with NaN where it must not be read, what is said of it, and the whole of it."""

    passed: np.ndarray
    arguments: dict[str, Any]
    whole: np.ndarray


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def adjoint(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2).conj()


def _half(x: np.ndarray, uplo: FillMode) -> np.ndarray:
    """One triangle, and NaN in the other."""
    n = x.shape[-1]
    kept = np.tril(np.ones((n, n), bool)) if uplo == LOWER else np.triu(np.ones((n, n), bool))
    return np.where(kept, x, np.nan).astype(x.dtype)


def general(x: np.ndarray) -> Said:
    return Said(x, {}, x)


def conjugated(x: np.ndarray) -> Said:
    return Said(x, {"qualifiers": GeneralMatrixQualifier.create(conjugate=x.dtype.kind == "c")}, x.conj())


def definite(uplo: FillMode) -> Callable[[np.ndarray], Said]:
    def make(x: np.ndarray) -> Said:
        whole = x @ adjoint(x) + x.shape[-1] * np.eye(x.shape[-1], dtype=x.dtype)
        qualifier = HermitianMatrixQualifier.create(uplo=uplo)
        return Said(_half(whole, uplo), {"structure": "positive definite", "qualifiers": qualifier}, whole)

    return make


def symmetric(uplo: FillMode) -> Callable[[np.ndarray], Said]:
    def make(x: np.ndarray) -> Said:
        whole = x + np.swapaxes(x, -1, -2)
        return Said(_half(whole, uplo), {"qualifiers": SymmetricMatrixQualifier.create(uplo=uplo)}, whole)

    return make


def hermitian(uplo: FillMode) -> Callable[[np.ndarray], Said]:
    def make(x: np.ndarray) -> Said:
        whole = x + adjoint(x)
        return Said(_half(whole, uplo), {"qualifiers": HermitianMatrixQualifier.create(uplo=uplo)}, whole)

    return make


def triangular(uplo: FillMode, unit: bool) -> Callable[[np.ndarray], Said]:
    def make(x: np.ndarray) -> Said:
        n = x.shape[-1]
        x = x / n + np.eye(n, dtype=x.dtype) * (0 if unit else 2)
        passed, whole = _half(x, uplo), np.tril(x) if uplo == LOWER else np.triu(x)
        if unit:
            diagonal = np.eye(n, dtype=bool)
            passed, whole = np.where(diagonal, np.nan, passed), np.where(diagonal, 1, whole)
        diag = DiagType.UNIT if unit else DiagType.NON_UNIT
        qualifier = TriangularMatrixQualifier.create(uplo=uplo, diag=diag)
        return Said(passed.astype(x.dtype), {"qualifiers": qualifier}, whole.astype(x.dtype))

    return make


def diagonal(incx: int) -> Callable[[np.ndarray], Said]:
    def make(x: np.ndarray) -> Said:
        values = np.diagonal(x, axis1=-2, axis2=-1).copy()
        whole = values[..., ::incx, None] * np.eye(x.shape[-1], dtype=x.dtype)
        return Said(values, {"qualifiers": DiagonalMatrixQualifier.create(incx=incx)}, whole)

    return make


def banded(below: int, above: int, positive: bool = False) -> Callable[[np.ndarray], Said]:
    def make(x: np.ndarray) -> Said:
        n = x.shape[-1]
        if positive:
            x = x + adjoint(x) + 8 * n * np.eye(n, dtype=x.dtype)
        i, j = np.indices((n, n))
        width = max(below, above) if positive else 0
        whole = np.where((i - j <= (width or below)) & (j - i <= (width or above)), x, 0).astype(x.dtype)
        passed = np.full((*x.shape[:-2], below + above + 1, n), np.nan, x.dtype)
        for row, column in zip(*np.nonzero((i - j <= below) & (j - i <= above)), strict=True):
            passed[..., above + row - column, column] = whole[..., row, column]
        structure = {"structure": "positive definite"} if positive else {}
        return Said(passed, {"bandwidths": (below, above), **structure}, whole)

    return make


def found(make: Callable[[np.ndarray], Said]) -> Callable[[np.ndarray], Said]:
    """The same matrices, of which nothing is said."""

    def find(x: np.ndarray) -> Said:
        whole = make(x).whole
        return Said(whole, {"structure": "auto"}, whole)

    return find


STRUCTURES: dict[str, Callable[[np.ndarray], Said]] = {
    "general": general, "conjugated": conjugated, "definite": definite(LOWER), "upper definite": definite(UPPER),
    "symmetric": symmetric(LOWER), "upper symmetric": symmetric(UPPER), "Hermitian": hermitian(LOWER),
    "upper Hermitian": hermitian(UPPER), "triangular": triangular(LOWER, False),
    "upper triangular": triangular(UPPER, False), "unit triangular": triangular(LOWER, True),
    "upper unit triangular": triangular(UPPER, True), "diagonal": diagonal(1), "diagonal backwards": diagonal(-1),
    "tridiagonal": banded(1, 1), "banded": banded(2, 1), "bidiagonal": banded(0, 1),
    "definite band": banded(2, 0, True), "upper definite band": banded(0, 1, True), "found general": found(general),
    "found definite": found(definite(LOWER)), "found symmetric": found(symmetric(LOWER)),
    "found Hermitian": found(hermitian(LOWER)), "found triangular": found(triangular(UPPER, False)),
    "found diagonal": found(diagonal(1)), "found tridiagonal": found(banded(1, 1)),
}  # fmt: skip


def assert_solves(a: np.ndarray, x: np.ndarray, b: np.ndarray, dtype: str) -> None:
    """Backward errors are within the bound, found in extended precision (Rigal and Gaches, 1967)."""
    wide = WIDE[dtype]
    a, x, b = a.astype(wide), x.astype(wide), b.astype(wide)
    if x.ndim == 1:
        x, b = x[:, None], b[:, None]
    residual = np.linalg.norm(abs(b - a @ x).astype("float64"), axis=-2)
    norm = np.linalg.norm(abs(a).astype("float64"), axis=(-2, -1))[..., None]
    sizes = [np.linalg.norm(abs(v).astype("float64"), axis=-2) for v in (x, b)]
    assert np.all(residual <= 2 * TOLERANCE[dtype] * (norm * sizes[0] + sizes[1]))
