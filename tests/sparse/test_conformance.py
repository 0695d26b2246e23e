"""Every provider solves every kind of system, in every dtype, index type, memory order and package."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.core.accuracy import TOLERANCE
from planmath.core.errors import UnavailableError
from planmath.sparse.advanced import DirectSolver, direct_solver
from tests.arrays import package_of, strides_of, to_numpy
from tests.arrays import to_package as array_to_package
from tests.sparse.matrices import DTYPES, FAMILIES, backward_error, csr, right_hand_side, to_package


def solved(a, b, provider, package="numpy", **options):
    """The solution by one provider; the test is skipped where it says that the matrix is not for it."""
    try:
        return direct_solver(
            to_package(a, package), array_to_package(b, package),
            options={"provider": provider, "on_inaccurate": "raise", **options},
        )  # fmt: skip
    except UnavailableError as error:
        assert provider in ("banded", "blocks")
        pytest.skip(str(error))


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_family(family, dtype, index, provider, package):
    a = csr(FAMILIES[family](), dtype, index)
    b = right_hand_side(a)
    if family == "badly_scaled" and dtype in ("float32", "complex64"):
        pytest.skip("beyond the range of single precision's condition numbers")
    before = a.data.copy(), b.copy()
    x = solved(a, b, provider, package)
    assert package_of(x) == package
    assert backward_error(a, to_numpy(x), b) <= 2 * TOLERANCE[dtype]
    np.testing.assert_array_equal(a.data, before[0])
    np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("badly_scaled", "circuit")])
def test_forward_error(family, provider):
    """Where the condition number allows it, the unknowns themselves come out."""
    a = csr(FAMILIES[family]())
    x = right_hand_side(a, seed=9)
    condition = np.linalg.cond(a.toarray())
    found = solved(a, a @ x, provider)
    assert np.linalg.norm(found - x) <= 1e-14 * condition * np.linalg.norm(x) + 1e-15


LAYOUTS = {
    "vector": lambda b: b[:, 0].copy(),
    "one column": lambda b: b[:, :1].copy(),
    "columns": lambda b: np.asfortranarray(b),
    "rows": lambda b: np.ascontiguousarray(b),
    "strided vector": lambda b: np.repeat(b[:, 0], 3)[::3],
    "strided columns": lambda b: np.asfortranarray(np.repeat(b, 2, axis=1))[:, ::2],
    "gaps": lambda b: np.repeat(np.repeat(b, 2, axis=0), 2, axis=1)[::2, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_right_hand_side_layout(layout, dtype, provider, package):
    a = csr(FAMILIES["pentadiagonal"](), dtype)
    b = LAYOUTS[layout](right_hand_side(a, 3))
    x = solved(a, b, provider, package)
    assert tuple(x.shape) == b.shape
    assert backward_error(a, to_numpy(x), b) <= 2 * TOLERANCE[dtype]
    if b.flags.c_contiguous or b.flags.f_contiguous:
        assert strides_of(x) == strides_of(b)


@pytest.mark.parametrize("layout", ["vector", "columns", "rows"])
def test_out(layout, provider, package):
    a = csr(FAMILIES["pentadiagonal"]())
    b = LAYOUTS[layout](right_hand_side(a, 3))
    out = array_to_package(np.full_like(b, np.nan), package)
    with DirectSolver(to_package(a, package), array_to_package(b, package), options={"provider": provider}) as solver:
        solver.plan()
        solver.factorize()
        assert solver.solve(out=out) is out
        assert strides_of(solver.empty_result()) == strides_of(out)
    assert backward_error(a, to_numpy(out), b) <= TOLERANCE["float64"]


def test_two_ways_of_scipy(provider):
    import scipy.sparse as sp

    a = csr(FAMILIES["pentadiagonal"]())
    b = right_hand_side(a)
    np.testing.assert_array_equal(solved(sp.csr_matrix(a), b, provider), solved(a, b, provider))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(threads, provider):
    a = csr(FAMILIES["tridiagonal"]())
    b = right_hand_side(a)
    with DirectSolver(
        a, b, options={"provider": provider}, execution={"name": "cpu", "num_threads": threads}
    ) as solver:  # fmt: skip
        solver.plan()
        solver.factorize()
        assert backward_error(a, solver.solve(), b) <= TOLERANCE["float64"]


def test_default_provider_is_one_of_all():
    a = csr(FAMILIES["random"]())
    b = right_hand_side(a)
    assert backward_error(a, direct_solver(a, b), b) <= TOLERANCE["float64"]


def test_larger_system_in_threads(provider):
    """Large enough for threads and nested dissection."""
    from tests.sparse.matrices import laplacian

    a = laplacian(110, 110) if provider != "banded" else laplacian(20_000)
    b = np.ones(a.shape[0])
    x = solved(a, b, provider, on_inaccurate="ignore") if provider == "banded" else solved(a, b, provider)
    assert np.linalg.norm(a @ x - b) <= 1e-13 * (8 * np.linalg.norm(x) + np.linalg.norm(b))
