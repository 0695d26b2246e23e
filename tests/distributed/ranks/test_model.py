"""The time expected of an exchange beside what it takes."""

import time

import numpy as np
import pytest

from planmath.core.collective.costs import Network
from planmath.distributed.distribution import Redistribute, Slab
from planmath.distributed.process_group import ReductionOp
from tests.distributed.ranks.arrays import group


def measured(columns):
    """The least of the slowest rank's times, and this rank's messages and bytes."""
    n = group().nranks
    with Redistribute(np.ones((64, columns)), Slab.X, Slab.Y) as redistribution:
        redistribution.plan()
        out, least = redistribution.empty_result(), np.inf
        for _ in range(15):
            took = np.zeros(1)
            group().allreduce_buffer(took, op=ReductionOp.MAX)
            start = time.perf_counter()
            redistribution.execute(out=out)
            took[0] = time.perf_counter() - start
            group().allreduce_buffer(took, op=ReductionOp.MAX)
            least = min(least, took[0])
        traffic = redistribution._problem.traffic
        assert len(traffic.sent) == n - 1
        return least, len(traffic.sent), traffic.bytes_sent


@pytest.mark.ranks(2)
def test_between_two_sizes_the_model_holds():
    """Latency and bandwidth found with small and large messages tell what those in between take."""
    small, messages, _ = measured(8 * group().nranks)
    large, _, size = measured(1 << 15)
    found = Network(small / messages, size / max(large - small, 1e-9))
    took, messages, size = measured(1 << 12)
    assert 0.2 < took / found.seconds(messages, size) < 5
