"""Index arrays that are looked at where they are, by their package: the same is found as on the host."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.sparse import ust
from planmath.sparse.ust import device_pattern, kernels
from tests.arrays import DEVICE_PACKAGES, HOST_PACKAGES, to_package
from tests.sparse_product.device_checks import sparse, values


@pytest.mark.parametrize("package", [*HOST_PACKAGES, *DEVICE_PACKAGES])
@pytest.mark.parametrize("seed", range(12))
def test_the_same_is_found(package: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pos = np.concatenate([[0], np.cumsum(rng.integers(0, 4, 8))]).astype(np.int32)
    crd = np.concatenate([np.sort(rng.choice(9, n, replace=False)) for n in np.diff(pos)]).astype(np.int32)
    if seed % 4 == 1 and len(crd):
        crd = rng.permutation(crd)
    if seed % 4 == 2:
        crd = crd // 2
    if seed % 4 == 3:
        crd[rng.integers(len(crd))] += 20
    fault, ordered, unique = kernels.check(pos, crd, 0, 9, False)
    found = device_pattern.segments(to_package(pos, package), to_package(crd, package), 0, 9)
    assert (found is None) == bool(fault)
    if found is not None:
        assert found[0] == ordered
        assert found[1] == unique or not ordered
    assert device_pattern.inside(to_package(crd, package), 0, 9) == (not kernels.check_range(crd, 0, 9))
    first = np.sort(rng.integers(0, 4, len(crd))).astype(np.int32)
    expected = kernels.check_list(first, crd)
    found = device_pattern.pairs(to_package(first, package), to_package(crd, package))
    assert found[0] == expected[0]
    assert found[1] == expected[1] or not found[0]


@pytest.mark.parametrize("package", DEVICE_PACKAGES)
def test_long_arrays_on_a_device(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_pattern, "LONG", 1)
    for form in (ust.NamedFormats.CSR, ust.NamedFormats.COO, ust.NamedFormats.DCSR):
        t = sparse(values((30, 20), density=0.3), form, package=package)
        described = ust.pattern.described(form, t.extents, t._filled())
        assert described is form
        crd = t.crd(form.num_levels - 1)
        crd[3] = 99
        with pytest.raises(ValueError, match="99"):
            ust.pattern.described(form, t.extents, t._filled())


@pytest.mark.parametrize("package", ["numpy", *DEVICE_PACKAGES])
@pytest.mark.parametrize("form", ["CSR", "CSC", "COO"])
def test_even_segments(package: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows, columns, and equal rows of a list: where one has much more than the others, they are not."""
    monkeypatch.setattr(device_pattern, "LONG", 1)
    for longest, even in ((3, True), (49, True), (200, False)):
        a = np.zeros((60, 300))
        a[:, :3] = 1
        a[30, :longest] = 1
        t = sparse(a.T.copy() if form == "CSC" else a, getattr(ust.NamedFormats, form), package=package)
        assert ust.pattern.has_even_segments(t) is even
    assert ust.pattern.has_even_segments(sparse(np.zeros((3, 4)), getattr(ust.NamedFormats, form), package=package))
