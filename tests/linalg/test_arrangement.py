"""How products are arranged for cuBLASLt, checked against a model of it: no device is needed."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from planmath.core.arrays import package_named
from planmath.core.cuda import devices
from planmath.core.execution import ExecutionCUDA
from planmath.linalg.advanced import MatmulEpilog, MatmulOptions
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.operation import Matmul
from planmath.linalg.advanced.problem import MatmulProblem, result_order
from planmath.linalg.advanced.providers.arrangement import Arrangement, Clear
from planmath.linalg.advanced.specification import specify
from planmath.linalg.product.matrix import dense_result
from tests.linalg.cublaslt_model import Model, problem_arrays
from tests.linalg.operands import (
    BATCH_LAYOUTS,
    MATRIX_LAYOUTS,
    column_major,
    padded_columns,
    padded_rows,
    qualifiers,
    random_integers,
    row_major,
    spread,
)
from tests.linalg.test_conformance import A_AND_B, SHAPES, extents
from tests.linalg.test_epilogs import pack, pad, unpack

E = MatmulEpilog


@pytest.fixture(autouse=True)
def _no_device_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "memory_limit", lambda value, device_id: value)


def problem_of(a: Any, b: Any, c: Any = None, conjugate: tuple[bool, ...] = (), **options: Any) -> MatmulProblem:
    numpy = package_named("numpy")
    arrays = {name: array for name, array in (("a", a), ("b", b), ("c", c)) if array is not None}
    layouts = {name: numpy.layout(array, name) for name, array in arrays.items()}
    flags = qualifiers(*conjugate) if any(conjugate) else None
    chosen = MatmulOptions(**options, memory_limit=1 << 20)
    return specify(layouts, chosen, flags, ExecutionCUDA(), "numpy", dict.fromkeys("abc", 16))


def with_epilog(problem: MatmulProblem, epilog: E, inputs: dict[str, np.ndarray]) -> MatmulProblem:
    """As `Matmul.plan` does it."""
    row_major = problem.d.leading[0] if problem.inplace else result_order(problem.a, problem.c, epilog)
    d = problem.d if problem.inplace else dense_result(problem.d.dtype, problem.batch, problem.m, problem.n, row_major)
    operation = Matmul.__new__(Matmul)
    operation._package, operation._execution = package_named("numpy"), ExecutionCUDA()
    operation._plan_made = None
    matrices = [operation._epilog_input(name, array, problem)[1] for name, array in inputs.items()]
    return problem._replace(d=d, epilog=epilog, inputs=tuple(matrices))


def run(problem: MatmulProblem, **operands: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], Arrangement]:
    """The result, the auxiliary results, and how they came about."""
    arrangement = Arrangement(problem)
    numpy = package_named("numpy")
    scalars = {"alpha": np.array(3, problem.scale), "beta": np.array(2 if problem.c else 0, problem.scale)}
    results = {}
    if not problem.inplace:
        d = problem.d
        results["d"] = numpy.empty((*problem.batch, d.rows, d.cols), (*d.batch, d.row, d.col), np.dtype(d.dtype))
    for name, matrix in problem.auxiliary().items():
        layout = problem.array_layout(name, matrix)
        results[name] = numpy.empty(layout.shape, layout.strides, np.dtype(layout.dtype))
    arrays = problem_arrays(problem, operands | scalars, results)
    Model(arrangement, arrays).run()
    result = operands["c"] if problem.inplace else results.pop("d")
    return result, results, arrangement


def expected(a: np.ndarray, b: np.ndarray, c: Any = None, conjugate: tuple[bool, ...] = (False,) * 3) -> np.ndarray:
    a, b = (np.conj(x) if flag else x for x, flag in zip((a, b), conjugate, strict=False))
    wide = np.int64 if a.dtype == np.int8 else a.dtype
    x, y = np.atleast_2d(a).astype(wide), (b[:, None] if b.ndim == 1 else b).astype(wide)
    values = 3 * (x @ y)
    return values if c is None else values + 2 * (np.conj(c) if conjugate[2] else c)


def exact(shape: tuple[int, ...], dtype: str, layout: Any = row_major, seed: int = 0) -> np.ndarray:
    return layout(random_integers(shape, dtype, seed).astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int8"])
@pytest.mark.parametrize(("shape_a", "shape_b"), [*A_AND_B, *SHAPES["vectors"], *SHAPES["extents of 1"]], ids=str)
def test_operands_in_every_layout(dtype, shape_a, shape_b):
    flags = list(product((False, True), repeat=2)) if dtype == "complex64" else [(False, False)]
    for layout_a, layout_b in product((*MATRIX_LAYOUTS, *BATCH_LAYOUTS), repeat=2):
        a, b = exact(shape_a, dtype, layout_a), exact(shape_b, dtype, layout_b, seed=1)
        for conjugate in flags:
            problem = problem_of(a, b, conjugate=(*conjugate, False))
            result, _, arrangement = run(problem, a=a, b=b)
            np.testing.assert_array_equal(result, expected(a, b, None, (*conjugate, False)), str((layout_a, layout_b)))
            if dtype == "float32" and not arrangement.walk.loops:
                assert arrangement.before == arrangement.after == []


@pytest.mark.parametrize("dtype", ["float64", "complex128", "int8"])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(("shape_a", "shape_b"), A_AND_B, ids=str)
def test_what_is_added(dtype, inplace, shape_a, shape_b):
    batch, m, n = extents(shape_a, shape_b)
    shapes = [(*batch, m, n)] if inplace else [(m, n), (m, 1), (*batch, m, n), (*batch, m, 1)]
    for shape, layout_a in product(shapes, (row_major, padded_columns)):
        a, b = exact(shape_a, dtype, layout_a), exact(shape_b, dtype, column_major, seed=1)
        for layout in (*MATRIX_LAYOUTS, *BATCH_LAYOUTS):
            for conjugate in (False, True) if dtype == "complex128" and not inplace else (False,):
                c = exact(shape, "int32" if dtype == "int8" else dtype, layout, seed=2)
                problem = problem_of(a, b, c, (False, False, conjugate), inplace=inplace)
                values = expected(a, b, c, (False, False, conjugate))
                result, _, _ = run(problem, a=a, b=b, c=c)
                np.testing.assert_array_equal(result, values, str((shape, layout)))


@pytest.mark.pairwise
@pytest.mark.parametrize("dtype", ["float16", "float32", "complex128"])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layout", [row_major, column_major, *BATCH_LAYOUTS], ids=lambda layout: layout.__name__)
@pytest.mark.parametrize(("shape_a", "shape_b"), A_AND_B, ids=str)
def test_where_alpha_is_zero(dtype, inplace, layout, shape_a, shape_b):
    """The product of a few zeros has the result's form: nothing of the operands is read."""
    batch, m, n = extents(shape_a, shape_b)
    a, b = (layout(np.full(shape, np.nan, dtype)) for shape in (shape_a, shape_b))
    c = exact((*batch, m, n), dtype, layout, seed=2)
    problem, expected = problem_of(a, b, c, inplace=inplace), 2 * c
    arrangement = Arrangement(problem)
    zeros = Clear(arrangement.reserve(arrangement.zeros_size), arrangement.zeros_size)
    d = problem.d
    result = package_named("numpy").empty((*batch, m, n), (*d.batch, d.row, d.col), np.dtype(dtype))
    scalars = {"alpha": np.array(0, problem.scale), "beta": np.array(2, problem.scale)}
    arrays = problem_arrays(problem, {"a": a, "b": b, "c": c} | scalars, {} if inplace else {"d": result})
    model = Model(arrangement.of_zeros(zeros.slot), arrays)
    model.around(zeros)
    model.run()
    np.testing.assert_array_equal(c if inplace else result, expected)


