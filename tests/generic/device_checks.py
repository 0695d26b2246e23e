"""What generic products do on a device beyond `conformance`: run on one, and on stand-ins for cuBLAS and kernels."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from planmath.core.errors import UnavailableError
from planmath.linalg import Matmul, TriangularSolver, matmul
from tests.generic.operands import Kind, assert_close, laid, numbers, qualifiers
from tests.generic.test_squares import WIDE, swapped
from tests.generic.test_stored import CLASSES, EVERY_KIND, GE, UPPER, Stored, said, stored
from tests.sparse.cudss_checks import Place

PROVIDERS = "cublas", "planmath"
DTYPES = ("float32", "float64", "complex64", "complex128")


def transposed(array: Any) -> Any:
    """The transposed matrices in the same memory."""
    if hasattr(array, "swapaxes"):
        return array.swapaxes(-1, -2)
    shape, strides = (list(x) for x in (array.shape, array.strides))  # of the stand-in for CuPy
    shape[-2:], strides[-2:] = shape[:-3:-1], strides[:-3:-1]
    return type(array)(tuple(shape), array.dtype, array.data, strides)


def every_way(place: Place, operation: Any) -> Iterator[tuple[Any, Callable[[], np.ndarray]]]:
    """All algorithms of a plan, and what executes them."""
    operation.plan()
    for way in operation._plan_made.algorithms:
        operation._add_program(way, way)
        yield way, lambda way=way: np.array(place.host(operation._execute(way, None)))


def stored_products(place: Place, names: Any = tuple(CLASSES), draws: int = 2) -> None:
    """Matrices in band and packed storage, left and right, with vectors, matrices and batches, by every way."""
    for name, uplo, unit in EVERY_KIND:
        if name not in names:
            continue
        draw = random.Random(f"{name} {uplo} {unit}")
        rng = np.random.default_rng(draw.randrange(10**6))
        layouts = ["rows", "columns", "gaps", "strided"]
        for _, left in itertools.product(range(draws), (False, True)):
            dtype, n = draw.choice(DTYPES), draw.choice([1, 7, 40])
            columns, addend = draw.choice((None, 1, 4, 9)), draw.choice((None, False, True))
            batch, other = draw.choice([((), ()), ((3,), (3,)), ((), (2,)), ((2,), ())]) if columns else ((), ())
            conjugate = dtype.startswith("complex") and draw.choice([False, True])
            reach = draw.choice([(0, 0), (1, 0), (2, 3), (1, 1)])
            made = stored(numbers(rng, (*batch, n, n), dtype), name, uplo, unit, conjugate, reach)
            shape = (n,) if columns is None else (*other, n, columns) if left else (*other, columns, n)
            g, a = laid(numbers(rng, shape, dtype), draw.choice(layouts)), laid(made.passed, draw.choice(layouts))
            given, factors = ((a, g), (made.whole, g)) if left else ((g, a), (g, made.whole))
            product, size = factors[0] @ factors[1], abs(factors[0]) @ abs(factors[1])
            c, more, kinds = None, {}, [made.qualifier, GE] if left else [GE, made.qualifier]
            expected, size = -0.5 * product, 0.5 * size
            if addend is not None:
                c = numbers(rng, product.shape, dtype)
                expected, size, more = expected + 2 * c, size + 2 * abs(c), {"beta": 2.0}
                kinds.append(GE)

            def added(c: Any = c) -> Any:
                return None if c is None else place(c.copy())

            found = set()
            for provider in PROVIDERS:
                with Matmul(
                    *(place(x) for x in given), added(), alpha=-0.5, qualifiers=said(*kinds),
                    options={"provider": provider, "inplace": bool(addend)}, execution="cuda", **more,
                ) as operation:  # fmt: skip
                    try:
                        ways = every_way(place, operation)
                        for way, execute in ways:
                            found.add((provider, way.get("product")))
                            if c is not None:
                                operation.reset_operands(c=added())
                            assert_close(execute(), expected, size, dtype, n)
                    except UnavailableError:
                        assert (provider, name[1]) == ("planmath", "p")
            assert ("cublas", "gemm") in found


def two_structures(place: Place) -> None:
    """Both factors with a structure, of which one at least is stored apart, and in half precision too."""
    rng = np.random.default_rng(2)
    others = [*CLASSES, "sy", "tr", "dg"]
    for number, (left, right) in enumerate(itertools.product(CLASSES, others)):
        dtype, n = [("float64", 9), ("complex128", 40), ("float16", 9)][number % 3]
        a = stored(numbers(rng, (n, n), dtype), left, UPPER)
        if right in CLASSES:
            b = stored(numbers(rng, (n, n), dtype), right)
        else:
            kind, elements = Kind(right), numbers(rng, (n,) if right == "dg" else (n, n), dtype)
            b = Stored(elements, kind.qualifier(), kind.dense(elements))
        for x, y in ((a, b), (b, a)):
            arrays = (place(z.passed) for z in (x, y))
            product = matmul(*arrays, qualifiers=said(x.qualifier, y.qualifier), execution="cuda")
            assert_close(place.host(product), x.whole @ y.whole, abs(x.whole) @ abs(y.whole), dtype, n)


def stored_systems(place: Place) -> None:
    """Triangular systems whose matrices are stored apart."""
    rng = np.random.default_rng(3)
    for (name, uplo, unit), dtype in itertools.product([kind for kind in EVERY_KIND if kind[0][0] == "t"], DTYPES):
        n, conjugate = 20, dtype.startswith("complex")
        x = (numbers(rng, (n, n), dtype) / n + (0 if unit else 3) * np.eye(n)).astype(dtype)
        made = stored(x, name, uplo, unit, conjugate, (3, 3))
        for columns in (None, 1, 6):
            b = numbers(rng, (n,) if columns is None else (n, columns), dtype)
            a, given = place(made.passed), place(b)
            with TriangularSolver(a, given, alpha=2, qualifier=made.qualifier, execution="cuda") as solver:
                names = set()
                for way, execute in every_way(place, solver):
                    names.add(way.get("product"))
                    found = execute().astype(made.whole.dtype)
                    size = abs(made.whole) @ abs(found) + 2 * abs(b)
                    assert np.all(abs(made.whole @ found - 2 * b) <= 8 * (n + 1) * np.finfo(dtype).eps * size)
                by_vectors = {"tbsv" if name == "tb" else "tpsv"} if columns != 6 else set()
                assert names == {"trsm", *by_vectors}


def squares(place: Place) -> None:
    """A matrix times its own transpose or adjoint, seen by the addresses; and other operands later."""
    rng = np.random.default_rng(4)
    for number, (order, turned, dtype) in enumerate(itertools.product(("rows", "columns", "gaps"), (0, 1), WIDE)):
        is_complex, batch = dtype.startswith("complex"), ((), (3,))[number % 2]
        for conjugated in ([(False, False), (True, False), (False, True)] if is_complex else [(False, False)]):
            n, k = 65, 7
            x = laid(numbers(rng, (*batch, n, k), dtype), order)
            there = place(x)
            flipped = transposed(there)
            given = (flipped, there) if turned else (there, flipped)
            a, b = (swapped(x), x) if turned else (x, swapped(x))
            kinds = [Kind("ge", conjugate=flag) for flag in conjugated]
            p, q = (kind.dense(array.astype(WIDE[dtype])) for kind, array in zip(kinds, (a, b), strict=True))
            with Matmul(*given, alpha=-0.5, qualifiers=qualifiers(*kinds), options={"provider": "cublas"}) as product:
                routine = "herk" if any(conjugated) else "syrk"
                ways = {}
                for way, execute in every_way(place, product):
                    ways[way.get("product")] = execute
                    result = execute()
                    assert_close(result, -0.5 * (p @ q), 0.5 * (abs(p) @ abs(q)), dtype, k)
                if turned or order != "strided":
                    assert set(ways) == ({routine, "gemm"} if n >= 64 else {"gemm"}), (set(ways), order, turned)
                result = ways[routine]()
                np.testing.assert_array_equal(result, swapped(result).conj() if routine == "herk" else swapped(result))
                other = laid(numbers(rng, x.shape, dtype), order)
                elsewhere = place(other)
                product.reset_operands(b=elsewhere if turned else transposed(elsewhere))
                y = kinds[1].dense((other if turned else swapped(other)).astype(WIDE[dtype]))
                assert_close(ways[routine](), -0.5 * (p @ y), 0.5 * (abs(p) @ abs(y)), dtype, k)
                product.reset_operands(alpha=0)
                assert not ways[routine]().any()
                if is_complex:
                    product.reset_operands(b=given[1], alpha=1 + 2j)
                    assert_close(ways[routine](), (1 + 2j) * (p @ q), 3 * (abs(p) @ abs(q)), dtype, k)


def squares_with_an_addend(place: Place) -> None:
    """c is added to one triangle, where the result is said to be symmetric."""
    rng = np.random.default_rng(5)
    x, c = rng.standard_normal((80, 9)), rng.standard_normal((80, 80))
    for dtype, kind, routine in (("float64", Kind("sy"), "syrk"), ("complex128", Kind("he"), "herk")):
        z = (x + 1j * rng.standard_normal(x.shape)).astype(dtype) if routine == "herk" else x
        added = (c + c.T).astype(dtype)
        there = place(z)
        pair = Kind("ge"), Kind("ge", conjugate=routine == "herk"), kind
        for inplace in (False, True):
            with Matmul(
                there, transposed(there), place(added.copy()), beta=2.0,
                qualifiers=qualifiers(*pair), options={"provider": "cublas", "inplace": inplace},
            ) as product:  # fmt: skip
                ways = []
                for way, execute in every_way(place, product):
                    ways.append(way.get("product"))
                    product.reset_operands(c=place(added.copy()))
                    np.testing.assert_allclose(execute(), z @ z.conj().T + 2 * added, rtol=1e-12, atol=1e-12)
                assert routine in ways


def narrow_products(place: Place) -> None:
    """Half precision, with all structures and an addend: general products as they are, diagonals without copies."""
    rng = np.random.default_rng(6)
    for (left, right), order in itertools.product(
        [("ge", "ge"), ("sy", "ge"), ("ge", "tr"), ("dg", "ge"), ("ge", "dg"), ("dg", "sy")], ("rows", "columns")
    ):
        kinds = Kind(left), Kind(right)
        a, b = (
            laid(numbers(rng, (2, 9) if kind.name == "dg" else (2, 9, 9), "float32").astype("float16"), order)
            for kind in kinds
        )
        c = np.ones((2, 9, 9), "float16")
        with Matmul(
            *(place(x) for x in (a, b, c)), alpha=0.5, beta=2.0, qualifiers=qualifiers(*kinds, Kind("ge")),
            execution="cuda",
        ) as product:  # fmt: skip
            x, y = (kind.dense(array.astype(float)) for kind, array in zip(kinds, (a, b), strict=True))
            for _, execute in every_way(place, product):
                np.testing.assert_allclose(execute(), 0.5 * (x @ y) + 2, rtol=2e-3, atol=4e-3)


def grouped_lists(place: Place) -> None:
    """Lists of products of several extents, orders and structures: one after the other, and in one call."""
    rng = np.random.default_rng(7)
    kinds = [("ge", "ge"), ("sy", "ge"), ("ge", "tr"), ("ge", "ge"), ("ge", "ge")] * 60
    for dtype, count in (("float64", 300), ("float32", 5), ("complex64", 4)):
        pairs = [tuple(map(Kind, pair)) for pair in kinds[:count]]
        sizes = [3 + i % 4 for i in range(count)]
        orders = ["rows", "columns", "strided"]
        a, b = (
            [laid(numbers(rng, (n, n), dtype), orders[(i // d) % 3]) for i, n in enumerate(sizes)] for d in (1, 2)
        )
        c = [numbers(rng, (n, n), dtype) for n in sizes]
        expected = [left.dense(x) @ right.dense(y) for (left, right), x, y in zip(pairs, a, b, strict=True)]
        size = [abs(left.dense(x)) @ abs(right.dense(y)) for (left, right), x, y in zip(pairs, a, b, strict=True)]
        with Matmul(
            place(a), place(b), place(c), alpha=-0.5, beta=[2.0] * (count - 1) + [0.0],
            qualifiers=[qualifiers(*pair, Kind("ge")) for pair in pairs], execution="cuda",
        ) as product:  # fmt: skip
            product.plan()
            names = set()
            for way in product._plan_made.algorithms:
                names.add(way.get("product"))
                product._add_program(way, way)
                for alpha in (-0.5, 0.0):
                    product.reset_operands(alpha=alpha)
                    found = product._execute(way, None)
                    found = [found[0], *found[1].values()]
                    for i, each in enumerate(found):
                        factor = 2.0 if i < count - 1 else 0.0
                        wanted, most = alpha * expected[i] + factor * c[i], abs(alpha) * size[i] + factor * abs(c[i])
                        assert_close(np.array(place.host(each)), wanted, most, dtype, sizes[i])
            assert ("grouped" in names) == (dtype != "complex64"), names
            other = [numbers(rng, (n, n), dtype) for n in sizes]
            product.reset_operands(a=place([laid(x, orders[i % 3]) for i, x in enumerate(other)]), alpha=1.0)
            for i, each in enumerate(product.execute()):
                (left, right), x = pairs[i], other[i]
                factor = 2.0 if i < count - 1 else 0.0
                wanted = left.dense(x) @ right.dense(b[i]) + factor * c[i]
                most = abs(left.dense(x)) @ abs(right.dense(b[i])) + factor * abs(c[i])
                assert_close(np.array(place.host(each)), wanted, most, dtype, sizes[i])


CHECKS = [
    stored_products, two_structures, stored_systems, squares, squares_with_an_addend, narrow_products,
    grouped_lists,
]  # fmt: skip
