"""The threads that stay between calls: several callers at once, and children of a fork."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.sparse import Matmul
from planmath.sparse.product.providers import own
from tests.processes import run_python

A = sp.random_array((3000, 3000), density=0.01, rng=0).tocsr()
B = np.random.default_rng(0).random((3000, 24))


def test_several_callers_at_once(eight_cpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "THREADED_WORK", 0)
    expected = A @ B
    wrong: list[float] = []

    def work() -> None:
        with Matmul(A, B, options={"provider": "own"}, execution={"num_threads": 3}) as mm:
            mm.plan()
            out = mm.empty_result()
            for _ in range(20):
                out[...] = np.nan
                mm.execute(out=out)
                wrong.append(float(np.abs(out - expected).max()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 80
    assert max(wrong) < 1e-10


CHILDREN = """
import os
os.sched_getaffinity = lambda pid: set(range(4))
import numpy as np, scipy.sparse as sp
from planmath.sparse import Matmul
from planmath.sparse.product.providers import own
own.THREADED_WORK = 0
a, b = sp.random_array((2000, 2000), density=0.01, rng=0).tocsr(), np.ones((2000, 8))
with Matmul(a, b, options={"provider": "own"}, execution={"num_threads": 4}) as mm:
    mm.plan()
    first = mm.execute()
    for _ in range(3):
        child = os.fork()
        if not child:
            os._exit(0 if np.array_equal(mm.execute(), first) and np.array_equal(mm.execute(), first) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert np.array_equal(mm.execute(), first)
"""


def test_children_have_threads_of_their_own() -> None:
    run_python(CHILDREN)
