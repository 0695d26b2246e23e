"""The operators that are applied to operands."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from planmath.core.errors import UnavailableError
from planmath.tensor import BinaryContraction, Operator, TernaryContraction, binary_contraction
from planmath.tensor.enums import NOT_UNARY, REAL_ONLY
from tests.arrays import to_numpy, to_package
from tests.tensor.operands import cases

_O = Operator
#: What each is, by NumPy and SciPy.
FUNCTIONS = {
    _O.OP_IDENTITY: lambda x: x, _O.OP_SQRT: np.sqrt, _O.OP_RELU: lambda x: np.maximum(x, 0), _O.OP_CONJ: np.conj,
    _O.OP_RCP: np.reciprocal, _O.OP_SIGMOID: special.expit, _O.OP_TANH: np.tanh, _O.OP_EXP: np.exp, _O.OP_LOG: np.log,
    _O.OP_ABS: np.abs, _O.OP_NEG: np.negative, _O.OP_SIN: np.sin, _O.OP_COS: np.cos, _O.OP_TAN: np.tan,
    _O.OP_SINH: np.sinh, _O.OP_COSH: np.cosh,
    _O.OP_ASIN: np.arcsin, _O.OP_ACOS: np.arccos, _O.OP_ATAN: np.arctan, _O.OP_ASINH: np.arcsinh,
    _O.OP_ACOSH: np.arccosh, _O.OP_ATANH: np.arctanh, _O.OP_CEIL: np.ceil, _O.OP_FLOOR: np.floor,
    _O.OP_MISH: lambda x: x * np.tanh(np.logaddexp(x, 0)), _O.OP_SWISH: lambda x: x * special.expit(x),
    _O.OP_SOFT_PLUS: lambda x: np.logaddexp(x, 0), _O.OP_SOFT_SIGN: lambda x: x / (1 + np.abs(x)),
}  # fmt: skip
#: Where it is defined, if not everywhere.
DOMAIN = {
    _O.OP_SQRT: (0.1, 2), _O.OP_LOG: (0.1, 2), _O.OP_RCP: (0.5, 2), _O.OP_ASIN: (-0.9, 0.9), _O.OP_ACOS: (-0.9, 0.9),
    _O.OP_ATANH: (-0.9, 0.9), _O.OP_ACOSH: (1.1, 3),
}  # fmt: skip


def test_every_operator_is_known():
    assert set(FUNCTIONS) == set(Operator) - NOT_UNARY


def values(operator, dtype, shape, seed=0):
    low, high = DOMAIN.get(operator, (-3, 3))
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, shape)
    return (x + 1j * rng.uniform(-0.4, 0.4, shape) if dtype.startswith("complex") else x).astype(dtype)


@pytest.mark.pairwise
@pytest.mark.parametrize("operator", FUNCTIONS, ids=lambda o: o.name)
@pytest.mark.parametrize("case", cases("float32", "float64", "complex64", "complex128"))
def test_operator_of_each_operand(case, operator):
    if case.dtype.startswith("complex") and operator in REAL_ONLY:
        pytest.skip("it is defined for real elements only")
    a, b, c = (values(operator, case.dtype, shape, i) for i, shape in enumerate([(3, 300), (300, 5), (3, 5)]))
    f = FUNCTIONS[operator]
    given = [to_package(x, case.package) for x in (a, b, c)]
    if case.on_device and case.dtype.startswith("complex") and operator not in (Operator.OP_IDENTITY, Operator.OP_CONJ):
        with pytest.raises(UnavailableError, match=f"cuTENSOR has no {operator.name} of {case.dtype}"):
            binary_contraction(
                "ij,jk->ik", *given[:2], qualifiers=np.array([1, operator, 1], np.int32), options=case.options
            )
        return
    tolerance = 1e-12 if case.dtype in ("float64", "complex128") else 1e-4
    for position in range(3):
        qualifiers = np.ones(3, np.int32)
        qualifiers[position] = operator
        seen = [f(x) if i == position else x for i, x in enumerate((a, b, c))]
        r = binary_contraction(
            "ij,jk->ik", *given[:2], c=given[2], beta=2.0, qualifiers=qualifiers, options=case.options
        )
        expected = seen[0] @ seen[1] + 2 * seen[2]
        np.testing.assert_allclose(to_numpy(r), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_operator_before_a_sum():
    """An operand's own modes are summed after its operator was applied."""
    a, b = np.random.default_rng(0).random((2, 4, 5))
    r = binary_contraction("ij,kl->ik", a, b, qualifiers=np.array([Operator.OP_EXP, Operator.OP_SQRT, 1], np.int32))
    np.testing.assert_allclose(r, np.outer(np.exp(a).sum(1), np.sqrt(b).sum(1)))


def test_operators_of_large_numbers_stay_finite():
    x = np.array([-1000.0, 1000.0])
    for operator, expected in (
        (Operator.OP_SOFT_PLUS, [0, 1000]),
        (Operator.OP_MISH, [0, 1000]),
        (Operator.OP_SIGMOID, [0, 1]),
    ):
        r = binary_contraction("i,i->i", x, np.ones(2), qualifiers=np.array([operator, 1, 1], np.int32))
        np.testing.assert_allclose(r, expected, atol=1e-300)


def test_relu_keeps_nan():
    r = binary_contraction(
        "i,->i", np.array([np.nan, -1, 1]), np.ones(()), qualifiers=np.array([Operator.OP_RELU, 1, 1], np.int32)
    )
    np.testing.assert_array_equal(r, [np.nan, 0, 1])


@pytest.mark.parametrize("inplace", [False, True])
def test_operator_of_the_addend(inplace):
    a, b = np.ones((3, 4)), np.ones((4, 5))
    c = -np.ones((3, 5))
    with BinaryContraction(
        "ij,jk->ik", a, b, c=c, out=c if inplace else None, qualifiers=np.array([1, 1, Operator.OP_ABS], np.int32)
    ) as contraction:
        contraction.plan()
        np.testing.assert_array_equal(contraction.execute(beta=2.0), np.full((3, 5), 6.0))


def test_operators_of_three_operands():
    a, b, c, d = np.random.default_rng(1).random((4, 3, 3))
    operators = np.array([Operator.OP_EXP, Operator.OP_NEG, Operator.OP_SQRT, Operator.OP_COS], np.int32)
    with TernaryContraction("ij,jk,kl->il", a, b, c, d=d, qualifiers=operators) as contraction:
        contraction.plan()
        np.testing.assert_allclose(contraction.execute(beta=1.0), np.exp(a) @ -b @ np.sqrt(c) + np.cos(d))
