"""What every provider is asked: products of each pair of kinds, one draw of all else for each pair."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np

from planmath.core.errors import UnavailableError
from planmath.linalg import Matmul
from tests.arrays import DEVICE, to_numpy, to_package
from tests.generic.operands import (
    DTYPES,
    LAYOUTS,
    LOWER,
    UPPER,
    Kind,
    assert_close,
    laid,
    numbers,
    qualifiers,
    spoiled,
)

KINDS = (
    Kind("ge"), Kind("ge", conjugate=True), Kind("sy"), Kind("sy", UPPER), Kind("sy", conjugate=True), Kind("he"),
    Kind("he", UPPER), Kind("he", conjugate=True), Kind("tr"), Kind("tr", UPPER), Kind("tr", LOWER, True),
    Kind("tr", UPPER, True, conjugate=True), Kind("dg"), Kind("dg", incx=-1), Kind("dg", conjugate=True),
)  # fmt: skip
PAIRS = list(itertools.product(KINDS, KINDS))
BATCHES = (((), ()), ((3,), (3,)), ((3,), ()), ((), (2,)), ((2, 1), (3,)))


def operand(
    rng: np.random.Generator, kind: Kind, rows: int, cols: int, batch: tuple[int, ...], dtype: str, layout: str
) -> np.ndarray:
    """Random elements, and NaN wherever the product must not read."""
    shape = (*batch, rows) if kind.name == "dg" else (*batch, rows, cols)
    return laid(spoiled(numbers(rng, shape, dtype), kind), layout)


def dense(kind: Kind, stored: np.ndarray) -> np.ndarray:
    """The matrices that are meant, in extended precision."""
    x = kind.dense(stored)
    return np.where(np.isnan(x), 0, x) if kind.name == "tr" else x


def check_products(
    pair: tuple[Kind, Kind], provider: str, package: str = "numpy", execution: str | None = None, draws: int = 2
) -> None:
    """Compare every way of a provider to compute products of two kinds with extended precision.

    planmath's own kernels are for diagonal and, on the CPU, for small matrices, libraries for all but diagonal ones.
    """
    draw = random.Random(f"{pair}")
    rng = np.random.default_rng(draw.randrange(10**6))
    # PyTorch has no negative strides
    layouts = [layout for layout in LAYOUTS if layout != "backwards" or not package.startswith("torch")]
    conjugated = any(kind.conjugate for kind in pair)
    for _ in range(draws):
        dtype = draw.choice(DTYPES[2:] if conjugated else DTYPES)
        n, m, p = draw.choice([(5, 3, 4), (8, 8, 8), (33, 1, 17), (1, 4, 1), (64, 20, 7)])
        left, right = pair
        rows, cols = n if left.name != "ge" else m, n if right.name != "ge" else p
        batch_a, batch_b = draw.choice(BATCHES)
        a = operand(rng, left, rows, n, batch_a, dtype, draw.choice(layouts))
        b = operand(rng, right, n, cols, batch_b, dtype, draw.choice(layouts))
        x, y = dense(left, a), dense(right, b)
        batch = np.broadcast_shapes(batch_a, batch_b)
        alpha, beta = draw.choice([(1, None), (-0.5, 2.0)])
        if beta is not None and dtype.startswith("complex"):
            alpha, beta = alpha - 1j, beta + 0.5j
        expected, magnitude = alpha * (x @ y), abs(alpha) * (np.abs(x) @ np.abs(y))
        c, order, options = None, "", {"provider": provider}
        if beta is not None:
            c, order = numbers(rng, (*batch, rows, cols), dtype), draw.choice(LAYOUTS[:3])
            expected, magnitude = expected + beta * c, magnitude + abs(beta) * np.abs(c)
            options["inplace"] = draw.choice([True, False])
        given = qualifiers(*pair, *[Kind("ge")] * (c is not None))

        def addend(c: Any = c, order: str = order) -> Any:
            return None if c is None else to_package(laid(c, order), package)

        arrays = [to_package(a, package), to_package(b, package), addend()]
        try:
            with Matmul(
                *arrays, alpha=alpha, beta=beta, qualifiers=given, options=options, execution=execution
            ) as product:
                product.plan()
                for way in product._plan_made.algorithms:
                    product._add_program(way, way)
                    if c is not None:
                        product.reset_operands(c=addend())
                    assert_close(np.array(to_numpy(product._execute(way, None))), expected, magnitude, dtype, n)
            refused = False
        except UnavailableError:
            refused = True
        diagonal, small = "dg" in [left.name, right.name], max(rows, n, cols) <= 32
        on_device = execution == "cuda" or package in DEVICE
        own = diagonal or (small and not on_device)
        assert refused != (own if provider == "planmath" else not diagonal)
