"""The sparse solver on stand-ins for cuDSS, for the CUDA runtime, for what runs kernels and for CuPy."""

from __future__ import annotations

import textwrap
from itertools import product
from pathlib import Path

import pytest

from tests.core.standin_kernels import COMPILER
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.processes import run_python
from tests.sparse import cudss_checks
from tests.sparse.matrices import DTYPES

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

ROOT = Path(__file__).parents[2]
PROGRAM = """
import ctypes, gc, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from planmath.bindings import runtime
from tests.core import standin_cupy, standin_kernels
from tests.sparse import standin_cudss

STANDIN = ctypes.CDLL(sys.argv[1])
STANDIN.standinAvailable.argtypes = [ctypes.c_size_t]
STANDIN.standinJournal.restype = ctypes.c_char_p
STANDIN.standinAvailable(1 << 30)
runtime.LIBRARY.candidates = lambda: [sys.argv[1]]
standin_kernels.install(sys.argv[3])
LIBRARY = standin_cudss.install()

from planmath.core import remembered
from tests.sparse import cudss_checks
from tests.sparse.cudss_checks import *
from tests.sparse.test_types import CASES

standin_cupy.install()

NUMPY, CUPY = Place("numpy"), Place("cupy")
"""


@pytest.fixture
def run(standin, tmp_path_factory):  # noqa: F811
    return lambda program: run_python(PROGRAM + textwrap.dedent(program), standin, ROOT, standin.parent, timeout=300)


#: Each dtype once, and each kind of index and place; the other combinations take 10 s each.
FEW = {
    ("float32", "int32", "CUPY"), ("float64", "int64", "NUMPY"), ("complex64", "int64", "CUPY"),
    ("complex128", "int32", "NUMPY"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "index", "place"),
    [
        pytest.param(*case, marks=() if case in FEW else pytest.mark.exhaustive)
        for case in product(DTYPES, ("int32", "int64"), ("NUMPY", "CUPY"))
    ],
)
def test_every_family(run, dtype, index, place):
    run(f'every_family({place}, "{dtype}", "{index}")')


@pytest.mark.parametrize("kind", ["SYMMETRIC", "HERMITIAN", "SPD", "HPD"])
def test_types_and_views(run, kind):
    run(f"""
        for kind, dtype in CASES:
            if kind == T["{kind}"]:
                for view in V:
                    for junk in (False, True) if view else (False,):
                        for place in (NUMPY, CUPY):
                            types_and_views(place, kind, dtype, view, junk)
    """)


@pytest.mark.parametrize("check", [check.__name__ for check in cudss_checks.CHECKS])
def test_check(run, check):
    run(f"""
        for place in (NUMPY, CUPY):
            cudss_checks.{check}(place)
        remembered.clear()
        gc.collect()
        assert not LIBRARY.objects, LIBRARY.objects
        del place
        gc.collect()
        assert STANDIN.standinBlocks() == 0, "memory that was not given back"
    """)


def test_what_a_phase_takes(run):
    """Each phase waits for the device once, and asks nothing of it but its kernels and cuDSS's work."""
    run("""
        def journal():
            lines = STANDIN.standinJournal().decode().splitlines()
            STANDIN.standinForget()
            return [line.split(" on ")[0] for line in lines if not line.startswith("wait")], sum(
                line.startswith("wait") for line in lines
            )

        a, b = CUPY(csr(laplacian(20))), CUPY(np.ones(20))
        with DirectSolver(a, b, execution="cuda", options={"tuning": False}) as solver:
            solver.plan()
            solver.factorize()
            out = solver.empty_result()
            solver.solve(out=out)
            LIBRARY.phases.clear()
            journal()
            solver.factorize()
            assert journal() == (["launch", "launch"], 1), "the pattern is compared and the values are measured"
            for _ in range(2):
                solver.solve(out=out)
                assert journal() == (["launch"], 1), "the residual"
            assert LIBRARY.phases == [("REFACTORIZATION", 3), ("SOLVE", 3), ("SOLVE", 3)], "on CuPy's stream"
    """)


