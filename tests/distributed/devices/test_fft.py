"""Transforms of arrays on CUDA devices, against one process's."""

import numpy as np
import pytest

from planmath.bindings import runtime
from planmath.core.cuda import devices
from planmath.distributed.distribution import Slab
from planmath.distributed.fft import FFT, allocate_operand, fft, irfft, rfft
from planmath.distributed.fft import pipeline as pipelines
from tests.distributed.devices.arrays import (
    PACKAGES,
    PROVIDERS,
    STANDIN,
    assert_close,
    device_id,
    module,
    on_device,
)
from tests.distributed.ranks.arrays import group, local, whole

TOLERANCE = {"complex64": 1e-5, "complex128": 1e-13, "float32": 1e-5, "float64": 1e-13}


@pytest.fixture(params=[False, True], ids=["whole", "pieces"])
def piecewise(request, monkeypatch):
    """Whether messages leave in pieces, small as they are."""
    monkeypatch.setattr(pipelines, "PIECE", 1 if request.param else 1 << 40)
    return request.param


def operand_with(full, distribution, package="cupy", dtype="complex128", fft_type=None):
    """An operand with its part of an array, in a buffer that holds the result as well."""
    runtime.set_device(device_id())
    space = {"memory_space": "cuda"} if package == "torch" else {}
    mine = local(full, distribution).astype(dtype)
    operand = allocate_operand(
        mine.shape, module(package), input_dtype=np.dtype(dtype) if package != "torch" else dtype,
        distribution=distribution, fft_type=fft_type, **space,
    )  # fmt: skip
    operand[...] = on_device(mine, package)
    runtime.device_synchronize()
    return operand


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("redistribute", [True, False])
def test_there_and_back(package, redistribute, piecewise):
    for number, shape in enumerate([(24, 9), (17, 8, 10), (16, 9, 5, 4)]):
        nccl = min(number, 1) if group().nranks <= devices.count() else 2
        provider = "copy" if group().nranks == 1 else PROVIDERS[(0, nccl, 2)[number] if not piecewise else 0]
        dtype = ("complex64", "complex128", "complex128")[number]
        full = whole(shape, dtype)
        options = {"redistribute": redistribute, "provider": provider}
        one, other = Slab.X, Slab.X if redistribute else Slab.Y
        expected = np.fft.fftn(full)
        operand = operand_with(full, one, package, dtype)
        with FFT(operand, distribution=one, options=options) as transform:
            transform.plan()
            result = transform.execute(direction="forward")
            assert_close(result, local(expected, other), TOLERANCE[dtype])
            transform.reset_operand(result, distribution=other)
            back = transform.execute(direction="inverse")
            assert_close(back, local(full * full.size, one), TOLERANCE[dtype])
            sent = [step for step in transform._pipeline().steps if isinstance(step, pipelines.Send)]
            assert any(step.pieces is not None for step in sent) == (piecewise and group().nranks > 1)
            # one exchange between slabs, of which the last transform takes what is there
            if piecewise and not redistribute and number == 1 < group().nranks:
                assert any(step.then is not None for step in sent)


@pytest.mark.parametrize("parity", ["even", "odd"])
@pytest.mark.parametrize("distribution", [Slab.X, Slab.Y], ids=["X", "Y"])
def test_real(parity, distribution, piecewise):
    n = 10 if parity == "even" else 9
    full = whole((8, 6, n), "float64")
    spectrum = np.fft.rfftn(full)
    operand = operand_with(full, distribution, dtype="float64", fft_type="R2C")
    assert_close(rfft(operand, distribution=distribution), local(spectrum, distribution), 1e-13)
    operand = operand_with(spectrum, distribution, dtype="complex128", fft_type="C2R")
    options = {"last_axis_parity": parity}
    result = irfft(operand, distribution=distribution, options=options)
    assert_close(result, local(full * full.size, distribution), 1e-13)


