"""Distributed arrays for tests: every rank makes the same whole array, and takes its part."""

import itertools

import numpy as np

import planmath.distributed as distributed
from planmath.core.collective.sections import shape_of
from planmath.distributed import MPIProcessGroup
from planmath.distributed.distribution import BlockCyclic, BlockNonCyclic, Box, ProcessGrid, Slab


def group():
    return distributed.get_context().process_group


def messages():
    """The transport by messages that the group has."""
    return "mpi" if isinstance(group(), MPIProcessGroup) else "torch"


def whole(shape, dtype="float64", seed=0):
    """The same random array on all ranks."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return (values * 100 if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def indices(index_set):
    return np.concatenate([np.arange(0), *[np.arange(*of) for of in index_set]]).astype(int)


def part(full, section, order="C"):
    """A rank's part of a whole array."""
    return np.array(full[np.ix_(*[indices(of) for of in section])], order=order)


def local(full, distribution, order="C", rank=None):
    """This rank's part of a whole array."""
    rank = group().rank if rank is None else rank
    result = part(full, distribution.section(rank, full.shape), order)
    assert result.shape == shape_of(distribution.section(rank, full.shape))
    return result


def grids(ndim, nranks):
    """All grids of so many axes."""
    for shape in itertools.product(range(1, nranks + 1), repeat=ndim):
        if int(np.prod(shape)) == nranks:
            yield ProcessGrid(shape=shape, layout=ProcessGrid.Layout.ROW_MAJOR)
            if sum(n > 1 for n in shape) > 1:
                yield ProcessGrid(shape=shape, layout=ProcessGrid.Layout.COL_MAJOR)


def all_distributions(shape):
    """Distributions of every kind of arrays of a shape."""
    nranks = group().nranks
    yield from (Slab(axis) for axis in range(len(shape)))
    for grid in grids(len(shape), nranks):
        yield BlockNonCyclic(grid)
        yield BlockCyclic(grid, (2, 3, 1, 2)[: len(shape)])
        last = tuple(n - 1 for n in grid.shape)
        yield BlockCyclic(grid, (1,) * len(shape), first_process=last)
    box = slab_box(shape, len(shape) - 1)
    if box is not None:
        yield box


def slab_box(shape, axis):
    """This rank's box where an axis is cut unevenly; None where there are more ranks than indices."""
    nranks, rank = group().nranks, group().rank
    if shape[axis] < nranks:
        return None
    cuts = [0, *(shape[axis] - nranks + k for k in range(1, nranks)), shape[axis]]
    lower, upper = [0] * len(shape), list(shape)
    lower[axis], upper[axis] = cuts[rank], cuts[rank + 1]
    return Box(lower, upper)
