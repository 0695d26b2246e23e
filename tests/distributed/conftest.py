"""The tests in `ranks` run on all ranks of a launcher, which `test_on_ranks.py` starts."""

import os

import pytest

from planmath.distributed import ProcessGroup, runtime

if "PLANMATH_TEST_RANKS" not in os.environ:
    collect_ignore = ["ranks", "devices"]


class Named(ProcessGroup):
    """A rank of a group that says who it is, and has nobody to talk to."""

    def __init__(self, rank, nranks):
        self._rank, self._nranks = rank, nranks

    rank = property(lambda self: self._rank)
    nranks = property(lambda self: self._nranks)

    def broadcast_buffer(self, array, *, root=0):
        raise AssertionError("this test communicates")

    def allreduce_buffer(self, array, *, op):
        raise AssertionError("this test communicates")

    def allreduce_object(self, obj, *, op):
        raise AssertionError("this test communicates")


@pytest.fixture
def torch():
    """PyTorch, whose import takes as long as many tests: in each process of a session."""
    return pytest.importorskip("torch")


@pytest.fixture
def as_rank(monkeypatch):
    """Let this process be a rank of a group: a function of rank and size."""

    def become(rank, nranks):
        monkeypatch.setattr(runtime, "_context", runtime.DistributedContext(0, Named(rank, nranks)))

    return become
