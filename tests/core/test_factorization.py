"""Factorize and solve as phases, by a small solver of dense systems that stands on them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.linalg import lapack

from planmath.core.arrays import package_of
from planmath.core.errors import InvalidStateError
from planmath.core.factorization import (
    FactorizingOperation,
    InaccurateSolutionError,
    InaccurateSolutionWarning,
    Phases,
    SingularMatrixError,
)
from planmath.core.operation import State
from planmath.core.provider import Algorithm, Prepared, Provider

RNG = np.random.default_rng(0)
A = RNG.standard_normal((5, 5)) + 5 * np.eye(5)
B = RNG.standard_normal(5)
CALLS = ("plan", "factorize", "solve", "empty_result", "autotune")


class DenseProblem(NamedTuple):
    n: int
    execution: tuple[str, int] = ("cpu", 1)


class Residual(NamedTuple):
    error: float

    @property
    def accurate(self) -> bool:
        return self.error < 1e-12


class LU(Phases):
    """getrf and getrs of one system."""

    def see(self, matrices, sides):
        self.a, self.b = matrices[0].array, sides[0].array

    def factorize(self):
        self.lu, self.pivots, info = lapack.dgetrf(self.a)
        if info > 0:
            raise SingularMatrixError(f"pivot {info - 1} is 0", info - 1)
        self.a_factorized = self.a.copy()

    def solve(self, results, layouts):
        results[0][...] = lapack.dgetrs(self.lu, self.pivots, self.b)[0]
        residual = np.linalg.norm(self.b - self.a_factorized @ results[0])
        return (Residual(residual / np.linalg.norm(self.b)),)

    def facts(self, phase, name):
        return (self.pivots,)


class GETRF(Provider):
    name = "getrf"

    def unavailable(self) -> None:
        return None

    def version(self) -> str:
        return "1"

    def unsupported(self, problem: Any) -> None:
        return None

    def algorithms(self, problem: Any) -> list[Algorithm]:
        return [Algorithm("getrf"), Algorithm("getrf", (("threads", 1),))]

    def prepare(self, problem: Any, algorithm: Algorithm) -> Prepared:
        return Prepared({}, 0)


@dataclass
class Options:
    logger: Any = None
    provider: Any = None
    tuning: bool = False
    blocking: Any = "auto"
    on_inaccurate: str = "raise"


class DenseSolver(FactorizingOperation):
    noun = "DenseSolver"

    def __init__(self, a: Any, b: Any, **options: Any):
        super().__init__(Options(**options))
        self._package = package_of(a, "a")
        self._bind_systems([a], [b], None)

    def plan(self) -> None:
        self._require("plan")
        self._make_plan(DenseProblem(len(self._slots["a"].array)), self._slots)

    def factorize(self) -> None:
        self._factorization(None)

    def solve(self, out: Any = None) -> Any:
        return self._solutions(None, out)

    def reset_operands(self, *, a: Any = None, b: Any = None) -> None:
        self._reset_systems("reset_operands", a, b)

    def release_operands(self) -> None:
        self._release()

    def autotune(self) -> None:
        self._run(self._autotune, None, 3, None)

    def _providers(self) -> list[Provider]:
        return [GETRF()]

    def _make_executor(self, problem: Any, prepared: Prepared, slots: Any) -> LU:
        phases = LU()
        self._let_follow(phases, slots)
        return phases

    def _complaint(self) -> str:
        return f"the residual is {self._solution[0].error:.1g}"

    def _describe(self) -> str:
        return "dense"


@pytest.fixture
def solver():
    with DenseSolver(A.copy(), B.copy()) as solver:
        yield solver


def bring_to(solver, state):
    if state in ("planned", "factorized", "operands released"):
        solver.plan()
    if state in ("factorized", "operands released"):
        solver.factorize()
    if state == "operands released":
        solver.release_operands()
    if state == "freed":
        solver.free()
    assert solver.state == State(state)


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        ("specified", dict.fromkeys(("factorize", "solve", "empty_result", "autotune"), r"call plan\(\) first")),
        ("planned", {"solve": r"solve\(\) needs a factorization of the present matrix; call factorize\(\) first"}),
        ("factorized", {}),
        ("operands released", dict.fromkeys(CALLS, r"call reset_operands\(\)")),
        ("freed", dict.fromkeys(CALLS, "called after free")),
    ],
)
def test_what_is_refused_in_which_state(state, refused):
    for call in CALLS:
        with DenseSolver(A.copy(), B.copy()) as fresh:
            bring_to(fresh, state)
            if call in refused:
                with pytest.raises(InvalidStateError, match=refused[call]):
                    getattr(fresh, call)()
                assert fresh.state == State(state)
            else:
                getattr(fresh, call)()


def test_factors_last_as_long_as_the_matrix(solver):
    solver.plan()
    solver.factorize()
    np.testing.assert_allclose(A @ solver.solve(), B)
    solver.reset_operands(b=2 * B)
    assert solver.state is State.FACTORIZED
    np.testing.assert_allclose(A @ solver.solve(), 2 * B)
    solver.reset_operands(a=A.T.copy(), b=B)
    assert solver.state is State.PLANNED
    solver.factorize()
    np.testing.assert_allclose(A.T @ solver.solve(), B)
    for end in (solver.plan, solver.autotune):
        solver.factorize()
        end()
        assert solver.state is State.PLANNED
    solver.factorize()
    solver.release_operands()
    with pytest.raises(ValueError, match="it needs all operands: a missing"):
        solver.reset_operands(b=B)
    solver.reset_operands(a=A, b=B)
    assert solver.state is State.PLANNED, "the factors are gone with the matrix"


@pytest.mark.parametrize("call", [{"a": A.T.copy(), "b": np.ones(4)}, {"a": np.ones((4, 4)), "b": 2 * B}, {"b": [B]}])
def test_a_reset_that_fails_leaves_all_as_it_was(solver, call):
    solver.plan()
    solver.factorize()
    with pytest.raises((ValueError, TypeError)):
        solver.reset_operands(**call)
    assert solver.state is State.FACTORIZED
    np.testing.assert_allclose(A @ solver.solve(), B)
    solver.factorize()
    np.testing.assert_allclose(A @ solver.solve(), B)


def test_a_factorization_that_fails_is_none(solver):
    solver.plan()
    solver.factorize()
    solver.reset_operands(a=np.ones((5, 5)))
    with pytest.raises(SingularMatrixError) as raised:
        solver.factorize()
    assert raised.value.row == 1
    with pytest.raises(InvalidStateError, match="call factorize"):
        solver.solve()


def test_memory_that_moved_is_followed():
    b = B.copy()
    with DenseSolver(A, b) as solver:
        solver.plan()
        solver.factorize()
        b.resize((5000,), refcheck=False)
        with pytest.raises(ValueError, match="b was changed after it was bound"):
            solver.solve()
        b.resize((5,), refcheck=False)
        np.testing.assert_allclose(A @ solver.solve(), B)


def test_results(solver):
    solver.plan()
    solver.factorize()
    x = solver.empty_result()
    for _ in range(2):
        assert solver.solve(out=x) is x
        np.testing.assert_allclose(A @ x, B)
    b = solver._slots["b"].array
    with pytest.raises(ValueError, match="may share memory"):
        solver.solve(out=b)
    with pytest.raises(ValueError, match="shape"):
        solver.solve(out=np.empty(4))
    reverse = np.arange(10.0)[::-2]  # its first element lies behind the others
    solver_of_reverse = DenseSolver(A, reverse)
    with solver_of_reverse:
        solver_of_reverse.plan()
        solver_of_reverse.factorize()
        np.testing.assert_allclose(A @ solver_of_reverse.solve(), reverse)
        with pytest.raises(ValueError, match="share memory"):
            solver_of_reverse.solve(out=reverse.base[:5])


@pytest.mark.parametrize("how", ["raise", "warn", "ignore"])
def test_inaccurate_solutions_are_told(how, caplog):
    hilbert = 1 / (np.arange(14)[:, None] + np.arange(14) + 1)
    with DenseSolver(1e6 * hilbert, np.ones(14), on_inaccurate=how) as solver:
        solver.plan()
        solver.factorize()
        if how == "raise":
            with pytest.raises(InaccurateSolutionError, match="the residual is"):
                solver.solve()
        elif how == "warn":
            with pytest.warns(InaccurateSolutionWarning, match="the residual is") as told:
                solver.solve()
            assert told[0].filename == __file__
        else:
            solver.solve()


def test_phases_are_logged(caplog):
    logger = logging.getLogger("phases")
    caplog.set_level(logging.INFO, "phases")
    with DenseSolver(A, B, logger=logger) as solver:
        solver.plan()
        solver.factorize()
        solver.solve()
    for name in ("PLANNING", "FACTORIZATION", "SOLUTION", "RESOURCE RELEASE"):
        assert f"DenseSolver {name}" in caplog.text
    assert "unfreed" not in caplog.text
