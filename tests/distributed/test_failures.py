"""What exchanges between devices do when something fails, without devices."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from planmath.bindings import runtime
from planmath.core.collective import deadline
from planmath.core.collective.exchange import Copying, Tail, within
from planmath.core.collective.process_group import SingleProcessGroup
from planmath.core.collective.transports import ipc, nccl


class Late:
    """An event that is not there yet, until it is."""

    address = 1

    def record(self, stream):
        self.is_there = False


@pytest.fixture
def session(monkeypatch):
    events = []

    def made():
        events.append(Late())
        return events[-1]

    def query(address):
        if not session._watched.is_there:
            raise runtime.CUDARuntimeError(600, "cudaEventQuery")

    aborted = []
    monkeypatch.setattr(nccl, "Event", made)
    monkeypatch.setattr(nccl.runtime, "event_query", query)
    monkeypatch.setattr(nccl.nccl, "comm_abort", aborted.append)
    monkeypatch.setattr(nccl.WATCH, "add", lambda watched: None)
    monkeypatch.setitem(nccl._communicators, ("group", 0), 77)
    space = SimpleNamespace(stream=5, device_id=None, failure=None)
    session = nccl.NCCLSession(SingleProcessGroup(), 77, space)
    session.aborted = aborted
    return session


def test_nccl_has_a_deadline(session, monkeypatch):
    with deadline.within("FFT.execute()"):
        session.begin()
        session.follow()
    assert session.look()
    monkeypatch.setenv("PLANMATH_DISTRIBUTED_TIMEOUT", "1e-9")
    assert not session.look()
    assert session.aborted == [77]
    assert ("group", 0) not in nccl._communicators
    assert isinstance(session.space.failure, TimeoutError)
    assert "FFT.execute() (call 1)" in str(session.space.failure)
    with pytest.raises(RuntimeError, match="ended early on rank 0"):
        session.begin()


def test_nccl_that_goes_on_is_not_late(session, monkeypatch):
    """What is looked after is the last of the exchanges that were there at the look before."""
    session.follow()
    first = session._watched
    session.follow()
    first.is_there = True
    monkeypatch.setenv("PLANMATH_DISTRIBUTED_TIMEOUT", "1e-9")
    assert session.look()  # the second one, from now on
    assert session._watched is not first
    session._watched.is_there = True
    assert not session.look()
    assert not session.aborted


def test_windows_that_are_dropped_while_others_go(monkeypatch):
    """Those that are collected while the ranks make a window are not forgotten."""
    windows = ipc.Windows()
    dropped = [SimpleNamespace(number=k, close=lambda: None, free=lambda: None) for k in (1, 2, 3)]
    windows.dropped = dropped[:2]

    class Gone(set):
        def __contains__(self, number):
            if dropped[2] not in windows.dropped:
                windows.dropped.append(dropped[2])
            return super().__contains__(number)

    class Group(SingleProcessGroup):
        def allreduce_object(self, obj, *, op):
            return Gone({1})

    monkeypatch.setattr(ipc, "Window", lambda group, size, number: number)
    for name in ("device_synchronize", "get_device"):
        monkeypatch.setattr(ipc.runtime, name, lambda: 0)
    assert windows.make(Group(), 8) == 1
    assert windows.dropped == dropped[1:]


def test_parts_of_a_copy():
    copying = Copying([[(0, 10, 4), (8, 14, 2)], [(0, 0, 3)]], (3, 1), (3, 1), 8)
    assert within(copying, 0, 2, 9).axes[0] == [(2, 12, 2), (8, 14, 1)]
    assert within(copying, 0, 12, 15, 1).axes[0] == [(2, 12, 2), (8, 14, 1)]
    assert within(copying, 0, 4, 8) is None
    tail = Tail(1, 4, 2)
    bounds = [tail.interval(11, k) for k in range(4)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == 11
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
