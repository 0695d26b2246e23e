"""Matrices in band and in packed storage: every kind, triangle, side, layout and way, against extended precision."""

from __future__ import annotations

import itertools
import random
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from planmath.core.errors import UnavailableError
from planmath.linalg import (
    BandedMatrixQualifier,
    DiagType,
    DirectSolver,
    FillMode,
    GeneralMatrixQualifier,
    HermitianBandedMatrixQualifier,
    HermitianPackedMatrixQualifier,
    Matmul,
    SymmetricBandedMatrixQualifier,
    SymmetricPackedMatrixQualifier,
    TriangularBandedMatrixQualifier,
    TriangularPackedMatrixQualifier,
    TriangularSolver,
    matmul,
    matrix_qualifiers_dtype,
    triangular_solve,
)
from planmath.linalg.generic.providers import PROVIDERS
from tests.arrays import to_numpy, to_package
from tests.generic.operands import DTYPES, LAYOUTS, Kind, assert_close, laid, numbers
from tests.providers import on_host, pairs

CLASSES: dict[str, Any] = {
    "gb": BandedMatrixQualifier, "sb": SymmetricBandedMatrixQualifier, "hb": HermitianBandedMatrixQualifier,
    "tb": TriangularBandedMatrixQualifier, "sp": SymmetricPackedMatrixQualifier, "hp": HermitianPackedMatrixQualifier,
    "tp": TriangularPackedMatrixQualifier,
}  # fmt: skip
BASES = {"gb": "ge", "sb": "sy", "hb": "he", "tb": "tr", "sp": "sy", "hp": "he", "tp": "tr"}
LOWER, UPPER = FillMode.LOWER, FillMode.UPPER
GE = GeneralMatrixQualifier.create()
EVERY_KIND = [
    *itertools.product(CLASSES, (LOWER, UPPER), (False,)), *itertools.product(("tb", "tp"), (LOWER, UPPER), (True,))
]  # fmt: skip


class Stored(NamedTuple):
    """What is passed, with NaN in band storage where nothing is; what is said of it; and all of the matrix."""

    passed: np.ndarray
    qualifier: np.ndarray
    whole: np.ndarray


def stored(
    x: np.ndarray, name: str, uplo: FillMode = LOWER, unit: bool = False, conjugate: bool = False,
    reach: tuple[int, int] = (1, 1),
) -> Stored:  # fmt: skip
    """What is stored of a matrix, of which elements that are not are taken for zero."""
    n = x.shape[-1]
    i, j = np.indices((n, n))
    below, above = reach if name == "gb" else (0, reach[1]) if uplo == UPPER else (reach[0], 0)
    if name[1] == "b":
        x = np.where((i - j <= below) & (j - i <= above), x, 0).astype(x.dtype)
        passed = np.full((*x.shape[:-2], below + above + 1, n), np.nan, x.dtype)
        for r, c in zip(*np.nonzero((i - j <= below) & (j - i <= above)), strict=True):
            passed[..., above + r - c, c] = x[..., r, c]
    else:
        order = [(r, c) for c in range(n) for r in (range(c + 1) if uplo == UPPER else range(c, n))]
        passed = np.stack([x[..., r, c] for r, c in order], -1)
    said_of = (below, conjugate) if name == "gb" else (conjugate, uplo)
    made = CLASSES[name].create(*said_of, *[DiagType.UNIT] * unit)
    return Stored(passed, made, Kind(BASES[name], uplo, unit, conjugate=conjugate).dense(x))


def said(*qualifiers: np.ndarray) -> np.ndarray:
    return np.array(list(qualifiers), matrix_qualifiers_dtype)


