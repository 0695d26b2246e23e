"""Operands whose entries the own loops find by rows first, and objects that get other arrays."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from planmath.core.errors import AutogradWarning
from planmath.sparse import Matmul, matmul, ust
from planmath.sparse.product.options import matmul_matrix_qualifiers_dtype
from planmath.sparse.ust import NamedFormats as N

FORMATS = [N.COO, N.CSC, N.DCSR, N.DCSC, N.DELTA(2)]


def shuffled(a: Any) -> Any:
    """The entries of a matrix in no order."""
    listed = a.tocoo()
    order = np.random.default_rng(3).permutation(listed.nnz)
    return sp.coo_array((listed.data[order], tuple(x[order] for x in listed.coords)), shape=a.shape)


def made(a: Any, form: Any) -> Any:
    return shuffled(a) if form is None else ust.Tensor.from_package(a).convert(tensor_format=form)


@pytest.mark.parametrize("form", [*FORMATS, None], ids=lambda f: "unordered" if f is None else f.name)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("columns", [None, 3, 8])
@pytest.mark.parametrize(("threads", "added"), [(1, False), (3, False), (3, True)])
def test_ways(
    form: Any, transposed: bool, columns: int | None, threads: int, added: bool, monkeypatch: Any
) -> None:
    from planmath.sparse.product.providers import own, own_rows

    monkeypatch.setattr(own_rows, "is_added_faster", lambda problem, threads: added)
    monkeypatch.setattr(own, "THREADED_WORK", 0)
    a = sp.random_array((13, 9), density=0.3, rng=0).tocsr()
    a.data[3] = np.nan  # which reaches its own row alone
    op = a.T if transposed else a
    rng = np.random.default_rng(1)
    b = rng.random((op.shape[1],) if columns is None else (op.shape[1], columns))
    c = rng.random(op.shape[:1] if columns is None else (op.shape[0], columns))
    qualifiers = np.zeros(3, matmul_matrix_qualifiers_dtype)
    qualifiers["is_transpose"][0] = transposed
    expected = 2 * (op @ b) + 0.5 * c
    tensor = made(a, form)
    with Matmul(
        tensor, b, c, alpha=2, beta=0.5, qualifiers=qualifiers, options={"provider": "own", "tuning": False},
        execution={"name": "cpu", "num_threads": threads},
    ) as mm:  # fmt: skip
        mm.plan()
        mm.execute()
    assert np.allclose(c, expected, equal_nan=True)


def test_other_entries_and_values_in_place() -> None:
    a = sp.random_array((30, 20), density=0.2, rng=0).tocsr().tocoo()
    x = np.random.default_rng(1).random(20)
    with Matmul(a, x, options={"provider": "own"}) as mm:
        mm.plan()
        assert np.allclose(mm.execute(), a @ x)
        a.data *= 3
        assert np.allclose(mm.execute(release_workspace=True), a @ x)
        assert np.allclose(mm.execute(), a @ x)
        more = sp.random_array((30, 20), density=0.4, rng=2).tocsr().tocoo()
        mm.reset_operands(a=more)
        assert np.allclose(mm.execute(), more @ x)
        empty = sp.coo_array((30, 20))
        mm.reset_operands(a=empty)
        assert not mm.execute().any()


def test_coordinates_that_were_changed_are_found() -> None:
    a = sp.random_array((30, 20), density=0.2, rng=0).tocsr().tocoo()
    t = ust.Tensor.from_package(a)
    with Matmul(t, np.ones(20), options={"provider": "own"}) as mm:
        mm.plan()
        t.crd(0)[5] = 1000  # type: ignore[index]
        with pytest.raises(ValueError, match="out of range"):
            mm.execute()


def test_objects_that_get_other_arrays_are_followed() -> None:
    a = sp.random_array((50, 50), density=0.1, rng=0).tocsr()
    x = np.random.default_rng(1).random(50)
    with Matmul(a, x) as mm, Matmul(a, a) as square:
        mm.plan()
        square.plan()
        a.data = a.data * 2
        assert np.allclose(mm.execute(), a @ x)
        with warnings.catch_warnings(action="ignore"):
            a[3, 3] = 7.0
        assert np.allclose(mm.execute(), a @ x)
        assert np.allclose(square.execute().toarray(), (a @ a).toarray())
        kept = a.data
        a.data = kept.astype(np.float32)
        with pytest.raises(TypeError, match="a got other arrays after being bound: a has the dtype float32"):
            mm.execute()
        a.data = kept
        assert np.allclose(mm.execute(), a @ x)


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
def test_sparse_tensors_that_require_grad(layout: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        t = getattr(torch.eye(3, dtype=torch.float64), layout)().requires_grad_()
    b = torch.ones(3, dtype=torch.float64)
    for _ in range(2):  # the second one by a plan that the first one left
        with pytest.warns(AutogradWarning, match="a requires grad"):
            found = matmul(t, b)
        assert not found.requires_grad
        assert torch.equal(found, b)
    with torch.no_grad(), warnings.catch_warnings(action="error", category=AutogradWarning):
        matmul(t, b)


@pytest.mark.parametrize(("formats", "words"), [
    ("CSR", "formats is 'CSR'; expected True"), (3, "formats is 3"), ([N.CSR, "DIAI"], r"formats\[1\] is 'DIAI'"),
    ([N.COOd(3)], "with 3 dimensions; expected 2"),
])  # fmt: skip
def test_formats_that_are_none(formats: Any, words: str) -> None:
    with Matmul(sp.csr_array(np.eye(3)), np.ones(3)) as mm:
        mm.plan()
        with pytest.raises(TypeError, match=words):
            mm.autotune(formats=formats)
