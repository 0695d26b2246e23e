"""Products of two sparse tensors by every provider, against dense ones."""

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
from planmath.sparse.product.providers import PROVIDERS, own_pairs
from planmath.sparse.ust.named import dimensions
from planmath.sparse.ust.packages import is_dense
from tests.sparse_product.test_product import NAMES, SEMIRINGS, close, dense_pattern, qualified, sparse, values
from tests.ust.test_tensor import formats

N = ust.NamedFormats
pytestmark = pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
MULTIPLIERS = [name for name in NAMES if name in ("own", "scipy")]
FORMATS = [N.CSR, N.CSC, N.COO, N.BSRRight((2, 2)), N.DIAI, N.DCSR, N.DELTA(2), N.CROW]


def as_dense(result: Any) -> np.ndarray:
    if isinstance(result, ust.Tensor):
        result = result.convert(tensor_format=N.DensedRight(result.num_dimensions)).to_package()
    if isinstance(result, torch.Tensor):
        return result.to_dense().double().numpy() if not result.is_complex() else result.to_dense().numpy()
    return result.toarray() if sp.issparse(result) else np.asarray(result)


def product(
    provider: str, *operands: Any, plan: dict[str, Any] | None = None, threads: int = 1, **keywords: Any
) -> Any:
    with Matmul(*operands, options={"provider": provider}, execution={"num_threads": threads}, **keywords) as mm:
        mm.plan(**(plan or {}))
        return mm.execute()


@pytest.fixture(params=[0, 10**9], ids=["threads", "one"])
def threaded(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """The work from which on threads share it, and how many there are to be."""
    monkeypatch.setattr(own_pairs, "THREADED_WORK", request.param)
    return 3


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize("provider", MULTIPLIERS)
@pytest.mark.parametrize("first", FORMATS, ids=lambda f: f.name[:12])
@pytest.mark.parametrize("second", [N.CSR, N.CSC, N.COO, N.BSRRight((2, 2))], ids=lambda f: f.name[:12])
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (1, 1)])
def test_formats(provider: str, first: Any, second: Any, transposed: tuple[int, int], threaded: int) -> None:
    a, b = values((10, 8), density=0.3), values((8, 6), seed=1, density=0.4)
    x, y = (a.T.copy() if transposed[0] else a), (b.T.copy() if transposed[1] else b)
    found = product(
        provider, sparse(x, first), sparse(y, second), threads=threaded, alpha=2.0,
        qualifiers=qualified((transposed[0], 0), (transposed[1], 0)),
    )  # fmt: skip
    assert isinstance(found, ust.Tensor)
    close(as_dense(found), 2 * a @ b)
    stored = (dense_pattern(sparse(x, first)).astype(int), dense_pattern(sparse(y, second)).astype(int))
    p, q = (s.T if flag else s for s, flag in zip(stored, transposed, strict=True))
    assert found.nse == np.count_nonzero(p @ q)


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [(("csr", "csr"), "csr"), (("csc", "csc"), "csc"), (("coo", "coo"), "coo"), (("csr", "csc"), "csr"),
     (("bsr", "dia"), "csr")],
)  # fmt: skip
def test_results_are_of_the_operands_package(kinds: tuple[str, str], kind: str) -> None:
    a, b = values((6, 8), density=0.4), values((8, 4), seed=1, density=0.4)
    found = matmul(sp.csr_array(a).asformat(kinds[0]), sp.csr_array(b).asformat(kinds[1]))
    assert (type(found).__name__, found.indices.dtype if kind != "coo" else found.coords[0].dtype) == (
        f"{kind}_array", np.int32,
    )  # fmt: skip
    close(found.toarray(), a @ b)
    if kind != "coo":
        assert found.has_sorted_indices
        assert found.has_canonical_format
    if "dia" not in kinds:
        layouts = {"csr": "to_sparse_csr", "csc": "to_sparse_csc", "coo": "to_sparse"}
        x, y = (
            torch.from_numpy(m).to_sparse_bsr((2, 2)) if k == "bsr" else getattr(torch.from_numpy(m), layouts[k])()
            for m, k in zip((a, b), kinds, strict=True)
        )
        t = matmul(x.coalesce() if kinds[0] == "coo" else x, y.coalesce() if kinds[1] == "coo" else y)
        assert t.layout is getattr(torch, f"sparse_{kind}")
        assert kind != "coo" or t.is_coalesced()
        close(as_dense(t), a @ b)