@pytest.mark.parametrize("pair", pairs(on_host(PROVIDERS)))
@pytest.mark.parametrize(("name", "uplo", "unit"), EVERY_KIND)
def test_products(name, uplo, unit, pair):
    draw = random.Random(f"{name} {uplo} {unit} {pair}")
    rng = np.random.default_rng(draw.randrange(10**6))
    layouts = [layout for layout in LAYOUTS if layout != "backwards" or pair.package == "numpy"]
    small = pair.provider == "planmath"
    for dtype, left in itertools.product(DTYPES, (False, True)):
        columns, addend = draw.choice((None, 1, 4)), draw.choice((None, False, True))
        if small and dtype.startswith("complex"):
            continue
        n = draw.choice([1, 2, 7, 31] if small else [1, 2, 7, 40])
        batch, other = draw.choice([((), ()), ((3,), (3,)), ((), (2,)), ((2,), ())]) if columns else ((), ())
        reach = draw.choice([(0, 0), (1, 0), (2, 3), (1, 1)])
        conjugate = dtype.startswith("complex") and draw.choice([False, True])
        made = stored(numbers(rng, (*batch, n, n), dtype), name, uplo, unit, conjugate, reach)
        shape = (n,) if columns is None else (*other, n, columns) if left else (*other, columns, n)
        g = laid(numbers(rng, shape, dtype), draw.choice(layouts))
        a = laid(made.passed, draw.choice(layouts))
        given, factors = ((a, g), (made.whole, g)) if left else ((g, a), (g, made.whole))
        product, size = factors[0] @ factors[1], abs(factors[0]) @ abs(factors[1])
        alpha, c, more = -0.5, None, {}
        kinds = [made.qualifier, GE] if left else [GE, made.qualifier]
        expected, size = alpha * product, 0.5 * size
        if addend is not None:
            c = numbers(rng, product.shape, dtype)
            expected, size, more = expected + 2 * c, size + 2 * abs(c), {"beta": 2.0}
            kinds.append(GE)
        arrays = [to_package(x, pair.package) for x in given]
        options = {"provider": pair.provider, "inplace": bool(addend)}

        def added(c: Any = c) -> Any:
            return None if c is None else to_package(c.copy(), pair.package)

        with Matmul(*arrays, added(), alpha=alpha, qualifiers=said(*kinds), options=options, **more) as operation:
            operation.plan()
            for way in operation._plan_made.algorithms:
                operation._add_program(way, way)
                if c is not None:
                    operation.reset_operands(c=added())
                found = np.array(to_numpy(operation._execute(way, None)))
                assert_close(found, expected, size, dtype, n)


def test_ways_of_libraries():
    """Routines for vectors, column by column, where bands are narrow; all elements where they are not."""
    x = np.random.default_rng(1).standard_normal((40, 40))
    for name, reach, columns, ways in (
        ("gb", (1, 1), 30, ["gbmv", "gemm"]), ("gb", (20, 9), 30, ["gemm", "gbmv"]),
        ("gb", (20, 9), 1, ["gbmv", "gemm"]),
        ("sb", (2, 2), 9, ["sbmv", "symm", "gemm"]), ("tb", (1, 1), 9, ["tbmv", "trmm", "gemm"]),
        ("sp", (0, 0), 9, ["symm", "gemm", "spmv"]), ("tp", (0, 0), 1, ["tpmv", "trmm", "gemm"]),
    ):  # fmt: skip
        made = stored(x, name, reach=reach)
        options = {"provider": "blas", "tuning": False}
        with Matmul(made.passed, x[:, :columns], qualifiers=said(made.qualifier, GE), options=options) as product:
            product.plan()
            found = [way.get("product") for way in product._plan_made.algorithms if way.get("threads") == 1]
            assert list(dict.fromkeys(found)) == ways


@pytest.mark.parametrize(("left", "right"), list(itertools.product(CLASSES, [*CLASSES, "sy", "tr", "dg"])))
def test_two_structures(left, right):
    rng = np.random.default_rng(2)
    for dtype, n in (("float64", 9), ("complex128", 40), ("float16", 9)):
        a = stored(numbers(rng, (n, n), dtype), left, UPPER)
        if right in CLASSES:
            b = stored(numbers(rng, (n, n), dtype), right)
        else:
            kind, elements = Kind(right), numbers(rng, (n,) if right == "dg" else (n, n), dtype)
            b = Stored(elements, kind.qualifier(), kind.dense(elements))
        product = matmul(a.passed, b.passed, qualifiers=said(a.qualifier, b.qualifier))
        assert_close(product, a.whole @ b.whole, abs(a.whole) @ abs(b.whole), dtype, n)
        product = matmul(b.passed, a.passed, qualifiers=said(b.qualifier, a.qualifier))
        assert_close(product, b.whole @ a.whole, abs(b.whole) @ abs(a.whole), dtype, n)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["tb", "tp"]), st.sampled_from([LOWER, UPPER]), st.booleans(), st.integers(1, 50), st.data())
