"""Contractions that hypothesis draws: any modes, extents, memory layouts, dtypes, factors, algorithm."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from planmath.core.errors import UnavailableError
from planmath.tensor import BinaryContraction, Contraction, TernaryContraction
from planmath.tensor.providers import PROVIDERS
from tests.linalg.operands import random_values
from tests.tensor.reference import assert_near, reference

EXTENTS = (1, 2, 3, 4, 5, 7, 11)
DTYPES = ("float32", "float64", "complex64", "complex128", "float16")


class Drawn(NamedTuple):
    expr: list[tuple[int, ...]]
    operands: list[np.ndarray]
    c: np.ndarray | None
    out: np.ndarray | None
    alpha: complex
    beta: complex


@st.composite
def arrays(
    draw: st.DrawFn, modes: tuple[int, ...], extents: dict[int, int], dtype: str, seed: int, *, repeated: bool = True
) -> np.ndarray:
    """An operand with its axes in any order in memory, with gaps, backwards, or repeated along some."""
    shape = [1 if repeated and draw(st.integers(0, 9)) == 0 else extents[mode] for mode in modes]
    for mode in set(modes):  # one mode has one extent in an operand
        first = shape[modes.index(mode)]
        shape = [first if m == mode else n for m, n in zip(modes, shape, strict=True)]
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from((1, 1, 1, 2, -1))) for _ in shape]
    memory = np.full([shape[i] * abs(steps[i]) for i in order], np.nan).astype(dtype)
    view = memory[(*(slice(None, None, steps[i]) for i in order), ...)].transpose(np.argsort(order, kind="stable"))
    view[...] = random_values(view.shape, dtype, seed).astype(dtype)
    if repeated and shape and draw(st.integers(0, 9)) == 0:
        axis = draw(st.integers(0, len(shape) - 1))
        view = np.broadcast_to(np.take(view, [0], axis), view.shape)
    return view


@st.composite
def contractions(draw: st.DrawFn, count: int) -> Drawn:
    modes = range(draw(st.integers(1, 6)))
    extents = {mode: draw(st.sampled_from(EXTENTS if len(modes) < 5 else EXTENTS[:4])) for mode in modes}
    dtype = draw(st.sampled_from(DTYPES))
    terms = [tuple(draw(st.lists(st.sampled_from(modes), max_size=4))) for _ in range(count)]
    operands = [draw(arrays(term, extents, dtype, i)) for i, term in enumerate(terms)]
    used = sorted({mode for term in terms for mode in term})
    output = tuple(draw(st.permutations(used)))[: draw(st.integers(0, len(used)))]
    real = {m: max(a.shape[t.index(m)] for a, t in zip(operands, terms, strict=True) if m in t) for m in output}
    c = draw(arrays(output, real, dtype, 9)) if draw(st.booleans()) else None
    out = draw(arrays(output, real, dtype, 10, repeated=False)) if draw(st.booleans()) else None
    rotated = (0.5 - 2j,) if dtype.startswith("complex") else ()
    alpha = draw(st.sampled_from((1.0, 0.5, -2.0, *rotated)))
    beta = draw(st.sampled_from((0.0, 1.0, -0.5, *rotated)))
    return Drawn([*terms, output], operands, c, out, alpha, beta)


def check(drawn: Drawn, operation: Any, data: st.DataObject, steps: int) -> None:
    factors = {"alpha": drawn.alpha, **({} if drawn.c is None else {"beta": drawn.beta})}
    expected = reference(drawn.expr, drawn.operands, drawn.c, **factors, steps=steps)
    with operation as contraction:
        contraction.plan()
        problem = contraction._plan_made.problem
        found = [x for p in PROVIDERS if p.unsupported(problem) is None for x in p.algorithms(problem)]
        contraction._make_plan(problem, contraction._slots, [data.draw(st.sampled_from(found))])
        r = contraction.execute(**factors)
        assert_near(r, expected)
        assert r is drawn.out or drawn.out is None
        r, out = r.copy(), contraction.empty_result()
        assert contraction.execute(**factors, out=out) is out
        np.testing.assert_array_equal(out, r)


@given(contractions(2), st.data())
def test_two_operands(drawn, data):
    check(drawn, BinaryContraction(drawn.expr, *drawn.operands, c=drawn.c, out=drawn.out), data, 1)


@settings(max_examples=150)
@given(contractions(3), st.data())
def test_three_operands(drawn, data):
    check(drawn, TernaryContraction(drawn.expr, *drawn.operands, d=drawn.c, out=drawn.out), data, 2)


@settings(max_examples=100)
@given(st.integers(1, 7).flatmap(contractions), st.integers(0, 3))
def test_any_number_of_operands(drawn, cuts):
    """With all the memory that the contraction likes to have, and with less, down to the least that there can be."""
    expected = reference(drawn.expr, drawn.operands, steps=len(drawn.operands))
    with Contraction(drawn.expr, *drawn.operands) as contraction:
        contraction.plan()
        assert_near(contraction.execute(), expected)
        most = contraction._network.memory
    with Contraction(drawn.expr, *drawn.operands, options={"memory_limit": 0}) as contraction:
        try:
            contraction.plan()
            least = 0
        except UnavailableError as error:
            least = int(str(error).rpartition("a limit of ")[2].split()[0])
    limit = max(least, most >> cuts)
    with Contraction(drawn.expr, *drawn.operands, options={"memory_limit": limit}) as contraction:
        contraction.plan()
        assert_near(contraction.execute(), expected)
        assert_near(contraction.execute(), expected)
