"""What every provider must compute, on the arrays of every package: the tests that a new one has to pass."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from planmath.core.datatypes import CudaDataType
from planmath.core.errors import UnavailableError
from planmath.linalg.advanced import Algorithm, Matmul, MatmulComputeType, MatmulEpilog, matmul
from planmath.linalg.advanced.providers import PROVIDERS, blas_interface
from tests.arrays import address_of, package_of, strides_of, to_package
from tests.linalg.operands import (
    BATCH_LAYOUTS,
    COMPLEX,
    INEXPRESSIBLE,
    MATRIX_LAYOUTS,
    Case,
    cases,
    column_major,
    dtype_of,
    padded_columns,
    padded_rows,
    qualifiers,
    row_major,
    wide,
)
from tests.linalg.reference import assert_near, assert_product, reference, squeezed

#: Shapes of a and b. No extent but those of the powers of two is a multiple of what a kernel takes at a time.
SHAPES = {
    "matrices": [((13, 21), (21, 9)), ((8, 8), (8, 8)), ((17, 3), (3, 33)), ((64, 40), (40, 48)), ((2, 300), (300, 5))],
    "vectors": [((21,), (21, 9)), ((13, 21), (21,)), ((21,), (21,)), ((1,), (1,)), ((3,), (3, 1)), ((1, 3), (3,))],
    "extents of 1": [
        ((1, 5), (5, 7)), ((5, 1), (1, 7)), ((5, 7), (7, 1)), ((1, 7), (7, 1)), ((1, 1), (1, 1)), ((1, 1), (1, 5)),
        ((6, 1), (1, 1)), ((3, 1, 5), (3, 5, 1)), ((1, 4, 5), (1, 5, 3)), ((1, 4, 5), (5, 3)), ((2, 1, 1), (2, 1, 1)),
    ],
    "one batch axis": [
        ((3, 13, 21), (3, 21, 9)), ((3, 13, 21), (21, 9)), ((13, 21), (3, 21, 9)), ((3, 5, 4), (4,)), ((4,), (3, 4, 5)),
    ],
    "two batch axes": [
        ((2, 3, 5, 4), (2, 3, 4, 6)), ((2, 3, 5, 4), (4, 6)), ((5, 4), (2, 3, 4, 6)), ((2, 1, 5, 4), (2, 1, 4, 6)),
        ((2, 3, 5, 4), (4,)), ((4,), (2, 3, 4, 6)), ((2, 3, 2, 5, 4), (2, 3, 2, 4, 3)),
    ],
}  # fmt: skip
#: Shapes for tests of all else: matrices, also of one column or row; batches that can, or cannot, be made one matrix.
A_AND_B = [
    ((13, 21), (21, 9)), ((7, 5), (5, 1)), ((1, 5), (5, 6)), ((3, 5, 4), (3, 4, 6)), ((3, 5, 4), (4, 6)),
    ((5, 4), (2, 3, 4, 6)),
]  # fmt: skip
AND_SHAPES = pytest.mark.parametrize(("shape_a", "shape_b"), A_AND_B, ids=lambda shape: "x".join(map(str, shape)))


def extents(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
    """The batch, and the rows and columns of the product."""
    m = shape_a[-2] if len(shape_a) > 1 else 1
    n = shape_b[-1] if len(shape_b) > 1 else 1
    return shape_a[:-2] or shape_b[:-2], m, n


def scales(case: Case) -> tuple[Any, Any]:
    """An alpha and a beta of the operands' kind."""
    if case.dtype == "int8":
        return -2, 3
    return (0.5 - 1.5j, 1.25 + 0.5j) if case.dtype in COMPLEX else (-1.5, 0.75)


@pytest.mark.pairwise
@pytest.mark.parametrize("shapes", SHAPES)
def test_shapes_and_orders(case, shapes):
    for shape_a, shape_b in SHAPES[shapes]:
        batch, m, n = extents(shape_a, shape_b)
        shape = (*batch, *((m,) if len(shape_a) > 1 else ()), *((n,) if len(shape_b) > 1 else ()))
        for layout_a, layout_b in product((row_major, column_major), repeat=2):
            a, b = case.operand(shape_a, layout_a), case.operand(shape_b, layout_b, seed=1)
            result = matmul(a, b, options=case.options)
            assert tuple(result.shape) == shape
            assert package_of(result) == case.package
            assert_product(result, case, a, b, what=(shape_a, shape_b, layout_a.__name__, layout_b.__name__))


