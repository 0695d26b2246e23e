"""Redistribution between any two distributions, and what is wrong with arguments, on all ranks."""

import itertools
import os
import pickle
import signal

import numpy as np
import pytest

import planmath.distributed as distributed
from planmath.core.collective.transports import messages as transports
from planmath.core.errors import UnavailableError
from planmath.distributed.distribution import (
    BindDistributionError,
    BlockCyclic,
    Box,
    ProcessGrid,
    Redistribute,
    Slab,
    redistribute,
)
from tests.distributed.ranks.arrays import all_distributions, group, local, messages, part, slab_box, whole


def providers():
    return ["mapped" if group().nranks > 1 else "copy", messages(), "broadcast"]


@pytest.mark.parametrize("shape", [(7,), (9, 5), (4, 6, 5), (3, 2, 4, 3)], ids=str)
@pytest.mark.parametrize("number", range(3))
def test_all_pairs(shape, number):
    provider = providers()[number]
    if messages() == "torch" and provider != "torch":
        pytest.skip("sends as ranks of MPI do")
    full = whole(shape, ("float64", "complex128", "float32")[number])
    pairs = list(itertools.product(all_distributions(shape), repeat=2))
    pairs = pairs[:: 1 + len(pairs) // (30 if number == 0 else 10)]
    for one, other in pairs:
        with Redistribute(local(full, one), one, other, options={"provider": provider}) as redistribution:
            redistribution.plan()
            for _ in range(2):
                result = redistribution.execute()
                assert np.array_equal(result, local(full, other)), (one, other)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float32", "complex64", "complex128"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_orders_and_dtypes(dtype, order):
    full = whole((6, 5, 7), dtype)
    result = redistribute(local(full, Slab.X, order), Slab.X, Slab.Z)
    assert np.array_equal(result, local(full, Slab.Z))
    assert result.flags[f"{order}_CONTIGUOUS"]


def test_gaps_and_any_order_of_axes():
    full = whole((6, 5, 7))
    mine = local(full, Slab.Y)
    padded = np.full((mine.shape[2] + 1, mine.shape[0], mine.shape[1] + 3), np.nan).transpose(1, 2, 0)
    operand = padded[:, : mine.shape[1], : mine.shape[2]]
    operand[...] = mine
    result = redistribute(operand, Slab.Y, Slab.X)
    assert np.array_equal(result, local(full, Slab.X))
    sizes = [step for n, step in zip(result.shape, result.strides, strict=True) if n > 1]
    assert len(sizes) < 3 or result.transpose(2, 0, 1).flags.c_contiguous


def test_torch(torch):
    full = whole((6, 5, 7))
    mine = torch.from_numpy(local(full, Slab.X)).to(torch.bfloat16)
    result = redistribute(mine, Slab.X, Slab.Y)
    assert result.dtype is torch.bfloat16
    assert torch.equal(result, torch.from_numpy(local(full, Slab.Y)).to(torch.bfloat16))


def test_reset_out_and_states():
    full = whole((6, 8))
    one, other = local(full, Slab.X), local(2 * full, Slab.X)
    with Redistribute(one, Slab.X, Slab.Y) as redistribution:
        with pytest.raises(RuntimeError, match="call plan"):
            redistribution.execute()
        redistribution.plan()
        out = redistribution.empty_result()
        assert redistribution.execute(out=out) is out
        assert np.array_equal(out, local(full, Slab.Y))
        redistribution.reset_operand(other)
        assert np.array_equal(redistribution.execute(), local(2 * full, Slab.Y))
        with pytest.raises(ValueError, match="shape"):
            redistribution.reset_operand(np.zeros((99, 8)))
        if group().nranks == 1:
            with pytest.raises(ValueError, match="shares memory"):
                redistribution.execute(out=other)
        redistribution.release_operand()
        with pytest.raises(RuntimeError, match="reset_operand"):
            redistribution.execute()
        redistribution.reset_operand(one)
        assert np.array_equal(redistribution.execute(), local(full, Slab.Y))
        assert f"rank {group().rank} of {group().nranks}" in redistribution.report()
    with pytest.raises(RuntimeError, match="free"):
        redistribution.execute()


def test_autotune():
    full = whole((16, 24, 8))
    with Redistribute(local(full, Slab.X), Slab.X, Slab.Y) as redistribution:
        redistribution.plan()
        redistribution.autotune(iterations=3)
        chosen = str(redistribution._plan_made.chosen)
        assert group().allreduce_object([chosen], op=lambda a, b: a + b) == [chosen] * group().nranks
        assert len(redistribution._plan_made.measurements) >= 2
        assert np.array_equal(redistribution.execute(), local(full, Slab.Y))


def test_ctrl_c_on_one_rank_ends_autotuning_on_all(monkeypatch):
    full, times = whole((16, 24, 8)), Redistribute._times

    def interrupted(self, *arguments):
        if group().rank == group().nranks - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return times(self, *arguments)

    monkeypatch.setattr(Redistribute, "_times", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background processes lack
    with Redistribute(local(full, Slab.X), Slab.X, Slab.Y) as redistribution:
        redistribution.plan()
        with pytest.raises(KeyboardInterrupt):
            redistribution.autotune(iterations=1)
        plan = redistribution._plan_made
        assert plan.origin == "autotuning", "what was measured is kept"
        assert (len(plan.measurements), bool(plan.missed)) == (1, True)
        assert np.array_equal(redistribution.execute(), local(full, Slab.Y))
    signal.signal(signal.SIGINT, before)


def test_operations_of_several_ranks_stay_in_their_processes():
    told = r"Redistribute cannot be copied or pickled: .* create it on all ranks"
    redistribution = Redistribute(local(whole((6, 8)), Slab.X), Slab.X, Slab.Y)
    with redistribution, pytest.raises(TypeError, match=told):
        pickle.dumps(redistribution)


def wrong(name, torch):
    """Arguments of which one is wrong on the last rank alone."""
    full = whole((6, 8))
    tensor = torch.from_numpy(local(full, Slab.X))
    arguments = {"operand": local(full, Slab.X), "one": Slab.X, "other": Slab.Y, "options": {}}
    if group().rank == group().nranks - 1:
        arguments |= {
            "dtype": {"operand": local(full, Slab.X).astype("float32")},
            "array": {"operand": [1.0]},
            "ndim": {"operand": np.zeros((2, 2, 2))},
            "shape": {"operand": np.zeros((9, 9))},
            "distribution": {"other": Slab.X},
            "no distribution": {"one": "X"},
            "option": {"options": {"blocking": False}},
            "unknown option": {"options": {"blokking": True}},
            "byte order": {"operand": local(full, Slab.X).astype(">f8")},
            "package": {"operand": tensor},
            "provider": {"options": {"provider": "broadcast"}},
        }[name]
    return arguments


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("dtype", ValueError, "the dtype of operand differs"), ("array", TypeError, "expected a numpy.ndarray"),
        ("ndim", ValueError, "axes"), ("shape", BindDistributionError, "local array operand of rank"),
        ("distribution", ValueError, "output_distribution differs"),
        ("no distribution", TypeError, "input_distribution"),
        ("option", ValueError, "blocking"), ("unknown option", TypeError, "blokking"),
        ("byte order", TypeError, "byte"),
        ("package", ValueError, "package of operand differs"), ("provider", ValueError, "options.provider differs"),
    ],
)  # fmt: skip
def test_one_wrong_rank(name, kind, says, torch):
    arguments = wrong(name, torch)
    with pytest.raises(kind, match=says) as caught:
        Redistribute(arguments["operand"], arguments["one"], arguments["other"], options=arguments["options"])
    assert type(caught.value) is kind
    texts = group().allreduce_object([str(caught.value)], op=lambda a, b: a + b)
    assert len(set(texts)) == 1


