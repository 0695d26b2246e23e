"""Distributions: shapes, conversions and errors, of ranks that need not be there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planmath.core.collective.sections import shape_of
from planmath.distributed import ProcessGroup, SingleProcessGroup, finalize, get_context, initialize, runtime
from planmath.distributed.distribution import (
    BindDistributionError,
    BlockCyclic,
    BlockNonCyclic,
    Box,
    ConvertDistributionError,
    Distribution,
    ProcessGrid,
    Slab,
)
from planmath.distributed.distribution.placement import place, placed, placed_boxes
from tests.distributed.conftest import Named

ROW, COL = ProcessGrid.Layout.ROW_MAJOR, ProcessGrid.Layout.COL_MAJOR


@pytest.fixture
def four(as_rank):
    as_rank(1, 4)


def bound(distribution, shape):
    distribution._bind(shape)
    return distribution


def test_block_cyclic_shapes(four):
    grid = ProcessGrid(shape=(2, 2), layout=ROW)
    shapes = [BlockCyclic(grid, (3, 2)).shape(rank, (10, 9)) for rank in range(4)]
    assert shapes == [(6, 5), (6, 4), (4, 5), (4, 4)]
    moved = BlockCyclic(grid, (3, 2), first_process=(1, 0))
    assert [moved.shape(rank, (10, 9)) for rank in range(4)] == [(4, 5), (4, 4), (6, 5), (6, 4)]


def test_slab_shapes(four):
    assert [Slab.X.shape(rank, (10, 3)) for rank in range(4)] == [(3, 3), (3, 3), (2, 3), (2, 3)]
    assert Slab.Y.shape(3, (10, 3)) == (10, 0)
    assert Slab(3).shape(0, (1, 1, 1, 4, 2)) == (1, 1, 1, 1, 2)
    assert (Slab.X.name, Slab.Z.partition_dim, Slab(3).name) == ("X", 2, "3")


@settings(max_examples=100)
@given(
    st.sampled_from([(1,), (2,), (3, 2), (2, 2), (1, 5), (2, 1, 3)]), st.booleans(), st.data(),
)  # fmt: skip
def test_blocks_make_up_the_array(shape, row_major, data):
    """By a count of owners, index by index, after ScaLAPACK's rule."""
    nranks = int(np.prod(shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "_context", runtime.DistributedContext(0, Named(0, nranks)))
        grid = ProcessGrid(shape=shape, layout=ROW if row_major else COL)
        extents = tuple(data.draw(st.integers(0, 11)) for _ in shape)
        sizes = tuple(data.draw(st.integers(1, 5)) for _ in shape)
        first = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
        distribution = BlockCyclic(grid, sizes, first_process=first)
        owners = np.full(extents, -1)
        for rank in range(nranks):
            axes = [np.concatenate([np.arange(0), *[np.arange(*of) for of in axis]]).astype(int)
                    for axis in distribution.section(rank, extents)]  # fmt: skip
            owners[np.ix_(*axes)] = rank
            assert distribution.shape(rank, extents) == tuple(map(len, axes))
        for index in np.ndindex(*extents):
            numbers = [(i // b + f) % n for i, b, f, n in zip(index, sizes, first, shape, strict=True)]
            expected = np.ravel_multi_index(numbers, shape, order="C" if row_major else "F")
            assert owners[index] == expected
        found = place("x", distribution, [distribution.shape(rank, extents) for rank in range(nranks)], [()] * nranks)
        assert found.global_shape == extents
        assert [shape_of(of) for of in found.sections] == [distribution.shape(rank, extents) for rank in range(nranks)]


def test_grids(four):
    assert ProcessGrid(shape=(2, 2), layout=ROW).coordinates(1) == (0, 1)
    assert ProcessGrid(shape=(2, 2), layout=COL).coordinates(1) == (1, 0)
    assert ProcessGrid(shape=(1, 4)).layout is ROW
    assert ProcessGrid(shape=(4, 1), layout=ROW) == ProcessGrid(shape=(4, 1), layout=COL)
    assert ProcessGrid(shape=(2, 2), layout=ROW) != ProcessGrid(shape=(2, 2), layout=COL)
    assert ProcessGrid(process_array=[[0, 1], [2, 3]]) == ProcessGrid(shape=(2, 2), layout=ROW)
    odd = ProcessGrid(process_array=[[3, 0], [1, 2]])
    assert odd.coordinates(3) == (0, 0)
    assert "process_array" in repr(odd)


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: ProcessGrid(shape=(2, 3), layout=ROW), ValueError, "product"),
        (lambda: ProcessGrid(shape=(2, 2)), ValueError, "layout was not given"),
        (lambda: ProcessGrid(shape=(2, 2), layout=1), TypeError, "Layout"),
        (lambda: ProcessGrid(), ValueError, "neither"),
        (lambda: ProcessGrid(process_array=[[0, 1], [2, 2]]), ValueError, "each rank"),
        (lambda: ProcessGrid(shape=(4,), process_array=[[0, 1], [2, 3]]), ValueError, "shape"),
        (lambda: ProcessGrid(process_array=[0, 1, 2, 3], layout=ROW), NotImplementedError, "leave one"),
        (lambda: Slab(-1), ValueError, "partition_dim"), (lambda: Slab(1, ndim=1), ValueError, "ndim"),
        (lambda: Box((0, 0), (0, 2)), ValueError, "above"), (lambda: Box((0,), (1, 2)), ValueError, "as many"),
        (lambda: Box((0.0,), (1,)), ValueError, "integers"),
        (lambda: BlockCyclic(ProcessGrid(shape=(4, 1)), (2,)), ValueError, "block_sizes"),
        (lambda: BlockCyclic("grid", (2,)), TypeError, "ProcessGrid"),
        (lambda: BlockNonCyclic(ProcessGrid(shape=(4, 1)), first_process=(4, 0)), ValueError, "first_process"),
        (lambda: Slab.X.shape(4, (3,)), ValueError, "rank is 4"),
        (lambda: Slab.X.shape(True, (3,)), ValueError, "rank"),
        (lambda: Slab.X.shape(0), RuntimeError, "global_shape"),
        (lambda: bound(Slab(0), (3, 3)).shape(0, (4, 4)), ValueError, "belongs to an array"),
        (lambda: Box((0,), (2,)).shape(0, (8,)), RuntimeError, "box of rank 1"),
        (lambda: Box((0,), (2,)).shape(1), RuntimeError, "global_shape"),
        (lambda: bound(bound(Slab(0), (3,)), (3,)), BindDistributionError, "already"),
        (lambda: Slab(0)._bind((8,), (5,)), BindDistributionError, "expected \\(2,\\)"),
        (lambda: Box((0,), (2,))[2], IndexError, "range"),
    ],
)  # fmt: skip
def test_errors(four, make, kind, says):
    with pytest.raises(kind, match=says) as caught:
        make()
    assert type(caught.value) is kind


