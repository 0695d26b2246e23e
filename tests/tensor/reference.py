"""Contractions in higher precision, and how near to them a result must be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tests.linalg.operands import dtype_of, wide
from tests.linalg.reference import ROUNDOFF, SMALLEST, SUMMED, gamma


class Reference(NamedTuple):
    """What a contraction should be, and how far off each element may be."""

    values: np.ndarray
    bound: np.ndarray


def numbered(expr: Any, count: int) -> list[list[Any]]:
    """The modes of the operands, and of the result, as lists."""
    if not isinstance(expr, str):
        return [list(modes) for modes in expr]
    inputs, _, output = expr.replace(" ", "").partition("->")
    return [[Ellipsis if mode == "." else mode for mode in term.replace("...", ".")] for term in
            [*inputs.split(","), *([output] if "->" in expr else [])]]  # fmt: skip


def einsum(expr: Any, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """NumPy's einsum, which counts modes by integers."""
    terms = numbered(expr, len(arrays))
    numbers: dict[Any, Any] = {Ellipsis: Ellipsis}
    if len(terms) == len(arrays):  # NumPy sorts its own numbers, so they must be in the order of the modes
        for mode in sorted({m for term in terms for m in term} - {Ellipsis}):
            numbers[mode] = len(numbers) - 1
    arguments: list[Any] = []
    for array, term in zip(arrays, terms, strict=False):
        arguments += [array, [numbers.setdefault(mode, len(numbers) - 1) for mode in term]]
    if len(terms) > len(arrays):
        arguments.append([numbers[mode] for mode in terms[-1]])
    return np.asarray(np.einsum(*arguments))


def reference(
    expr: Any,
    arrays: Sequence[Any],
    c: Any = None,
    *,
    alpha: complex = 1.0,
    beta: complex = 0.0,
    steps: int = 1,
    between: str = "",
) -> Reference:
    """alpha times the contraction plus beta c, with a bound for the error of each element.

    A sum of n products, in whatever order, has an error of at most γ_n times the sum of the moduli (N. J. Higham,
    "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1); scaling and adding are three roundings
    more, and complex ones have √2 γ_{n+2} (section 3.6). Where several contractions follow each other, `steps`, the
    bounds add up; each but the last is rounded to `between`, if given. The result is rounded to its dtype at last.
    """
    exact = [wide(array) for array in arrays]
    dtype = dtype_of(arrays[0])
    values = alpha * einsum(expr, exact)
    moduli = abs(alpha) * einsum(expr, [abs(array) for array in exact])
    if c is not None:
        values = values + beta * wide(c)
        moduli = moduli + abs(beta) * abs(wide(c))
    length = math.prod(n for array in arrays for n in array.shape)
    terms = numbered(expr, len(arrays))
    extents = {mode: n for array, term in zip(arrays, terms, strict=False) if Ellipsis not in term
               for mode, n in zip(term, array.shape, strict=True) if n > 1}  # fmt: skip
    if all(Ellipsis not in term for term in terms):
        length = math.prod(extents.values())
    factor = math.sqrt(2) if dtype.startswith("complex") else 1.0
    bound = (steps * factor * gamma(length + 5, SUMMED[dtype]) + (steps - 1) * ROUNDOFF.get(between, 0.0)) * moduli
    rounding = ROUNDOFF[dtype] * abs(values) if dtype in ("float16", "bfloat16") else 0.0
    return Reference(values, np.asarray(bound * (1 + ROUNDOFF[dtype]) + rounding + SMALLEST[dtype], float))


def assert_near(result: Any, expected: Reference) -> None:
    """The result has the right shape, and each element is within its bound."""
    values = wide(result)
    assert values.shape == expected.values.shape
    off = ~(abs(values - expected.values) <= expected.bound)  # of NaN as well
    assert not np.any(off), (values[off][:5], expected.values[off][:5], expected.bound[off][:5])
