"""The factorization by blocks: its orders, its pivots, and when it is chosen."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.core.accuracy import TOLERANCE
from planmath.sparse.advanced import DirectSolver, SingularMatrixError, block_lu, direct_solver
from tests.sparse.matrices import backward_error, csr, laplacian, right_hand_side

BLOCKS = {"provider": "blocks", "on_inaccurate": "raise", "tuning": False}


def random_matrix(n, per_row, seed):
    """Entries anywhere, none on the diagonal larger than the others."""
    random = np.random.default_rng(seed)
    a = sp.random_array((n, n), density=per_row / n, rng=random) + sp.diags_array(random.uniform(0.1, 1, n))
    return csr(a)


def permuted(a, seed):
    random = np.random.default_rng(seed)
    n = a.shape[0]
    return csr(sp.csr_array(a)[random.permutation(n)][:, random.permutation(n)])


def triangular(n, seed):
    return csr(sp.tril(random_matrix(n, 4, seed)))


def circuit(n, seed):
    """A network of conductances with sources, whose rows of the nodes' equations have a zero on the diagonal."""
    random = np.random.default_rng(seed)
    ends = random.integers(0, n, (2, 2 * n))
    ends = ends[:, ends[0] != ends[1]]
    g = sp.coo_array((random.uniform(0.1, 10, ends.shape[1]), ends), shape=(n, n))
    g = sp.csr_array(g + g.T)
    nodes = sp.diags_array(np.asarray(g.sum(axis=1)).ravel() + 1e-3) - g
    m = n // 10
    sources = sp.csr_array((np.ones(m), (np.arange(m), random.permutation(n)[:m])), shape=(m, n))
    return csr(sp.block_array([[nodes, sources.T], [sources, None]]))


def orders(a):
    indices = a.indptr.astype(np.int32), a.indices.astype(np.int32)
    blocks = block_lu.BlockOrder(*indices, block_lu.UNORDERED)
    wanted = block_lu.BY_DIAGONAL, block_lu.BY_COLUMNS
    return [blocks, *(block_lu.BlockOrder(*indices, one, of) for one in wanted for of in (None, blocks))]


@pytest.mark.parametrize("make", [triangular, circuit, lambda n, seed: random_matrix(n, 3, seed)])
@pytest.mark.parametrize("seed", [0, 1])
def test_blocks_are_the_strong_components(make, seed):
    a = permuted(make(300, seed), seed)
    n = a.shape[0]
    for found in orders(a):
        assert found.matched == n
        np.testing.assert_array_equal(np.sort(found.order), np.arange(n))
        np.testing.assert_array_equal(np.sort(found.diagonal), np.arange(n))
        ordered = sp.csr_array(a[found.order][:, found.diagonal])
        assert ordered.diagonal().all()
        count, labels = sp.csgraph.connected_components(ordered, directed=True, connection="strong")
        assert found.blocks == count
        block = np.repeat(np.arange(count), np.diff(found.first[: count + 1]))
        assert len(set(zip(block, labels, strict=True))) == count
        rows, columns = ordered.nonzero()
        assert (block[rows] >= block[columns]).all()


def test_a_permuted_triangle_is_solved_by_substitution():
    a = permuted(triangular(400, 3), 3)
    b = right_hand_side(a)
    with DirectSolver(a, b, options={"tuning": False}) as solver:
        solver.plan()
        info = solver.factorize()
        assert info.lu_nnz == a.nnz
        assert backward_error(a, solver.solve(), b) <= TOLERANCE["float64"]
        assert "blocks(" in repr(solver)
        assert "400 blocks, the largest of 1 rows" in solver.report()


def test_minimum_degree_fills_little():
    a = laplacian(40, 40)
    with DirectSolver(a, np.ones(1600), options=BLOCKS) as solver:
        solver.plan()
        found = solver.factorize().lu_nnz
    assert found < 1.2 * sp.linalg.splu(a.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0).nnz
    order = orders(a)[1]
    assert 2 * order.fill + 1600 == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("seed", range(3))
def test_new_values_are_factorized_along_the_old_pivots_or_new_ones(dtype, seed):
    random = np.random.default_rng(seed)
    a = csr(circuit(200, seed).astype(dtype))
    b = right_hand_side(a, 2)
    with DirectSolver(a, b, options=BLOCKS) as solver:
        solver.plan()
        for scale in (0.1, 0.1, 10.0):  # the last one makes most of the old pivots too small
            a.data[:] *= np.exp(scale * random.standard_normal(a.nnz)).astype(a.data.real.dtype)
            solver.factorize()
            assert backward_error(a, solver.solve(), b) <= 2 * TOLERANCE[dtype]


def test_zeros_on_the_diagonal_ask_for_the_other_order():
    random = np.random.default_rng(5)
    a = random_matrix(300, 4, 5)
    a.setdiag(1e-12 * random.uniform(1, 2, 300))
    a = csr(a)
    b = right_hand_side(a)
    with DirectSolver(a, b, options=BLOCKS) as solver:
        solver.plan()
        assert solver._executor._solver.systems[0].factorization.ordering == "columns"
        solver.factorize()
        assert backward_error(a, solver.solve(), b) <= TOLERANCE["float64"]


def test_exact_zero_names_the_row():
    a = csr(np.array([[1.0, 2, 0], [2, 4, 0], [1, 0, 1]]))
    with pytest.raises(SingularMatrixError, match="has no pivot but zero"):
        direct_solver(a, np.ones(3), options=BLOCKS)


def test_large_systems_with_much_fill_are_left_to_the_libraries():
    a = laplacian(160, 160)
    with DirectSolver(a, np.ones(a.shape[0]), options={"tuning": False}) as solver:
        solver.plan()
        assert "blocks" not in repr(solver).split(":")[1].split(" by ")[0]
        assert "because the pattern is symmetric" in solver.report()
