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


def stored_in(t: ust.Tensor) -> np.ndarray:
    """Where a tensor has elements, zeros that fill its blocks included."""
    u = t.clone()
    u.val[...] = 1
    return u.convert(tensor_format=ust.NamedFormats.DensedRight(t.num_dimensions)).to_package() != 0


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
        stored = stored_in(sparse(a, form, index_type))
        stored = stored.swapaxes(-1, -2) if transposed else stored
        pairs = np.where(stored[..., None], left[..., None] + right.reshape(1, op.shape[-1], -1), -np.inf)
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


def whole(result: Any) -> np.ndarray:
    """A sparse result as a dense array on the host."""
    tensor = result if isinstance(result, ust.Tensor) else ust.Tensor.from_package(result)
    return to_numpy(tensor.to("cpu").convert(tensor_format=N.DensedRight(tensor.num_dimensions)).to_package())


def check_pair(
    first: ust.TensorFormat, second: ust.TensorFormat, dtype: str = "float64", package: str = "numpy",
    transposed: tuple[int, int] = (0, 0), conjugated: tuple[int, int] = (0, 0), index_type: str = "int32",
    most: int = 99,
) -> None:  # fmt: skip
    """Products of two sparse tensors: into a new one, with other values, into a dense c, and into the entries of c."""
    a, b = values((12, 8), dtype, density=0.4), values((8, 10), dtype, 1, density=0.4)
    x, y = (v.T.copy() if t else v for v, t in zip((a, b), transposed, strict=True))
    left, right = (v.conj() if c else v for v, c in zip((a, b), conjugated, strict=True))
    wide = "complex128" if dtype.startswith("complex") else "float64"
    expected = left.astype(wide) @ right.astype(wide)
    tensors = [sparse(v, f, index_type, package, dtype) for v, f in ((x, first), (y, second))]
    options = {"provider": "generated", "tuning": False}
    given = {"qualifiers": qualified(*zip(transposed, conjugated, strict=True)), "options": options}
    with Matmul(*tensors, execution="cuda", alpha=2.0, **given) as product:  # type: ignore[arg-type]
        for _ in every_way(product, most):
            close(whole(product.execute()), 2 * expected, dtype)
            out = product.empty_result()
            tensors[0].val[...] = tensors[0].val * 2
            assert product.execute(out=out) is out
            close(whole(out), 4 * expected, dtype)
            tensors[0].val[...] = tensors[0].val / 2
            np.testing.assert_array_equal(whole(product.execute()), whole(product.execute()))
    if dtype not in ("float16", "bfloat16"):
        for order in "CF":
            c = by(values((12, 10), dtype, 2), order)
            with Matmul(*tensors, dense(c.copy("K"), package), execution="cuda", beta=0.5, **given) as product:  # type: ignore[arg-type]
                product.plan()
                close(product.execute(), expected + 0.5 * c, dtype)
    c = values((12, 10), dtype, 2, density=0.5)
    with Matmul(*tensors, sparse(c, N.CSR, index_type, package, dtype), execution="cuda", beta=0.5, **given) as product:  # type: ignore[arg-type]
        product.plan()
        close(whole(product.execute()), np.where(c != 0, expected + 0.5 * c, 0), dtype)


def check_sampled(
    provider: str, form: ust.TensorFormat, dtype: str = "float64", package: str = "numpy", orders: str = "CC",
    k: int = 9, index_type: str = "int32", most: int = 99,
) -> bool:  # fmt: skip
    """Products of two dense matrices into the entries of a sparse one; False where the provider has none."""
    c = values((8, 12), dtype, density=0.4)
    a, b = by(values((8, k), dtype, 1), orders[0]), by(values((k, 12), dtype, 2), orders[1])
    wide = "complex128" if dtype.startswith("complex") else "float64"
    expected = 2 * a.astype(wide) @ b.astype(wide) + 0.5 * c.astype(wide)
    options = {"provider": provider, "tuning": False}
    operands = [dense(a, package, dtype), dense(b, package, dtype), sparse(c, form, index_type, package, dtype)]
    with Matmul(*operands, execution="cuda", alpha=2.0, beta=0.5, options=options) as product:
        try:
            for _ in every_way(product, most):
                target = sparse(c, form, index_type, package, dtype)
                product.reset_operands(c=target)
                assert product.execute() is target
                found = whole(target)
                close(found[c != 0], expected[c != 0], dtype)
        except UnavailableError:
            return False
    return True
