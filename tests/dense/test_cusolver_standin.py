"""The dense solver on stand-ins for cuSOLVER and cuBLAS, for the CUDA runtime, for what runs kernels and for CuPy."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.core.standin_kernels import COMPILER
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.dense import device_checks
from tests.dense.device_checks import DTYPES
from tests.processes import run_python

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

ROOT = Path(__file__).parents[2]
PROGRAM = """
import ctypes, gc, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from planmath.bindings import runtime
from tests.core import standin_cupy, standin_kernels
from tests.dense import standin_cusolver

STANDIN = ctypes.CDLL(sys.argv[1])
STANDIN.standinAvailable.argtypes = [ctypes.c_size_t]
STANDIN.standinJournal.restype = ctypes.c_char_p
STANDIN.standinAvailable(1 << 30)
runtime.LIBRARY.candidates = lambda: [sys.argv[1]]
standin_kernels.install(sys.argv[3])
LIBRARY = standin_cusolver.install()

from planmath.core import remembered
from tests.dense import device_checks
from tests.dense.device_checks import *

standin_cupy.install()
NUMPY, CUPY = Place("numpy"), Place("cupy")
LONG = {"least_squares", "mixed"}
"""


@pytest.fixture
def run(standin, tmp_path_factory):  # noqa: F811
    return lambda program: run_python(PROGRAM + textwrap.dedent(program), standin, ROOT, standin.parent, timeout=300)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_structure(run, dtype):
    """Each in one of the dtypes; larger ones, whose kernels are others, in double precision."""
    wide = {"float32": "float64", "complex64": "complex128"}.get(dtype, dtype)
    run(f"""
        for kind in list(KINDS)[DTYPES.index("{dtype}") :: len(DTYPES)]:
            structures(CUPY, kind, "{dtype}", (7,))
            structures(CUPY, kind, "{wide}", (40,), SHARED)
    """)


@pytest.mark.parametrize("check", [check.__name__ for check in device_checks.CHECKS])
def test_check(run, check):
    run(f"""
        for place in (NUMPY, CUPY) if "{check}" not in LONG else (CUPY,):
            device_checks.{check}(place)
        remembered.clear()
        gc.collect()
        assert not LIBRARY.objects, LIBRARY.objects
        del place
        gc.collect()
        assert STANDIN.standinBlocks() == 0, "memory that was not given back"
    """)


def test_a_factorization_waits_for_nothing(run):
    run("""
        def journal():
            lines = STANDIN.standinJournal().decode().splitlines()
            STANDIN.standinForget()
            return [line.split(" on ")[0] for line in lines if not line.startswith("wait")], sum(
                line.startswith("wait") for line in lines
            )

        rng = np.random.default_rng(1)
        a, b = numbers(rng, (40, 40), "float64"), numbers(rng, (40,), "float64")
        given = CUPY(a), CUPY(b)
        for blocking, waits in ("auto", 0), (True, 1):
            with solver(*given, options={"blocking": blocking}) as made:
                made.plan()
                out = made.empty_result()
                journal()
                LIBRARY.streams.clear()
                LIBRARY.calls.clear()
                made.factorize()
                assert journal() == (["launch"] * 3, waits), "copied, gathered and weighed"
                for repetition in range(2):
                    made.solve(out=out)
                    waits = 0 if repetition and blocking == "auto" else 1
                    assert journal() == (["launch"] * 2, waits), "b and x"
                both = ["cusolverDnSetStream", "cublasSetStream_v2"]
                assert LIBRARY.calls == [*both, "cusolverDnXgetrf", *[*both, "cusolverDnXgetrs"] * 2]
                assert set(LIBRARY.streams.values()) == {3}, "CuPy's stream"
                check(a, CUPY.host(out), b)
                made.solve(out=out, stream=7)
                assert set(LIBRARY.streams.values()) == {7}
                lines = STANDIN.standinJournal().decode().splitlines()
                assert ["record on 3", "delay 7"] == [line for line in lines if line.startswith(("record", "delay"))]
                check(a, CUPY.host(out), b)
    """)


def test_small_systems_take_a_launch_for_each_phase(run):
    run("""
        rng = np.random.default_rng(2)
        for a_shape, b_shape in (((5, 8, 8), (5, 8, 2)), ((6, 6), (6,))):
            a, b = numbers(rng, a_shape, "complex128"), numbers(rng, b_shape, "complex128")
            with solver(CUPY(a), CUPY(b)) as made:
                made.plan()
                out = made.empty_result()
                LIBRARY.calls.clear()
                STANDIN.standinForget()
                made.factorize()
                made.solve(out=out)
                made.solve(out=out)
                lines = STANDIN.standinJournal().decode().splitlines()
                assert [line.split(" on ")[0] for line in lines if not line.startswith("wait")] == ["launch"] * 3
                assert not LIBRARY.calls
                check(a, CUPY.host(out), b)
                found = made.factorization_info.factors()
                one, matrix = (found[1], a[1]) if a.ndim == 3 else (found, a)
                lower, upper = np.tril(one.values, -1) + np.eye(len(matrix)), np.triu(one.values)
                rows = np.arange(len(matrix))
                for i, other in enumerate(one.pivots):
                    rows[[i, other]] = rows[[other, i]]
                factorized = matrix.T if one.transposed else matrix
                np.testing.assert_allclose(lower @ upper, factorized[rows], atol=1e-12)
    """)


def test_nothing_is_captured(run):
    run("""
        a, b = CUPY(np.eye(3)), CUPY(np.ones(3))
        with solver(a, b) as made:
            made.plan()
            STANDIN.standinCapture(3)
            raises(UnavailableError, "factorize() cannot be captured into a CUDA graph", made.factorize)
            STANDIN.standinCapture(0)
            made.factorize()
            STANDIN.standinCapture(3)
            raises(UnavailableError, "solve() cannot be captured into a CUDA graph", made.solve)
            STANDIN.standinCapture(0)
            assert (CUPY.host(made.solve()) == 1).all()
    """)


def test_a_handle_of_the_users_stays(run):
    run("""
        from planmath.bindings import cusolverDn
        handle = cusolverDn.create()
        with solver(CUPY(np.eye(20)), CUPY(np.ones(20)), options={"handle": handle}) as made:
            made.plan()
            made.factorize()
            made.solve()
            assert LIBRARY.streams[handle] == 3
        gc.collect()
        assert LIBRARY.objects == {handle}
    """)
