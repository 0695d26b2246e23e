"""Coarse operators of a multigrid method, A_c = Pᵀ A P, for many A with one pattern: it is planned once.

And an attention over the edges of a graph: a product of dense matrices for the entries of a sparse one alone.
"""

import numpy as np
import scipy.sparse as sp

from planmath.sparse import Matmul, matmul, matmul_matrix_qualifiers_dtype

n = 63  # points of a line that are not on the border; every other one is on the coarse grid
line = sp.diags_array([0.5, 1.0, 0.5], offsets=[-1, 0, 1], shape=(n, n)).tocsr()[:, 1::2]
prolongation = sp.csr_array(sp.kron(line, line))
one = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
pattern = sp.csr_array(sp.kron(sp.eye_array(n), one) + sp.kron(one, sp.eye_array(n)))

transposed = np.zeros(3, matmul_matrix_qualifiers_dtype)
transposed["is_transpose"][0] = 1
rng = np.random.default_rng(0)
with Matmul(pattern, prolongation) as right:
    right.plan()
    half = right.empty_result()
    with Matmul(prolongation, half, qualifiers=transposed) as left:
        left.plan()
        coarse = left.empty_result()
        for _ in range(3):
            pattern.data[:] *= rng.uniform(0.9, 1.1, pattern.nnz)  # other coefficients, in place
            right.execute(out=half)
            left.execute(out=coarse)
            assert abs(coarse - prolongation.T @ pattern @ prolongation).max() < 1e-12
        print(f"{right!r}\n{left!r}")

nodes, features = 500, 32
graph = sp.csr_array(sp.random_array((nodes, nodes), density=0.02, rng=rng))
queries, keys = rng.standard_normal((2, nodes, features)) / features**0.5
scores = graph.copy()  # of its edges alone
matmul(queries, keys.T, scores, beta=0, epilog=np.exp)
rows, columns = scores.tocoo().coords
assert np.allclose(scores.data, np.exp((queries[rows] * keys[columns]).sum(axis=1)))
print(f"{scores.nnz} scores")