def test_boxes(four):
    lower, upper = Box((0, 2), (4, 4))
    assert (lower, upper) == ((0, 2), (4, 4))
    assert Box((0,), (2,)) == Box([0], [2])
    assert len({Box((0,), (2,)), Box((0,), (2,)), Slab.X, Slab(0, 3)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(BlockNonCyclic(ProcessGrid(shape=(4, 1))))
    assert placed_boxes([(-1, 0, 2, 3), (2, 0, 4, 3)]).global_shape == (5, 3)
    with pytest.raises(ValueError, match="without overlap"):
        place("x", Box((0,), (2,)), [(2,), (2,)], [(0, 2), (1, 3)])


C, N = ConvertDistributionError, NotImplementedError
CYCLIC = lambda: BlockCyclic(ProcessGrid(shape=(4, 1)), (2, 5))  # noqa: E731
TWO = lambda: BlockCyclic(ProcessGrid(shape=(2, 2), layout=ROW), (2, 2))  # noqa: E731
PLAIN = lambda: BlockNonCyclic(ProcessGrid(shape=(1, 4)))  # noqa: E731
#: What is converted, with the shape it belongs to, to what: the result or the exception.
CONVERSIONS = [
    (lambda: Slab(0), None, Slab, Slab(0)), (lambda: Slab(0), None, Box, C), (lambda: Slab(0), None, BlockCyclic, C),
    (lambda: Slab(0), (8, 5), Box, Box((2, 0), (4, 5))), (lambda: Slab(0), (8, 5), BlockNonCyclic, BlockNonCyclic),
    (lambda: Slab(0), (8, 5), BlockCyclic, BlockNonCyclic), (lambda: Slab(0), (9, 5), BlockCyclic, N),
    (lambda: Slab(0, 2), None, BlockNonCyclic, BlockNonCyclic), (lambda: Slab(0, 2), None, Box, C),
    (lambda: Box((0,), (2,)), None, Slab, N), (lambda: Box((0,), (2,)), None, BlockCyclic, N),
    (lambda: Box((0,), (2,)), None, Box, Box((0,), (2,))),
    (CYCLIC, None, Slab, C), (CYCLIC, (8, 5), Slab, Slab(0)), (CYCLIC, (16, 5), Slab, C), (CYCLIC, (9, 5), Slab, C),
    (CYCLIC, None, Box, N), (CYCLIC, (8, 5), Box, Box((2, 0), (4, 5))), (CYCLIC, (16, 5), Box, N),
    (CYCLIC, (8, 5), BlockNonCyclic, N), (CYCLIC, None, BlockCyclic, BlockCyclic), (TWO, (4, 4), Slab, C),
    (PLAIN, None, Slab, Slab(1)), (PLAIN, (3, 8), Slab, Slab(1)), (PLAIN, None, Box, N),
    (PLAIN, (3, 8), Box, Box((0, 2), (3, 4))),
    (PLAIN, None, BlockCyclic, BlockNonCyclic), (PLAIN, None, BlockNonCyclic, BlockNonCyclic),
    (lambda: BlockNonCyclic(ProcessGrid(shape=(2, 2), layout=ROW)), None, Slab, C),
    (lambda: BlockNonCyclic(ProcessGrid(shape=(2, 2), layout=ROW)), (4, 4), Box, N),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CONVERSIONS)))
