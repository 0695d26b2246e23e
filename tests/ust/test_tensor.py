"""Tensors: from packages and back without copies, between any two formats, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
import torch

from planmath.native.threads import Threads
from planmath.sparse.ust import Dimension, LevelFormat, LevelProperty, NamedFormats, Tensor, TensorFormat, shortcuts

N = NamedFormats
MATRIX_FORMATS = [
    N.DenseMatrixRight, N.DenseMatrixLeft, N.COO, N.CSR, N.CSC, N.DCSR, N.DCSC, N.CROW, N.CCOL, N.DIAI, N.DIAJ,
    N.SkewDIAI, N.SkewDIAJ, N.BSRRight((2, 3)), N.BSRLeft((2, 3)), N.BSCRight((4, 2)), N.BSCLeft((4, 2)), N.DELTA(1),
    N.DELTA(4), N.Structured(3, 3), N.CSFd(2),
]  # fmt: skip
OTHER_FORMATS = {
    0: [N.Scalar],
    1: [N.DenseVector, N.SparseVector, N.BlockVector(3), N.COOd(1)],
    3: [
        N.BatchedCSR, N.BatchedDIAINonUniform, N.BatchedDIAIUniform, N.BSR3((2, 3, 2)), N.COOd(3), N.COOd(2, 1),
        N.CSFd(3), N.CSRd(0, 1), N.CSCd(0, 1), N.BSRRightd((2, 2), 0, 1), N.DensedRight(3), N.DensedLeft(3),
    ],
}  # fmt: skip
SHAPES = {0: (), 1: (12,), 2: (8, 12), 3: (4, 6, 8)}
EVERY = [*MATRIX_FORMATS, *(f for formats in OTHER_FORMATS.values() for f in formats)]


def sample(shape: tuple[int, ...], dtype: str = "float64", density: float = 0.3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 100, shape) * (rng.random(shape) < density)
    return np.asarray(values).astype(dtype)


def dense(tensor: Tensor) -> Any:
    """The tensor as a dense array, by its own conversion to a dense format."""
    found = tensor.convert(tensor_format=N.DensedRight(tensor.num_dimensions)).to_package()
    return found if isinstance(found, np.ndarray) else found.numpy()


def value_by_value(tensor: Tensor) -> np.ndarray:
    made = np.zeros(tensor.extents, tensor.dtype)
    for index in np.ndindex(*tensor.extents):
        value = tensor.get_value(index)
        made[index] = 0 if value is None else value
    return made


@pytest.mark.parametrize("form", EVERY, ids=lambda f: f.name[:24])
@pytest.mark.parametrize("index_type", ["int32", "int64"])
@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int8", "float16"])
@pytest.mark.parametrize("package", ["numpy", "torch"])
def test_to_a_format_and_back(form: TensorFormat, index_type: str, dtype: str, package: str) -> None:
    a = sample(SHAPES[form.num_dimensions], dtype)
    source = Tensor.from_package(a if package == "numpy" else torch.from_numpy(a.copy()))
    t = source.convert(tensor_format=form, index_type=index_type)
    assert (t.tensor_format, t.dtype, t.package) == (form, dtype, package)
    assert t.index_type == (index_type if any(x is not None for x in (*t._arrays[0], *t._arrays[1])) else t.index_type)
    np.testing.assert_array_equal(dense(t), a)
    np.testing.assert_array_equal(value_by_value(t), a)


@pytest.mark.pairwise
@pytest.mark.parametrize("source", MATRIX_FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("target", MATRIX_FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("keep_zeros", [False, True])
@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
def test_between_any_two(source: TensorFormat, target: TensorFormat, keep_zeros: bool, density: float) -> None:
    a = sample((8, 12), density=density)
    first = Tensor.from_package(a).convert(tensor_format=source)
    second = first.convert(tensor_format=target, keep_zeros=keep_zeros)
    np.testing.assert_array_equal(dense(second), a)
    if target == N.COO:
        assert second.nse >= np.count_nonzero(a)
        assert keep_zeros or second.nse == np.count_nonzero(a)


@st.composite
def formats(draw: Any) -> TensorFormat:
    """Compositions of levels of all kinds, for up to three dimensions whose extents are multiples of 2."""
    i, j, _ = every = [Dimension(dimension_name=name) for name in "ijk"]
    count = draw(st.integers(1, 3))
    dims = every[:count]
    L = LevelFormat
    keys: list[Any] = []
    if count > 1 and draw(st.booleans()):
        sign, ranged = draw(st.sampled_from([i + j, j - i, i - j])), draw(st.sampled_from([i, j]))
        keys = [*(draw(st.permutations(dims[2:]))), sign, ranged]
    else:
        for d in draw(st.permutations(dims)):
            keys += [d // 2, d % 2] if draw(st.booleans()) else [d]
        quotients = [x for x in keys if not isinstance(x, Dimension) and str(x.operator.value) == "//"]
        if quotients and draw(st.booleans()):  # remainders last
            keys = [x for x in keys if isinstance(x, Dimension) or x in quotients] + [
                x for x in keys if not isinstance(x, Dimension) and x not in quotients
            ]
    levels: dict[Any, Any] = {}
    for place, key in enumerate(keys):
        kinds: list[Any] = [L.DENSE, L.COMPRESSED, (L.DELTA, draw(st.integers(1, 5)))]
        if isinstance(key, Dimension) and any(not isinstance(x, Dimension) and x.operator.is_sum for x in keys[:place]):
            if key is keys[-1]:
                levels[key] = L.RANGE
                continue
        elif not isinstance(key, Dimension) and key.operator.is_sum:
            kinds = kinds[:2]
        repeated = (L.COMPRESSED, LevelProperty.NONUNIQUE)
        if place and levels[keys[place - 1]] in (repeated, L.SINGLETON) and repeated in levels.values():
            kinds = [*kinds, L.SINGLETON]
        kinds.append((L.COMPRESSED, LevelProperty.NONUNIQUE))
        levels[key] = draw(st.sampled_from(kinds))
    return TensorFormat(dims, levels)


@hypothesis.settings(max_examples=150)
@hypothesis.given(formats(), formats(), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_random_formats(a: TensorFormat, b: TensorFormat, density: float, seed: int, keep_zeros: bool) -> None:
    shape = (6, 8, 4)[: a.num_dimensions]
    values = sample(shape, density=density, seed=seed)
    t = Tensor.from_package(values).convert(tensor_format=a)
    np.testing.assert_array_equal(dense(t), values)
    assert TensorFormat.parse(str(a)) == a
    if b.num_dimensions == a.num_dimensions:
        np.testing.assert_array_equal(dense(t.convert(tensor_format=b, keep_zeros=keep_zeros)), values)


def scipy_objects() -> dict[str, Any]:
    a = sp.csr_array(sample((6, 8)))
    unsorted = sp.csr_array((np.array([1.0, 2, 3, 4]), np.array([3, 1, 1, 0]), np.array([0, 3, 4])), shape=(2, 5))
    return {
        "csr": a, "csr_matrix": sp.csr_matrix(a), "csc": a.tocsc(), "coo": a.tocoo(), "bsr": a.tobsr((2, 2)),
        "dia": a.todia(), "empty": sp.csr_array((3, 4)), "no rows": sp.csr_array((0, 4)), "unsorted": unsorted,
        "coo by hand": sp.coo_array((np.array([1.0, 2, 3]), (np.array([2, 0, 2]), np.array([1, 1, 1]))), shape=(3, 3)),
        "1-D coo": sp.coo_array(sample((12,))), "1-D csr": sp.coo_array(sample((12,))).tocsr(),
        "3-D coo": sp.coo_array(sample((2, 3, 4))), "int8": a.astype(np.int8), "complex": a.astype(complex),
        "int64": sp.csr_array((a.data, a.indices.astype(np.int64), a.indptr.astype(np.int64)), shape=a.shape),
    }  # fmt: skip


@pytest.mark.parametrize("name", scipy_objects())
def test_scipy_without_copies(name: str) -> None:
    matrix = scipy_objects()[name]
    t = Tensor.from_package(matrix)
    assert t.base is matrix
    np.testing.assert_array_equal(dense(t), matrix.toarray())
    back = t.to_package()
    assert back.format == matrix.format
    assert back.shape == matrix.shape
    assert np.shares_memory(back.data, matrix.data) or not matrix.nnz
    np.testing.assert_array_equal(back.toarray(), matrix.toarray())
    ordered = t.convert(tensor_format=N.COOd(t.num_dimensions), keep_zeros=True)
    np.testing.assert_array_equal(ordered.to_package().toarray(), matrix.toarray())


TORCH = (
    "coo", "uncoalesced", "hybrid", "1-D", "3-D", "csr", "csc", "bsr", "bsc", "batch csr", "batch csc", "batch bsr",
    "dense csr", "bfloat16", "requires grad", "empty",
)  # fmt: skip


def torch_objects() -> dict[str, Any]:
    a = torch.from_numpy(sample((6, 8)))
    same = torch.stack([a, 2 * a])
    hybrid = torch.from_numpy(sample((4, 6, 3)))
    places = torch.tensor([[2, 0, 2], [1, 1, 1]])
    uncoalesced = torch.sparse_coo_tensor(places, torch.tensor([1.0, 2, 3]), (3, 3), check_invariants=True)
    return {
        "coo": a.to_sparse().coalesce(), "uncoalesced": uncoalesced, "hybrid": hybrid.to_sparse(2).coalesce(),
        "1-D": a[0].to_sparse().coalesce(), "3-D": hybrid.to_sparse().coalesce(), "csr": a.to_sparse_csr(),
        "csc": a.to_sparse_csc(), "bsr": a.to_sparse_bsr((2, 2)), "bsc": a.to_sparse_bsc((3, 2)),
        "batch csr": same.to_sparse_csr(), "batch csc": same.to_sparse_csc(), "batch bsr": same.to_sparse_bsr((2, 2)),
        "dense csr": hybrid.to_sparse_csr(dense_dim=1), "bfloat16": a.bfloat16().to_sparse_csr(),
        "requires grad": a.to_sparse_csr().requires_grad_(), "empty": torch.zeros(3, 4).to_sparse_csr(),
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("name", TORCH)
def test_torch_without_copies(name: str) -> None:
    given = torch_objects()[name]
    t = Tensor.from_package(given)
    expected = given.detach().to_dense().float().numpy()
    np.testing.assert_array_equal(dense(t.convert(dtype="float32")), expected)
    back = t.to_package()
    assert back.layout is given.layout
    assert back.dtype is given.dtype
    values = (back._values(), given.detach()._values()) if name in COORDINATES else (back.values(), given.values())
    assert values[0].data_ptr() == values[1].data_ptr()
    np.testing.assert_array_equal(back.to_dense().float().numpy(), expected)


COORDINATES = ("coo", "uncoalesced", "hybrid", "1-D", "3-D")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_dense_arrays_are_the_very_objects(order: tuple[int, ...]) -> None:
    a = np.ascontiguousarray(sample((2, 3, 4)).transpose(order)).transpose(np.argsort(order))
    t = Tensor.from_package(a)
    assert t.to_package() is a
    np.testing.assert_array_equal(value_by_value(t), a)
    t.val[...] = 7
    assert (a == 7).all()
    with pytest.raises(ValueError, match="gaps"):
        Tensor.from_package(np.ones((4, 4))[:, ::2])


@pytest.mark.parametrize(
    ("name", "given", "error", "words"),
    [
        ("lil", sp.lil_array((2, 2)), TypeError, "tocsr"),
        ("list", [[1.0]], TypeError, "list"),
        ("columns", sp.csr_array(np.eye(3)), ValueError, "expected 0 to 2"),
        ("starts", sp.csr_array(np.eye(3)), ValueError, "descends"),
        ("unsigned", sp.csr_array(np.eye(3)), TypeError, "indices of uint32; expected one of int8"),
        ("foreign", sp.csr_array(np.eye(3)), TypeError, "byte order of another machine"),
    ],
)
def test_what_is_no_tensor(name: str, given: Any, error: type[Exception], words: str) -> None:
    if name == "columns":
        given.indices[1] = 7
    if name == "starts":
        given.indptr[:] = [0, 3, 2, 3]
    if name == "unsigned":
        given.indices, given.indptr = given.indices.astype(np.uint32), given.indptr.astype(np.uint32)
    if name == "foreign":
        given.data = given.data.astype(given.data.dtype.newbyteorder())
    with pytest.raises(error, match=words):
        Tensor.from_package(given)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.mtx").write_text(
        "%%MatrixMarket matrix coordinate real symmetric\n3 3 3\n1 1 2.0\n3 1 5.0\n2 2 1.0\n"
    )
    t = Tensor.from_file(tmp_path / "a.mtx")
    assert (t.tensor_format, t.index_type) == (N.COO, "int32")
    np.testing.assert_array_equal(dense(t), [[2, 0, 5], [0, 1, 0], [5, 0, 0]])
    (tmp_path / "b.tns").write_text("# three\n1 2 3 1.5\n2 1 1 2\n1 2 3 1\n")
    t = Tensor.from_file(tmp_path / "b.tns")
    assert (t.tensor_format, t.index_type, t.extents) == (N.COOd(3), "int64", [2, 2, 3])
    assert t.get_value([0, 1, 2]) == 2.5
    with pytest.raises(TypeError, match=r"\.tns"):
        Tensor.from_file("x.txt")
    with pytest.raises(FileNotFoundError):
        Tensor.from_file(tmp_path / "c.mtx")
    (tmp_path / "d.tns").write_text("0 1 2.0\n")
    with pytest.raises(ValueError, match="positive"):
        Tensor.from_file(tmp_path / "d.tns")


def test_what_convert_refuses() -> None:
    t = Tensor.from_package(sp.csr_array(sample((6, 8), "complex64")))
    for arguments, error, words in (
        ({"tensor_format": "CSR"}, TypeError, "TensorFormat"),
        ({"tensor_format": N.COOd(3)}, TypeError, "3 dimensions"),
        ({"tensor_format": N.BSRRight((4, 4))}, NotImplementedError, "multiple"),
        ({"tensor_format": N.Structured(1, 4)}, ValueError, "room for 1"),
        ({"dtype": "float32"}, TypeError, "real part"),
        ({"dtype": "float31"}, ValueError, "float31"),
        ({"index_type": "uint8"}, ValueError, "int8"),
    ):
        with pytest.raises(error, match=words):
            t.convert(**arguments)
    wide = Tensor.from_package(sp.csr_array((np.ones(1), np.array([299]), np.array([0, 1])), shape=(1, 300)))
    with pytest.raises(ValueError, match="int8 ends with 127"):
        wide.convert(index_type="int8")
    assert wide.convert(index_type="int16").crd(1).dtype == np.int16
    loose = Tensor.from_package(scipy_objects()["unsorted"])
    assert not loose.tensor_format.is_ordered
    assert loose.convert(tensor_format=N.CSR).nse == 3


def test_copies() -> None:
    t = Tensor.from_package(sp.csr_array(sample((6, 8))))
    assert t.convert() is t
    assert t.convert(tensor_format=N.CSRd()) is t
    for other in (t.clone(), t.convert(copy=True)):
        assert not np.shares_memory(other.val, t.val)
    same = t.to("cpu")
    assert same.val is t.val
    other = t.clone()
    other.val[:] = 0
    other.copy_(t)
    np.testing.assert_array_equal(other.val, t.val)
    with pytest.raises(ValueError, match="tensor_format"):
        other.copy_(t.convert(tensor_format=N.CSC))
    with pytest.raises(ValueError, match="device_id"):
        t.to("gpu")


def test_what_is_the_same_in_both_formats_is_shared() -> None:
    t = Tensor.from_package(sp.csr_array(sample((6, 8))))
    listed = t.convert(tensor_format=N.COO)
    assert listed.val is t.val
    assert listed.crd(1) is t.crd(1)
    again = listed.convert(tensor_format=N.CSR)
    assert again.val is t.val
    for form in (N.COO, N.CSR):
        own = listed.convert(tensor_format=form, copy=True)
        arrays = [x for n in range(2) for x in (own.pos(n), own.crd(n)) if x is not None]
        assert not any(np.shares_memory(x, t.val) or np.shares_memory(x, t.crd(1)) for x in (*arrays, own.val))
        np.testing.assert_array_equal(dense(own), dense(t))


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("form", [N.CSRd(1), N.CSCd(1), N.BSRRightd((2, 2), 1)], ids=lambda f: f.name)
def test_batches_of_nothing(form: TensorFormat) -> None:
    t = Tensor.from_package(torch.zeros(0, 4, 6)).convert(tensor_format=N.COOd(3)).convert(tensor_format=form)
    back = Tensor.from_package(t.to_package())
    assert (back.tensor_format, back.extents, back.nse) == (form, [0, 4, 6], 0)


def test_functions_of_values() -> None:
    a = sample((6, 8))
    t = Tensor.from_package(sp.csr_array(a))
    with pytest.raises(ValueError, match="set_kernel"):
        t.run_kernel()
    t.set_kernel(lambda v, i, j: v + 10 * i + j)
    t.run_kernel()
    i, j = np.indices(a.shape)
    np.testing.assert_array_equal(dense(t), np.where(a != 0, a + 10 * i + j, 0))
    u = Tensor.from_package(sp.csr_array(a)).convert(tensor_format=N.DIAI)
    u.set_kernel(lambda v: v if v > 50 else 0.0, with_indices=False)  # of numbers alone
    u.run_kernel()
    np.testing.assert_array_equal(dense(u), np.where(a > 50, a, 0))


def test_values_and_words() -> None:
    t = Tensor.from_package(sp.csr_array(sample((8, 12))))
    with pytest.raises(ValueError, match="expected 2"):
        t.get_value([1])
    with pytest.raises(IndexError, match="7, 11"):
        t.get_value([8, 0])
    assert "nse      : " in str(t)
    for form in MATRIX_FORMATS:
        u = t.convert(tensor_format=form)
        assert form.name in u.explain()
        assert "sparsity" in str(u)
    with pytest.raises(ValueError, match="no values"):
        Tensor([2, 2], tensor_format=N.CSR).clone()
    for extents, form, error in (([2], N.CSR, TypeError), ([2, -1], N.CSR, ValueError), ([2, 2], None, TypeError)):
        with pytest.raises(error):
            Tensor(extents, tensor_format=form)


@pytest.mark.parametrize("form", [N.CSC, N.COO, N.BSRRight((2, 4)), N.DIAI, N.DIAJ], ids=lambda f: f.name)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64", "complex128", "int64"])
@pytest.mark.parametrize("index_type", ["int32", "int64"])
@pytest.mark.parametrize("zeros", ["none", "dropped", "kept"])
@pytest.mark.parametrize("threads", [1, 3])
def test_short_ways_lead_where_the_long_one_does(
    monkeypatch: pytest.MonkeyPatch, form: TensorFormat, dtype: str, index_type: str, zeros: str, threads: int
) -> None:
    monkeypatch.setattr(shortcuts, "THREADED_ENTRIES", 0)
    monkeypatch.setattr(shortcuts, "openmp_threads", lambda: Threads(threads, "the test"))
    a = torch.from_numpy(sample((8, 12))).to(getattr(torch, dtype))
    a[0, 3], a[5, 7] = 2, -3
    rows = Tensor.from_package(a).convert(tensor_format=N.CSR, index_type=index_type)
    if zeros != "none":
        rows.val[1], rows.val[4] = 0, -0.0
    back = []
    for convert in (shortcuts.convert, lambda *given: None):
        monkeypatch.setattr(shortcuts, "convert", convert)
        back.append(rows.convert(tensor_format=form, keep_zeros=zeros == "kept"))
    short, long = back
    assert short.nse == long.nse
    for n in range(short.num_levels):
        for mine, other in ((short.pos(n), long.pos(n)), (short.crd(n), long.crd(n))):
            assert (mine is None) == (other is None)
            assert mine is None or torch.equal(mine, other)
    assert torch.equal(short.val, long.val)
