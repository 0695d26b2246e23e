"""Sparse products by every provider, against dense ones in higher precision."""

from __future__ import annotations

import importlib.util
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
import torch

import planmath.sparse.product.formats as format_times
from planmath.core.errors import UnavailableError
from planmath.sparse import Matmul, matmul, matmul_matrix_qualifiers_dtype, ust
from planmath.sparse.product.operation import InvalidMatmulState
from planmath.sparse.product.providers import PROVIDERS, generated
from tests.ust.test_tensor import MATRIX_FORMATS, OTHER_FORMATS, SHAPES, formats

N = ust.NamedFormats
TENSORS = [*MATRIX_FORMATS, *OTHER_FORMATS[1], *OTHER_FORMATS[3]]
NAMES = [provider.name for provider in PROVIDERS if provider.name in ("mkl", "own", "scipy")]
TOLERANCE = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 1e-5, "complex64": 1e-5}


def values(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0, density: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)
    if dtype.startswith("complex"):
        made = made + 1j * rng.uniform(0.5, 2, shape)
    return np.asarray(made * (rng.random(shape) < density)).astype("float32" if dtype == "bfloat16" else dtype)


def sparse(a: np.ndarray, form: ust.TensorFormat, index_type: str = "int32") -> ust.Tensor:
    return ust.Tensor.from_package(a).convert(tensor_format=form, index_type=index_type)


def close(found: Any, expected: np.ndarray, dtype: str = "float64") -> None:
    found = found.float().numpy() if isinstance(found, torch.Tensor) and dtype == "bfloat16" else np.asarray(found)
    tolerance = TOLERANCE.get(dtype, 1e-12)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 10)


def qualified(a: tuple[int, int] = (0, 0), b: tuple[int, int] = (0, 0)) -> np.ndarray:
    return np.array([a, b, (0, 0)], matmul_matrix_qualifiers_dtype)


def product(provider: str, *operands: Any, plan: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """The product, or a skipped test where the provider has none."""
    threads = arguments.pop("threads", 1)
    with Matmul(*operands, options={"provider": provider}, execution={"num_threads": threads}, **arguments) as mm:
        try:
            mm.plan(**(plan or {}))
        except UnavailableError as error:
            pytest.skip(str(error))
        return mm.execute()


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("form", TENSORS, ids=lambda f: f.name[:24])
@pytest.mark.parametrize(
    ("dtype", "index_type"),
    [("float16", "int32"), ("float32", "int64"), ("float64", "int32"), ("complex64", "int32"), ("complex128", "int64")],
)
@pytest.mark.parametrize(("columns", "order"), [(None, "C"), (1, "C"), (7, "F"), (45, "C"), (45, "F")])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("with_c", [False, True])
def test_products(
    provider: str, form: ust.TensorFormat, dtype: str, index_type: str, columns: int | None, order: Any,
    transposed: bool, with_c: bool,
) -> None:  # fmt: skip
    a = values(SHAPES[form.num_dimensions], dtype, density=0.3)
    transposed = transposed and a.ndim > 1
    op = a.swapaxes(-1, -2) if transposed else a
    batch = a.shape[:-2]
    k = op.shape[-1]
    shape = (k,) if columns is None else (*batch, k, columns)
    b = values(shape, dtype, 1).copy(order)
    expected = np.matmul(op.astype("complex128"), b.astype("complex128"))
    if a.ndim > 2 and order == "F":
        b = np.asfortranarray(b.T).T if columns is None else np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
    c = None
    arguments: dict[str, Any] = {"alpha": 2.0}
    if with_c:
        c = values(expected.shape, dtype, 2).copy("C" if a.ndim > 2 else order)
        if c.ndim == 0:
            pytest.skip("numbers are no operands to replace")
        expected = 2 * expected + 0.5 * c
        arguments["beta"] = 0.5
    else:
        expected = 2 * expected
    if not dtype.startswith("complex"):
        expected = expected.real
    found = product(
        provider, sparse(a, form, index_type), b, c, qualifiers=qualified((int(transposed), 0)), **arguments
    )
    assert found is c or c is None
    close(found, expected, dtype)


@hypothesis.settings(max_examples=120)
@hypothesis.given(formats(), st.booleans(), st.integers(1, 40), st.integers(1, 3), st.integers(0, 99), st.booleans())
def test_own_loops_over_random_formats(
    form: ust.TensorFormat, transposed: bool, columns: int, threads: int, seed: int, vector: bool
) -> None:
    a = values((6, 8, 4)[: form.num_dimensions], seed=seed, density=0.5)
    transposed = transposed and a.ndim > 1
    op = a.swapaxes(-1, -2) if transposed else a
    b = values((op.shape[-1],) if vector else (*a.shape[:-2], op.shape[-1], columns), seed=seed + 1)
    from planmath.sparse.product.providers import own

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "THREADED_WORK", 0)
        found = product(
            "own", sparse(a, form), b, qualifiers=qualified((int(transposed), 0)), threads=threads
        )
    close(found, op @ b)


