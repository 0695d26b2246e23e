"""What every provider makes of NaN, infinity, zeros with a sign, subnormals and overflow.

What `docs/architecture.md` says of it is the same in all of them: a provider that differs is not exchangeable for the
others, and autotuning could change a result. So each test takes all algorithms of a provider.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from planmath.core.arrays import COMPLEX_OF
from tests.arrays import to_numpy, to_package
from tests.fft.operands import random_operand
from tests.fft.reference import FORWARD, INVERSE, assert_accurate
from tests.fft.test_conformance import planned

KINDS = pytest.mark.parametrize("kind", ["C2C", "R2C", "C2R"])
PRECISIONS = pytest.mark.parametrize("precision", ["float32", "float64"])
SPECIAL = pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
#: A product, a prime, two that libraries turn into convolutions, and several axes. The first axis is a batch.
SHAPES = pytest.mark.parametrize("shape", [(4, 9), (4, 17), (4, 101), (4, 1031), (3, 8, 9), (3, 5, 33)])


def results(values: np.ndarray, kind: str, provider: str, package: str, parity: str = "even") -> Iterator[np.ndarray]:
    """The transform along all axes but the first, by each algorithm."""
    axes = tuple(range(1, values.ndim))
    operand = to_package(values, package)
    with planned(operand, axes, provider=provider, fft_type=kind, last_axis_parity=parity) as transform:
        for algorithm in transform._plan_made.algorithms:
            transform._make_plan(transform._problem, transform._slots, [algorithm])
            with np.errstate(all="raise"):
                result = transform.execute()
            yield to_numpy(result)


def others(shape: tuple[int, ...], kind: str, provider: str) -> list[int]:
    """The transforms of a batch beside the second one that have nothing of it."""
    if kind == "R2C" and provider == "cufft" and shape[-1] == 1031:  # of large primes, it computes pairs of transforms
        return list(range(2, shape[0]))
    return [0, *range(2, shape[0])]


def filled(kind: str, precision: str, shape: tuple[int, ...], value: float) -> np.ndarray:
    return np.full(shape, value, precision if kind == "R2C" else COMPLEX_OF[precision])


@pytest.mark.pairwise(times=2)
@KINDS
@PRECISIONS
@SHAPES
@SPECIAL
def test_what_is_not_finite_stays_in_its_transform_and_is_all_over_it(
    provider, package, kind, precision, shape, special
):
    axes = tuple(range(1, len(shape)))
    values = random_operand(kind, precision, shape, axes)
    values[(1, *(n // 2 for n in shape[1:]))] = {
        "C2C": complex(1, special), "R2C": special, "C2R": complex(special, special)
    }[kind]  # fmt: skip
    unharmed = others(shape, kind, provider)
    for result in results(values, kind, provider, package):
        assert not np.isfinite(result[1]).any()
        assert_accurate(result[unharmed], kind, values[unharmed], axes, INVERSE if kind == "C2R" else FORWARD)


@pytest.mark.pairwise(times=2)
@PRECISIONS
@pytest.mark.parametrize("shape", [(4, 2), (4, 9), (4, 17), (4, 101), (4, 1031)])
@SPECIAL
@pytest.mark.parametrize("parity", ["even", "odd"])
def test_parts_that_c2r_ignores_may_be_anything(provider, package, precision, shape, special, parity):
    values = random_operand("C2R", precision, shape, (1,), parity)
    given = values.copy()
    given.imag[:, [0, -1] if parity == "even" else [0]] = special
    for result in results(given, "C2R", provider, package, parity):
        assert_accurate(result, "C2R", values, (1,), INVERSE, parity)


@pytest.mark.pairwise
@KINDS
@PRECISIONS
@SHAPES
def test_zeros_of_any_sign(provider, package, kind, precision, shape):
    for result in results(-filled(kind, precision, shape, 0), kind, provider, package):
        assert not result.any()


@pytest.mark.pairwise(times=2)
@KINDS
@PRECISIONS
@SHAPES
def test_subnormals_are_kept(provider, package, kind, precision, shape):
    """They are multiples of a unit, so all that is computed with them is off by half of one.

    For 2^16 of them that is far less than their 64th part, and flushing them, or what is computed on the way, is more.
    Long double shows it also where the whole thread flushes.
    """
    values = filled(kind, precision, shape, 0)
    info = np.finfo(precision)
    values[(slice(None), *[0] * (values.ndim - 1))] = 2**16 * info.smallest_subnormal
    unit = np.ldexp(np.longdouble(1), info.minexp - info.nmant)
    for result in results(values, kind, provider, package):
        assert (np.abs(result.astype(np.clongdouble) / unit - 2**16) <= 2**10).all()


@pytest.mark.pairwise
@KINDS
@PRECISIONS
@SHAPES
def test_overflow_is_not_finite_and_stays_in_its_transform(provider, package, kind, precision, shape):
    """The first result is the sum of all elements, which is beyond the largest number."""
    values = filled(kind, precision, shape, 1)
    values[1] = np.finfo(precision).max / 2
    first = (1, *[0] * (values.ndim - 1))
    for result in results(values, kind, provider, package):
        assert not np.isfinite(result[first])
        assert np.isfinite(result[others(shape, kind, provider)]).all()
