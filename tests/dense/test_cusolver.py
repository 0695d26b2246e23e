"""The dense solver on a device, by cuSOLVER and cuBLAS, with operands of every package."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest

from planmath.bindings import runtime
from planmath.core.errors import UnavailableError
from planmath.linalg import DirectSolver, direct_solver
from planmath.linalg.solver.providers.cusolver import CusolverProvider
from tests.arrays import missing
from tests.cuda.allocation import MIB
from tests.cuda.streams import CYCLES, STREAMS, outlasting
from tests.cuda.test_leaks import grown
from tests.dense import device_checks
from tests.dense.device_checks import DTYPES, KINDS, check, every_way, matrices, numbers, solver, structures
from tests.sparse.cudss_checks import Place

reason = CusolverProvider().unavailable()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


@pytest.fixture(params=["numpy", "cupy", "torch-cuda"])
def place(request: pytest.FixtureRequest) -> Place:
    if why := missing(request.param):
        pytest.skip(why)
    return Place(request.param)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_structure(place, kind, dtype):
    sizes = (1, 7, 24, 40, 150) if dtype == "float64" else (7, 40)  # each group of them has kernels to compile
    structures(place, kind, dtype, sizes)


@pytest.mark.parametrize("name", [check.__name__ for check in device_checks.CHECKS])
def test_check(place, name):
    getattr(device_checks, name)(place)


@pytest.mark.parametrize("kind", ["general", "positive definite", "symmetric", "Hermitian", "triangular"])
@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_large_ones(place, kind, dtype):
    rng = np.random.default_rng(1)
    stored, whole = matrices(rng, kind, (1030, 1030), dtype)
    for columns in (1, 33):
        b = numbers(rng, (1030, columns), dtype)
        with solver(place(stored), place(b), **KINDS[kind]()) as made:
            made.plan()
            made.factorize()
            for trans in "NTC":
                check(whole, place.host(made.solve(trans=trans)), b, trans)
            assert made.solution_info.accurate


@pytest.mark.parametrize("n", [8, 64])
def test_many_small_ones(place, n):
    rng = np.random.default_rng(n)
    a, b = numbers(rng, (3000, n, n), "float64"), numbers(rng, (3000, n), "float64")
    x = place.host(direct_solver(place(a), place(b), execution="cuda", options={"tuning": False}))
    check(a, x, b)


def test_agrees_with_the_cpu(place):
    rng = np.random.default_rng(2)
    a, b = numbers(rng, (2, 50, 50), "complex128"), numbers(rng, (2, 50, 3), "complex128")
    x = place.host(direct_solver(place(a), place(b), execution="cuda"))
    expected = direct_solver(a, b, execution="cpu")
    assert np.linalg.norm(x - expected) <= 1e-10 * np.linalg.norm(expected)


@pytest.fixture(params=STREAMS)
def package(request: pytest.FixtureRequest) -> str:
    if why := missing(request.param):
        pytest.skip(why)
    return request.param


def test_streams(package):
    """Phases follow each other on whatever streams they are put, those that are passed and the current ones."""
    streams, place, rng = STREAMS[package], Place(package), np.random.default_rng(3)
    a, b = numbers(rng, (300, 300), "float64"), numbers(rng, (300,), "float64")
    own = [streams.new() for _ in range(2)]
    with solver(place(a), place(b)) as made:
        runtime.device_synchronize()
        made.plan(stream=own[0])
        for first, second in itertools.product([*own, None], repeat=2):
            streams.delay(CYCLES // 50)
            made.factorize(stream=first)
            x = made.solve(stream=second)
            runtime.device_synchronize()
            check(a, place.host(x), b)
        with streams.use(own[1]):
            made.factorize()
            x = made.solve()
            runtime.device_synchronize()
        check(a, place.host(x), b)


def test_a_factorization_does_not_wait(package):
    streams, place, rng = STREAMS[package], Place(package), np.random.default_rng(4)
    a, b = numbers(rng, (4, 70, 70), "float64"), numbers(rng, (4, 70, 1), "float64")
    stream = streams.new()
    with solver(place(a), place(b)) as made:
        made.plan()
        for _ in every_way(made):
            made.factorize()
            made.solve()
            runtime.device_synchronize()

            def attempt(cycles: int) -> bool:
                with streams.use(stream):
                    streams.delay(cycles)
                    made.factorize()
                    busy = streams.busy(stream)
                    check(a, place.host(made.solve()), b)
                return busy

            outlasting(attempt)


def test_a_capture_is_refused():
    torch = pytest.importorskip("torch")
    a, b = torch.eye(5, device="cuda", dtype=torch.float64), torch.ones(5, device="cuda", dtype=torch.float64)
    with DirectSolver(a, b) as made:
        made.plan()
        made.factorize()
        made.solve()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            b.clone()  # an empty graph would be warned of
            for call in (made.factorize, made.solve):
                with pytest.raises(UnavailableError, match="cannot be captured"):
                    call()
        made.factorize()
        assert (made.solve() == 1).all()


@pytest.mark.alone
def test_nothing_is_left_behind():
    torch = pytest.importorskip("torch")
    a = torch.rand(200, 200, dtype=torch.float64, device="cuda")
    b = torch.rand(200, dtype=torch.float64, device="cuda")

    def live() -> None:
        with solver(a, b) as made:
            made.plan()
            made.factorize()
            made.solve()

    def lives() -> None:
        for _ in range(20):
            live()

    gc.collect()
    assert grown(lives) < 2 * MIB
