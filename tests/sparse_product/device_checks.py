"""Checks of sparse products on a device: they run on one, and on stand-ins for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from planmath.core.errors import UnavailableError
from planmath.sparse import Matmul, matmul_matrix_qualifiers_dtype, ust
from tests import arrays

N = ust.NamedFormats
SHAPES = {1: (12,), 2: (8, 12), 3: (4, 6, 8)}
MATRICES = [
    N.DenseMatrixRight, N.DenseMatrixLeft, N.COO, N.CSR, N.CSC, N.DCSR, N.DCSC, N.CROW, N.CCOL, N.DIAI, N.DIAJ,
    N.SkewDIAI, N.SkewDIAJ, N.BSRRight((2, 3)), N.BSRLeft((2, 3)), N.BSCRight((4, 2)), N.BSCLeft((4, 2)), N.DELTA(1),
    N.DELTA(4), N.Structured(3, 3), N.CSFd(2),
]  # fmt: skip
OTHERS = [
    N.DenseVector, N.SparseVector, N.BlockVector(3), N.COOd(1), N.BatchedCSR, N.BatchedDIAINonUniform,
    N.BatchedDIAIUniform, N.BSR3((2, 3, 2)), N.COOd(3), N.COOd(2, 1), N.CSFd(3), N.CSRd(0, 1), N.CSCd(0, 1),
    N.BSRRightd((2, 2), 0, 1), N.DensedRight(3), N.DensedLeft(3),
]  # fmt: skip
TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "complex64": 1e-5}


def values(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0, density: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape)
    if dtype.startswith("complex"):
        made = made + 1j * rng.uniform(0.5, 2, shape)
    return np.asarray(made * (rng.random(shape) < density)).astype("float32" if dtype == "bfloat16" else dtype)


def qualified(a: tuple[int, int] = (0, 0), b: tuple[int, int] = (0, 0)) -> np.ndarray:
    return np.array([a, b, (0, 0)], matmul_matrix_qualifiers_dtype)


def sparse(
    a: np.ndarray, form: ust.TensorFormat, index_type: str = "int32", package: str = "numpy", dtype: str = ""
) -> ust.Tensor:
    """A tensor of a format, whose arrays are a package's."""
    found = ust.Tensor.from_package(a).convert(tensor_format=form, index_type=index_type)
    if package == "numpy":
        return found
    if package == "cupy":
        return found.to(0)
    import torch

    put = found._filled().each(lambda x: torch.from_numpy(x).cuda())
    if dtype == "bfloat16":
        put = put._replace(val=put.val.bfloat16())
    return ust.Tensor._of(found.extents, form, put, "torch")


def dense(array: np.ndarray, package: str, dtype: str = "") -> Any:
    made = array if package == "numpy" else arrays.to_package(array, package)
    return made.bfloat16() if dtype == "bfloat16" else made


def to_numpy(array: Any) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return array
    return arrays.to_numpy(array.float() if str(array.dtype) == "torch.bfloat16" else array)


def close(found: Any, expected: np.ndarray, dtype: str = "float64") -> None:
    tolerance = TOLERANCE.get(dtype, 1e-12)
    np.testing.assert_allclose(to_numpy(found), expected, rtol=tolerance, atol=tolerance * 10)


def every_way(operation: Matmul, most: int = 99, **plan: Any) -> Iterator[Any]:
    """Plan each of the provider's algorithms in turn; those that the library has, and at most so many."""
    operation.plan(**plan)
    plan_made = operation._plan_made
    assert plan_made is not None
    problem, ways = plan_made.problem, list(plan_made.algorithms)[:most]
    found = []
    for way in ways:
        try:
            operation._make_plan(problem, operation._slots, (way,))
        except UnavailableError:
            continue
        found.append(way)
        yield way
    assert found


def check_product(
    provider: str, form: ust.TensorFormat, dtype: str = "float64", index_type: str = "int32",
    columns: int | None = 7, order: Any = "C", transposed: bool = False, with_c: bool = False, package: str = "numpy",
    conjugated: tuple[bool, bool] = (False, False), semiring: str | None = None,
    most: int = 99,
) -> bool:  # fmt: skip
    """Compare every algorithm's product with a dense one; False where the provider has none."""
    a = values(SHAPES[form.num_dimensions], dtype, density=0.3)
    transposed = transposed and a.ndim > 1
    op = a.swapaxes(-1, -2) if transposed else a
    shape = (op.shape[-1],) if columns is None else (*a.shape[:-2], op.shape[-1], columns)
    b = values(shape, dtype, 1)
    wide = "complex128" if dtype.startswith("complex") else "float64"
    left, right = (x.astype(wide).conj() if c else x.astype(wide) for x, c in zip((op, b), conjugated, strict=True))
    if dtype == "bfloat16":  # as it is rounded
        import torch

        left, right = (torch.from_numpy(x.astype("float32")).bfloat16().double().numpy() for x in (left, right))
    if semiring == "max_plus":
        pairs = np.where((left != 0)[..., None], left[..., None] + right.reshape(1, op.shape[-1], -1), -np.inf)
        expected = pairs.max(axis=-2).reshape(op.shape[:-1] + b.shape[1:])
        factors: dict[str, Any] = {}
    else:
        expected, factors = 2 * np.matmul(left, right), {"alpha": 2.0}
    b, c = by(b, order), None
    if with_c:
        if expected.ndim == 0:
            return True
        c = by(values(expected.shape, dtype, 2), order)
        expected = np.maximum(expected, c) if semiring else expected + 0.5 * c.astype(wide)
        factors |= {} if semiring else {"beta": 0.5}
    qualifiers = qualified((int(transposed), int(conjugated[0])), (0, int(conjugated[1])))
    tensor = sparse(a, form, index_type, package, dtype)
    operands = [tensor, dense(b, package, dtype), None if c is None else dense(c, package, dtype)]
    options = {"provider": provider, "tuning": False}
    with Matmul(*operands, qualifiers=qualifiers, execution="cuda", options=options, **factors) as product:
        try:
            for _ in every_way(product, most, semiring=semiring):
                if c is not None:
                    product.reset_operands(c=dense(c.copy("K"), package, dtype))
                found = product.execute()
                close(found, expected, dtype)
                if c is not None:
                    product.reset_operands(c=dense(c.copy("K"), package, dtype))
                again = product.execute()
                if provider == "generated":
                    np.testing.assert_array_equal(to_numpy(again), to_numpy(found))
        except UnavailableError:
            return False
    return True


def by(array: np.ndarray, order: str) -> np.ndarray:
    """An array whose matrices lie by rows or by columns."""
    if order == "C" or array.ndim < 2:
        return np.ascontiguousarray(array)
    return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)
