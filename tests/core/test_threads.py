"""Many threads at once: right results, and the lock of the interpreter let go while a library computes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from planmath.core.provider import Algorithm
from planmath.core.tuning import record
from planmath.fft import FFT, fft, rfft
from planmath.fft.providers import PROVIDERS
from tests.providers import on_host, provider_parameters

THREADS = 6


def operands(seed, count=8):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((6, 50)) + 1j * rng.standard_normal((6, 50)) for _ in range(count)]


def in_threads(function):
    """Call ``function(number)`` in many threads that start together; whatever one raises is raised here."""
    start = threading.Barrier(THREADS)

    def run(number):
        start.wait()
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


@pytest.mark.parametrize("provider", provider_parameters(on_host(PROVIDERS)))
@pytest.mark.parametrize("num_threads", [1, 2])
def test_objects_of_many_threads(provider, num_threads):
    def work(number):
        for _ in range(5):
            first, *others = operands(number)
            execution = {"name": "cpu", "num_threads": num_threads}
            with FFT(first, axes=[1], options={"provider": provider}, execution=execution) as transform:
                transform.plan()
                np.testing.assert_allclose(transform.execute(), np.fft.fft(first))
                for operand in others:
                    transform.reset_operand(operand)
                    np.testing.assert_allclose(transform.execute(), np.fft.fft(operand))

    in_threads(work)


@pytest.mark.filterwarnings("error")
def test_stateless_calls_of_many_threads(nothing_remembered):
    """All want the same remembered plan; no two may have it, and none may be lost without being freed."""

    def work(number):
        for operand in operands(number, 40):
            np.testing.assert_allclose(fft(operand, axes=[1]), np.fft.fft(operand))
            np.testing.assert_allclose(rfft(operand.real.copy(), axes=[1]), np.fft.rfft(operand.real))

    in_threads(work)


@pytest.mark.filterwarnings("error")
def test_plans_while_the_tuning_record_changes(tuning_record):
    def work(number):
        for i, operand in enumerate(operands(number, 30)):
            if number == 0:
                measurement = record.Measurement(Algorithm("pocketfft"), 1.0, None)
                record.store(record.Entry(f"problem {i}", (measurement,), {}, record.today()), record.machine())
            else:
                np.testing.assert_allclose(fft(operand[:, : 20 + i]), np.fft.fftn(operand[:, : 20 + i]))

    in_threads(work)


@pytest.mark.parametrize("provider", provider_parameters(on_host(PROVIDERS)))
def test_other_threads_run_during_a_transform(provider):
    """A thread that only wants to look at the clock every millisecond does so while a long transform goes on."""
    operand = np.ones((1 << 21,), complex)
    ticks = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    with FFT(operand, options={"provider": provider}, execution={"name": "cpu", "num_threads": 1}) as transform:
        transform.plan()
        out = transform.empty_result()
        transform.execute(out=out)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for _ in range(20):  # the machine may be busy with something else for a while
                start = time.perf_counter()
                transform.execute(out=out)
                end = time.perf_counter()
                if sum(start < tick < end for tick in ticks) >= 3:
                    break
            else:
                pytest.fail(f"the interpreter stood still for all of the {end - start:.3f} s of an execution")
        finally:
            stop.set()
            watcher.join()


def test_operand_replaced_while_it_is_read():
    """The array in use stays alive until the library is done with it."""
    with FFT(np.ones(1 << 20, complex), execution={"name": "cpu", "num_threads": 1}) as transform:
        transform.plan()
        out = transform.empty_result()
        stop = threading.Event()

        def replace():
            while not stop.is_set():
                transform.reset_operand(np.ones(1 << 20, complex))

        replacer = threading.Thread(target=replace)
        replacer.start()
        try:
            for _ in range(5):
                transform.execute(out=out)
                np.testing.assert_allclose(out[0], 1 << 20)
                assert abs(out[1:]).max() < 1e-6
        finally:
            stop.set()
            replacer.join()