@pytest.mark.parametrize("form", TENSORS, ids=lambda f: f.name[:24])
@pytest.mark.parametrize("columns", [1, 40])
def test_threads_change_nothing_from_run_to_run(eight_cpus: None, form: ust.TensorFormat, columns: int) -> None:
    shape = {1: (1200,), 2: (240, 360), 3: (8, 60, 48)}[form.num_dimensions]
    a = values(shape, density=0.25)
    if "Structured" in form.name:
        a = a * np.tile(np.arange(shape[-1]) % 3 != 2, (*shape[:-1], 1))
    t = sparse(a, form)
    b = values((*shape[:-2], shape[-1], columns), seed=1)
    from planmath.sparse.product.providers import own

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "THREADED_WORK", 0)
        with Matmul(t, b, options={"provider": "own"}, execution={"num_threads": 4}) as mm:
            mm.plan()
            first = mm.execute()
            for _ in range(3):
                np.testing.assert_array_equal(mm.execute(), first)
    close(first, a @ b)


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("form", [N.CSR, N.CSC, N.COO, N.DIAI, N.BSRRight((2, 2))], ids=lambda f: f.name)
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_dense_times_sparse(provider: str, form: ust.TensorFormat, transposed: tuple[int, int], dtype: str) -> None:
    s = values((6, 8), dtype, density=0.4)
    op = s.T if transposed[1] else s
    x = values((op.shape[0], 5) if transposed[0] else (5, op.shape[0]), dtype, 1)
    left = x.T if transposed[0] else x
    found = product(provider, x, sparse(s, form), qualifiers=qualified((transposed[0], 0), (transposed[1], 0)))
    close(found, left @ op)
    vector = values((op.shape[0],), dtype, 2)
    found = product(provider, vector, sparse(s, form), qualifiers=qualified((0, 0), (transposed[1], 0)))
    close(found, vector @ op)


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("conjugated", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_conjugates(provider: str, conjugated: tuple[int, int], transposed: tuple[int, int]) -> None:
    a = values((6, 8), "complex128", density=0.5)
    op_a = a.T if transposed[0] else a
    b = values((4, op_a.shape[1]) if transposed[1] else (op_a.shape[1], 4), "complex128", 1)
    op_b = b.T if transposed[1] else b
    qualifiers = qualified(*zip(transposed, conjugated, strict=True))
    expected = (op_a.conj() if conjugated[0] else op_a) @ (op_b.conj() if conjugated[1] else op_b)
    close(product(provider, sp.csr_array(a), b, qualifiers=qualifiers), expected)
    t = torch.from_numpy(b).conj()
    expected = (op_a.conj() if conjugated[0] else op_a) @ (op_b if conjugated[1] else op_b.conj())
    close(product(provider, torch.from_numpy(a).to_sparse_csr(), t, qualifiers=qualifiers), expected)


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("batches", [((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 3), (2, 3)), ((), (2, 3))])
def test_batches(provider: str, batches: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = values((*batches[0], 6, 8), density=0.4), values((*batches[1], 8, 5), seed=1)
    form = N.CSR if not batches[0] else N.COOd(a.ndim)
    close(product(provider, sparse(a, form), b), a @ b)
    if len(batches[0]) == 1:
        close(product(provider, sparse(a, N.BatchedCSR), b), a @ b)
        close(product(provider, sparse(np.stack([a[0]] * 3), N.CSRd(1)), b), np.stack([a[0]] * 3) @ b)


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize(
    ("first", "second"),
    [("float32", "float64"), ("float64", "float32"), ("float32", "complex64"), ("float16", "float32"),
     ("complex128", "float32")],
)  # fmt: skip
def test_two_dtypes(provider: str, first: str, second: str) -> None:
    a, b = values((6, 8), first, density=0.4), values((8, 3), second, 1)
    found = product(provider, sp.csr_array(a) if first != "float16" else sparse(a, N.CSR), b)
    wanted = np.result_type(a, b)
    assert found.dtype == wanted
    close(found, a @ b, wanted.name if first != "float16" else "float16")


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr"])
def test_tensors(provider: str, dtype: torch.dtype, layout: str) -> None:
    a = torch.from_numpy(values((6, 8), density=0.4)).to(dtype)
    b = torch.from_numpy(values((8, 5), seed=1)).to(dtype)
    s = {
        "csr": a.to_sparse_csr, "csc": a.to_sparse_csc, "coo": a.to_sparse, "bsr": lambda: a.to_sparse_bsr((2, 2))
    }[layout]()  # fmt: skip
    s = s.coalesce() if layout == "coo" else s
    found = product(provider, s, b)
    assert found.dtype == dtype
    close(found, (a.double() @ b.double()).numpy(), str(dtype).removeprefix("torch."))


def test_half_precision_is_summed_in_single() -> None:
    n = 4096
    a = np.ones((2, n), np.float16)
    found = product("own", sparse(a, N.CSC), np.ones(n, np.float16))
    np.testing.assert_array_equal(found, [n, n])  # sums in half precision end at 2048


SEMIRINGS = {
    "min_plus": (np.minimum, np.add, np.inf), "max_plus": (np.maximum, np.add, -np.inf),
    "max_times": (np.maximum, np.multiply, -np.inf), "min_times": (np.minimum, np.multiply, np.inf),
    "max_min": (np.maximum, np.minimum, -np.inf), "min_max": (np.minimum, np.maximum, np.inf),
    "plus_first": (np.add, lambda x, y: x + 0 * y, 0), "plus_second": (np.add, lambda x, y: 0 * x + y, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", SEMIRINGS)
@pytest.mark.parametrize("form", [N.CSR, N.CSC, N.COO, N.DELTA(2), N.DCSR, N.CSFd(2)], ids=lambda f: f.name)
@pytest.mark.parametrize("with_c", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_semirings(name: str, form: ust.TensorFormat, with_c: bool, threads: int) -> None:
    add, mul, zero = SEMIRINGS[name]
    a, b = values((9, 8), density=0.3), values((8, 20), seed=1)
    a[4] = 0
    t = sparse(a, form)
    terms = np.where((dense_pattern(t))[:, :, None], mul(a[:, :, None], b[None]), zero)
    expected = add.reduce(terms, axis=1)
    c = None
    if with_c:
        c = values((9, 20), seed=2)
        expected = add(expected, c)
    from planmath.sparse.product.providers import own

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "THREADED_WORK", 0)
        found = product("own", t, b, c, plan={"semiring": name}, threads=threads)
        close(found, expected)
    pair = {"add": add, "mul": mul}
    if "first" not in name and "second" not in name:
        again = matmul(t, b, values((9, 20), seed=2) if with_c else None, semiring=pair)
        close(again, expected)


@pytest.mark.parametrize(("name", "expected"), [("plus_first", [[10.0, 30]]), ("plus_second", [[1.0, 5]])])
def test_semirings_that_tell_the_operands_apart(name: str, expected: list[list[float]]) -> None:
    a, b = np.array([[10.0, 20]]), np.array([[1.0, 2], [0, 3]])
    for form in (N.CSR, N.CSC, N.COO, N.DCSR):
        close(product("own", a, sparse(b, form), plan={"semiring": name}), np.array(expected))
        close(product("own", a[0], sparse(b, form), plan={"semiring": name}), np.array(expected[0]))
        c = np.ones((1, 2))
        close(product("own", a, sparse(b, form), c, plan={"semiring": name}), np.array(expected) + 1)
        x, flags = sparse(b.T.copy(), form), qualified((0, 0), (1, 0))
        close(product("own", a, x, plan={"semiring": name}, qualifiers=flags), np.array(expected))
    close(matmul(sp.csr_array(a), sp.csr_array(b), semiring=name).toarray(), np.array(expected))


def test_what_kernels_pair_where_the_dense_operand_is_the_first() -> None:
    a, b = sp.csr_array(np.eye(2)), np.ones((2, 2))
    for operands, pairing in (((a, b), ("first", "second")), ((b, a), ("second", "first"))):
        with Matmul(*operands) as mm:
            mm.plan()
            for name, made in zip(("plus_first", "plus_second"), pairing, strict=True):
                problem = mm._problem._replace(semiring=name)
                kernel = generated._Kernel(problem, None, generated.nest_of(problem), None, 4)
                assert f"PAIRED={made}" in kernel.definitions()


def dense_pattern(t: ust.Tensor) -> np.ndarray:
    """What is stored, padding included."""
    u = t.clone()
    u.val[...] = 1
    return u.convert(tensor_format=N.DensedRight(t.num_dimensions)).to_package() != 0


@pytest.mark.parametrize("provider", NAMES)
def test_functions(provider: str) -> None:
    a, b = values((6, 8), density=0.4), values((8, 3), seed=1)
    stored = a != 0
    found = product(
        provider, sp.csr_array(a), b,
        plan={"prologs": {"a": lambda x: 2 * x + 1, "b": np.exp}, "epilog": lambda x: x if x > 0 else 0.0},
    )  # fmt: skip
    close(found, np.maximum(np.where(stored, 2 * a + 1, 0) @ np.exp(b), 0))


def test_lifecycle() -> None:
    a, b, c = values((6, 8), density=0.4), values((8, 3), seed=1), values((6, 3), seed=2)
    m = sp.csr_array(a)
    with Matmul(m, b, c, beta=2.0) as mm:
        with pytest.raises(InvalidMatmulState, match="plan"):
            mm.execute()
        mm.plan()
        first = c.copy()
        assert mm.execute() is c
        close(c, a @ b + 2 * first)
        second = c.copy()
        mm.execute()
        close(c, a @ b + 2 * second)  # c accumulates
        m.data *= 3  # in place
        mm.reset_operands(c=first.copy(), alpha=0.5, beta=0.0)
        close(mm.execute(), 1.5 * a @ b)
        other = sp.csr_array(values((6, 8), seed=5, density=0.8))  # another number of entries
        new = np.zeros((6, 3))
        mm.reset_operands(a=other, c=new, alpha=1)
        assert mm.execute() is new
        close(new, other.toarray() @ b)
        mm.release_operands()
        with pytest.raises(InvalidMatmulState, match="operands"):
            mm.execute()
        with pytest.raises(ValueError, match="missing"):
            mm.reset_operands(a=m)
        mm.reset_operands_unchecked(a=m, b=b, c=new)
        close(mm.execute(), m @ b)
        assert "mkl" in mm.report() or "own" in mm.report()
    with pytest.raises(InvalidMatmulState):
        mm.execute()


@pytest.mark.parametrize("provider", NAMES)
def test_out_and_new_values(provider: str) -> None:
    m, whole = sp.random_array((50, 40), density=0.2, rng=0).tocsr(), values((80, 6))
    b = whole[:40]
    with Matmul(m, b, options={"provider": provider}) as mm:
        mm.plan()
        out = mm.empty_result()
        assert mm.execute(out=out) is out
        close(out, m @ b)
        m.data[:] = 7
        close(mm.execute(out=out), m @ b)
        with pytest.raises(ValueError, match="shares memory"):
            mm.execute(out=whole[10:60])
        with pytest.raises(ValueError, match="shape"):
            mm.execute(out=np.empty((6, 50)))


def test_constant_operands_may_be_copied() -> None:
    m, b = sp.random_array((50, 40), density=0.2, rng=0).tocsr(), values((40,))
    with Matmul(m, b, options={"constant": ["a"], "tuning": False}) as mm:
        mm.plan()
        for _ in range(2):
            close(mm.execute(), m @ b)
        other = m.copy()
        other.data *= 2
        mm.reset_operands(a=other)
        close(mm.execute(), 2 * (m @ b))
        mm.autotune(iterations=1, seconds=1.0)
        close(mm.execute(), 2 * (m @ b))


def test_tensors_in_and_out() -> None:
    a, b = values((6, 8), density=0.4), values((8, 3), seed=1)
    c = ust.Tensor.from_package(np.zeros((6, 3)))
    with Matmul(sparse(a, N.DELTA(2)), ust.Tensor.from_package(b), c, beta=0) as mm:
        mm.plan()
        assert mm.execute() is c
    close(c.to_package(), a @ b)
    dense = ust.Tensor.from_package(a)
    close(matmul(dense, b), a @ b)


CSR, B = sp.csr_array(np.eye(3)), np.ones((3, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.eye(3), B), TypeError, "neither"),
        ((np.ones((3, 2)), CSR, CSR), ValueError, "c is sparse"),
        ((CSR, B, CSR), ValueError, "c is sparse"),
        ((CSR, torch.ones(3, 2)), TypeError, "same package"),
        ((CSR, np.ones((4, 2))), ValueError, "3 elements of a and 4"),
        ((CSR, B, np.zeros((3, 3))), ValueError, "c has the shape"),
        ((CSR, B, np.zeros((3, 2), "f4")), ValueError, "c has the dtype"),
        ((CSR.astype(int), B), TypeError, "int64"),
        ((CSR, np.ones((2, 3, 2)), np.zeros((3, 3, 2))), ValueError, "c has the shape"),
    ],
)
def test_what_is_no_product(arguments: tuple[Any, ...], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Matmul(*arguments)


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"qualifiers": np.zeros(3)}, ValueError, "qualifiers"),
        ({"qualifiers": np.ones(3, matmul_matrix_qualifiers_dtype)}, NotImplementedError, "for c"),
        ({"options": {"compute_type": 7}}, ValueError, "compute_type"),
        ({"options": {"compute_type": 4}}, ValueError, "real numbers"),
        ({"options": {"constant": ["b"]}}, ValueError, "constant"),
        ({"options": {"memory_limit": "much"}}, ValueError, "memory_limit"),
        ({"options": {"blocking": False}}, ValueError, "blocking"),
        ({"options": {"speed": 1}}, TypeError, "speed"),
        ({"execution": 3}, TypeError, "execution"),
        ({"alpha": "x"}, ValueError, "alpha"),
    ],
)
def test_wrong_arguments(keywords: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Matmul(CSR, B, **keywords)


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"prologs": [1]}, TypeError, "dict"),
        ({"prologs": {"d": abs}}, ValueError, "'d'"),
        ({"prologs": {"c": abs}}, NotImplementedError, "for c"),
        ({"prologs": {"a": b"code"}}, TypeError, "device"),
        ({"prologs": {"a": lambda x, y: x}}, TypeError, "one value"),
        ({"epilog": 3}, TypeError, "epilog"),
        ({"semiring": "plus_plus"}, ValueError, "plus_plus"),
        ({"semiring": 3}, TypeError, "semiring"),
        ({"semiring": (np.add, np.subtract)}, ValueError, "semiring"),
    ],
)
def test_a_plan_that_fails_leaves_the_old_one(keywords: dict[str, Any], error: type[Exception], words: str) -> None:
    with Matmul(CSR, B) as mm:
        mm.plan()
        with pytest.raises(error, match=words):
            mm.plan(**keywords)
        np.testing.assert_array_equal(mm.execute(), B)


