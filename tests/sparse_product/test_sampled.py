"""Products of two dense arrays into the entries of a sparse one, by every provider."""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from planmath.core.errors import UnavailableError
from planmath.sparse import Matmul, matmul, ust
from planmath.sparse.product.providers import own_sampled
from planmath.sparse.ust.packages import is_dense
from tests.sparse_product.test_pairs import as_dense
from tests.sparse_product.test_product import NAMES, close, dense_pattern, qualified, sparse, values
from tests.ust.test_tensor import MATRIX_FORMATS, formats

N = ust.NamedFormats
pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
SPARSE = [form for form in MATRIX_FORMATS if not is_dense(form)]
SAMPLERS = [name for name in NAMES if name in ("own", "scipy")]


def product(
    provider: str, *operands: Any, plan: dict[str, Any] | None = None, threads: int = 1, **keywords: Any
) -> Any:
    with Matmul(*operands, options={"provider": provider}, execution={"num_threads": threads}, **keywords) as mm:
        mm.plan(**(plan or {}))
        return mm.execute()


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize("provider", SAMPLERS)
@pytest.mark.parametrize("form", SPARSE, ids=lambda f: f.name[:20])
@pytest.mark.parametrize("order", ["CC", "CF", "FC"])
@pytest.mark.parametrize("k", [0, 1, 16, 37])
def test_formats(provider: str, form: ust.TensorFormat, order: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_sampled, "THREADED_WORK", 0)
    c = values((8, 12), density=0.3)
    t = sparse(c, form)
    stored = dense_pattern(t)
    a, b = values((8, k), seed=1).copy(order[0]), values((k, 12), seed=2).copy(order[1])
    found = product(provider, a, b, t, alpha=2.0, beta=0.5, threads=3)
    assert found is t
    close(as_dense(t), np.where(stored, 2 * a @ b + 0.5 * c, 0))


