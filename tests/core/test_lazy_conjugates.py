"""PyTorch's lazy conjugates as operands: their memory is read as it is, and conjugated by the product."""

from __future__ import annotations

import numpy as np
import pytest

from planmath import linalg
from planmath.fft import fft
from planmath.linalg import DiagonalMatrixQualifier, GeneralMatrixQualifier, HermitianMatrixQualifier
from planmath.linalg.advanced import Matmul, matmul, matrix_qualifiers_dtype
from planmath.linalg.advanced.providers import PROVIDERS as OF_PRODUCTS
from planmath.linalg.generic.providers import PROVIDERS as OF_STRUCTURES
from planmath.sparse.advanced import direct_solver
from planmath.tensor import (
    BinaryContraction,
    Contraction,
    Operator,
    binary_contraction,
    contract,
    tensor_qualifiers_dtype,
    ternary_contraction,
)
from planmath.tensor.providers import PROVIDERS as OF_CONTRACTIONS
from tests.providers import provider_parameters, space_of

torch = pytest.importorskip("torch")


def numbers(*shape, dtype=torch.complex128):
    return torch.randn(*shape, dtype=dtype)


def same(result, expected):
    assert not result.is_conj()
    torch.testing.assert_close(result, expected.resolve_conj(), rtol=1e-4 if result.dtype == torch.complex64 else 1e-12,
                               atol=1e-5 if result.dtype == torch.complex64 else 1e-12)  # fmt: skip


X, Y, C = numbers(3, 4), numbers(4, 5), numbers(3, 5)
#: Which of a, b and c are lazy conjugates.
BITS = [(True, False, False), (False, True, True), (True, True, True)]


def beside(provider, *arrays):
    """The arrays where a provider computes."""
    return [array.to(space_of(provider)) for array in arrays]


def lazily(bits, arrays):
    return [array.conj() if bit else array for bit, array in zip(bits, arrays, strict=True)]


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("provider", provider_parameters(OF_PRODUCTS))
def test_products(provider, dtype):
    options = {"provider": provider}
    for bits in BITS:
        a, b, c = lazily(bits, [array.to(dtype) for array in beside(provider, X, Y, C)])
        same(matmul(a, b, options=options), a @ b)
        same(matmul(a, b, c, beta=2, options=options), a @ b + 2 * c)
        same(matmul(a.mH, c, options=options), a.mH @ c)
        qualifiers = np.ones(3, matrix_qualifiers_dtype)
        same(matmul(a, b, c, beta=2, qualifiers=qualifiers, options=options), (a @ b + 2 * c).conj())
        same(matmul(a.expand(2, 3, 4), b, options=options), a.expand(2, 3, 4) @ b)


@pytest.mark.parametrize("provider", provider_parameters(OF_STRUCTURES))
@pytest.mark.parametrize("conjugate", [False, True])
def test_products_with_a_structure(provider, conjugate):
    (every,) = beside(provider, X)
    x = every[:, :3]
    kind, a, dense = DiagonalMatrixQualifier, x[0], x[0].diag()
    if provider != "planmath":
        kind, a, dense = HermitianMatrixQualifier, x @ x.mH, x @ x.mH
    qualifiers = np.array([kind.create(conjugate=conjugate), GeneralMatrixQualifier.create()])
    result = linalg.matmul(a.conj(), every.conj(), qualifiers=qualifiers, options={"provider": provider})
    same(result, (dense if conjugate else dense.conj()) @ every.conj())


@pytest.mark.parametrize("provider", provider_parameters(OF_CONTRACTIONS))
def test_contractions(provider):
    options = {"provider": provider}
    for bits in BITS:
        a, b, c = lazily(bits, beside(provider, X, Y, C))
        same(binary_contraction("ij,jk->ik", a, b, options=options), a @ b)
        same(binary_contraction("ij,jk->ki", a, b, c=c.T, beta=2, options=options), (a @ b + 2 * c).T)
        same(ternary_contraction("ij,jk,lk->il", a, b, c, options=options), a @ b @ c.T)
        same(contract("ij,jk,lk,l->i", a, b, c, c[:, 0], options=options), a @ b @ c.T @ c[:, 0])
        same(contract("ij->ji", a, options=options), a.T)


def test_contractions_in_slices():
    a, b = numbers(40, 30), numbers(40, 30)
    with Contraction("ij,kj,kl->il", a.conj(), b, a.conj(), options={"memory_limit": "8 KiB"}) as contraction:
        contraction.plan()
        assert "slices: " in contraction.report()
        same(contraction.execute(), a.conj() @ b.T @ a.conj())
        contraction.reset_operands(b.conj(), None, None)
        same(contraction.execute(), b.conj() @ b.T @ a.conj())