@pytest.mark.pairwise
@AND_SHAPES
def test_memory_layouts(case, shape_a, shape_b):
    """Leading dimensions larger than needed, batches in all places: what is between the elements is not read."""
    for layout_a, layout_b in product((*MATRIX_LAYOUTS, *BATCH_LAYOUTS), repeat=2):
        used = {layout for layout, shape in ((layout_a, shape_a), (layout_b, shape_b)) if len(shape) > 2}
        if {layout_a, layout_b} - used & set(BATCH_LAYOUTS) or any((case.package, x) in INEXPRESSIBLE for x in used):
            continue
        a, b = case.operand(shape_a, layout_a), case.operand(shape_b, layout_b, seed=1)
        before = wide(a), wide(b)
        assert_product(matmul(a, b, options=case.options), case, a, b, what=(layout_a.__name__, layout_b.__name__))
        np.testing.assert_array_equal(wide(a), before[0])
        np.testing.assert_array_equal(wide(b), before[1])


def test_vectors_with_gaps(case):
    for shape_a, shape_b in ((21,), (21, 9)), ((13, 21), (21,)), ((21,), (21,)), ((2, 13, 21), (21,)):
        for layout in (padded_rows, padded_columns):
            a, b = case.operand(shape_a, layout), case.operand(shape_b, layout, seed=1)
            assert_product(matmul(a, b, options=case.options), case, a, b)
    column = case.operand((21, 5), row_major)[:, 2]
    assert_product(matmul(column, column, options=case.options), case, column, column)


@pytest.mark.pairwise
@AND_SHAPES
def test_scaling_and_adding(case, shape_a, shape_b):
    """c in all the shapes and layouts that it may have."""
    batch, m, n = extents(shape_a, shape_b)
    alpha, beta = scales(case)
    a, b = case.operand(shape_a), case.operand(shape_b, column_major, seed=1)
    assert_product(matmul(a, b, alpha=alpha, options=case.options), case, a, b, alpha=alpha)
    for shape in dict.fromkeys([(m, n), (m, 1), (*batch, m, n), (*batch, m, 1)]):
        for layout in (*MATRIX_LAYOUTS, *(BATCH_LAYOUTS if len(shape) > 2 else ())):
            if (case.package, layout) in INEXPRESSIBLE:
                continue
            c = case.addend(shape, layout)
            before = wide(c)
            for factor in (1, alpha) if layout is row_major else (alpha,):
                result = matmul(a, b, c, alpha=factor, beta=beta, options=case.options)
                expected = reference(case, a, b, c, alpha=factor, beta=beta)
                assert dtype_of(result) == case.result_dtype
                assert_near(result, expected, (shape, layout.__name__, factor))
            np.testing.assert_array_equal(wide(c), before)


def test_vectors_and_c(case):
    """The result has the vectors' shape, c that of a matrix."""
    alpha, beta = scales(case)
    for shape_a, shape_b, shape_c in (
        ((21,), (21, 9), (1, 9)), ((21,), (21, 9), (1, 1)), ((13, 21), (21,), (13, 1)), ((21,), (21,), (1, 1)),
        ((2, 13, 21), (21,), (2, 13, 1)), ((2, 13, 21), (21,), (13, 1)),
    ):  # fmt: skip
        a, b, c = case.operand(shape_a), case.operand(shape_b, seed=1), case.addend(shape_c)
        result = matmul(a, b, c, alpha=alpha, beta=beta, options=case.options)
        expected = reference(case, a, b, c, alpha=alpha, beta=beta)
        assert_near(result, type(expected)(*(squeezed(x, a, b) for x in expected)))


