"""The rows about sparse linear systems: Poisson's equation in two and three dimensions, and a saddle point."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import cycle
from typing import Any

import numpy as np

from bench.comparison import CORES, Maker, Row, Settings, compare
from bench.contender import Contender
from bench.native import mkl_threads, pardiso
from bench.verdict import Outcome, Target, at_most, at_most_and, faster

#: unknowns of the rows: their name, and by kind of system the extents of the grid
SIZES = {
    "1k": {"2d": 32, "3d": 10, "kkt": 26},
    "60k": {"2d": 250, "3d": 40, "kkt": 202},
    "260k": {"2d": 512, "3d": 64, "kkt": 418},
}
KINDS = ("2d", "3d", "kkt")
QUICK = {"1k", "60k"}
#: How many times as fast as splu, from the beginning to the solution.
WHOLE = {"60k": 1.8, "260k": 2.5}
#: SuperLU takes half a minute for 64,000 unknowns in three dimensions, and for more it takes what patience there is.
TOO_MUCH_FOR_SUPERLU = {("3d", "260k")}
TOLERANCE = "solution of a system"
#: ``iparm(2)`` of PARDISO
MINIMUM_DEGREE = 0


@dataclass(frozen=True, eq=False)
class System:
    """Linear equations with a known solution; the matrix has several sets of values on one pattern."""

    kind: str
    extent: int

    @cached_property
    def matrix(self) -> Any:
        import scipy.sparse as sp

        a = saddle_point(self.extent) if self.kind == "kkt" else laplacian(int(self.kind[0]), self.extent)
        a = sp.csr_array(a)
        a.sort_indices()
        return sp.csr_array((a.data, a.indices.astype(np.int32), a.indptr.astype(np.int32)), shape=a.shape)

    @cached_property
    def triangle(self) -> Any:
        """The entries on and above the diagonal, with those of it that are zero."""
        import scipy.sparse as sp

        a, n = sp.triu(self.matrix, format="coo"), self.matrix.shape[0]
        places = np.concatenate([a.row, np.arange(n)]), np.concatenate([a.col, np.arange(n)])
        upper = sp.csr_array((np.concatenate([a.data, np.zeros(n)]), places), shape=(n, n))
        upper.sum_duplicates()
        return sp.csr_array((upper.data, upper.indices.astype(np.int32), upper.indptr.astype(np.int32)), shape=(n, n))

    @cached_property
    def solution(self) -> np.ndarray:
        return np.random.default_rng(7).uniform(-1, 1, self.matrix.shape[0])

    @cached_property
    def side(self) -> np.ndarray:
        return np.asarray(self.matrix @ self.solution)

    def steps(self) -> tuple[Any, Any]:
        """A matrix of a contender's own, and a function that gives it the values of the next step."""
        a = self.matrix.copy()
        values = cycle([self.matrix.data * factor for factor in (1.0, 1.25, 0.8)])

        def change() -> None:
            a.data[:] = next(values)

        return a, change


def laplacian(dimensions: int, extent: int) -> Any:
    import scipy.sparse as sp

    line = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(extent, extent))
    total = line
    for _ in range(dimensions - 1):
        total = sp.kron(total, sp.eye_array(extent)) + sp.kron(sp.eye_array(total.shape[0]), line)
    return total


def saddle_point(extent: int) -> Any:
    """A Laplacian with a constraint of three unknowns for every second of them."""
    import scipy.sparse as sp

    h = laplacian(2, extent)
    n = extent * extent
    m = n // 2
    first = 2 * np.arange(m)
    columns = np.concatenate([first, first + 1, (first + extent) % n])
    values = np.random.default_rng(3).uniform(0.5, 1.5, 3 * m)
    b = sp.csr_array((values, (np.tile(np.arange(m), 3), columns)), shape=(m, n))
    return sp.block_array([[h, b.T], [b, None]])


# ---- from the beginning to the solution ----


def whole(name: str, system: System, size: str, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_whole, system, size),
        "SciPy": partial(scipy_whole, system, size),
        "pypardiso": partial(pypardiso_whole, system),
    }
    if (system.kind, size) in TOO_MUCH_FOR_SUPERLU:
        del makers["SciPy"]
    targets: list[Target] = []
    if size == "1k":
        targets = [at_most(1.2, "planmath direct_solver", "SciPy spsolve")]
    elif "SciPy" in makers:
        targets = [faster(WHOLE[size], "planmath plan + factorize + solve", "SciPy splu")]
    return compare(name, makers, system.solution, TOLERANCE, targets, settings)