def test_conversions(four, number):
    make, shape, to, expected = CONVERSIONS[number]
    source = make() if shape is None else bound(make(), shape)
    if isinstance(expected, type) and issubclass(expected, Exception):
        with pytest.raises(expected) as caught:
            source.to(to)
        assert type(caught.value) is expected
        return
    result = source.to(to)
    assert isinstance(result, to)
    assert type(result) is expected if isinstance(expected, type) else result == expected
    assert (result is source) == isinstance(source, to)
    if shape is not None:
        assert result.shape(1, shape) == source.shape(1, shape)


def test_more_axes_and_copies(four):
    assert Slab(1).to(Slab, ndim=3) == Slab(1, 3)
    assert bound(Slab(0), (8, 5)).to(Box, ndim=3) == Box((2, 0, 0), (4, 5, 1))
    assert Box((0,), (2,)).to(Box, ndim=2) == Box((0, 0), (2, 1))
    wide = bound(CYCLIC(), (9, 5)).to(BlockCyclic, ndim=3)
    assert wide.shape(0, (9, 5, 1)) == (3, 5, 1)
    with pytest.raises(ValueError, match="ndim is 1"):
        Box((0, 0), (2, 2)).to(Box, ndim=1)
    for wrong in (Distribution, int, "Slab"):
        with pytest.raises(ValueError, match="cls"):
            Slab.X.to(wrong)
    copied = Slab.X.to(Slab, copy=True)
    assert copied == Slab.X
    assert copied is not Slab.X
    assert placed(BlockNonCyclic(ProcessGrid(shape=(4, 1))), (6, 1), 4).sections[3] == (((5, 6),), ((0, 1),))


class TestRuntime:
    def test_order_of_checks(self):
        group = SingleProcessGroup()
        for arguments, kind, says in (
            (("0", None, []), TypeError, "device_id"), ((0, None, ["nvl"]), ValueError, "backend 'nvl'"),
            ((0, None, []), ValueError, "empty"), ((0, None, ["nccl"]), ValueError, "process_group is None"),
            ((0, 5, ["nccl"]), TypeError, "process_group is a int"),
        ):  # fmt: skip
            with pytest.raises(kind, match=says):
                initialize(*arguments)
        initialize(True, group, ("nccl", "nvshmem"))
        try:
            with pytest.raises(RuntimeError, match="before"):
                initialize(0, group, ["nccl"])
            context = get_context()
            assert (context.device_id, context.process_group, context.nccl_comm) == (1, group, None)
            with pytest.raises(AttributeError):
                context.device_id = 2
        finally:
            finalize()
        finalize()
        assert get_context() is None
        with pytest.raises(RuntimeError, match="not initialized"):
            ProcessGrid(shape=(1,))
        with pytest.raises(RuntimeError, match="not initialized"):
            Slab.X.shape(0, (3,))

    def test_group_is_abstract(self):
        with pytest.raises(TypeError, match="abstract"):
            ProcessGroup()

    def test_collectives_of_one(self):
        group = SingleProcessGroup()
        array = np.arange(3.0)
        group.allreduce_buffer(array, op=0)
        group.broadcast_buffer(array)
        assert array.tolist() == [0, 1, 2]
        for wrong, kind in (([1.0], TypeError), (np.arange(6)[::2], ValueError)):
            with pytest.raises(kind):
                group.allreduce_buffer(wrong, op=0)
        with pytest.raises(ValueError, match="root is 1"):
            group.broadcast_buffer(array, root=1)
