"""Phases that are repeated on the CPU: as right as the first ones, and in the long way where something is different."""

from __future__ import annotations

import logging
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.bindings import pardiso
from planmath.sparse.advanced import DirectSolver, InaccurateSolutionError, SingularMatrixError
from planmath.sparse.advanced import DirectSolverMatrixType as T
from planmath.sparse.advanced import DirectSolverMatrixViewType as V

pytestmark = pytest.mark.skipif(pardiso.missing() is not None, reason=str(pardiso.missing()))

DTYPES = ("float32", "float64", "complex64", "complex128")


def matrix(kind="definite", n=40, dtype="float64"):
    rng = np.random.default_rng(n)
    a = rng.uniform(-1, 1, (n, n)) * (rng.random((n, n)) < 0.2)
    if "complex" in dtype:
        a = a + 1j * rng.uniform(-1, 1, (n, n)) * (a != 0)
    if kind != "general":
        a = a + a.conj().T
    a = a + np.diag(np.full(n, 12.0 if kind != "indefinite" else -0.5))
    return sp.csr_array(a.astype(dtype))


def solver_of(a, b, **options):
    solver = DirectSolver(a, b, options={"provider": "pardiso", **options})
    solver.plan()
    return solver


@pytest.fixture
def ways(monkeypatch):
    """Which phases were done in the long way."""
    from planmath.sparse.advanced.phases import SparsePhases

    found = []
    for name in ("factorize", "solve"):
        original = getattr(SparsePhases, name)

        def long_way(self, *arguments, name=name, original=original):
            found.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(SparsePhases, name, long_way)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["definite", "indefinite", "general"])
@pytest.mark.parametrize("shape", [(40,), (40, 3)])
def test_a_loop_over_values_and_right_hand_sides(ways, kind, dtype, shape):
    a, rng = matrix(kind, dtype=dtype), np.random.default_rng(1)
    original, b = a.data.copy(), np.asfortranarray(rng.uniform(-1, 1, shape).astype(dtype))
    with solver_of(a, b) as solver:
        for step in range(6):
            a.data[:] = original * (1 + step)
            if step % 2:
                b[...] = rng.uniform(-1, 1, shape)
            else:
                b = np.asfortranarray(rng.uniform(-1, 1, shape).astype(dtype))
                solver.reset_operands(b=b)
            solver.factorize()
            out = solver.empty_result() if step > 3 else None
            x = solver.solve(out=out)
            assert out is None or x is out
            size = abs(a).sum(axis=1).max() * abs(x).max() + abs(b).max()
            assert abs(a @ x - b).max() <= 10 * np.finfo(dtype).eps * size
            assert solver.solution_info.accurate
    assert ways == ["factorize", "solve"]


@pytest.mark.parametrize("view", list(V))
def test_a_loop_over_triangles(ways, view):
    whole = matrix()
    a = sp.csr_array({V.FULL: sp.csr_array.copy, V.LOWER: sp.tril, V.UPPER: sp.triu}[view](whole))
    original, b = a.data.copy(), np.ones(40)
    with solver_of(a, b, sparse_system_type=T.SPD, sparse_system_view=view) as solver:
        for step in range(1, 4):
            a.data[:] = original * step
            solver.factorize()
            np.testing.assert_allclose(step * whole @ solver.solve(), b, atol=1e-13)
    assert ways == ["factorize", "solve"]


def repeated(a, b, **options):
    """A solver that has repeated both phases."""
    solver = solver_of(a, b, **options)
    for _ in range(2):
        solver.factorize()
        solver.solve()
    return solver


def goes_on(solver, a, b):
    solver.factorize()
    np.testing.assert_allclose(a @ solver.solve(), b, atol=1e-12)


def test_values_that_are_not_finite(ways):
    a, b = matrix(), np.ones(40)
    with repeated(a, b) as solver:
        kept = a.data[7]
        a.data[7] = np.nan
        with pytest.raises(ValueError, match="not finite"):
            solver.factorize()
        with pytest.raises(solver.invalid_state):
            solver.solve()
        a.data[7] = kept
        goes_on(solver, a, b)
        goes_on(solver, a, b)
    assert ways == ["factorize", "solve", "factorize", "factorize", "solve"]


