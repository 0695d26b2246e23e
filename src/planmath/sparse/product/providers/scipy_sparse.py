"""Products by SciPy, which is always there: by its formats where it has the operand's, else by rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.forks import load_module
from planmath.sparse.product.pair_problem import PairProblem
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.product.providers.places import Stage
from planmath.sparse.product.sampled_problem import SampledProblem
from planmath.sparse.ust.conversion import expand
from planmath.sparse.ust.packages import to_host


class SciPyProvider(Provider):
    """SciPy's sparse matrices, on one thread."""

    name = "scipy"

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return load_module("scipy").__version__

    def path(self) -> str | None:
        return load_module("scipy").__file__

    def unsupported(self, problem: Any) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.semiring != "plus_times":
            return "its products are sums of products"
        return None

    def algorithms(self, problem: Any) -> Sequence[Algorithm]:
        return [Algorithm(self.name)]

    def prepare(self, problem: Any, algorithm: Algorithm) -> Prepared:
        return Prepared({None: Program(function=PRODUCTS[problem.kind](problem))})


class _Product:
    def __init__(self, problem: MatmulProblem):
        self.stage, self.problem = Stage(problem), problem

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"):
            self.run(operands, results)

    def run(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        import scipy.sparse as sp

        problem, stage = self.problem, self.stage
        alpha, beta = (x.item() for x in stage.scalars(operands))
        host = stage.arrays(operands).each(to_host)
        entries = expand(problem.sparse.format, problem.sparse.extents, host)
        values = host.val if entries.places is None else host.val[entries.places]
        dense, target = to_host(stage.dense(operands)), stage.target(operands, results)
        *batch, row, summed = (
            entries.indices if not problem.vector else [np.zeros(len(values), np.int64), *entries.indices]
        )
        if problem.transposed and not problem.vector:
            row, summed = summed, row
        b = self.as_matrices(dense)
        found = np.zeros((math.prod(problem.batch), problem.rows, problem.columns), values.dtype)
        groups: Any = [slice(None)]
        if problem.sparse_batched:
            flat = np.ravel_multi_index(batch, problem.batch)
            groups = [np.nonzero(flat == n)[0] for n in range(math.prod(problem.batch))]
        for n in range(len(found)):
            group = groups[n % len(groups)]
            matrix = sp.csr_array(
                (values[group], (row[group], summed[group])), shape=(problem.rows, problem.summed), dtype=values.dtype
            )
            found[n] = matrix @ b[n % len(b)]
        if problem.swapped:
            found = found.transpose(0, 2, 1)
        made = (alpha * found).reshape(tuple(target.shape)).astype(found.dtype)
        add(stage, target, made, beta)

    def as_matrices(self, dense: np.ndarray) -> np.ndarray:
        """The dense operand as a batch of matrices, summed over their rows."""
        problem = self.problem
        if dense.ndim == 1:
            return dense.reshape(1, problem.summed, 1)
        if problem.dense_transposed:
            dense = dense.swapaxes(-1, -2)
        return dense.reshape(math.prod(dense.shape[:-2]), problem.summed, problem.columns)


class _Pair:
    """A product of two sparse matrices: SciPy's, whose entries are put to their places in the planned pattern."""

    def __init__(self, problem: PairProblem):
        self.stage, self.problem = Stage(problem), problem
        rows = problem.pattern.result
        if rows is not None:  # as one number for each entry, in ascending order
            row = np.repeat(np.arange(rows.height), np.diff(rows.pos))
            keys = row * max(problem.pattern.columns, 1) + rows.crd
            self.order = np.argsort(keys, kind="stable")
            self.keys = keys[self.order]

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"):
            self.run(operands, results)

    def run(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        problem, stage, pattern = self.problem, self.stage, self.problem.pattern
        alpha, beta = (x.item() for x in stage.scalars(operands))
        a, b = (
            to_host(stage.ready(operands[at.val], flag, name))
            for name, at, flag in zip("ab", (stage.places.a, stage.places.b), problem.conjugate, strict=True)
        )
        both = [
            self.matrix(rows, x, columns)
            for rows, x, columns in zip(
                (pattern.first, pattern.second), (b, a) if pattern.flipped else (a, b),
                (pattern.second.height, pattern.columns), strict=True,
            )
        ]  # fmt: skip
        found = both[0] @ both[1]
        target = stage.target(operands, results)
        if pattern.result is None:
            dense = found.toarray()
            made = alpha * (dense.T if pattern.flipped else dense).reshape(tuple(target.shape))
        else:
            made = alpha * self.at_places(found)
        add(stage, target, made.astype(problem.work), beta)

    @staticmethod
    def matrix(rows: Any, values: np.ndarray, columns: int) -> Any:
        import scipy.sparse as sp

        taken = values if rows.places is None else values[rows.places]
        return sp.csr_array((taken, rows.crd, rows.pos), shape=(rows.height, columns))

    def at_places(self, found: Any) -> np.ndarray:
        """The entries of a product as the values of the result, which may have fewer, or more."""
        found = found.tocoo()
        keys = found.coords[0].astype(np.int64) * max(self.problem.pattern.columns, 1) + found.coords[1]
        at = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        there = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), bool)
        assert self.problem.result is not None
        made = np.zeros(self.problem.result.nse, found.dtype)
        places = self.problem.pattern.result.places
        to = self.order if places is None else places[self.order]
        made[to[at[there]]] = found.data[there]
        return made


