"""Solutions that are looked at on the host: refined by their residuals, solved in the range of their dtype, and judged
where they are solutions in the sense of least squares."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from planmath.core.accuracy import Judge, Request, SolutionInfo, carry_out


class Refinement:
    """Refines a solution by its residual."""

    def __init__(self, judge: Judge, a: np.ndarray, b: np.ndarray, x: np.ndarray, solve: Any):
        self.judge, self.a, self.b, self.x, self.solve = judge, a, b, x, solve
        self.residual = self.better = x

    @np.errstate(all="ignore")
    def run(self) -> SolutionInfo:
        return carry_out(self.judge.decide(None), {
            Request.RESIDUAL: lambda: self.errors(self.x),
            Request.REFINE: self.refine,
            Request.KEEP: lambda: np.copyto(self.x, self.better),
            Request.DISCARD: lambda: self.errors(self.x),
            Request.FORWARD: self.forward,
        })  # fmt: skip

    def refine(self) -> tuple[float, float]:
        self.better = self.x + self.solve(self.residual)
        return self.errors(self.better)

    def errors(self, x: np.ndarray) -> tuple[float, float]:
        """The largest backward error and growth of the columns."""
        wide = {"float32": np.float64, "complex64": np.complex128}.get(str(x.dtype), x.dtype)
        residual = self.b.astype(wide) - self.a.astype(wide, copy=False) @ x.astype(wide, copy=False)
        self.residual = residual.astype(x.dtype)
        r, y, b = (np.array([size(column) for column in columns.T]) for columns in (residual, x, self.b))
        products = self.judge.norm * y
        scale = products + b
        error = np.where(scale == 0, 0, r / scale).max()
        return float(error), float(np.where(products == 0, 0, products / b).max())

    def forward(self) -> float:
        """The largest relative error of an unknown, estimated as LAPACK's gerfs does, by one solution."""
        rounding = float(np.finfo(self.x.dtype).eps)
        sums = np.abs(self.a) @ np.abs(self.x) + np.abs(self.b)
        signs = np.where(np.random.default_rng(len(self.x)).random(self.x.shape) < 0.5, -1.0, 1.0)
        effect = self.solve((signs * (np.abs(self.residual) + rounding * sums)).astype(self.x.dtype))
        sizes = np.abs(self.x)
        relative = np.abs(effect) / np.maximum(sizes, rounding * sizes.max(axis=0))
        return float(np.inf if np.isnan(relative).any() else relative.max())


def refined_in_range(
    judge: Judge, a: np.ndarray, b: np.ndarray, x: np.ndarray, solve: Callable[[np.ndarray], np.ndarray]
) -> SolutionInfo:  # fmt: skip
    """Solve a system of which something is at an end of the dtype's range, scaled by powers of two.

    Factors of such a matrix may be wrong where the system is not: libraries multiply by reciprocals, which are infinite
    of subnormal numbers, and squares and sums overflow. Where that is not the whole matrix but a pivot, each row and
    each column has a scale of its own.
    """
    rows, cols = np.zeros((len(a), 1), int), np.zeros(len(a), int)
    if is_extreme(a):
        rows[...] = exponent(a)
    elif not np.isfinite(x).all():
        rows[:, 0] = [exponent(row) for row in a]
        cols[...] = [exponent(column) for column in scaled(a, -rows).T]
    own = rows.any() or cols.any()
    of_b = max((exponent(row) - int(of_row) for row, (of_row,) in zip(b, rows, strict=True) if row.any()), default=0)
    a, b = scaled(a, -rows - cols), scaled(b, -of_b - rows)
    judge.norm = size(a)

    def solve_in_range(side: np.ndarray) -> np.ndarray:
        return np.linalg.solve(a, side) if own else solve(side)

    inside = np.ascontiguousarray(solve_in_range(b))
    refinement = Refinement(judge, a, b, inside, solve_in_range)
    info = refinement.run()
    by = of_b - cols[:, None]
    x[...] = scaled(inside, by)
    with np.errstate(all="ignore"):  # what is left of it in the dtype's range
        error, growth = refinement.errors(scaled(x, -by))
    return info if error <= info.tolerance else judge.info(error, False, info.refinement_steps, growth)


