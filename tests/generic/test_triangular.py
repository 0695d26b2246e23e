"""Triangular systems, against products in extended precision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from planmath.linalg import TriangularMatrixQualifier, TriangularSolver, triangular_solve
from planmath.linalg.generic.providers import PROVIDERS
from tests.generic.conformance import dense
from tests.generic.operands import DTYPES, LAYOUTS, LOWER, UPPER, Kind, laid, numbers, spoiled
from tests.providers import on_host

NAMES = [p.name for p in on_host(PROVIDERS) if p.unavailable() is None and p.name != "planmath"]
KINDS = [
    Kind("tr", uplo, unit, conjugate=conjugate)
    for uplo, unit, conjugate in itertools.product((LOWER, UPPER), (False, True), (False, True))
]


def matrix(rng, kind, n, batch, dtype, layout):
    """One whose systems have small condition numbers."""
    x = numbers(rng, (*batch, n, n), dtype) / (2 * n) + 2 * np.eye(n, dtype=dtype)
    return laid(spoiled(x.astype(dtype), kind), layout)


def check_systems(kind: Kind, provider: str, execution: str | None = None) -> None:
    """Every layout and dtype once, with what else there is in turns."""
    rng = np.random.default_rng(0)
    batches = itertools.cycle([((), ()), ((3,), ()), ((), (2,)), ((2, 1), (3,))])
    orders = itertools.cycle(["rows", "columns", "gaps", "strided", "backwards"])
    for dtype, layout in itertools.product(DTYPES[2:] if kind.conjugate else DTYPES, LAYOUTS):
        n, m = (17, 5) if layout != "gaps" else (1, 3)
        of_a, of_b = next(batches)
        a, b = matrix(rng, kind, n, of_a, dtype, layout), laid(numbers(rng, (*of_b, n, m), dtype), next(orders))
        options = {"provider": provider}
        x = triangular_solve(a, b, alpha=2, qualifier=kind.qualifier(), options=options, execution=execution)
        assert (x.dtype, x.shape) == (dtype, (*np.broadcast_shapes(of_a, of_b), n, m))
        whole = dense(kind, a)
        bound = 4 * n * np.finfo(dtype).eps * (np.abs(whole) @ np.abs(x) + np.abs(b))
        assert np.all(np.abs(whole @ x - 2 * b) <= bound)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_systems(kind, name):
    check_systems(kind, name)


def test_vectors_new_operands_and_given_results():
    rng = np.random.default_rng(1)
    kind = Kind("tr", UPPER)
    a, b = matrix(rng, kind, 6, (), "float64", "rows"), numbers(rng, (6,), "float64")
    whole = dense(kind, a).astype(float)
    with TriangularSolver(a, b, qualifier=kind.qualifier()) as solver:
        solver.plan()
        out = solver.empty_result()
        assert solver.execute(out=out) is out
        np.testing.assert_allclose(whole @ out, b)
        solver.reset_operands(b=-b, alpha=2)
        np.testing.assert_allclose(whole @ solver.execute(), -2 * b)
        solver.reset_operands(alpha=0)
        np.testing.assert_array_equal(solver.execute(), np.zeros(6))
        assert "inverse of upper triangular (6, 6) @ general (6, 1)" in repr(solver)
    assert triangular_solve(np.eye(3)[None], np.ones(3)).shape == (1, 3)


def test_narrow_dtypes():
    a, b = np.tril(np.ones((4, 4), "float16")) + np.eye(4, dtype="float16"), np.ones((4, 2), "float16")
    x = triangular_solve(a, b)
    assert x.dtype == np.float16
    np.testing.assert_allclose(a.astype(float) @ x, b, atol=1e-2)


def test_stateless_calls_are_not_products(nothing_remembered):
    a, b = np.array([[2.0, 0], [1, 4]]), np.array([2.0, 9])
    for _ in range(2):
        np.testing.assert_allclose(triangular_solve(a, b), [1, 2])
        np.testing.assert_allclose(triangular_solve(a, b, alpha=2), [2, 4])
        unit = TriangularMatrixQualifier.create(diag=1)
        np.testing.assert_allclose(triangular_solve(a, b, qualifier=unit), [2, 7])


def test_a_zero_on_the_diagonal_is_divided_by():
    assert np.isinf(triangular_solve(np.zeros((1, 1)), np.ones(1)))[0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, b: triangular_solve(a[:2], b), ValueError, r"a has the shape \(2, 3\).*triangular.*square"),
        (lambda a, b: triangular_solve(a, b[:2]), ValueError, "columns of a must be as many as the rows of b"),
        (lambda a, b: triangular_solve(a, b, qualifier=Kind("sy").qualifier()), ValueError, "qualifier is array"),
        (lambda a, b: triangular_solve([a], [b]), TypeError, "a is a list"),
        (lambda a, b: triangular_solve(a, b, options={"inplace": True}), ValueError, "inplace is set, but c was not"),
    ],
)
def test_what_is_no_triangular_system(call, error, message):
    with pytest.raises(error, match=message):
        call(np.eye(3), np.ones(3))