class _Sampled:
    """A product of two dense arrays for some elements: by rows of the one and columns of the other."""

    def __init__(self, problem: SampledProblem):
        self.stage, self.problem = Stage(problem), problem

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        with np.errstate(all="ignore"):
            self.run(operands, results)

    def run(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        problem, stage, pattern = self.problem, self.stage, self.problem.pattern
        alpha, beta = (x.item() for x in stage.scalars(operands))
        first, second = (
            to_host(stage.ready(operands[at], flag, name))
            for name, at, flag in zip("ab", (stage.places.a, stage.places.b), problem.conjugate, strict=True)
        )
        rows = by_rows(first, problem.transposed[0], problem.summed)
        columns = by_rows(second, not problem.transposed[1], problem.summed)
        made = np.empty(len(pattern.a), problem.work)
        for begin in range(0, len(made), CHUNK):
            part = slice(begin, begin + CHUNK)
            np.einsum("ek,ek->e", rows[pattern.a[part]], columns[pattern.b[part]], out=made[part])
        made *= alpha
        if pattern.places is not None:
            spread = np.zeros(problem.sparse.nse, made.dtype)
            spread[pattern.places] = made
            made = spread
        add(stage, stage.target(operands, results), made, beta)


def by_rows(array: np.ndarray, transposed: bool, summed: int) -> np.ndarray:
    """A dense operand as one matrix of rows, each of which has what is summed."""
    if array.ndim > 1 and transposed:
        array = array.swapaxes(-1, -2)
    return array.reshape(math.prod(array.shape[:-1]), summed)


#: Entries that are worked on at a time.
CHUNK = 1 << 16
PRODUCTS: dict[str, Any] = {"dense": _Product, "pair": _Pair, "sampled": _Sampled}


def add(stage: Stage, target: Any, made: np.ndarray, beta: Any) -> None:
    """Write a result, with beta times what was there, and what the user's epilog makes of it."""
    if stage.package.name == "torch":
        import torch

        added: Any = torch.from_numpy(np.ascontiguousarray(made))
        if beta:
            added = added + beta * target.to(added.dtype)
    else:
        added = made + beta * target.astype(made.dtype) if beta else made
    epilog = stage.functions.get("epilog")
    if epilog is not None:
        added = stage.mapped(epilog, added)
    target[...] = added
