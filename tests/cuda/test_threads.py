"""Stateless calls from several threads, each on a stream of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from tests.cuda.streams import CYCLES, outlasting

THREADS, CALLS = 6, 30


def test_stateless_calls(work, package, streams):
    """Plans go from one call to the next, also to one of another thread on another stream."""
    barrier = Barrier(THREADS)

    def calls(thread: int) -> list[tuple[int, Any]]:
        stream = streams.new()
        seeds = range(thread * CALLS, (thread + 1) * CALLS)
        with streams.use(stream):
            operands = [work.arrays(seed, package) for seed in seeds]
            barrier.wait(60)
            if thread % 2:
                streams.delay(CYCLES // 10)
            results = [work.stateless(*arrays) for arrays in operands]
            stream.synchronize()
        return list(zip(seeds, results, strict=True))

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(calls, thread) for thread in range(THREADS)]:
            for seed, result in future.result(120):
                work.check(result, seed)


def test_streams_in_turn(work, package, streams):
    """The second call takes over the plan of the first, whose stream is still at work: they share its workspace."""
    turns = [streams.new(), streams.new()]
    work.stateless(*work.arrays(0, package))
    operands = [work.arrays(seed, package) for seed in range(1, 9)]

    def in_turn(cycles: int) -> bool:
        results = []
        with streams.use(turns[0]):
            streams.delay(cycles)
        for place, arrays in enumerate(operands):
            with streams.use(turns[place % 2]):
                results.append(work.stateless(*arrays))
        at_work = streams.busy(turns[0])
        for stream in turns:
            stream.synchronize()
        for seed, result in enumerate(results, start=1):
            work.check(result, seed)
        return at_work

    outlasting(in_turn)


def test_objects_of_their_own(work, package, streams):
    """An object belongs to one thread at a time; several objects may belong to several."""
    barrier = Barrier(THREADS)

    def life(thread: int) -> list[tuple[int, Any]]:
        stream, results = streams.new(), []
        with streams.use(stream):
            operands = [work.arrays(100 * thread + call, package) for call in range(CALLS)]
            barrier.wait(60)
            with work.planned(operands[0]) as operation:
                for call, arrays in enumerate(operands):
                    work.replace(operation, arrays)
                    results.append((100 * thread + call, operation.execute()))
            stream.synchronize()
        return results

    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(life, thread) for thread in range(THREADS)]:
            for seed, result in future.result(120):
                work.check(result, seed)
