"""Matrices as applications have them, as dense arrays of double precision unless said otherwise, and as CSR."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

DTYPES = ("float32", "float64", "complex64", "complex128")
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in DTYPES}


def laplacian(*extents: int) -> sp.csr_array:
    """The finite differences of Poisson's equation on a grid."""
    total = sp.csr_array((1, 1))
    for n in extents:
        line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
        total = sp.kron(total, sp.eye_array(n)) + sp.kron(sp.eye_array(total.shape[0]), line)
    return csr(total)


def finite_elements() -> sp.csr_array:
    """Linear elements on a triangulated square with coefficients that jump by 10^4: symmetric positive definite."""
    n = 9
    rng = np.random.default_rng(1)
    element = np.array([[1.0, -0.5, -0.5], [-0.5, 0.5, 0], [-0.5, 0, 0.5]])
    rows, cols, values = [], [], []
    for i in range(n - 1):
        for j in range(n - 1):
            k = i * n + j
            coefficient = 10.0 ** rng.integers(-2, 3)
            for corners in ((k, k + 1, k + n), (k + n + 1, k + n, k + 1)):
                for p in range(3):
                    for q in range(3):
                        rows.append(corners[p])
                        cols.append(corners[q])
                        values.append(coefficient * element[p, q])
    stiffness = sp.coo_array((values, (rows, cols)), shape=(n * n, n * n))
    return csr(stiffness + 1e-2 * sp.eye_array(n * n))


def circuit() -> sp.csr_array:
    """Conductances of a random network with a few nodes of high degree, and current rows without a diagonal entry."""
    rng = np.random.default_rng(2)
    n, sources = 70, 6
    edges = [(i, int(rng.integers(0, max(i, 1)))) for i in range(1, n)] + [(0, j) for j in range(10, 60, 3)]
    g = sp.lil_array((n + sources, n + sources))
    for i, j in edges:
        c = float(10.0 ** rng.uniform(-4, 1))
        g[i, i] += c
        g[j, j] += c
        g[i, j] -= c
        g[j, i] -= c
    g[0, 0] += 1.0
    for s in range(sources):
        node = 5 + 9 * s
        g[n + s, node] = g[node, n + s] = 1.0
        g[n + s, (node * 7) % n] = -2.0  # controlled by another node: not symmetric
    return csr(g)


def kkt() -> sp.csr_array:
    """A saddle point: symmetric, indefinite, with zeros on the diagonal."""
    rng = np.random.default_rng(3)
    h = laplacian(8, 8) + sp.eye_array(64)
    b = sp.random_array((20, 64), density=0.06, rng=rng) + sp.eye_array(20, 64)
    return csr(sp.block_array([[h, b.T], [b, None]]))


def helmholtz() -> sp.csr_array:
    """Damped waves: complex symmetric, indefinite."""
    return csr(laplacian(10, 9) - (2.3 + 0.2j) * sp.eye_array(90))


def random() -> sp.csr_array:
    """Random entries in random places, the diagonal no larger than the others."""
    rng = np.random.default_rng(4)
    n = 120
    a = sp.random_array((n, n), density=0.05, rng=rng, data_sampler=rng.standard_normal)
    permutation = sp.csr_array((rng.standard_normal(n), (np.arange(n), rng.permutation(n))), shape=(n, n))
    return csr(a + permutation)


def badly_scaled() -> sp.csr_array:
    """The random matrix with rows and columns scaled by up to 10^6 either way."""
    rng = np.random.default_rng(5)
    a = random()
    scales = [sp.diags_array(10.0 ** rng.uniform(-6, 6, a.shape[0])) for _ in range(2)]
    return csr(scales[0] @ a @ scales[1])


def one_by_one() -> sp.csr_array:
    return csr(sp.csr_array([[3.0]]))


def permutation() -> sp.csr_array:
    """No entry on the diagonal at all."""
    n = 12
    return csr(sp.csr_array((np.arange(1.0, n + 1), (np.arange(n), np.roll(np.arange(n), 1))), shape=(n, n)))


def tridiagonal() -> sp.csr_array:
    """Narrow, and in need of row exchanges."""
    n = 40
    rng = np.random.default_rng(6)
    bands = [rng.standard_normal(n - 1), 1e-3 * rng.standard_normal(n), rng.standard_normal(n - 1)]
    return csr(sp.diags_array(bands, offsets=[-1, 0, 1]))


def pentadiagonal() -> sp.csr_array:
    n = 31
    rng = np.random.default_rng(7)
    return csr(sp.diags_array([rng.standard_normal(n - abs(k)) for k in (-2, 0, 1, 3)], offsets=[-2, 0, 1, 3]))


FAMILIES: dict[str, Callable[[], sp.csr_array]] = {
    f.__name__: f
    for f in (
        finite_elements, circuit, kkt, helmholtz, random, badly_scaled, one_by_one, permutation, tridiagonal,
        pentadiagonal,
    )
}  # fmt: skip


def csr(matrix: Any, dtype: str | None = None, index: str = "int32") -> sp.csr_array:
    """CSR with sorted columns and indices of the given type."""
    a = sp.csr_array(matrix)
    a.sum_duplicates()
    a.sort_indices()
    data = a.data if dtype is None else cast(a.data, dtype)
    return sp.csr_array((data, a.indices.astype(index), a.indptr.astype(index)), shape=a.shape)


def cast(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values in another dtype; real ones get an imaginary part from a complex one, and the other way round."""
    if dtype.startswith("complex") and not np.iscomplexobj(values):
        phases = np.exp(1j * np.random.default_rng(len(values)).uniform(0, 1, values.shape))
        return (values * phases).astype(dtype)
    return (values.real if not dtype.startswith("complex") else values).astype(dtype)


def to_package(a: sp.csr_array, package: str) -> Any:
    """The matrix as a SciPy array or as a tensor over the same memory."""
    if package == "numpy":
        return a
    import torch

    torch.sparse.check_sparse_tensor_invariants.enable()  # torch warns where nobody says whether to check
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(*(torch.from_numpy(x) for x in (a.indptr, a.indices, a.data)), size=a.shape)


def backward_error(a: sp.csr_array, x: np.ndarray, b: np.ndarray) -> float:
    """The largest backward error of any column, in extended precision, by the largest row sum and 2-norms."""
    wide = np.clongdouble if np.iscomplexobj(a.data) else np.longdouble
    dense = a.toarray().astype(wide)
    x, b = (np.asarray(v).astype(wide).reshape(a.shape[0], -1) for v in (x, b))
    norm = abs(dense).sum(axis=1).max()
    residual = np.sqrt((abs(b - dense @ x) ** 2).sum(axis=0))
    scale = norm * np.sqrt((abs(x) ** 2).sum(axis=0)) + np.sqrt((abs(b) ** 2).sum(axis=0))
    return float(np.max(np.where(residual == 0, 0, residual / np.where(scale == 0, 1, scale))))


def right_hand_side(a: sp.csr_array, columns: int | None = None, order: str = "C", seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (a.shape[0],) if columns is None else (a.shape[0], columns)
    b = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if np.iscomplexobj(a.data) else 0)
    return np.array(b, dtype=a.dtype, order=order)
