"""Sparse systems of what people have: a folder of matrices, or generated ones of the same classes (circuits, power
networks, meshes, plants). Of each, the first stateless solution with SciPy's `spsolve`, and a loop of `factorize` and
`solve` with a `splu` for each; of all, the geometric means, and how many take too long.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.company import quiet, timed
from bench.comparison import Row, Settings, reason
from bench.verdict import Outcome, Verdict

#: The most that a first solution may take, as a part of the opponent's time, and seconds on top; the means' limit.
MOST, BESIDE, MEAN = 1.5, 20e-6, 1.0
#: Rounds for each round of the other rows, of what takes milliseconds and of what takes longer.
ROUNDS, LONG = 5, 0.02
FIRST, LOOP = "first stateless", "loop"
ERROR = 1e-9


def rows(settings: Settings) -> dict[str, Row]:
    return {} if settings.peers_only else {"sweep/sparse": partial(sweep, "sweep/sparse")}


def sweep(name: str, settings: Settings) -> Outcome:
    """Measure every matrix, and judge them all together."""
    outcome = Outcome(name, "")
    ratios: dict[str, dict[str, float]] = {FIRST: {}, LOOP: {}}
    above: dict[str, float] = {}
    for title, a in systems(settings):
        try:
            times = measured(a, settings)
        except Exception as error:  # a matrix may be singular, and the others are still measured
            outcome.notes.append(f"{title}: left out, {reason(error)}")
            continue
        figures = {label: quiet(each) for label, each in times.items()}
        outcome.raw[title] = {"unknowns": a.shape[0], "entries": a.nnz, **times}
        for how, ours, theirs in ((FIRST, "direct_solver", "spsolve"), (LOOP, "factorize + solve", "splu")):
            ratios[how][title] = figures[ours] / figures[theirs]
        if figures["direct_solver"] > MOST * figures["spsolve"] + BESIDE:
            above[title] = ratios[FIRST][title]
        told = ", ".join(f"{how} {of[title]:.2f}" for how, of in ratios.items())
        outcome.notes.append(f"{title}, {a.shape[0]} unknowns: {told}")
    for how, of in ratios.items():
        if not of:
            outcome.unjudged += 1
            continue
        mean, label = math.exp(sum(map(math.log, of.values())) / len(of)), f"planmath {how}, mean of {len(of)}"
        opponent = "spsolve" if how == FIRST else "splu"
        outcome.figures[label] = mean
        outcome.verdicts.append(Verdict(label, "", f"{mean:.3f}", f"at most {MEAN:g} of {opponent}", mean <= MEAN))
    if ratios[FIRST]:
        label = f"planmath {FIRST}, highest"
        outcome.figures[label] = max(ratios[FIRST].values())
        limit = f"none above {MOST:g} of spsolve + {BESIDE * 1e6:g} µs"
        outcome.verdicts.append(Verdict(label, "", f"{len(above)} above", limit, not above))
    return outcome


def measured(a: Any, settings: Settings) -> dict[str, list[float]]:
    """Seconds of each way to solve a system, in turns."""
    from scipy.sparse.linalg import splu, spsolve

    from planmath.core import remembered
    from planmath.sparse.advanced import DirectSolver, direct_solver

    b = a @ np.random.default_rng(1).uniform(-1, 1, a.shape[0])
    transposed = a.T  # whose columns are the rows: nothing is converted
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("error")
        stack.callback(remembered.clear)
        solver = stack.enter_context(DirectSolver(a, b))
        solver.plan()

        def loop() -> Any:
            solver.factorize()
            return solver.solve()

        calls: Mapping[str, Callable[[], Any]] = {
            "direct_solver": partial(direct_solver, a, b), "spsolve": partial(spsolve, a, b),
            "factorize + solve": loop, "splu": lambda: splu(transposed).solve(b, "T"),
        }  # fmt: skip
        for label, call in calls.items():
            wrong = np.linalg.norm(a @ call() - b) / np.linalg.norm(b)
            if not wrong <= ERROR:
                raise ValueError(f"the residual of {label} is {wrong:.2g} of b")
        times: dict[str, list[float]] = {label: [] for label in calls}
        order, shuffle = list(calls), random.Random(0).shuffle
        long = max(timed(call) for call in calls.values()) > LONG
        for _ in range(settings.rounds if long else ROUNDS * settings.rounds):
            shuffle(order)
            for label in order:
                remembered.clear()
                times[label].append(timed(calls[label]))
    return times


# ---- the matrices ----


def systems(settings: Settings) -> Iterator[tuple[str, Any]]:
    """The matrices of a folder, or generated ones, with their names."""
    if settings.matrices is None:
        for title, (make, n) in GENERATED.items():
            yield title, by_rows(make(n, np.random.default_rng(n)))
        return
    for file in sorted(settings.matrices.glob("*.mtx")):
        a = read(file)
        if a.shape[0] == a.shape[1]:
            yield file.stem, a


def read(file: Path) -> Any:
    """A matrix of a file; a pattern gets random values, and a diagonal that makes it regular."""
    import scipy.io
    import scipy.sparse as sp

    with file.open() as lines:
        is_pattern = "pattern" in lines.readline()
    a = by_rows(scipy.io.mmread(file))
    if is_pattern:
        a.data[:] = np.random.default_rng(a.nnz).uniform(-1, 1, a.nnz)
        a = by_rows(a + sp.diags_array(abs(a).sum(axis=1) + 1))
    return a


def by_rows(a: Any) -> Any:
    import scipy.sparse as sp

    a = sp.csr_array(a)
    a.sum_duplicates()
    starts, columns = (indices.astype(np.int32) for indices in (a.indptr, a.indices))
    return sp.csr_array((a.data.astype(complex if np.iscomplexobj(a) else float), columns, starts), shape=a.shape)


def network(n: int, lines: int, values: Any) -> Any:
    """Admittances of a connected graph: each node is joined to one near before it, some to others, a few to any."""
    import scipy.sparse as sp

    nodes, near, far = np.arange(1, n), values.integers(0, n, lines), values.integers(0, n, (2, n // 100))
    start = np.concatenate([nodes, near, far[0]])
    end = np.concatenate([
        nodes - values.integers(1, np.minimum(nodes, 8) + 1), (near + values.integers(1, 20, lines)) % n, far[1],
    ])  # fmt: skip
    start, end = start[start != end], end[start != end]
    y = values.uniform(0.5, 5, len(start))
    a = sp.coo_array((-y, (start, end)), shape=(n, n))
    a = a + a.T
    return a + sp.diags_array(-a.sum(axis=1) + np.where(values.random(n) < 0.1, 1.0, 1e-3))


def power(n: int, values: Any) -> Any:
    return network(n, n // 3, values)


def circuit(n: int, values: Any) -> Any:
    """Conductances of nodes, sources that depend on other nodes, and voltage sources, whose rows have no diagonal."""
    import scipy.sparse as sp

    sources = n // 10
    nodes = n - sources
    g = network(nodes, nodes // 4, values)
    places = values.integers(0, nodes, (2, nodes // 4))
    g = g + sp.coo_array((values.uniform(-0.2, 0.2, places.shape[1]), tuple(places)), shape=(nodes, nodes))
    at = values.permutation(nodes)[:sources]
    b = sp.coo_array((np.ones(sources), (np.arange(sources), at)), shape=(sources, nodes))
    return sp.block_array([[g, b.T], [b, None]])


def mesh(n: int, values: Any) -> Any:
    """The graph of a triangulation of random points, with a diagonal that makes it definite."""
    import scipy.sparse as sp
    import scipy.spatial

    corners = scipy.spatial.Delaunay(values.random((n, 2))).simplices
    start, end = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]).T
    a = sp.csr_array(sp.coo_array((-np.ones(len(start)), (start, end)), shape=(n, n)))
    a = a + a.T
    return a + sp.diags_array(-a.sum(axis=1) + 0.1)


def plant(n: int, values: Any) -> Any:
    """Stages of a few equations, each with unknowns of its own and of the one before, some of them of any; permuted."""
    import scipy.sparse as sp

    rows = np.repeat(np.arange(n), 3)
    columns = (rows - values.integers(0, 12, len(rows))) % n
    few = values.random(len(rows)) < 0.003
    columns[few] = values.integers(0, n, few.sum())
    a = sp.coo_array((values.normal(size=len(rows)), (rows, columns)), shape=(n, n))
    a = sp.csr_array(a + sp.diags_array(values.uniform(1, 10, n) * values.choice([-1, 1], n)))
    return a[values.permutation(n)][:, values.permutation(n)]


def triangle(n: int, values: Any) -> Any:
    """A triangular matrix whose rows and columns were permuted."""
    import scipy.sparse as sp

    a = sp.tril(sp.random_array((n, n), density=3 / n, rng=values), -1) + sp.diags_array(values.uniform(2, 3, n))
    return sp.csr_array(a)[values.permutation(n)][:, values.permutation(n)]


GENERATED: dict[str, tuple[Callable[[int, Any], Any], int]] = {
    "power 118": (power, 118), "power 1600": (power, 1600), "power 10000": (power, 10_000),
    "circuit 110": (circuit, 110), "circuit 1000": (circuit, 1000), "circuit 4000": (circuit, 4000),
    "mesh 500": (mesh, 500), "mesh 1100": (mesh, 1100), "mesh 5000": (mesh, 5000),
    "plant 480": (plant, 480), "plant 3000": (plant, 3000), "triangle 2000": (triangle, 2000),
}  # fmt: skip