def exponent(values: np.ndarray) -> int:
    """That of the largest part of a number: the power of two by which none is larger than 1."""
    return int(np.frexp(max(np.abs(part).max(initial=0) for part in (values.real, values.imag)))[1])


@np.errstate(all="ignore")
def scaled(values: np.ndarray, by: int | np.ndarray) -> np.ndarray:
    """Numbers times powers of two, which may be out of the dtype's range."""
    if not np.iscomplexobj(values):
        return np.ldexp(values, by)
    made = np.empty_like(values)
    made.real, made.imag = np.ldexp(values.real, by), np.ldexp(values.imag, by)
    return made


def is_extreme(values: np.ndarray) -> bool:
    """Whether the largest number is so near to an end of the dtype's range that sums or reciprocals leave it."""
    kind = np.finfo(values.dtype)
    margin = kind.nmant + 16
    return not kind.minexp + margin <= exponent(values) <= kind.maxexp - margin and bool(values.any())


def is_out_of_range(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> bool:
    """Whether factors may be wrong because of where in the dtype's range a system is."""
    return is_extreme(a) or is_extreme(b) or not np.isfinite(x).all()


def least_squares(
    a: np.ndarray, b: np.ndarray, x: np.ndarray, rank_tolerance: float | None
) -> tuple[SolutionInfo, int | None]:  # fmt: skip
    """How good solutions in the sense of least squares are.

    Where something is at an end of the dtype's range, of which factors may be wrong, they are solved for anew, scaled
    by powers of two.

    Parameters
    ----------
    a, b, x : numpy.ndarray
    rank_tolerance : float or None
        The part of the largest singular value that counts as zero, where the rank is to be found out.

    Returns
    -------
    SolutionInfo
    int or None
        The rank, where they were solved for anew.
    """
    rank = None
    if is_out_of_range(a, b, x):
        of_a, of_b = exponent(a), exponent(b)
        a, b = scaled(a, -of_a), scaled(b, -of_b)
        with suppress(np.linalg.LinAlgError):
            found, _, rank, _ = np.linalg.lstsq(a, b, rank_tolerance)
            x[...] = scaled(found, of_b - of_a)
        x = scaled(x, of_a - of_b)
    return _judged(a, b, x, rank_tolerance), rank


@np.errstate(all="ignore")
def _judged(a: np.ndarray, b: np.ndarray, x: np.ndarray, rank_tolerance: float | None) -> SolutionInfo:
    """How far the residual is from being orthogonal to the columns, beside the sizes of all."""
    norm = size(a)
    residual = b - a @ x
    exact = a.shape[0] < a.shape[1] and rank_tolerance is None
    across = residual if exact else a.conj().T @ residual / (norm or 1)
    r, y, side = (np.array([size(column) for column in columns.T]) for columns in (across, x, b))
    return info_of_least_squares(Judge(str(a.dtype)), norm * y, r, side, rank_tolerance)


@np.errstate(all="ignore")
def info_of_least_squares(
    judge: Judge, products: np.ndarray, residuals: np.ndarray, sides: np.ndarray, rank_tolerance: float | None
) -> SolutionInfo:
    """The same by the sizes of all for each column; what is NaN is not accurate."""
    scale = products + sides
    error = float(np.where(scale == 0, 0, np.where(scale < np.inf, residuals / scale, np.nan)).max())
    growth = float(np.where(sides == 0, 0, products / sides).max())
    info = judge.info(error, False, 0, growth)
    if rank_tolerance is None:
        return info
    return info._replace(accurate=error <= info.tolerance + rank_tolerance)  # of the matrix that is left out as well


def size(values: np.ndarray) -> float:
    """The root of the sum of squares, also of those that are out of range."""
    sizes = np.abs(values)
    largest = float(sizes.max(initial=0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.linalg.norm(sizes / largest))