EPILOG_SHAPES = [
    ((13, 21), (21, 9)),
    ((1, 4), (4, 1)),
    ((3, 13, 21), (3, 21, 9)),
    ((3, 5, 4), (4, 6)),
    ((5, 4), (2, 3, 4, 6)),
]


@pytest.mark.pairwise(times=2)
@pytest.mark.parametrize("epilog", list(E), ids=lambda e: e.name)
@pytest.mark.parametrize("c", ["", "column", "batch", "row-major", "in place"])
@pytest.mark.parametrize(("shape_a", "shape_b"), EPILOG_SHAPES, ids=str)
def test_epilogs(epilog, c, shape_a, shape_b):
    """Bias in every layout, masks with other steps, operands whose batches are apart."""
    batch, m, n = extents(shape_a, shape_b)
    kind = EPILOGS[epilog]
    layouts = {
        "column": ((m, 1), padded_rows),
        "batch": ((*batch, m, n), padded_columns),
        "row-major": ((*batch, m, n), padded_rows),
        "in place": ((*batch, m, n), padded_columns),
    }
    if c == "row-major" and m > 1 and n > 1 and (kind.auxiliary or kind.mask):
        pytest.skip("epilogs with auxiliary arrays need a column-major c")
    rng = np.random.default_rng(4)
    z = rng.integers(-5, 6, (*batch, m, n)) / 2
    for layout_a, layout in product((row_major, padded_columns, *BATCH_LAYOUTS[: 2 * bool(batch)]), range(3)):
        a, b = exact(shape_a, "float64", layout_a), exact(shape_b, "float64", layout_a, seed=1)
        given = None if not c else exact(layouts[c][0], "float64", layouts[c][1], seed=2)
        values = expected(a, b, given)
        inputs: dict[str, np.ndarray] = {}
        for name in kind.inputs:
            if name == "bias":
                shape, arrange = [((m,), row_major), ((m, 1), lambda x: spread(x, 3)), ((*batch, m, 1), padded_rows)][
                    layout
                ]
                inputs[name] = exact(shape, "float64", arrange, seed=3)
            else:
                state = pack(z > 0).astype(np.uint8) if name == "relu_aux" else pad(z)
                inputs[name] = (column_major, padded_columns, column_major)[layout](state)
        problem = with_epilog(problem_of(a, b, given, inplace=c == "in place"), epilog, inputs)
        operands = {"a": a, "b": b} | ({} if given is None else {"c": given}) | inputs
        result, auxiliary, _ = run(problem, **operands)
        if "bias" in inputs:
            bias = inputs["bias"]
            values = values + (bias[:, None] if bias.ndim == 1 else bias)
        before = values
        if epilog.name.startswith("RELU"):
            values = np.maximum(values, 0)
        if epilog.name.startswith("DRELU"):
            values = np.where(z > 0, values, 0)
        if epilog.name.startswith("DGELU"):
            values = values * z
        np.testing.assert_array_equal(result, values, str((layout_a, layout)))
        for name, array in auxiliary.items():
            if name == "relu_aux":
                np.testing.assert_array_equal(unpack(array, m), before > 0)
            elif name == "gelu_aux":
                np.testing.assert_array_equal(array[..., :m, :], before)
            else:
                sums = {"bgrada": a.sum(-1), "bgradb": b.sum(-2)}.get(name, values.sum(-1))
                np.testing.assert_array_equal(
                    array.reshape(*batch, -1), np.broadcast_to(sums, (*batch, sums.shape[-1]))
                )