@pytest.mark.parametrize("provider", MULTIPLIERS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64", "complex128"])
@pytest.mark.parametrize("into", ["new", "dense", "dense by columns", "sparse"])
def test_dtypes_and_results(provider: str, dtype: str, into: str, threaded: int) -> None:
    a, b = values((7, 9), dtype, density=0.4), values((9, 5), dtype, 1, density=0.4)
    conjugated = dtype.startswith("complex")
    expected = 2 * ((a.conj() if conjugated else a).astype("c16") @ b.astype("c16"))
    keywords: dict[str, Any] = {"alpha": 2.0, "qualifiers": qualified((0, int(conjugated)))}
    c, before = None, 0
    if into != "new":
        before = values((7, 5), dtype, 2, density=0.5)
        expected = expected + 0.5 * before
        keywords["beta"] = 0.5
        c = np.array(before, order="F" if "columns" in into else "C")
    if into == "sparse":
        expected = np.where(before != 0, expected, 0)
        c = sparse(before, N.CSR)
    found = product(provider, sparse(a, N.CSR), sparse(b, N.CSR), c, threads=threaded, **keywords)
    assert found is c or c is None
    close(as_dense(found.convert(dtype="complex64") if dtype == "float16" and into in ("new", "sparse") else found),
          expected if conjugated or (dtype == "float16" and into in ("new", "sparse")) else expected.real, dtype)


@pytest.mark.parametrize("provider", MULTIPLIERS)
@pytest.mark.parametrize("form", [N.CSR, N.CSC, N.COO, N.DIAJ, N.BSRRight((2, 5))], ids=lambda f: f.name)
def test_products_into_a_pattern(provider: str, form: Any) -> None:
    a, b, c = values((6, 8), density=0.6), values((8, 10), seed=1, density=0.6), values((6, 10), seed=2, density=0.3)
    t = sparse(c, form)
    stored = dense_pattern(t)
    assert product(provider, sp.csr_array(a), sp.csr_array(b), t if form is not N.CSR else sp.csr_array(c)) is not None
    u = sparse(c, form)
    found = product(provider, sp.csr_array(a), sp.csr_array(b), u, alpha=3.0, beta=0.0)
    assert found is u
    close(as_dense(found), np.where(stored, 3 * a @ b, 0))


@pytest.mark.parametrize("provider", MULTIPLIERS)
@pytest.mark.parametrize("batches", [((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 3), (2, 3))])
@pytest.mark.parametrize("into", ["new", "dense"])
def test_batches(provider: str, batches: Any, into: str) -> None:
    a, b = values((*batches[0], 6, 8), density=0.4), values((*batches[1], 8, 5), seed=1, density=0.4)
    x, y = (sparse(m, N.CSR if m.ndim == 2 else N.COOd(m.ndim)) for m in (a, b))
    c = None if into == "new" else np.zeros((*(batches[0] or batches[1]), 6, 5))
    close(as_dense(product(provider, x, y, c)), a @ b)
    if len(batches[0]) == 1:
        close(as_dense(product(provider, sparse(a, N.BatchedCSR), y, c, beta=0 if c is not None else None)), a @ b)


def batched(a: torch.Tensor) -> torch.Tensor:
    """Matrices of a batch by rows, of which each stores as many elements: zeros where one has less."""
    stored = a != 0
    most = int(stored.sum((-1, -2)).max()) if len(a) else 0
    for each in stored:
        free = (~each).nonzero()[: most - int(each.sum())]
        each[free[:, 0], free[:, 1]] = True
    starts = torch.nn.functional.pad(stored.sum(-1).cumsum(-1), (1, 0))
    columns = stored.nonzero()[:, -1].reshape(len(a), most)
    return torch.sparse_csr_tensor(starts, columns, a[stored].reshape(len(a), most), a.shape)


@pytest.mark.parametrize("shape", [(3, 6, 8, 5), (1, 4, 4, 4), (5, 1, 7, 1), (0, 3, 4, 2)])
@pytest.mark.parametrize("dtype", ["float64", "float16", "complex128"])
def test_batches_by_rows_stay_so(shape: tuple[int, ...], dtype: str) -> None:
    """Though their products have other numbers of entries."""
    count, m, k, n = shape
    a, b = values((count, m, k), density=0.3), values((count, k, n), seed=1, density=0.3)
    x, y = (torch.from_numpy(of).to(getattr(torch, dtype)) for of in (a, b))
    pairs = [(batched(x), batched(y), a @ b)]
    if count:
        pairs += [(batched(x), y[0].to_sparse_csr(), a @ b[0]), (x[0].to_sparse_csr(), batched(y), a[0] @ b)]
    for first, second, expected in pairs:
        with Matmul(first, second) as mm:
            mm.plan()
            found = mm.execute()
            assert found.layout == torch.sparse_csr
            arrays = found.crow_indices(), found.col_indices(), found.values()
            torch.sparse_csr_tensor(*arrays, found.shape, check_invariants=count > 0)
            close(found.to_dense().to(torch.complex128).numpy(), expected, dtype)
            out = mm.empty_result()
            assert mm.execute(out=out) is out
            assert torch.equal(out.values(), found.values())


@pytest.mark.parametrize("provider", MULTIPLIERS)
def test_vectors(provider: str) -> None:
    a, v, w = values((6, 8), density=0.5), values((8,), seed=1, density=0.5), values((6,), seed=2, density=0.5)
    x = sparse(a, N.CSR)
    close(as_dense(product(provider, x, sparse(v, N.SparseVector))), a @ v)
    found = product(provider, sparse(w, N.SparseVector), x)
    assert found.tensor_format == N.SparseVector
    close(as_dense(found), w @ a)
    close(matmul(sp.csr_array(a), sp.coo_array(v)).toarray(), a @ v)
    with pytest.raises(ValueError, match="a number"):
        matmul(sparse(v, N.SparseVector), sparse(v, N.SparseVector))


def batched_rows(rank: int) -> ust.TensorFormat:
    """Rows of a batch, of which the entries of each are listed."""
    every = dimensions(rank)
    return ust.TensorFormat(
        every, {**dict.fromkeys(every[:-1], ust.LevelFormat.DENSE), every[-1]: ust.LevelFormat.COMPRESSED}
    )


@pytest.mark.parametrize("provider", MULTIPLIERS)
@pytest.mark.parametrize("batch", [(2,), (2, 3), (0,)])
@pytest.mark.parametrize("of", [N.COOd, batched_rows], ids=["lists", "rows"])
@pytest.mark.parametrize("transposed", [0, 1])
def test_vectors_with_batches(provider: str, batch: tuple[int, ...], of: Any, transposed: int) -> None:
    """On either side of the batch, with the entries that a result has; qualifiers do not transpose a vector."""
    rank = len(batch) + 2
    v, w = values((3,), seed=1, density=0.8), values((4,), seed=2, density=0.8)
    a = values((*batch, 3, 4), density=0.6)
    x = sparse(a.swapaxes(-1, -2).copy() if transposed else a, of(rank))
    y, z = sparse(v, N.SparseVector), sparse(w, N.SparseVector)
    cases = [
        ((y, x), v @ a, qualified((1, 0), (transposed, 0))),
        ((x, z), a @ w, qualified((transposed, 0), (1, 0))),
    ]
    for operands, expected, qualifiers in cases:
        found = product(provider, *operands, qualifiers=qualifiers)
        close(as_dense(found), expected)
        like = sparse(expected, found.tensor_format)
        for level in range(rank - 1):
            for mine, its in ((found.pos(level), like.pos(level)), (found.crd(level), like.crd(level))):
                assert (mine is None) == (its is None)
                if mine is not None:
                    np.testing.assert_array_equal(mine, its)
        close(product(provider, *operands, np.zeros(expected.shape), qualifiers=qualifiers, beta=0.0), expected)
        before = values(expected.shape, seed=3, density=0.6)
        for form in (N.COOd(rank - 1), batched_rows(rank - 1)):
            c = sparse(before, form)
            assert product(provider, *operands, c, qualifiers=qualifiers, alpha=2.0, beta=0.5) is c
            close(as_dense(c), np.where(before != 0, 2 * expected + 0.5 * before, 0))


@pytest.mark.parametrize("of", [N.COOd, batched_rows], ids=["lists", "rows"])
def test_vectors_with_batches_of_no_rows(of: Any) -> None:
    x = sparse(np.zeros((2, 0, 4)), of(3))
    found = matmul(x, sparse(np.ones(4), N.SparseVector))
    assert (tuple(found.extents), found.nse) == ((2, 0), 0)
    assert as_dense(found).shape == (2, 0)


@hypothesis.settings(max_examples=60)
@hypothesis.given(formats(), st.sampled_from([N.CSR, N.CSC, N.COO, N.DCSR]), st.integers(0, 99), st.booleans())
def test_random_formats(form: ust.TensorFormat, second: ust.TensorFormat, seed: int, gathered: bool) -> None:
    a = values((6, 8, 4)[: form.num_dimensions], seed=seed, density=0.5)
    hypothesis.assume(not is_dense(form))
    if a.ndim == 1:
        b = values((6, 5), seed=seed + 1, density=0.5)
    else:
        b = values((a.shape[-1], 5), seed=seed + 1, density=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_pairs, "THREADED_WORK", 0)
        if gathered:
            patch.setattr(own_pairs, "ways", lambda problem: ["gathered"])
        close(as_dense(product("own", sparse(a, form), sparse(b, second), threads=2)), a @ b)


@pytest.mark.parametrize("name", SEMIRINGS)
@pytest.mark.parametrize("form", [N.CSR, N.CSC], ids=lambda f: f.name)
@pytest.mark.parametrize("into", ["new", "dense", "sparse"])
def test_semirings(name: str, form: Any, into: str, threaded: int) -> None:
    add, mul, zero = SEMIRINGS[name]
    a, b = values((9, 8), density=0.3), values((8, 7), seed=1, density=0.4)
    there = (a != 0)[:, :, None] & (b != 0)[None]
    expected = add.reduce(np.where(there, mul(a[:, :, None], b[None]), zero), axis=1)
    stored = there.any(axis=1)
    c: Any = None
    if into != "new":
        before = values((9, 7), seed=2, density=1.0 if into == "dense" else 0.5)
        c = before.copy() if into == "dense" else sparse(before, form)
        expected, stored = add(expected, before), np.ones_like(stored) if into == "dense" else before != 0
    found = product("own", sparse(a, form), sparse(b, form), c, plan={"semiring": name}, threads=threaded)
    close(as_dense(found), np.where(stored, expected, 0))


@pytest.mark.parametrize("provider", MULTIPLIERS)
def test_functions(provider: str) -> None:
    a, b = values((6, 8), density=0.4), values((8, 5), seed=1, density=0.4)
    found = product(
        provider, sp.csr_array(a), sp.csr_array(b),
        plan={"prologs": {"a": lambda x: 2 * x, "b": np.abs}, "epilog": lambda x: x + 1},
    )  # fmt: skip
    close(found.toarray(), np.where((a != 0).astype(int) @ (b != 0) > 0, 2 * a @ abs(b) + 1, 0))


@pytest.mark.parametrize("provider", MULTIPLIERS)
@pytest.mark.parametrize("package", ["scipy", "torch", "torch list", "ust"])
def test_values_again_and_again(provider: str, package: str) -> None:
    make = {
        "scipy": sp.csr_array, "torch": lambda x: torch.from_numpy(x).to_sparse_csr(),
        "torch list": lambda x: torch.from_numpy(x).to_sparse().coalesce(), "ust": lambda x: sparse(x, N.CSR),
    }[package]  # fmt: skip
    a, b = values((30, 20), density=0.2), values((20, 25), seed=1, density=0.2)
    with Matmul(make(a), make(b), options={"provider": provider}) as mm:
        mm.plan()
        first = mm.execute()
        close(as_dense(first), a @ b)
        out = mm.empty_result()
        assert mm.execute(out=out) is out
        mm.reset_operands(a=make(-3 * a))
        assert mm.execute(out=out) is out
        close(as_dense(out), -3 * a @ b)
        close(as_dense(first), a @ b)  # results share nothing
        assert mm.execute(out=first) is first
        close(as_dense(first), -3 * a @ b)
        other = values((30, 20), seed=5, density=0.2)  # entries elsewhere
        mm.reset_operands(a=make(other))
        close(as_dense(mm.execute()), other @ b)
        if not (np.array_equal(as_dense(out) != 0, other @ b != 0)):
            with pytest.raises(ValueError, match=r"places|expected"):
                mm.execute(out=out)
        moved = np.roll(other, 1, axis=1)  # as many entries, elsewhere
        mm.reset_operands(a=make(moved), b=make(b), alpha=2)
        close(as_dense(mm.execute()), 2 * moved @ b)
        mm.release_operands()
        mm.reset_operands_unchecked(a=make(2 * moved), b=make(b))
        close(as_dense(mm.execute()), 4 * moved @ b)
        assert "own" in mm.report() or "scipy" in mm.report() or "mkl" in mm.report()
        with pytest.raises(TypeError, match="out"):
            mm.execute(out=np.zeros((30, 25)))


def test_index_arrays_that_change_in_place_have_no_effect() -> None:
    a, b = sp.csr_array(values((30, 20), density=0.2)), sp.csr_array(values((20, 25), seed=1, density=0.2))
    expected = (a @ b).toarray()
    with Matmul(a, b) as mm:
        mm.plan()
        a.indices[:] = 10**6
        b.indptr[:] = 0
        close(mm.execute().toarray(), expected)


def test_threads_change_nothing_from_run_to_run(eight_cpus: None) -> None:
    a = sp.random_array((2000, 2000), density=0.01, rng=0).tocsr()
    for options in ("scheduled", "gathered"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(own_pairs, "ways", lambda problem, way=options: [way])
            with Matmul(a, a, options={"provider": "own"}, execution={"num_threads": 4}) as mm:
                mm.plan()
                first = mm.execute()
                for _ in range(3):
                    np.testing.assert_array_equal(mm.execute().data, first.data)
    close(first.toarray(), (a @ a).toarray())


def test_rows_of_many_entries() -> None:
    a, b = sp.csr_array(np.ones((3, 400))), sp.csr_array(values((400, 7_000), density=0.01))
    for way in ("gathered", "scheduled"):
        with pytest.MonkeyPatch.context() as patch:
            if way == "scheduled":
                b = b[:, :500]
            patch.setattr(own_pairs, "ways", lambda problem, way=way: [way])
            assert abs(product("own", a, b) - a @ b).max() < 1e-10


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (3, 3, 0), (0, 0, 0), (1, 1, 1)])
@pytest.mark.parametrize("provider", MULTIPLIERS)
def test_empty_products(provider: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    for form in ("csr", "csc", "coo"):
        a, b = (sp.csr_array(np.ones(s)).asformat(form) for s in ((m, k), (k, n)))
        assert as_dense(product(provider, a, b)).shape == (m, n)
        close(as_dense(product(provider, a, b)), np.ones((m, k)) @ np.ones((k, n)))


A = sp.csr_array(np.eye(3))
TWICE = sp.coo_array((np.ones(2), ([0, 0], [1, 1])), shape=(3, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((A, sp.csr_array(np.ones((2, 2)))), ValueError, "3 elements of a and 2"),
        ((A, torch.eye(3).to_sparse()), TypeError, "same package"),
        ((A, A, np.ones((3, 2))), ValueError, "c has the shape"),
        ((A, A, sp.csr_array(np.ones((2, 3)))), ValueError, "c has the shape"),
        ((A, A, A.astype("f4")), ValueError, "c has the dtype"),
        ((A, A, TWICE), ValueError, "more than one entry"),
        ((A.astype(int), A), TypeError, "int64"),
    ],
)
def test_what_is_no_product(arguments: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Matmul(*arguments)


def test_every_provider_says_what_it_lacks() -> None:
    with Matmul(A, A, options={"provider": "scipy"}) as mm, pytest.raises(UnavailableError, match="sums of products"):
        mm.plan(semiring="min_plus")
    assert {p.name for p in PROVIDERS} >= {"own", "scipy"}
