"""Operands whose owner gives them other memory after they were bound: followed, or an error; never the old memory."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from planmath.core.slots import ArraySlot

import planmath
from planmath.fft import FFT
from planmath.linalg.advanced import Matmul, MatmulEpilog
from planmath.sparse.advanced import DirectSolver
from planmath.tensor import BinaryContraction, Contraction, TernaryContraction

rng = np.random.default_rng(5)


def numbers(*shape):
    return rng.standard_normal(shape)


def moved(array, values):
    """Give an array of NumPy other memory of the same layout, as `resize` does where there is no room to stay."""
    before, taken = array.ctypes.data, []
    for _ in range(100):  # until what is free is not where it was
        array.__setstate__((1, (array.size + 1000,), array.dtype, False, bytes((array.size + 1000) * array.itemsize)))
        taken.append(np.empty_like(values))
        array.__setstate__((1, values.shape, array.dtype, False, values.tobytes()))
        if array.ctypes.data != before:
            return
    raise AssertionError("the array stayed where it was")


def square(n=4):
    return sp.csr_array(np.diag(np.full(n, 4.0)) + np.diag(np.ones(n - 1), 1))


#: An operation on two arrays of shape (4, 4), how to compute it, and what comes out.
OPERATIONS = {
    "product": (Matmul, lambda m: m.execute(), lambda a, b: a @ b),
    "contraction": (lambda a, b: BinaryContraction("ij,jk->ik", a, b), lambda m: m.execute(), lambda a, b: a @ b),
    "three": (
        lambda a, b: TernaryContraction("ij,jk,kl->il", a, b, np.eye(4)), lambda m: m.execute(), lambda a, b: a @ b,
    ),
    "added": (
        lambda a, b: BinaryContraction("ij,jk->ik", a, np.eye(4), c=b), lambda m: m.execute(beta=1.0),
        lambda a, b: a + b,
    ),
    "c": (lambda a, b: Matmul(a, np.eye(4), b, beta=1.0), lambda m: m.execute(), lambda a, b: a + b),
    "many": (lambda a, b: Contraction("ij,jk,kl->il", a, b, np.eye(4)), lambda m: m.execute(), lambda a, b: a @ b),
    "sliced": (
        lambda a, b: Contraction("ij,jk,kl->il", a, b, np.eye(4), options={"memory_limit": 128}),
        lambda m: m.execute(), lambda a, b: a @ b,
    ),
    "einsum": (
        lambda a, b: BinaryContraction("ij,jk->ik", a, b, options={"provider": "einsum"}), lambda m: m.execute(),
        lambda a, b: a @ b,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OPERATIONS)
def test_numpy_arrays_are_followed(kind):
    make, execute, expected = OPERATIONS[kind]
    a, b = numbers(4, 4), numbers(4, 4)
    with make(a, b) as operation:
        operation.plan()
        assert np.allclose(execute(operation), expected(a, b))
        for array in (a, b):
            moved(array, numbers(4, 4))
            assert np.allclose(execute(operation), expected(a, b))
        b.resize((2, 2), refcheck=False)
        with pytest.raises(ValueError, match=r"was changed after it was bound: .* shape \(2, 2\); expected \(4, 4\)"):
            execute(operation)
        b.resize((4, 4), refcheck=False)
        b[...] = numbers(4, 4)
        assert np.allclose(execute(operation), expected(a, b))


@pytest.mark.parametrize("provider", ["pocketfft", None])
@pytest.mark.parametrize("inplace", [False, True])
def test_transforms_follow(provider, inplace):
    a = numbers(16) + 1j * numbers(16)
    with FFT(a, options={"provider": provider, "inplace": inplace}) as transform:
        transform.plan()
        transform.execute()
        moved(a, values := numbers(16) + 1j)
        result = transform.execute()
        assert np.allclose(result, np.fft.fft(values))
        if inplace:
            assert result is a
            a.flags.writeable = False
            before = a.copy()
            with pytest.raises(ValueError, match=r"operand was changed after it was bound: .*read-only"):
                transform.execute()
            assert (a == before).all()


def test_views_are_followed():
    """What is bound through a view, as an axis of one element may have any stride."""
    a, b = numbers(1, 4), numbers(4, 4)
    with Matmul(np.lib.stride_tricks.as_strided(a, (1, 4), (96, 8)), b) as product:
        product.plan()
        product.reset_operands(a=a)
        assert np.allclose(product.execute(), a @ b)
        moved(a, numbers(1, 4))
        assert np.allclose(product.execute(), a @ b)


@pytest.mark.parametrize("direct", [True, False])
def test_solvers_follow(direct):
    a, b = square(), numbers(4)
    a.data = a.data.copy()  # an array that owns its memory
    with DirectSolver(a, b, options={"backward_error": "estimate" if direct else "exact"}) as solver:
        solver.plan()
        for _ in range(3):
            solver.factorize()
            solver.solve()
            moved(b, numbers(4))
            assert np.allclose(a @ solver.solve(), b)
            moved(a.data, a.data * 2)
            solver.factorize()
            assert np.allclose(a @ solver.solve(), b)
        b.resize(3, refcheck=False)
        with pytest.raises(ValueError, match="b was changed after it was bound"):
            solver.solve()


def test_tensors_are_followed():
    torch = pytest.importorskip("torch")
    a, b = torch.nn.Parameter(torch.randn(4, 4), requires_grad=False), torch.randn(4, 4)
    bias = torch.randn(4)
    with torch.no_grad(), Matmul(a, b) as product:
        product.plan(epilog=MatmulEpilog.BIAS, epilog_inputs={"bias": bias})
        product.execute()
        for array in (a, b, bias):
            array.data = torch.randn(array.shape)
            assert torch.allclose(product.execute(), a @ b + bias[:, None], atol=1e-5)
        a.data = a.data.double()
        with pytest.raises(ValueError, match=r"a was changed after it was bound: a has the dtype float64; expected"):
            product.execute()
        a.data = a.data.float()
        b.data = torch.randn(4, 4).T
        with pytest.raises(ValueError, match="b was changed after it was bound: b has the strides"):
            product.execute()
        product.reset_operands(b=b.contiguous())
        assert torch.allclose(product.execute(), a @ b + bias[:, None], atol=1e-5)
    x = torch.randn(8, dtype=torch.complex128)
    with FFT(x) as transform:
        transform.plan()
        transform.execute()
        x.data = x.data.clone().conj()
        with pytest.raises(ValueError, match="conj"):
            transform.execute()


def test_tensors_of_contractions_are_followed():
    torch = pytest.importorskip("torch")
    a, b, c = (torch.randn(3, 3, dtype=torch.float64) for _ in range(3))
    with Contraction("ij,jk,kl->il", a, b, c) as contraction:
        contraction.plan()
        contraction.execute()
        b.data = torch.randn(3, 3, dtype=torch.float64)
        assert torch.allclose(contraction.execute(), a @ b @ c)


def test_assigned_properties():
    """What NumPy lets users assign, though it advises against it."""
    a, b = numbers(4, 4), numbers(4, 4)
    with Matmul(a, b) as product, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        product.plan()
        b.strides = (8, 32)
        with pytest.raises(ValueError, match="b was changed after it was bound: b has the strides"):
            product.execute()
        b.strides = (32, 8)
        a.shape = (2, 8)
        with pytest.raises(ValueError, match="a was changed after it was bound: a has the shape"):
            product.execute()
        a.shape = (4, 4)
        assert np.allclose(product.execute(), a @ b)


def test_packed_operands_are_packed_again():
    a, b = numbers(64, 64).astype(np.float32), numbers(64, 64).astype(np.float32)
    with Matmul(a, b, options={"constant": ["b"]}) as product:
        product.plan()
        for algorithm in product.algorithms:
            product.plan(algorithms=algorithm)
            product.execute()
            moved(b, numbers(64, 64).astype(np.float32))
            assert np.allclose(product.execute(), a @ b, atol=1e-3)
            product.reset_operands(alpha=2.0)
            assert np.allclose(product.execute(), 2 * (a @ b), atol=1e-3)
            product.reset_operands(alpha=1.0)


def test_a_slot_tells_its_layout():
    a = numbers(3, 4)[:, ::2]
    slot = ArraySlot(planmath.core.arrays.package_named("numpy"), a.dtype, a.shape, (4, 2), 8)
    assert slot.bind(a)
    assert slot.array is a
    assert slot.layout.strides == (4, 2)
    assert slot.current().address == a.ctypes.data


@pytest.mark.parametrize("dtype", ["int16", "int64", "uint8"])
@pytest.mark.parametrize(
    "make",
    [
        FFT, lambda a: Matmul(a, a), lambda a: BinaryContraction("ij,jk", a, a), lambda a: Contraction("ij,jk", a, a),
        lambda a: DirectSolver(sp.csr_array(a), a),
    ],
)  # fmt: skip
def test_no_operation_takes_integers_because_layouts_do(make, dtype):
    with pytest.raises((TypeError, ValueError), match=f"{dtype}(?s:.)*(expected|supported|float)"):
        make(np.eye(4, dtype=dtype))


def test_another_default_device_changes_nothing():
    torch = pytest.importorskip("torch")
    a, b, c = (torch.rand(8, 8) for _ in range(3))
    expected = a @ b + c
    try:
        torch.set_default_device("meta")
        with Matmul(a, b, c, beta=1.0, options={"inplace": True, "tuning": False}) as product:
            product.plan()
            product.autotune(iterations=1)
            assert min(m.warm for m in product._plan_made.measurements) > 0
            assert product.execute() is c
    finally:
        torch.set_default_device(None)
    assert torch.allclose(c, expected)


def test_a_tensor_that_became_a_lazy_negative_where_it_was():
    torch = pytest.importorskip("torch")
    z = torch.randn(8, dtype=torch.complex128)
    t = z.imag
    with planmath.fft.FFT(t, options={"fft_type": "R2C"}) as transform:
        transform.plan()
        transform.execute()
        t.data = z.conj().imag  # with the same address and strides
        assert t.is_neg()
        with pytest.raises(ValueError, match=r"call \.resolve_neg\(\)"):
            transform.execute()


def test_tensors_without_elements():
    """PyTorch says of them that they are at the address 0."""
    torch = pytest.importorskip("torch")
    from planmath import sparse

    empty = torch.zeros(4, 4).to_sparse_csr()
    with sparse.Matmul(empty, torch.ones(4)) as product:
        product.plan()
        assert torch.equal(product.execute(), torch.zeros(4))
        product.reset_operands(a=torch.eye(4).to_sparse_csr())
        assert torch.equal(product.execute(), torch.ones(4))
