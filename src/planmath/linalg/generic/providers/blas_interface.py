"""Products by the Fortran interface of BLAS: general ones, and those with a factor of which a triangle is read."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from planmath.bindings import blas
from planmath.bindings.blas import LETTER
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.arrangement import Factor, ProductPipeline
from planmath.linalg.product.matrix import Matrix, batch_loops
from planmath.linalg.product.pipeline import Region
from planmath.linalg.product.structure import HALVES, Structured
from planmath.native.call import MAX_LOOPS, Call
from planmath.native.threads import Threads

#: Below this many multiplications the Python lock is kept: about 5 µs.
SMALL_WORK = 200_000
#: Below this many, more than one thread was never measured to pay (2 CPUs): about 20 µs.
THREADED_WORK = 250_000
#: The routine for the product of a matrix of each kind with a general one, without the letter of the dtype.
ROUTINE = {"ge": "gemm", "sy": "symm", "he": "hemm", "tr": "trmm"}


class BLASProvider(Provider):
    """One library's BLAS as a provider.

    Parameters
    ----------
    name : str
    library : bindings.blas.BLAS
    spin : float
        Seconds that the library's threads keep a CPU busy after a call.
    """

    def __init__(self, name: str, library: blas.BLAS, spin: float = 0.0):
        self.name, self._library, self._spin = name, library, spin

    def unavailable(self) -> str | None:
        return self._library.missing()

    def version(self) -> str:
        return self._library.version()

    def path(self) -> str | None:
        return self._library.path()

    def threads(self) -> Threads:
        return self._library.threads()

    def unsupported(self, problem: ProductProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if "dg" in problem.kinds:
            return "BLAS has no products with a diagonal matrix"
        return too_large(problem) or too_many_loops(problem)

    def algorithms(self, problem: ProductProblem) -> Sequence[Algorithm]:
        most = problem.threads if self._library.threads_setter else 1
        threads = [most, 1] if most > 1 and problem.work >= THREADED_WORK else [1]
        routines = dict.fromkeys(["gemm"] if problem.kinds == ("ge", "ge") else [routine_of(problem), "gemm"])
        return [Algorithm(self.name, (("product", routine), ("threads", n))) for routine in routines for n in threads]

    def lingers(self, algorithm: Algorithm) -> float:
        return self._spin if algorithm.get("threads") > 1 else 0.0

    def prepare(self, problem: ProductProblem, algorithm: Algorithm) -> Prepared:
        pipeline = ProductPipeline(problem)
        pipeline.one_structure()
        library, threads = self._library, algorithm.get("threads")
        setter = library.threads_setter
        # others may change what the library does by itself, so what was planned for is said where it matters
        differs = library.sets_locally or threads != library.max_threads()
        limited = setter and problem.work >= library.threaded_work and differs
        if limited:
            pipeline.calls.append(Call(setter, [threads], name="thread limit"))
        self._product(pipeline, algorithm.get("product"))
        if limited:
            pipeline.calls.append(Call(setter, [0], name="thread limit"))
        pipeline.finish()
        program = Program(pipeline.calls, release_gil=problem.work > SMALL_WORK)
        return Prepared({None: program}, pipeline.workspace_size)

    def _product(self, pipeline: ProductPipeline, routine: str) -> None:
        left, right = pipeline.left, pipeline.right
        if routine == "gemm":
            left, right = (f if f.structure.kind == "ge" else pipeline.expanded(f) for f in (left, right))
            self._general(pipeline, left, right)
        elif right.structure.kind == "ge":
            self._structured(pipeline, routine, b"L", left, right)
        else:
            self._structured(pipeline, routine, b"R", right, left)

    def _general(self, pipeline: ProductPipeline, left: Factor, right: Factor) -> None:
        """d = alpha left right + beta d."""
        factors, letters = [], []
        for factor in (left, right):
            transposes = factor.region.matrix.leading[0]
            region = pipeline.readable(factor.region, conjugates=transposes)
            transposes = region.matrix.leading[0]
            letters.append(b"N" if not transposes else b"C" if region.matrix.conjugate else b"T")
            factors.append(region)
        pipeline.load_c()
        d, (alpha, beta) = pipeline.result, pipeline.scalars()
        k = left.region.matrix.cols
        self._call(
            pipeline, "gemm", [*letters, d.matrix.rows, d.matrix.cols, k],
            [alpha, factors[0], _leading(factors[0]), factors[1], _leading(factors[1]), beta, d, _leading(d)],
            pipeline.without_product(d),
        )  # fmt: skip

    def _structured(self, pipeline: ProductPipeline, routine: str, side: bytes, factor: Factor, other: Factor) -> None:
        """d = alpha s g + beta d, or with s on the right side."""
        kind = factor.structure.kind
        matrix = factor.region.matrix
        by_rows = matrix.leading[0]
        # what is stored by rows is the other triangle of the transposed matrix by columns, which for a Hermitian one
        # is the conjugate, and which a triangular product transposes and conjugates
        free = {"sy": False, "he": by_rows, "tr": by_rows}[kind]
        if kind == "he" and by_rows and not matrix.conjugate:
            s = pipeline.copied(factor.region)
        else:
            s = pipeline.readable(factor.region, conjugates=free)
        by_rows = s.matrix.leading[0]
        upper = b"U" if factor.structure.upper != by_rows else b"L"
        alpha, beta = pipeline.scalars()
        d = pipeline.result
        extents = [d.matrix.rows, d.matrix.cols]
        if kind == "tr":
            product = d if pipeline.problem.c is None else pipeline.temporary(d.matrix)
            pipeline.convert(other.region, product, conjugate=other.region.matrix.conjugate)
            transposes = b"N" if not by_rows else b"C" if s.matrix.conjugate else b"T"
            flags = [side, upper, transposes, b"U" if factor.structure.unit else b"N"]
            self._call(
                pipeline, routine, [*flags, *extents], [alpha, s, _leading(s), product, _leading(product)],
                pipeline.without_product(product, "alpha"),
            )  # fmt: skip
            if product is not d:
                pipeline.add_c(product)
            return
        g = pipeline.by_columns(other)
        pipeline.load_c()
        self._call(
            pipeline, routine, [side, upper, *extents],
            [alpha, s, _leading(s), g, _leading(g), beta, d, _leading(d)], pipeline.without_product(d),
        )  # fmt: skip

    def _call(
        self, pipeline: ProductPipeline, routine: str, first: Sequence[bytes | int], rest: Sequence[Region | int],
        without: Call,
    ) -> None:  # fmt: skip
        """A routine of BLAS: letters and numbers first, then scalars, matrices and leading dimensions.

        Libraries differ in whether they read factors where alpha is 0, so the call `without` takes its place then.
        """
        name = LETTER[pipeline.work] + routine
        keep: list[Any] = []

        def pointer(value: bytes | int) -> int:
            keep.append(ctypes.c_char(value) if isinstance(value, bytes) else ctypes.c_int(value))
            return ctypes.addressof(keep[-1])

        arguments = [*map(pointer, first), *(x.slot if isinstance(x, Region) else pointer(x) for x in rest)]
        regions = [x for x in rest if isinstance(x, Region)]
        pipeline.call(
            self._library.find(name), name, arguments, regions, keep=keep, unless_zero=pipeline.nonzero("alpha"),
            if_zero=without,
        )  # fmt: skip


def routine_of(problem: ProductProblem) -> str:
    """The routine for the structured factor of a product, or for the one of two that stays one."""
    kinds = [kind for kind in problem.kinds if kind in HALVES]
    return ROUTINE[max(kinds, key=list(ROUTINE).index)]


def too_large(problem: ProductProblem) -> str | None:
    """Why integers of 32 bits do not do for a problem, or None."""
    steps = [matrix.leading[1] for matrix in (problem.a.matrix, problem.b.matrix, problem.d)]
    largest = max(problem.m, problem.n, problem.k, *steps)
    return f"its integers have 32 bits, and {largest} does not fit" if largest > 2**31 - 1 else None


def too_many_loops(problem: ProductProblem) -> str | None:
    """Why a batch has too many axes, or None."""
    operands: list[Structured | Matrix | None] = [problem.a, problem.b, problem.c, problem.d]
    matrices = [x.matrix if isinstance(x, Structured) else x for x in operands if x is not None]
    loops = batch_loops(problem.batch, [m.batch or (0,) * len(problem.batch) for m in matrices])
    if len(loops) <= MAX_LOOPS:
        return None
    return f"it repeats a product over {MAX_LOOPS} batch axes that are not one in memory; these are {len(loops)}"


def _leading(region: Region) -> int:
    return region.matrix.leading[1]