@pytest.mark.parametrize("provider", SAMPLERS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64", "complex128"])
@pytest.mark.parametrize("transposed", [(0, 0), (1, 1)])
def test_dtypes(provider: str, dtype: str, transposed: tuple[int, int]) -> None:
    a, b, c = values((6, 21), dtype), values((21, 8), dtype, 1), values((6, 8), dtype, 2, density=0.4)
    conjugated = int(dtype.startswith("complex"))
    t = sparse(c, N.CSR)
    x, y = (m.T if flag else m for m, flag in zip((a, b), transposed, strict=True))
    product(provider, x, y, t, beta=0, qualifiers=qualified((transposed[0], conjugated), (transposed[1], 0)))
    wide = "complex64" if dtype == "float16" else dtype
    expected = np.where(c != 0, (a.conj() if conjugated else a).astype("c16") @ b.astype("c16"), 0)
    close(as_dense(t.convert(dtype=wide)), expected if conjugated or dtype == "float16" else expected.real, dtype)


@pytest.mark.parametrize("provider", SAMPLERS)
@pytest.mark.parametrize("package", ["csr", "csc", "coo", "torch csr", "torch coo", "torch bfloat16"])
def test_packages(provider: str, package: str) -> None:
    a, b, c = values((6, 5)), values((5, 8), seed=1), values((6, 8), seed=2, density=0.4)
    expected = np.where(c != 0, a @ b, 0)
    if not package.startswith("torch"):
        m = sp.csr_array(c).asformat(package)
        assert product(provider, a, b, m, beta=0) is m
        close(m.toarray(), expected)
        return
    dtype = torch.bfloat16 if "bfloat16" in package else torch.float64
    x, y, z = (torch.from_numpy(m).to(dtype) for m in (a, b, c))
    t = z.to_sparse().coalesce() if "coo" in package else z.to_sparse_csr()
    assert product(provider, x, y, t, beta=0) is t
    close(as_dense(t), expected, "bfloat16" if "bfloat16" in package else "float64")


@pytest.mark.parametrize("provider", SAMPLERS)
@pytest.mark.parametrize("batches", [((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 3), (2, 3))])
@pytest.mark.parametrize("strided", [False, True])
def test_batches(provider: str, batches: Any, strided: bool) -> None:
    a, b = values((*batches[0], 6, 9)), values((*batches[1], 9, 5), seed=1)
    c = values((*(batches[0] or batches[1]), 6, 5), seed=2, density=0.4)
    if strided:
        a, b = np.repeat(a, 2, axis=-1)[..., ::2], np.repeat(b, 2, axis=-2)[..., ::2, :]
    t = sparse(c, N.COOd(c.ndim))
    product(provider, a, b, t, beta=0)
    close(as_dense(t), np.where(c != 0, a @ b, 0))


@pytest.mark.parametrize("provider", SAMPLERS)
def test_vectors(provider: str) -> None:
    a, v, w = values((6, 8)), values((8,), seed=1), values((6,), seed=2)
    for operands, expected in (((a, v), a @ v), ((w, a), w @ a)):
        c = values(expected.shape, seed=3, density=0.5)
        t = sparse(c, N.SparseVector)
        product(provider, *operands, t, beta=0)
        close(as_dense(t), np.where(c != 0, expected, 0))


@hypothesis.settings(max_examples=60)
@hypothesis.given(formats(), st.integers(1, 70), st.integers(0, 99), st.sampled_from(SAMPLERS))
def test_random_formats(form: ust.TensorFormat, k: int, seed: int, provider: str) -> None:
    shape = (6, 8, 4)[: form.num_dimensions]
    c = values(shape, seed=seed, density=0.5)
    t = sparse(c, form)
    hypothesis.assume(not is_dense(form))
    stored = dense_pattern(t)
    a = values((*shape[:-1], k) if len(shape) > 1 else (k,), seed=seed + 1)
    b = values((k, shape[-1]), seed=seed + 2)
    product(provider, a, b, t, beta=0)
    close(as_dense(t), np.where(stored, a @ b, 0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [16, 32, 64, 128, 50])
@pytest.mark.parametrize("threads", [1, 3])
def test_operands_that_begin_anywhere(dtype: str, k: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of which a vector reaches over two lines of the cache are copied, with the same results."""
    monkeypatch.setattr(own_sampled, "THREADED_WORK", 0)
    c = values((12, 40), dtype, seed=2, density=0.8)
    memory = [np.empty(40 * k * c.itemsize + 128, np.uint8) for _ in range(4)]

    def at(number: int, offset: int, given: np.ndarray) -> np.ndarray:
        begin = -memory[number].ctypes.data % 64 + offset
        made = memory[number][begin : begin + given.nbytes].view(dtype).reshape(given.shape)
        made[...] = given
        return made

    a, b = values((12, k), dtype), values((40, k), dtype, 1)
    expected = np.where(c != 0, a.astype("f8") @ b.T.astype("f8"), 0)
    m = sp.csr_array(c)
    execution = {"num_threads": threads}
    with Matmul(at(0, 0, a), at(1, 16, b).T, m, beta=0, options={"provider": "own"}, execution=execution) as mm:
        mm.plan()
        mm.execute()
        close(m.toarray(), expected, dtype)
        before = m.data.copy()
        mm.reset_operands(a=at(2, 16, a), b=at(3, 0, b).T)
        mm.execute()
        np.testing.assert_array_equal(m.data, before)


def test_lifecycle() -> None:
    a, b, c = values((6, 5)), values((5, 8), seed=1), values((6, 8), seed=2, density=0.4)
    m = sp.csr_array(c)
    with Matmul(a, b, m) as mm:
        mm.plan()
        assert mm.execute() is m
        close(m.toarray(), np.where(c != 0, a @ b + c, 0))
        mm.execute()  # c accumulates
        close(m.toarray(), np.where(c != 0, 2 * a @ b + c, 0))
        d = values((6, 8), seed=3, density=0.6)  # entries elsewhere
        n = sp.csr_array(d)
        mm.reset_operands(c=n, beta=0, a=-a)
        assert mm.execute() is n
        close(n.toarray(), np.where(d != 0, -a @ b, 0))
        moved = sp.csr_array(np.roll(d, 1, axis=1))
        mm.reset_operands(c=moved)
        mm.execute()
        close(moved.toarray(), np.where(np.roll(d, 1, axis=1) != 0, -a @ b, 0))
        with pytest.raises(ValueError, match="out"):
            mm.execute(out=m)
        m.data[:] = 0
        mm.release_operands()
        mm.reset_operands(a=a, b=b, c=m)
        mm.execute()
        close(m.toarray(), np.where(c != 0, a @ b, 0))


def test_functions() -> None:
    a, b, c = values((6, 5)), values((5, 8), seed=1), values((6, 8), seed=2, density=0.4)
    for provider in SAMPLERS:
        m = sp.csr_array(c)
        product(provider, a, b, m, beta=0, plan={"prologs": {"a": np.abs}, "epilog": lambda x: x if x > 0 else 0.0})
        close(m.toarray(), np.where(c != 0, np.maximum(abs(a) @ b, 0), 0))


def test_what_is_no_product() -> None:
    m = sp.csr_array(np.eye(3))
    for arguments, error, words in (
        ((np.ones((3, 2)), np.ones((2, 4)), m), ValueError, "c has the shape"),
        ((np.ones((3, 2)), m, m), ValueError, "c is sparse"),
        ((np.ones((3, 2)), np.ones((2, 3), "c16"), m), ValueError, "c has the dtype"),
        ((torch.ones((3, 2)), torch.ones((2, 3)), m), TypeError, "same package"),
    ):
        with pytest.raises(error, match=words):
            Matmul(*arguments)
    with Matmul(np.ones((3, 2)), np.ones((2, 3)), m) as mm, pytest.raises(UnavailableError, match="of your own"):
        mm.plan(semiring={"add": max, "mul": lambda x, y: x * y + 1, "identity": 0.0})
    with Matmul(np.ones((3, 2)), np.ones((2, 3)), m, beta=0) as mm, pytest.raises(ValueError, match="fill c"):
        mm.plan(semiring="max_plus")


@pytest.mark.parametrize(("name", "add", "multiply"), [
    ("max_plus", np.maximum, np.add), ("min_times", np.minimum, np.multiply), ("plus_first", np.add, lambda x, y: x),
    ("min_max", np.minimum, np.maximum),
])  # fmt: skip
@pytest.mark.parametrize("k", [0, 1, 5])
def test_semirings_into_entries(name: str, add: Any, multiply: Any, k: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((6, k)), rng.random((k, 7))
    c = sp.random_array((6, 7), density=0.4, rng=1).tocsr()
    before, (row, column) = c.data.copy(), c.tocoo().coords
    product("own", a, b, c, plan={"semiring": name})
    for entry, (i, j) in enumerate(zip(row, column, strict=True)):
        expected = before[entry]
        for term in multiply(a[i], b[:, j]):
            expected = add(expected, term)
        assert np.isclose(c.data[entry], expected)


def test_values_that_autograd_needs_are_not_written() -> None:
    c = torch.eye(3, dtype=torch.float64).to_sparse().coalesce().requires_grad_()
    x, y = torch.ones((3, 2), dtype=torch.float64), torch.ones((2, 3), dtype=torch.float64)
    with pytest.raises(ValueError, match="requires grad"):
        Matmul(x, y, c)
    with torch.no_grad(), Matmul(x, y, c, beta=0) as mm:
        mm.plan()
        assert mm.execute() is c


def test_stateless_calls_find_the_plan_of_the_one_before() -> None:
    from planmath.core import remembered

    remembered.clear()
    a, b, c = values((6, 5)), values((5, 8), seed=1), values((6, 8), seed=2, density=0.4)
    for seed in range(3):
        m = sp.csr_array(values((6, 8), seed=seed, density=0.4))
        stored = m.toarray() != 0
        assert matmul(a, b, m, beta=0) is m
        close(m.toarray(), np.where(stored, a @ b, 0))
        x, y = (sp.csr_array(values(s, seed=seed, density=0.4)) for s in ((6, 8), (8, 5)))
        close(matmul(x, y).toarray(), (x @ y).toarray())
        close(matmul(x, c.T), x @ c.T)
        close(matmul(x.tocsc(), c.T, alpha=2), 2 * (x @ c.T))
    assert len(remembered._idle) == 4
    remembered.clear()
