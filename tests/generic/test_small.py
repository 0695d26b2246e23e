"""planmath's own kernel for small matrices: every extent, layout and number of products."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from planmath.linalg.product.small_kernels import MOST_EXTENT

from planmath.core.errors import UnavailableError
from planmath.linalg import Matmul, TriangularSolver
from tests.generic.operands import LAYOUTS, assert_close, laid, numbers

OPTIONS = {"provider": "planmath"}
EXTENTS = st.integers(1, MOST_EXTENT)
LAID = st.sampled_from(LAYOUTS)
TYPES = st.sampled_from(["float32", "float64", "complex64", "complex128", "float16"])


@settings(max_examples=150, deadline=None)
@given(EXTENTS, EXTENTS, EXTENTS, st.tuples(LAID, LAID, LAID), TYPES, st.data())
def test_every_extent_and_layout(m, n, k, layouts, dtype, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    batch = data.draw(st.sampled_from([((), ()), ((7,), (7,)), ((), (3,)), ((2, 1), (4,)), ((2, 3), (2, 3))]))
    a, b = (laid(numbers(rng, (*own, *shape), dtype), layout)
            for own, shape, layout in zip(batch, ((m, k), (k, n)), layouts, strict=False))  # fmt: skip
    whole = (*np.broadcast_shapes(*batch), m, n)
    c = laid(numbers(rng, whole, dtype), layouts[2]) if data.draw(st.booleans()) else None
    factors = [(1, 1), (-0.5, 2), (0, 2), (3, 0)] + ([(2 - 1j, 1j)] * 2 if dtype.startswith("complex") else [])
    alpha, beta = data.draw(st.sampled_from(factors))
    inplace = c is not None and dtype != "float16" and data.draw(st.booleans())
    wide = "clongdouble" if dtype.startswith("complex") else "longdouble"
    x, y = a.astype(wide), b.astype(wide)
    expected, size = alpha * (x @ y), abs(alpha) * (abs(x) @ abs(y))
    if c is not None:
        expected, size = expected + beta * c.astype(wide), size + abs(beta) * abs(c)
    execution = {"name": "cpu", "num_threads": data.draw(st.sampled_from([1, 3]))}
    more = {} if c is None else {"beta": beta}
    with Matmul(a, b, c, alpha=alpha, **more, options={**OPTIONS, "inplace": inplace}, execution=execution) as product:
        product.plan()
        for way in product._plan_made.algorithms:
            product._add_program(way, way)
        found = product.execute()
        assert (found is c) == inplace
        assert_close(np.array(found), expected, size, dtype, k)


def test_what_does_not_count_is_not_read():
    nan = np.full((4, 5, 5), np.nan)
    with Matmul(nan, nan, np.ones((4, 5, 5)), alpha=0, beta=2, options=OPTIONS) as product:
        product.plan()
        np.testing.assert_array_equal(product.execute(), np.full((4, 5, 5), 2.0))
    with Matmul(np.ones((4, 5, 5)), np.ones((4, 5, 5)), nan, beta=0, options=OPTIONS) as product:
        product.plan()
        np.testing.assert_array_equal(product.execute(), np.full((4, 5, 5), 5.0))


def test_infinities_stay_in_their_columns():
    a, b = np.ones((3, 3)), np.ones((3, 3))
    b[1, 2] = np.inf
    with Matmul(a, b, options=OPTIONS) as product:
        product.plan()
        np.testing.assert_array_equal(product.execute(), [[3, 3, np.inf]] * 3)


def test_threads_share_a_batch():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 1201, 17, 17))
    with Matmul(a, b, options=OPTIONS, execution={"name": "cpu", "num_threads": 2}) as product:
        product.plan()
        threads = [way.get("threads") for way in product._plan_made.algorithms]
        assert threads == [2, 1]
        for way in product._plan_made.algorithms:
            product._add_program(way, way)
            np.testing.assert_allclose(product._execute(way, None), a @ b, rtol=1e-12, atol=1e-12)


def test_small_products_are_expected_to_be_the_fastest():
    for shape, small in (((8, 8), True), ((100, 32, 32), True), ((33, 33), False)):
        with Matmul(np.ones(shape), np.ones(shape), options={"tuning": False}) as product:
            product.plan()
            assert (product._plan_made.chosen.provider == "planmath") == small
    lists = [np.ones((3, 4)), np.ones((2, 4))], [np.ones((4, 7))]
    with Matmul(*lists, options={"tuning": False}) as product:
        product.plan()
        assert product._plan_made.chosen.provider == "planmath"
        for found, a in zip(product.execute(), lists[0], strict=True):
            np.testing.assert_array_equal(found, a @ lists[1][0])


def test_what_it_does_not_compute():
    a = np.ones((33, 33))
    with Matmul(a, a, options=OPTIONS) as product, pytest.raises(UnavailableError, match="up to 32 rows"):
        product.plan()
    solver = TriangularSolver(np.eye(3), np.ones(3), options=OPTIONS)
    with solver, pytest.raises(UnavailableError, match="no inverse"):
        solver.plan()


@pytest.mark.parametrize("count", [3, 40])
def test_results_of_lists_that_share_memory(count):
    """Many results are compared in the order of their addresses, and remembered where they were apart."""
    rng = np.random.default_rng(2)
    a, b = list(rng.standard_normal((count, 4, 4))), list(rng.standard_normal((count, 4, 4)))
    with Matmul(a, b) as product:
        product.plan()
        memory = np.zeros((count + 1, 4, 4))
        out = list(memory[1:])
        for _ in range(2):
            product.execute(out=out)
            np.testing.assert_allclose(memory[1:], np.array(a) @ np.array(b))
        before = memory.copy()
        for wrong, told in (
            ([*out[:-1], out[0]], "shares memory with out"), ([*out[:-1], a[1]], "share"),
            ([*out[:-1], b[-1]], "share"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=told):
                product.execute(out=wrong)
        np.testing.assert_array_equal(memory, before)
        assert product.execute(out=out[::-1])[0] is out[-1]
        np.testing.assert_allclose(memory[:0:-1], np.array(a) @ np.array(b))
