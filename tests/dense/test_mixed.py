"""Factors in single precision, refined to double precision, and what happens where that does not do."""

from __future__ import annotations

import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from planmath.core.accuracy import TOLERANCE
from planmath.core.errors import UnavailableError
from planmath.linalg import DirectSolver, SingularMatrixError, direct_solver
from planmath.linalg.solver.problem import SINGLE
from planmath.linalg.solver.providers import PROVIDERS
from planmath.linalg.solver.providers.mixed import MOST_STEPS
from tests.dense.systems import STRUCTURES, Said, adjoint, assert_solves, numbers
from tests.generic.operands import laid
from tests.providers import available, on_host

LAST_WORDS = ("general", "conjugated", "definite", "symmetric", "Hermitian")
SQUARE = [name for name in STRUCTURES if name.split()[-1] in LAST_WORDS]
CASES = ((1, None, ("rows", "rows")), (40, 3, ("columns", "strided")), (65, None, ("gaps", "backwards")))
GENERAL = [provider for provider in on_host(PROVIDERS) if provider.name != "own"]
OPERATIONS = {"N": lambda a: a, "T": lambda a: np.swapaxes(a, -1, -2), "C": adjoint}
MIXED = {"precision": "mixed", "on_inaccurate": "raise"}


def conditioned(rng: np.random.Generator, n: int, condition: float, dtype: str = "float64") -> np.ndarray:
    """A matrix with this condition number."""
    left, right = (np.linalg.qr(numbers(rng, (n, n), dtype))[0] for _ in range(2))
    return (left * np.geomspace(1, 1 / condition, n)) @ right


