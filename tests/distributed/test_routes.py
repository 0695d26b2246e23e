"""Which axes are transformed where, for ranks that need not be there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planmath.core.collective import sections
from planmath.core.collective.costs import Network, network
from planmath.distributed.fft.route import grid_sections, is_whole, routes, squarish
from tests.distributed.test_sections import distributions


@settings(max_examples=150)
@given(st.data(), st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 8), st.sampled_from("CRI"))
def test_every_axis_is_transformed_once_where_it_is_whole(data, shape, nranks, letter):
    kind = {"C": "C2C", "R": "R2C", "I": "C2R"}[letter]
    axes = data.draw(st.lists(st.sampled_from(range(len(shape))), min_size=1, unique=True))
    result = list(shape)
    if kind != "C2C":
        result[axes[-1]] = shape[axes[-1]] // 2 + 1 if kind == "R2C" else 2 * shape[axes[-1]] - 1
    source = data.draw(distributions(tuple(shape), nranks))
    target = data.draw(distributions(tuple(result), nranks))
    for route in routes((shape, result), axes, kind, source, target):
        done, now = [], list(shape)
        assert route.stages[0].before == source
        assert route.target == target
        for stage in route.stages:
            for axis in stage.axes:
                assert is_whole(stage.before, now, axis)
            if axes[-1] in stage.axes:
                assert kind != "R2C" or not done
                assert kind != "C2R" or len(done) + len(stage.axes) == len(axes)
                now[axes[-1]] = result[axes[-1]]
            done += stage.axes
            assert sum(sections.size_of(of) for of in stage.after) == sections.size_of(sections.whole(now))
        assert sorted(done) == sorted(axes)


def chosen(n, nranks, cuts):
    """The name of the faster route of a cube that is cut so, and the times of both."""
    placed = grid_sections((n,) * 3, cuts, nranks)
    found = routes(((n,) * 3, (n,) * 3), (0, 1, 2), "C2C", placed, placed)
    times = {route.name: max(route.seconds(8, rank, Network()) for rank in (0, nranks - 1)) for route in found}
    return min(times, key=times.__getitem__), times


def test_pencils_for_many_ranks_and_slabs_for_few():
    assert chosen(512, 4, {0: 4})[0] == "slabs"
    name, times = chosen(256, 1024, dict(enumerate(squarish(1024))))
    assert name == "pencils"
    assert times["slabs"] > 3 * times["pencils"]


def test_the_network(monkeypatch):
    monkeypatch.setenv("PLANMATH_DISTRIBUTED_NETWORK", "1e-3, 1e6")
    assert network().seconds(2, 3e6) == pytest.approx(3.002)
    monkeypatch.setenv("PLANMATH_DISTRIBUTED_NETWORK", "fast")
    with pytest.raises(ValueError, match="PLANMATH_DISTRIBUTED_NETWORK is 'fast'"):
        network()
