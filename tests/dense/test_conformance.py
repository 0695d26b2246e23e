"""Every provider solves systems of every structure, layout, dtype and package, against extended precision."""

from __future__ import annotations

import itertools
import random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from planmath.linalg import DirectSolver, direct_solver
from planmath.linalg.solver.providers import PROVIDERS
from tests.arrays import to_numpy, to_package
from tests.dense.systems import DTYPES, OPERATIONS, STRUCTURES, assert_solves, numbers
from tests.generic.operands import laid
from tests.providers import available, on_host, pairs

LAYOUTS = ("rows", "columns", "gaps", "backwards", "strided")
SIDES = (None, 1, 2, 5)
#: Those that take systems of every structure.
GENERAL = [provider for provider in on_host(PROVIDERS) if provider.name != "own"]


@pytest.mark.parametrize("pair", pairs(GENERAL))
@pytest.mark.parametrize("structure", STRUCTURES)
def test_systems(structure, pair):
    """For each structure draws of all else, which differ from structure to structure."""
    draw = random.Random(f"{structure} {pair}")
    rng = np.random.default_rng(draw.randrange(10**6))
    for dtype in DTYPES:
        n, k = draw.choice([1, 2, 3, 7, 8, 17, 33, 70]), draw.choice(SIDES)
        layouts = draw.choice(LAYOUTS[:3]), draw.choice(LAYOUTS)
        if pair.package == "torch":
            layouts = tuple(layout for layout in layouts if layout != "backwards") * 2
        said = STRUCTURES[structure](numbers(rng, (n, n), dtype))
        side = laid(numbers(rng, (n,) if k is None else (n, k), dtype), layouts[1])
        a, b = to_package(laid(said.passed, layouts[0]), pair.package), to_package(side, pair.package)
        options = {"provider": pair.provider, "on_inaccurate": "raise"}
        with DirectSolver(a, b, options, **said.arguments) as solver:
            solver.plan()
            for _ in range(2):
                solver.factorize()
                for trans, operation in OPERATIONS.items():
                    x = to_numpy(solver.solve(trans=trans))
                    assert x.shape == side.shape
                    assert_solves(operation(said.whole), x, side, dtype)
                    assert solver.solution_info.accurate


