"""Distributed systems against NumPy's solutions of the whole ones."""

import numpy as np
import pytest

from planmath.distributed.distribution import BlockCyclic, BlockNonCyclic, Box, ProcessGrid, Slab
from planmath.distributed.linalg import DirectSolver, SingularMatrixError, direct_solver
from tests.distributed.ranks.arrays import grids, group, local, messages, whole

TOLERANCE = {"float32": 2e-3, "complex64": 2e-3, "float64": 1e-10, "complex128": 1e-10}


def systems(n, nrhs, dtype="float64", definite=False):
    a, b = whole((n, n), dtype, 1), whole((n, nrhs), dtype, 2)
    if definite:
        a = a @ a.conj().T + n * np.eye(n, dtype=dtype)
    wide = "complex128" if np.dtype(dtype).kind == "c" else "float64"
    return a, b, np.linalg.solve(a.astype(wide), b.astype(wide)).astype(dtype)


def near(result, expected):
    tolerance = TOLERANCE[str(expected.dtype)]
    assert result.shape == expected.shape
    assert np.allclose(result, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("definite", [False, True])
@pytest.mark.parametrize(("n", "size", "nrhs"), [(1, 1, 1), (13, 3, 2), (40, 8, 8), (70, 16, 1), (33, 40, 3)])
def test_grids_and_blocks(definite, n, size, nrhs):
    options = {"structure": "positive definite" if definite else None}
    for number, grid in enumerate(grids(2, group().nranks)):
        dtype = ("float64", "complex128", "complex64", "float32")[number % 4]
        a, b, x = systems(n, nrhs, dtype, definite)
        one, other = BlockCyclic(grid, (size, size)), BlockCyclic(grid, (size, 2))
        mine, sides = local(a, one, "F"), local(b, other, "F")
        with DirectSolver(mine, sides, distributions=[one, other], options=options) as solver:
            solver.plan()
            solver.factorize()
            result = solver.solve()
            assert result is sides
            near(result, local(x, other))
            sides[...] = local(2 * b, other)
            near(solver.solve(), local(2 * x, other))
            mine[...] = local(3 * a, one)
            solver.reset_operands(a=mine)
            with pytest.raises(RuntimeError, match="factorize"):
                solver.solve()
            solver.factorize()
            sides[...] = local(b, other)
            near(solver.solve(), local(x / 3, other))


@pytest.mark.parametrize("provider", ["mapped", "messages", "broadcast"])
def test_transports(provider):
    """In one row of the grid, and in one column, singular in between."""
    nranks = group().nranks
    options = {"provider": "copy" if nranks == 1 else messages() if provider == "messages" else provider}
    a, b, x = systems(29, 2)
    broken = np.diag(np.arange(1.0, 30))
    broken[17, 17] = 0
    for shape in ((1, nranks), (nranks, 1)):
        of = BlockCyclic(ProcessGrid(shape=shape, layout=ProcessGrid.Layout.ROW_MAJOR), (4, 4))
        mine, sides = local(a, of, "F"), local(b, of, "F")
        with DirectSolver(mine, sides, distributions=[of, of], options=options) as solver:
            solver.plan()
            solver.factorize()
            near(solver.solve(), local(x, of))
            mine[...] = local(broken, of)
            with pytest.raises(SingularMatrixError, match="order 18 "):
                solver.factorize()
            mine[...], sides[...] = local(2 * a, of), local(b, of)
            solver.factorize()
            near(solver.solve(), local(x / 2, of))


def test_any_distributions():
    a, b, x = systems(21, 5)
    found = [Slab.X, Slab.Y, *(BlockNonCyclic(grid) for grid in grids(2, group().nranks))]
    last = ProcessGrid(shape=(group().nranks, 1))
    found.append(BlockCyclic(last, (2, 3), first_process=(group().nranks - 1, 0)))
    for number, one in enumerate(found):
        other = found[0] if number % 2 else found[-1]
        mine, sides = local(a, one, "F"), local(b, other, "F")
        options = {"inplace_a": False, "inplace_b": False}
        before = mine.copy(), sides.copy()
        near(direct_solver(mine, sides, distributions=[one, other], options=options), local(x, other))
        assert np.array_equal(mine, before[0])
        assert np.array_equal(sides, before[1])
        near(direct_solver(mine, sides, distributions=[one, other]), local(x, other))


def test_vector_gaps_and_torch(torch):
    a, b, x = systems(17, 1)
    mine = local(a, Slab.X, "F")
    padded = np.full((mine.shape[0] + 3, mine.shape[1]), np.nan, order="F")[: mine.shape[0]]
    padded[...] = mine
    near(direct_solver(padded, local(b[:, 0], Slab.X), distributions=[Slab.X, Slab.X]), local(x[:, 0], Slab.X))
    tensor = torch.from_numpy(np.array(mine.T, order="C")).T
    result = direct_solver(tensor, torch.from_numpy(local(b[:, 0], Slab.X)), distributions=[Slab.X, Slab.X])
    assert isinstance(result, torch.Tensor)
    near(result.numpy(), local(x[:, 0], Slab.X))


def test_factors_in_place():
    """L and U of the permuted matrix are in the place of a."""
    n = 24
    a, b, _ = systems(n, 1)
    for distribution in (BlockCyclic(next(grids(2, group().nranks)), (8, 8)), Slab.X):
        mine = local(a, distribution, "F")
        with DirectSolver(mine, local(b, Slab.X, "F"), distributions=[distribution, Slab.X]) as solver:
            solver.plan()
            solver.factorize()
            order = solver._phases.factors.permutation
        rows, columns = distribution.section(group().rank, (n, n))
        full = np.zeros((n, n))
        full[
            np.ix_(
                *[
                    np.concatenate([np.arange(0), *[np.arange(*of) for of in axis]]).astype(int)
                    for axis in (rows, columns)
                ]
            )
        ] = mine
        group().allreduce_buffer(full, op=0)
        assert np.allclose((np.tril(full, -1) + np.eye(n)) @ np.triu(full), a[order])


@pytest.mark.parametrize("minor", [1, 9, 20])
def test_singular(minor):
    n = 20
    a, b, x = systems(n, 2)
    broken = a.copy()
    if minor == 1:
        broken[:, 0] = 0
    else:
        broken[:, minor - 1] = broken[:, :3].sum(axis=1)
        broken[:, [0, 1, 2]] = np.round(broken[:, [0, 1, 2]])
        broken = np.round(broken * 4)
        broken[:, minor - 1] = 0
    grid = list(grids(2, group().nranks))[-1]
    one, other = BlockCyclic(grid, (8, 8)), Slab.X
    mine = local(broken, one, "F")
    with DirectSolver(mine, local(b, other, "F"), distributions=[one, other]) as solver:
        solver.plan()
        with pytest.raises(SingularMatrixError, match=f"order {minor} ") as caught:
            solver.factorize()
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, np.linalg.LinAlgError)
        with pytest.raises(RuntimeError, match="factorize"):
            solver.solve()
        solver.reset_operands(a=local(a, one, "F"))
        solver.factorize()
        near(solver.solve(), local(x, other))


