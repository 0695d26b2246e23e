"""Products by the Fortran interface of BLAS: general ones, and those with a factor of which a triangle is read."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from planmath.bindings import blas
from planmath.bindings.blas import INTEGER, LETTER
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
        ways = [(("product", routine), ("threads", n)) for routine in routines_of(problem) for n in threads]
        return [Algorithm(self.name, way) for way in ways]

    def lingers(self, algorithm: Algorithm) -> float:
        return self._spin if algorithm.get("threads") > 1 else 0.0

    def prepare(self, problem: ProductProblem, algorithm: Algorithm) -> Prepared:
        pipeline = ProductPipeline(problem)
        by_vectors = algorithm.get("product") == routine_of(problem)[0]
        if not by_vectors:
            pipeline.one_structure()
        library, threads = self._library, algorithm.get("threads")
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
            multiply(pipeline, name, lambda routine: self._call(pipeline, routine), in_place=True)
        if limited:
            pipeline.calls.append(Call(setter, [0], name="thread limit"))
        pipeline.finish()
        program = Program(pipeline.calls, release_gil=problem.work > SMALL_WORK)
        return Prepared({None: program}, pipeline.workspace_size)

    def _call(self, pipeline: ProductPipeline, routine: Routine) -> None:
        """A routine of BLAS.

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
        pipeline.call(self._library.find(name), name, arguments, regions, keep=keep, **decided)


    def _call_for_columns(self, pipeline: ProductPipeline, routine: VectorRoutine) -> None:
        """A routine of BLAS for vectors, for each column of the result."""
        name = LETTER[pipeline.work] + routine.name
        keep: list[Any] = []

        def pointer(value: str | int) -> int:
            keep.append(ctypes.c_char(value.encode()) if isinstance(value, str) else INTEGER(value))
            return ctypes.addressof(keep[-1])

        def call(arguments: list[Any], **options: Any) -> None:
            words = [x if isinstance(x, Slot) else pointer(x) for x in arguments]
            pipeline.calls.append(Call(self._library.find(name), words, name=name, keep=keep, **options))

        call_for_columns(pipeline, routine, call)


def too_large(problem: ProductProblem) -> str | None:
    """Why integers of 32 bits do not do for a problem, or None."""
    steps = [matrix.leading[1] for matrix in (problem.a.matrix, problem.b.matrix, problem.d)]
    largest = max(problem.m, problem.n, problem.k, *steps)
    return f"its integers have 32 bits, and {largest} does not fit" if largest > 2**31 - 1 else None


def _with_leading(*regions: Region) -> list[Region | int]:
    """Matrices, each followed by its leading dimension."""
    return [x for region in regions for x in (region, region.matrix.leading[1])]