def test_unknown_provider_and_boxes():
    full = whole((12, 8))
    with pytest.raises(ValueError, match="provider 'mappd' does not exist: did you mean 'mapped'"):
        redistribute(local(full, Slab.X), Slab.X, Slab.Y, options={"provider": "mappd"})
    other = "torch" if messages() == "mpi" else "mpi"
    with pytest.raises(UnavailableError, match="the group is a"):
        redistribute(local(full, Slab.X), Slab.X, Slab.Y, options={"provider": other})
    if group().nranks > 1:
        box = slab_box((12, 8), 0)
        overlapping = Box([0, 0], [box.upper[0] - box.lower[0], 8])
        with pytest.raises(ValueError, match="elements together"):
            redistribute(part(full, overlapping.section(group().rank, (12, 8))), overlapping, Slab.Y)
        with pytest.raises(ValueError, match="span an array of shape"):
            redistribute(local(full, Slab.X), Slab.X, Box(box.lower, [*box.upper[:1], 9]))


@pytest.mark.ranks(2)
def test_plan_that_fails_on_one_rank():
    redistribution = Redistribute(local(whole((6, 8)), Slab.X), Slab.X, Slab.Y)
    if group().rank == 1:
        redistribution.release_operand()
    with pytest.raises(RuntimeError, match="released"):
        redistribution.plan()
    redistribution.free()


