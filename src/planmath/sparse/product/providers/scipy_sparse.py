"""Products by SciPy, which is always there: by its formats where it has the operand's, else by rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.native.forks import load_module
from planmath.sparse.product.problem import MatmulProblem
from planmath.sparse.product.providers.places import Stage
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

    def unsupported(self, problem: MatmulProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.semiring != "plus_times":
            return "its products are sums of products"
        return None

    def algorithms(self, problem: MatmulProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name)]

    def prepare(self, problem: MatmulProblem, algorithm: Algorithm) -> Prepared:
        return Prepared({None: Program(function=_Product(problem))})


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
        return dense.reshape(-1, problem.summed, problem.columns)


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
