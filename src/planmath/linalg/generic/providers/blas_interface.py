"""Products by the Fortran interface of BLAS: general ones, and those with a factor of which a triangle is read."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any

from planmath.bindings import blas
from planmath.bindings.blas import INTEGER, LETTER
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.arrangement import ProductPipeline
from planmath.linalg.generic.providers.routines import Routine, multiply, routines_of, too_many_loops
from planmath.linalg.generic.providers.stored import (
    VectorRoutine,
    call_for_columns,
    multiply_by_vectors,
    routine_of,
)
from planmath.linalg.product.matrix import batch_loops
from planmath.linalg.product.pipeline import Region
from planmath.native.call import Call, Slot
from planmath.native.threads import Threads

#: Below this many multiplications the Python lock is kept: about 5 µs.
SMALL_WORK = 200_000
#: Below this many, more than one thread was never measured to pay (2 CPUs): about 20 µs.
THREADED_WORK = 250_000


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
        self.name, self.library, self._spin = name, library, spin

    def unavailable(self) -> str | None:
        return self.library.missing()

    def version(self) -> str:
        return self.library.version()

    def path(self) -> str | None:
        return self.library.path()

    def threads(self) -> Threads:
        return self.library.threads()

    def unsupported(self, problem: ProductProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if "dg" in problem.kinds:
            return "BLAS has no products with a diagonal matrix"
        return too_large(problem) or too_many_loops(problem)

    def algorithms(self, problem: ProductProblem) -> Sequence[Algorithm]:
        threads = self.threads_for(problem.work, problem.threads)
        found = []
        for routine, n in itertools.product(routines_of(problem), threads):
            knobs = (("product", routine), ("threads", n))
            by = ["library", "loop"] if routine == "gemm" and self._takes_batch(problem) else [None]
            found += [Algorithm(self.name, (*knobs, ("batch", way)) if way else knobs) for way in by]
        return found

    def threads_for(self, work: int, most: int) -> list[int]:
        """How many threads are worth a try for so many multiplications, the number first that is expected to be the
        best."""
        return [most, 1] if self.library.threads_setter and most > 1 and work >= THREADED_WORK else [1]

    def _takes_batch(self, problem: ProductProblem) -> bool:
        """Whether the library has a routine for all products of a batch."""
        if problem.twice or problem.kinds != ("ge", "ge") or not self.library.find(
            f"{LETTER[problem.work_dtype]}gemm_batch_strided"
        ):
            return False
        matrices = problem.a.matrix, problem.b.matrix, problem.d
        loops = batch_loops(problem.batch, [m.batch or (0,) * len(problem.batch) for m in matrices])
        # steps have 32 bits, and matrices may neither overlap nor interleave, though one may serve all
        return len(loops) == 1 and all(
            step == 0 or matrix.span <= step < 2**31 for matrix, step in zip(matrices, loops[0][1], strict=True)
        )

    def lingers(self, algorithm: Algorithm) -> float:
        return self._spin if algorithm.get("threads") > 1 else 0.0

    def prepare(self, problem: ProductProblem, algorithm: Algorithm) -> Prepared:
        pipeline = ProductPipeline(problem)
        by_vectors = algorithm.get("product") == routine_of(problem)[0]
        if not by_vectors:
            pipeline.one_structure()
        library, threads = self.library, algorithm.get("threads")
        setter = library.threads_setter
        # others may change what the library does by itself, so what was planned for is said where it matters
        differs = library.sets_locally or threads != library.max_threads()
        limited = setter and problem.work >= library.threaded_work and differs
        if limited:
            pipeline.calls.append(Call(setter, [threads], name="thread limit"))
        name = algorithm.get("product")
        if by_vectors:
            multiply_by_vectors(pipeline, name, lambda routine: self._call_for_columns(pipeline, routine))
        else:
            at_once = dict(algorithm.knobs).get("batch") == "library"
            multiply(pipeline, name, lambda routine: self._call(pipeline, routine, at_once), in_place=True)
        if limited:
            pipeline.calls.append(Call(setter, [0], name="thread limit"))
        pipeline.finish()
        program = Program(pipeline.calls, release_gil=problem.work > SMALL_WORK)
        return Prepared({None: program}, pipeline.workspace_size)

    def _call(self, pipeline: ProductPipeline, routine: Routine, at_once: bool) -> None:
        """A routine of BLAS, for each of a batch or for all at once.

        Libraries differ in whether they read factors where alpha is 0, so scaling takes its place then.
        """
        letters = [letter.encode() for letter in routine.letters]
        alpha, beta = pipeline.scalars()
        d = routine.result
        if routine.adds:
            without = pipeline.without_product(d)
            rest = [alpha, *_with_leading(*routine.factors), beta, *_with_leading(d)]
        else:
            without = pipeline.without_product(d, "alpha")
            rest = [alpha, *_with_leading(*routine.factors), *_with_leading(d)]
        name = LETTER[pipeline.work] + routine.name
        keep: list[Any] = []

        def pointer(value: bytes | int) -> int:
            keep.append(ctypes.c_char(value) if isinstance(value, bytes) else INTEGER(value))
            return ctypes.addressof(keep[-1])

        arguments = [*map(pointer, letters), *map(pointer, routine.extents)]
        arguments += [x.slot if isinstance(x, Region) else pointer(x) for x in rest]
        regions = [x for x in rest if isinstance(x, Region)]
        decided = {} if pipeline.condition else {"unless_zero": pipeline.nonzero("alpha"), "if_zero": without}
        if not at_once:
            pipeline.call(self.library.find(name), name, arguments, regions, keep=keep, **decided)
            return
        matrices = (*routine.factors, d)
        loops = batch_loops(pipeline.batch, [r.matrix.batch or (0,) * len(pipeline.batch) for r in matrices])
        if len(loops) != 1:
            raise UnavailableError("its routine for batches takes matrices of which each is as far from the next one")
        ((count, steps),) = loops
        for matrix, step in zip(reversed(matrices), reversed(steps), strict=True):  # each behind its leading dimension
            at = arguments.index(matrix.slot) + 2
            arguments.insert(at, pointer(step))
        name += "_batch_strided"
        arguments.append(pointer(count))
        pipeline.calls.append(Call(self.library.find(name), arguments, name=name, keep=keep, **decided))

    def _call_for_columns(self, pipeline: ProductPipeline, routine: VectorRoutine) -> None:
        """A routine of BLAS for vectors, for each column of the result."""
        name = LETTER[pipeline.work] + routine.name
        keep: list[Any] = []

        def pointer(value: str | int) -> int:
            keep.append(ctypes.c_char(value.encode()) if isinstance(value, str) else INTEGER(value))
            return ctypes.addressof(keep[-1])

        def call(arguments: list[Any], **options: Any) -> None:
            words = [x if isinstance(x, Slot) else pointer(x) for x in arguments]
            pipeline.calls.append(Call(self.library.find(name), words, name=name, keep=keep, **options))

        call_for_columns(pipeline, routine, call)


def too_large(problem: ProductProblem) -> str | None:
    """Why integers of 32 bits do not do for a problem, or None."""
    steps = [matrix.leading[1] for matrix in (problem.a.matrix, problem.b.matrix, problem.d)]
    largest = max(problem.m, problem.n, problem.k, *steps)
    return f"its integers have 32 bits, and {largest} does not fit" if largest > 2**31 - 1 else None


def _with_leading(*regions: Region) -> list[Region | int]:
    """Matrices, each followed by its leading dimension."""
    return [x for region in regions for x in (region, region.matrix.leading[1])]
