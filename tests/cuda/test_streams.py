"""On which stream work is put, what it waits for, and that nothing of it stays behind.

Streams that wait for nobody are kept busy for some milliseconds, so that work on a wrong stream, or in a wrong order,
reads what is not there yet.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from planmath.bindings import runtime
from planmath.core.cuda import devices
from tests.cuda.streams import CYCLES, STREAMS, outlasting
from tests.cuda.work import MATMUL_WORK


def late(work: Any, seed: int, package: str, stream: Any, cycles: int = CYCLES) -> tuple[tuple[Any, ...], object]:
    """Operands that get their values on the stream only after a while, zero until then; and what to keep so long."""
    values, arrays = work.arrays(seed, package), work.arrays(seed, package)
    for array in arrays:
        array[...] = 0
    runtime.device_synchronize()
    with STREAMS[package].use(stream):
        STREAMS[package].delay(cycles)
        for array, value in zip(arrays, values, strict=True):
            array[...] = value
    return arrays, values


@pytest.mark.parametrize("way", ["passed in", "by address", "current"])
def test_work_goes_on_the_stream(work, package, streams, way):
    stream = streams.new()
    with work.planned(work.arrays(1, package)) as operation:
        operation.execute()  # whatever a first execution waits for

        def returns_at_once(cycles: int) -> bool:
            arrays, _values = late(work, 2, package, stream, cycles)
            if way == "current":
                with streams.use(stream):
                    work.replace(operation, arrays)
                    result = operation.execute()
            else:
                passed = stream if way == "passed in" else streams.address(stream)
                work.replace(operation, arrays, stream=passed)
                result = operation.execute(stream=passed)
            launched = streams.busy(stream)
            stream.synchronize()
            work.check(result, 2)
            return launched

        outlasting(returns_at_once)


@pytest.mark.parametrize("way", ["passed in", "by address"])
def test_the_default_stream_passed_in(work, package, streams, way):
    """Its address is 0, which is a stream like any other, and not "none given"."""
    default = streams.default()
    assert streams.address(default) == 0
    with work.planned(work.arrays(1, package)) as operation:

        def waits(cycles: int) -> bool:
            arrays, _values = late(work, 2, package, default, cycles)
            with streams.use(streams.new()):
                passed = default if way == "passed in" else 0
                work.replace(operation, arrays, stream=passed)
                result = operation.execute(stream=passed)
            had_to = streams.busy(default)
            default.synchronize()
            work.check(result, 2)
            return had_to

        outlasting(waits)


@pytest.mark.parametrize("way", ["passed in", "current"])
def test_another_stream_waits_for_the_last(work, package, streams, way):
    first, second = streams.new(), streams.new()
    with work.planned(work.arrays(1, package)) as operation:
        one, two = operation.empty_result(), operation.empty_result()
        later = work.arrays(3, package)

        def waits(cycles: int) -> bool:
            arrays, _values = late(work, 2, package, first, cycles)
            work.replace(operation, arrays, stream=first)
            operation.execute(out=one, stream=first)
            if way == "current":
                with streams.use(second):
                    work.replace(operation, later)
                    operation.execute(out=two)
            else:
                work.replace(operation, later, stream=second)
                operation.execute(out=two, stream=second)
            had_to = streams.busy(first)
            second.synchronize()
            assert not streams.busy(first)
            work.check(one, 2)
            work.check(two, 3)
            return had_to

        outlasting(waits)


def test_many_changes_of_the_stream(work, package, streams):
    """One workspace serves all executions: each must find it free."""
    turns = [streams.new() for _ in range(3)]
    seeds = range(10, 22)
    with work.planned(work.arrays(1, package)) as operation:
        operands = [work.arrays(seed, package) for seed in seeds]
        results = [operation.empty_result() for _ in seeds]
        runtime.device_synchronize()
        with streams.use(turns[0]):
            streams.delay()
        for place, (arrays, result) in enumerate(zip(operands, results, strict=True)):
            work.replace(operation, arrays)
            operation.execute(out=result, stream=turns[place % 3])
        runtime.device_synchronize()
        for seed, result in zip(seeds, results, strict=True):
            work.check(result, seed)


def test_operations_do_not_wait_for_each_other(work, package, streams):
    """Only executions of one object are ordered: another's, on another stream, go on."""
    busy, free = streams.new(), streams.new()
    with work.planned(work.arrays(1, package)) as one, work.planned(work.arrays(2, package)) as other:
        other.execute(stream=free)
        free.synchronize()

        def goes_on(cycles: int) -> bool:
            with streams.use(busy):
                streams.delay(cycles)
            one.execute(stream=busy)
            result = other.execute(stream=free)
            free.synchronize()
            sooner = streams.busy(busy)
            work.check(result, 2)
            busy.synchronize()
            return sooner

        outlasting(goes_on)


