"""A program of SciPy's sparse solvers: a direct solution, and a preconditioner."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import gmres

from planmath.interfaces.scipy_sparse import Inverse, spsolve

n = 30
line = sp.diags_array([-1.0, 2, -1], offsets=[-1, 0, 1], shape=(n, n))
poisson = (sp.kron(line, sp.eye_array(n)) + sp.kron(sp.eye_array(n), line)).tocsr()
x = spsolve(poisson, np.ones(n * n))
wind = poisson + sp.diags_array([0.1, -0.1], offsets=[1, -1], shape=poisson.shape)
with Inverse(poisson) as inverse:
    y, info = gmres(wind, np.ones(n * n), M=inverse)
assert info == 0
assert np.allclose(wind @ y, 1, atol=1e-2)
print("scipy.sparse:", x.max())
