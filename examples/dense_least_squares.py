"""More equations than unknowns: least squares; fewer, or some that depend on others: the solution of the least norm."""

import numpy as np

from planmath.linalg import DirectSolver, direct_solver

rng = np.random.default_rng(0)
t = np.linspace(0, 1, 300)
design = np.vander(t, 5)
coefficients = np.array([1.0, -2, 0, 3, 0.5])
measured = design @ coefficients + 1e-3 * rng.standard_normal(300)

with DirectSolver(design, measured) as solver:
    solver.plan()
    solver.factorize()
    for _ in range(3):  # other measurements at the same points need no factorization
        found = solver.solve()
        assert np.allclose(found, coefficients, atol=0.05)
        solver.reset_operands(b=design @ coefficients + 1e-3 * rng.standard_normal(300))

wide = rng.standard_normal((20, 50))
b = rng.standard_normal(20)
x = direct_solver(wide, b)
assert np.allclose(wide @ x, b)
print(f"of the norm {np.linalg.norm(x):.3f}, where any other solution has a larger one")

design[:, 4] = design[:, 3] + design[:, 2]  # a column that says nothing new
with DirectSolver(design, measured, structure="least squares") as solver:
    solver.plan()
    solver.factorize()
    x = solver.solve()
    assert solver.factorization_info.rank() == 4
    assert np.allclose(x, np.linalg.lstsq(design, measured)[0])
