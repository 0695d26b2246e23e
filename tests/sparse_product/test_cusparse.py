"""Sparse products, and sparse tensors, on a CUDA device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.bindings import cusparse, nvrtc
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.sparse import Matmul, matmul, ust
from tests.arrays import DEVICE_PACKAGES, address_of, to_numpy
from tests.sparse_product.device_checks import (
    MATRICES,
    OTHERS,
    N,
    check_pair,
    check_product,
    check_sampled,
    close,
    dense,
    every_way,
    sparse,
    values,
    whole,
)

MISSING = cusparse.LIBRARY.missing or nvrtc.LIBRARY.missing or devices.missing()
pytestmark = [
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
    pytest.mark.filterwarnings("ignore:Sparse"),
]


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("part", range(6))
def test_every_format(package: str, part: int) -> None:
    for form in [*MATRICES, *OTHERS][part::6]:
        for columns, order, transposed in ((None, "C", False), (7, "F", False), (45, "C", True), (7, "C", False)):
            assert check_product(
                "generated", form, columns=columns, order=order, transposed=transposed, package=package
            ), form
            has = check_product("cusparse", form, columns=columns, order=order, transposed=transposed, package=package)
            assert has or form.name not in ("CSR", "CSC", "COO"), (form, columns, order, transposed)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("provider", ["cusparse", "generated"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64", "complex128"])
def test_dtypes_and_layouts(package: str, provider: str, dtype: str) -> None:
    if package == "cupy" and dtype == "bfloat16":
        pytest.skip("CuPy has no arrays of bfloat16 here")
    for n, form in enumerate((N.CSR, N.CSC, N.COO, N.DCSR)):
        for columns, order in ((None, "C"), (1, "C"), (7, "F"), (45, "C"), (45, "F")):
            for with_c in (False, True):
                check_product(
                    provider, form, dtype, ("int32", "int64")[n % 2], columns, order, with_c=with_c, package=package
                )


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_conjugates_and_semirings(package: str) -> None:
    for form in (N.CSR, N.CSC, N.BSRRight((2, 3))):
        assert check_product("generated", form, "complex64", conjugated=(True, False), package=package)
        assert check_product("generated", form, "complex128", transposed=True, conjugated=(True, True), package=package)
        for columns in (None, 3, 40):
            for with_c in (False, True):
                assert check_product(
                    "generated", form, semiring="max_plus", columns=columns, with_c=with_c, package=package
                )


def packages_own(name: str, a: np.ndarray) -> Any:
    """A sparse matrix of a package on the device, by the package and its format."""
    package, _, form = name.partition(" ")
    host = sp.csr_array(a)
    if package == "cupy":
        cupyx = pytest.importorskip("cupyx.scipy.sparse")
        import cupy

        if form == "dia":
            dia = sp.dia_array(a)
            return cupyx.dia_matrix((cupy.asarray(dia.data), cupy.asarray(dia.offsets)), shape=a.shape)
        return getattr(cupyx.csr_matrix(sp.csr_matrix(host)), f"to{form}")()
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings(action="ignore"):
        t = torch.from_numpy(a).cuda()
        if form == "bsr":
            return t.to_sparse_bsr((2, 2))
        return t.to_sparse().coalesce() if form == "coo" else getattr(t, f"to_sparse_{form}")()


OWN = ["cupy csr", "cupy csc", "cupy coo", "cupy dia", "torch csr", "torch csc", "torch coo", "torch bsr"]


@pytest.mark.parametrize("name", OWN)
def test_matrices_of_packages(name: str) -> None:
    """Tensors over the same arrays, and products of the very objects."""
    if name.split()[0] not in {str(p.values[0]).split("-")[0] for p in DEVICE_PACKAGES if not p.marks[0].args[0]}:
        pytest.skip("the package has no arrays on a device here")
    a, b = values((12, 8), density=0.3), values((8, 5), seed=1)
    a[0, 0] = 1
    given = packages_own(name, a)
    package = "cupy" if name.startswith("cupy") else "torch-cuda"
    t = ust.Tensor.from_package(given)
    assert (t.device, t.device_id, t.dtype) == ("cuda", 0, "float64")
    own = given.data if package == "cupy" else given._values() if name == "torch coo" else given.values()
    assert address_of(t.val) == address_of(own)
    back = t.to_package()
    again = ust.Tensor.from_package(back)
    assert again.tensor_format == t.tensor_format
    assert address_of(again.val) == address_of(t.val)
    dense_back = t.convert(tensor_format=N.DensedRight(2)).to_package()
    np.testing.assert_array_equal(to_numpy(dense_back), a)
    close(matmul(given, dense(b, package)), a @ b)
    close(matmul(t, dense(b, package)), a @ b)
    copy = t.clone()
    assert address_of(copy.val) != address_of(t.val)
    twice = t.clone()
    twice.val[...] *= 2
    copy.copy_(twice)
    close(matmul(copy, dense(b, package)), 2 * (a @ b))
    host = t.to("cpu")
    assert host.device == "cpu"
    np.testing.assert_array_equal(np.asarray(host.convert(tensor_format=N.DensedRight(2)).to_package()), a)
    there = host.to(0)
    assert (there.device, there.package) == ("cuda", t.package)
    assert t.get_value([0, 0]) == a[0, 0]
    t.set_kernel(lambda v, i, j: v + i - j)
    t.run_kernel()
    assert t.get_value([0, 0]) == a[0, 0]
    i, j = np.nonzero(a)
    close(whole(t)[i, j], (a + np.subtract.outer(np.arange(12), np.arange(8)))[i, j])


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("source", [N.CSR, N.COO, N.DIAJ, N.BSRRight((2, 2)), N.DCSR], ids=lambda f: f.name)
def test_conversions(package: str, source: ust.TensorFormat) -> None:
    a = values((8, 12), density=0.3)
    first = sparse(a, source, package=package)
    for target in (N.CSR, N.CSC, N.COO, N.DIAI, N.BSRRight((2, 2)), N.DELTA(4), N.DensedRight(2)):
        second = first.convert(tensor_format=target)
        assert (second.device, second.package) == ("cuda", first.package)
        back = second.convert(tensor_format=N.DensedRight(2)).to_package()
        np.testing.assert_array_equal(to_numpy(back), a)


def test_batches_of_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    fixed = np.zeros((3, 6, 8))
    for x in fixed.reshape(-1, 8):
        x[rng.choice(8, 3, replace=False)] = rng.random(3) + 1
    a, b, one = torch.from_numpy(fixed).cuda(), torch.from_numpy(values((3, 8, 5), seed=1)).cuda(), None
    one = torch.from_numpy(values((8, 5), seed=2)).cuda()
    with warnings.catch_warnings(action="ignore"):
        rows, blocks = a.to_sparse_csr(), torch.ones(3, 6, 8, dtype=torch.float64).cuda().to_sparse_bsr((2, 2))
    for given, full in ((rows, a), (blocks, torch.ones_like(a))):
        for other in (b, one, one.T.contiguous().T):
            expected = to_numpy(full @ other)
            for provider in ("cusparse", "generated"):
                with Matmul(given, other, options={"provider": provider}) as mm:
                    try:
                        for _ in every_way(mm):
                            close(mm.execute(), expected)
                    except UnavailableError:
                        assert (provider, given is blocks) == ("cusparse", True)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("provider", ["cusparse", "generated"])
@pytest.mark.parametrize("columns", [None, 6])
def test_resets(package: str, provider: str, columns: int | None) -> None:
    """New values in place, other operands, other patterns, temporary memory given back."""
    shape = (300,) if columns is None else (300, columns)
    a, b = values((400, 300), density=0.05), values(shape, seed=1)
    for form in (N.CSR, N.CSC, N.COO, N.DCSR):
        t = sparse(a, form, package=package)
        with Matmul(t, dense(b, package), options={"provider": provider}) as mm:
            for _ in every_way(mm):
                close(mm.execute(), a @ b)
                t.val[...] *= 2
                close(mm.execute(), 2 * (a @ b))
                t.val[...] /= 2
                mm.reset_operands(b=dense(-b, package), alpha=3.0)
                close(mm.execute(), -3 * (a @ b))
                other = values((400, 300), density=0.1, seed=4)
                mm.reset_operands(a=sparse(other, form, package=package))
                close(mm.execute(), -3 * (other @ b))
                close(mm.execute(release_workspace=True), -3 * (other @ b))
                close(mm.execute(), -3 * (other @ b))
                mm.reset_operands(a=t, b=dense(b, package), alpha=1.0)
                close(mm.execute(), a @ b)


@pytest.mark.parametrize("provider", ["cusparse", "generated"])
def test_streams_and_graphs(provider: str) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch was built without CUDA")
    a, b = values((400, 300), density=0.05), torch.from_numpy(values((300, 8), seed=1)).cuda()
    for form in (N.CSR, N.DCSR):
        with Matmul(sparse(a, form, package="torch-cuda"), b, options={"provider": provider}) as mm:
            mm.plan()
            out = mm.empty_result()
            expected = a @ b.cpu().numpy()
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                close(mm.execute(), expected)
            close(mm.execute(stream=stream), expected)
            graph = torch.cuda.CUDAGraph()
            torch.cuda.synchronize()
            with torch.cuda.graph(graph, stream=stream):
                mm.execute(out=out)
            b.mul_(2)
            graph.replay()
            torch.cuda.synchronize()
            close(out, 2 * expected)
            b.div_(2)


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch was built without CUDA")
    from planmath.sparse.ust.interfaces.torch_interface import TorchUST

    a, b = values((40, 30), density=0.2), torch.from_numpy(values((30, 4), seed=1)).cuda()
    weight = TorchUST.from_torch(torch.from_numpy(a).cuda().to_sparse().coalesce())
    for factor in (1, -2):
        close(weight @ (factor * b), factor * (a @ b.cpu().numpy()))
    x = torch.from_numpy(values((5, 30), seed=2)).cuda()
    close(torch.nn.functional.linear(x, weight), x.cpu().numpy() @ a.T)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_work_elsewhere(package: str) -> None:
    """Operands on the host and work on the device, and the other way round."""
    a, b = values((40, 30), density=0.2), values((30, 4), seed=1)
    close(matmul(sp.csr_array(a), b, execution="cuda"), a @ b)
    for form in (N.CSR, N.DIAI):
        close(matmul(sparse(a, form, package=package), dense(b, package), execution="cpu"), a @ b)


def test_large_and_uneven_rows() -> None:
    """Rows of every length, over which threads are shared differently."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    lengths = np.array([0, 1, 5, 33, 300, 5000, 20_000, 2, 0] * 20)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    crd = np.concatenate([np.sort(rng.choice(20_000, n, replace=False)) for n in lengths]).astype(np.int32)
    a = sp.csr_array((rng.random(len(crd)), crd, starts), shape=(len(lengths), 20_000))
    for shape in ((20_000,), (20_000, 3), (20_000, 33), (20_000, 200)):
        b = rng.random(shape)
        for form in (N.CSR, N.COO):
            t = ust.Tensor.from_package(a).convert(tensor_format=form)
            arrays = t._filled().each(lambda x: torch.from_numpy(x).cuda())
            t = ust.Tensor._of(t.extents, form, arrays, "torch")
            for provider in ("cusparse", "generated"):
                with Matmul(t, torch.from_numpy(b).cuda(), options={"provider": provider}) as mm:
                    for _ in every_way(mm):
                        np.testing.assert_allclose(to_numpy(mm.execute()), a @ b, rtol=1e-10)
    v = rng.random(100_000) * (rng.random(100_000) < 0.5)
    x = rng.random((100_000, 2))
    t = sparse(v, N.SparseVector, package="torch-cuda")
    np.testing.assert_allclose(to_numpy(matmul(t, torch.from_numpy(x).cuda())), v @ x, rtol=1e-10)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("first", [N.CSR, N.CSC, N.COO, N.BSRRight((2, 2)), N.DIAI], ids=lambda f: f.name)
