"""Redistribution of arrays on CUDA devices, by every transport."""

import itertools
import time

import numpy as np
import pytest

import planmath.distributed as distributed
from planmath.bindings import runtime
from planmath.core.errors import UnavailableError
from planmath.distributed.distribution import Redistribute, Slab, redistribute
from tests.distributed.devices.arrays import (
    PACKAGES,
    PROVIDERS,
    STANDIN,
    assert_equal,
    checked,
    device_id,
    module,
    on_device,
    on_host,
)
from tests.distributed.ranks.arrays import all_distributions, group, local, whole

several = pytest.mark.ranks(2)


@several
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("package", PACKAGES)
def test_all_pairs(provider, package):
    number = PROVIDERS.index(checked(provider))
    for shape in ((7,), (9, 5), (4, 6, 5)):
        full = whole(shape, ("float64", "complex128", "float32", "int8")[number])
        pairs = list(itertools.product(all_distributions(shape), repeat=2))
        for one, other in pairs[:: 1 + len(pairs) // (12 if number == 0 else 4)]:
            operand = on_device(local(full, one), package)
            with Redistribute(operand, one, other, options={"provider": provider}) as redistribution:
                redistribution.plan()
                assert redistribution._plan_made.chosen.provider == provider
                for _ in range(2):
                    result = redistribution.execute()
                    assert_equal(result, local(full, other))


@several
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_that_the_copy_engines_take(order):
    """And the default: the first transport that the devices have."""
    full = whole((48, 64, 40), "complex128")
    with Redistribute(on_device(local(full, Slab.X, order)), Slab.X, Slab.Y) as redistribution:
        redistribution.plan()
        assert redistribution._plan_made.chosen.provider == "ipc" or not STANDIN
        result = redistribution.execute()
        assert_equal(result, local(full, Slab.Y))
        assert getattr(result.flags, f"{order.lower()}_contiguous")
        assert f"rank {group().rank} of {group().nranks}" in redistribution.report()
        redistribution.reset_operand(on_device(local(2 * full, Slab.X, order)))
        out = redistribution.empty_result()
        assert redistribution.execute(out=out) is out
        assert_equal(out, local(2 * full, Slab.Y))


def test_one_after_the_other_and_back():
    """Objects that come and go, with receive buffers that the ranks give back together."""
    full = whole((8, 6))
    for _ in range(5):
        there = redistribute(on_device(local(full, Slab.X)), Slab.X, Slab.Y)
        assert_equal(redistribute(there, Slab.Y, Slab.X), local(full, Slab.X))


@several
@pytest.mark.parametrize("provider", ["ipc", "nccl"])
def test_a_late_peer(provider):
    """What a rank enqueues early waits for the others, and overtakes nobody."""
    provider = checked(provider)
    full = whole((16, 12))
    operand = on_device(local(full, Slab.X))
    with Redistribute(operand, Slab.X, Slab.Y, options={"provider": provider}) as redistribution:
        redistribution.plan()
        results = []
        for number in range(4):
            if number % group().nranks == group().rank:
                time.sleep(0.1)
            results.append(redistribution.execute())
        for result in results:
            assert_equal(result, local(full, Slab.Y))


@several
@pytest.mark.parametrize("provider", ["ipc", "nccl", "mpi"])
def test_streams(provider):
    """Executions on other streams, in order with what is there; and values that change in between."""
    provider = checked(provider)
    full = whole((32, 24))
    operand = on_device(local(full, Slab.X))
    stream = runtime.stream_create_with_flags(1)
    with Redistribute(operand, Slab.X, Slab.Y, options={"provider": provider}) as redistribution:
        redistribution.plan(stream)
        for factor in (1, 2, 3):
            runtime.stream_synchronize(stream)
            runtime.device_synchronize()
            operand[...] = on_device(local(factor * full, Slab.X))
            runtime.device_synchronize()
            result = redistribution.execute(stream) if factor != 2 else redistribution.execute()
            assert_equal(result, local(factor * full, Slab.Y))


@several
def test_blocking():
    full = whole((16, 12))
    with Redistribute(on_device(local(full, Slab.X)), Slab.X, Slab.Y, options={"blocking": True}) as redistribution:
        redistribution.plan()
        assert_equal(redistribution.execute(), local(full, Slab.Y))


@several
def test_autotune():
    full = whole((16, 24, 8))
    with Redistribute(on_device(local(full, Slab.X)), Slab.X, Slab.Y) as redistribution:
        redistribution.plan()
        redistribution.autotune(iterations=3)
        chosen = str(redistribution._plan_made.chosen)
        assert group().allreduce_object([chosen], op=lambda a, b: a + b) == [chosen] * group().nranks
        assert len(redistribution._plan_made.measurements) >= 2
        assert_equal(redistribution.execute(), local(full, Slab.Y))


@several
def test_one_wrong_rank():
    full = whole((6, 8))
    operand = on_device(local(full, Slab.X))
    if group().rank == 1:
        operand = local(full, Slab.X)
    with pytest.raises(ValueError, match="package of operand differs"):
        Redistribute(operand, Slab.X, Slab.Y)


@several
def test_another_device(monkeypatch):
    full = whole((6, 8))
    operand = on_device(local(full, Slab.X))
    if group().rank == 1:
        other = distributed.get_context().__class__(device_id() + 1, group())
        monkeypatch.setattr(distributed.runtime, "_context", other)
    with pytest.raises(ValueError, match=r"operand is on CUDA device \d; expected device") as caught:
        Redistribute(operand, Slab.X, Slab.Y)
    assert "raised on rank 1" in "".join(caught.value.__notes__)


@several
def test_transports_of_the_other_space():
    full = whole((6, 8))
    with pytest.raises(UnavailableError, match="arrays on the host"):
        redistribute(on_device(local(full, Slab.X)), Slab.X, Slab.Y, options={"provider": "mapped"})
    with pytest.raises(UnavailableError, match="arrays on CUDA devices"):
        redistribute(local(full, Slab.X), Slab.X, Slab.Y, options={"provider": "ipc"})


@several
def test_memory_that_cannot_be_opened(monkeypatch):
    """Where a rank cannot open another one's memory, the next transport takes over on all."""
    if group().rank == 1:

        def refuses(*arguments):
            raise runtime.CUDARuntimeError(1, "cudaIpcOpenMemHandle")

        monkeypatch.setattr(runtime, "ipc_open_mem_handle", refuses)
    full = whole((6, 8))
    with Redistribute(on_device(local(full, Slab.X)), Slab.X, Slab.Y) as redistribution:
        redistribution.plan()
        assert redistribution._plan_made.chosen.provider != "ipc"
        assert "cannot be opened" in redistribution.report()
        assert_equal(redistribution.execute(), local(full, Slab.Y))


@several
def test_memory_goes_when_nobody_has_it_open(monkeypatch):
    """Also where it could not be opened on one rank, and others take their time to close it."""
    times = {}

    def noted(name, function):
        def call(*arguments):
            if name == "closed":
                time.sleep(0.1)
            if name == "opened" and group().rank == 1:
                raise runtime.CUDARuntimeError(1, "cudaIpcOpenMemHandle")
            result = function(*arguments)
            times[name] = time.monotonic()
            return result

        return call

    for name, of in (("opened", "ipc_open_mem_handle"), ("closed", "ipc_close_mem_handle"), ("freed", "free")):
        monkeypatch.setattr(runtime, of, noted(name, getattr(runtime, of)))
    with pytest.raises(UnavailableError, match="cannot be opened"):
        redistribute(on_device(local(whole((6, 8)), Slab.X)), Slab.X, Slab.Y, options={"provider": "ipc"})
    everybody = group().allreduce_object([times], op=lambda a, b: a + b)
    closed = [of["closed"] for of in everybody if "closed" in of]
    assert closed
    assert max(closed) < min(of["freed"] for of in everybody)


@several
def test_a_group_of_nccl_that_fails(monkeypatch):
    """It does not stay open for what the thread calls next."""
    if not STANDIN:
        pytest.skip("the stand-in's messages are short")
    for shape in ((1 << 10, 1 << 10), (6, 8)):
        full = whole(shape)
        options = {"provider": checked("nccl")}
        with Redistribute(on_device(local(full, Slab.X)), Slab.X, Slab.Y, options=options) as redistribution:
            redistribution.plan()
            if len(full) > 6:
                with pytest.raises(RuntimeError, match="ncclSend"):
                    redistribution.execute()
            else:
                assert_equal(redistribution.execute(), local(full, Slab.Y))


@several
def test_deadline(monkeypatch):
    """Rank 1 does not come: who waits for it gets a TimeoutError, and the stream goes on."""
    full = whole((6, 8))
    options = {"provider": "ipc", "blocking": True}
    redistribution = Redistribute(on_device(local(full, Slab.X)), Slab.X, Slab.Y, options=options)
    redistribution.plan()
    redistribution.execute()
    monkeypatch.setenv("PLANMATH_DISTRIBUTED_TIMEOUT", "0.4")
    if group().rank != 1:
        with pytest.raises(TimeoutError, match=r"Redistribute.execute\(\) \(call 2\): rank.* 1.* did not come"):
            redistribution.execute()
        with pytest.raises(RuntimeError, match="ended early"):
            redistribution.execute()
    monkeypatch.undo()
    group().allreduce_object(0, op=lambda a, b: a)
    redistribution.free()


def test_symmetric_memory():
    """Ordinary memory of the device."""
    if STANDIN:
        pytest.skip("CuPy's stand-in has no dtypes by name")
    array = distributed.allocate_symmetric_memory((4, 6), module(), dtype="float32")
    assert array.device.id == device_id()
    array[...] = 1
    assert on_host(array).sum() == np.float32(24)
    distributed.free_symmetric_memory(array)