def test_resets_that_do_not_fit_change_nothing() -> None:
    broken = sp.csr_array(np.eye(3))
    broken.indices[0] = 9
    for arguments, error, words in (
        ({}, ValueError, "no operand"),
        ({"c": B}, ValueError, "without it"),
        ({"beta": 1}, ValueError, "without c"),
        ({"a": CSR.tocsc()}, TypeError, "format"),
        ({"a": CSR.astype("f4")}, TypeError, "dtype"),
        ({"a": sp.csr_array(np.eye(3)[:, :2])}, TypeError, "extents"),
        ({"a": broken}, ValueError, "expected 0 to 2"),
        ({"a": CSR * 2, "b": np.ones((3, 3))}, ValueError, "shape"),
        ({"b": np.ones((3, 2), "f4")}, ValueError, "dtype"),
        ({"a": sp.csr_array(np.ones((3, 3))), "b": np.ones((3, 3))}, ValueError, "shape"),
    ):
        with Matmul(CSR, B) as mm:
            mm.plan()
            with pytest.raises(error, match=words):
                mm.reset_operands(**arguments)
            np.testing.assert_array_equal(mm.execute(), B)


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (3, 3, 0), (0, 0, 0), (1, 1, 1)])
def test_empty_products(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    for form in ("csr", "csc", "coo", "dia"):
        a = sp.csr_array(np.ones((m, k))).asformat(form)
        close(matmul(a, np.ones((k, n))), np.ones((m, k)) @ np.ones((k, n)))


@pytest.mark.parametrize("provider", ["own", "scipy", "numba"])
@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (3, 3, 0), (3, 3, 2)])
@pytest.mark.parametrize("batches", [((), ()), ((2,), ()), ((), (2,)), ((2,), (2,)), ((0,), (0,))])
def test_empty_products_of_every_provider(provider: str, shape: tuple[int, int, int], batches: Any) -> None:
    m, k, n = shape
    plan: dict[str, Any] = {}
    if provider == "numba":
        pytest.importorskip("numba")
        plan = {"semiring": {"add": lambda x, y: x + y, "mul": lambda x, y: x * y, "identity": 0.0}}
    a, b = np.ones((*batches[0], m, k)), np.ones((*batches[1], k, n))
    x, y = (sparse(each, N.CSR if each.ndim == 2 else N.COOd(3)) for each in (a, b))
    for operands in ((x, b), (a, y)):
        found = product(provider, *operands, plan=plan)
        assert found.shape == (a @ b).shape
        close(found, a @ b)
    if not batches[0]:
        close(product(provider, x, np.ones(k), plan=plan), a @ np.ones(k))


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("form", [N.CSR, N.CSC, N.COO, N.DIAI, N.BSRRight((2, 2)), N.CROW], ids=lambda f: f.name)
@pytest.mark.parametrize("shape", [(8,), (8, 5)])
@pytest.mark.parametrize("layout", ["strided", "reversed", "repeated", "read-only", "offset"])
def test_layouts_of_b(provider: str, form: ust.TensorFormat, shape: tuple[int, ...], layout: str) -> None:
    a = values((6, 8), density=0.4)
    b = {
        "strided": lambda: values(tuple(2 * n for n in shape), seed=1)[tuple(slice(None, None, 2) for _ in shape)],
        "reversed": lambda: values(shape, seed=1)[::-1],
        "repeated": lambda: np.broadcast_to(values((1, *shape[1:]), seed=1), shape),
        "read-only": lambda: values(shape, seed=1),
        "offset": lambda: values((shape[0] + 1, *shape[1:]), seed=1)[1:],
    }[layout]()
    if layout == "read-only":
        b.flags.writeable = False
    close(product(provider, sparse(a, form), b), a @ b)
    wide = np.zeros((6, 2, *shape[1:]))
    c = wide[:, 0]
    found = product(provider, sparse(a, form), b, c, beta=0)
    assert found is c
    close(c, a @ b)
    assert not wide[:, 1].any()


