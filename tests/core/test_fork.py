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


EVERYTHING = """
    import os, sys
    if sys.argv[1] == "torch":
        import torch
    import numpy as np, scipy.sparse as sp
    from planmath.fft import fft, providers as of_fft
    from planmath.linalg.advanced import matmul, providers as of_matmul
    from planmath.sparse.advanced import direct_solver, providers as of_sparse
    from planmath.tensor import contract, providers as of_tensor

    rng = np.random.default_rng(1)
    a, x = rng.random((300, 300)), rng.random((400, 512)) + 0j
    line = sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(120, 120))
    m = sp.csr_array(sp.kron(line, sp.eye_array(120)) + sp.kron(sp.eye_array(120), line))
    band = sp.csr_array(sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(9000, 9000)))

    def operands(*arrays, package):
        return [torch.from_numpy(array) for array in arrays] if package == "torch" else arrays

    def every_operation():
        packages = ("numpy", "torch") if "torch" in sys.modules else ("numpy",)
        two = {"name": "cpu", "num_threads": 2}
        for package in packages:
            for providers, call, arrays in (
                (of_matmul, matmul, (a, a)), (of_fft, fft, (x,)),
                (of_tensor, lambda p, q, **rest: contract("ij,jk->ik", p, q, **rest), (a, a)),
            ):
                for p in providers.PROVIDERS:
                    if p.unavailable() is None and (p.name != "torch" or package == "torch"):
                        settings = {"options": {"provider": p.name, "tuning": False}, "execution": two}
                        result = call(*operands(*arrays, package=package), **settings)
                        yield (providers.__name__, package, p.name), np.asarray(result)
        for p in of_sparse.PROVIDERS:
            if p.unavailable() is None:
                settings = {"options": {"provider": p.name, "tuning": False}, "execution": two}
                matrix = band if p.name == "banded" else m
                yield p.name, direct_solver(matrix, np.ones(matrix.shape[0]), **settings)
        if "torch" in sys.modules:
            yield "torch's own product", (torch.from_numpy(a) @ torch.from_numpy(a)).numpy()

    def right():
        names = [name for name, result in every_operation() if not np.allclose(result, expected[name])]
        return not names or print(names, flush=True)

    def child(work):
        if (pid := os.fork()) == 0:
            os._exit(0 if work() else 1)
        return os.waitpid(pid, 0)[1]
"""


@pytest.mark.parametrize("before", ["torch", "nothing"])
def test_every_operation_in_children(before):
    """The child of a child, too, and the parent once more; with PyTorch's OpenMP runtime, which MKL takes as well."""
    program = (
        EVERYTHING
        + """
    expected = dict(every_operation())
    print(child(lambda: right() and child(right) == 0), right(), len(expected) > 8)
    """
    )
    assert run_python(program, before, timeout=120) == "0 True True\n"


@pytest.mark.parametrize("before", ["torch", "nothing"])
def test_fork_while_another_thread_computes(before):
    """It transforms: OpenBLAS's lock, which a product would hold, is not renewed in a child."""
    program = (
        EVERYTHING
        + """
    import threading
    expected, stop = dict(every_operation()), threading.Event()

    def go_on():
        while not stop.is_set():
            fft(x)

    thread = threading.Thread(target=go_on)
    thread.start()
    statuses = [child(right) for _ in range(2)]
    stop.set(), thread.join()
    print(statuses, right())
    """
    )
    assert run_python(program, before, timeout=120) == "[0, 0] True\n"


def test_workers_of_a_data_loader():
    """They are forked after a product, and compute the same."""
    pytest.importorskip("torch")
    program = """
        import torch
        from torch.utils.data import DataLoader
        from planmath.linalg.advanced import matmul

        class Products(torch.utils.data.Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, i):
                return matmul(a * i, a)

        a = torch.rand(600, 600)
        expected = matmul(a, a)
        found = list(DataLoader(Products(), num_workers=2, batch_size=None, multiprocessing_context="fork"))
        print(all(torch.allclose(found[i], i * expected, rtol=1e-4) for i in range(4)))
    """
    assert run_python(program, timeout=60) == "True\n"


@pytest.mark.parametrize(
    "call", ["fft(a + 0j)", "matmul(a, a)", 'contract("ij,jk,kl->il", a, a, a)', "direct_solver(m, b)"]
)
def test_fork_in_the_first_call_of_another_thread(call):
    """Libraries are loaded whole or not at all, and what is computed when first needed is not locked."""
    program = """
        import os, sys, threading, time
        import numpy as np, scipy.sparse as sp
        from planmath.fft import fft
        from planmath.linalg.advanced import matmul
        from planmath.sparse.advanced import direct_solver
        from planmath.tensor import contract
        a, b, m = np.ones((64, 64)), np.ones(64), sp.csr_array(sp.diags_array(np.arange(1.0, 65)))

        def first():  # nothing was loaded yet in this process
            thread = threading.Thread(target=lambda: eval(sys.argv[1]))
            thread.start()
            time.sleep(delay)
            if (pid := os.fork()) == 0:
                eval(sys.argv[1])
                os._exit(0)
            status = os.waitpid(pid, 0)[1]
            thread.join()
            os._exit(status)

        statuses = []
        for delay in (0.003, 0.03, 0.1, 0.15):
            if (pid := os.fork()) == 0:
                first()
            statuses.append(os.waitpid(pid, 0)[1])
        print(sum(statuses))
    """
    assert run_python(program, call, timeout=60) == "0\n"
