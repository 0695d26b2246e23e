"""A group whose ranks are threads of this process."""

import threading
from functools import reduce

import numpy as np

from planmath.distributed import ProcessGroup
from planmath.distributed.process_group import ReductionOp

FUNCTIONS = {ReductionOp.SUM: np.add, ReductionOp.MIN: np.minimum, ReductionOp.MAX: np.maximum}


class Meeting:
    def __init__(self, nranks):
        self.nranks, self.barrier, self.table = nranks, threading.Barrier(nranks, timeout=120), [None] * nranks


class ThreadGroup(ProcessGroup):
    def __init__(self, meeting, rank):
        self._meeting, self._rank = meeting, rank

    rank = property(lambda self: self._rank)
    nranks = property(lambda self: self._meeting.nranks)

    def _gather(self, value):
        meeting = self._meeting
        meeting.table[self._rank] = value
        meeting.barrier.wait()
        values = list(meeting.table)
        meeting.barrier.wait()
        return values

    def broadcast_buffer(self, array, *, root=0):
        array[...] = self._gather(array.copy())[root]

    def allreduce_buffer(self, array, *, op):
        array[...] = reduce(FUNCTIONS[op], self._gather(array.copy()))

    def allreduce_object(self, obj, *, op):
        return reduce(op, self._gather(obj))


def on_threads(nranks, work):
    """What `work(group)` returns or raises on each of so many ranks."""
    meeting, outcomes = Meeting(nranks), [None] * nranks

    def run(rank):
        try:
            outcomes[rank] = work(ThreadGroup(meeting, rank))
        except Exception as error:
            outcomes[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(nranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes
