"""Factors in single precision, solutions in double precision: half the time, where the matrix allows it."""

import numpy as np

from planmath.linalg import DirectSolver

rng = np.random.default_rng(0)
n = 400
a, b = rng.standard_normal((n, n)) + 10 * np.eye(n), rng.standard_normal(n)

with DirectSolver(a, b, options={"precision": "mixed"}) as solver:
    solver.plan()
    solver.factorize()
    x = solver.solve()
    info = solver.solution_info
    print(f"factors in {solver.factorization_info.dtype}, {info.refinement_steps} steps, {info.backward_error:.1e}")
    assert info.backward_error < 1e-14
    assert np.allclose(a @ x, b, atol=1e-12)

    # of an ill-conditioned matrix factors are made in double precision instead, and the report says so
    hilbert = 1 / (1 + np.add.outer(np.arange(n), np.arange(n)))
    solver.reset_operands(a=hilbert + 1e-10 * np.eye(n))
    solver.factorize()
    solver.solve()
    print(f"factors in {solver.factorization_info.dtype}: {solver.report().splitlines()[-1]}")

# autotuning compares both where the user allows it
with DirectSolver(a, b, options={"precision": "auto"}) as solver:
    solver.plan()
    solver.autotune(seconds=1)
    print(solver.report())
