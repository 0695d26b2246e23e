"""Lists of products, of different shapes and structures, planned and executed together."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.linalg import Matmul, matmul
from planmath.linalg.generic.providers import PROVIDERS
from tests.generic.conformance import dense, operand
from tests.generic.operands import UPPER, Kind, laid, numbers, qualifiers
from tests.providers import on_host

GE, SY, TR, DG = Kind("ge"), Kind("sy"), Kind("tr", UPPER), Kind("dg")
NAMES = [p.name for p in on_host(PROVIDERS) if p.unavailable() is None and p.name != "planmath"]
#: What the factors of each product are, and their extents.
KINDS = [(GE, GE), (SY, GE), (GE, TR), (DG, GE), (GE, GE)]
ORDERS = ["rows", "columns", "rows", "columns", "rows"]
EXTENTS = [(3, 5, 4), (6, 6, 4), (5, 5, 5), (7, 7, 2), (2, 9, 4)]


@pytest.fixture
def lists():
    """Five products with all that may differ between them, and what they are."""
    rng = np.random.default_rng(0)
    a, b = [], []
    for (left, right), (m, k, n) in zip(KINDS, EXTENTS, strict=True):
        a.append(operand(rng, left, m, k, (2,) * (left is SY), "float64", "columns" if left is SY else "rows"))
        b.append(operand(rng, right, k, n, (), "float64", "columns"))
    products = [
        (dense(left, x) @ dense(right, y)).astype(float) for (left, right), x, y in zip(KINDS, a, b, strict=True)
    ]
    return a, b, products


def assert_all_close(results, expected):
    assert isinstance(results, list)
    assert len(results) == len(expected)
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, wanted, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_products_of_all_structures(lists, name):
    a, b, products = lists
    known = [qualifiers(*kinds) for kinds in KINDS]
    with Matmul(a, tuple(b), qualifiers=known, options={"provider": name}) as product:
        product.plan()
        for way in product._plan_made.algorithms:
            product._add_program(way, way)
            result = product._execute(way, None)
            assert_all_close([result[0], *result[1].values()], products)
        assert_all_close(product.execute(), products)


def test_addends_and_factors(lists):
    a, b, products = lists
    rng = np.random.default_rng(1)
    c = [laid(numbers(rng, p.shape, "float64"), order) for p, order in zip(products, ORDERS, strict=True)]
    known = [qualifiers(*kinds, GE) for kinds in KINDS]
    alpha = [1.0, 2.0, 0.0, -1.0, 0.5]
    expected = [f * p + 3 * x for f, p, x in zip(alpha, products, c, strict=True)]
    results = matmul(a, b, c, alpha=alpha, beta=[3.0], qualifiers=known)
    assert_all_close(results, expected)
    assert [r.strides for r in results] == [x.strides for x in c]
    with Matmul(a, b, c, alpha=alpha, beta=3, qualifiers=known) as product:
        product.plan()
        assert_all_close(product.execute(), expected)
        product.reset_operands(alpha=2.0, beta=[0.0])
        assert_all_close(product.execute(), [2 * p for p in products])


def test_one_for_all_and_a_list_of_one():
    rng = np.random.default_rng(2)
    x, many = numbers(rng, (3, 3), "complex64"), [numbers(rng, (3, n), "complex64") for n in (1, 4, 2)]
    known = [qualifiers(SY, GE)]
    whole = dense(SY, x)
    assert_all_close(
        [r.astype("complex128").round(4) for r in matmul([x], many, qualifiers=known)],
        [(whole @ y).astype("complex128").round(4) for y in many],
    )
    assert len(matmul([x], [many[0]])) == 1
    with Matmul([x], [many[0]]) as product:
        product.plan()
        out = product.empty_result()
        assert product.execute(out=out) is out
        np.testing.assert_allclose(out[0], x @ many[0], rtol=1e-5)


def test_new_operands_and_given_results(lists):
    a, b, products = lists
    known = [qualifiers(*kinds) for kinds in KINDS]
    with Matmul(a, b, qualifiers=known) as product:
        product.plan()
        out = product.empty_result()
        assert product.execute(out=out) is out
        assert_all_close(out, products)
        product.reset_operands(b=[-y for y in b])
        assert_all_close(product.execute(), [-p for p in products])
        product.release_operands()
        with pytest.raises(ValueError, match=r"needs all operands: a\[0\], "):
            product.reset_operands(b=b)
        product.reset_operands(a=a, b=b)
        assert_all_close(product.execute(), products)
        with pytest.raises(ValueError, match=r"b\[2\] has the shape \(5, 4\); expected \(5, 5\)"):
            product.reset_operands(a=[-x for x in a], b=[b[0], b[1], np.ones((5, 4)), *b[3:]])
        assert_all_close(product.execute(), products)
        with pytest.raises(ValueError, match="b is a list of 4; expected a list of 5 arrays"):
            product.reset_operands(b=b[:4])
        with pytest.raises(ValueError, match="out is a list of 2; expected a list of 5 arrays"):
            product.execute(out=out[:2])
        with pytest.raises(ValueError, match=r"out\[1\] has the shape"):
            product.execute(out=[out[0], out[0], *out[2:]])
        with pytest.raises(ValueError, match=r"out\[4\] shares memory with a\[4\]"):
            product.execute(out=[*out[:4], _inside(a[4], out[4])])


def _inside(array, like):
    """A view of an array's memory with the layout of another one."""
    return np.lib.stride_tricks.as_strided(array, like.shape, like.strides)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: matmul([x, x], [x, x, x]), "different lengths: a 2, b 3; expected equal ones, or 1"),
        (lambda x: matmul(x, [x]), "a is a ndarray, and others are lists"),
        (lambda x: matmul([x], [x], x, beta=1), "c is a ndarray, and others are lists"),
        (lambda x: matmul([], [x]), "a is an empty list"),
        (lambda x: matmul([[x]], [x]), r"a\[0\] is a list of 1; expected a list of arrays"),
        (lambda x: matmul([x, x], [x, np.ones((2, 3))]), r"product 1 of 2: a has the shape \(3, 3\)"),
        (lambda x: matmul([x, x], [x, x.astype("f4")]), "product 1 of 2: b has the dtype float32 and a float64"),
        (lambda x: matmul([x, x.astype("f4")], [x, x.astype("f4")]), "product 1 of 2: a has the dtype float32"),
        (lambda x: matmul([x], [x], qualifiers=qualifiers(GE, GE)), "qualifiers is a ndarray, and others are lists"),
        (lambda x: matmul([x], [x], alpha=[1, "one"]), r"alpha\[1\] is 'one'; expected a single number"),
        (lambda x: matmul([x], [x], [x], beta=1, options={"inplace": True}), "results of lists do not replace c"),
        (lambda x: matmul([x], [x], [x]), "beta was not given.*beta=1.0"),
    ],
)
def test_what_lists_must_not_be(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((3, 3)))


