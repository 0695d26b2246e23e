"""What was allocated is given back: by objects that are freed or dropped, after errors, and by stateless calls."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

import planmath
from planmath.bindings import runtime
from tests.cuda.allocation import MIB, POOLS, Manager
from tests.cuda.work import LARGE_FFT, MATMUL_WORK, WORKS, Work


def grown(run: Callable[[], None]) -> int:
    """Bytes of the device that are gone for good after a run.

    Other processes allocate too: what is gone in one attempt and not in another was theirs.
    """

    def gone() -> int:
        before, _ = runtime.mem_get_info()
        run()
        runtime.device_synchronize()
        return before - runtime.mem_get_info()[0]

    run()
    runtime.device_synchronize()
    return min(gone() for _ in range(4))


@pytest.mark.alone
@pytest.mark.parametrize("work", [*WORKS, LARGE_FFT], ids=lambda work: work.name)
def test_no_leak(work: Work, package):
    pool, arrays = POOLS[package], work.arrays(1, package)
    lives = 3 if work is LARGE_FFT else 40

    def run() -> None:
        for _ in range(lives):
            with work.planned(arrays) as operation:
                operation.execute()
                work.replace(operation, arrays)
                operation.execute(release_workspace=True)

    run()
    gc.collect()  # what earlier tests left
    before = pool.used()
    assert grown(run) < 2 * MIB
    assert pool.used() <= before


@pytest.mark.alone
def test_no_leak_after_errors(package):
    pool, allocator = POOLS[package], Manager()
    arrays = LARGE_FFT.arrays(1, package)

    def run() -> None:
        for _ in range(20):
            allocator.failure = MemoryError("nothing left")
            with LARGE_FFT.create(*arrays, options={"allocator": allocator}) as operation:
                with pytest.raises(MemoryError):
                    operation.plan()
                with pytest.raises(TypeError):
                    operation.plan(stream="none")

    before = pool.used()
    assert grown(run) < 2 * MIB
    assert pool.used() == before


@pytest.mark.alone
def test_no_leak_of_stateless_calls(package):
    """They keep a plan for the next call, and no more than that."""
    pool, arrays = POOLS[package], MATMUL_WORK.arrays(1, package)

    def run() -> None:
        for _ in range(100):
            planmath.linalg.advanced.matmul(*arrays)

    run()
    before = pool.used()
    assert grown(run) < 2 * MIB
    assert pool.used() == before


def test_an_object_that_is_dropped_gives_its_memory_back(package):
    allocator = Manager()
    arrays = LARGE_FFT.arrays(1, package)
    operation = LARGE_FFT.planned(arrays, options={"allocator": allocator})
    operation.execute()
    assert allocator.living
    with pytest.warns(ResourceWarning, match="unfreed"):
        del operation
    assert not allocator.living


def test_a_plan_in_place_of_another_gives_its_memory_back(package):
    allocator = Manager()
    with LARGE_FFT.planned(LARGE_FFT.arrays(1, package), options={"allocator": allocator}) as operation:
        operation.execute()
        for _ in range(3):
            operation.plan()
            operation.execute()
        assert len(allocator.living) == 1
    assert not allocator.living
