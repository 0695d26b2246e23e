"""Results that are known to be symmetric or Hermitian."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.linalg import Matmul, matmul
from planmath.linalg.generic.providers import PROVIDERS
from tests.generic.operands import Kind, assert_close, laid, numbers, qualifiers
from tests.providers import on_host

GE, SY, HE = Kind("ge"), Kind("sy"), Kind("he")
NAMES = [p.name for p in on_host(PROVIDERS) if p.unavailable() is None and p.name != "planmath"]


def check_results(provider: str, execution: str | None = None) -> None:
    """Every way to compute products of a matrix with its transposed or adjoint one."""
    rng = np.random.default_rng(0)
    for result, dtype, order, batch in (
        (SY, "float64", "rows", ()), (HE, "float32", "columns", (2,)), (HE, "complex128", "rows", ()),
        (HE, "complex64", "columns", (3,)), (SY, "complex128", "strided", ()),
    ):  # fmt: skip
        for n, k in ((64, 5), (67, 1), (301, 40), (8, 8)):
            x = laid(numbers(rng, (*batch, n, k), dtype), order)
            other = Kind("ge", conjugate=result is HE and dtype.startswith("complex"))
            y = np.swapaxes(x, -1, -2).copy("K")
            wide = x.astype(np.clongdouble)
            product = wide @ other.dense(y)
            magnitude = np.abs(wide) @ np.abs(other.dense(y))
            c = numbers(rng, (*batch, n, n), dtype)
            c = c + (np.swapaxes(c, -1, -2).conj() if result is HE else np.swapaxes(c, -1, -2))
            for inplace in (None, False, True):
                given = () if inplace is None else (laid(c, "columns"),)
                beta = None if inplace is None else 2.0
                options = {"provider": provider, "inplace": bool(inplace)}
                expected = product if inplace is None else product + 2 * c
                size = magnitude if inplace is None else magnitude + 2 * np.abs(c)
                with Matmul(
                    x, y, *given, beta=beta, qualifiers=qualifiers(GE, other, result), options=options,
                    execution=execution,
                ) as operation:  # fmt: skip
                    operation.plan()
                    ways = [way.get("product") for way in operation._plan_made.algorithms]
                    assert ("gemmt" in ways) == (n >= 64)
                    for way in operation._plan_made.algorithms:
                        operation._add_program(way, way)
                        if inplace:
                            operation.reset_operands(c=laid(c, "columns"))
                        found = np.array(operation._execute(way, None))
                        assert_close(found, expected, size, dtype, k)
                        if way.get("product") == "gemmt":
                            mirrored = np.swapaxes(found, -1, -2)
                            real = not dtype.startswith("complex")
                            np.testing.assert_array_equal(found, mirrored if result is SY or real else mirrored.conj())


@pytest.mark.parametrize("name", NAMES)
def test_results(name):
    check_results(name)


def test_structured_factors_and_small_results_are_computed_as_ever():
    rng = np.random.default_rng(1)
    x = numbers(rng, (100, 100), "float64")
    symmetric = x + x.T
    np.testing.assert_allclose(matmul(symmetric, np.eye(100), qualifiers=qualifiers(SY, GE, SY)), symmetric, rtol=1e-12)
