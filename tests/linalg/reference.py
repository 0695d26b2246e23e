"""Products in higher precision, and how near to them a result must be."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tests.linalg.operands import Case, dtype_of, wide

#: Unit roundoff: half the distance from 1 to the next larger number.
ROUNDOFF = {
    "float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53, "complex64": 2.0**-24,
    "complex128": 2.0**-53, "int32": 0.0,
}  # fmt: skip
#: The smallest positive number: below its half, every result is rounded to 0.
SMALLEST = {
    "float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074, "complex64": 2.0**-149,
    "complex128": 2.0**-1074, "int32": 0.0,
}  # fmt: skip
#: The unit roundoff of the arithmetic in which products of a dtype are summed. Those of int8 are exact.
SUMMED = {
    "float16": 2.0**-24, "bfloat16": 2.0**-24, "float32": 2.0**-24, "float64": 2.0**-53, "complex64": 2.0**-24,
    "complex128": 2.0**-53, "int8": 0.0,
}  # fmt: skip


class Reference(NamedTuple):
    """What a product should be, and how far off each element may be."""

    values: np.ndarray
    bound: np.ndarray


def gamma(n: int, u: float) -> float:
    """γ_n = n u / (1 - n u), the bound for the relative error of n roundings."""
    return n * u / (1 - n * u)


def reference(
    case: Case, a: Any, b: Any, c: Any = None, *, alpha: complex = 1.0, beta: complex = 0.0,
    conjugate: tuple[bool, ...] = (False, False, False), result: str | None = None, summed: str | None = None,
) -> Reference:  # fmt: skip
    """alpha a b + beta c for operands as the user passes them, with an elementwise bound for the error.

    A product whose elements are sums of k products, in whatever order, has |error| ≤ γ_k |a| |b|, where the moduli are
    elementwise (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.5, (3.13)).
    Scaling by alpha, and adding c, scaled by beta, are three more roundings. Complex products have √2 γ_{k+2} in place
    of γ_k (section 3.6). The result is then rounded to its dtype, once, but up to three times by a library that
    multiplies, scales and adds in separate steps.
    """
    x, y = (np.conj(wide(array)) if flag else wide(array) for array, flag in zip((a, b), conjugate, strict=False))
    x, y = np.atleast_2d(x), (y[:, None] if y.ndim == 1 else y)
    values = alpha * (x @ y)
    size = abs(alpha) * (abs(x) @ abs(y))
    if c is not None:
        z = np.conj(wide(c)) if conjugate[2] else wide(c)
        values = values + beta * z
        size = size + abs(beta) * abs(z)
    k = x.shape[-1]
    u = ROUNDOFF[summed] if summed else SUMMED[case.dtype]
    summing = np.sqrt(2) * gamma(k + 5, u) if np.iscomplexobj(values) else gamma(k + 3, u)
    result = result or case.result_dtype
    roundings = 3 if case.provider == "torch" and ROUNDOFF[result] > u else 1
    rounding = gamma(roundings, ROUNDOFF[result]) if ROUNDOFF[result] > u else 0.0
    bound = (summing + rounding * (1 + summing)) * size + roundings * SMALLEST[result]
    return Reference(values, bound)


def squeezed(values: np.ndarray, a: Any, b: Any) -> np.ndarray:
    """Without the axes that vectors lack."""
    if b.ndim == 1:
        values = values[..., 0]
    if a.ndim == 1:
        values = values[..., 0] if b.ndim == 1 else values[..., 0, :]
    return values


def assert_near(result: Any, expected: Reference, what: object = "") -> None:
    """Check each element against the reference's bound for it."""
    assert tuple(result.shape) == expected.values.shape, what
    error = abs(wide(result) - expected.values)
    if not (error <= expected.bound).all():
        worst = np.nanmax(error / np.maximum(expected.bound, np.finfo(float).tiny))
        raise AssertionError(
            f"{what}: {np.sum(~(error <= expected.bound))} of {error.size} elements of {dtype_of(result)} are off, "
            f"by up to {worst:.3g} times their bound"
        )


def assert_product(result: Any, case: Case, a: Any, b: Any, c: Any = None, *, what: object = "", **scales: Any) -> None:
    """Check values, shape, package and dtype of a product."""
    expected = reference(case, a, b, c, **scales)
    expected = Reference(squeezed(expected.values, a, b), squeezed(expected.bound, a, b))
    assert dtype_of(result) == (scales.get("result") or case.result_dtype), what
    assert type(result) is type(a), what
    assert_near(result, expected, what)


# Epilogs.

SQRT_8_OVER_PI = 2 * np.sqrt(2 / np.longdouble("3.14159265358979323846264338327950288"))


def exponent(x: np.ndarray) -> np.ndarray:
    """2u of GELU's tanh form 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = √(2/π) (x + 0.044715 x³)."""
    return SQRT_8_OVER_PI * (x + np.longdouble("0.044715") * x**3)


def relu(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, 0, x)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(x)


def gelu_derivative(x: np.ndarray) -> np.ndarray:
    return _sigmoid(x) + _bell(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-2u)), in long double."""
    return 1 / (1 + np.exp(np.minimum(-exponent(x.astype(np.longdouble)), 11000)))


def _bell(x: np.ndarray) -> np.ndarray:
    """The derivative's second term: x times the derivative of the first."""
    return (
        x
        * _sigmoid(x)
        * _sigmoid(-x)
        * SQRT_8_OVER_PI
        * (1 + 3 * np.longdouble("0.044715") * x.astype(np.longdouble) ** 2)
    )


#: How near a device comes to GELU, relative to x, and to its derivative: it computes tanh with few instructions. No
#: documentation says it; an H200 was measured at less than half of each.
DEVICE_GELU = {"float32": 2.0**-17, "float64": 2.0**-31}
DEVICE_GELU_DERIVATIVE = {"float32": 2.0**-15, "float64": 2.0**-30}


def gelu_bound(x: np.ndarray, dtype: str, *, on_device: bool = False) -> np.ndarray:
    """How far GELU of x, computed in float32 or float64, may be off.

    For positive x, two units in the last place. For negative x the exponential dominates the denominator; its relative
    error is the absolute one of its argument 2u, which a few roundings make: 2 (2 + |2u|) units. Where x exp(2u) leaves
    the range of normal numbers, the result may be 0.
    """
    if on_device:
        return DEVICE_GELU[dtype] * np.abs(x)
    return _units(x) * ROUNDOFF[dtype] * np.abs(gelu(x)) + 40 * _smallest_normal(dtype)


def gelu_derivative_bound(x: np.ndarray, dtype: str, *, on_device: bool = False) -> np.ndarray:
    """The same for the derivative, relative to the sum of its terms' moduli, which cancel near -0.75.

    The second term is larger than the exponential by up to the factor 2u x, which is below 4000 where that is in range.
    """
    if on_device:
        return np.full(x.shape, DEVICE_GELU_DERIVATIVE[dtype])
    size = _sigmoid(x) + np.abs(_bell(x))
    return _units(x) * ROUNDOFF[dtype] * size + 4000 * _smallest_normal(dtype)


def _units(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, 4 * (2 + np.abs(exponent(x))), 4)


def _smallest_normal(dtype: str) -> float:
    return float(np.finfo(dtype).smallest_normal)