def planmath_whole(system: System, size: str, stack: ExitStack) -> Iterator[Contender]:
    from planmath.core import remembered
    from planmath.sparse.advanced import DirectSolver, direct_solver

    a, b = system.matrix, system.side

    def run() -> np.ndarray:
        with DirectSolver(a, b) as solver:
            solver.plan()
            solver.factorize()
            return solver.solve()

    yield Contender("planmath", "plan + factorize + solve", "run()", {"run": run}, spins=True)
    if size == "1k":
        stack.callback(remembered.clear)
        names = {"direct_solver": direct_solver, "a": a, "b": b}
        yield Contender("planmath", "direct_solver", "direct_solver(a, b)", names, spins=True)


def scipy_whole(system: System, size: str, stack: ExitStack) -> Iterator[Contender]:
    from scipy.sparse.linalg import splu, spsolve

    names = {"splu": splu, "spsolve": spsolve, "a": system.matrix, "b": system.side}
    yield Contender("SciPy", "splu", "splu(a.tocsc()).solve(b)", names)
    if size == "1k":
        yield Contender("SciPy", "spsolve", "spsolve(a, b)", names)


def pypardiso_whole(system: System, stack: ExitStack) -> Iterator[Contender]:
    """Its own test whether the matrix is the one factorized last would save it the work: the values change."""
    solver, spsolve = pypardiso_solver(stack)
    a, change = system.steps()
    names = {"change": change, "spsolve": spsolve, "a": a, "b": system.side, "solver": solver}
    yield Contender("pypardiso", "spsolve", "change(); spsolve(a, b, solver=solver)", names, spins=True)


def pypardiso_solver(stack: ExitStack) -> tuple[Any, Any]:
    from pypardiso import PyPardisoSolver, spsolve

    solver = PyPardisoSolver()
    stack.callback(solver.free_memory, everything=True)
    return solver, spsolve


# ---- the same pattern with new values, again and again ----


def loop(name: str, system: System, size: str, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_loop, system),
        "SciPy": partial(scipy_loop, system),
        "pypardiso": partial(pypardiso_whole, system),
    }
    targets = [faster(2, "planmath factorize + solve", "pypardiso spsolve")]
    if (system.kind, size) in TOO_MUCH_FOR_SUPERLU:
        del makers["SciPy"]
    else:
        targets.append(faster(5, "planmath factorize + solve", "SciPy splu"))
    return compare(name, makers, system.solution, TOLERANCE, targets, settings)


def planmath_loop(system: System, stack: ExitStack) -> Iterator[Contender]:
    from planmath.sparse.advanced import DirectSolver

    a, change = system.steps()
    solver = stack.enter_context(DirectSolver(a, system.side))
    solver.plan()
    names = {"change": change, "factorize": solver.factorize, "solve": solver.solve}
    statement, plan = "change(); factorize(); solve()", repr(solver)
    yield Contender("planmath", "factorize + solve", statement, names, spins=True, plan=plan)


def scipy_loop(system: System, stack: ExitStack) -> Iterator[Contender]:
    from scipy.sparse.linalg import splu

    a, change = system.steps()
    names = {"change": change, "splu": splu, "a": a, "b": system.side}
    yield Contender("SciPy", "splu", "change(); splu(a.tocsc()).solve(b)", names)


# ---- the solution alone ----


def solve(name: str, system: System, size: str, settings: Settings) -> Outcome:
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_solve, system),
        "MKL": partial(mkl_solve, system, size),
        "pypardiso": partial(pypardiso_solve, system),
    }
    targets = [at_most_and(1.05, 20e-6, "planmath solve(out=)", "MKL pardiso")]
    return compare(name, makers, system.solution, TOLERANCE, targets, settings.longer())


def planmath_solve(system: System, stack: ExitStack) -> Iterator[Contender]:
    from planmath.sparse.advanced import DirectSolver

    solver = stack.enter_context(DirectSolver(system.matrix, system.side, options={"provider": "pardiso"}))
    solver.plan()
    solver.factorize()
    x, plan = solver.empty_result(), repr(solver)
    names = {"solve": solver.solve, "x": x}
    yield Contender("planmath", "solve(out=)", "solve(out=x)", names, into=x, spins=True, plan=plan)
    yield Contender("planmath", "solve()", "solve()", names, spins=True, plan=plan)


