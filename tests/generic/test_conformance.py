"""Every provider computes every product of structures, layouts, conjugations and dtypes, against extended precision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from planmath.linalg import matmul
from planmath.linalg.generic.providers import PROVIDERS
from tests.generic.conformance import PAIRS, check_products, operand
from tests.generic.operands import UPPER, Kind, laid, numbers, qualifiers
from tests.providers import on_host

NAMES = [provider.name for provider in on_host(PROVIDERS) if provider.unavailable() is None]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(kind.name for kind in pair))
def test_products(pair, name):
    check_products(pair, name)


def test_order_of_the_result():
    """c's order, else that of the general operand beside a structured one, else rows where both lie by rows."""
    rng = np.random.default_rng(0)
    rows, columns = numbers(rng, (4, 4), "float64"), laid(numbers(rng, (4, 4), "float64"), "columns")
    ge, sy, dg = Kind("ge"), Kind("sy"), Kind("dg")
    for kinds, a, b, c, by_rows in (
        ((ge, ge), rows, rows, None, True), ((ge, ge), rows, columns, None, False),
        ((sy, ge), columns, rows, None, True), ((ge, sy), columns, rows, None, False),
        ((dg, ge), rows[0], columns, None, False), ((sy, sy), rows, rows, None, True),
        ((sy, ge), rows, rows, columns, False), ((ge, ge), columns, columns, rows, True),
    ):  # fmt: skip
        more = [] if c is None else [ge]
        result = matmul(a, b, c, beta=None if c is None else 1.0, qualifiers=qualifiers(*kinds, *more))
        assert result.flags.c_contiguous == by_rows


@pytest.mark.parametrize("kind", [Kind("ge"), Kind("sy", UPPER), Kind("tr"), Kind("dg")], ids=lambda kind: kind.name)
def test_vectors(kind):
    rng = np.random.default_rng(1)
    x, batch = numbers(rng, (5,), "float64"), numbers(rng, (3, 5), "float64")
    s = operand(rng, kind, 5, 5, (), "float64", "rows")
    dense = np.where(np.isnan(kind.dense(s)), 0, kind.dense(s)).astype(float)
    np.testing.assert_allclose(matmul(s, x, qualifiers=qualifiers(kind, Kind("ge"))), dense @ x)
    np.testing.assert_allclose(matmul(x, s, qualifiers=qualifiers(Kind("ge"), kind)), x @ dense)
    backwards = batch[:, ::-1]
    np.testing.assert_allclose(matmul(backwards, s, qualifiers=qualifiers(Kind("ge"), kind)), backwards @ dense)
    c = numbers(rng, (5,), "float64")
    np.testing.assert_allclose(
        matmul(s, x, c, beta=2.0, qualifiers=qualifiers(kind, Kind("ge"), Kind("ge"))), dense @ x + 2 * c
    )


def test_product_of_two_vectors():
    x, y = np.arange(3.0), np.arange(3.0) + 1
    assert matmul(x, y) == x @ y
    assert matmul(x, y).shape == ()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", [Kind("ge"), Kind("sy"), Kind("tr", UPPER), Kind("dg")], ids=lambda kind: kind.name)
def test_narrow_dtypes(kind, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    kept = getattr(torch, dtype)
    a = torch.from_numpy(operand(rng, kind, 9, 9, (2,), "float32", "rows")).to(kept)
    b = torch.from_numpy(numbers(rng, (9, 4), "float32")).to(kept)
    dense = np.where(np.isnan(kind.dense(a.float().numpy())), 0, kind.dense(a.float().numpy())).astype("float32")
    result = matmul(a, b, qualifiers=qualifiers(kind, Kind("ge")))
    assert result.dtype == kept
    expected = torch.from_numpy(dense) @ b.float()
    assert torch.allclose(result.float(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", [Kind("ge"), Kind("he"), Kind("tr"), Kind("dg")], ids=lambda kind: kind.name)
def test_beta_of_zero_does_not_read_c(kind):
    rng = np.random.default_rng(3)
    s, b = operand(rng, kind, 6, 6, (), "complex128", "rows"), numbers(rng, (6, 6), "complex128")
    plain = matmul(s, b, qualifiers=qualifiers(kind, Kind("ge")))
    c = np.full((6, 6), np.nan + 0j)
    result = matmul(s, b, c, beta=0.0, qualifiers=qualifiers(kind, Kind("ge"), Kind("ge")))
    np.testing.assert_allclose(result, plain, rtol=1e-13)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("dg", "planmath"), *itertools.product(("ge", "sy", "he", "tr"), [name for name in NAMES if name != "planmath"])],
)
def test_alpha_of_zero_reads_no_factor(kind, name):
    kind = Kind(kind)
    rng = np.random.default_rng(4)
    shape = (7,) if kind.name == "dg" else (7, 7)
    s, b, c = np.full(shape, np.inf), np.full((7, 4), np.nan), numbers(rng, (7, 4), "float64")
    result = matmul(s, b, alpha=0.0, qualifiers=qualifiers(kind, Kind("ge")), options={"provider": name})
    np.testing.assert_array_equal(result, np.zeros((7, 4)))
    three = qualifiers(kind, Kind("ge"), Kind("ge"))
    result = matmul(s, b, c, alpha=0.0, beta=2.0, qualifiers=three, options={"provider": name})
    np.testing.assert_array_equal(result, 2 * c)