def test_not_positive_definite():
    a = np.diag(np.arange(12.0, 0, -1))
    a[10, 10] = -1
    options = {"structure": "positive definite"}
    with DirectSolver(
        local(a, Slab.X, "F"), local(np.ones((12, 1)), Slab.X, "F"), distributions=[Slab.X, Slab.X], options=options
    ) as solver:
        solver.plan()
        with pytest.raises(SingularMatrixError, match="order 11 is not positive"):
            solver.factorize()


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"a": np.zeros((8, 2), "float16", order="F")}, ValueError, "float16"),
        ({"b": np.zeros((8, 2), "float32", order="F")}, TypeError, "b has the dtype"),
        ({"a": np.zeros((8, 8, 8))}, ValueError, "expected a matrix"),
        ({"a": np.zeros((5, 5))}, ValueError, "column-major"),
        ({"distributions": [Slab.X]}, ValueError, "two"),
        ({"options": {"inplace_a": 1}}, ValueError, "inplace_a"),
        ({"options": {"handle": 5}}, ValueError, "handle differs"),
        ({"a": [[1.0]]}, TypeError, "numpy.ndarray"),
    ],
)  # fmt: skip
def test_one_wrong_rank(change, kind, says):
    a, b, _ = systems(8, 2)
    arguments = {"a": local(a, Slab.X, "F"), "b": local(b, Slab.X, "F"), "distributions": [Slab.X, Slab.X]}
    if group().rank == group().nranks - 1:
        arguments |= change
    if group().nranks == 1 and "handle" in str(change):
        return
    with pytest.raises(kind, match=says):
        direct_solver(arguments.pop("a"), arguments.pop("b"), **arguments)


def test_shapes_and_states():
    a, b, _ = systems(8, 2)
    with pytest.raises(ValueError, match="square"):
        DirectSolver(local(a[:, :6], Slab.X, "F"), local(b, Slab.X, "F"), distributions=[Slab.X, Slab.X])
    with pytest.raises(ValueError, match="rows of b"):
        DirectSolver(local(a, Slab.X, "F"), local(b[:7], Slab.Y, "F"), distributions=[Slab.X, Slab.Y])
    with DirectSolver(local(a, Slab.X, "F"), local(b, Slab.X, "F"), distributions=[Slab.X, Slab.X]) as solver:
        with pytest.raises(RuntimeError, match="plan"):
            solver.factorize()
        solver.plan()
        with pytest.raises(RuntimeError, match="factorize"):
            solver.solve()
        assert "blocks of" in solver.report()
        if group().rank == 0:
            solver.release_operands()
        with pytest.raises(RuntimeError, match="released"):
            solver.factorize()


def test_box():
    if group().nranks > 8:
        return
    a, b, x = systems(8, 1)
    rank, nranks = group().rank, group().nranks
    box = Box((rank, 0), (rank + 1 if rank < nranks - 1 else 8, 8))
    mine = np.array(a[box.lower[0] : box.upper[0]], order="F")
    near(direct_solver(mine, local(b, Slab.X, "F"), distributions=[box, Slab.X]), local(x, Slab.X))