def test_a_stream_that_is_gone(work, package, streams):
    """Nobody but its user holds a stream that was passed in: the next execution must not touch what is left of it."""
    with work.planned(work.arrays(1, package)) as operation:
        for seed in (2, 3):
            stream = streams.new()
            work.replace(operation, work.arrays(seed, package), stream=stream)
            result = operation.execute(stream=stream)
            work.check(work.stateless(*work.arrays(seed, package), stream=stream), seed)
            stream.synchronize()
            work.check(result, seed)
            del stream
            gc.collect()
            work.replace(operation, work.arrays(seed + 2, package))
            work.check(operation.execute(), seed + 2)
            work.check(work.stateless(*work.arrays(seed + 2, package)), seed + 2)


@pytest.mark.parametrize("method", ["create", "plan", "autotune"])
def test_earlier_phases_take_a_stream(work, package, streams, method):
    stream = streams.new()
    with work.create(*work.arrays(1, package), **({"stream": stream} if method == "create" else {})) as operation:
        operation.plan(**({"stream": stream} if method == "plan" else {}))
        if method == "autotune":
            operation.autotune(iterations=2, stream=stream)
        result = operation.execute(stream=stream)
        stream.synchronize()
        work.check(result, 1)


def test_stateless_call_on_a_stream(work, package, streams):
    stream = streams.new()
    work.stateless(*work.arrays(1, package))  # leaves its plan to the others

    def returns_at_once(cycles: int) -> bool:
        launched = True
        for seed in (2, 3):
            arrays, _values = late(work, seed, package, stream, cycles)
            result = work.stateless(*arrays, stream=stream)
            launched = launched and streams.busy(stream)
            stream.synchronize()
            work.check(result, seed)
        return launched

    outlasting(returns_at_once)


# ---- nothing changes ----


def surroundings(package: str) -> tuple[int, int]:
    return runtime.get_device(), STREAMS[package].current()


@contextmanager
def unchanged(package: str) -> Iterator[None]:
    before = surroundings(package)
    yield
    assert surroundings(package) == before


@pytest.mark.parametrize("current", ["default", "another"])
def test_device_and_stream_are_as_before(work, package, streams, current):
    passed = streams.new()
    with streams.use(streams.new()) if current == "another" else nullcontext():
        arrays, others = work.arrays(1, package), work.arrays(2, package)
        with unchanged(package):
            operation = work.create(*arrays, stream=passed)
        with unchanged(package):
            operation.plan(stream=passed)
        with unchanged(package):
            operation.autotune(iterations=1, stream=passed)
        with unchanged(package):
            operation.execute(stream=passed)
        with unchanged(package):
            operation.execute()
        with unchanged(package):
            work.replace(operation, others, stream=passed)
        with unchanged(package):
            work.replace(operation, arrays, unchecked=True, stream=passed)
        with unchanged(package):
            operation.execute(release_workspace=True, stream=passed)
        with unchanged(package):
            getattr(operation, work.reset.replace("reset", "release"))()
        with unchanged(package):
            operation.free()
        with unchanged(package):
            work.stateless(*arrays, stream=passed)
        runtime.device_synchronize()


