"""Products and systems by ScaLAPACK, where a library is there."""

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.distributed.distribution import BlockCyclic, BlockNonCyclic, Slab
from planmath.distributed.linalg import DirectSolver, SingularMatrixError, direct_solver
from planmath.distributed.linalg.advanced import Matmul, MatmulEpilog, matmul
from planmath.distributed.linalg.providers import VARIANTS
from tests.distributed.ranks.arrays import grids, group, local, whole
from tests.distributed.ranks.test_matmul import near, qualified
from tests.distributed.ranks.test_solver import near as solved
from tests.distributed.ranks.test_solver import systems

pytestmark = pytest.mark.mpi
DTYPES = ("float64", "complex128", "complex64", "float32")


@pytest.fixture(params=[name for name, of in VARIANTS.items() if of.missing is None])
def library(request):
    """The name of a library that is here; MKL's is there wherever MKL is."""
    return request.param


@pytest.mark.parametrize("name", list(VARIANTS))
def test_absent(name, monkeypatch):
    monkeypatch.setattr(VARIANTS[name], "files", lambda mpi: f"nothing beside {mpi}")
    a = local(np.eye(8), Slab.X, "F")
    with pytest.raises(UnavailableError, match=rf"{name}: nothing beside /.*libmpi"):
        matmul(a, a, distributions=[Slab.X] * 3, options={"provider": name})
    with pytest.raises(UnavailableError, match=rf"{name}: nothing beside /.*libmpi"):
        direct_solver(a, a.copy(order="F"), distributions=[Slab.X] * 2, options={"provider": name})


def test_products(library):
    m, n, k = 14, 11, 9
    for number, grid in enumerate(grids(2, group().nranks)):
        dtype = DTYPES[number % 4]
        transposed = number % 2 == 1, number % 3 == 1
        a, b, c = whole((m, k), dtype, 1), whole((k, n), dtype, 2), whole((m, n), dtype, 3)
        stored = [of.conj().T if is_so else of for of, is_so in zip((a, b), transposed, strict=True)]
        conjugate = dtype.startswith("complex")
        made = [BlockCyclic(grid, blocks) for blocks in ((3, 2), (2, 4), (3, 4))]
        operands = [local(of, one, "F") for of, one in zip((*stored, c), made, strict=True)]
        with Matmul(
            *operands, distributions=made, alpha=2.0, beta=0.5, qualifiers=qualified(*transposed, conjugate),
            options={"provider": library},
        ) as product:  # fmt: skip
            product.plan()
            assert product._plan_made.chosen.provider == library
            near(product.execute(), local(2 * a @ b + c / 2, made[2]), dtype)
            product.reset_operands(c=local(c, made[2], "F"), alpha=1.0, beta=0.0)
            near(product.execute(), local(a @ b, made[2]), dtype)


def test_what_it_does_not_do(library):
    a, b = local(whole((8, 8)), Slab.X, "F"), local(whole((8, 8)), Slab.Y, "F")
    options = {"provider": library}
    if group().nranks > 1:
        with pytest.raises(UnavailableError, match="on one grid"):
            matmul(a, b, distributions=[Slab.X, Slab.Y, Slab.X], options=options)
    with pytest.raises(UnavailableError, match="no epilogs"):
        matmul(a, b, distributions=[Slab.X, Slab.Y, Slab.X], options=options, epilog=MatmulEpilog.RELU)


def test_measured_like_others(library):
    a, b = whole((16, 16), seed=1), whole((16, 16), seed=2)
    grid = BlockNonCyclic(next(grids(2, group().nranks)))
    with Matmul(local(a, grid, "F"), local(b, grid, "F"), distributions=[grid] * 3) as product:
        product.plan()
        product.autotune(iterations=1)
        assert library in {of.algorithm.provider for of in product._plan_made.measurements}
        near(product.execute(), local(a @ b, grid))


@pytest.mark.parametrize("definite", [False, True])
def test_systems(library, definite):
    options = {"structure": "positive definite" if definite else None, "provider": library}
    for number, grid in enumerate(grids(2, group().nranks)):
        a, b, x = systems(21, 3, DTYPES[number % 4], definite)
        for one, other in ((BlockCyclic(grid, (4, 4)), BlockCyclic(grid, (4, 2))), (Slab.Y, Slab.X)):
            mine, sides = local(a, one, "F"), local(b, other, "F")
            with DirectSolver(mine, sides, distributions=[one, other], options=options) as solver:
                solver.plan()
                assert library in solver.report()
                solver.factorize()
                assert solver.solve() is sides
                solved(sides, local(x, other))
                sides[...] = local(2 * b, other)
                solved(solver.solve(), local(2 * x, other))


@pytest.mark.parametrize(("structure", "says"), [(None, "order 10 is 0"), ("positive definite", "order 10 is not")])
def test_singular(library, structure, says):
    a = np.diag(np.arange(1.0, 21))
    a[9, 9] = 0
    options = {"provider": library, "structure": structure}
    with pytest.raises(SingularMatrixError, match=says):
        direct_solver(
            local(a, Slab.X, "F"), local(np.ones((20, 1)), Slab.X, "F"), distributions=[Slab.X] * 2, options=options
        )