def mkl_solve(system: System, size: str, stack: ExitStack) -> Iterator[Contender]:
    """The call alone: with the type and the settings that planmath finds out, and with those of a general matrix."""
    threads, nested = (1, MINIMUM_DEGREE) if size == "1k" else (CORES, 3 if CORES > 1 else 2)
    matching = {10: 1, 12: 1}
    if system.kind == "kkt":
        kind, own = -2, {1: nested, 9: 8, **matching}
    else:
        kind, own = 2, {1: nested if system.kind == "3d" else MINIMUM_DEGREE}
    for form, a, mtype, parameters in (
        ("pardiso", system.triangle, kind, own),
        ("pardiso, general", system.matrix, 11, {1: nested, 9: 13, **matching}),
    ):
        x = np.empty_like(system.solution)
        within = partial(mkl_threads, threads)
        with within():
            function, arguments = pardiso(a, system.side, x, mtype, parameters, stack)
        names = {"pardiso": function, **{f"argument{place}": value for place, value in enumerate(arguments)}}
        statement = f"pardiso({', '.join(list(names)[1:])})"
        yield Contender("MKL", form, statement, names, into=x, within=within, spins=True)


def pypardiso_solve(system: System, stack: ExitStack) -> Iterator[Contender]:
    solver, spsolve = pypardiso_solver(stack)
    names = {"spsolve": spsolve, "a": system.matrix, "b": system.side, "solver": solver}
    yield Contender("pypardiso", "spsolve again", "spsolve(a, b, solver=solver)", names, spins=True)


# ---- many small systems ----


def batch(name: str, settings: Settings) -> Outcome:
    import scipy.sparse as sp

    count, n = (100 if settings.quick else 1000), 1000
    random = np.random.default_rng(5)
    matrices = []
    for _ in range(count):
        bands = [random.uniform(-1, 0, n - 1), random.uniform(2, 3, n), random.uniform(-1, 0, n - 1)]
        matrices.append(sp.csr_array(sp.diags_array(bands, offsets=[-1, 0, 1])))
    solution = random.uniform(-1, 1, (count, n))
    sides = [a @ x for a, x in zip(matrices, solution, strict=True)]
    makers: dict[str, Maker] = {
        "planmath": partial(planmath_batch, matrices, sides),
        "SciPy": partial(scipy_batch, matrices, sides),
    }
    targets = [
        faster(3, "planmath factorize + solve", "SciPy loop over splu"),
        faster(3, "planmath direct_solver", "SciPy loop over splu"),
    ]
    return compare(name, makers, solution, TOLERANCE, targets, settings, everyone=True)


def planmath_batch(matrices: list[Any], sides: list[np.ndarray], stack: ExitStack) -> Iterator[Contender]:
    from planmath.sparse.advanced import DirectSolver, direct_solver

    solver = stack.enter_context(DirectSolver(matrices, sides))
    solver.plan()
    names = {"factorize": solver.factorize, "solve": solver.solve, "np": np}
    statement, plan = "factorize(); np.array(solve())", repr(solver)
    yield Contender("planmath", "factorize + solve", statement, names, plan=plan)
    names = {"direct_solver": direct_solver, "np": np, "matrices": matrices, "sides": sides}
    yield Contender("planmath", "direct_solver", "np.array(direct_solver(matrices, sides))", names)


def scipy_batch(matrices: list[Any], sides: list[np.ndarray], stack: ExitStack) -> Iterator[Contender]:
    from scipy.sparse.linalg import splu

    def run() -> np.ndarray:
        return np.array([splu(a.tocsc()).solve(b) for a, b in zip(matrices, sides, strict=True)])

    yield Contender("SciPy", "loop over splu", "run()", {"run": run})


# ---- the rows ----


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for size, extents in SIZES.items():
        for kind in KINDS:
            if settings.quick and (size not in QUICK or (kind == "3d" and size != "1k")):
                continue
            system = System(kind, extents[kind])
            for work in (whole, loop, solve):
                name = f"sparse/{kind}/{size}/{work.__name__}"
                rows[name] = partial(work, name, system, size)
    return rows | {"sparse/batch": partial(batch, "sparse/batch")}