def test_autotune(lists, tuning_record):
    a, b, products = lists
    known = [qualifiers(*kinds) for kinds in KINDS]
    with Matmul(a, b, qualifiers=known) as product:
        product.plan()
        product.autotune(iterations=2)
        assert_all_close(product.execute(), products)
        assert "5 products, the first one general" in repr(product)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_one_call_for_all(dtype):
    """A library's routine for products of different shapes, which takes matrices where they are."""
    (library,) = (p.library for p in PROVIDERS if p.name == "mkl")
    if library.missing():
        pytest.skip(library.missing())
    rng = np.random.default_rng(3)
    extents = [(40, 50, 60), (3, 5, 7), (33, 1, 2), (64, 64, 64)]
    orders = ["rows", "columns", "columns", "rows"]
    a = [laid(numbers(rng, (m, k), dtype), order) for (m, k, n), order in zip(extents, orders, strict=True)]
    b = [laid(numbers(rng, (k, n), dtype), order) for (m, k, n), order in zip(extents, orders[::-1], strict=True)]
    c = [laid(numbers(rng, (m, n), dtype), "rows") for m, k, n in extents]
    alpha = [2.0, 0.0, -1.0, 0.5]
    expected = [f * (x @ y) + 3 * z for f, x, y, z in zip(alpha, a, b, c, strict=True)]
    a[1][...] = np.nan
    with Matmul(a, b, c, alpha=alpha, beta=3, options={"provider": "mkl"}) as product:
        product.plan()
        ways = [way for way in product._plan_made.algorithms if way.get("product") == "gemm_batch"]
        assert ways
        for way in ways:
            product._add_program(way, way)
            for _ in range(2):
                result = product._execute(way, None)
                for found, wanted in zip([result[0], *result[1].values()], expected, strict=True):
                    np.testing.assert_allclose(found, wanted, rtol=2e-4 if dtype == "float32" else 1e-10, atol=2e-4)
    copied = [np.ones((40, 40))[::2, ::2]] * 2
    with Matmul(copied, copied, options={"provider": "mkl"}) as product:
        product.plan()
        for way in product._plan_made.algorithms:
            if way.get("product") == "gemm_batch":
                with pytest.raises(UnavailableError, match="of product 0 one has to be copied"):
                    product._add_program(way, way)
