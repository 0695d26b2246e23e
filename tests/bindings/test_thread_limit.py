"""Limits of OpenBLAS's threads, a number of the whole process that calls at the same time may want to be different."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from planmath.bindings import blas
from planmath.native import thread_limit
from planmath.tensor import BinaryContraction
from planmath.tensor.providers.gemm import GemmProvider

WHEELS = {"OPENBLAS": blas._NUMPYS, "SCIPY": blas._SCIPYS}


@pytest.fixture(params=WHEELS)
def library(request):
    """What products of OpenBLAS use, or what stands on LAPACK."""
    if WHEELS[request.param].library.missing:
        pytest.skip(WHEELS[request.param].library.missing)
    return request.param


@pytest.fixture
def number(library):
    """The library's number, when called; there are threads to limit in any case."""
    get = WHEELS[library].function("get_num_threads", ctypes.c_int)
    set_ = WHEELS[library].function("set_num_threads", None, [ctypes.c_int])
    before = get()
    set_(4)
    yield get
    set_(before)


def test_the_last_to_go_puts_back_what_the_first_found(library, number):
    found = getattr(blas, library)
    limit = ctypes.CFUNCTYPE(None, ctypes.c_int)(found.threads_setter)
    assert found.threads_setter == thread_limit.LIMIT[WHEELS[library].number]
    limit(1)
    limit(2)
    assert number() == 2
    assert found.max_threads() == 4  # who plans meanwhile takes no limit for the library's own number
    limit(0)
    assert number() == 2
    limit(0)
    assert number() == 4
    assert found.max_threads() == 4


@pytest.mark.parametrize("library", ["OPENBLAS"], indirect=True)
def test_plans_and_executions_at_the_same_time_leave_the_number_alone(number):
    random = np.random.default_rng(0)
    a, b = random.random((300, 200)), random.random((200, 301))

    def work(seed):
        for i in range(20):
            with BinaryContraction("ij,jk->ik", a, b, execution={"name": "cpu", "num_threads": 2}) as contraction:
                contraction.plan()
                problem = contraction._plan_made.problem
                offered = GemmProvider().algorithms(problem)
                ways = [x for x in offered if x.get("product") == "blas" and x.get("copies") == "none"]
                assert {x.get("share") for x in ways} == {"product", "blocks", None}
                contraction._make_plan(problem, contraction._slots, [ways[(seed + i) % len(ways)]])
                np.testing.assert_allclose(contraction.execute(), a @ b, rtol=1e-12)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert number() == 4