@pytest.mark.parametrize("provider", NAMES)
def test_what_is_in_c_does_not_count_without_beta(provider: str) -> None:
    a, b = values((6, 8), density=0.4), values((8, 5), seed=1)
    for form in (N.CSR, N.CSC, N.COO, N.DIAI):
        c = np.full((6, 5), np.nan)
        close(product(provider, sparse(a, form), b, c, beta=0), a @ b)


@pytest.mark.pairwise
@pytest.mark.parametrize("block", [*((n, n) for n in range(1, 10)), (2, 4), (4, 2), (8, 3), (16, 16), (5, 11)])
@pytest.mark.parametrize("order", [N.BSRRight, N.BSRLeft, N.BSCRight, N.BSCLeft], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("index_type", ["int32", "int64"])
@pytest.mark.parametrize("columns", [None, 3, 40])
@pytest.mark.parametrize("layout", ["plain", "strided"])
@pytest.mark.parametrize("transposed", [0, 1])
def test_blocks(
    block: tuple[int, int], order: Any, dtype: str, index_type: str, columns: int | None, layout: str, transposed: int
) -> None:
    """By loops for each size, with rows of blocks of which some are empty."""
    m, n = block
    places = np.random.default_rng(2).random((5, 6)) < 0.4
    places[3] = False
    a = values((5 * m, 6 * n), dtype) * np.kron(places, np.ones(block)).astype(dtype)
    op = a.T if transposed else a
    b = values((op.shape[1],) if columns is None else (op.shape[1], columns), dtype, 1)
    c = values(op.shape[:1] if columns is None else (op.shape[0], columns), dtype, 2)
    expected = 2 * op.astype("c16") @ b.astype("c16") + 0.5 * c
    if layout == "strided":
        b, c = np.repeat(b, 2, axis=0)[::2], np.repeat(c, 3, axis=0)[::3]
    tensor = sparse(a, order(block), index_type)
    product("own", tensor, b, c, alpha=2, beta=0.5, qualifiers=qualified((transposed, 0)))
    close(c, expected if dtype == "complex64" else expected.real, dtype)


@pytest.mark.parametrize("shape", [(0, 4, 3), (3, 0, 0), (0, 0, 5), (4, 0, 3)])
def test_empty_results_are_taken(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    for b in (np.ones((k, n)), np.ones((k, n), order="F"), sp.csr_array((k, n))):
        with Matmul(sp.csr_array((m, k)), b) as mm:
            mm.plan()
            out = mm.empty_result()
            assert mm.execute(out=out) is out
            assert out.shape == (m, n)


def test_lists_in_no_order_as_tensors() -> None:
    """Which say so, and with entries that come twice."""
    rng = np.random.default_rng(0)
    row, column = rng.integers(0, 6, 40), rng.integers(0, 5, 40)
    a = sp.coo_array((rng.random(40), (row, column)), shape=(6, 5))
    tensor, b = ust.Tensor.from_package(a), rng.random((5, 3))
    assert not tensor.tensor_format.is_ordered
    close(matmul(tensor, b), a @ b)
    close(matmul(tensor, sp_tensor(b)).to_package().toarray(), a @ b)


def sp_tensor(b: np.ndarray) -> ust.Tensor:
    return ust.Tensor.from_package(sp.csr_array(b))


def test_foreign_byte_order_and_read_only_results() -> None:
    a, b = sp.csr_array(values((6, 8), density=0.4)), values((8, 5))
    with pytest.raises(TypeError, match="byte order"):
        Matmul(a, b.astype(">f8"))
    c = np.zeros((6, 5))
    c.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        Matmul(a, b, c)
    shared = values((8, 5))
    with Matmul(sp.csr_array(np.eye(8)), shared, shared) as mm:
        mm.plan()
        with pytest.raises(ValueError, match="shares memory"):
            mm.execute()


def test_coordinates_are_as_the_format_promises() -> None:
    t = sparse(values((6, 8), density=0.9), N.COO)
    t.crd(0)[:] = t.crd(0)[::-1].copy()
    with pytest.raises(ValueError, match="order that this promises"):
        Matmul(t, values((8,)))
    t.crd(0)[0] = 6
    with pytest.raises(ValueError, match="expected 0 to 5"):
        Matmul(t, values((8,)))


def test_no_provider_for_a_device() -> None:
    with pytest.raises((UnavailableError, RuntimeError)), Matmul(CSR, B, execution="cuda") as mm:
        mm.plan()


def test_other_formats_are_compared_on_request() -> None:
    n = 96
    band = sp.diags_array([1.0, -4.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)).tocsr()
    x = values((n,))
    with Matmul(band, x, options={"tuning": False}) as mm:
        mm.plan()
        mm.autotune(iterations=1, seconds=0.2, formats=True)
        text = str(mm.report())
        assert "pays after" in text
        assert "DIAI" in text
        close(mm.execute(), band @ x)
        mm.autotune(iterations=1, seconds=0.2, formats=[N.BSRRight((4, 4)), N.CSC])
        assert "BSRRight4x4" in str(mm.report())
        assert "CSC" in str(mm.report())
    with Matmul(band, band) as mm:
        mm.plan()
        with pytest.raises(ValueError, match="one sparse operand"):
            mm.autotune(formats=True)


def test_other_formats_are_compared_for_the_same_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the functions and the factors that were asked for, and without what is in c being changed."""
    band = sp.diags_array([1.0, -4.0, 1.0], offsets=[-1, 0, 1], shape=(12, 12)).tocsr()
    x, before = values((12, 3)), values((12, 3), seed=1)
    found: list[Any] = []

    def measured(tensor: ust.Tensor, formats: Any, planned: Any, seconds: float) -> list[Any]:
        for form in formats:
            with planned(tensor.convert(tensor_format=form)) as other:
                found.append(np.array(other.execute().tolist()))
        return []

    own = {"add": lambda x, y: x + y, "mul": lambda x, y: 3 * x * y, "identity": 0.0}
    asked: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"semiring": "min_plus"}, {}),
        ({"prologs": {"a": np.abs}, "epilog": np.negative}, {"alpha": 3.0}),
        ({}, {"alpha": 2.0, "c": before.copy(order="F"), "beta": 0.5}),
        ({}, {"c": before.copy()}),
        ({}, {"c": torch.from_numpy(before.copy()), "alpha": 2.0}),
    ]
    if importlib.util.find_spec("numba"):
        asked.append(({"semiring": own}, {}))
    for plan, arguments in asked:
        dense = torch.from_numpy(x) if isinstance(arguments.get("c"), torch.Tensor) else x
        first = sparse(band.toarray(), N.CSR)
        if dense is not x:
            first = ust.Tensor.from_package(torch.from_numpy(band.toarray())).convert(tensor_format=N.CSR)
        with Matmul(first, dense, options={"tuning": False}, **arguments) as mm:
            mm.plan(**plan)
            mm.autotune(iterations=1, seconds=0.1, formats=[N.CSC])
            with monkeypatch.context() as patch:
                patch.setattr(format_times, "measured", measured)
                if "c" in arguments:
                    arguments["c"][...] = before if dense is x else torch.from_numpy(before)
                found.clear()
                mm.autotune(iterations=1, seconds=0.1, formats=[N.COO])
            close(arguments.get("c", before), before)
            (each,) = found
            close(each, np.array(mm.execute().tolist()))


def test_semirings_of_the_users_own() -> None:
    pytest.importorskip("numba")
    semiring = {"add": lambda x, y: x + y, "mul": lambda x, y: 2 * x - y, "identity": 0.0}  # the order of both counts
    a, b = values((6, 8), density=0.4), values((8, 5), seed=1)
    stored = (a != 0)[:, :, None]
    expected = np.where(stored, 2 * a[:, :, None] - b[None], 0).sum(axis=1)
    for form in (N.CSR, N.CSC, N.COO):
        with Matmul(sparse(a, form), b) as mm:
            mm.plan(semiring=semiring)
            close(mm.execute(), expected)
            mm.reset_operands(b=2 * b)
            close(mm.execute(), np.where(stored, 2 * a[:, :, None] - 2 * b[None], 0).sum(axis=1))
            assert "numba" in mm.report()
    c = values((6, 5), seed=2)
    close(matmul(sp.csr_array(a), b, c.copy(), semiring=semiring), expected + c)
    x = values((5, 6), seed=3)
    swapped = np.where((a != 0)[None], 2 * x[:, :, None] - a[None], 0).sum(axis=1)
    close(matmul(x, sp.csr_array(a), semiring=semiring), swapped)
    batch = np.stack([a, 2 * a])
    close(matmul(sparse(batch, N.BatchedCSR), np.stack([b, b]), semiring=semiring)[0], expected)
    with Matmul(CSR, B) as mm:
        with pytest.raises(TypeError, match="identity"):
            mm.plan(semiring={**semiring, "identity": "0"})
        with pytest.raises(TypeError, match="function of two"):
            mm.plan(semiring={"add": 1, "mul": 2, "identity": 0})
        with pytest.raises(ValueError, match="identity"):
            mm.plan(semiring=(semiring["add"], semiring["mul"]))


def test_an_operand_without_entries_at_a_reset():
    """Where a library does not multiply nothing, another way of the plan's does."""
    x = np.ones((2, 2))
    with Matmul(sp.csr_array(x), x) as mm:
        mm.plan()
        mm.reset_operands(a=sp.csr_array((2, 2)))
        close(mm.execute(), 0 * x)
        mm.reset_operands(a=sp.csr_array(x))
        close(mm.execute(), x @ x)


def test_what_would_make_a_new_operand_fit_is_told() -> None:
    coo, wide = sp.coo_array(np.eye(3)[::-1]), sp.csr_array(np.eye(3))
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    unsorted = sp.coo_array((coo.data, tuple(x[[2, 0, 1]].copy() for x in coo.coords)), shape=(3, 3))
    for planned, new, words in (
        (coo, unsorted, r"sort its entries, by sum_duplicates\(\) of SciPy"),
        (sp.csr_array(np.eye(3)), wide, r"convert its index arrays by astype\('int32'\), or create a new Matmul"),
    ):
        with Matmul(planned, np.ones(3)) as mm:
            mm.plan()
            with pytest.raises(TypeError, match=words):
                mm.reset_operands(a=new)
    unsorted.sum_duplicates()
    with Matmul(coo, np.arange(3.0)) as mm:
        mm.plan()
        mm.reset_operands(a=unsorted)
        close(mm.execute(), np.arange(3.0)[::-1])
