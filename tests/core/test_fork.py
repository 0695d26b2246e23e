"""A process that has computed may fork, and the child may compute."""

from __future__ import annotations

import pytest

from planmath.fft.providers import PROVIDERS
from tests.processes import run_python
from tests.providers import on_host, provider_parameters

COMPUTE_IN_A_CHILD = """
    import os, sys
    import numpy as np
    from planmath.fft import FFT, fft
    provider, threads = sys.argv[1], int(sys.argv[2])
    operand = np.arange(64 * 1024).reshape(64, 1024) * (1 + 1j)
    execution = {"name": "cpu", "num_threads": threads}
    options = {"provider": provider, "tuning": False}
    transform = FFT(operand, axes=[1], options=options, execution=execution)
    key, slots = transform.get_key(), transform._slots
    transform.plan()
    for p in transform._providers():  # as many threads as may be, whatever the heuristic thinks of it
        if p.name == provider:
            (algorithm, *_) = [a for a in p.algorithms(key) if a.get("threads") == threads]
            transform._make_plan(key, slots, [algorithm])
    expected, stateless = transform.execute(), fft(operand)
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            right = np.array_equal(transform.execute(), expected)
            transform.reset_operand(2 * operand)
            right = right and np.allclose(transform.execute(), 2 * expected)
            right = right and np.array_equal(fft(operand), stateless)
            with FFT(operand, options=options, execution=execution) as another:
                another.plan()
                right = right and np.allclose(another.execute(), stateless)
            os._exit(0 if right else 1)
        children.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    assert np.array_equal(transform.execute(), expected)
    transform.free()
    print(statuses)
"""


@pytest.mark.parametrize("provider", provider_parameters(on_host(PROVIDERS)))
@pytest.mark.parametrize("threads", [1, 2])
def test_execute_in_a_child(provider, threads):
    assert run_python(COMPUTE_IN_A_CHILD, provider, threads, timeout=60) == "[0, 0]\n"


def test_fork_while_another_thread_plans():
    """The child does not inherit a planner that someone else has locked."""
    program = """
        import os, threading, time
        import numpy as np
        from planmath.fft import FFT

        def plan(size):
            with FFT(np.ones(size, complex), options={"tuning": False}) as transform:
                transform.plan()
                return transform.execute()[0]

        def plan_on():
            size = 2
            while not stop.is_set():
                plan(size := size + 1)

        plan(16)  # loads the libraries: what is only half loaded, no child can use
        stop = threading.Event()
        threads = [threading.Thread(target=plan_on) for _ in range(2)]
        for thread in threads:
            thread.start()
        statuses = []
        for _ in range(20):
            time.sleep(0.003)
            pid = os.fork()
            if pid == 0:
                os._exit(0 if plan(16) == 16 else 1)
            statuses.append(os.waitpid(pid, 0)[1])
        stop.set()
        print(sum(statuses))
    """
    assert run_python(program, timeout=60) == "0\n"
