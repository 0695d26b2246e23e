"""Batches: sequences of systems of any sizes, and tensors of more than two dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.core.accuracy import TOLERANCE
from planmath.sparse.advanced import DirectSolver, direct_solver
from tests.arrays import to_numpy
from tests.arrays import to_package as array_to_package
from tests.sparse.matrices import FAMILIES, backward_error, csr, right_hand_side, to_package

SIZES = ("tridiagonal", "one_by_one", "pentadiagonal", "permutation")


def systems(dtype: str = "float64"):
    matrices = [csr(FAMILIES[name](), dtype) for name in SIZES]
    return matrices, [right_hand_side(a, seed=i) for i, a in enumerate(matrices)]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_sequence_of_different_sizes(eight_cpus, threads, provider, package):
    matrices, sides = systems()
    matrices, sides = ([*x[:3]] if provider == "banded" else x for x in (matrices, sides))
    options = {"provider": provider, "on_inaccurate": "raise"}
    with DirectSolver(
        [to_package(a, package) for a in matrices], [array_to_package(b, package) for b in sides],
        options=options, execution={"name": "cpu", "num_threads": threads},
    ) as solver:  # fmt: skip
        solver.plan()
        solver.factorize()
        found = solver.solve()
        assert isinstance(found, tuple)
        info = solver.solution_info
        assert len(info.systems) == len(matrices)
        assert info.backward_error == max(each.backward_error for each in info.systems)
        assert len(solver.factorization_info.lu_nnz) == len(matrices)
    for a, x, b in zip(matrices, found, sides, strict=True):
        assert backward_error(a, to_numpy(x), b) <= TOLERANCE["float64"]


def test_large_batch_of_one_pattern(provider):
    """More systems than a thread takes at a time."""
    rng = np.random.default_rng(0)
    base = csr(FAMILIES["pentadiagonal"]())
    matrices = []
    for _ in range(150):
        a = base.copy()
        a.data = a.data * rng.uniform(0.5, 2, a.nnz)
        matrices.append(a)
    sides = [right_hand_side(a, seed=i) for i, a in enumerate(matrices)]
    for a, x, b in zip(matrices, direct_solver(matrices, sides, options={"provider": provider}), sides, strict=True):
        assert backward_error(a, x, b) <= TOLERANCE["float64"]


def test_sequence_is_reset(provider):
    matrices, sides = systems()
    matrices, sides = matrices[:3], sides[:3]
    with DirectSolver(matrices, sides, options={"provider": provider}) as solver:
        solver.plan()
        solver.factorize()
        first = solver.solve()
        solver.reset_operands(b=[2 * b for b in sides])
        for x, y in zip(first, solver.solve(), strict=True):
            np.testing.assert_allclose(y, 2 * x, rtol=1e-12)
        solver.reset_operands(a=[csr(a * 4) for a in matrices])
        solver.factorize()
        out = solver.empty_result()
        assert solver.solve(out=out) is out
        for x, y in zip(first, out, strict=True):
            np.testing.assert_allclose(y, x / 2, rtol=1e-9)


def test_explicit_matrices_and_implicit_right_hand_sides(provider):
    matrices = [csr(FAMILIES["pentadiagonal"]() * k) for k in (1.0, 2.0, -3.0)]
    b = np.random.default_rng(0).standard_normal((3, 31, 2))
    x = direct_solver(matrices, b, options={"provider": provider})
    assert x.shape == b.shape
    for i, a in enumerate(matrices):
        assert backward_error(a, x[i], b[i]) <= TOLERANCE["float64"]


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("columns_first", [False, True])
@pytest.mark.parametrize("batch", [(3,), (2, 2)])
def test_tensor_of_more_dimensions(batch, columns_first, explicit, provider):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.sparse.check_sparse_tensor_invariants.enable()
    rng = np.random.default_rng(1)
    base = csr(FAMILIES["pentadiagonal"]())
    count = int(np.prod(batch))
    values = torch.from_numpy(base.data * rng.uniform(0.5, 2, (*batch, base.nnz)))
    starts, columns = (
        torch.from_numpy(x).expand(*batch, len(x)).contiguous() for x in (base.indptr, base.indices)
    )  # fmt: skip
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = torch.sparse_csr_tensor(starts, columns, values, size=(*batch, 31, 31))
    b = torch.from_numpy(rng.standard_normal((*batch, 2, 31))).transpose(-1, -2) if columns_first else (
        torch.from_numpy(rng.standard_normal((*batch, 31, 2)))
    )  # fmt: skip
    flat = b.reshape(count, 31, 2)
    given = [flat[i] for i in range(count)] if explicit else b
    x = direct_solver(a, given, options={"provider": provider})
    if not explicit:
        assert x.shape == b.shape
        assert x.stride() == b.stride()
        x = x.reshape(count, 31, 2)
    for i in range(count):
        sample = base.copy()
        sample.data = values.reshape(count, -1)[i].numpy().copy()
        assert backward_error(sample, to_numpy(x[i]), to_numpy(flat[i])) <= TOLERANCE["float64"]


def plan_and_factorize(solver):
    solver.plan()
    solver.factorize()


def test_one_bad_system_is_named(provider):
    from planmath.sparse.advanced import SingularMatrixError

    matrices, sides = systems()
    matrices, sides = matrices[:3], sides[:3]
    matrices[2].data[5] = np.nan
    with DirectSolver(matrices, sides, options={"provider": provider}) as solver:
        with pytest.raises(ValueError, match=r"a\[2\] has a value that is not finite .* in row"):
            plan_and_factorize(solver)
        matrices[2].data[:] = 1.0
        solver.plan()
        matrices[2].data[:] = 0.0
        if provider != "pardiso":
            with pytest.raises(SingularMatrixError, match=r"a\[2\] is singular"):
                solver.factorize()