def test_numbers_that_change_nothing(case):
    """A factor of 0 leaves out what it multiplies, NaN and infinity included, as in BLAS; so c need not be set."""
    for batch in ((), (3,), (2, 3)):
        a, b, c = case.operand((*batch, 5, 4)), case.operand((*batch, 4, 6), seed=1), case.addend((*batch, 5, 6))
        nothing = case.like(np.zeros((*batch, 5, 6)), case.result_dtype)
        if case.dtype != "int8":
            unset = case.like(np.full((*batch, 5, 6), np.nan), case.result_dtype)
            assert_product(matmul(a, b, unset, beta=0, options=case.options), case, a, b)
            a[..., 1, 2], b[..., 0, 0] = float("nan"), float("inf")
            if case.provider not in ("blas", "cublaslt"):  # whose kernels for small matrices do read them
                np.testing.assert_array_equal(wide(matmul(a, b, alpha=0, options=case.options)), wide(nothing))
            a, b = case.operand((*batch, 5, 4)), case.operand((*batch, 4, 6), seed=1)
        np.testing.assert_array_equal(wide(matmul(a, b, c, alpha=0, beta=1, options=case.options)), wide(c))
        with Matmul(a, b, c, alpha=0, beta=1, options=case.options | {"inplace": True}) as mm:
            mm.plan()
            before = wide(c)
            np.testing.assert_array_equal(wide(mm.execute()), before)
            mm.reset_operands(beta=0)
            np.testing.assert_array_equal(wide(mm.execute()), wide(nothing))
            mm.reset_operands(alpha=1)
            assert_near(mm.execute(), reference(case, a, b))


@pytest.mark.pairwise
@pytest.mark.parametrize("case", cases(*COMPLEX))
@AND_SHAPES
def test_conjugation(case, shape_a, shape_b):
    batch, m, n = extents(shape_a, shape_b)
    alpha, beta = scales(case)
    for flags in product((False, True), repeat=3):
        for layout_a, layout_b, layout_c in product((row_major, padded_columns), repeat=3):
            a, b = case.operand(shape_a, layout_a), case.operand(shape_b, layout_b, seed=1)
            c = case.addend((*batch, m, n), layout_c)
            what = (flags, layout_a.__name__, layout_b.__name__, layout_c.__name__)
            options = {"qualifiers": qualifiers(*flags), "options": case.options}
            if layout_c is row_major:
                assert_product(matmul(a, b, **options), case, a, b, conjugate=flags, what=what)
            result = matmul(a, b, c, alpha=alpha, beta=beta, **options)
            assert_near(result, reference(case, a, b, c, alpha=alpha, beta=beta, conjugate=flags), what)


@pytest.mark.parametrize("case", cases(*COMPLEX))
def test_conjugated_vectors(case):
    for shape_a, shape_b in ((21,), (21, 9)), ((13, 21), (21,)), ((21,), (21,)):
        for flags in product((False, True), repeat=2):
            a, b = case.operand(shape_a, padded_rows), case.operand(shape_b, seed=1)
            result = matmul(a, b, qualifiers=qualifiers(*flags, False), options=case.options)
            assert_product(result, case, a, b, conjugate=(*flags, False))


@pytest.mark.pairwise
@AND_SHAPES
def test_in_place(case, shape_a, shape_b):
    """The result is c itself, in whatever layout, and what is between its elements stays."""
    batch, m, n = extents(shape_a, shape_b)
    alpha, beta = scales(case)
    a, b = case.operand(shape_a), case.operand(shape_b, column_major, seed=1)
    for layout in (*MATRIX_LAYOUTS, *(BATCH_LAYOUTS if batch else ())):
        if (case.package, layout) in INEXPRESSIBLE:
            continue
        c = case.addend((*batch, m, n), layout)
        with Matmul(a, b, c, alpha=alpha, beta=beta, options=case.options | {"inplace": True}) as mm:
            mm.plan()
            for _ in range(2):
                expected = reference(case, a, b, c, alpha=alpha, beta=beta)
                assert mm.execute() is c
                assert_near(c, expected, layout.__name__)
                mm.reset_operands(c=copy_into(c, case.addend((*batch, m, n), seed=8)))


def copy_into(array: Any, values: Any) -> Any:
    array[...] = values
    return array


