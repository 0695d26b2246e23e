"""The groups' collectives, and memory of equal size, on all ranks."""

import numpy as np
import pytest

from planmath.distributed import MPIProcessGroup, allocate_symmetric_memory, free_symmetric_memory
from planmath.distributed.process_group import ReductionOp
from tests.distributed.ranks.arrays import group


def test_collectives():
    rank, n = group().rank, group().nranks
    array = np.array([rank, -rank, 5], np.int64)
    for op, expected in (
        (ReductionOp.SUM, [n * (n - 1) // 2, -n * (n - 1) // 2, 5 * n]), (ReductionOp.MIN, [0, 1 - n, 5]),
        (ReductionOp.MAX, [n - 1, 0, 5]),
    ):  # fmt: skip
        copy = array.copy()
        group().allreduce_buffer(copy, op=op)
        assert copy.tolist() == expected
    array = np.full(3, rank, "complex64")
    group().broadcast_buffer(array, root=n - 1)
    assert (array == n - 1).all()
    objects = group().allreduce_object([("x" * 5000 * rank, rank)], op=lambda a, b: a + b)
    assert [number for _, number in objects] == list(range(n))
    assert all(len(text) == 5000 * number for text, number in objects)


@pytest.mark.mpi
def test_wrong_communicators():
    from mpi4py import MPI

    with pytest.raises(TypeError, match="communicator"):
        MPIProcessGroup(5)
    with pytest.raises(ValueError, match="null"):
        MPIProcessGroup(MPI.COMM_NULL)


def test_symmetric_memory(torch):
    rank = group().rank
    a = allocate_symmetric_memory((3, 4), torch, dtype=torch.float32, axis_order="F")
    assert a.stride() == (1, 3)
    assert allocate_symmetric_memory(5, torch).dtype is torch.get_default_dtype()
    assert allocate_symmetric_memory((2, 3, 4), torch, axis_order=(1, 0, 2)).stride() == (3, 1, 6)
    if group().nranks > 1:
        with pytest.raises(ValueError, match="bytes; expected the same"):
            allocate_symmetric_memory(rank + 1, torch)
        b = allocate_symmetric_memory(rank + 1, torch, dtype="float64", make_symmetric=True)
        assert b.shape == (rank + 1,)
        assert b.untyped_storage().nbytes() == 8 * group().nranks
        with pytest.raises(ValueError, match="shape is"):
            allocate_symmetric_memory((-1,) if rank else (1,), torch)
    with pytest.raises(ValueError, match="package"):
        allocate_symmetric_memory(3, np)
    with pytest.raises(ValueError, match="both"):
        allocate_symmetric_memory(3, torch, make_symmetric=True, skip_symmetric_check=True)
    with pytest.raises(RuntimeError, match="view"):
        free_symmetric_memory(a[:, 1:])
    with pytest.raises(RuntimeError, match="view"):
        free_symmetric_memory(a[:1])
    with pytest.raises(TypeError, match="ndarray"):
        free_symmetric_memory(np.zeros(3))
    free_symmetric_memory(a)
    with pytest.raises(RuntimeError, match="freed"):
        free_symmetric_memory(a)
