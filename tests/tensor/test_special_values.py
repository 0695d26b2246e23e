"""NaN, infinities, zeros, subnormals and overflow: where all providers agree, and operands that are not read."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from planmath.tensor import (
    BinaryContraction,
    Operator,
    TernaryContraction,
    binary_contraction,
    tensor_qualifiers_dtype,
)
from planmath.tensor.enums import NOT_UNARY
from planmath.tensor.providers import PROVIDERS
from tests.linalg.operands import wide
from tests.providers import available, on_host
from tests.tensor.operands import cases
from tests.tensor.reference import einsum
from tests.tensor.test_conformance import every_algorithm

#: Of each kind of work: products, copies, batches, elements one by one, long sums, factors packed from their strides.
SHAPES = {
    "ij,jk->ik": ((3, 4), (4, 5)), "ij,jk->ki": ((40, 24), (24, 36)), "bij,bkj->bik": ((3, 5, 4), (3, 6, 4)),
    "ij,ij->ij": ((4, 5), (4, 5)), "i,i->": ((300,), (300,)), "ijx,jk->ik": ((3, 4, 2), (4, 5)),
    "aebf,dfce->abcd": ((6, 5, 7, 8), (9, 8, 4, 5)),
}  # fmt: skip


def same(r, expected):
    """The same numbers, and NaN where there is NaN; the sign of a zero does not count."""
    values = wide(r)
    expected = wide(expected) if hasattr(expected, "dtype") else expected
    np.testing.assert_array_equal(values, np.broadcast_to(expected, values.shape))


@pytest.mark.parametrize("case", cases("float16", "bfloat16", "float32", "float64", "complex64"))
@pytest.mark.parametrize("expr", SHAPES)
def test_alpha_of_zero_reads_no_factor_and_beta_of_zero_no_addend(case, expr):
    shapes = SHAPES[expr]
    for value in (np.nan, np.inf):
        bad, a, b = (case.like(np.full(shapes[i], v)) for i, v in ((0, value), (0, 1.0), (1, 1.0)))
        with BinaryContraction(expr, bad, b, options=case.options) as contraction:
            contraction.plan()
            out = contraction.empty_result()
            addends = [case.like(np.full(tuple(out.shape), v)) for v in (2.0, value)]
            for _ in every_algorithm(contraction):
                out[...] = value
                same(contraction.execute(alpha=0.0, out=out), 0.0)
        for left, c, alpha, beta, expected in (
            (bad, addends[0], 0, 0.5, 1.0), (bad, addends[1], 0.0, 0, 0.0),
            (a, addends[1], 1.0, 0.0, binary_contraction(expr, a, b, options=case.options)),
        ):  # fmt: skip
            with BinaryContraction(expr, left, b, c=c, options=case.options) as contraction:
                contraction.plan()
                for _ in every_algorithm(contraction):
                    same(contraction.execute(alpha=alpha, beta=beta), expected)


@pytest.mark.parametrize("case", cases("float64", "complex128"))
def test_alpha_of_zero_with_an_addend_that_is_replaced_or_laid_out_otherwise(case):
    bad, b, c = case.like(np.full((3, 4), np.inf)), case.operand((4, 5)), case.operand((3, 5), np.asfortranarray)
    twice = 2 * wide(c)
    for addend, arguments in ((case.operand((3, 5), np.asfortranarray), {}), (c, {"out": c})):
        with BinaryContraction("ij,jk->ik", bad, b, c=addend, options=case.options, **arguments) as contraction:
            contraction.plan()
            same(contraction.execute(alpha=0.0, beta=2.0), twice)
    with TernaryContraction("ij,jk,kl->il", bad, b, case.operand((5, 2)), options=case.options) as contraction:
        contraction.plan()
        for _ in every_algorithm(contraction):
            same(contraction.execute(alpha=0.0), 0.0)


def test_measured_is_the_product_whatever_alpha_was_before(tuning_record):
    a = np.ones((200, 200))
    with BinaryContraction("ij,jk->ik", a, a) as contraction:
        contraction.plan()
        contraction.execute(alpha=0.0)
        contraction.autotune(iterations=1)
        assert contraction._plan_made.measurements[0].warm > 2 * 200**3 / 2e12  # a CPU has fewer operations a second
        same(contraction.execute(alpha=0.0), 0.0)


@pytest.mark.parametrize("case", cases("float32", "float64", "complex64"))
@pytest.mark.parametrize("expr", SHAPES)
def test_special_values_in_two_operands(case, expr):
    """Which elements are finite is fixed; of real operands also which of the others are NaN, and which infinite.

    But not where a mode is summed in one operand before it meets the other: (1 - 1) inf, or inf - inf.
    """
    a, b = (wide(case.operand(shape, seed=i)).astype(case.dtype) for i, shape in enumerate(SHAPES[expr]))
    limits = np.finfo(case.dtype)
    for position, value in enumerate((np.nan, np.inf, -np.inf, -0.0, 0.0, limits.max, limits.smallest_subnormal)):
        a.reshape(-1)[position % a.size] = value
    b.reshape(-1)[-1], b.reshape(-1)[0] = np.inf, 4.0
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = einsum(expr, [a.astype(np.complex128 if "complex" in case.dtype else np.float64), b])
        if case.dtype != "float64":  # what is larger than the dtype's largest number is infinite in it
            expected = expected.astype(case.dtype)
    with BinaryContraction(expr, case.like(a), case.like(b), options=case.options) as contraction:
        contraction.plan()
        for _ in every_algorithm(contraction):
            r = wide(contraction.execute())
            if case.dtype.startswith("complex") or "x" in expr:
                np.testing.assert_array_equal(np.isfinite(r), np.isfinite(expected))
            else:
                for kind in (np.isnan, np.isposinf, np.isneginf):
                    np.testing.assert_array_equal(kind(r), kind(expected))


@pytest.mark.parametrize("case", cases("float16", "bfloat16", "float32", "float64"))
def test_subnormals_are_kept(case):
    least = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}[case.dtype]
    for expr, shapes in SHAPES.items():
        if expr == "i,i->":
            continue
        a, b = np.zeros(shapes[0]), np.ones(shapes[1])
        a[...] = least
        terms = np.ones(shapes[0])
        with BinaryContraction(expr, case.like(a), case.like(b), options=case.options) as contraction:
            contraction.plan()
            for _ in every_algorithm(contraction):
                same(wide(contraction.execute()) / least, einsum(expr, [terms, b]))


OPERATORS = [o for o in Operator if o not in NOT_UNARY]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_operators_of_special_values(operator):
    """In silence, and whatever NumPy's error state is: what is not finite is a result like any other."""
    a = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -2.5, 2.5, 0.5, 1e300, -1e300, 5e-324])
    given = np.array([operator, Operator.OP_IDENTITY, Operator.OP_IDENTITY], tensor_qualifiers_dtype)
    with np.errstate(all="raise"):
        results = [
            binary_contraction("i,->i", a, np.ones(()), qualifiers=given, options={"provider": name})
            for name in available(on_host(PROVIDERS))
        ]
    for r in results[1:]:
        np.testing.assert_allclose(r, results[0], rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("conjugated", [False, True])
def test_no_library_multiplies_by_an_alpha_of_zero(dtype, conjugated):
    """On some processors OpenBLAS's small products are NaN then, whatever BLAS's rule says."""
    dtype = "complex64" if conjugated else dtype
    a, b = np.full((3, 4), np.nan, dtype), np.ones((4, 5), dtype)
    c = (np.arange(15).reshape(5, 3) * (1 + 1j if conjugated else 1)).astype(dtype).T
    more = {}
    if conjugated:
        more["qualifiers"] = np.array([Operator.OP_IDENTITY] * 2 + [Operator.OP_CONJ], tensor_qualifiers_dtype)
    for added, expected in ((None, 0), (c, 2 * (c.conj() if conjugated else c))):
        with BinaryContraction("ij,jk->ik", a, b, c=added, options={"provider": "gemm"}, **more) as contraction:
            contraction.plan()
            same(contraction.execute(alpha=0, beta=None if added is None else 2), expected)
            names = {call.name for call in contraction._executor.programs[contraction._key].calls}
        assert names <= {"copy", "transformation", "sum"}, names
