"""`planmath.tensor.einsum` by NumPy's signature, and planmath as a backend of opt_einsum."""

from __future__ import annotations

import numpy as np
import opt_einsum
import pytest

import planmath
from planmath.interfaces.opt_einsum import tensordot
from planmath.tensor import einsum

RANDOM = np.random.default_rng(0)
A, B, C = RANDOM.random((3, 4)), RANDOM.random((4, 5)), RANDOM.random((5, 2))
EXPRESSIONS = ["ij,jk,kl->il", "ij,jk,kl", "ij, jk, kl -> ", "...j,jk,k...->..."]


@pytest.mark.parametrize("expr", EXPRESSIONS)
@pytest.mark.parametrize(
    "optimize", [True, False, "greedy", ("greedy", 1000), ["einsum_path", (1, 2), (0, 1)]], ids=str
)
def test_paths(expr, optimize):
    np.testing.assert_allclose(einsum(expr, A, B, C[:, :1], optimize=optimize), np.einsum(expr, A, B, C[:, :1]))


@pytest.mark.parametrize("expr", EXPRESSIONS[:3])
def test_a_backend_of_opt_einsum(expr):
    expected = np.einsum(expr, A, B, C)
    np.testing.assert_allclose(opt_einsum.contract(expr, A, B, C, backend="planmath"), expected)
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensors = [torch.asarray(x) for x in (A, B, C)]
    np.testing.assert_allclose(opt_einsum.contract(expr, *tensors, backend="planmath"), expected)


@pytest.mark.parametrize("axes", [0, 1, 2, (1, 0), ((0, 2), (1, 0)), ((-1,), (0,))], ids=str)
def test_tensordot(axes):
    a, b = RANDOM.random((3, 4, 3)), RANDOM.random((4, 3, 5))
    a = a if axes not in (1, ((-1,), (0,))) else RANDOM.random((2, 3, 4))
    a = a if axes not in (2, ((0, 2), (1, 0))) else RANDOM.random((3, 4, 3) if axes == 2 else (3, 2, 4))
    b = b if axes != (1, 0) else RANDOM.random((4, 2))
    if axes == 2:
        a = RANDOM.random((2, 4, 3))
    np.testing.assert_allclose(tensordot(a, b, axes), np.tensordot(a, b, axes))


def test_tensordot_needs_as_many_axes_of_both():
    with pytest.raises(ValueError, match=r"2 axes of a, and 1 of b"):
        tensordot(A, B, ((0, 1), (0,)))


@pytest.mark.parametrize("modes", [(), ([0, 2],), ([2, 0],)], ids=str)
def test_operands_and_modes_in_turn(modes):
    np.testing.assert_allclose(einsum(A, [0, 1], B, [1, 2], *modes), np.einsum(A, [0, 1], B, [1, 2], *modes))
    rows = [[..., 2]] if modes else []
    np.testing.assert_allclose(einsum(A, [..., 1], B, [1, 2], *rows), np.einsum(A, [..., 1], B, [1, 2], *rows))


@pytest.mark.parametrize("first", ["float16", "float32", "float64", "complex64", "int8", "bool", "longdouble", ">f8"])
@pytest.mark.parametrize("second", ["float32", "complex128", "int64"])
def test_dtypes_are_promoted_as_numpy_does(first, second):
    a, b = (4 * A).astype(first), (4 * B).astype(second)
    result, expected = einsum("ij,jk", a, b), np.einsum("ij,jk", a, b)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=1e-3 if result.dtype == np.float16 else 1e-5)


def test_order_out_and_casting():
    assert einsum("ij,jk", A, B, order="F").flags.f_contiguous
    assert einsum("ij,jk", A, B, order="C").flags.c_contiguous
    out = np.empty((5, 3), np.complex128).T
    assert einsum("ij,jk", A, B, out=out) is out
    np.testing.assert_allclose(out, A @ B)
    assert einsum("ij,jk", A, B, dtype="f4", casting="same_kind").dtype == np.float32
    with pytest.raises(TypeError, match="operand 0 of dtype float64 cannot be cast to float32"):
        einsum("ij,jk", A, B, dtype="f4")
    with pytest.raises(TypeError, match="cannot be cast to out's float32"):
        einsum("ij,jk", A, B, out=np.empty((3, 5), "f4"))
    with pytest.raises(ValueError, match=r"out has the shape \(2,\)"):
        einsum("ij,jk", A, B, out=np.empty(2))


def test_what_is_like_an_array():
    assert einsum("i,i", [1, 2.0], (3, 4)) == 11
    assert einsum("ii", np.arange(9).reshape(3, 3)) == 12
    assert einsum("i,i", np.ones(0), np.ones(0)) == 0
    np.testing.assert_allclose(einsum(",i->i", 2.0, A[0]), 2 * A[0])


def test_what_does_not_fit_is_told():
    for call, error, match in (
        (lambda: einsum("ij,jk", A, A), ValueError, "extent"),
        (lambda: einsum(), TypeError, "no operand"),
        (lambda: einsum(A), TypeError, "without its modes"),
        (lambda: einsum("ij", A, order="X"), ValueError, "order is 'X'"),
    ):
        with pytest.raises(error, match=match):
            call()
    with pytest.raises(AttributeError, match="no attribute 'einsums'"):
        planmath.einsums  # noqa: B018
