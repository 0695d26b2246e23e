"""Plans of generic products: repeated, tuned, remembered, into given memory, and told about."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from planmath.core.tuning import clocks
from planmath.linalg import Matmul, matmul
from tests.generic.operands import UPPER, Kind, numbers, qualifiers

GE, TR = Kind("ge"), Kind("tr", UPPER)


@pytest.fixture
def operands():
    rng = np.random.default_rng(7)
    return np.triu(numbers(rng, (20, 20), "float64")), numbers(rng, (20, 6), "float64")


def test_new_operands_and_factors(operands):
    a, b = operands
    with Matmul(a, b, qualifiers=qualifiers(TR, GE)) as product:
        product.plan()
        np.testing.assert_allclose(product.execute(), a @ b)
        product.reset_operands(a=2 * a)
        np.testing.assert_allclose(product.execute(), 2 * a @ b)
        product.reset_operands_unchecked(b=-b, alpha=0.5)
        np.testing.assert_allclose(product.execute_unchecked(), -a @ b)
        a[...] = 0  # what is bound is read at each execution
        product.reset_operands(a=a)
        np.testing.assert_array_equal(product.execute(), np.zeros((20, 6)))


def test_out_is_the_result(operands):
    a, b = operands
    with Matmul(a, b, qualifiers=qualifiers(TR, GE)) as product:
        product.plan()
        out = product.empty_result()
        assert product.execute(out=out) is out
        np.testing.assert_allclose(out, a @ b)
        with pytest.raises(ValueError, match="shares memory with b"):
            product.execute(out=b)


def test_in_place(operands):
    a, b = operands
    c = np.ones((20, 6))
    with Matmul(a, b, c, beta=-1.0, qualifiers=qualifiers(TR, GE, GE), options={"inplace": True}) as product:
        product.plan()
        assert product.execute() is c
        np.testing.assert_allclose(c, a @ b - 1)
        product.execute()
        np.testing.assert_allclose(c, np.ones((20, 6)), atol=1e-12)


def test_autotune_measures_both_ways_and_remembers(operands, tuning_record, monkeypatch):
    monkeypatch.setattr(clocks, "FLUSH", 1 << 12)
    a, b = operands
    with Matmul(a, b, qualifiers=qualifiers(TR, GE)) as product:
        product.plan()
        product.autotune(iterations=2)
        np.testing.assert_allclose(product.execute(), a @ b)
        text = product.report()
        assert "product=trmm" in text
        assert "product=gemm" in text
        chosen = product._plan_made.chosen
    with Matmul(a, b, qualifiers=qualifiers(TR, GE)) as product:
        product.plan()
        assert (product._plan_made.origin, product._plan_made.chosen) == ("the tuning record", chosen)


def test_it_says_what_it_is(operands):
    a, b = operands
    with Matmul(a, b, qualifiers=qualifiers(TR, GE)) as product:
        assert "upper triangular (20, 20) @ general (20, 6)" in repr(product)


def test_stateless_calls_tell_structures_and_factors_apart(operands, nothing_remembered):
    a, b = operands
    full = a + np.tril(np.ones_like(a), -1)
    symmetric = np.triu(full) + np.triu(full, 1).T
    for _ in range(2):
        np.testing.assert_allclose(matmul(full, b), full @ b)
        np.testing.assert_allclose(matmul(full, b, qualifiers=qualifiers(TR, GE)), a @ b)
        np.testing.assert_allclose(matmul(full, b, qualifiers=qualifiers(Kind("sy", UPPER), GE)), symmetric @ b)
        np.testing.assert_allclose(matmul(full, b, alpha=3.0), 3 * full @ b)
        np.testing.assert_allclose(matmul(full, b, b, beta=2.0), full @ b + 2 * b)


def test_beta_without_c_is_told(operands, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(matmul(*operands, beta=1.0), operands[0] @ operands[1])
    assert "beta = 1.0 is ignored" in caplog.text


def test_tensors(operands):
    torch = pytest.importorskip("torch")
    a, b = map(torch.from_numpy, operands)
    result = matmul(a, b, qualifiers=qualifiers(TR, GE))
    assert isinstance(result, torch.Tensor)
    torch.testing.assert_close(result, a @ b)
