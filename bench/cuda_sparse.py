"""Sparse systems on a CUDA device: Poisson's equation in two dimensions, with cuDSS's own calls and nvmath-python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from bench.comparison import Maker, Row, Settings, compare
from bench.contender import Contender
from bench.cuda_call import LIBRARIES
from bench.cuda_device import address, importable, on_device
from bench.sparse import TOLERANCE, System
from bench.verdict import Outcome, Target, at_most_and, faster
from planmath.bindings import cudss, runtime
from planmath.bindings.cudss import ConfigParam, Phase

#: unknowns of the rows: their name, and the extent of the grid
SIZES = {"65k": 256, "590k": 768}
QUICK = {"65k"}


class Problem:
    """A system on the device, as torch has it."""

    def __init__(self, extent: int):
        system, torch = System("2d", extent), importable("torch")
        a = system.matrix
        self.arrays = [on_device(array, "torch") for array in (a.indptr, a.indices, a.data)]
        self.matrix = torch.sparse_csr_tensor(*self.arrays, size=a.shape)
        self.side, self.expected = on_device(system.side, "torch"), on_device(system.solution, "torch")

    def planned(self, library: str, stack: ExitStack) -> Any:
        """A `DirectSolver` of planmath or nvmath-python, factorized, and freed with the stack."""
        solver = stack.enter_context(
            import_module(f"{LIBRARIES[library]}.sparse.advanced").DirectSolver(self.matrix, self.side)
        )
        solver.plan()
        solver.factorize()
        return solver


class Bare:
    """cuDSS's calls with the settings that planmath has: matching, and the threading layer."""

    def __init__(self, problem: Problem, stack: ExitStack):
        starts, columns, values = problem.arrays
        n, nnz = len(starts) - 1, len(values)
        self.x = importable("torch").empty_like(problem.side)
        handle, config = cudss.create(), cudss.config_create()
        stack.callback(cudss.destroy, handle)
        stack.callback(cudss.config_destroy, config)
        if layers := cudss.LIBRARY.companions_found("libcudss_mtlayer_gomp.so*"):
            cudss.set_threading_layer(handle, layers[0])
        matching = np.array([cudss.MatchingAlg.AUTO], np.int32)
        cudss.config_set(config, ConfigParam.MATCHING_ALG, matching.ctypes.data, matching.nbytes)
        data = cudss.data_create(handle)
        stack.callback(cudss.data_destroy, handle, data)
        index, value, order = cudss.DataType.R_32I, cudss.DataType.R_64F, cudss.Layout.COL_MAJOR
        matrices = [
            cudss.matrix_create_csr(
                n, n, nnz, address(starts), 0, address(columns), address(values), index, index, value,
                cudss.MatrixType.GENERAL, cudss.MatrixViewType.FULL, cudss.IndexBase.ZERO,
            ),
            *(cudss.matrix_create_dn(n, 1, n, address(array), value, order) for array in (self.x, problem.side)),
        ]  # fmt: skip
        for matrix in matrices:
            stack.callback(cudss.matrix_destroy, matrix)
        self._arguments = (config, data, *matrices)
        self._handle, self.keep = handle, problem
        for phase in (Phase.ANALYSIS, Phase.FACTORIZATION, Phase.SOLVE):
            self.call(phase)()

    def call(self, phase: Phase) -> Callable[[], None]:
        """Execute a phase, and wait for it."""
        execute, wait, handle, arguments = cudss.execute, runtime.stream_synchronize, self._handle, self._arguments

        def run() -> None:
            execute(handle, phase, *arguments)
            wait(0)

        return run


# ---- the contenders: those of the phases that have no result show the solution that they led to ----


def plan(library: str, problem: Problem, stack: ExitStack) -> Iterator[Contender]:
    solver = problem.planned(library, stack)
    names = {"plan": solver.plan, "x": solver.solve(), "wait": runtime.device_synchronize}
    yield Contender(library, "plan()", "plan(); wait(); x", names, spins=True)


def factorize(library: str, problem: Problem, stack: ExitStack) -> Iterator[Contender]:
    solver = problem.planned(library, stack)
    names = {"factorize": solver.factorize, "x": solver.solve(), "wait": runtime.device_synchronize}
    yield Contender(library, "factorize()", "factorize(); wait(); x", names)


def solve(library: str, problem: Problem, stack: ExitStack) -> Iterator[Contender]:
    solver = problem.planned(library, stack)
    names = {"solve": solver.solve, "wait": runtime.device_synchronize}
    if library != "planmath":
        yield Contender(library, "solve()", "x = solve(); wait(); x", names)
    else:  # it has waited, for it tells how accurate the solution is
        yield Contender(library, "solve()", "solve()", names)
        out = solver.empty_result()
        names = {"solve": solver.solve, "out": out}
        yield Contender(library, "solve(out=)", "solve(out=out)", names, into=out, plan=repr(solver))


def bare(phase: Phase, problem: Problem, stack: ExitStack) -> Iterator[Contender]:
    library = Bare(problem, stack)
    names = {"call": library.call(phase), "x": library.x}
    yield Contender("bare", "cudssExecute", "call(); x", names)


PHASES = {"plan": plan, "factorize": factorize, "solve": solve}
TARGETS: dict[str, list[Target]] = {
    "plan": [faster(2, "planmath plan()", "nvmath-python plan()")],
    "factorize": [at_most_and(1.05, 5e-6, "planmath factorize()", "bare cudssExecute")],
    "solve": [at_most_and(1.05, 5e-6, "planmath solve()", "bare cudssExecute")],
}


def phase(name: str, size: str, of: str, settings: Settings) -> Outcome:
    problem = Problem(SIZES[size])
    makers: dict[str, Maker] = {library: partial(PHASES[of], library, problem) for library in LIBRARIES}
    if of != "plan":
        executed = Phase.REFACTORIZATION if of == "factorize" else Phase.SOLVE
        makers["bare"] = partial(bare, executed, problem)
    rounds = settings if of == "plan" else settings.longer()
    return compare(name, makers, problem.expected, TOLERANCE, TARGETS[of], rounds, everyone=of != "plan")


def rows(settings: Settings) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for size in SIZES:
        if settings.quick and size not in QUICK:
            continue
        for of in PHASES:
            name = f"cuda/sparse/2d/{size}/{of}"
            rows[name] = partial(phase, name, size, of)
    return rows
