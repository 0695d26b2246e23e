"""Products as the routines of BLAS take them, whichever library has these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.arrangement import Factor, ProductPipeline, part
from planmath.linalg.generic.providers.stored import columns_of, routine_of
from planmath.linalg.product.matrix import Matrix, batch_loops
from planmath.linalg.product.pipeline import Region
from planmath.linalg.product.structure import HALVES, Structure, Structured
from planmath.native.call import MAX_LOOPS

#: The routine for the product of a matrix of each kind with a general one, without the letter of the dtype; that of the
#: inverse of a triangular one.
ROUTINE = {"ge": "gemm", "sy": "symm", "he": "hemm", "tr": "trmm"}
SOLVES = "trsm"
#: One triangle of a general product, by gemm on blocks of it, and its mirror image.
TRIANGLE = "gemmt"
#: One triangle of the product of a matrix with its transpose, or with its adjoint.
SQUARES = {"sy": "syrk", "he": "herk"}
#: From how many columns on that is expected to be faster than a general product.
LARGE_SQUARE = 64
#: For how many vectors at most a device is asked for a routine for each.
MOST_VECTORS = 4
#: Into how many blocks of columns such a result is divided, of at least how many columns.
TRIANGLE_BLOCKS, TRIANGLE_COLUMNS = 8, 32
#: From how many columns on that is expected to be faster than all of a general product, on one thread, and on several
#: threads or a device, which narrow blocks do not keep busy (measured at 1024 on 2 CPUs: 0.7 and 1.3 of its time).
LARGE_TRIANGLE, LARGE_TRIANGLE_IN_PARALLEL = 384, 2048


class Routine(NamedTuple):
    """A call of a routine, on matrices by columns."""

    name: str
    letters: str
    """As BLAS has them: trans of both factors; side, uplo; for trmm and trsm also trans, diag."""
    extents: tuple[int, ...]
    factors: tuple[Region, ...]
    """One for a routine that finds the other one in the place of the result."""
    result: Region

    @property
    def adds(self) -> bool:
        """Whether it takes beta, and adds to the result."""
        return self.name not in (ROUTINE["tr"], SOLVES)


def routines_of(problem: ProductProblem) -> list[str]:
    """The routines that compute a product: that for its structured factor, or for the one of two that stays one, and
    that for a general product of expanded copies. The inverse of a matrix has the first one only.
    """
    found = _routines_for_matrices(problem)
    by_vectors, first = routine_of(problem)
    if problem.execution[0] == "cuda":
        # each is a launch; and what is expanded is so for good
        return [by_vectors, *found] if by_vectors and columns_of(problem) <= MOST_VECTORS else found
    return [name for name in ([by_vectors, *found] if first else [*found, by_vectors]) if name]


def _routines_for_matrices(problem: ProductProblem) -> list[str]:
    """The routines for matrices that are there with all elements that they have."""
    if problem.a.structure.inverse:
        return [SOLVES]
    if problem.twice:
        square = [SQUARES[problem.twice], "gemm"]
        large = LARGE_SQUARE if problem.execution[0] == "cpu" else LARGE_TRIANGLE_IN_PARALLEL
        return square if problem.n >= large else square[::-1]
    if problem.kinds == ("ge", "ge") and problem.result != "ge" and problem.n >= 2 * TRIANGLE_COLUMNS:
        large = LARGE_TRIANGLE if problem.execution == ("cpu", 1) else LARGE_TRIANGLE_IN_PARALLEL
        return [TRIANGLE, "gemm"] if problem.n >= large else ["gemm", TRIANGLE]
    on_device = problem.execution[0] == "cuda"
    known = [x.structure for x in (problem.a, problem.b) if x.structure.kind in HALVES]
    # a device expands what is stored apart to all elements at once, but for triangles
    kinds = [known.kind for known in known if not (on_device and known.storage and known.kind != "tr")]
    structured = ROUTINE[max(kinds, key=list(ROUTINE).index)] if kinds else "gemm"
    return list(dict.fromkeys([structured, "gemm"]))


def too_many_loops(problem: ProductProblem) -> str | None:
    """Why a batch has too many axes, or None."""
    operands: list[Structured | Matrix | None] = [problem.a, problem.b, problem.c, problem.d]
    matrices = [x.matrix if isinstance(x, Structured) else x for x in operands if x is not None]
    loops = batch_loops(problem.batch, [m.batch or (0,) * len(problem.batch) for m in matrices])
    if len(loops) <= MAX_LOOPS:
        return None
    return f"it repeats a product over {MAX_LOOPS} batch axes that are not one in memory; these are {len(loops)}"


def multiply(pipeline: ProductPipeline, name: str, make: Callable[[Routine], Any], *, in_place: bool) -> None:
    """Add a routine to a pipeline, with what it needs before and after.

    Parameters
    ----------
    pipeline : ProductPipeline
        Of at most one structured factor.
    name : str
    make : callable
        Adds the call of a routine.
    in_place : bool
        Whether a triangular product replaces its general factor, as a solution does in any case.
    """
    left, right = pipeline.left, pipeline.right
    if name in SQUARES.values():
        _square(pipeline, name, left.region, right.region, make)
    elif name in ("gemm", TRIANGLE):
        left, right = (f if f.structure.kind == "ge" else pipeline.expanded(f) for f in (left, right))
        _general(pipeline, left, right, make, triangle=name == TRIANGLE)
    elif right.structure.kind == "ge":
        _structured(pipeline, name, "L", left, right, make, in_place)
    else:
        _structured(pipeline, name, "R", right, left, make, in_place)


def _general(
    pipeline: ProductPipeline, left: Factor, right: Factor, make: Callable[[Routine], Any], *, triangle: bool
) -> None:
    """d = alpha left right + beta d, or the lower triangle of that, and its mirror image."""
    letters, factors = general_factors(pipeline, left.region, right.region)
    pipeline.load_c()
    d, k = pipeline.result, left.region.matrix.cols
    m, n = d.matrix.rows, d.matrix.cols
    if not triangle:
        make(Routine("gemm", letters, (m, n, k), tuple(factors), d))
        return
    width = max(TRIANGLE_COLUMNS, -(-n // TRIANGLE_BLOCKS))
    for first in range(0, n, width):
        last = n if n - first < 2 * width else first + width  # no narrow block at the end
        parts = part(factors[0], first, m, 0, k), part(factors[1], 0, k, first, last)
        make(Routine("gemm", letters, (m - first, last - first, k), parts, part(d, first, m, first, last)))
        if last == n:
            break
    pipeline.mirror(Structure(pipeline.problem.result), d)


def general_factors(pipeline: ProductPipeline, *regions: Region) -> tuple[str, tuple[Region, ...]]:
    """The factors of a general product where a routine can read them, and what it has to do with them."""
    readable = tuple(pipeline.readable(region, conjugates=region.matrix.leading[0]) for region in regions)
    return "".join(map(_transposition, readable)), readable


def _square(
    pipeline: ProductPipeline, name: str, left: Region, right: Region, make: Callable[[Routine], Any]
) -> None:  # fmt: skip
    """d = alpha left right + beta d for a matrix with its transpose, or adjoint: one triangle, and its mirror image.

    Operands may be others by then, so a general product stands beside it.
    """
    pipeline.load_c()
    d, n, k, by_rows = pipeline.result, left.matrix.rows, left.matrix.cols, left.matrix.leading[0]
    kind = pipeline.problem.twice
    one, two, none = pipeline.decide(left, right)
    pipeline.condition = one
    make(Routine(name, "L" + ("N" if not by_rows else "C" if kind == "he" else "T"), (n, k), (left,), d))
    # what lies by rows is multiplied from the other side by the adjoint
    conjugate = kind == "he" and left.matrix.conjugate != by_rows
    pipeline.mirror(Structure(kind), d, conjugate=conjugate)
    pipeline.condition = two
    letters, factors = general_factors(pipeline, left, right)
    make(Routine("gemm", letters, (n, n, k), factors, d))
    pipeline.condition = None
    pipeline.calls.append(pipeline.without_product(d, unless_zero=none))


def _structured(
    pipeline: ProductPipeline, name: str, side: str, factor: Factor, other: Factor, make: Callable[[Routine], Any],
    in_place: bool,
) -> None:  # fmt: skip
    """d = alpha s g + beta d, or with s on the right side."""
    kind, matrix = factor.structure.kind, factor.region.matrix
    by_rows = matrix.leading[0]
    # what is stored by rows is the other triangle of the transposed matrix by columns, which for a Hermitian one
    # is the conjugate, and which a triangular product transposes and conjugates
    free = {"sy": False, "he": by_rows, "tr": by_rows}[kind]
    if kind == "he" and by_rows and not matrix.conjugate:
        s = pipeline.copied(factor.region)
    else:
        s = pipeline.readable(factor.region, conjugates=free)
    letters = side + ("U" if factor.structure.upper != s.matrix.leading[0] else "L")
    d = pipeline.result
    extents = (d.matrix.rows, d.matrix.cols)
    if kind != "tr":
        g = pipeline.by_columns(other)
        pipeline.load_c()
        make(Routine(name, letters, extents, (s, g), d))
        return
    letters += _transposition(s) + ("U" if factor.structure.unit else "N")
    product = d if pipeline.problem.c is None else pipeline.temporary(d.matrix)
    if in_place or name == SOLVES:
        pipeline.convert(other.region, product, conjugate=other.region.matrix.conjugate)
        make(Routine(name, letters, extents, (s,), product))
    else:
        make(Routine(name, letters, extents, (s, pipeline.by_columns(other)), product))
    if product is not d:
        pipeline.add_c(product)


def _transposition(region: Region) -> str:
    """What a routine has to do with a matrix that it reads by columns."""
    return "N" if not region.matrix.leading[0] else "C" if region.matrix.conjugate else "T"