def test_products_of_two_sparse_ones(package: str, first: ust.TensorFormat) -> None:
    for n, second in enumerate((N.CSR, N.CSC, N.DCSR)):
        dtype = ("float64", "complex64", "float32")[n]
        check_pair(first, second, dtype, package, (n % 2, 0), (0, n == 1), ("int32", "int64")[n % 2])


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
@pytest.mark.parametrize("provider", ["cusparse", "generated"])
def test_products_into_entries(package: str, provider: str) -> None:
    for form in (N.CSR, N.CSC, N.COO, N.BSRRight((2, 2)), N.DIAI):
        for n, orders in enumerate(("CC", "CF", "FC", "FF")):
            dtype = ("float64", "complex64", "float32", "complex128")[n]
            has = check_sampled(provider, form, dtype, package, orders, (1, 9, 32, 100)[n], ("int32", "int64")[n % 2])
            assert has or (provider == "cusparse" and form not in (N.CSR, N.CSC)), (form, orders)
    assert provider == "cusparse" or check_sampled(provider, N.CSR, "float16", package)


def test_large_products_of_two_sparse_ones() -> None:
    """Rows of all lengths, of which the long ones are summed in temporary memory."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a = sp.random_array((3000, 2000), density=0.01, rng=rng, format="csr")
    b = sp.random_array((2000, 4000), density=0.02, rng=rng, format="csr")
    moved = [
        torch.sparse_csr_tensor(*(torch.from_numpy(x).cuda() for x in (m.indptr, m.indices, m.data)), m.shape)
        for m in (a, b)
    ]
    with Matmul(*moved) as product:
        product.plan()
        for _ in range(2):
            found = product.execute()
            np.testing.assert_allclose(whole(found), (a @ b).toarray(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_autotuning(package: str, tuning_record: Any) -> None:
    a, b = values((500, 400), "float32", density=0.05), values((400, 32), "float32", seed=1)
    operands = sparse(a, N.CSR, package=package), dense(b, package)
    with Matmul(*operands) as mm:
        mm.plan()
        mm.autotune(iterations=3)
        best = mm._plan_made.chosen  # type: ignore[union-attr]
        close(mm.execute(), a.astype(float) @ b, "float32")
    with Matmul(*operands) as mm:
        mm.plan()
        assert (mm._plan_made.origin, mm._plan_made.chosen) == ("the tuning record", best)  # type: ignore[union-attr]