def test_again_and_again_with_other_operands():
    """The receive buffers are used anew while peers may still be at the execution before."""
    shape, dtype = (16, 12, 8), "complex64"
    fulls = [whole(shape, dtype, seed) for seed in range(3)]
    operands = [operand_with(full, Slab.X, dtype=dtype) for full in fulls]
    with FFT(operands[0], distribution=Slab.X, options={"redistribute": True}) as transform:
        transform.plan()
        transform.execute()
        for operand in operands[1:]:
            transform.reset_operand(operand, distribution=Slab.X)
            transform.execute()
        for _ in range(3):
            transform.execute(direction="inverse")
            transform.execute(direction="forward")
    for number, (full, operand) in enumerate(zip(fulls, operands, strict=True)):
        factor = full.size**3 if number == 2 else 1
        assert_close(operand, local(np.fft.fftn(full.astype("complex128")), Slab.X) * factor, 1e-4)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("which", ["pieces", "then"])
def test_a_transform_that_fails_on_one_rank(which, monkeypatch):
    """Before all is sent, it breaks the object on all ranks, with words; afterwards all can go on."""
    monkeypatch.setattr(pipelines, "PIECE", 1)
    full = whole((16, 16, 4), "complex64")
    spectrum = local(np.fft.fftn(full), Slab.Y)
    operand = operand_with(full, Slab.X, dtype="complex64")
    options = {"provider": "ipc", "redistribute": False, "blocking": True}
    with FFT(operand, distribution=Slab.X, options=options) as transform:
        transform.plan()
        steps = transform._pipeline().steps
        send = next(step for step in steps if isinstance(step, pipelines.Send))
        step, right = getattr(send, which), getattr(send, which)._work

        def fails(*arguments):
            monkeypatch.setattr(step, "_work", right)
            raise MemoryError("no room")

        if group().rank == 0:
            monkeypatch.setattr(step, "_work", fails)
            with pytest.raises(MemoryError, match="no room"):
                transform.execute()
        elif which == "then":
            assert_close(transform.execute(), spectrum, 1e-5)
        if which == "then":
            operand[...] = on_device(local(full, Slab.X).astype("complex64"))
            assert_close(transform.execute(), spectrum, 1e-5)
            return
        group().allreduce_object(0, op=lambda a, b: a)
        if group().rank == 0:
            with pytest.raises(RuntimeError, match=r"ended early on rank 0.*no room"):
                transform.execute()
        else:  # long before the deadline
            with pytest.raises(RuntimeError, match=r"ended early on rank 0 in FFT\.execute"):
                transform.execute()
            with pytest.raises(RuntimeError, match=f"ended early on rank {group().rank}"):
                transform.execute()
        group().allreduce_object(0, op=lambda a, b: a)


@pytest.mark.ranks(2)
def test_a_transform_that_fails_between_two_exchanges():
    """The others learn of it, long before the deadline."""
    full = whole((8, 8, 4), "complex64")
    operand = operand_with(full, Slab.X, dtype="complex64")
    with FFT(operand, distribution=Slab.X, options={"provider": "ipc", "blocking": True}) as transform:
        transform.plan()
        steps = transform._pipeline().steps
        first, last = (k for k, step in enumerate(steps) if isinstance(step, pipelines.Send))
        (between,) = (step for step in steps[first:last] if isinstance(step, pipelines.Local))

        def fails(*arguments):
            raise MemoryError("no room")

        if group().rank == 0:
            between._work = fails
        kind, says = (MemoryError, "no room") if group().rank == 0 else (RuntimeError, "ended early on rank 0")
        with pytest.raises(kind, match=says):
            transform.execute()
        vars(between).pop("_work", None)
        with pytest.raises(RuntimeError, match=f"ended early on rank {group().rank}"):
            transform.execute()


def test_stream():
    full = whole((8, 12, 6), "complex64")
    stream = runtime.stream_create_with_flags(1)
    operand = operand_with(full, Slab.X, dtype="complex64")
    result = fft(operand, distribution=Slab.X, stream=stream)
    runtime.stream_synchronize(stream)
    assert_close(result, local(np.fft.fftn(full), Slab.X), 1e-5)


def test_report():
    full = whole((8, 12, 6), "complex64")
    with FFT(operand_with(full, Slab.X, dtype="complex64"), distribution=Slab.X) as transform:
        transform.plan()
        assert ("ipc" if STANDIN and group().nranks > 1 else "") in transform.report()