def test_ordinary_solutions_are_direct(run):
    """They take one solution of cuDSS's, of whatever is bound; an inaccurate one is found again, and refined."""
    run("""
        a, rng = csr(FAMILIES["random"]()), np.random.default_rng(1)
        n = a.shape[0]
        sides = [rng.standard_normal(n) for _ in range(2)]
        singular = a.copy()
        singular.data[singular.indptr[5] : singular.indptr[6]] *= 1e-200

        def solutions():
            LIBRARY.phases.clear()
            x = CUPY.host(solver.solve())
            return x, [phase for phase, _ in LIBRARY.phases].count("SOLVE")

        matrix = CUPY(a)
        options = {"tuning": False, "on_inaccurate": "ignore"}
        with DirectSolver(matrix, CUPY(sides[0]), execution="cuda", options=options) as solver:
            solver.plan()
            solver.factorize()
            for factor in (1, 1, 2, 3):
                if factor > 1:  # the first with the arrays of before, the second with others
                    other = csr(factor * a)
                    CUPY.put(matrix.data, other.data) if factor == 2 else solver.reset_operands(a=CUPY(other))
                    solver.factorize()
                for side in sides:
                    solver.reset_operands(b=CUPY(side))
                    x, count = solutions()
                    check(csr(factor * a), x, side)
                    assert count == 1
                    assert solver.solution_info.accurate
                    assert solver._executor._solver._direct is not None
            held = solver._executor._solver._direct
            solver.reset_operands(a=CUPY(singular))
            solver.factorize()
            x, count = solutions()
            assert count > 2
            assert solver._executor._solver._direct is None
            solver.reset_operands(a=CUPY(a))
            solver.factorize()
            for _ in range(2):
                x, count = solutions()
                check(a, x, sides[1])
                assert count == 1
            assert solver._executor._solver._direct not in (None, held)
            raises(ValueError, "share memory", solver.solve, out=solver._slots["b"].array)
    """)


def test_all_is_on_the_stream_of_the_analysis(run):
    """Where cuDSS has it: what comes on another stream waits for it there, and it for that."""
    run("""
        a, b = CUPY(csr(laplacian(20))), CUPY(np.ones(20))
        with DirectSolver(a, b, execution="cuda", options={"tuning": False}) as solver:
            solver.plan(stream=7)
            solver.factorize(stream=7)
            out = solver.empty_result()
            solver.solve(out=out, stream=7)
            to_5, to_7 = ["record on 7", "delay 5"], ["record on 5", "delay 7"]
            for passed in True, False:  # else the stream is CuPy's current one, as of solutions that may be direct
                for stream, expected in (7, []), (5, to_5 + to_7 + to_5), (5, to_7 + to_5), (7, to_7), (7, []):
                    standin_cupy.STREAM.ptr = 3 if passed else stream
                    STANDIN.standinForget()
                    solver.solve(out=out, stream=stream if passed else None)
                    lines = STANDIN.standinJournal().decode().splitlines()
                    assert [line for line in lines if line.startswith(("record", "delay"))] == expected
                    check(csr(laplacian(20)), CUPY.host(out), np.ones(20))
            standin_cupy.STREAM.ptr = 3
            assert {stream for _, stream in LIBRARY.phases} == {7}
            solver.plan(stream=5)
            solver.factorize(stream=5)
            assert LIBRARY.phases[-1] == ("FACTORIZATION", 5)
    """)


def test_threading_layer(run):
    run("""
        import os
        a, b = csr(laplacian(20)), np.ones(20)

        def notes(**options):
            with DirectSolver(a, b, execution="cuda", options={"tuning": False, **options}) as solver:
                return solver.plan().notes

        (note,) = notes()
        assert "cuDSS has no threading layer, without which it plans several times slower" in note
        os.environ["CUDSS_THREADING_LIB"] = "/lib/layer.so"
        assert notes() == ("cuDSS's threading layer is /lib/layer.so",)
        assert notes(multithreading_lib="/lib/other.so") == ("cuDSS's threading layer is /lib/other.so",)
        LIBRARY.missing_layers = True
        assert "no threading layer" in notes()[0]
        from planmath.bindings import cudss
        handle = cudss.create()
        assert notes(handle=handle) == ("the handle is options.handle, with the threading layer that it has",)
        gc.collect()
        assert [*LIBRARY.objects] == [handle], "a user's handle is not destroyed"
    """)
