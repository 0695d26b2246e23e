"""A user's program, checked by mypy --strict and by pyright."""

from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp  # type: ignore[import-untyped, unused-ignore]
import torch

import planmath
from planmath.fft.options import FFTOptionsDict
from planmath.linalg import advanced
from planmath.linalg.advanced.options import MatmulPlanPreferencesDict
from planmath.sparse.advanced.options import DirectSolverOptionsDict
from planmath.tensor import (
    BinaryContraction,
    Contraction,
    binary_contraction,
    contract,
    einsum,
    ternary_contraction,
)
from planmath.tensor.options import ContractionOptionsDict

x: npt.NDArray[np.complex128] = np.ones(8, complex)
a: npt.NDArray[np.float64] = np.eye(4)
b = np.ones((4, 2))
t, u = torch.eye(4), torch.ones(4)

# Transforms.
options: FFTOptionsDict = {"norm": "ortho", "provider": "pocketfft"}
assert_type(planmath.fft.fft(x, options=options), npt.NDArray[Any])
assert_type(planmath.fft.rfft(torch.ones(4), axes=[0], options={"result_layout": "natural"}), torch.Tensor)
assert_type(planmath.fft.irfft(planmath.fft.rfft(a)), npt.NDArray[Any])

with planmath.fft.FFT(x, options={"inplace": False}) as transform:
    transform.plan()
    result: npt.NDArray[np.complex128] = transform.execute()

# Products.
preferences: MatmulPlanPreferencesDict = {"limit": 3}
assert_type(advanced.matmul(a, b, preferences=preferences), npt.NDArray[Any])
assert_type(advanced.matmul(t, t, alpha=2.0), torch.Tensor)
biased: npt.NDArray[Any] = advanced.matmul(
    a, b, epilog=advanced.MatmulEpilog.BIAS, epilog_inputs={"bias": np.ones(4)}
)  # fmt: skip
assert_type(planmath.linalg.matmul(a, b, b, beta=1.0), npt.NDArray[Any])
assert_type(planmath.linalg.matmul([a, a], [b, b]), list[npt.NDArray[Any]])
assert_type(planmath.linalg.matmul([t, t], [t, t]), list[torch.Tensor])
assert_type(planmath.linalg.triangular_solve(t, t), torch.Tensor)

# Systems.
assert_type(planmath.linalg.direct_solver(a, b, structure="auto"), npt.NDArray[Any])
assert_type(planmath.linalg.direct_solver([a, a], [b, b]), tuple[npt.NDArray[Any], ...])
assert_type(planmath.linalg.direct_solver(t, u), torch.Tensor)
solver_options: DirectSolverOptionsDict = {"on_inaccurate": "raise"}
matrix = sp.csr_array(a)
assert_type(planmath.sparse.advanced.direct_solver(matrix, b, options=solver_options), npt.NDArray[Any])

# Sparse products and contractions.
product: npt.NDArray[Any] = planmath.sparse.matmul(matrix, b)
assert_type(planmath.sparse.matmul(t.to_sparse_csr(), t), torch.Tensor)
limit: ContractionOptionsDict = {"memory_limit": "1 GiB"}
assert_type(binary_contraction("ij,jk->ik", a, b, options=limit), npt.NDArray[Any])
assert_type(ternary_contraction("ij,jk,kl", t, t, c=t), torch.Tensor)
assert_type(contract("ij,jk,k->i", t, t, u, optimize="greedy"), torch.Tensor)
assert_type(contract("ij,jk->i", a, b), npt.NDArray[Any])
assert_type(einsum("ij,jk", a, b), npt.NDArray[Any])

# Operations are of their operands.
assert_type(planmath.fft.FFT(a).execute(), npt.NDArray[Any])
assert_type(planmath.fft.FFT(u, axes=[0]).empty_result(), torch.Tensor)
assert_type(advanced.Matmul(a, b).execute(), npt.NDArray[Any])
assert_type(planmath.linalg.Matmul(t, t).execute(), torch.Tensor)
assert_type(planmath.linalg.Matmul([a, a], [b, b]).execute(), list[npt.NDArray[np.float64]])
assert_type(planmath.linalg.Matmul([t], [t]).execute(), list[torch.Tensor])
assert_type(planmath.linalg.TriangularSolver(t, t).execute(), torch.Tensor)
assert_type(planmath.linalg.DirectSolver(a, b).solve(2 * b), npt.NDArray[Any])
solutions: tuple[npt.NDArray[Any], ...] = planmath.linalg.DirectSolver([a, a], [b, b]).solve()
assert_type(planmath.linalg.DirectSolver(t, u).solve(trans="T"), torch.Tensor)
assert_type(planmath.sparse.advanced.DirectSolver(t.to_sparse_csr(), u).solve(), torch.Tensor)
assert_type(planmath.sparse.Matmul(matrix, b).execute(), npt.NDArray[Any])
assert_type(planmath.sparse.Matmul(t.to_sparse_csr(), t).execute(), torch.Tensor)
assert_type(planmath.sparse.Matmul(t, t, t.to_sparse_csr()).execute(), torch.Tensor)
assert_type(BinaryContraction("ij,jk->ik", t, t).execute(alpha=2), torch.Tensor)
assert_type(Contraction("ij,jk,kl->i", b, b.T, b).execute(), npt.NDArray[Any])


class Layer:
    """One that is planned once, whatever its operands are."""

    product: advanced.Matmul[torch.Tensor]

    def __init__(self, weights: torch.Tensor, x: torch.Tensor) -> None:
        self.product = advanced.Matmul(weights, x)
        self.product.plan(epilog=advanced.MatmulEpilog.RELU)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.product.reset_operands(b=x)
        return self.product.execute()


with advanced.Matmul(a, b) as planned:
    assert_type(planned.execute(out=planned.empty_result()), npt.NDArray[Any])
