"""Many multiplications in many threads at once: right results, and the lock of the interpreter let go meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from planmath.linalg.advanced import Matmul, MatmulEpilog, matmul
from planmath.linalg.advanced.providers import blas_interface
from tests.linalg.operands import Case, on_host, wide
from tests.threads import other_threads

E = MatmulEpilog
THREADS = 6


def in_threads(function):
    """Call ``function(number)`` in many threads that start together; whatever one raises is raised here."""
    start = threading.Barrier(THREADS)

    def run(number):
        start.wait()
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.mark.parametrize("case", on_host("float32", "float64", "float16", "complex128"))
@pytest.mark.parametrize("num_threads", [1, 2])
def test_objects_of_many_threads(case, num_threads, monkeypatch):
    """The numbers of threads that the libraries use are set and reset by all of them."""
    monkeypatch.setattr(blas_interface, "THREADED_WORK", 0)
    execution = {"name": "cpu", "num_threads": num_threads}

    def work(number):
        for round_ in range(3):
            size = 20 + 7 * number
            a, b = case.exact((size, 13), seed=number), case.exact((13, 31), seed=number + 10)
            with Matmul(a, b, options=case.options, execution=execution) as mm:
                for algorithm in mm.plan()[round_:]:
                    mm.plan(algorithms=algorithm)
                    for seed in range(4):
                        a = case.exact((size, 13), seed=seed)
                        mm.reset_operands(a=a)
                        np.testing.assert_array_equal(wide(mm.execute()), wide(a) @ wide(b))

    in_threads(work)


@pytest.mark.parametrize("case", on_host("float32"))
def test_epilogs_of_many_threads(case):
    """Each object has temporary memory of its own."""

    def work(number):
        a, b = case.exact((30, 13), seed=number), case.exact((13, 31), seed=number + 10)
        z = wide(a) @ wide(b)
        with Matmul(a, b, options=case.options) as mm:
            for _ in range(5):
                mm.plan(epilog=E.RELU_AUX)
                result, mask = mm.execute()
                np.testing.assert_array_equal(wide(result), np.maximum(z, 0))
                mm.plan(epilog=E.DRELU_BGRAD, epilog_inputs=mask)
                result, sums = mm.execute()
                np.testing.assert_array_equal(wide(result), np.maximum(z, 0))
                np.testing.assert_array_equal(wide(sums["drelu_bgrad"]), np.maximum(z, 0).sum(-1))

    in_threads(work)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("package", ["numpy", "torch"])
def test_stateless_calls_of_many_threads(package, nothing_remembered):
    """All want the same remembered plan; no two may have it, and none may be lost without being freed."""
    if package == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    case = Case("", package, "float64")

    def work(number):
        for seed in range(40):
            a, b = case.exact((9, 13), seed=100 * number + seed), case.exact((13, 11), seed=seed)
            bias = case.exact((9,), seed=number)
            product = wide(a) @ wide(b)
            np.testing.assert_array_equal(wide(matmul(a, b)), product)
            np.testing.assert_array_equal(wide(matmul(a, b, alpha=-2.0)), -2 * product)
            result = matmul(a, b, epilog=E.RELU_BIAS, epilog_inputs={"bias": bias})
            np.testing.assert_array_equal(wide(result), np.maximum(product + wide(bias)[:, None], 0))

    in_threads(work)


@pytest.mark.parametrize("case", on_host("float64"))
def test_other_threads_run_during_a_product(case):
    """A thread that only wants to look at the clock every millisecond does so while a long product goes on."""
    a = case.like(np.ones((800, 800)))
    ticks = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    with Matmul(a, a, options=case.options, execution={"name": "cpu", "num_threads": 1}) as mm:
        mm.plan()
        out = mm.empty_result()
        mm.execute(out=out)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for _ in range(20):  # the machine may be busy with something else for a while
                start = time.perf_counter()
                mm.execute(out=out)
                end = time.perf_counter()
                if sum(start < tick < end for tick in ticks) >= 3:
                    break
            else:
                pytest.fail(f"the interpreter stood still for all of the {end - start:.3f} s of an execution")
        finally:
            stop.set()
            watcher.join()


@pytest.mark.parametrize("case", on_host("float64"))
@pytest.mark.parametrize("size", [50, 300])
def test_one_thread(case, size):
    a = case.like(np.ones((size, size)))
    with Matmul(a, a, options=case.options, execution={"name": "cpu", "num_threads": 1}) as mm:
        mm.plan()
        out = mm.empty_result()
        assert other_threads(lambda: mm.execute(out=out)) < 0.2


@pytest.mark.parametrize("case", on_host("float64"))
def test_operand_replaced_while_it_is_read(case):
    """The arrays in use stay alive until the library is done with them."""
    b = case.like(np.ones((400, 300)))
    with Matmul(
        case.like(np.ones((300, 400))), b, options=case.options, execution={"name": "cpu", "num_threads": 1}
    ) as mm:
        mm.plan()
        out = mm.empty_result()
        stop = threading.Event()

        def replace():
            while not stop.is_set():
                mm.reset_operands(a=case.like(np.ones((300, 400))))

        replacer = threading.Thread(target=replace)
        replacer.start()
        try:
            for _ in range(5):
                mm.execute(out=out)
                assert (wide(out) == 400).all()
        finally:
            stop.set()
            replacer.join()
