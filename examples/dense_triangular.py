"""Triangular systems are solved with the matrix where it is, many right-hand sides by rows or by columns."""

import numpy as np

from planmath.linalg import DirectSolver, FillMode, TriangularMatrixQualifier

rng = np.random.default_rng(0)
n = 400
stored = rng.standard_normal((n, n)) + 30 * np.eye(n)  # of which the upper triangle counts
upper = np.triu(stored)
b = rng.standard_normal((n, 50))

with DirectSolver(stored, b, qualifiers=TriangularMatrixQualifier.create(uplo=FillMode.UPPER)) as solver:
    solver.plan()
    solver.factorize()  # nothing to factorize: a zero on the diagonal would be found here
    x = solver.solve()
    assert np.allclose(upper @ x, b)
    assert np.allclose(upper.T @ solver.solve(trans="T"), b)
    print(f"backward error {solver.solution_info.backward_error:.1e}")
