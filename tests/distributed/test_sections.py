"""The algebra of index sets, and the copies between products of them, for up to 12 ranks in one process."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from planmath.core.collective import sections
from planmath.core.collective.exchange import Moves, Traffic
from planmath.core.collective.spaces import HOST, section_copy


def indices(index_set):
    return np.concatenate([np.arange(0), *[np.arange(*of) for of in index_set]]).astype(int)


@st.composite
def axis_cuts(draw, extent, parts):
    """Index sets of `parts` ranks that make up an axis."""
    kind = draw(st.sampled_from(["even", "cyclic", "ragged"]))
    if kind == "even":
        return [sections.part(extent, parts, k) for k in range(parts)]
    if kind == "cyclic":
        block, first = draw(st.integers(1, 4)), draw(st.integers(0, parts - 1))
        return [sections.cyclic(extent, block, parts, k, first) for k in range(parts)]
    cuts = sorted(draw(st.lists(st.integers(0, extent), min_size=parts - 1, max_size=parts - 1)))
    return [sections.interval(a, b) for a, b in zip([0, *cuts], [*cuts, extent], strict=True)]


@st.composite
def distributions(draw, shape, nranks):
    """Sections of all ranks: a grid over the axes."""
    grid, left = [], nranks
    for _ in shape[:-1]:
        grid.append(draw(st.sampled_from([n for n in range(1, left + 1) if left % n == 0])))
        left //= grid[-1]
    grid.append(left)
    axes = [draw(axis_cuts(extent, parts)) for extent, parts in zip(shape, grid, strict=True)]
    places = list(np.ndindex(*grid))
    draw(st.randoms(use_true_random=False)).shuffle(places)
    return tuple(tuple(axis[k] for axis, k in zip(axes, place, strict=True)) for place in places)


@st.composite
def moves(draw):
    shape = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    nranks = draw(st.integers(1, 12))
    order = tuple(draw(st.permutations(range(len(shape)))))
    itemsize = draw(st.sampled_from([1, 2, 4, 8, 16]))
    sources, targets = draw(distributions(shape, nranks)), draw(distributions(shape, nranks))
    if draw(st.booleans()):
        targets = (sections.whole(shape),) * nranks
    return shape, Moves(sources, targets, itemsize, order)


def local(full, section):
    return full[np.ix_(*[indices(of) for of in section])]


def in_order(array, order):
    """The same values with the axes in this order in memory."""
    dense = np.ascontiguousarray(array.transpose(order))
    return dense.transpose(np.argsort(order))


@settings(max_examples=150)
@given(moves())
def test_messages_make_up_every_target_exactly(case):
    shape, planned = case
    dtype = np.dtype(f"V{planned.itemsize}") if planned.itemsize == 16 else np.dtype(f"u{planned.itemsize}")
    full = np.random.default_rng(0).integers(0, 255, (*shape, planned.itemsize), np.uint8).view(dtype)[..., 0]
    nranks = len(planned.sources)
    arrays = [in_order(local(full, section), planned.order) for section in planned.sources]
    results = [in_order(local(full, section), planned.order) for section in planned.targets]
    found = [np.zeros_like(result) for result in results]
    counts = [0] * nranks
    traffics = [Traffic(planned, rank, tuple(s // dtype.itemsize for s in a.strides)) for rank, a in enumerate(arrays)]
    for rank, traffic in enumerate(traffics):
        own = traffic.keep_own(traffic.dense)
        if own is not None:
            HOST.copy(own).run(arrays[rank].ctypes.data, found[rank].ctypes.data)
            counts[rank] += HOST.copy(own).size
        for number, sent in enumerate(traffic.sent):
            receiver = traffics[sent.target]
            assert sent in receiver.received
            if number % 2:  # in two copies, by a message, and in one
                memory = np.empty(sent.elements * planned.itemsize, np.uint8)
                HOST.copy(traffic.pack(sent)).run(arrays[rank].ctypes.data, memory.ctypes.data)
                into = HOST.copy(receiver.unpack(sent, receiver.dense))
                into.run(memory.ctypes.data, found[sent.target].ctypes.data)
            else:
                HOST.copy(traffic.push(sent)).run(arrays[rank].ctypes.data, found[sent.target].ctypes.data)
            counts[sent.target] += sent.elements * planned.itemsize
    for result, array, count in zip(results, found, counts, strict=True):
        assert np.array_equal(np.frombuffer(result.tobytes(), "u1"), np.frombuffer(array.tobytes(), "u1"))
        assert count == result.nbytes


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.permutations(range(3)), st.permutations(range(3)))
def test_copies_between_any_two_orders(a, b, c, one, other):
    full = np.arange(a * b * c, dtype=np.int32).reshape(a, b, c)
    source, target = in_order(full, one), in_order(np.zeros_like(full), other)
    axes = [((0, 0, n),) for n in full.shape]
    steps = [tuple(s // 4 for s in array.strides) for array in (source, target)]
    section_copy(axes, *steps, 4).run(source.ctypes.data, target.ctypes.data)
    assert np.array_equal(target, full)


@given(st.data(), st.integers(0, 40), st.integers(1, 6))
def test_common_indices(data, extent, parts):
    one, other = data.draw(axis_cuts(extent, parts)), data.draw(axis_cuts(extent, parts))
    for mine in one:
        for theirs in other:
            runs = sections.common(mine, theirs)
            a, b = indices(mine), indices(theirs)
            found = [(a[i + k], b[j + k]) for i, j, n in runs for k in range(n)]
            assert all(x == y for x, y in found)
            assert [x for x, _ in found] == sorted(set(a) & set(b))
