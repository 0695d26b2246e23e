"""Temporary memory: from whom it is asked, how much of it, when it is given back, and what if there is none."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import planmath
from planmath.bindings import runtime
from planmath.fft import estimate_workspace_size
from planmath.linalg.advanced import Matmul
from tests.cuda.allocation import MIB, POOLS, AsyncManager, Manager, Recording
from tests.cuda.work import LARGE_FFT, MATMUL_WORK, WORKS


@pytest.fixture(params=[Manager, AsyncManager])
def allocator(request: pytest.FixtureRequest) -> Recording:
    return request.param()


def test_allocators_have_the_protocols():
    assert isinstance(Manager(), planmath.BaseCUDAMemoryManager)
    assert isinstance(AsyncManager(), planmath.BaseCUDAMemoryManagerAsync)


def test_workspace_of_a_transform(package, allocator):
    """The user's allocator gives all temporary memory, as much as was estimated."""
    with LARGE_FFT.create(*LARGE_FFT.arrays(1, package), options={"allocator": allocator}) as operation:
        assert not allocator.sizes
        operation.plan()
        estimated = estimate_workspace_size(operation.get_key(), technique="refined")
        assert estimated > 0
        operation.execute()
        assert sum(allocator.sizes) == estimated
        result = operation.execute()
        assert sum(allocator.sizes) == estimated, "the workspace stays"
        assert len(allocator.living) == 1
        LARGE_FFT.check(result, 1)
    assert not allocator.living


def test_release_of_the_workspace(package, allocator):
    with LARGE_FFT.planned(LARGE_FFT.arrays(1, package), options={"allocator": allocator}) as operation:
        result = operation.execute(release_workspace=True)
        assert not allocator.living
        LARGE_FFT.check(result, 1)
        again = operation.execute()
        assert len(allocator.living) == 1
        LARGE_FFT.check(again, 1)
    assert not allocator.living


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_copies_of_host_operands(work, allocator):
    """They take temporary memory as well."""
    arrays = work.operands_of(1)
    with work.planned(arrays, execution="cuda", options={"allocator": allocator}) as operation:
        result = operation.execute()
        assert sum(allocator.sizes) >= sum(array.nbytes for array in (*arrays, result))
        work.check(result, 1)
    assert not allocator.living


def test_the_stream_of_an_asynchronous_allocator(package, streams):
    allocator, stream = AsyncManager(), streams.new()
    with LARGE_FFT.create(*LARGE_FFT.arrays(1, package), options={"allocator": allocator}) as operation:
        operation.plan(stream=stream)
        result = operation.execute(stream=stream)
        stream.synchronize()
        assert set(allocator.streams) == {streams.address(stream)}
        LARGE_FFT.check(result, 1)


# ---- allocators that do not do what they should ----


def test_a_failing_allocator_while_planning(package, allocator):
    with LARGE_FFT.create(*LARGE_FFT.arrays(1, package), options={"allocator": allocator}) as operation:
        allocator.failure = MemoryError("nothing left")
        with pytest.raises(MemoryError, match=r"[0-9,]+ bytes of temporary memory.*nothing left.*free"):
            operation.plan()
        allocator.failure = None
        operation.plan()
        LARGE_FFT.check(operation.execute(), 1)
    assert not allocator.living


def test_a_failing_allocator_while_executing(package, allocator):
    with LARGE_FFT.planned(LARGE_FFT.arrays(1, package), options={"allocator": allocator}) as operation:
        operation.execute(release_workspace=True)
        allocator.failure = MemoryError("nothing left")
        for _ in range(2):
            with pytest.raises(MemoryError, match=r"temporary memory.*nothing left.*free"):
                operation.execute()
        allocator.failure = None
        LARGE_FFT.check(operation.execute(), 1)
    assert not allocator.living


def test_an_allocators_own_error_comes_through(package, allocator):
    class QuotaError(Exception):
        pass

    allocator.failure = QuotaError("ask the administrator")
    with (
        LARGE_FFT.create(*LARGE_FFT.arrays(1, package), options={"allocator": allocator}) as operation,
        pytest.raises(QuotaError, match="ask the administrator"),
    ):
        operation.plan()


class OnTheHost(Recording):
    def memalloc(self, size: int) -> planmath.MemoryPointer:
        self.memory = np.zeros(size, np.uint8)
        return self.given(self.memory.ctypes.data, size, lambda: None)


class Something(Recording):
    def memalloc(self, size: int) -> Any:
        return bytearray(8)


@pytest.mark.parametrize(
    ("allocator", "error", "says"),
    [
        (OnTheHost(), ValueError, r"memory of the host; expected [0-9,]+ bytes on device 0"),
        (Something(), TypeError, r"the allocator returned a bytearray; expected .* device_ptr"),
        (Manager, TypeError, r"allocator is the class Manager; pass an object"),
        (object(), TypeError, r"allocator is a object; expected .*memalloc"),
    ],
    ids=["host memory", "no pointer", "a class", "no allocator"],
)
def test_what_is_no_allocator(package, allocator, error, says):
    arrays = LARGE_FFT.arrays(1, package)

    def plan() -> None:
        with LARGE_FFT.create(*arrays, options={"allocator": allocator}) as operation:
            operation.plan()

    with pytest.raises(error, match=says):
        plan()