@pytest.mark.parametrize("name", available(GENERAL))
@pytest.mark.parametrize("structure", SQUARE)
def test_solutions_are_as_accurate_as_in_full(structure, name):
    rng = np.random.default_rng(5)
    for dtype in ("float64", "complex128"):
        for n, k, layouts in CASES:
            said = STRUCTURES[structure](numbers(rng, (n, n), dtype))
            b = laid(numbers(rng, (n,) if k is None else (n, k), dtype), layouts[1])
            a, options = laid(said.passed, layouts[0]), {**MIXED, "provider": name}
            with DirectSolver(a, b, options, **said.arguments) as solver:
                solver.plan()
                for _ in range(2):
                    solver.factorize()
                    found = solver.factorization_info.dtype
                    assert found == SINGLE[dtype] or solver.factorization_info.structure == "diagonal"
                    for trans, operation in OPERATIONS.items():
                        assert_solves(operation(said.whole), solver.solve(trans=trans), b, dtype)
                        info = solver.solution_info
                        assert info.accurate
                        assert info.estimated == (found == dtype)
                        assert info.refinement_steps <= MOST_STEPS
                assert n == 1 or info.refinement_steps > 0
                sign, size = solver.factorization_info.log_determinant()
                expected = np.linalg.slogdet(said.whole)
                np.testing.assert_allclose([sign, size], expected, rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(solver.factorization_info.inverse() @ said.whole, np.eye(n), atol=1e-8)
                assert solver.factorization_info.factors().values.dtype == solver.factorization_info.dtype


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), power=st.floats(0, 13), scale=st.integers(-140, 140), side=st.integers(-140, 140))
def test_any_condition_and_any_size_of_numbers(seed, power, scale, side):
    """Backward errors are those of double precision, by whichever factors."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    a, b = conditioned(rng, n, 10**power) * 10.0**scale, rng.standard_normal((n, 2)) * 10.0**side
    with DirectSolver(a, b, MIXED) as solver:
        solver.plan()
        solver.factorize()
        x = solver.solve()
        info, single = solver.solution_info, solver.factorization_info.dtype == "float32"
        assert info.backward_error <= TOLERANCE["float64"]
        assert ("single precision did not do" in solver.report()) == (not single)
    if single and abs(scale) < 70 and abs(side) < 70:
        assert_solves(a, x, b, "float64")
    if power < 3 and abs(scale) < 130:
        assert single


def test_an_ill_conditioned_matrix_has_full_factors_until_the_next_plan():
    rng = np.random.default_rng(1)
    bad, good, b = conditioned(rng, 50, 1e11), conditioned(rng, 50, 10), rng.standard_normal(50)
    with DirectSolver(bad, b, MIXED) as solver:
        solver.plan()
        solver.factorize()
        assert solver.factorization_info.dtype == "float32"
        assert_solves(bad, solver.solve(), b, "float64")
        assert solver.factorization_info.dtype == "float64"
        assert "factorized in float64" in solver.report()
        solver.reset_operands(a=good)
        solver.factorize()
        assert solver.factorization_info.dtype == "float64"
        assert_solves(good, solver.solve(), b, "float64")
        solver.plan()
        solver.factorize()
        assert_solves(good, solver.solve(), b, "float64")
        assert solver.factorization_info.dtype == "float32"
        assert "factorized in float64" not in solver.report()


def test_a_matrix_that_is_singular_or_indefinite_in_single_precision_alone():
    singular = np.array([[1.0, 1], [1, 1 + 1e-10]])
    for arguments in ({}, {"structure": "positive definite"}):
        with DirectSolver(singular, np.array([1.0, 2]), MIXED, **arguments) as solver:
            solver.plan()
            solver.factorize()
            assert solver.factorization_info.dtype == "float64"
            assert solver.factorization_info.structure == ("positive definite" if arguments else "general")
            assert_solves(singular, solver.solve(), np.array([1.0, 2]), "float64")
    with pytest.raises(SingularMatrixError, match="pivot of row 1"):
        direct_solver(np.ones((2, 2)), np.ones(2), options=MIXED)
    indefinite = np.array([[1.0, 2], [2, 1]])
    x = direct_solver(indefinite, np.ones(2), options=MIXED, structure="positive definite")
    assert_solves(indefinite, x, np.ones(2), "float64")


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("lists", [False, True])
def test_batches_in_which_one_system_needs_full_factors(lists, inplace):
    rng = np.random.default_rng(2)
    a = np.array([conditioned(rng, 20, 10.0**power) for power in (0, 2, 6, 11)])
    b = rng.standard_normal((4, 20, 2))
    passed = (list(a), [x.copy() for x in b]) if lists else (a, b.copy())
    for count in (3, 4):
        with DirectSolver(passed[0][:count], passed[1][:count], {**MIXED, "inplace_b": inplace}) as solver:
            solver.plan()
            solver.factorize()
            x = solver.solve()
            for i in range(count):
                assert_solves(a[i], x[i], b[i], "float64")
            systems = solver.solution_info.systems
            assert len(systems) == count
            assert (solver.factorization_info.dtype == "float32") == (count == 3)
            if count == 3:
                assert systems[0].refinement_steps < systems[2].refinement_steps
            for side, before in zip(passed[1], b, strict=True):
                side[...] = before


def test_numbers_that_are_not_finite_are_named_and_change_nothing():
    rng = np.random.default_rng(3)
    a, b = conditioned(rng, 8, 10), rng.standard_normal(8)
    with DirectSolver(a, b.copy(), MIXED) as solver:
        solver.plan()
        solver.factorize()
        for value in (np.nan, np.inf):
            side = b.copy()
            side[3] = value
            solver.reset_operands(b=side)
            with pytest.raises(ValueError, match=r"not finite .* in row 3"):
                solver.solve()
        solver.reset_operands(b=b)
        assert_solves(a, solver.solve(), b, "float64")
        assert solver.factorization_info.dtype == "float32"
        solver.reset_operands(b=np.zeros(8))
        assert not solver.solve().any()
        a[2, 5] = np.nan
        with pytest.raises(ValueError, match="row 2, column 5"):
            solver.factorize()


def test_autotuning_chooses_it_only_where_the_user_allows_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PLANMATH_CACHE_DIR", str(tmp_path))
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((90, 90)) + 20 * np.eye(90), rng.standard_normal(90)

    def candidates(precision: str) -> set[bool]:
        alone = {"name": "cpu", "num_threads": 1}
        with DirectSolver(a, b, {"precision": precision, "provider": "lapack"}, alone) as solver:
            solver.plan()
            assert ("precision" in dict(solver._plan_made.chosen.knobs)) == (precision == "mixed")
            solver.autotune(iterations=1, seconds=0.2)
            solver.factorize()
            assert_solves(a, solver.solve(), b, "float64")
            return {"precision" in dict(algorithm.knobs) for algorithm in solver._plan_made.algorithms}

    assert candidates("full") == {False}
    assert candidates("mixed") == {True}
    assert candidates("auto") == {False, True}


@pytest.mark.parametrize(
    ("said", "options", "told"),
    [
        (Said(np.eye(3, dtype="float32"), {}, np.eye(3)), {}, "operands are float32; expected float64 or complex128"),
        (STRUCTURES["triangular"](np.eye(3)), {}, "a is triangular; expected one of: general"),
        (STRUCTURES["banded"](np.eye(5)), {}, "a is banded"),
        (Said(np.eye(3), {}, np.eye(3)), {"inplace_a": True}, "inplace_a is set"),
        (Said(np.ones((4, 3)), {}, np.eye(4)), {}, "a is rectangular"),
    ],
)
def test_what_has_no_factors_in_single_precision(said, options, told):
    b = np.ones(len(said.whole), said.passed.dtype)
    with pytest.raises(ValueError, match=told):
        DirectSolver(said.passed, b, {**MIXED, **options}, **said.arguments)
    with DirectSolver(said.passed.copy(), b, {"precision": "auto", **options}, **said.arguments) as solver:
        solver.plan()


def test_other_refusals():
    with pytest.raises(ValueError, match="precision is 'half'"):
        DirectSolver(np.eye(2), np.ones(2), {"precision": "half"})
    solver = DirectSolver(np.eye(2), np.ones(2), {**MIXED, "provider": "own"})
    with solver, pytest.raises(UnavailableError, match="dtype of the matrices"):
        solver.plan()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        direct_solver(np.eye(2), np.ones(2), options=MIXED)


def test_tensors():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    a, b = conditioned(rng, 30, 100, "complex128"), numbers(rng, (30, 2), "complex128")
    with DirectSolver(torch.from_numpy(a).mT.contiguous().mT, torch.from_numpy(b), MIXED) as solver:
        solver.plan()
        solver.factorize()
        assert_solves(a, solver.solve().numpy(), b, "complex128")
        assert solver.factorization_info.dtype == "complex64"
