"""The rows about dense linear systems."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from bench.comparison import THREADS, Maker, Row, Settings, compare, threads
from bench.contender import Contender
from bench.native import torch_threads
from bench.operands import uniform
from bench.verdict import Outcome, Target, at_most, at_most_and, faster

SIZES = (8, 64, 1000)
TOLERANCE = "solution of a system"
#: What a whole solution may take of `numpy.linalg.solve`'s time; what one with new values may take of that of the bare
#: calls, and seconds on top.
WHOLE = {8: 1.0, 64: 0.85, 1000: 0.95}
LOOP = {8: (1.0, 0.8e-6), 64: (1.1, 0.0), 1000: (1.1, 0.0)}


@dataclass(frozen=True, eq=False)
class System:
    """Linear equations with a known solution."""

    n: int
    count: int | None = None
    columns: int | None = None
    definite: bool = False
    dtype: str = "float64"

    @cached_property
    def matrix(self) -> np.ndarray:
        shape = (self.n, self.n) if self.count is None else (self.count, self.n, self.n)
        a = uniform(shape, self.dtype, seed=1)
        return a @ np.swapaxes(a, -1, -2) + np.eye(self.n) if self.definite else a + 2 * np.eye(self.n)

    @cached_property
    def solution(self) -> np.ndarray:
        shape = (self.n,) if self.columns is None else (self.n, self.columns)
        return uniform(shape if self.count is None else (self.count, *shape), self.dtype, seed=2)

    @cached_property
    def side(self) -> np.ndarray:
        return self.matrix @ self.solution


def whole(name: str, system: System, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_whole, system, None),
        "NumPy": partial(numpy, system),
        "SciPy": partial(scipy, system),
        "torch": partial(torch, system),
    }
    targets = [at_most(WHOLE[system.n], "planmath direct_solver", "NumPy linalg.solve")]
    return compare(name, makers, system.solution, TOLERANCE, targets, settings.longer())


def loop(name: str, system: System, settings: Settings) -> Outcome:
    """New values of one matrix: factorized and solved, with the check of accuracy, and the bare calls without."""
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_loop, system, {}),
        "LAPACK": partial(bare, system),
        "NumPy": partial(numpy, system),
    }
    targets: list[Target] = [at_most_and(*LOOP[system.n], "planmath factorize + solve", "LAPACK copy + getrf + getrs")]
    return compare(name, makers, system.solution, TOLERANCE, targets, settings.longer())


def definite(name: str, system: System, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_whole, system, "positive definite"),
        "NumPy": partial(numpy, system),
        "SciPy": partial(scipy_cholesky, system),
    }
    targets = [
        at_most(0.6, "planmath direct_solver", "NumPy linalg.solve"),
        at_most(0.95, "planmath direct_solver", "SciPy cho_factor + cho_solve"),
    ]
    return compare(name, makers, system.solution, TOLERANCE, targets, settings)


def mixed(name: str, system: System, settings: Settings) -> Outcome:
    """Factors in single precision, with solutions as accurate as those of others."""
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_loop, system, {"precision": "mixed"}),
        "planmath, in full": partial(planmath_loop, system, {}),
    }
    targets = [at_most(0.8, "planmath factorize + solve, mixed", "planmath factorize + solve")]
    return compare(name, makers, system.solution, TOLERANCE, targets, settings.longer(), everyone=True)


def batch(name: str, system: System, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_loop, system, {}),
        "NumPy": partial(numpy, system),
        "torch": partial(torch, system),
    }
    targets: list[Target] = [faster(4, "planmath factorize + solve", "NumPy linalg.solve")]
    targets += [faster(4, "planmath factorize + solve", f"torch linalg.solve, {threads(n)}") for n in THREADS]
    return compare(name, makers, system.solution, TOLERANCE, targets, settings.longer(), everyone=True)


def columns(name: str, system: System, settings: Settings) -> Outcome:
    """Right-hand sides of which rows follow each other, solved for with factors that are there."""
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_columns, system),
        "SciPy": partial(scipy_columns, system),
    }
    targets = [at_most(1.1, "planmath solve(out=)", "SciPy getrs, by columns")]
    return compare(name, makers, system.solution, TOLERANCE, targets, settings)


def planmath_whole(system: System, structure: str | None, stack: ExitStack) -> Iterator[Contender]:
    from planmath.core import remembered
    from planmath.linalg import direct_solver

    stack.callback(remembered.clear)
    names = {"direct_solver": direct_solver, "a": system.matrix, "b": system.side}
    more = f", structure={structure!r}" if structure else ""
    yield Contender("planmath", "direct_solver", f"direct_solver(a, b{more})", names, spins=True)


def planmath_loop(system: System, options: dict[str, Any], stack: ExitStack) -> Iterator[Contender]:
    from planmath.linalg import DirectSolver

    solver = stack.enter_context(DirectSolver(system.matrix, system.side, options))
    solver.plan()
    solver.autotune()
    names, plan = {"factorize": solver.factorize, "solve": solver.solve}, repr(solver)
    form = "factorize + solve, mixed" if "precision" in options else "factorize + solve"
    yield Contender("planmath", form, "factorize(); solve()", names, spins=True, plan=plan)


def planmath_columns(system: System, stack: ExitStack) -> Iterator[Contender]:
    from planmath.linalg import DirectSolver

    solver = stack.enter_context(DirectSolver(system.matrix, system.side, {"provider": "lapack"}))
    solver.plan()
    solver.factorize()
    x, plan = solver.empty_result(), repr(solver)
    names = {"solve": solver.solve, "x": x}
    yield Contender("planmath", "solve(out=)", "solve(out=x)", names, into=x, spins=True, plan=plan)


def numpy(system: System, stack: ExitStack) -> Iterator[Contender]:
    names = {"solve": np.linalg.solve, "a": system.matrix, "b": system.side}
    yield Contender("NumPy", "linalg.solve", "solve(a, b)", names, spins=True)


def scipy(system: System, stack: ExitStack) -> Iterator[Contender]:
    from scipy.linalg import solve

    names = {"solve": solve, "a": system.matrix, "b": system.side}
    yield Contender("SciPy", "linalg.solve", "solve(a, b)", names, spins=True)


def scipy_cholesky(system: System, stack: ExitStack) -> Iterator[Contender]:
    from scipy.linalg import cho_factor, cho_solve

    names = {"cho_factor": cho_factor, "cho_solve": cho_solve, "a": system.matrix, "b": system.side}
    yield Contender("SciPy", "cho_factor + cho_solve", "cho_solve(cho_factor(a), b)", names, spins=True)


def scipy_columns(system: System, stack: ExitStack) -> Iterator[Contender]:
    from scipy.linalg import lapack, lu_factor

    lu, pivots = lu_factor(system.matrix)
    names = {"getrs": lapack.dgetrs, "lu": lu, "pivots": pivots, "b": np.asfortranarray(system.side)}
    yield Contender("SciPy", "getrs, by columns", "getrs(lu, pivots, b)[0]", names, spins=True)


def torch(system: System, stack: ExitStack) -> Iterator[Contender]:
    import torch

    a, b = torch.from_numpy(system.matrix), torch.from_numpy(system.side)
    names = {"solve": torch.linalg.solve, "a": a, "b": b}
    for number in THREADS:
        within = partial(torch_threads, number)
        form = f"linalg.solve, {threads(number)}"
        yield Contender("torch", form, "solve(a, b)", names, within=within, spins=number > 1)


def bare(system: System, stack: ExitStack) -> Iterator[Contender]:
    """The calls of SciPy's LAPACK alone, as one program: a copy, getrf on the transposed matrix, a copy, getrs."""
    from planmath.core.executor import Program
    from planmath.native.call import Call, Slot

    from planmath.bindings import lapack

    a, b = system.matrix, system.side
    factors, x, pivots = np.empty_like(a), np.empty_like(b), np.empty(system.n, np.int32)
    n, one, status, letter = ctypes.c_int(system.n), ctypes.c_int(1), ctypes.c_int(), ctypes.c_char(b"T")
    at_n, at_one, at_status, at_letter = map(ctypes.addressof, (n, one, status, letter))
    copy = ctypes.cast(ctypes.CDLL(None).memcpy, ctypes.c_void_p).value
    f, p, y = (array.ctypes.data for array in (factors, pivots, x))
    calls = [
        Call(copy, [f, Slot(0), a.nbytes], name="memcpy"),
        Call(lapack.SCIPY.find("dgetrf"), [at_n, at_n, f, at_n, p, at_status], name="dgetrf"),
        Call(copy, [y, Slot(1), b.nbytes], name="memcpy"),
        Call(
            lapack.SCIPY.find("dgetrs"), [at_letter, at_n, at_one, f, at_n, p, y, at_n, at_status, 1], name="dgetrs",
            keep=(factors, x, pivots, n, one, status, letter),
        ),
    ]  # fmt: skip
    names = {"program": Program(calls), "a": a.ctypes.data, "b": b.ctypes.data}
    yield Contender("LAPACK", "copy + getrf + getrs", "program(a, b)", names, into=x, spins=True)


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for n in SIZES:
        for work in (whole, loop):
            rows[f"dense/{n}/{work.__name__}"] = partial(work, f"dense/{n}/{work.__name__}", System(n))
    others = {
        "dense/definite": (definite, System(1000, definite=True)),
        "dense/mixed": (mixed, System(1000)),
        "dense/batch/8": (batch, System(8, 10_000, 1)),
        "dense/batch/8/c128": (batch, System(8, 10_000, 1, dtype="complex128")),
        "dense/batch/32": (batch, System(32, 1000, 1)),
        "dense/columns": (columns, System(1000, columns=100)),
    }
    return rows | {name: partial(work, name, system) for name, (work, system) in others.items()}