def test_triangular_systems(name, uplo, unit, n, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    dtype = data.draw(st.sampled_from(DTYPES))
    conjugate = dtype.startswith("complex") and data.draw(st.booleans())
    x = (numbers(rng, (n, n), dtype) / n + (0 if unit else 3) * np.eye(n)).astype(dtype)
    reach = data.draw(st.integers(0, n - 1))
    made = stored(x, name, uplo, unit, conjugate, (reach, reach))
    columns = data.draw(st.sampled_from([None, 1, 5]))
    b = laid(numbers(rng, (n,) if columns is None else (n, columns), dtype), data.draw(st.sampled_from(LAYOUTS)))
    for provider in ("blas", "mkl"):
        options = {"provider": provider}
        with TriangularSolver(made.passed, b, alpha=2, qualifier=made.qualifier, options=options) as solver:
            solver.plan()
            names = set()
            for way in solver._plan_made.algorithms:
                names.add(way.get("product"))
                solver._add_program(way, way)
                found = np.array(solver._execute(way, None)).astype(made.whole.dtype)
                size = abs(made.whole) @ abs(found) + 2 * abs(b)
                assert np.all(abs(made.whole @ found - 2 * b) <= 8 * (n + 1) * np.finfo(dtype).eps * size)
            assert names == {"tbsv" if name == "tb" else "tpsv", "trsm"}


def test_what_does_not_count_is_not_read():
    made = stored(np.full((5, 5), np.nan), "sb")
    c = np.ones((5, 3))
    for provider in ("blas", "mkl", "planmath"):
        with Matmul(
            made.passed, np.full((5, 3), np.nan), c, alpha=0, beta=3, qualifiers=said(made.qualifier, GE, GE),
            options={"provider": provider},
        ) as product:  # fmt: skip
            product.plan()
            for way in product._plan_made.algorithms:
                product._add_program(way, way)
                np.testing.assert_array_equal(product._execute(way, None), 3 * c)


def test_lists():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((6, 6))
    made = [stored(x, "gb", reach=(1, 2)), stored(x, "tp", UPPER), stored(x, "hb")]
    sides = [rng.standard_normal((6, k)) for k in (1, 2, 3)]
    kinds = [said(each.qualifier, GE) for each in made]
    results = matmul([each.passed for each in made], sides, qualifiers=kinds)
    for found, each, side in zip(results, made, sides, strict=True):
        np.testing.assert_allclose(found, (each.whole @ side).astype(float), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BandedMatrixQualifier.create(-1), "below is -1; expected how many diagonals"),
        (lambda: BandedMatrixQualifier.create(True), "below is True"),
        (lambda: SymmetricBandedMatrixQualifier.create(uplo=FillMode.FULL), "uplo is .*FULL"),
        (lambda: TriangularPackedMatrixQualifier.create(uplo=7), "uplo is 7; expected FillMode.LOWER or"),
        (lambda: TriangularBandedMatrixQualifier.create(diag=3), "diag is 3"),
        (lambda: matmul(np.ones((2, 5)), np.ones(5), qualifiers=said(BandedMatrixQualifier.create(2), GE)),
         "a has 2 diagonals below the main one, and its shape .* room for 2 in all; expected at most 1"),
        (lambda: matmul(np.ones(5), np.ones(5), qualifiers=said(BandedMatrixQualifier.create(0), GE)),
         "a has the shape .*banded general; expected .*k, n.*band storage"),
        (lambda: matmul(np.ones(5), np.ones(3), qualifiers=said(SymmetricPackedMatrixQualifier.create(), GE)),
         "packed symmetric; expected .*such as 3 or 6"),
        (lambda: matmul(np.ones(6), np.ones(4), qualifiers=said(SymmetricPackedMatrixQualifier.create(), GE)),
         "stands for 3 by 3"),
        (lambda: matmul(np.ones((2, 5)), np.ones(5), np.ones(5), beta=1,
                        qualifiers=said(BandedMatrixQualifier.create(1), GE, BandedMatrixQualifier.create(1))),
         "the result, and c with it, may be general"),
        (lambda: matmul(np.ones((2, 5)), np.ones(5), qualifiers=said(BandedMatrixQualifier.create(1, True), GE)),
         "conjugates a, which is float64"),
        (lambda: triangular_solve(np.ones((2, 5)), np.ones(5), qualifier=SymmetricBandedMatrixQualifier.create()),
         "TriangularBandedMatrixQualifier or TriangularPackedMatrixQualifier"),
        (lambda: DirectSolver(np.ones((3, 5)), np.ones(5), qualifiers=BandedMatrixQualifier.create(1)),
         "qualifiers has the kind 'gb'.*pass bandwidths"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_names():
    assert BandedMatrixQualifier.to_string(BandedMatrixQualifier.create(2)) == "banded general"
    unit = TriangularPackedMatrixQualifier.create(uplo=UPPER, diag=DiagType.UNIT)
    assert TriangularPackedMatrixQualifier.to_string(unit) == "unit upper packed triangular"
    assert not HermitianPackedMatrixQualifier.is_valid(SymmetricPackedMatrixQualifier.create())
    with pytest.raises(UnavailableError, match="no inverse"):
        triangular_solve(
            np.ones(3), np.ones(2), qualifier=TriangularPackedMatrixQualifier.create(), options={"provider": "planmath"}
        )


def test_bands_that_are_wider_than_the_matrix():
    x = np.random.default_rng(4).standard_normal((3, 3))
    made = stored(x, "gb", reach=(5, 4))
    for provider in ("blas", "mkl", "planmath"):
        with Matmul(made.passed, x, qualifiers=said(made.qualifier, GE), options={"provider": provider}) as product:
            product.plan()
            for way in product._plan_made.algorithms:
                product._add_program(way, way)
                np.testing.assert_allclose(product._execute(way, None), (made.whole @ x).astype(float))
