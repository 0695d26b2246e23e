"""What bad input gets: the argument, what was given, what was expected, how to mend it; and nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.core.provider import choose_providers
from planmath.linalg import (
    DiagonalMatrixQualifier,
    DirectSolver,
    DirectSolverOptions,
    GeneralMatrixQualifier,
    HermitianMatrixQualifier,
    InvalidDirectSolverState,
    SingularMatrixError,
    SymmetricMatrixQualifier,
    direct_solver,
    matrix_qualifiers_dtype,
)
from planmath.linalg.solver.providers import PROVIDERS

A, B = np.arange(9.0).reshape(3, 3) + 5 * np.eye(3), np.ones((3, 2))
SYMMETRIC = SymmetricMatrixQualifier.create()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((A.astype("f2"), B.astype("f2")), ValueError, "a has the dtype float16; choose from 'float32'.*convert it"),
        ((A.astype(int), B.astype(int)), ValueError, "a has the dtype int64; .*convert it"),
        ((A, B.astype("f4")), ValueError, "b has the dtype float32 and a float64; expected equal ones: convert one"),
        ((A.astype(">f8"), B), TypeError, "a has the byte order of another machine"),
        (([[1.0]], B), TypeError, r"a\[0\] is a list; expected a numpy.ndarray"),
        (([], B), ValueError, "a is an empty list; expected at least one array"),
        ((A, np.ones(4)), ValueError, r"b has the shape \(4,\), and a \(3, 3\); expected \(3,\), \(..., 3, k\)"),
        ((np.ones((2, 3, 3)), np.ones((5, 3, 1))), ValueError, r"broadcasts with \(2,\), or \(2, 3\), a vector"),
        ((np.ones(3), B), ValueError, r"a has the shape \(3,\); expected matrices"),
        ((np.ones((0, 0)), np.ones((0, 1))), ValueError, "no extent of 0"),
        (([A, A], [B]), ValueError, "a has 2 members and b 1; expected as many"),
        (([A, A], np.ones((3, 3, 1))), ValueError, r"b has the shape \(3, 3, 1\), and a 2 members; expected \(2, n\)"),
        (([A[None]], [B]), ValueError, r"a\[0\] has the shape \(1, 3, 3\); expected single matrices"),
        (([A], [np.ones(4)]), ValueError, r"b\[0\] has the shape \(4,\) for a matrix of 3 rows"),
    ],
)
def test_operands(arguments, error, message):
    with pytest.raises(error, match=message):
        direct_solver(*arguments)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"structure": "banded"}, ValueError, "structure is 'banded'; expected one of None, 'auto', 'positive"),
        (
            {"structure": "auto", "options": {"inplace_a": True}},
            ValueError,
            "'auto', and options.inplace_a is set.*say what a is",
        ),
        (
            {"qualifiers": GeneralMatrixQualifier.create(conjugate=True)},
            ValueError,
            "conjugates a, which is float64; only complex operands can be",
        ),
        ({"structure": "auto", "qualifiers": SYMMETRIC}, ValueError, "structure is 'auto', and a is said to be symm"),
        ({"qualifiers": np.zeros(3)}, ValueError, r"qualifiers has the dtype float64.*what SymmetricMatrixQ"),
        (
            {"structure": "positive definite", "qualifiers": DiagonalMatrixQualifier.create()},
            ValueError,
            "says that a is diagonal; expected a symmetric one: pass a HermitianMatrixQualifier",
        ),
        ({"bandwidths": (1, 1, 1)}, ValueError, r"bandwidths is \(1, 1, 1\); expected two integers"),
        ({"bandwidths": (1, 0)}, ValueError, r"a has the shape \(3, 3\), and bandwidths is \(1, 0\); expected"),
        ({"bandwidths": (1, 1), "structure": "positive definite"}, ValueError, r"pass \(1, 0\).*or \(0, 1\)"),
        ({"options": {"inplace": True}}, TypeError, "options has no field 'inplace'"),
        ({"options": {"on_singular": "ignore"}}, ValueError, "on_singular is 'ignore'; expected one of"),
        ({"options": {"provider": "lapak"}}, ValueError, "did you mean 'lapack'"),
        ({"execution": "gpu"}, ValueError, "did you mean 'cuda'"),
    ],
)
def test_arguments(more, error, message):
    with pytest.raises(error, match=message):
        direct_solver(A, B, **more)


def test_a_structure_that_the_dtype_does_not_have():
    """Complex definite matrices are Hermitian; a Hermitian matrix of real numbers is a symmetric one."""
    symmetric = A + A.T
    with pytest.raises(ValueError, match="says that a is symmetric; expected a Hermitian one: pass a HermitianMatr"):
        direct_solver(symmetric + 0j, B + 0j, structure="positive definite", qualifiers=SYMMETRIC)
    x = direct_solver(np.tril(symmetric), B, qualifiers=HermitianMatrixQualifier.create())
    np.testing.assert_allclose(symmetric @ x, B, atol=1e-12)


def test_work_on_a_device_is_told_to_be_done_elsewhere():
    problem = DirectSolver(A, B)._problem._replace(execution=("cuda", 0))
    with pytest.raises(UnavailableError, match="lapack: it computes on the CPU only: pass execution='cpu'"):
        choose_providers(PROVIDERS, None, problem)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", [None, 2])
def test_what_is_not_finite_is_named(value, k):
    bad = A.copy()
    bad[1, 2] = value
    side = np.ones((3,) if k is None else (3, k))
    with pytest.raises(ValueError, match=r"a has an element that is not finite .* in row 1, column 2"):
        direct_solver(bad, side)
    side[1] = value
    with pytest.raises(ValueError, match=r"b has an element that is not finite .* in row 1"):
        direct_solver(A, side)
    batch = np.array([A, bad, A])
    with pytest.raises(ValueError, match=r"a\[1\] has an element that is not finite"):
        direct_solver(batch, np.ones((3, 3, 1)))


@pytest.mark.parametrize("provider", ["lapack", "own"])
def test_singular_matrices_of_a_batch(provider):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 4, 4)), rng.standard_normal((2, 3, 4, 1))
    good = np.linalg.solve(a, b)
    a[0, 2, 1] = 0
    a[1, 1] = 0
    with pytest.raises(SingularMatrixError, match=r"a\[0, 2\] is singular: .*; a\[1, 1\] is singular") as raised:
        direct_solver(a, b, options={"provider": provider})
    assert raised.value.indices == ((0, 2), (1, 1))
    bad = np.zeros((2, 3), bool)
    bad[0, 2] = bad[1, 1] = True
    assert np.isnan(raised.value.solution[bad]).all()
    np.testing.assert_allclose(raised.value.solution[~bad], good[~bad], rtol=1e-8)
    with pytest.warns(RuntimeWarning, match=r"a\[0, 2\] is singular.*will be NaN") as told:
        x = direct_solver(a, b, options={"provider": provider, "on_singular": "warn"})
    assert len(told) == 1
    assert told[0].filename == __file__
    np.testing.assert_array_equal(x, raised.value.solution)


def test_singular_matrices():
    with pytest.raises(SingularMatrixError, match="a is singular: the pivot of row 1 is exactly zero") as raised:
        direct_solver(np.ones((3, 3)), B)
    assert raised.value.row == 1
    lists = [np.zeros((2, 2)), np.eye(9), np.zeros((3, 3)), 2 * np.eye(4)]
    with pytest.raises(SingularMatrixError, match=r"a\[0\] is singular.*a\[2\] is singular") as raised:
        direct_solver(lists, [np.ones(len(a)) for a in lists])
    assert raised.value.indices == (0, 2)
    np.testing.assert_array_equal(raised.value.solution[1], np.ones(9))
    np.testing.assert_array_equal(raised.value.solution[3], np.full(4, 0.5))
    assert np.isnan(raised.value.solution[0]).all()
    assert np.isnan(raised.value.solution[2]).all()
    with pytest.raises(SingularMatrixError, match="a is singular: the pivot of row 1"):
        direct_solver(np.array([1.0, 0, 2]), np.ones(3), qualifiers=DiagonalMatrixQualifier.create())
    with pytest.raises(SingularMatrixError, match="a is not positive definite: the leading minor of order 2"):
        direct_solver(
            np.array([[1.0, 1, 1], [2, 0, 0]]), np.ones(3), bandwidths=(1, 0), structure="positive definite"
        )
    with pytest.raises(SingularMatrixError, match=r"a is of deficient rank.*structure='least squares'"):
        direct_solver(np.array([[1.0, 0], [1, 0], [1, 0]]), np.ones(3))


def test_a_failed_call_changes_nothing():
    with DirectSolver(A, B) as solver:
        solver.plan()
        solver.factorize()
        for wrong in ({"a": np.ones((4, 4))}, {"a": 2 * A, "b": np.ones((3, 3))}, {"b": [B]}, {}):
            with pytest.raises((TypeError, ValueError)):
                solver.reset_operands(**wrong)
            np.testing.assert_allclose(A @ solver.solve(), B)
        for call in (
            lambda: solver.solve(trans="X"), lambda: solver.solve(out=np.ones(3)), lambda: solver.solve(out=B),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r"trans|out"):
                call()
        solver.factorize()
        np.testing.assert_allclose(A @ solver.solve(), B)
        bad = A.copy()
        bad[0, 0] = np.nan
        solver.reset_operands(a=bad)
        with pytest.raises(ValueError, match="not finite"):
            solver.factorize()
        with pytest.raises(InvalidDirectSolverState, match="call factorize"):
            solver.solve()
        bad[0, 0] = 5
        solver.factorize()
        np.testing.assert_allclose(bad @ solver.solve(), B)


def test_in_place():
    for name in ("inplace_a", "inplace_b"):
        with pytest.raises(ValueError, match=f"{name} is 1"):
            DirectSolverOptions(**{name: 1})
    frozen = B.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="b is read-only"):
        direct_solver(A, frozen, options={"inplace_b": True})
    with pytest.raises(ValueError, match="inplace_b is set, and b has the batch shape"):
        direct_solver(np.array([A, A]), B.copy(), options={"inplace_b": True})
    with pytest.raises(ValueError, match="elements share memory and cannot be replaced"):
        direct_solver(np.broadcast_to(A, (2, 3, 3)), np.ones((2, 3, 1)), options={"inplace_a": True})
    with pytest.raises(ValueError, match="a is rectangular, and inplace_a"):
        direct_solver(np.ones((4, 3)), np.ones(4), options={"inplace_a": True})


def test_trans_of_a_rectangular_system():
    with DirectSolver(np.eye(4, 3), np.ones(4)) as solver:
        solver.plan()
        solver.factorize()
        with pytest.raises(ValueError, match=r"trans is 'T', and a is rectangular; .*for the transposed a"):
            solver.solve(trans="T")


def test_words_of_numpy_are_words():
    with DirectSolver(A, B) as solver:
        solver.plan()
        solver.factorize()
        np.testing.assert_allclose(A.T @ solver.solve(trans=np.str_("T")), B)
        with pytest.raises(ValueError, match="trans is 1; expected one of 'N', 'T', 'C'"):
            solver.solve(trans=1)


@pytest.mark.parametrize(
    ("structure", "mend"),
    [
        ("symmetric", r"qualifiers=SymmetricMatrixQualifier.create\(\)"),
        ("Hermitian", r"qualifiers=HermitianMatrixQualifier.create\(\)"),
        ("banded", r"bandwidths=\(below, above\)"),
    ],
)
def test_structures_that_are_said_otherwise(structure, mend):
    with pytest.raises(ValueError, match=f"structure is '{structure}'; expected one of .*: that is said by {mend}"):
        direct_solver(A, B, structure=structure)


@pytest.mark.parametrize("letter", ["a", "b"])
def test_what_is_replaced_is_nothing_else_as_well(letter):
    a, b = np.stack([A, A + 1]), np.stack([B, B])
    twice = ([a[0], a[0]], [b[0], b[1]]) if letter == "a" else ([a[0], a[1]], [b[0], b[0]])
    for matrices, sides in ((a[0], a[0][:, 1:]), twice):
        before = a.copy(), b.copy()
        with pytest.raises(ValueError, match=rf"^{letter}.* shares memory with .*options.inplace_{letter} replaces it"):
            direct_solver(matrices, sides, options={f"inplace_{letter}": True})
        np.testing.assert_array_equal(a, before[0])
        np.testing.assert_array_equal(b, before[1])


def test_what_is_replaced_may_lie_between_others():
    side_by_side = np.empty((3, 3, 2))
    side_by_side[..., 0], side_by_side[..., 1] = A, A + 1
    with DirectSolver([side_by_side[..., 0], side_by_side[..., 1]], [B, B.copy()], {"inplace_a": True}) as solver:
        solver.plan()
        solver.factorize()
        for matrix, x in zip((A, A + 1), solver.solve(), strict=True):
            np.testing.assert_allclose(matrix @ x, B)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [("tr", "diag", 7), ("dg", "incx", 0), ("dg", "incx", 2), ("sy", "uplo", 2), ("he", "uplo", -1), ("xx", "diag", 0)],
)
def test_qualifiers_that_no_create_returns(kind, field, value):
    element = np.zeros(1, matrix_qualifiers_dtype)
    element["abbreviation"], element["incx"] = kind, 1
    element[field] = value
    with pytest.raises(ValueError, match=f"qualifiers has the {'kind' if kind == 'xx' else field} .* for a; expected"):
        DirectSolver(A if kind != "dg" else np.ones(3), B, qualifiers=element)
