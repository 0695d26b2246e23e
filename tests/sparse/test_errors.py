"""What bad input gets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from planmath.core.errors import UnavailableError, UnsupportedLayoutError
from planmath.sparse.advanced import (
    DirectSolver,
    DirectSolverMatrixType,
    DirectSolverMatrixViewType,
    DirectSolverOptions,
    DirectSolverPlanPreferences,
    ExecutionCUDA,
    ExecutionHybrid,
    HybridMemoryModeOptions,
    direct_solver,
)
from tests.misuse import Misuse, check
from tests.sparse.matrices import csr, laplacian

T, V = DirectSolverMatrixType, DirectSolverMatrixViewType
A, B = laplacian(6), np.ones(6)


def raw(starts, columns, values=None, n=None, dtype="int32"):
    """CSR that SciPy did not check."""
    a = laplacian(len(starts) - 1 if n is None else n)
    values = np.ones(len(columns)) if values is None else values
    a.indptr, a.indices, a.data = np.array(starts, dtype), np.array(columns, dtype), np.array(values)
    return a


def planned(a, b=None, **options):
    def call():
        with DirectSolver(a, np.ones(a.shape[0]) if b is None else b, options=options or None) as solver:
            solver.plan()

    return call


def with_value(value, position=4):
    a = laplacian(6)
    a.data[position] = value
    return a


def torch_matrix(values=None):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from tests.sparse.matrices import to_package

    return torch, to_package(A, "torch")


MISUSES = [
    Misuse("csc", lambda: DirectSolver(A.tocsc(), B), TypeError, (r"a is a csc_array.*a\.tocsr\(\)",)),
    Misuse("coo matrix", lambda: DirectSolver(sp.coo_matrix(A), B), TypeError, (r"coo_matrix.*tocsr",)),
    Misuse("dense", lambda: DirectSolver(A.toarray(), B), TypeError, (r"dense.*scipy\.sparse\.csr_array\(a\)",)),
    Misuse("no array", lambda: DirectSolver("abc", B), TypeError, ("a is a str",)),
    Misuse("empty batch", lambda: DirectSolver([], []), ValueError, ("empty sequence",)),
    Misuse("in a batch", lambda: DirectSolver([A, A.tocsc()], [B, B]), TypeError, (r"a\[1\] is a csc_array",)),
    Misuse("not square", lambda: DirectSolver(sp.csr_array(np.ones((2, 3))), B), ValueError, (r"\(2, 3\).*square",)),
    Misuse("no rows", lambda: DirectSolver(sp.csr_array((0, 0)), B), ValueError, (r"\(0, 0\)",)),
    Misuse("integers", lambda: DirectSolver(A.astype(int), B.astype(int)), ValueError, ("int64.*float32",)),
    Misuse("b too long", lambda: DirectSolver(A, np.ones(7)), ValueError, (r"\(7,\).*\(6,\) or \(6, k\)",)),
    Misuse("b of three dimensions", lambda: DirectSolver(A, np.ones((2, 6, 1))), ValueError, (r"\(2, 6, 1\)",)),
    Misuse("b without columns", lambda: DirectSolver(A, np.ones((6, 0))), ValueError, (r"\(6, 0\)",)),
    Misuse("b of another dtype", lambda: DirectSolver(A, B.astype("f")), ValueError, ("float32 and a has float64",)),
    Misuse("b a sequence", lambda: DirectSolver(A, [B]), ValueError, ("b is a sequence of 1, and a is one matrix",)),
    Misuse("too few in b", lambda: DirectSolver([A, A], [B]), ValueError, ("1 right-hand sides, and a has 2",)),
    Misuse("batch of b", lambda: DirectSolver([A, A], np.ones((3, 6, 1))), ValueError, (r"1\); expected \(2, 6, k\)",)),
    Misuse(
        "batch of different dtypes", lambda: DirectSolver([A, csr(A, "float32")], [B, B]), ValueError,
        (r"a\[1\] has the dtypes",),
    ),
    Misuse("starts", planned(raw([1, 1, 2], [0, 1])), ValueError, ("begin with 1; expected 0",)),
    Misuse("decreasing", planned(raw([0, 2, 1, 3], [0, 1, 2])), ValueError, ("decrease at row 1",)),
    Misuse("too long", planned(raw([0, 1, 9], [0, 1])), ValueError, ("beyond its 2 entries, in row 1",)),
    Misuse("out of range", planned(raw([0, 1, 2], [0, 2])), ValueError, ("column index 2 in row 1.*2 columns",)),
    Misuse("negative", planned(raw([0, 1, 2], [0, -1])), ValueError, ("column index -1 in row 1",)),
    Misuse("unsorted", planned(raw([0, 2, 3], [1, 0, 1])), ValueError, (r"unsorted.*row 0.*sort_indices\(\)",)),
    Misuse("duplicate", planned(raw([0, 2, 3], [1, 1, 0])), ValueError, (r"column 1 twice in row 0.*sum_dup",)),
    Misuse("few values", planned(raw([0, 1, 2], [0, 1], [1.0])), ValueError, ("2 column indices and 1 values",)),
    Misuse("int16", planned(raw([0, 1, 2], [0, 1], dtype="int16")), ValueError, ("int16.*int32 or int64",)),
    Misuse("NaN", planned(with_value(np.nan), provider="pardiso"), ValueError, ("not finite .* in row 1",)),
    Misuse("infinity", lambda: direct_solver(with_value(np.inf), B), ValueError, ("not finite .* in row 1",)),
    Misuse("NaN in b", lambda: direct_solver(A, np.array([1, 2, np.nan, 0, 0, 0])), ValueError, ("b has .* in row 2",)),
    Misuse(
        "Hermitian and real", lambda: DirectSolver(A, B, options={"sparse_system_type": T.HERMITIAN}), ValueError,
        ("HERMITIAN and a has the dtype float64.*use SYMMETRIC",),
    ),
    Misuse(
        "SPD and complex", lambda: DirectSolver(A * 1j, B + 0j, options={"sparse_system_type": 3}), ValueError,
        ("SPD and a has the dtype complex128.*use HPD",),
    ),
    Misuse(
        "view of a general matrix", lambda: DirectSolver(A, B, options={"sparse_system_view": V.LOWER}), ValueError,
        ("LOWER or UPPER and sparse_system_type is GENERAL",),
    ),
    Misuse(
        "pattern that is not symmetric", planned(csr(np.triu(A.toarray())), sparse_system_type=T.SYMMETRIC), ValueError,
        ("pattern that is not symmetric.*sparse_system_view of LOWER or UPPER",),
    ),
    Misuse(
        "SPD without a diagonal", planned(csr(np.fliplr(np.eye(4))), sparse_system_type=T.SPD), ValueError,
        ("no entry on the diagonal in row 0",),
    ),
    Misuse("unknown option", lambda: DirectSolver(A, B, options={"provder": 1}), TypeError, ("mean 'provider'",)),
    Misuse("type", lambda: DirectSolverOptions(sparse_system_type=9), ValueError, ("is 9; expected.*GENERAL",)),
    Misuse("on_inaccurate", lambda: DirectSolverOptions(on_inaccurate="shout"), ValueError, ("'warn', 'raise'",)),
    Misuse("unknown provider", planned(A, provider="umfpack"), ValueError, ("'umfpack' does not exist",)),
    Misuse("wide band", planned(laplacian(20, 20), provider="banded"), UnavailableError, ("40 diagonals .* 32",)),
    Misuse("execution", lambda: DirectSolver(A, B, execution="gpu"), ValueError, ("did you mean 'cuda'",)),
    Misuse("execution of a type", lambda: DirectSolver(A, B, execution=3), TypeError, ("ExecutionHybrid object",)),
    Misuse("no threads", lambda: ExecutionHybrid(num_threads=0), ValueError, ("num_threads is 0",)),
    Misuse("memory limit", lambda: HybridMemoryModeOptions(hybrid_device_memory_limit=1.5), ValueError, ("1.5",)),
    Misuse("threads", lambda: DirectSolverPlanPreferences(host_nthreads=0), ValueError, ("is 0.*at least 1",)),
    Misuse("threshold", lambda: DirectSolverPlanPreferences(pivot_threshold=2), ValueError, ("from 0.0 to 1.0",)),
    Misuse("reordering", lambda: DirectSolverPlanPreferences(reordering_algorithm=9), ValueError, ("COLAMD",)),
    Misuse(
        "too many nonzeros", lambda: direct_solver(laplacian(9, 9), np.ones(81), plan_preferences={"max_nnz": 90}),
        UnavailableError, ("more than plan_config.max_nnz = 90",),
    ),
]  # fmt: skip


@pytest.mark.parametrize("misuse", MISUSES, ids=[m.what for m in MISUSES])
def test_misuse(misuse):
    check(misuse)


@pytest.mark.parametrize("execution", ["cuda", "hybrid", ExecutionCUDA(), ExecutionHybrid()])
def test_other_execution_spaces_have_no_provider_here(execution, provider):
    with (
        DirectSolver(A, B, execution=execution, options={"provider": provider}) as solver,
        pytest.raises(UnavailableError, match=r"on the CPU only|CUDA device is not possible"),
    ):
        solver.plan()


def test_packages_do_not_mix():
    torch, matrix = torch_matrix()
    with pytest.raises(TypeError, match="b is a numpy array; expected a torch one"):
        DirectSolver(matrix, B)
    with pytest.raises(TypeError, match="b is a torch array; expected a numpy one"):
        DirectSolver(A, torch.from_numpy(B))
    with pytest.raises(TypeError, match=r"a\[1\] belongs to torch and a\[0\] to numpy"):
        DirectSolver([A, matrix], [B, B])


def test_other_layouts_of_torch():
    torch, matrix = torch_matrix()
    with pytest.raises(TypeError, match=r"layout torch.sparse_coo.*a\.to_sparse_csr\(\)"):
        DirectSolver(matrix.to_sparse_coo(), torch.ones(6, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"layout torch.strided.*to_sparse_csr"):
        DirectSolver(matrix.to_dense(), torch.ones(6, dtype=torch.float64))


def test_values_with_gaps():
    a = laplacian(6)
    a.data = np.repeat(a.data, 2)[::2]
    with pytest.raises(UnsupportedLayoutError, match="values of a have gaps"):
        DirectSolver(a, B)


def test_execution_space_options():
    cuda = ExecutionCUDA(hybrid_memory_mode_options={"hybrid_memory_mode": True, "hybrid_device_memory_limit": "80%"})
    assert cuda.hybrid_memory_mode_options == HybridMemoryModeOptions(True, "80%")
    assert ExecutionCUDA().device_id == 0
    with pytest.raises(TypeError, match="hybrid_memory_mode_options has no field"):
        ExecutionCUDA(hybrid_memory_mode_options={"hybrid": True})
