"""Products of matrices of which something is known: only what is known is stored, and half the work is done."""

import numpy as np

from planmath.linalg import (
    DiagonalMatrixQualifier,
    FillMode,
    GeneralMatrixQualifier,
    Matmul,
    SymmetricMatrixQualifier,
    TriangularMatrixQualifier,
    matmul,
    matrix_qualifiers_dtype,
)

rng = np.random.default_rng(0)
b = rng.standard_normal((500, 300))
qualifiers = np.full(2, GeneralMatrixQualifier.create(), dtype=matrix_qualifiers_dtype)

# a symmetric matrix, of which the upper triangle is stored
symmetric = np.triu(rng.standard_normal((500, 500)))
qualifiers[0] = SymmetricMatrixQualifier.create(uplo=FillMode.UPPER)
full = symmetric + np.triu(symmetric, 1).T
assert np.allclose(matmul(symmetric, b, qualifiers=qualifiers), full @ b)

# a triangular one, planned once, with a new b each time
qualifiers[0] = TriangularMatrixQualifier.create(uplo=FillMode.UPPER)
with Matmul(symmetric, b, qualifiers=qualifiers) as product:
    product.plan()
    product.autotune(seconds=1)
    print(product.report())
    for _ in range(3):
        product.reset_operands(b=b)
        assert np.allclose(product.execute(), symmetric @ b)

# a diagonal one, given as its diagonal
weights = rng.random(500)
qualifiers[0] = DiagonalMatrixQualifier.create()
assert np.allclose(matmul(weights, b, qualifiers=qualifiers), weights[:, None] * b)