def misuses(work: Any, operation: Any, package: str, stream: Any) -> list[Callable[[], Any]]:
    arrays = work.arrays(1, package)
    return [
        lambda: work.replace(operation, tuple(array[:1] for array in arrays), stream=stream),
        lambda: operation.execute(stream="stream"),
        lambda: operation.plan(stream=1.5),
        lambda: work.create(*arrays, stream="stream").plan(stream="stream"),
        lambda: work.replace(operation, work.operands_of(1), stream=stream),
        lambda: operation.execute(out=arrays[0][:1], stream=stream),
        lambda: operation.execute(out=work.operands_of(1)[0], stream=stream),
    ]


def test_device_and_stream_are_as_before_after_errors(work, package, streams):
    stream = streams.new()
    with work.planned(work.arrays(1, package)) as operation:
        for call in misuses(work, operation, package, stream):
            with unchanged(package), pytest.raises((TypeError, ValueError)):
                call()
        result = operation.execute(stream=stream)
        stream.synchronize()
        work.check(result, 1)


def test_the_message_names_what_a_stream_may_be(work, package):
    with (
        work.planned(work.arrays(1, package)) as operation,
        pytest.raises(TypeError, match=r"stream is a str.*expected"),
    ):
        operation.execute(stream="the fast one")


# ---- blocking ----


def test_blocking_waits(work, package, streams):
    stream = streams.new()
    options = {"blocking": True}
    with work.planned(work.arrays(1, package), options=options) as operation:
        arrays, _values = late(work, 2, package, stream)
        work.replace(operation, arrays, stream=stream)
        result = operation.execute(stream=stream)
        assert not streams.busy(stream)
        work.check(result, 2)


@pytest.mark.parametrize("host", ["numpy", "torch"])
def test_host_operands_are_waited_for(work, package, streams, host):
    """Whatever `blocking` says: the result is read by the host at once."""
    pytest.importorskip(host)
    stream = streams.new()
    with work.planned(work.arrays(1, host), execution="cuda") as operation:
        with streams.use(stream):
            streams.delay()
        result = operation.execute(stream=stream)
        work.check(result, 1)
        assert not streams.busy(stream)


# ---- several devices ----


@pytest.fixture
def second_device() -> int:
    if devices.count() < 2:
        pytest.skip("this machine has one CUDA device; this needs two")
    return 1


def on_second(array: Any, package: str, device_id: int) -> Any:
    if package == "torch-cuda":
        return array.to(f"cuda:{device_id}")
    import cupy

    with cupy.cuda.Device(device_id):
        return cupy.array(array)


def test_operands_on_different_devices(package, second_device):
    a, b = MATMUL_WORK.arrays(1, package)
    with pytest.raises(ValueError, match=r"device 1.*device 0"):
        MATMUL_WORK.create(a, on_second(b, package, second_device))


def test_a_stream_of_another_device(work, package, streams, second_device):
    with devices.on(second_device):
        stream = runtime.stream_create_with_flags(runtime.STREAM_NON_BLOCKING)
    with work.planned(work.arrays(1, package)) as operation, unchanged(package):
        with pytest.raises(ValueError, match=r"stream belongs to device 1; expected one of device 0"):
            operation.execute(stream=stream)
        work.check(operation.execute(), 1)
    runtime.stream_destroy(stream)


def test_work_on_the_second_device(work, package, streams, second_device):
    arrays = tuple(on_second(array, package, second_device) for array in work.arrays(1, package))
    with unchanged(package), work.planned(arrays) as operation:
        result = operation.execute()
        with devices.on(second_device):
            runtime.device_synchronize()
        work.check(result, 1)


def test_host_operands_on_the_second_device(work, second_device):
    execution = {"name": "cuda", "device_id": second_device}
    with work.planned(work.operands_of(1), execution=execution) as operation:
        work.check(operation.execute(), 1)


def test_a_device_that_is_not_there(work):
    execution = {"name": "cuda", "device_id": devices.count()}
    with pytest.raises(ValueError, match=f"device_id is {devices.count()}; this machine has"):
        work.planned(work.operands_of(1), execution=execution)