@pytest.mark.parametrize("layout", [padded_rows, padded_columns])
def test_in_place_writes_to_the_elements_of_c_only(case, layout):
    kept = []
    c = case.addend((5, 6), lambda values: kept.append(layout(values)) or kept[0])
    memory = kept[0].base
    while memory.base is not None:
        memory = memory.base
    gaps = np.ones(memory.shape, bool)
    gaps[..., 1:-2] = False
    before = memory[gaps]
    with Matmul(case.operand((5, 4)), case.operand((4, 6)), c, beta=1, options=case.options | {"inplace": True}) as mm:
        mm.plan()
        mm.execute()
    np.testing.assert_array_equal(memory[gaps], before)


#: Epilogs whose results are laid out as those without an epilog; for all others the columns are contiguous.
BY_ROWS = [MatmulEpilog.DEFAULT, MatmulEpilog.RELU, MatmulEpilog.GELU]


@pytest.mark.parametrize("case", cases("float32"))
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_order_of_results(case, batch):
    """c's order where it has more than one column; else the epilog's; else a's."""
    rows, columns = (5 * 6 * 1, 6, 1), (5 * 6 * 1, 1, 5)
    b, bias = case.operand((*batch, 4, 6)), case.operand((5,))
    for epilog, inputs in [
        *((e, None) for e in BY_ROWS),
        (MatmulEpilog.BIAS, {"bias": bias}),
        (MatmulEpilog.RELU_AUX, None),
    ]:
        for layout_a in (row_major, padded_columns):
            a = case.operand((*batch, 5, 4), layout_a)
            by_rows = epilog in BY_ROWS and layout_a is row_major
            check_strides(case, rows if by_rows else columns, batch, epilog, inputs, a, b)
            c = case.addend((*batch, 5, 1))
            check_strides(case, columns, batch, epilog, inputs, a, b, c, beta=1)
            check_strides(case, columns, batch, epilog, inputs, a, b, case.addend((5, 6), column_major), beta=1)
            if epilog is not MatmulEpilog.RELU_AUX:
                check_strides(case, rows, batch, epilog, inputs, a, b, case.addend((*batch, 5, 6), padded_rows), beta=1)


def check_strides(
    case: Case,
    strides: tuple[int, ...],
    batch: tuple[int, ...],
    epilog: MatmulEpilog,
    inputs: Any,
    *operands: Any,
    **scales: Any,
) -> None:
    """The result is dense: matrices in this order, one after the other in the batch's own order."""
    step, *matrix = strides
    expected = [step * int(np.prod(batch[axis + 1 :])) for axis in range(len(batch))] + matrix
    with Matmul(*operands, **scales, options=case.options) as mm:
        mm.plan(epilog=epilog, epilog_inputs=inputs)
        result = mm.execute()
        result = result[0] if isinstance(result, tuple) else result
        assert tuple(result.shape) == (*batch, 5, 6)
        assert strides_of(result) == tuple(expected), (epilog, [strides_of(x) for x in operands])


@pytest.mark.parametrize("case", cases("float16", "bfloat16", "int8", wide_results=True))
def test_result_type(case):
    """Sums in single precision that are not rounded to the operands' dtype."""
    alpha, beta = scales(case)
    for batch in ((), (3,)):
        a, b = case.operand((*batch, 13, 21)), case.operand((*batch, 21, 9), seed=1)
        options = case.options | {"result_type": CudaDataType.CUDA_R_32F}
        result = matmul(a, b, alpha=alpha, options=options)
        assert dtype_of(result) == "float32"
        assert_near(result, reference(case, a, b, alpha=alpha, result="float32"))
        c = case.like(np.random.default_rng(3).integers(-9, 9, (*batch, 13, 9)), "float32")
        for given in (options, case.options):  # c alone says it as well
            result = matmul(a, b, c, alpha=alpha, beta=beta, options=given)
            assert dtype_of(result) == "float32"
            assert_near(result, reference(case, a, b, c, alpha=alpha, beta=beta, result="float32"))


