"""Products with a matrix in packed or band storage by BLAS's routines for vectors: one call for each column.

Libraries have no routine for such a matrix and a whole matrix. Where bands are narrow the columns one by one are
much less work than a product of all elements; otherwise the matrix is brought to all of its elements first
(`ProductPipeline.unpack`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from planmath.core.arrays import ITEMSIZE
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.arrangement import Factor, ProductPipeline, turned
from planmath.linalg.product.matrix import Matrix, batch_loops
from planmath.linalg.product.pipeline import Region
from planmath.linalg.product.structure import Structure

#: The routine for a matrix of each kind and storage and a vector, without the letter of the dtype.
ROUTINES = {
    ("ge", "banded"): "gbmv", ("sy", "banded"): "sbmv", ("he", "banded"): "hbmv", ("tr", "banded"): "tbmv",
    ("sy", "packed"): "spmv", ("he", "packed"): "hpmv", ("tr", "packed"): "tpmv",
}  # fmt: skip
#: Those for the inverse of a triangular matrix.
INVERSES = {"tbmv": "tbsv", "tpmv": "tpsv"}
#: A band is narrow where the matrix has so many times the elements: then its routine is expected to be the fastest.
NARROW = 6


class VectorRoutine(NamedTuple):
    """A call of a routine for each column of a product, or for each row."""

    name: str
    letters: str
    """As BLAS has them: trans, or uplo, or uplo, trans and diag."""
    sizes: tuple[int, ...]
    """Extents and bandwidths, as BLAS has them."""
    matrix: Region
    leading: int
    """Of band storage; 0 for packed storage, which has none."""
    x: Region | None
    """None for a routine that finds the vector in the place of the result."""
    y: Region


def stored_factor(problem: ProductProblem) -> Structure | None:
    """The structure of the one factor that is stored so beside a general one, if there is a routine for it."""
    for one, other in ((problem.a, problem.b), (problem.b, problem.a)):
        structure = one.structure
        if structure.storage and other.structure.plain:
            # BLAS has none for complex symmetric matrices
            missing = structure.kind == "sy" and problem.work_dtype.startswith("complex")
            return None if missing else structure
    return None


def columns_of(problem: ProductProblem) -> int:
    """How many vectors the stored factor is multiplied with, in all of a batch."""
    return (problem.n if problem.a.structure.storage else problem.m) * math.prod(problem.batch)


def routine_of(problem: ProductProblem) -> tuple[str | None, bool]:
    """The routine for vectors that computes a product, and whether it is expected to be the fastest way."""
    structure = stored_factor(problem)
    if structure is None:
        return None, False
    name = ROUTINES[structure.kind, structure.storage]
    n, columns = problem.k, problem.n if problem.a.structure.storage else problem.m
    width = structure.below + structure.above + 1 if structure.storage == "banded" else n
    return INVERSES[name] if structure.inverse else name, columns == 1 or NARROW * width <= n


def multiply_by_vectors(pipeline: ProductPipeline, name: str, make: Callable[[VectorRoutine], Any]) -> None:
    """Add a routine to a pipeline, with what it needs before and after."""
    left, right, d = pipeline.left, pipeline.right, pipeline.result
    if left.structure.storage:
        factor, general = left, right.region
    else:  # the transposed product
        factor, general, d = right.T, turned(left.region), turned(d)
    structure, region = _readable(pipeline, factor)
    n = region.matrix.cols if structure.storage == "banded" else factor.region.matrix.rows
    trans, uplo = "T" if structure.turned else "N", "U" if structure.upper else "L"
    reach, leading = structure.below + structure.above, structure.below + structure.above + 1
    letters, sizes = {
        "ge": (trans, (n, n, structure.below, structure.above)), "tr": (uplo + trans + "UN"[not structure.unit], (n,)),
    }.get(structure.kind, (uplo, (n,)))  # fmt: skip
    if structure.storage == "packed":
        leading = 0
    elif structure.kind != "ge":
        sizes = (n, reach)
    if structure.kind != "tr":
        matrix = general.matrix
        plain = matrix.dtype == pipeline.work and not matrix.conjugate and matrix.row > 0
        x = general if plain else pipeline.copied(general)
        pipeline.load_c()
        make(VectorRoutine(name, letters, sizes, region, leading, x, d))
        return
    product = d if pipeline.problem.c is None else pipeline.temporary(d.matrix)
    pipeline.convert(general, product, conjugate=general.matrix.conjugate)
    make(VectorRoutine(name, letters, sizes, region, leading, None, product))
    whole = product if left.structure.storage else turned(product)
    pipeline.calls.append(pipeline.without_product(whole, "alpha"))
    if product is not d:
        pipeline.add_c(whole)


def _readable(pipeline: ProductPipeline, factor: Factor) -> tuple[Structure, Region]:
    """The factor as BLAS reads it, by columns in the work dtype, and not conjugated; a copy where it is otherwise."""
    structure, (matrix, slot) = factor.structure, factor.region
    conjugate = matrix.conjugate
    if structure.kind == "he" and structure.turned:
        conjugate = not conjugate  # the transposed matrix is the conjugated one
    n = matrix.rows
    if structure.storage == "packed":
        stored = matrix._replace(rows=n * (n + 1) // 2, cols=1, col=n * (n + 1) // 2, conjugate=False)
        fits = matrix.row == 1
    else:
        rows = structure.below + structure.above + 1
        stored = matrix._replace(rows=rows, conjugate=False)
        fits = matrix.row == 1 and matrix.col == rows
    region = Region(stored, slot)
    if fits and not conjugate and matrix.dtype == pipeline.work:
        return structure, region
    target = pipeline.temporary(stored._replace(row=1, col=stored.rows))
    pipeline.convert(region, target, conjugate=conjugate)
    return structure, target


def call_for_columns(
    pipeline: ProductPipeline, routine: VectorRoutine, call: Callable[..., None]
) -> None:  # fmt: skip
    """Add a routine for vectors for each column of the result.

    `call` is given the arguments, as BLAS has them, the loops, and what decides whether the calls are made.
    """
    alpha, beta = pipeline.scalars()
    matrix = [routine.matrix.slot, *([routine.leading] if routine.leading else [])]
    arguments: list[Any] = [*routine.letters, *routine.sizes]
    y_step, y_steps = column_steps(routine.y.matrix)
    steps = [(0, *(routine.matrix.matrix.batch or (0,) * len(pipeline.batch)))]
    decided: dict[str, Any] = {}
    if routine.x is None:
        arguments += [*matrix, routine.y.slot, y_step]
    else:
        x_step, x_steps = column_steps(routine.x.matrix)
        arguments += [alpha.slot, *matrix, routine.x.slot, x_step, beta.slot, routine.y.slot, y_step]
        still = (0,) * (len(pipeline.batch) + 1)
        steps = [still, *steps, x_steps, still]
        decided = {"unless_zero": pipeline.nonzero("alpha"), "if_zero": pipeline.without_product(pipeline.result)}
    steps.append(y_steps)
    size, batch = ITEMSIZE[pipeline.work], (routine.y.matrix.cols, *pipeline.batch)
    padded = [(*own, *(0,) * (len(batch) - len(own))) for own in steps]
    loops = batch_loops(batch, [tuple(size * step for step in own) for own in padded])
    call(arguments, loops=loops, **decided)


def column_steps(matrix: Matrix) -> tuple[int, tuple[int, ...]]:
    """From one element of a column to the next, and along the columns and the batch."""
    return matrix.row if matrix.rows > 1 else 1, (matrix.col, *matrix.batch)
