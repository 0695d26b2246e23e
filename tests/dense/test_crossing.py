"""Systems on a device that are solved on the CPU, on the stand-ins for the CUDA runtime and for CuPy."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.processes import run_python

ROOT = Path(__file__).parents[2]
PROGRAM = """
import ctypes, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from planmath.bindings import runtime
from tests.core import standin_cupy

STANDIN = ctypes.CDLL(sys.argv[1])
STANDIN.standinAvailable.argtypes = [ctypes.c_size_t]
STANDIN.standinAvailable(1 << 30)
runtime.LIBRARY.candidates = lambda: [sys.argv[1]]
standin_cupy.install()
import cupy
from planmath.linalg import DirectSolver, SingularMatrixError, direct_solver

rng = np.random.default_rng(0)
A, B = rng.standard_normal((3, 5, 5)), rng.standard_normal((3, 5, 2))
"""


@pytest.fixture
def run(standin):  # noqa: F811
    return lambda program: run_python(PROGRAM + textwrap.dedent(program), standin, ROOT)


def test_on_the_host_and_back(run):
    run(
        """
        a, b = cupy.asarray(A), cupy.asarray(B)
        with DirectSolver(a, b, execution="cpu") as solver:
            solver.plan()
            for _ in range(2):
                solver.factorize()
                x = solver.solve()
                assert isinstance(x, cupy.ndarray)
                np.testing.assert_allclose(A @ x.get(), B)
                assert solver.solution_info.accurate
            np.testing.assert_allclose(np.swapaxes(A, 1, 2) @ solver.solve(trans="T").get(), B)
            out = solver.empty_result()
            assert solver.solve(out=out) is out
            np.testing.assert_allclose(A @ out.get(), B)
        spoiled = A.copy()
        spoiled[1] = 0
        try:
            direct_solver(cupy.asarray(spoiled), b, execution="cpu")
        except SingularMatrixError as error:
            assert error.indices == (1,)
            found = error.solution.get()
        assert np.isnan(found[1]).all()
        np.testing.assert_allclose(A[0] @ found[0], B[0])
        """
    )


def test_in_place(run):
    run(
        """
        a, b = cupy.asarray(A), cupy.asarray(B)
        with DirectSolver(a, b, {"inplace_a": True, "inplace_b": True}, "cpu") as solver:
            solver.plan()
            solver.factorize()
            assert solver.solve() is b
            np.testing.assert_allclose(A @ b.get(), B)
            assert not np.allclose(a.get(), A)
        """
    )


def test_the_device_is_refused_with_the_mend(run):
    run(
        """
        from planmath.core.errors import UnavailableError
        try:
            direct_solver(cupy.asarray(A), cupy.asarray(B))
        except UnavailableError as error:
            assert "pass execution='cpu'" in str(error), error
        else:
            raise AssertionError("it was solved")
        """
    )