@pytest.mark.ranks(2)
def test_memory_that_is_too_small(monkeypatch, caplog):
    """Where a receive buffer does not fit into /dev/shm on one rank, messages take over on all, and the log says so."""
    import os

    def full_disk(descriptor, offset, size):
        raise OSError(28, "No space left on device")

    if group().rank == 1:
        monkeypatch.setattr(os, "posix_fallocate", full_disk)
    full = whole((6, 8))
    with Redistribute(local(full, Slab.X), Slab.X, Slab.Y) as redistribution, caplog.at_level("INFO"):
        redistribution.plan()
        assert "Passed over mapped: a receive buffer of" in caplog.text
        assert redistribution._plan_made.chosen.provider == messages()
        assert "does not fit into /dev/shm" in redistribution.report()
        assert np.array_equal(redistribution.execute(), local(full, Slab.Y))


@pytest.mark.mpi
@pytest.mark.ranks(2)
def test_messages_that_an_int_cannot_count(monkeypatch):
    """On one rank alone: none takes that way."""
    right, last = transports.check_size, group().rank == group().nranks - 1
    size = 1 << 31 if last else 0
    monkeypatch.setattr(transports, "check_size", lambda _, version: right(size, (3, 1)))
    options = {"provider": "mpi"}
    with pytest.raises(UnavailableError, match=r"receives 2147483648 bytes at once, and MPI 3\.1 counts"):
        redistribute(local(whole((6, 8)), Slab.X), Slab.X, Slab.Y, options=options)


@pytest.mark.ranks(2)
def test_check_mode_tells_of_other_calls(monkeypatch):
    full = whole((6, 8))
    with Redistribute(local(full, Slab.X), Slab.X, Slab.Y, options={"check": True}) as redistribution:
        redistribution.plan()
        redistribution.execute()
        with pytest.raises(ValueError, match=r"different calls: .*execute.* on rank 0; .*reset_operand"):
            redistribution.execute() if group().rank == 0 else redistribution.reset_operand(local(full, Slab.X))
        with pytest.raises(ValueError, match="shape"):
            redistribution.reset_operand(np.zeros((1, 1)) if group().rank else local(full, Slab.X))


@pytest.mark.mpi
@pytest.mark.ranks(2)
@pytest.mark.parametrize("provider", ["mapped", "mpi"])
def test_deadline_names_call_and_missing_ranks(provider, monkeypatch):
    """Rank 1 comes late: the others get a TimeoutError."""
    from mpi4py import MPI

    monkeypatch.setenv("PLANMATH_DISTRIBUTED_TIMEOUT", "0.4")
    communicator = MPI.COMM_WORLD.Dup()
    distributed.finalize()
    distributed.initialize(0, communicator, ["nccl"])
    try:
        full = whole((6, 8))
        redistribution = Redistribute(local(full, Slab.X), Slab.X, Slab.Y, options={"provider": provider})
        redistribution.plan()
        redistribution.execute()
        if group().rank != 1:
            with pytest.raises(TimeoutError, match=r"Redistribute.execute\(\)") as caught:
                redistribution.execute()
            if provider == "mapped":
                assert "rank 1 did not come" in str(caught.value)
                with pytest.raises(RuntimeError, match="ended early"):
                    redistribution.execute()
        redistribution.free()
        MPI.COMM_WORLD.Barrier()
    finally:
        distributed.finalize()
        distributed.initialize(0, MPI.COMM_WORLD, ["nccl", "nvshmem"])


def test_grid_of_more_ranks():
    with pytest.raises(ValueError, match="product"):
        ProcessGrid(shape=(group().nranks + 1, 1))
    with pytest.raises(ValueError, match="block_sizes"):
        BlockCyclic(ProcessGrid(shape=(group().nranks, 1)), (0, 1))
