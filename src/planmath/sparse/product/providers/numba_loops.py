"""Products with semirings of the user's own, by loops that Numba compiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.forks import load_module
from planmath.sparse.product.functions import OwnSemiring
from planmath.sparse.product.patterns import Rows, sorted_rows
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.product.providers.places import Stage
from planmath.sparse.ust.conversion import expand
from planmath.sparse.ust.packages import to_host


class NumbaLoops(Provider):
    """Loops by rows into which the user's addition and multiplication are compiled, on one thread."""

    name = "numba"

    def unavailable(self) -> str | None:
        return None if find_spec("numba") else "numba is not installed (the extra 'jit')"

    def version(self) -> str:
        return load_module("numba").__version__

    def path(self) -> str | None:
        return load_module("numba").__file__

    def unsupported(self, problem: Any) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.kind != "dense":
            return "it has products with one sparse and one dense operand only"
        return None if isinstance(problem.semiring, OwnSemiring) else "it is for semirings of the user's own"

    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        return [Algorithm(self.name)]

    def prepare(self, problem: MatmulProblem, algorithm: Algorithm) -> Prepared:
        return Prepared({None: Program(function=_Product(problem))})


@lru_cache(maxsize=32)
def _compiled(add: Any, mul: Any) -> Any:
    import numba

    added, multiplied = (numba.njit(f) if type(f).__name__ == "function" else f for f in (add, mul))

    @numba.njit(nogil=True)
    def run(pos: Any, crd: Any, val: Any, b: Any, c: Any, dense_first: Any) -> None:
        for i in range(len(pos) - 1):
            for q in range(pos[i], pos[i + 1]):
                k, x = crd[q], val[q]
                for j in range(b.shape[1]):
                    term = multiplied(b[k, j], x) if dense_first else multiplied(x, b[k, j])
                    c[i, j] = added(c[i, j], term)

    return run


class _Product:
    def __init__(self, problem: MatmulProblem):
        self.problem, self.stage = problem, Stage(problem)
        semiring: Any = problem.semiring
        self.identity, self.loops = semiring.identity, _compiled(semiring.add, semiring.mul)
        self.rows: Rows | None = None
        self.found_in: tuple[Any, ...] = ()

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"):
            self.run(operands, results)

    def run(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        problem, stage = self.problem, self.stage
        host = stage.arrays(operands).each(to_host)
        rows = self.by_rows(host)
        val = np.ascontiguousarray(host.val if rows.places is None else host.val[rows.places])
        dense, target = to_host(stage.dense(operands)), stage.target(operands, results)
        if dense.ndim > 1 and problem.dense_transposed:
            dense = dense.swapaxes(-1, -2)
        matrices = math.prod(dense.shape[:-2])
        b = np.ascontiguousarray(dense).reshape(matrices, problem.summed, problem.columns)
        count = math.prod(problem.batch)
        made = np.full((count, problem.rows, problem.columns), self.identity, problem.work)
        if problem.inplace:
            before = target.to(stage.package.dtype(problem.work)) if hasattr(target, "to") else target
            shape = (count, problem.columns, problem.rows) if problem.swapped else made.shape
            before = to_host(before).reshape(shape)
            made[...] = before.transpose(0, 2, 1) if problem.swapped else before
        if problem.sparse_batched:
            every, results_of_all = (x.reshape(math.prod(x.shape[:2]), problem.columns) for x in (b, made))
            self.loops(*rows[:2], val, every, results_of_all, problem.swapped)
        else:
            for n in range(count):
                self.loops(*rows[:2], val, b[n % len(b)], made[n], problem.swapped)
        found: Any = made.transpose(0, 2, 1) if problem.swapped else made
        found = np.ascontiguousarray(found).reshape(tuple(target.shape))
        if stage.package.name == "torch":
            import torch

            found = torch.from_numpy(found)
        epilog = stage.functions.get("epilog")
        target[...] = found if epilog is None else stage.mapped(epilog, found)

    def by_rows(self, host: Any) -> Rows:
        """The entries by rows, those of a batch below each other."""
        arrays = (*host.pos, *host.crd)
        if self.rows is not None and all(x is y for x, y in zip(arrays, self.found_in, strict=True)):
            return self.rows
        problem = self.problem
        entries = expand(problem.sparse.format, problem.sparse.extents, host)
        indices = list(entries.indices)
        if problem.vector:
            indices.insert(len(indices) - 1, np.zeros_like(indices[0]))
        *batch, row, summed = indices
        if problem.transposed and not problem.vector:
            row, summed = summed, row
        count = problem.rows
        if batch:
            number = np.ravel_multi_index(batch, problem.batch)
            row, count = number * problem.rows + row, problem.rows * math.prod(problem.batch)
            summed = summed + number * problem.summed if problem.dense_batched else summed
        self.rows, self.found_in = sorted_rows(row, summed, count, entries.places), arrays
        return self.rows
