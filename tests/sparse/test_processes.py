"""Solvers in forked processes and in several threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from planmath.sparse.advanced import DirectSolver, direct_solver
from tests.processes import run_python
from tests.sparse.matrices import csr, laplacian, right_hand_side

SOLVE_IN_A_CHILD = """
    import os, sys
    import numpy as np, scipy.sparse as sp
    from planmath.sparse.advanced import DirectSolver, direct_solver
    provider, threads = sys.argv[1], int(sys.argv[2])
    line = [sp.csr_array(sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(n, n))) for n in range(10, 90)]
    sides = [np.ones(a.shape[0]) for a in line]
    settings = dict(options={"provider": provider, "tuning": False}, execution={"name": "cpu", "num_threads": threads})
    solver = DirectSolver(line, sides, **settings)
    solver.plan(), solver.factorize()
    expected = solver.solve()
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            same = lambda found: all(np.array_equal(x, y) for x, y in zip(found, expected))
            right = same(solver.solve())
            solver.factorize()
            right = right and same(solver.solve()) and same(direct_solver(line, sides, **settings))
            os._exit(0 if right else 1)
        children.append(pid)
    print([os.waitpid(pid, 0)[1] for pid in children])
    solver.free()
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_solve_in_a_child(provider, threads):
    assert run_python(SOLVE_IN_A_CHILD, provider, threads) == "[0, 0]\n"


def test_objects_in_several_threads(provider):
    """Each thread has an object of its own; stateless calls share what they remember."""
    matrices = [csr(laplacian(25) * k) for k in range(1, 5)]
    failures = []

    def work(a):
        b = right_hand_side(a)
        with DirectSolver(a, b, options={"provider": provider}) as solver:
            solver.plan()
            for _ in range(20):
                solver.factorize()
                if not np.allclose(a @ solver.solve(), b):
                    failures.append(a)
        failures.extend(a for _ in range(20) if not np.allclose(a @ direct_solver(a, b), b))

    threads = [threading.Thread(target=work, args=(a,)) for a in matrices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
