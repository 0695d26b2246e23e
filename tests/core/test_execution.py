"""What users may write for the execution space, in every operation alike."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import planmath

X = np.arange(9.0).reshape(3, 3) + 4 * np.eye(3)

OPERATIONS = {
    "fft": lambda execution: planmath.fft.rfft(X, execution=execution),
    "advanced": lambda execution: planmath.linalg.advanced.matmul(X, X, execution=execution),
    "generic": lambda execution: planmath.linalg.matmul(X, X, execution=execution),
    "tensor": lambda execution: planmath.tensor.binary_contraction("ij,jk->ik", X, X, execution=execution),
    "network": lambda execution: planmath.tensor.contract("ij,jk->ik", X, X, execution=execution),
    "sparse": lambda execution: planmath.sparse.advanced.direct_solver(sp.csr_array(X), X[0], execution=execution),
}  # fmt: skip
CPU = ("CPU", "Cpu", {"name": "CPU", "num_threads": 1}, {"num_threads": 1}, {})


@pytest.mark.parametrize("name", OPERATIONS)
def test_names_and_parameters(name):
    expected = OPERATIONS[name](None)
    for execution in CPU if name != "sparse" else (*CPU[:2], {}):
        np.testing.assert_allclose(OPERATIONS[name](execution), expected)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    ("execution", "error", "message"),
    [
        ("gpu", ValueError, "did you mean 'cuda'"),
        ({"name": "vector"}, ValueError, "'vector' does not exist: choose from 'cpu', 'cuda'"),
        ({"num_thread": 1}, TypeError, "execution 'cpu' has no parameter 'num_thread'"),
        (7, TypeError, "execution is a int; expected 'cpu'"),
    ],
)
def test_refusals(name, execution, error, message):
    if name == "sparse" and "num_thread" in str(execution):
        message = "execution 'cpu' has no parameter"
    with pytest.raises(error, match=message):
        OPERATIONS[name](execution)
