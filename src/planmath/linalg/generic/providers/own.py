"""Products by planmath's own kernels: with diagonal matrices, in one pass over the result, and of small matrices, one
or many, where a library spends more time on the way to its kernel than in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import planmath.linalg.product.small_kernels as small_kernels
from planmath.core.arrays import ITEMSIZE
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, OwnProvider, Prepared
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.arrangement import ProductPipeline
from planmath.linalg.generic.providers.device_pipeline import pipeline_for
from planmath.linalg.generic.providers.routines import too_many_loops
from planmath.linalg.product.matrix import batch_loops
from planmath.native.call import Call
from planmath.native.threads import Threads, openmp_threads

#: Below this many elements the Python lock is kept.
FEW = 10_000
#: Below this many multiplications the Python lock is kept: about 5 µs.
SMALL_WORK = 100_000
#: From this many multiplications on threads pay, which live as long as the call: about 0.25 ms.
THREADED_WORK = 5_000_000


class PlanmathProvider(OwnProvider):
    name, kernels = "planmath", small_kernels

    def threads(self) -> Threads:
        return openmp_threads()

    def unsupported(self, problem: ProductProblem) -> str | None:
        if problem.stored_apart and problem.execution[0] != "cpu":
            return "on devices it takes no band and packed storage: pass execution='cpu', and operands are copied"
        if "dg" not in problem.kinds:
            if problem.execution[0] != "cpu":
                return "on devices it multiplies by diagonal matrices only"
            if not is_small(problem):
                most = small_kernels.MOST_EXTENT
                return f"it multiplies by diagonal matrices, and ones of up to {most} rows and columns"
            if problem.a.structure.inverse:
                return "it has no inverse of a matrix"
        return too_many_loops(problem)

    def algorithms(self, problem: ProductProblem) -> Sequence[Algorithm]:
        threaded = "dg" not in problem.kinds and problem.work >= THREADED_WORK and any(n > 1 for n in problem.batch)
        most = min(problem.threads, small_kernels.MOST_THREADS) if threaded else 1
        return [Algorithm(self.name, (("threads", n),)) for n in dict.fromkeys((most, 1))]

    def prepare(self, problem: ProductProblem, algorithm: Algorithm) -> Prepared:
        pipeline = pipeline_for(problem)
        if "dg" in problem.kinds:
            _scale(pipeline)
            releases = problem.execution[0] != "cpu" or problem.work // problem.k > FEW
        else:
            _multiply(pipeline, algorithm.get("threads"))
            releases = problem.work > SMALL_WORK
        pipeline.finish()
        return Prepared({None: Program(pipeline.calls, release_gil=releases)}, pipeline.workspace_size)


def is_small(problem: ProductProblem) -> bool:
    """Whether the kernel for small matrices takes a product."""
    return problem.work_dtype in small_kernels.MULTIPLY and max(problem.m, problem.n, problem.k) <= (
        small_kernels.MOST_EXTENT
    )


def _scale(pipeline: ProductPipeline) -> None:
    """A product with a diagonal matrix."""
    pipeline.one_structure()
    left, right = pipeline.left, pipeline.right
    by_left = left.structure.kind == "dg"
    factor, other = (left, right) if by_left else (right, left)
    if other.structure.kind != "ge":
        other = pipeline.expanded(other)
    pipeline.scale_by(factor, other.region, left=by_left)


def _multiply(pipeline: ProductPipeline, threads: int) -> None:
    """A product of small matrices: the kernel writes rows, and all lie by columns, so it makes the transposed one."""
    pipeline.unpack()
    general = [f if f.structure.kind == "ge" else pipeline.expanded(f) for f in (pipeline.left, pipeline.right)]
    left, right = (
        pipeline.copied(region) if region.matrix.conjugate else pipeline.staged(region)
        for region in (factor.region for factor in general)
    )
    d, c = pipeline.result, pipeline.addend
    c = pipeline.staged(c) if c else None
    alpha, beta = pipeline.scalars()
    regions = [region for region in (alpha, beta, right, left, c, d) if region]
    steps = [region.matrix.batch or (0,) * len(pipeline.batch) for region in regions]
    loops = batch_loops(pipeline.batch, steps)
    count, by = max(loops, key=lambda loop: loop[0], default=(1, (0,) * len(regions)))
    loops = [loop for loop in loops if loop != (count, by)]
    each = iter(by[2:])

    def strides(region) -> list[int]:
        return [region.matrix.col, region.matrix.row, next(each)] if region else [0, 0, 0]

    k = left.matrix.cols
    sizes = [d.matrix.cols, d.matrix.rows, k, count, threads, *strides(right), *strides(left), *strides(c)]
    described = np.array([*sizes, d.matrix.leading[1], next(each)], np.int64)
    itemsizes = [ITEMSIZE[region.matrix.dtype] for region in regions]
    places = [region.slot if region else 0 for region in (alpha, beta, right, left, c, d)]
    pipeline.calls.append(
        Call(
            small_kernels.MULTIPLY[pipeline.work], [described.ctypes.data, *places], name="small products",
            loops=[(n, [step * size for step, size in zip(steps, itemsizes, strict=True)]) for n, steps in loops],
            keep=described,
        )
    )  # fmt: skip