COMPUTE_TYPES = {
    "float16": ["COMPUTE_32F", "COMPUTE_32F_PEDANTIC", "COMPUTE_16F", "COMPUTE_16F_PEDANTIC"],
    "bfloat16": ["COMPUTE_32F", "COMPUTE_32F_PEDANTIC"],
    "float32": ["COMPUTE_32F", "COMPUTE_32F_FAST_TF32", "COMPUTE_32F_FAST_16F", "COMPUTE_32F_FAST_16BF"],
    "complex64": ["COMPUTE_32F", "COMPUTE_32F_PEDANTIC", "COMPUTE_32F_FAST_TF32"],
    "float64": ["COMPUTE_64F", "COMPUTE_64F_PEDANTIC"],
    "complex128": ["COMPUTE_64F", "COMPUTE_64F_PEDANTIC"],
    "int8": ["COMPUTE_32I", "COMPUTE_32I_PEDANTIC"],
}
#: What kernels of a device round operands to first, as a dtype with the same unit roundoff: TF32 has 11 bits.
ROUNDED_FOR = {
    "COMPUTE_32F_FAST_TF32": "float16", "COMPUTE_32F_FAST_16F": "float16", "COMPUTE_32F_FAST_16BF": "bfloat16",
}  # fmt: skip
SCALE_TYPES = {
    "float16": "CUDA_R_32F", "bfloat16": "CUDA_R_32F", "float32": "CUDA_R_32F", "float64": "CUDA_R_64F",
    "complex64": "CUDA_C_32F", "complex128": "CUDA_C_64F", "int8": "CUDA_R_32I",
}  # fmt: skip


def test_a_scale_type_alone_implies_the_compute_type():
    a = np.ones((2, 3), np.float16)
    for scale, compute in ((CudaDataType.CUDA_R_16F, "float16"), (CudaDataType.CUDA_R_32F, "float32")):
        with Matmul(a, a.T, options={"scale_type": scale}) as product:
            assert product._problem.compute == compute
    with pytest.raises(ValueError, match=r"scale_type is CUDA_R_64F; products of float16 have .*CUDA_R_32F"):
        Matmul(a, a.T, options={"scale_type": CudaDataType.CUDA_R_64F})


def test_compute_and_scale_types(case):
    """All that the dtype has. Only where sums in half precision are asked for, they may be less accurate."""
    a, b = case.operand((13, 21)), case.operand((21, 9), seed=1)
    for name in COMPUTE_TYPES[case.dtype]:
        compute = MatmulComputeType[name]
        half = name.startswith("COMPUTE_16F")
        rounded = ROUNDED_FOR.get(name) if case.on_device else None
        scale = CudaDataType["CUDA_R_16F" if half else SCALE_TYPES[case.dtype]]
        for options in ({"compute_type": compute}, {"compute_type": int(compute), "scale_type": scale}):
            result = matmul(a, b, options=case.options | options)
            summed = "float16" if half else rounded
            assert_product(result, case, a, b, what=name, summed=summed)
            alpha, beta = scales(case)
            for batch in ((), (3,)):
                left, c = case.operand((*batch, 13, 21)), case.addend((*batch, 13, 9))
                result = matmul(left, b, c, alpha=alpha, beta=beta, options=case.options | options)
                assert_near(result, reference(case, left, b, c, alpha=alpha, beta=beta, summed=summed), (name, batch))


@pytest.mark.parametrize("case", cases("int8"))
def test_integer_products_are_exact(case):
    """Also where their sum does not fit into a float32."""
    a = case.like(np.full((3, 4001), -128))
    b = case.like(np.where(np.arange(4001)[:, None] % 2, 127, -128) * np.ones((1, 2)))
    assert_product(matmul(a, b, options=case.options), case, a, b)
    a[...] = 127
    b[...] = 127
    assert_product(matmul(a, b, options=case.options), case, a, b)
    assert int(matmul(a, b, options=case.options)[0, 0]) == 4001 * 127**2


