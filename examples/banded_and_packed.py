"""Matrices in band and in packed storage: less memory, and of narrow bands much less work."""

import numpy as np

from planmath.linalg import (
    BandedMatrixQualifier,
    FillMode,
    GeneralMatrixQualifier,
    SymmetricPackedMatrixQualifier,
    TriangularBandedMatrixQualifier,
    matmul,
    matrix_qualifiers_dtype,
    triangular_solve,
)

n, general = 1000, GeneralMatrixQualifier.create()
x = np.random.default_rng(0).standard_normal((n, 4))

# second differences: a row for each diagonal, the uppermost first; one of them is below the main one
differences = np.ones((3, n)) * [[1], [-2], [1]]
qualifiers = np.array([BandedMatrixQualifier.create(below=1), general], matrix_qualifiers_dtype)
y = matmul(differences, x, qualifiers=qualifiers)
assert np.allclose(y[1:-1], x[:-2] - 2 * x[1:-1] + x[2:])

# sums from the first element on are the solution with the differences of neighbours
lower = np.ones((2, n)) * [[1], [-1]]
assert np.allclose(triangular_solve(lower, x, qualifier=TriangularBandedMatrixQualifier.create()), x.cumsum(axis=0))

# a covariance, of which the columns of the upper triangle are stored one behind the other
rows = np.random.default_rng(1).standard_normal((50, 30))
covariance = matmul(rows.T, rows)
packed = covariance.T[np.tril_indices(30)]
qualifiers = np.array([SymmetricPackedMatrixQualifier.create(uplo=FillMode.UPPER), general], matrix_qualifiers_dtype)
assert np.allclose(matmul(packed, x[:30], qualifiers=qualifiers), covariance @ x[:30])
print(f"{packed.nbytes} bytes in place of {covariance.nbytes}, and {differences.nbytes} in place of {8 * n * n}")