def test_a_pattern_that_changed_in_place():
    a, b = matrix(), np.ones(40)
    with repeated(a, b) as solver:
        before = solver.solve()
        row = np.flatnonzero(np.diff(a.indptr) < 40)[0]
        free = np.setdiff1d(np.arange(40), a.indices[a.indptr[row] : a.indptr[row + 1]])
        kept = a.indices.copy()
        a.indices[a.indptr[row]] = free[0]
        with pytest.raises(ValueError, match="another sparsity pattern"):
            solver.factorize()
        np.testing.assert_allclose(solver.solve(), before, rtol=1e-12)  # with the factors that there are
        a.indices[:] = kept
        goes_on(solver, a, b)


@pytest.mark.parametrize("change", ["symmetry", "definiteness"])
def test_values_that_lose_what_the_last_ones_had(ways, change):
    a, b = matrix(), np.ones(40)
    with repeated(a, b) as solver:
        if change == "symmetry":
            a.data[np.flatnonzero(a.indices != np.repeat(np.arange(40), np.diff(a.indptr)))[0]] += 0.5
        else:
            a.data[a.indices == np.repeat(np.arange(40), np.diff(a.indptr))] = 0.5
        for _ in range(3):
            goes_on(solver, a, b)
    assert ways == ["factorize", "solve"] * 2


def test_a_singular_matrix_and_one_that_is_not():
    a, b = matrix("general"), np.ones(40)
    with repeated(a, b, on_inaccurate="raise") as solver:
        kept = a.data.copy()
        a.data[a.indptr[3] : a.indptr[4]] = 0
        with pytest.raises((SingularMatrixError, InaccurateSolutionError)):
            goes_on(solver, a, b)
        a.data[:] = kept
        for _ in range(3):
            goes_on(solver, a, b)


def test_a_right_hand_side_that_is_not_finite(ways):
    a, b = matrix(), np.ones(40)
    with repeated(a, b) as solver:
        b[3] = np.inf
        with pytest.raises(ValueError, match="not finite"):
            solver.solve()
        b[3] = 1
        goes_on(solver, a, b)
    assert ways.count("solve") == 3


def test_other_arrays_of_the_same_matrix(ways):
    a, b = matrix(), np.ones(40)
    with repeated(a, b) as solver:
        a.data = 2 * a.data
        for _ in range(2):
            goes_on(solver, a, b)
        solver.reset_operands(a=matrix() * 3)
        for _ in range(2):
            goes_on(solver, matrix() * 3, b)
    assert ways.count("factorize") == 2  # the reset compared the patterns


def test_what_is_asked_for_later(ways):
    a, b = matrix(), np.ones(40)
    with repeated(a, b) as solver:
        solver.solution_config.ir_num_steps = 2
        goes_on(solver, a, b)
        assert solver.solution_info.refinement_steps or solver.solution_info.backward_error == 0
        solver.factorization_config.pivot_eps = 1e-9
        goes_on(solver, a, b)
    assert ways == ["factorize", "solve", "solve", "factorize", "solve"]


def test_memory_of_large_solutions_goes_with_the_operands():
    n, columns = 1 << 15, 128
    a, b = sp.csr_array(sp.diags_array(np.arange(1.0, n + 1))), np.ones((n, columns), order="F")
    tracemalloc.start()
    try:
        with repeated(a, b) as solver:
            place = solver.solve().ctypes.data
            assert solver.solve().ctypes.data == place
            assert tracemalloc.get_traced_memory()[0] >= b.nbytes
            solver.release_operands()
            assert tracemalloc.get_traced_memory()[0] < b.nbytes
    finally:
        tracemalloc.stop()


def test_the_log_tells_of_every_phase(ways, caplog):
    a, b = matrix(), np.ones(40)
    with repeated(a, b) as solver, caplog.at_level(logging.INFO, "planmath"):
        goes_on(solver, a, b)
    assert "FACTORIZATION" in caplog.text
    assert "SOLUTION" in caplog.text


def test_exact_errors_take_the_long_way(ways):
    a, b = matrix(), np.ones(40)
    with repeated(a, b, backward_error="exact"):
        assert ways == ["factorize", "solve"] * 2


def test_released_operands_come_back():
    a, b = matrix(), np.ones(40)
    with repeated(a, b) as solver:
        solver.release_operands()
        with pytest.raises(solver.invalid_state):
            solver.factorize()
        solver.reset_operands(a=a, b=b)
        for _ in range(3):
            goes_on(solver, a, b)