@pytest.mark.parametrize("operation", [
    (lambda a, b: Matmul(a, b)), (lambda a, b: linalg.Matmul(a, b)),
    (lambda a, b: BinaryContraction("ij,jk->ik", a, b)),
], ids=["linalg.advanced", "linalg", "tensor"])  # fmt: skip
def test_resets(operation):
    """New operands are lazy conjugates where such were planned, or say what to pass, which then works."""
    other = numbers(3, 4)
    with operation(X.conj(), Y) as product:
        product.plan()
        for a in (other.conj(), other.conj_physical().conj()):
            product.reset_operands(a=a)
            same(product.execute(), a @ Y)
        with pytest.raises(ValueError, match=r"a has the conjugate bit False; .*True.*pass a\.conj_physical\(\)\.conj"):
            product.reset_operands(a=other)
        with pytest.raises(ValueError, match=r"b is a view whose conj .*\.resolve_conj\(\)"):
            product.reset_operands(b=Y.conj())
        same(product.execute(), other @ Y)
        product.reset_operands(b=Y.conj().resolve_conj())
        same(product.execute(), other @ Y.conj())
        product.autotune(iterations=1)
        same(product.execute(), other @ Y.conj())
        product.release_operands()
        product.reset_operands(a=X.conj(), b=Y)
        same(product.execute(), X.conj() @ Y)


def test_views_of_other_strides_and_tensors_with_other_memory():
    column, a = numbers(1, 8).conj()[:, :4].mT, numbers(3, 4).conj()
    with Matmul(a, column.contiguous().resolve_conj().conj()) as product:
        product.plan()
        product.reset_operands(b=numbers(4, 1).conj())
        product.reset_operands(b=column)  # whose strides are others, along an axis of one element
        same(product.execute(), a @ column)
        for data in (numbers(3, 4).conj(), numbers(3, 4).conj()):
            a.data = data
            same(product.execute(), a @ column)
        a.data = numbers(3, 4)
        with pytest.raises(ValueError, match="a was changed after it was bound: a has the conjugate bit False"):
            product.execute()


def test_programs_in_python_get_what_is_in_memory():
    with BinaryContraction("ij,jk->ik", X.conj(), Y.conj(), options={"provider": "einsum"}) as contraction:
        contraction.plan()
        for a in (X, numbers(3, 4)):
            contraction.reset_operands(a=a.conj())
            same(contraction.execute(), a.conj() @ Y.conj())


@pytest.mark.parametrize("call", [
    matmul, linalg.matmul, (lambda a, b: binary_contraction("ij,jk", a, b)), (lambda a, b: contract("ij,jk", a, b)),
    (lambda a, b: ternary_contraction("ij,jk,k", a, b, b[0])),
], ids=["linalg.advanced", "linalg", "binary", "network", "ternary"])  # fmt: skip
def test_remembered_plans_are_told_apart(call):
    for _ in range(2):
        x = call(X, Y)
        assert not torch.allclose(x, call(X.conj(), Y))
        torch.testing.assert_close(call(X.conj(), Y.conj()), x.conj().resolve_conj())


def test_what_is_written_is_no_lazy_conjugate():
    words = r"is a view whose conj .*\.resolve_conj\(\)"
    both = np.ones(3, matrix_qualifiers_dtype)
    for qualifiers in (None, both):
        with pytest.raises(ValueError, match=f"c {words}"):
            matmul(X, Y, C.conj(), beta=1, qualifiers=qualifiers, options={"inplace": True})
    with pytest.raises(ValueError, match=f"c {words}"):
        linalg.matmul(X, Y, C.conj(), beta=1)
    c = C.conj()
    with pytest.raises(ValueError, match=f"c {words}|out {words}"):
        binary_contraction("ij,jk", X, Y, c=c, beta=1, out=c)
    memory = numbers(16)
    with Matmul(memory[:12].reshape(3, 4).conj(), Y) as product:
        product.plan()
        with pytest.raises(ValueError, match=f"out {words}"):
            product.execute(out=product.empty_result().conj())
        with pytest.raises(ValueError, match="out shares memory with a"):
            product.execute(out=memory[1:].reshape(3, 5))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_transforms_and_sparse_systems_read_memory_as_it_is():
    system = torch.eye(3, dtype=torch.complex128).to_sparse_csr()
    for name, call in (("operand", fft), ("b", lambda x: direct_solver(system, x))):
        with pytest.raises(ValueError, match=rf"{name} is a view whose conj .*\.resolve_conj\(\)"):
            call(X[:, 0].conj())
        call(X[:, 0].conj().resolve_conj())


def test_other_operators_on_a_lazy_conjugate():
    qualifiers = np.full(3, Operator.OP_EXP, tensor_qualifiers_dtype)
    with pytest.raises(ValueError, match=r"a is conjugated in name only, .*OP_EXP .*a\.resolve_conj\(\)"):
        binary_contraction("ij,jk", X.conj(), Y, qualifiers=qualifiers)
    same(binary_contraction("ij,jk", X.conj().resolve_conj(), Y, qualifiers=qualifiers), X.conj().exp() @ Y.exp())
