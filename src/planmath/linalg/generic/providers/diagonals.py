"""Products with diagonal matrices, by planmath's own kernel: one pass over the result."""

from __future__ import annotations

from collections.abc import Sequence

import planmath.linalg.product.structure_kernels as structure_kernels
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, OwnProvider, Prepared
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.device_pipeline import pipeline_for
from planmath.linalg.generic.providers.routines import too_many_loops
from planmath.native.threads import Threads

#: Below this many elements the Python lock is kept.
FEW = 10_000


class DiagonalProvider(OwnProvider):
    name, kernels = "planmath", structure_kernels

    def threads(self) -> Threads:
        return Threads(1, "one thread")

    def unsupported(self, problem: ProductProblem) -> str | None:
        if "dg" not in problem.kinds:
            return "it multiplies by diagonal matrices only"
        return too_many_loops(problem)

    def algorithms(self, problem: ProductProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name, (("threads", 1),))]

    def prepare(self, problem: ProductProblem, algorithm: Algorithm) -> Prepared:
        pipeline = pipeline_for(problem)
        pipeline.one_structure()
        left, right = pipeline.left, pipeline.right
        by_left = left.structure.kind == "dg"
        factor, other = (left, right) if by_left else (right, left)
        if other.structure.kind != "ge":
            other = pipeline.expanded(other)
        pipeline.scale_by(factor, other.region, left=by_left)
        pipeline.finish()
        on_host = problem.execution[0] == "cpu"
        program = Program(pipeline.calls, release_gil=not on_host or problem.work // problem.k > FEW)
        return Prepared({None: program}, pipeline.workspace_size)
