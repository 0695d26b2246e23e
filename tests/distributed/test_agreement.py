"""Whatever is wrong on one rank is the same exception on all; on threads."""

import numpy as np
import pytest

from planmath.core.collective.agreement import LOCAL, agreed
from planmath.core.collective.exchange import Moves, Traffic
from planmath.core.collective.sections import part, whole
from planmath.core.collective.spaces import HOST
from planmath.core.collective.transports.messages import BroadcastTransport
from planmath.core.errors import LibraryError, UnsupportedLayoutError
from planmath.distributed import SingleProcessGroup
from tests.distributed.threads_group import on_threads


@pytest.mark.parametrize("local", [(), (1, -2), tuple(range(LOCAL + 3))])
def test_all_know_what_each_has(local):
    def work(group):
        with agreed(group, "here") as agreement:
            agreement.equal = {"a": 1}
            agreement.local = [group.rank, *local]
        return agreement.everybody

    expected = [(rank, *local) for rank in range(5)]
    assert on_threads(5, work) == [expected] * 5


class Peculiar(ValueError):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: ValueError("bad"), ValueError), (lambda: UnsupportedLayoutError("odd", [1]), UnsupportedLayoutError),
        (lambda: LibraryError("f", 3), RuntimeError), (lambda: Peculiar(1, 2), ValueError),
        (lambda: MemoryError("none left"), MemoryError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("culprit", [0, 2])
def test_one_failure_is_everybodys(make, kind, culprit):
    def work(group):
        with agreed(group, "here") as agreement:
            agreement.equal = {"a": group.rank}  # what differs matters less than what failed
            if group.rank == culprit:
                raise make()

    outcomes = on_threads(3, work)
    assert len({str(error) for error in outcomes}) == 1
    assert all(isinstance(error, kind) for error in outcomes)
    assert all(f"rank {culprit}" in error.__notes__[0] for error in outcomes)


def test_the_lowest_rank_speaks():
    def work(group):
        with agreed(group, "here"):
            if group.rank:
                raise ValueError(f"from {group.rank}")

    assert [str(error) for error in on_threads(4, work)] == ["from 1"] * 4


def test_differences_name_the_ranks():
    def work(group):
        with agreed(group, "here") as agreement:
            agreement.equal = {"the colour": "red" if group.rank != 2 else "blue"}

    for error in on_threads(4, work):
        assert type(error) is ValueError
        assert "the colour differs" in str(error)
        assert "'red' on ranks 0, 1, 3; 'blue' on rank 2" in str(error)


def test_another_call_is_told():
    def work(group):
        with agreed(group, "FFT()" if group.rank else "Matmul()"):
            pass

    for error in on_threads(3, work):
        assert "different calls: Matmul() on rank 0; FFT() on ranks 1, 2" in str(error)


def test_agreements_within_each_other():
    def work(group):
        with agreed(group, "outer"), agreed(group, "inner"):
            if group.rank == 1:
                raise KeyError("x")

    assert [type(error) for error in on_threads(3, work)] == [KeyError] * 3


def test_a_group_of_one_raises_what_was_raised():
    with pytest.raises(UnsupportedLayoutError), agreed(SingleProcessGroup(), "here"):
        raise UnsupportedLayoutError("odd")


def test_exchange_by_the_collectives_of_any_group():
    full = np.arange(35.0).reshape(5, 7)

    def work(group):
        n = group.nranks
        moves = Moves(
            tuple((part(5, n, r), *whole((7,))) for r in range(n)),
            tuple((*whole((5,)), part(7, n, r)) for r in range(n)), 8, (0, 1),
        )  # fmt: skip
        ((a, b),) = moves.sources[group.rank][0] or ((0, 0),)
        mine = full[a:b].copy()
        traffic = Traffic(moves, group.rank, (7, 1))
        exchange = BroadcastTransport().session(group, traffic.size, HOST).exchange(traffic, True)
        result = np.empty(traffic.shape)
        exchange.run(mine.ctypes.data, result.ctypes.data)
        ((a, b),) = moves.targets[group.rank][1] or ((0, 0),)
        return np.array_equal(result, full[:, a:b])

    assert on_threads(6, work) == [True] * 6
