"""Products by planmath's own kernels: with diagonal matrices, in one pass over the result, and of small matrices, one
or many, where a library spends more time on the way to its kernel than in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

import planmath.linalg.product.small_kernels as small_kernels
from planmath.core.arrays import ITEMSIZE
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, OwnProvider, Prepared
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.arrangement import ProductPipeline
from planmath.linalg.generic.providers.device_pipeline import DevicePipeline, pipeline_for
from planmath.linalg.generic.providers.routines import MOST_VECTORS, too_many_loops
from planmath.linalg.generic.providers.stored import NARROW, columns_of
from planmath.linalg.product.matrix import batch_loops
from planmath.native.call import Call
from planmath.native.team import LINGER
from planmath.native.threads import Threads, openmp_threads

#: Below this many elements the Python lock is kept.
FEW = 10_000
#: Below this many multiplications the Python lock is kept: about 5 µs.
SMALL_WORK = 100_000
#: From this many multiplications on threads pay: about 0.25 ms.
THREADED_WORK = 5_000_000

#: Rows up to which one launch of the kernel for bands is done sooner than the two that multiply all elements.
FEW_ROWS = 128


class PlanmathProvider(OwnProvider):
    name, kernels = "planmath", small_kernels

    def threads(self) -> Threads:
        return openmp_threads()

    def lingers(self, algorithm: Algorithm) -> float:
        return LINGER if algorithm.get("threads", 1) > 1 else 0.0

    def unsupported(self, problem: ProductProblem) -> str | None:
        if "dg" not in problem.kinds:
            if problem.execution[0] != "cpu":
                return None if is_banded(problem) else (
                    "on devices it multiplies by diagonal matrices, and by matrices in band storage"
                )  # fmt: skip
            if not is_small(problem):
                most = small_kernels.MOST_EXTENT
                return f"it multiplies by diagonal matrices, and ones of up to {most} rows and columns"
            if problem.a.structure.inverse:
                return "it has no inverse of a matrix"
        return too_many_loops(problem)

    def algorithms(self, problem: ProductProblem) -> Sequence[Algorithm]:
        if problem.execution[0] == "cuda":
            return [Algorithm(self.name, (("product", "diagonal" if "dg" in problem.kinds else "band"),))]
        threaded = "dg" not in problem.kinds and problem.work >= THREADED_WORK and any(n > 1 for n in problem.batch)
        most = min(problem.threads, small_kernels.MOST_THREADS) if threaded else 1
        return [Algorithm(self.name, (("threads", n),)) for n in dict.fromkeys((most, 1))]

    def prepare(self, problem: ProductProblem, algorithm: Algorithm) -> Prepared:
        pipeline = pipeline_for(problem)
        if "dg" in problem.kinds:
            _scale(pipeline)
            releases = problem.execution[0] != "cpu" or problem.work // problem.k > FEW
        elif isinstance(pipeline, DevicePipeline):
            _multiply_band(pipeline)
            releases = True
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


def is_banded(problem: ProductProblem) -> bool:
    """Whether one factor at least is in band storage, and is no inverse."""
    structures = problem.a.structure, problem.b.structure
    return any(known.storage == "banded" for known in structures) and not structures[0].inverse


def band_is_narrow(problem: ProductProblem) -> bool:
    """Whether a device is expected to be the fastest with what is in the band alone, and not with one vector."""
    if not is_banded(problem) or columns_of(problem) <= MOST_VECTORS:
        return False
    widths = [
        x.structure.below + x.structure.above + 1
        for x in (problem.a, problem.b) if x.structure.storage == "banded"
    ]  # fmt: skip
    return problem.k <= FEW_ROWS or NARROW * min(widths) <= problem.k


def _multiply_band(pipeline: DevicePipeline) -> None:
    """A product with a matrix in band storage, of two with the one whose band is narrower."""
    left, right = pipeline.left, pipeline.right
    widths = [
        f.structure.below + f.structure.above if f.structure.storage == "banded" else math.inf for f in (left, right)
    ]
    by_left = widths[0] <= widths[1]
    factor, other = (left, right) if by_left else (right, left)
    if other.structure.storage:
        other = pipeline.unpacked(other)
    if other.structure.kind != "ge":
        other = pipeline.expanded(other)
    pipeline.multiply_band(factor, other.region, left=by_left)


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
