"""What a factorization tells: determinants, inverses, condition numbers and the factors themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from planmath.core.errors import UnavailableError
from planmath.linalg import DirectSolver
from tests.dense.systems import DTYPES, STRUCTURES, numbers


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_facts(structure, order):
    rng = np.random.default_rng(len(structure))
    for dtype, n in zip(DTYPES, (3, 6, 7, 4), strict=True):
        said = STRUCTURES[structure](numbers(rng, (n, n), dtype))
        rounding = np.finfo(dtype).eps * np.linalg.cond(said.whole) * 100
        with DirectSolver(np.array(said.passed, order=order), np.ones(n, dtype), **said.arguments) as solver:
            solver.plan()
            solver.factorize()
            info = solver.factorization_info
            wide = said.whole.astype("complex128" if dtype.startswith("complex") else "float64")
            sign, size = np.linalg.slogdet(wide)
            found_sign, found_size = info.log_determinant()
            np.testing.assert_allclose([found_sign, found_size], [sign, size], rtol=rounding, atol=rounding)
            inverse = np.linalg.inv(wide)
            np.testing.assert_allclose(info.inverse(), inverse, atol=rounding * np.abs(inverse).max())
            exact = np.linalg.cond(wide, 1)
            assert exact / 3 <= info.condition() <= exact * (1 + rounding)
            assert info.structure


@pytest.mark.parametrize("provider", ["own", "lapack"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_facts_of_batches(provider, dtype):
    rng = np.random.default_rng(1)
    a, b = numbers(rng, (2, 3, 6, 6), dtype), numbers(rng, (2, 3, 6, 1), dtype)
    a[1, 2] = 0
    with DirectSolver(a, b, {"provider": provider, "on_singular": "warn"}) as solver:
        solver.plan()
        with pytest.warns(RuntimeWarning):
            solver.factorize()
        for found, expected in zip(solver.factorization_info.log_determinant(), np.linalg.slogdet(a), strict=True):
            np.testing.assert_allclose(found, expected)
        condition = solver.factorization_info.condition()
        assert condition.shape == (2, 3)
        assert np.isinf(condition[1, 2])
    with DirectSolver([a[0, 0], np.eye(3, dtype=dtype)], [b[0, 0], np.ones(3, dtype)]) as solver:
        solver.plan()
        solver.factorize()
        np.testing.assert_allclose(solver.factorization_info.inverse()[0], np.linalg.inv(a[0, 0]))


@pytest.mark.parametrize("order", ["C", "F"])
def test_factors(order):
    a = np.array(np.random.default_rng(2).standard_normal((5, 5)), order=order)
    with DirectSolver(a, np.ones(5), {"provider": "lapack"}) as solver:
        solver.plan()
        solver.factorize()
        routine, values, pivots, transposed = solver.factorization_info.factors()
        assert (routine, transposed) == ("getrf", order == "C")
        expected = linalg.lu_factor(a.T if transposed else a)
        np.testing.assert_allclose(values, expected[0])
        np.testing.assert_array_equal(pivots, expected[1])
        values[...] = 0
        np.testing.assert_allclose(a @ solver.solve(), np.ones(5), err_msg="it was a copy")


def test_what_is_not_known():
    with DirectSolver(np.eye(4, 3), np.ones(4)) as solver:
        solver.plan()
        solver.factorize()
        for call in ("log_determinant", "inverse", "condition"):
            with pytest.raises(UnavailableError, match=r"rectangular|square"):
                getattr(solver.factorization_info, call)()
        assert solver.factorization_info.factors().routine == "geqrf"
