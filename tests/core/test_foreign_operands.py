"""Operands that look like arrays or tensors and are something more or less: the right result, or a refusal."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import planmath
from planmath.core import remembered
from planmath.linalg.advanced import matmul
from planmath.sparse.advanced import direct_solver
from planmath.tensor import BinaryContraction, binary_contraction, contract

#: Column by column, as solvers want it.
VALUES = np.asfortranarray(np.arange(1.0, 10.0).reshape(3, 3))
ONES = np.ones((3, 3))
TWICE = scipy.sparse.csr_array(2 * np.eye(3))


#: PyTorch says of half of these kinds that they are experimental, and NumPy that its matrices are of the past.
pytestmark = pytest.mark.filterwarnings("ignore")


class Subarray(np.ndarray):
    pass


class Subtensor(torch.Tensor):
    pass


def tensor() -> torch.Tensor:
    return torch.from_numpy(VALUES)


def like(x: Any, array: np.ndarray) -> Any:
    return torch.from_numpy(array) if isinstance(x, torch.Tensor) else array


@cache
def sparse_tensor() -> torch.Tensor:
    return (2 * torch.eye(3, dtype=torch.float64)).to_sparse_csr()


def system(x: Any) -> Any:
    return sparse_tensor() if isinstance(x, torch.Tensor) else TWICE


#: Operations on one foreign operand, and what comes out for `VALUES`.
OPERATIONS: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "rfft": (planmath.fft.rfft, np.fft.rfft2(VALUES)),
    "matmul": (lambda x: matmul(like(x, ONES), x), ONES @ VALUES),
    "addend": (lambda x: matmul(like(x, ONES), like(x, ONES), x, beta=1.0), 3 + VALUES),
    "contract": (lambda x: contract("ij,jk->ki", like(x, ONES), x), (ONES @ VALUES).T),
    "network": (lambda x: contract("ij,jk,kl->i", x, x, x), (VALUES @ VALUES @ VALUES).sum(1)),
    "binary_contraction": (lambda x: binary_contraction("ij,jk->ik", like(x, ONES), x), ONES @ VALUES),
    "direct_solver": (lambda x: direct_solver(system(x), x), VALUES / 2),
}


def read_only() -> np.ndarray:
    array = VALUES.copy(order="F")
    array.flags.writeable = False
    return array


def on_disk(folder: Path) -> np.memmap:
    array = np.memmap(folder / "values", dtype=np.float64, mode="w+", shape=(3, 3), order="F")
    array[...] = VALUES
    return array


#: What is an array of these values after all.
GOOD: dict[str, Callable[[Path], Any]] = {
    "numpy.matrix": lambda folder: np.asmatrix(VALUES),
    "numpy.memmap": on_disk,
    "subclass of numpy.ndarray": lambda folder: VALUES.view(Subarray),
    "read-only": lambda folder: read_only(),
    "torch.nn.Parameter": lambda folder: torch.nn.Parameter(tensor(), requires_grad=False),
    "torch.nn.Buffer": lambda folder: torch.nn.Buffer(tensor()),
    "subclass of torch.Tensor": lambda folder: tensor().as_subclass(Subtensor),
}


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_an_array_after_all_counts_as_one(name, kind, tmp_path):
    operate, expected = OPERATIONS[name]
    for _ in range(2):  # the second call may find the plan of the first one
        result = operate(GOOD[kind](tmp_path))
        assert type(result) in (np.ndarray, torch.Tensor)
        np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-13)


def bytes_at_odd_places() -> np.ndarray:
    return np.frombuffer(bytes(73), np.uint8)[1:].view(np.float64).reshape(3, 3)


def fake_tensor() -> torch.Tensor:
    with FakeTensorMode():
        return torch.empty(3, 3, dtype=torch.float64)


#: What is none, and a word that the refusal has to say: what was given, or how to mend it.
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "masked array": (lambda: np.ma.array(VALUES), "fill the masked elements"),
    "objects": (lambda: VALUES.astype(object), "object"),
    "no axis": (lambda: np.array(1.0), r"shape (is )?\(\)"),
    "structured": (lambda: np.zeros((3, 3), [("x", np.float64)]), "void64"),
    "text": (lambda: VALUES.astype(str), "str"),
    "foreign byte order": (lambda: VALUES.astype(">f8"), r"newbyteorder\('='\)"),
    "unaligned": (bytes_at_odd_places, r"numpy\.array\(array\)"),
    "long double": (lambda: VALUES.astype(np.longdouble), "float128"),
    "integers": (lambda: VALUES.astype(np.int64), "int64"),
    "scalar": (lambda: VALUES[0, 0], r"numpy\.asarray|shape (is )?\(\)"),
    "list": (lambda: VALUES.tolist(), r"numpy\.asarray|sequence"),
    "meta tensor": (lambda: tensor().to("meta"), "device meta"),
    "COO tensor": (lambda: tensor().to_sparse(), r"\.to_dense\(\)"),
    "CSR tensor": (lambda: tensor().to_sparse_csr(), r"\.to_dense\(\)"),
    "nested tensor": (lambda: torch.nested.nested_tensor([tensor()[0], tensor()[1]]), r"\.unbind\(\)"),
    "quantized tensor": (
        lambda: torch.quantize_per_tensor(tensor().float(), 0.1, 0, torch.qint8), r"\.dequantize\(\)"
    ),
    "lazily negated": (lambda: torch._neg_view(tensor()), r"\.resolve_neg\(\)"),
    "lazy zeros": (lambda: torch._efficientzerotensor((3, 3), dtype=torch.float64), r"\.clone\(\)"),
    "FakeTensor": (fake_tensor, "FakeTensorMode"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_no_array_is_refused_with_a_word_about_it(name, kind):
    make, words = BAD[kind]
    operate, expected = OPERATIONS[name]
    with pytest.raises((TypeError, ValueError), match=words):
        operate(make())
    np.testing.assert_allclose(operate(VALUES), expected, rtol=1e-13)


def vmap(operate: Callable[[Any], Any]) -> Any:
    return torch.func.vmap(operate)(torch.stack([tensor(), tensor()]))


def grad(operate: Callable[[Any], Any]) -> Any:
    return torch.func.grad(lambda x: operate(x).real.sum())(tensor())


def functionalize(operate: Callable[[Any], Any]) -> Any:
    return torch.func.functionalize(operate)(tensor())


@pytest.mark.parametrize("around", [vmap, grad, functionalize])
@pytest.mark.parametrize("name", OPERATIONS)
def test_transformations_of_programs_are_refused(name, around):
    operate, expected = OPERATIONS[name]
    np.testing.assert_allclose(operate(tensor()), expected, rtol=1e-13)  # with a plan to be found
    with pytest.raises(TypeError, match=r"call planmath\s+outside"):
        around(operate)
    np.testing.assert_allclose(operate(tensor()), expected, rtol=1e-13)


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("name", OPERATIONS)
def test_where_tensors_are_made_without_memory(name, remembers):
    """A tensor with memory is computed with all the same, where no view of it has to be made; else it is refused."""
    operate, expected = OPERATIONS[name]
    x = tensor()
    np.testing.assert_allclose(operate(x), expected, rtol=1e-13)
    if not remembers:
        remembered.clear()
    with FakeTensorMode(allow_non_fake_inputs=True):
        try:
            result = operate(x)
        except TypeError as error:
            result, message = None, str(error)
    if result is None:
        assert "outside" in message
    else:
        np.testing.assert_allclose(result, expected, rtol=1e-13)
    np.testing.assert_allclose(operate(x), expected, rtol=1e-13)


@pytest.mark.parametrize("kind", ["masked array", "objects", "foreign byte order", "scalar", "list"])
def test_results_are_not_written_into_what_is_no_array(kind):
    make, _ = BAD[kind]
    with planmath.linalg.advanced.Matmul(ONES, VALUES) as product:
        product.plan()
        with pytest.raises((TypeError, ValueError), match=r"^out "):
            product.execute(out=make())
        with pytest.raises((TypeError, ValueError), match=r"^a "):
            product.reset_operands(a=make())
        np.testing.assert_allclose(product.execute(), ONES @ VALUES, rtol=1e-13)


def mapped(array: np.ndarray, folder: Path) -> np.ndarray:
    """The array in a file that is mapped into memory, writeable."""
    np.save(folder / "mapped", array)
    return np.load(folder / "mapped.npy", mmap_mode="r+")


#: Arrays of a type derived from NumPy's, or with a dtype object of their own, which take the ordinary way all the same.
ORDINARY: dict[str, Callable[[np.ndarray, Path], np.ndarray]] = {
    "subclass": lambda x, folder: x.view(Subarray),
    "matrix": lambda x, folder: x.view(np.matrix),
    "memmap": mapped,
    "unpickled": lambda x, folder: pickle.loads(pickle.dumps(x)),
    "of a buffer": lambda x, folder: np.asarray(memoryview(x)),
}


@pytest.mark.parametrize("kind", ORDINARY)
@pytest.mark.parametrize("provider", ["gemm", "einsum"])
def test_arrays_of_derived_types_are_bound_and_written_in_the_ordinary_way(kind, provider, tmp_path):
    (tmp_path_of_out := tmp_path / "out").mkdir()
    a, b = np.arange(1.0, 10.0).reshape(3, 3), np.ones((3, 3))
    with BinaryContraction("ij,jk->ik", b, b, options={"provider": provider}) as contraction:
        contraction.plan()
        given, out = ORDINARY[kind](a.copy(), tmp_path), ORDINARY[kind](np.zeros((3, 3)), tmp_path_of_out)
        assert contraction._executor.bind_many((given, b))
        for _ in range(2):
            assert contraction._executor.run(None, out) is out
            np.testing.assert_array_equal(out, a @ b)
        given[...] = 2 * a
        np.testing.assert_array_equal(contraction.execute(), 2 * a @ b)
        assert not contraction._executor.bind_many((np.ma.masked_array(a, a > 2), b))
        assert not contraction._executor.bind_many((a.astype(">f8"), b))
        assert not contraction._executor.bind_many((a.astype(int), b))
        assert type(contraction.execute()) is np.ndarray