@pytest.mark.parametrize("case", cases("float16", "bfloat16"))
def test_scaling_precedes_rounding(case):
    """A product beyond the dtype's range that alpha, or c, brings back into it."""
    if case.dtype == "bfloat16":
        pytest.skip("its range is that of float32")
    for batch in ((), (3,)):
        a, b = case.like(np.full((*batch, 3, 4), 200)), case.like(np.full((*batch, 4, 5), 200))
        assert (wide(matmul(a, b, alpha=0.25, options=case.options)) == 40000).all()
        c = case.like(np.full((*batch, 3, 5), -51200))
        assert (wide(matmul(a, b, c, alpha=0.625, beta=1, options=case.options)) == 48800).all()
        assert np.isinf(wide(matmul(a, b, options=case.options))).all()


ALL_BUT_INTEGERS = cases(*(d for d in ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")))


@pytest.mark.pairwise
@pytest.mark.parametrize("case", ALL_BUT_INTEGERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass_through(case, value):
    """They reach the row, or the column, of the element that has them, and nothing else."""
    for batch in ((), (3,)):
        a, b = case.operand((*batch, 13, 21)), case.operand((*batch, 21, 9), seed=1)
        a[..., 2, 3] = value
        b[..., 5, 4] = value
        result = wide(matmul(a, b, options=case.options))
        finite = np.ones((13, 9), bool)
        finite[2, :] = finite[:, 4] = False
        assert (np.isfinite(result) == finite).all()
        if case.dtype not in COMPLEX and not np.isnan(value):
            row = np.delete(np.broadcast_to(value * wide(b)[..., 3, :], result[..., 2, :].shape), 4, -1)
            np.testing.assert_array_equal(np.delete(result[..., 2, :], 4, -1), np.sign(row) * np.inf)


@pytest.mark.parametrize("case", cases("float16", "bfloat16"))
def test_every_number_is_converted(case):
    """All 65536 numbers, scaled by factors that put results on, just below and just above the halfway points."""
    numbers = np.arange(65536, dtype=np.uint16)
    one = case.like([[1.0]])
    if case.dtype == "float16":
        column = to_package(numbers.view(np.float16)[:, None], case.package)
    else:
        import torch

        column = to_package(numbers.view(np.int16)[:, None], case.package).view(torch.bfloat16)
    for alpha in (1.0, 1 + 2.0**-11, 1 + 2.0**-8, 1 / 3, -(2.0**-12), 3 * 2.0**-16, 3.0):
        result = matmul(column, one, alpha=alpha, options=case.options)
        with np.errstate(all="ignore"):
            exact = wide(column) * float(np.float32(alpha))  # in double precision
            single = exact.astype(np.float32)
            if case.dtype == "float16":
                expected = single.astype(np.float16).astype(float)
            else:
                expected = torch.from_numpy(single).to(torch.bfloat16).double().numpy()
        given = wide(result)
        if case.provider != "blas" and case.dtype == "bfloat16":  # the processor's own instructions flush them
            tiny = abs(exact) < 2.0**-126
            given[tiny] = expected[tiny] = 0
        if case.provider == "blas" or alpha == 1:
            np.testing.assert_array_equal(given, expected, err_msg=str(alpha))
        np.testing.assert_array_equal(np.isnan(given), np.isnan(expected))


ALGORITHM_SHAPES = [((20, 11), (11, 13)), ((3, 20, 11), (3, 11, 13)), ((3, 20, 11), (11, 13)), ((2, 3, 7, 5), (5, 7))]


@pytest.mark.parametrize("case", cases("float16", "float32", "float64", "complex64", "int8"))
def test_every_algorithm(case, monkeypatch):
    """All that `autotune` chooses from: one thread and two, one call for the batch or one for each matrix, packed."""
    monkeypatch.setattr(blas_interface, "THREADED_WORK", 0)
    provider = next(p for p in PROVIDERS if p.name == case.provider)
    alpha, beta = scales(case)
    seen = set()
    for shape_a, shape_b in ALGORITHM_SHAPES:
        for layout in (row_major, padded_columns):
            a, b = case.operand(shape_a, layout), case.operand(shape_b, layout, seed=1)
            c = case.addend((*shape_a[:-1], shape_b[-1]), layout)
            for constant in ((), ("a", "b")):
                options = case.options | {"constant": constant}
                execution = None if case.on_device else {"name": "cpu", "num_threads": 2}
                with Matmul(a, b, c, alpha=alpha, beta=beta, options=options, execution=execution) as mm:
                    for algorithm in provider.algorithms(mm._problem):
                        seen.update(algorithm.knobs)
                        mm.plan(algorithms=Algorithm(algorithm))
                        assert str(algorithm) in mm.report()
                        for seed in (0, 5):
                            mm.reset_operands(a=case.operand(shape_a, layout, seed=seed))
                            mm.reset_operands(alpha=alpha * (1 + seed))
                            new = case.operand(shape_a, layout, seed=seed)
                            # parts of a sum may be added in the result's dtype
                            summed = case.result_dtype if algorithm.get("reduction_scheme") == 4 else None
                            factors = {"alpha": alpha * (1 + seed), "beta": beta, "summed": summed}
                            assert_near(mm.execute(), reference(case, new, b, c, **factors), algorithm)
                        mm.reset_operands(a=a, alpha=alpha)
    assert ("threads", 2) in seen or case.on_device
    if case.provider == "mkl" and case.dtype in ("float32", "float64", "complex64"):
        assert seen >= {("batch", "library"), ("batch", "loop")}
    if case.provider == "mkl" and case.dtype in ("float32", "float64"):
        assert seen >= {("packed", "a"), ("packed", "b")}


def test_operands_between_each_others_elements(case):
    """The addresses interleave, and no element is shared: that is allowed, also for a c that is replaced."""
    both = case.operand((13, 2 * 13))
    if case.dtype == "int8":
        pytest.skip("c has another dtype than a")
    a, c = both[:, :13], both[:, 13:]
    b = case.operand((13, 13), seed=1)
    expected = reference(case, a, b, c, beta=1)
    with Matmul(a, b, c, beta=1, options=case.options | {"inplace": True}) as mm:
        mm.plan()
        assert mm.execute() is c
        assert_near(c, expected)


def test_new_results_are_separate_arrays(case):
    a = case.operand((5, 5))
    with Matmul(a, a, options=case.options) as mm:
        mm.plan()
        first, second = mm.execute(), mm.execute()
    assert address_of(first) != address_of(second)


@pytest.mark.parametrize("case", cases("float64"))
def test_operands_at_unaligned_addresses(case):
    """Multiples of 8 bytes, and of no more."""
    memory = case.operand((400,))
    places = [memory[1:26].reshape(5, 5), memory[27:52].reshape(5, 5), memory[53:78].reshape(5, 5)]
    assert {address_of(x) % 16 for x in places} == {8}
    a, b, c = places
    with Matmul(a, b, c, beta=1.0, options=case.options) as mm:
        mm.plan()
        out = memory[101:126].reshape(5, 5)
        assert mm.execute(out=out) is out
        assert_near(out, reference(case, a, b, c, beta=1.0))


@pytest.mark.parametrize("case", cases("float64"))
def test_more_batch_axes_than_a_library_takes(case):
    """No two of the batch axes are one in memory: the library is called in nested loops."""
    memory = case.operand((2,) * 6 + (3, 8))[..., ::2].swapaxes(0, 3).swapaxes(1, 4)[..., :1, :].swapaxes(-1, -2)
    b = case.operand((1, 3), seed=1)
    assert_product(matmul(memory, b, options=case.options), case, memory, b)


def test_more_batch_axes_than_loops_nest():
    """Windows that overlap in all directions: no two of the 18 batch axes are one in memory."""
    values = np.arange(60.0)
    windows = np.lib.stride_tricks.as_strided(values, (2,) * 18 + (2, 3), (8,) * 18 + (24, 8))
    with pytest.raises(UnavailableError, match=r"blas: it repeats a product over 16 batch axes .* these are 18"):
        matmul(windows, values[:6].reshape(3, 2))


@pytest.mark.parametrize("case", cases("float32", "float64"))
def test_larger_products(case):
    """Threads and blocks come into play."""
    a, b = case.operand((131, 140), padded_rows), case.operand((140, 90), column_major, seed=1)
    threads = [] if case.on_device else [{"name": "cpu", "num_threads": n} for n in (1, 2)]
    for execution in (*threads, None):
        assert_product(matmul(a, b, options=case.options, execution=execution), case, a, b)
