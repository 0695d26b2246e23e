"""The sparse solver on a device, by cuDSS, with operands of every package."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from planmath.bindings import runtime
from planmath.core.accuracy import TOLERANCE
from planmath.sparse.advanced.providers.cudss import CudssProvider
from tests.arrays import missing
from tests.cuda.streams import STREAMS
from tests.cuda.test_leaks import grown
from tests.sparse import cudss_checks
from tests.sparse.cudss_checks import DirectSolver, Place, V, check, direct_solver
from tests.sparse.matrices import DTYPES, backward_error, csr, laplacian, right_hand_side
from tests.sparse.test_types import CASES

reason = CudssProvider().unavailable()
pytestmark = pytest.mark.skipif(reason is not None, reason=str(reason))


@pytest.fixture(params=["numpy", "cupy", "torch-cuda"])
def place(request: pytest.FixtureRequest) -> Place:
    if why := missing(request.param):
        pytest.skip(why)
    return Place(request.param)


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_family(place, dtype, index):
    cudss_checks.every_family(place, dtype, index)


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_types_and_views(place, kind, dtype):
    for view in V:
        for junk in (False, True) if view else (False,):
            cudss_checks.types_and_views(place, kind, dtype, view, junk)


@pytest.mark.parametrize("name", [check.__name__ for check in cudss_checks.CHECKS])
def test_check(place, name):
    getattr(cudss_checks, name)(place)


def test_agrees_with_the_cpu(place):
    a = csr(laplacian(60, 50))
    b = right_hand_side(a, 2)
    x = place.host(direct_solver(place(a), place(b), execution="cuda"))
    expected = direct_solver(a, b)
    assert np.linalg.norm(x - expected) <= 1e4 * TOLERANCE["float64"] * np.linalg.norm(expected)
    assert backward_error(a, x, b) <= TOLERANCE["float64"]


@pytest.mark.parametrize("explicit", [False, True])
def test_tensor_of_more_dimensions(explicit):
    if why := missing("torch-cuda"):
        pytest.skip(why)
    import warnings

    import torch

    torch.sparse.check_sparse_tensor_invariants.enable()
    rng = np.random.default_rng(1)
    base = csr(laplacian(6, 6) + laplacian(6, 6))
    n, place = base.shape[0], Place("torch-cuda")
    values = torch.from_numpy(base.data * rng.uniform(0.5, 2, (2, 3, base.nnz))).cuda()
    starts, columns = (
        torch.from_numpy(x).cuda().expand(2, 3, len(x)).contiguous() for x in (base.indptr, base.indices)
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = torch.sparse_csr_tensor(starts, columns, values, size=(2, 3, n, n))
    sides = [
        torch.from_numpy(rng.standard_normal((2, 3, n, 2))).cuda(),
        torch.from_numpy(rng.standard_normal((2, 3, 2, n))).cuda().transpose(-1, -2),
        torch.from_numpy(rng.standard_normal((2, n, 3, 2))).cuda().transpose(1, 2),
    ]  # fmt: skip
    for b in sides:
        given = list(b.reshape(6, n, 2)) if explicit else b
        x = direct_solver(a, given)
        if not explicit:
            assert x.shape == b.shape
            x = list(x.reshape(6, n, 2))
        for i in range(6):
            sample = base.copy()
            sample.data = values.reshape(6, -1)[i].cpu().numpy()
            check(sample, place.host(x[i]), place.host(b.reshape(6, n, 2)[i]))


def streams_of(name: str) -> tuple[Any, Any]:
    if name == "torch-cuda":
        import torch

        return torch.cuda.Stream(), torch.cuda.Stream()
    import cupy

    return cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)


@pytest.mark.parametrize("name", ["cupy", "torch-cuda"])
def test_every_phase_on_another_stream(name):
    """What is written on a stream before a phase on it is read by the phase."""
    if why := missing(name):
        pytest.skip(why)
    place = Place(name)
    a = csr(laplacian(100, 100))
    b = right_hand_side(a)
    first, second = streams_of(name)
    matrix, side = place(a), place(b)
    runtime.device_synchronize()  # the streams do not wait for the one that made them
    with DirectSolver(matrix, side, options={"on_inaccurate": "raise"}) as solver:
        solver.plan(stream=first)
        for factor in (2.0, 3.0):
            for stream in (second, first):
                with stream if name == "cupy" else __import__("torch").cuda.stream(stream):
                    for _ in range(30):
                        side *= 1.5
                    side /= 1.5**30
                    side *= factor
                    x = solver.solve(stream=stream) if solver.state.value == "factorized" else None
                solver.factorize(stream=second)
                x = solver.solve(stream=stream)
                check(a, place.host(x), place.host(side))


@pytest.mark.parametrize("name", ["cupy", "torch-cuda"])
def test_phases_behind_long_work(name):
    """Memory that a phase gets was used last by work on the stream that may not be done yet."""
    if why := missing(name):
        pytest.skip(why)
    place, streams = Place(name), STREAMS[name]
    a = csr(laplacian(60, 60))
    b = right_hand_side(a)
    matrix, side = place(a), place(b)
    runtime.device_synchronize()
    with DirectSolver(matrix, side, options={"on_inaccurate": "raise"}) as solver, streams.use(streams.new()):
        for _ in range(2):
            for phase in (solver.plan, solver.factorize, solver.solve):
                streams.delay()
                x = phase()
            check(a, place.host(x), b)


@pytest.mark.parametrize("blocking", ["auto", True])
def test_current_device_and_stream_stay(place, blocking):
    before = runtime.get_device()
    direct_solver(place(csr(laplacian(9))), place(np.ones(9)), execution="cuda", options={"blocking": blocking})
    assert runtime.get_device() == before


@pytest.mark.alone
def test_nothing_leaks(place):
    """Device memory after many lives is what it was after a few."""
    a, b = place(csr(laplacian(50, 50))), place(np.ones(2500))

    def lives() -> None:
        for _ in range(10):
            for space in ("cuda", "hybrid"):
                with DirectSolver(a, b, execution=space, options={"tuning": False}) as solver:
                    solver.plan()
                    solver.factorize()
                    solver.solve()
        gc.collect()
        if place.name == "torch-cuda":
            __import__("torch").cuda.empty_cache()
        if place.name == "cupy":
            __import__("cupy").get_default_memory_pool().free_all_blocks()

    assert grown(lives) < 8 << 20
