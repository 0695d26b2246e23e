"""What bad input gets: the argument, what was given, what was expected, how to mend it; and nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.linalg import (
    DiagonalMatrixQualifier,
    FillMode,
    GeneralMatrixQualifier,
    InvalidMatmulState,
    Matmul,
    SymmetricMatrixQualifier,
    TriangularMatrixQualifier,
    matmul,
    matrix_qualifiers_dtype,
)
from tests.generic.operands import Kind, qualifiers

A, B = np.arange(12.0).reshape(3, 4), np.ones((4, 5))
SQUARE = np.ones((4, 4))
GE, SY, TR, DG = Kind("ge"), Kind("sy"), Kind("tr"), Kind("dg")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: matmul(A, B, qualifiers=qualifiers(SY, GE)), ValueError, r"a has the shape \(3, 4\).*symmetric.*squ"),
        (lambda: matmul(A, A), ValueError, r"3 by 4, and b \(3, 4\), for 3 by 4; the columns of a must"),
        (lambda: matmul(np.ones(3), B, qualifiers=qualifiers(DG, GE)), ValueError, "stands for 3 by 3"),
        (lambda: matmul(A, B, np.ones((3, 5))), ValueError, "beta was not given.*beta=1.0"),
        (lambda: matmul(A, B, np.ones((5, 3)), beta=1), ValueError, r"c has the shape \(5, 3\); expected \(3, 5\)"),
        (lambda: matmul(A, B.astype("f4")), ValueError, "b has the dtype float32 and a float64; expected equal"),
        (lambda: matmul(A.astype(int), B.astype(int)), ValueError, "a has the dtype int64; "),
        (lambda: matmul(A.astype(">f8"), B), TypeError, "a has the byte order of another machine.*astype"),
        (lambda: matmul(A, B, np.ones((3, 5), ">f8"), beta=1), TypeError, "c has the byte order of another machine"),
        (lambda: matmul([A], [B], np.ones((3, 5)), beta=1), ValueError, "c is a ndarray, and others are lists"),
        (lambda: matmul([A], B), ValueError, "b is a ndarray, and others are lists; expected lists of all"),
        (lambda: matmul(np.ones((2, 3, 4)), np.ones((3, 4, 5))), ValueError, r"batch shape \(2,\) and b \(3,\)"),
        (lambda: matmul(A, B, options={"inplace": True}), ValueError, "inplace is set, but c was not given"),
        (lambda: matmul(A, B, alpha="one"), ValueError, "alpha is 'one'; expected a single number"),
        (lambda: matmul(A, B, alpha=1j), ValueError, "alpha is 1j; expected a single number that fits float64"),
        (lambda: matmul(A, B, qualifiers=qualifiers(GE)), ValueError, "two elements, for a and b: numpy.full"),
        (lambda: matmul(A, B, qualifiers=np.zeros(2)), ValueError, "dtype float64.*matrix_qualifiers_dtype"),
        (
            lambda: matmul(A, B, np.ones((3, 5)), beta=1, qualifiers=qualifiers(GE, GE, TR)),
            ValueError,
            "c is triangular.*the third element to GeneralMatrixQualifier.create",
        ),
        (
            lambda: matmul(A, B, qualifiers=qualifiers(GE, GE, SY)),
            ValueError,
            "the result is symmetric, and it has 3 rows and 5 columns; expected as many",
        ),
        (
            lambda: matmul(A, B, qualifiers=np.zeros(2, matrix_qualifiers_dtype)),
            ValueError,
            "the kind '' for a; expected one of ge",
        ),
        (
            lambda: matmul(SQUARE, SQUARE, qualifiers=qualifiers(Kind("sy", conjugate=True), GE)),
            ValueError,
            "conjugates a, which is float64",
        ),
        (lambda: matmul(np.float64(1), B), TypeError, "a is a numpy.float64"),
        (lambda: matmul(np.ones(()), B), ValueError, r"a has the shape \(\); expected at least one axis"),
        (lambda: matmul(np.ones((0, 4)), B), ValueError, "no extent of 0"),
        (lambda: matmul(A, B, options={"inplaec": True}), TypeError, "did you mean 'inplace'"),
        (lambda: SymmetricMatrixQualifier.create(uplo=FillMode.FULL), ValueError, "uplo is .*FillMode.LOWER"),
        (lambda: TriangularMatrixQualifier.create(diag=7), ValueError, "diag is 7; expected DiagType"),
        (lambda: DiagonalMatrixQualifier.create(incx=2), ValueError, "incx is 2; expected 1, or -1"),
        (GeneralMatrixQualifier, RuntimeError, r"GeneralMatrixQualifier.create\(\) makes a qualifier"),
        (lambda: GeneralMatrixQualifier.to_string(SymmetricMatrixQualifier.create()), ValueError, "other is"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_result_cannot_replace_a_read_only_c():
    c = np.ones((3, 5))
    c.flags.writeable = False
    with pytest.raises(ValueError, match="c is read-only"):
        matmul(A, B, c, beta=1.0, options={"inplace": True})


def test_a_hermitian_matrix_of_real_numbers_is_a_symmetric_one():
    he, sy = qualifiers(Kind("he"), GE), qualifiers(SY, GE)
    x = np.arange(16.0).reshape(4, 4)
    np.testing.assert_array_equal(matmul(x, B, qualifiers=he), matmul(x, B, qualifiers=sy))


def test_states():
    product = Matmul(A, B)
    with pytest.raises(InvalidMatmulState, match="needs a plan"):
        product.execute()
    product.plan()
    product.release_operands()
    with pytest.raises(InvalidMatmulState, match="were released"):
        product.execute()
    with pytest.raises(ValueError, match="b missing"):
        product.reset_operands(a=A)
    product.reset_operands(a=A, b=B)
    np.testing.assert_allclose(product.execute(), A @ B)
    product.free()
    with pytest.raises(InvalidMatmulState, match=r"after free\(\)"):
        product.execute()


@pytest.mark.parametrize(
    "wrong",
    [{"b": np.ones((4, 6))}, {"b": B.astype("f4")}, {"c": A}, {"beta": 2.0}, {"alpha": "x", "b": -B}, {}],
    ids=["shape", "dtype", "no c", "no beta", "alpha", "nothing"],
)
def test_a_reset_that_fails_changes_nothing(wrong):
    with Matmul(A, B, alpha=3.0) as product:
        product.plan()
        with pytest.raises((ValueError, TypeError)):
            product.reset_operands(**({"a": -A, **wrong} if wrong else {}))
        np.testing.assert_allclose(product.execute(), 3 * A @ B)


def test_qualifiers_are_told_apart():
    both = qualifiers(SY, SY)
    assert SymmetricMatrixQualifier.is_valid(both)
    assert not TriangularMatrixQualifier.is_valid(both)
    assert TriangularMatrixQualifier.to_string(Kind("tr", FillMode.UPPER, True).qualifier()) == "unit upper triangular"


@pytest.mark.parametrize(
    ("kind", "field", "value"), [("tr", "diag", 7), ("tb", "diag", -1), ("dg", "incx", 0), ("gb", "incx", -1)]
)
def test_qualifiers_that_no_create_returns(kind, field, value):
    elements = qualifiers(GE, GE)
    elements[0]["abbreviation"], elements[0]["uplo"], elements[0]["incx"] = kind, 0, 1
    elements[0][field] = value
    a = np.ones(4) if kind == "dg" else SQUARE
    with pytest.raises(ValueError, match=f"qualifiers has the {field} {value} for a; expected"):
        matmul(a, B, qualifiers=elements)
