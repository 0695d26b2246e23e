"""Sparse solvers where SciPy's are."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg

from planmath.interfaces.scipy_sparse import Inverse, factorized, spsolve
from planmath.sparse.advanced import DirectSolver

RANDOM = np.random.default_rng(0)
REAL = sp.random_array((50, 50), density=0.1, rng=RANDOM) + 4 * sp.eye_array(50)
COMPLEX = REAL + 1j * sp.random_array((50, 50), density=0.1, rng=RANDOM)
SIDES = {
    "vector": RANDOM.random(50), "rows": RANDOM.random((50, 3)), "columns": np.asfortranarray(RANDOM.random((50, 3))),
    "complex": RANDOM.random(50) + 1j, "integers": np.arange(50), "strided": RANDOM.random(100)[::2],
    "single": RANDOM.random(50).astype("f4"),
}  # fmt: skip


@pytest.mark.parametrize(
    "matrix",
    [REAL, COMPLEX, REAL.tocsc(), REAL.tocoo(), sp.csr_matrix(REAL)],
    ids=["real", "complex", "csc", "coo", "csr_matrix"],
)
@pytest.mark.parametrize("b", SIDES.values(), ids=SIDES)
def test_solutions(matrix, b):
    expected = scipy.sparse.linalg.spsolve(sp.csc_array(matrix), b)
    for x in (spsolve(matrix, b), factorized(matrix)(b)):
        np.testing.assert_allclose(x, expected, rtol=1e-5)
        assert x.dtype == expected.dtype or b.dtype == np.float32
    with Inverse(matrix) as inverse:
        np.testing.assert_allclose(inverse @ b, expected, rtol=1e-5)
        np.testing.assert_allclose(matrix.conj().T @ (inverse.H @ b), b, rtol=1e-5, atol=1e-12)
        np.testing.assert_allclose(matrix.T @ inverse.solve(b, "T"), b, rtol=1e-5, atol=1e-12)


def test_sparse_and_narrow_right_hand_sides():
    b = sp.random_array((50, 3), density=0.3, rng=RANDOM, format="csc")
    x = spsolve(REAL, b)
    assert type(x) is type(b)
    np.testing.assert_allclose((REAL @ x).toarray(), b.toarray(), atol=1e-12)
    assert spsolve(REAL, np.ones((50, 1))).shape == (50,)
    assert spsolve(REAL, np.ones((50, 0))).shape == (50, 0)


def test_a_preconditioner():
    noisy = REAL + 1e-3 * sp.random_array((50, 50), density=0.2, rng=RANDOM)
    with Inverse(REAL) as inverse:
        counted = []
        x, info = scipy.sparse.linalg.gmres(
            noisy, np.ones(50), M=inverse, rtol=1e-10, callback=counted.append, callback_type="pr_norm"
        )
    assert info == 0
    assert len(counted) < 10
    np.testing.assert_allclose(noisy @ x, np.ones(50), rtol=1e-6)


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match="expected a square matrix"):
        spsolve(sp.csr_array(np.ones((2, 3))), np.ones(2))
    with pytest.raises(ValueError, match="expected 50 rows"):
        spsolve(REAL, np.ones(3))
    inverse = Inverse(REAL)
    with pytest.raises(ValueError, match="expected 50 rows"):
        inverse.solve(np.ones(3))
    with pytest.raises(ValueError, match="trans is 'X'"):
        inverse.solve(np.ones(50), "X")
    inverse.free()
    inverse.free()
    with pytest.raises(RuntimeError, match="was freed"):
        inverse @ np.ones(50)


def test_solvers_take_new_right_hand_sides_as_they_solve():
    from planmath import linalg

    dense = REAL.toarray()
    for solver in (DirectSolver(sp.csr_array(REAL), np.ones(50)), linalg.DirectSolver(dense, np.ones(50))):
        with solver:
            solver.plan()
            with pytest.raises(RuntimeError, match="factorize"):
                solver.solve(np.zeros(50))
            solver.factorize()
            for b in (np.arange(50.0), RANDOM.random(50)):
                np.testing.assert_allclose(dense @ solver.solve(b), b, atol=1e-10)
            np.testing.assert_allclose(dense @ solver.solve(), b, atol=1e-10)
            with pytest.raises(ValueError, match="shape"):
                solver.solve(np.ones(3))
            np.testing.assert_allclose(dense @ solver.solve(), b, atol=1e-10)