# ---- the packages' pools, and their end ----


def test_the_packages_pool_is_the_default(package):
    gc.collect()  # nothing of earlier tests is given back in between
    pool, arrays = POOLS[package], LARGE_FFT.arrays(1, package)
    before = pool.used()
    with LARGE_FFT.planned(arrays) as operation:
        size = estimate_workspace_size(operation.get_key(), technique="refined")
        assert size <= pool.used() - before <= size + 2 * MIB
        operation.execute(release_workspace=True)
        assert pool.used() == before
        operation.execute()
        assert size <= pool.used() - before <= size + 2 * MIB
    assert pool.used() == before


#: What the message of an allocation that failed says: how much was asked for, why it failed, and how much is free.
ASKED_AND_FREE = r"could not be allocated .*on CUDA device 0.*free"


def test_no_memory_while_planning(package):
    with LARGE_FFT.create(*LARGE_FFT.arrays(1, package)) as operation:
        with POOLS[package].full(), pytest.raises(MemoryError, match=r"(?s)[0-9,]+ bytes of temp.*" + ASKED_AND_FREE):
            operation.plan()
        operation.plan()
        LARGE_FFT.check(operation.execute(), 1)


def test_no_memory_for_another_plan(package):
    """The one before stays."""
    with LARGE_FFT.planned(LARGE_FFT.arrays(1, package)) as operation:
        out = operation.empty_result()
        with POOLS[package].full():
            with pytest.raises(MemoryError, match="(?s)" + ASKED_AND_FREE):
                operation.plan()
            operation.execute(out=out)
        LARGE_FFT.check(out, 1)


def test_no_memory_while_executing(package):
    with LARGE_FFT.planned(LARGE_FFT.arrays(1, package)) as operation:
        out = operation.empty_result()
        with POOLS[package].full():
            with pytest.raises(MemoryError, match=r"(?s)memory for a result " + ASKED_AND_FREE):
                operation.execute()
            operation.execute(out=out)
        LARGE_FFT.check(out, 1)
        out[...] = 0
        operation.execute(out=out, release_workspace=True)
        with POOLS[package].full(), pytest.raises(MemoryError, match=r"(?s)temporary memory " + ASKED_AND_FREE):
            operation.execute(out=out)
        LARGE_FFT.check(operation.execute(), 1)


def test_no_memory_for_the_copies_of_host_operands():
    allocator = Manager()
    arrays = MATMUL_WORK.operands_of(1)
    with MATMUL_WORK.create(*arrays, execution="cuda", options={"allocator": allocator}) as operation:
        allocator.failure = runtime.CUDARuntimeError(runtime.Error.MEMORY_ALLOCATION, "cudaMalloc")
        with pytest.raises(MemoryError, match="(?s)" + ASKED_AND_FREE):
            operation.plan()
        allocator.failure = None
        operation.plan()
        MATMUL_WORK.check(operation.execute(), 1)


# ---- the limit ----


@pytest.mark.parametrize("limit", [64 * MIB, "64 MiB", "64MiB", "0.0625 GiB", "67108864", "65536kiB", "64 MB"])
def test_memory_limit(package, limit):
    allocator = Manager()
    options = {"memory_limit": limit, "allocator": allocator}
    with MATMUL_WORK.planned(MATMUL_WORK.arrays(1, package), options=options) as operation:
        for algorithm in operation.algorithms:
            MATMUL_WORK.check(operation.execute(algorithm=algorithm), 1)
        assert max(allocator.sizes, default=0) <= 64 * MIB


@pytest.mark.parametrize("limit", ["80%", "12.5 %", "0%", 0])
def test_memory_limit_as_a_share(package, limit):
    allocator = Manager()
    options = {"memory_limit": limit, "allocator": allocator}
    with MATMUL_WORK.planned(MATMUL_WORK.arrays(1, package), options=options) as operation:
        MATMUL_WORK.check(operation.execute(), 1)
        assert limit not in ("0%", 0) or not allocator.sizes


@pytest.mark.parametrize(
    "limit", ["much", "-1", -1, "101%", "-5%", "1 parsec", "", "GiB", "%", True, [1], float("nan")]
)
def test_bad_memory_limit(package, limit):
    arrays = MATMUL_WORK.arrays(1, package)
    with (
        pytest.raises((ValueError, TypeError), match=r"memory_limit is .*expected bytes"),
        MATMUL_WORK.create(*arrays, options={"memory_limit": limit}) as operation,
    ):
        operation.plan()


def test_options_say_what_an_allocator_is():
    with pytest.raises(TypeError, match=r"MatmulOptions\.allocator is a str; expected"):
        Matmul(np.ones((2, 2)), np.ones((2, 2)), options={"allocator": "mine"})
