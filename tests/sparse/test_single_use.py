"""Small stateless systems do without the lifecycle, and nobody notices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.core import remembered
from planmath.core.tuning import collecting, record
from planmath.sparse.advanced import (
    DirectSolver,
    InaccurateSolutionWarning,
    block_lu,
    direct_solver,
    pattern,
    single_use,
    stateless,
)

BANDED = sp.diags_array([-1.0, 4, -1], offsets=[-1, 0, 1], shape=(20, 20))
GRID = sp.kron(sp.eye_array(9), sp.diags_array([-1.0, 4, -1], offsets=[-1, 0, 1], shape=(9, 9))) + sp.kron(
    sp.diags_array([-1.0, -1], offsets=[-1, 1], shape=(9, 9)), sp.eye_array(9)
)
def weak(n):
    """A matrix whose diagonal has no pivots."""
    random = np.random.default_rng(n)
    a = sp.diags_array(random.uniform(0.1, 0.2, n)[1:], offsets=-1, shape=(n, n)) + 1e-3 * sp.eye_array(n)
    a += sp.csr_array((random.uniform(1, 2, n), (np.arange(n), (np.arange(n) + n // 2) % n)), shape=(n, n))
    return sp.csr_array(a)


PLAIN = {
    "banded": sp.csr_array(BANDED), "blocks": sp.csr_array(GRID),
    "others": sp.csr_array(np.random.default_rng(3).uniform(-1, 1, (150, 150))),
}  # fmt: skip


@pytest.fixture
def without_lifecycle(monkeypatch, nothing_remembered):
    """No solver is created."""

    def refuse(*_args, **_options):
        raise AssertionError("a solver was created")

    monkeypatch.setattr(stateless, "SingleUse", refuse)


@pytest.mark.parametrize("columns", [None, 3])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("kind", PLAIN)
def test_solutions_without_the_lifecycle(without_lifecycle, tuning_record, kind, dtype, columns):
    a = PLAIN[kind].astype(dtype)
    shape = (a.shape[0],) if columns is None else (a.shape[0], columns)
    expected = np.asfortranarray(np.random.default_rng(1).uniform(1, 2, shape).astype(dtype))
    for factor in (1, 2):  # the second call takes the system of the first
        b = np.asfortranarray(factor * (a @ expected))
        x = direct_solver(a, b)
        assert (x.dtype, x.shape, x.strides) == (b.dtype, b.shape, b.strides)
        np.testing.assert_allclose(x, factor * expected, rtol=2e-3 if dtype == "float32" else 1e-9)
    (system,) = remembered._idle.values()
    assert isinstance(system, single_use.SmallSystem)


def test_new_values_are_factorized_anew(without_lifecycle, tuning_record):
    a, b = PLAIN["blocks"].copy(), np.ones(81)
    direct_solver(a, b)
    a.data *= 2
    np.testing.assert_allclose(a @ direct_solver(a, b), b)


def test_what_was_measured_of_another_system_does_not_matter(without_lifecycle, tuning_record):
    a, b = PLAIN["blocks"], np.ones(81)
    with DirectSolver(PLAIN["others"], np.ones(150)) as solver:
        solver.plan()
        solver.autotune(iterations=1, seconds=0.5)
    assert record.problems("DirectSolver", record.machine())
    np.testing.assert_allclose(a @ direct_solver(a, b), b)


@pytest.mark.parametrize("has_diagonal", [True, False])
def test_one_order_is_made_for_values_with_a_weak_diagonal(
    monkeypatch, without_lifecycle, tuning_record, has_diagonal
):
    made = []
    usual = pattern.BlockOrder
    monkeypatch.setattr(pattern, "BlockOrder", lambda *given: made.append(given[2]) or usual(*given))
    a = weak(300) if has_diagonal else sp.csr_array(weak(300)[np.random.default_rng(0).permutation(300)])
    b = a @ np.ones(300)
    np.testing.assert_allclose(direct_solver(a, b), np.ones(300), rtol=1e-8)
    assert made == [*[block_lu.UNORDERED] * (not has_diagonal), block_lu.BY_COLUMNS]


def changed(change):
    a, b = PLAIN["blocks"].copy(), np.ones(81)
    change(a, b)
    return a, b


def unsort(a, _b):
    a.indices[:2] = a.indices[1::-1].copy()


def spoil(a, _b):
    a.data[3] = np.nan


def spoil_side(_a, b):
    b[5] = np.inf


def empty(a, _b):
    a.data[:] = 0


@pytest.mark.parametrize("change", [unsort, spoil, spoil_side, empty])
@pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
def test_errors_are_those_of_the_lifecycle(nothing_remembered, tuning_record, change, before):
    a, b = changed(change)
    if before and change is not unsort:
        direct_solver(PLAIN["blocks"], np.ones(81))
    with pytest.raises((ValueError, np.linalg.LinAlgError)) as usual:
        direct_solver(a, b, options={})
    with pytest.raises(type(usual.value)) as ours:
        direct_solver(a, b)
    assert str(ours.value) == str(usual.value)
    a, b = changed(lambda a, b: None)
    np.testing.assert_allclose(a @ direct_solver(a, b), b)


def test_inaccurate_solutions_are_told(nothing_remembered, tuning_record):
    a = GRID - sp.diags_array(GRID.sum(axis=1))  # singular but for rounding
    a = sp.csr_array(sp.diags_array(np.random.default_rng(1).uniform(1, 2, 81)) @ a)
    a.sort_indices()
    with pytest.warns(InaccurateSolutionWarning):
        direct_solver(a, np.ones(81))


@pytest.mark.parametrize("way", ["options", "strides", "told", "measured", "many"])
def test_out_of_the_ordinary(monkeypatch, nothing_remembered, tuning_record, way):
    """What only the lifecycle knows of is asked for, so it comes."""
    made = []
    usual = stateless.SingleUse
    monkeypatch.setattr(stateless, "SingleUse", lambda *args, **given: made.append(1) or usual(*args, **given))
    a, b, options = PLAIN["blocks"], np.ones(81), {}
    if way == "options":
        options = {"options": {"backward_error": "exact"}}
    elif way == "strides":
        b = np.ones(162)[::2]
    elif way == "many":
        monkeypatch.setattr(single_use, "MOST_UNKNOWNS", 80)
    elif way == "measured":
        with DirectSolver(a, b) as solver:
            solver.plan()
            solver.autotune(iterations=1, seconds=0.5)
    if way == "told":
        told = []
        with collecting.told(told.append):
            x = direct_solver(a, b)
        assert len(told) == 1
    else:
        x = direct_solver(a, b, **options)
    assert made
    np.testing.assert_allclose(a @ x, np.ones(81))
