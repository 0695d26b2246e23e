"""Systems of equations on CUDA devices."""

import numpy as np
import pytest

from planmath.distributed.distribution import BlockCyclic, ProcessGrid, Slab
from planmath.distributed.linalg import DirectSolver, direct_solver
from tests.distributed.devices.arrays import PACKAGES, PROVIDERS, assert_close, checked, on_device
from tests.distributed.ranks.arrays import group, local, whole


def part(full, distribution, package="cupy"):
    return on_device(local(full, distribution, "F"), package)


def cyclic(block):
    nranks = group().nranks
    rows = 2 if nranks % 2 == 0 else 1
    grid = ProcessGrid(shape=(rows, nranks // rows), layout=ProcessGrid.Layout.ROW_MAJOR)
    return BlockCyclic(grid, (block, block))


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("structure", [None, "positive definite"])
def test_systems(package, structure):
    n = 50
    a, b = whole((n, n), "complex128", 1), whole((n, 3), "complex128", 2)
    if structure:
        a = a @ a.conj().T + n * np.eye(n)
    x = np.linalg.solve(a, b)
    for distributions in ([cyclic(8), cyclic(8)], [Slab.X, Slab.X], [Slab.Y, Slab.X]):
        operands = part(a, distributions[0], package), part(b, distributions[1], package)
        with DirectSolver(*operands, distributions=distributions, options={"structure": structure}) as solver:
            solver.plan()
            solver.factorize()
            found = solver.solve()
            assert found is operands[1]
            assert_close(found, local(x, distributions[1]), 1e-11)
            solver.reset_operands(b=part(2 * b, distributions[1], package))
            assert_close(solver.solve(), local(2 * x, distributions[1]), 1e-11)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_transports(provider):
    a, b = whole((24, 24), "float64", 1), whole((24,), "float64", 2)
    options = {"provider": checked(provider), "inplace_a": False, "inplace_b": False}
    found = direct_solver(part(a, Slab.X), part(b, Slab.X), distributions=[Slab.X, Slab.X], options=options)
    assert_close(found, local(np.linalg.solve(a, b), Slab.X), 1e-11)


def test_singular():
    a = whole((20, 20), "float64", 1)
    a[:, 12] = 0
    operands = part(a, Slab.X), part(np.ones((20, 1)), Slab.X)
    with DirectSolver(*operands, distributions=[Slab.X, Slab.X]) as solver:
        solver.plan()
        with pytest.raises(np.linalg.LinAlgError, match="order 13"):
            solver.factorize()


@pytest.mark.ranks(2)
@pytest.mark.parametrize("rows", [1, 2])
def test_a_factorization_that_fails_on_one_rank(rows):
    """The others learn of it, long before the deadline."""
    grid = ProcessGrid(shape=(rows, group().nranks // rows), layout=ProcessGrid.Layout.ROW_MAJOR)
    of = BlockCyclic(grid, (64, 64))
    a, b = whole((192, 192), "float64", 1), whole((192, 1), "float64", 2)
    with DirectSolver(part(a, of), part(b, of), distributions=[of, of], options={"provider": "ipc"}) as solver:
        solver.plan()
        factors = solver._phases.factors

        def fails(*arguments, **others):
            raise ArithmeticError("no luck")

        if group().rank == 0:
            factors.routines.trsm = fails
        kind, says = (ArithmeticError, "no luck") if group().rank == 0 else (RuntimeError, "ended early on rank 0")
        with pytest.raises(kind, match=says):
            solver.factorize()