BATCHES = {
    "one for each": ((2, 3), (2, 3, 5, 2)), "shared matrix": ((), (4, 5, 2)), "shared side": ((4,), (5, 2)),
    "vector": ((4,), (5,)), "vectors": ((2, 3), (2, 3, 5)), "outer": ((2, 1), (3, 5, 1)),
    "more axes": ((3,), (2, 3, 5, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", available(GENERAL))
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("structure", ["general", "definite", "Hermitian", "triangular", "diagonal", "tridiagonal"])
def test_batches(structure, batch, name):
    draw = random.Random(f"{structure} {batch} {name}")
    rng = np.random.default_rng(draw.randrange(10**6))
    before, shape = BATCHES[batch]
    dtype = draw.choice(DTYPES)
    made = [STRUCTURES[structure](numbers(rng, (5, 5), dtype)) for _ in range(int(np.prod(before)))]
    passed = np.array([said.passed for said in made]).reshape(*before, *made[0].passed.shape)
    whole = np.array([said.whole for said in made]).reshape(*before, 5, 5)
    b = laid(numbers(rng, shape, dtype), draw.choice(LAYOUTS))
    a = laid(passed, draw.choice(LAYOUTS[:3]))
    with DirectSolver(a, b, {"provider": name, "on_inaccurate": "raise"}, **made[0].arguments) as solver:
        solver.plan()
        for _ in range(2):
            solver.factorize()
            for trans, operation in OPERATIONS.items():
                x = solver.solve(trans=trans)
                vectors = batch in ("vector", "vectors")
                sides, found = (b[..., None], x[..., None]) if vectors else (b, x)
                expected = np.linalg.solve(operation(whole), sides)
                assert found.shape == expected.shape
                assert_solves(operation(whole), found, np.broadcast_to(sides, expected.shape), dtype)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8, 13, 32])
@pytest.mark.parametrize("structure", ["general", "conjugated", "definite", "upper definite"])
def test_batches_in_lanes(structure, n):
    """planmath's own kernels: any number of systems beside the lanes, of columns and threads, and any strides."""
    draw = random.Random(f"{structure} {n}")
    rng = np.random.default_rng(n)
    for dtype, count in itertools.product(DTYPES, (2, 17, 130)):
        if structure == "conjugated" and not dtype.startswith("complex"):
            continue
        k = draw.choice((1, 2, 5))
        made = [STRUCTURES[structure](numbers(rng, (n, n), dtype)) for _ in range(count)]
        passed, whole = (np.array([getattr(said, part) for said in made]) for part in ("passed", "whole"))
        a = laid(passed, draw.choice(("rows", "columns", "gaps")))
        b = laid(numbers(rng, (count, n, k), dtype), draw.choice(LAYOUTS))
        options = {"provider": "own", "on_inaccurate": "raise"}
        execution = {"name": "cpu", "num_threads": draw.choice((1, 2))}
        with DirectSolver(a, b, options, execution, **made[0].arguments) as solver:
            solver.plan()
            solver.factorize()
            for trans, operation in OPERATIONS.items():
                assert_solves(operation(whole), solver.solve(trans=trans), b, dtype)
            assert len(solver.solution_info.systems) == count


def test_an_axis_of_a_batch_may_lie_anywhere():
    rng = np.random.default_rng(3)
    a = np.moveaxis(rng.standard_normal((6, 6, 2, 3)), (2, 3), (0, 1))
    b = np.moveaxis(rng.standard_normal((3, 6, 4, 2)), (3, 0), (0, 1))
    x = direct_solver(a, b)
    assert_solves(a, x, b, "float64")
    assert np.argsort(x.strides).tolist() == np.argsort(b.strides).tolist(), "b's order in memory"


def test_an_axis_of_a_batch_may_repeat():
    """What is repeated has a stride of 0, and is no walk through memory."""
    rng = np.random.default_rng(8)
    a = rng.standard_normal((2, 3, 4, 4))
    b = np.broadcast_to(rng.standard_normal((2, 1, 4, 2)), (2, 3, 4, 2))
    assert_solves(a, direct_solver(a, b), b, "float64")
    repeated = np.broadcast_to(a[:, :1], a.shape)
    assert_solves(repeated, direct_solver(repeated, b), b, "float64")


def test_solutions_of_one_vector_follow_numpy():
    """A right-hand side that could be a matrix or vectors is a matrix, as in `numpy.linalg.solve`."""
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((4, 4, 4)), rng.standard_normal((4, 4))
    np.testing.assert_allclose(direct_solver(a, b), np.linalg.solve(a, b))


@pytest.mark.parametrize("form", ["lists", "list and array", "array and list", "one matrix and list", "list of one"])
def test_sequences(form):
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((3, 6, 6)), rng.standard_normal((3, 6, 2))
    if form == "lists":
        a = [rng.standard_normal((n, n)) for n in (2, 9, 6)]
        b = [rng.standard_normal(shape) for shape in ((2,), (9, 3), (6, 1))]
    passed_a = list(a) if form in ("lists", "list and array", "list of one") else a[0] if "one matrix" in form else a
    passed_b = b if form in ("list and array",) else tuple(b)
    if form == "list of one":
        passed_a, passed_b = passed_a[:1], passed_b[:1]
    with DirectSolver(passed_a, passed_b) as solver:
        solver.plan()
        for _ in range(2):
            solver.factorize()
            x = solver.solve()
            assert isinstance(x, tuple) == isinstance(passed_b, tuple)
            for i, (found, side) in enumerate(zip(x, passed_b, strict=True)):
                assert_solves(a[0] if "one matrix" in form else a[i], found, side, "float64")
            out = solver.empty_result()
            assert solver.solve(out=out) is out
            assert all(np.array_equal(p, q) for p, q in zip(out, x, strict=True))


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (30, 29), (1, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rectangular_systems(shape, dtype):
    """The solution of least squares, or that of the least norm: as by NumPy's singular values."""
    rng = np.random.default_rng(6)
    for k in (None, 3):
        for layout in ("rows", "columns", "strided"):
            a = numbers(rng, shape, dtype)
            b = laid(numbers(rng, shape[:1] if k is None else (shape[0], k), dtype), layout)
            x = direct_solver(laid(a, layout), b, options={"on_inaccurate": "raise"})
            wide = "complex128" if dtype.startswith("complex") else "float64"
            expected = np.linalg.lstsq(a.astype(wide), b.astype(wide))[0]
            condition = np.linalg.cond(a)
            bound = 64 * np.finfo(dtype).eps * condition**2 * (1 + np.abs(expected).max())
            np.testing.assert_allclose(x, expected, rtol=0, atol=bound)


@given(
    st.integers(1, 12), st.sampled_from(SIDES), st.sampled_from(DTYPES), st.sampled_from(sorted(STRUCTURES)),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=60)
def test_solutions_are_linear_and_backward_stable(n, k, dtype, structure, seed):
    rng = np.random.default_rng(seed)
    said = STRUCTURES[structure](numbers(rng, (n, n), dtype))
    b = numbers(rng, (n,) if k is None else (n, k), dtype)
    with DirectSolver(said.passed, b, {"on_inaccurate": "ignore"}, **said.arguments) as solver:
        solver.plan()
        solver.factorize()
        x = solver.solve()
        if solver.solution_info.accurate:
            assert_solves(said.whole, x, b, dtype)
        steps = solver.solution_info.refinement_steps
        solver.reset_operands(b=(4 * b).astype(dtype))
        again = solver.solve()
        if not steps and not solver.solution_info.refinement_steps:
            np.testing.assert_array_equal(again, 4 * x)  # a power of two changes no rounding
