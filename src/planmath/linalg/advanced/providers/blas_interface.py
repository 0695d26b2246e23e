"""Products by the Fortran interface of BLAS: MKL, NVPL BLAS, and the library that SciPy was built with."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

from planmath.bindings import blas
from planmath.bindings.blas import INTEGER, LETTER
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.problem import MatmulProblem
from planmath.linalg.advanced.providers.pipeline import MatmulPipeline, folded
from planmath.linalg.advanced.providers.subnormals import kept_by
from planmath.linalg.product.matrix import WORK_DTYPE, Matrix, batch_loops
from planmath.linalg.product.pipeline import Region
from planmath.native.call import MAX_LOOPS, Call
from planmath.native.threads import Threads

#: Below this many multiplications the Python lock is kept: about 5 µs.
SMALL_WORK = 200_000
#: Below this many, more than one thread was never measured to pay (2 CPUs): about 20 µs.
THREADED_WORK = 250_000
#: MKL's products of narrow operands with results in single precision, by the operands' dtype; and the one with results,
#: and sums, in half precision.
NARROW = {"float16": "gemm_f16f16f32", "bfloat16": "gemm_bf16bf16f32"}
#: Numbers of 8 bits are numbers of bfloat16, too, whose products processors with units for matrices make the fastest.
ALSO_BFLOAT16 = ("float8_e4m3fn", "float8_e5m2")
HALF = "hgemm"


_keeps_subnormals = cache(kept_by)


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

    def unsupported(self, problem: MatmulProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        extents = (
            problem.m,
            problem.n,
            problem.k,
            *(matrix.leading[1] for matrix in (problem.a, problem.b, problem.d)),
        )
        if max(extents) > 2**31 - 1:
            return f"its integers have 32 bits, and {max(extents)} does not fit"
        matrices = [m for m in (problem.a, problem.b, problem.c, problem.d, *problem.inputs) if m is not None]
        loops = batch_loops(problem.batch, [m.batch or (0,) * len(problem.batch) for m in matrices])
        if len(loops) > MAX_LOOPS:
            return (
                f"it repeats a product over {MAX_LOOPS} batch axes that are not one in memory; these are {len(loops)}"
            )
        return None

    def algorithms(self, problem: MatmulProblem) -> Sequence[Algorithm]:
        most = problem.threads if self._library.threads_setter else 1
        threads = [most, 1] if most > 1 and problem.work >= THREADED_WORK else [1]
        routines = [WORK_DTYPE[problem.a.dtype]]
        narrow = NARROW.get(problem.a.dtype)
        if narrow and self._library.find(narrow) and (problem.compute == "bfloat16" or self._keeps_subnormals(narrow)):
            routines.insert(0, narrow)
        elif problem.a.dtype in ALSO_BFLOAT16 and not (problem.narrow and problem.narrow.blocks):
            narrow = NARROW["bfloat16"] if self._library.find(NARROW["bfloat16"]) else None
            routines += [narrow] if narrow else []
        if problem.compute == "float16" and self._library.find(HALF) and self._keeps_subnormals(HALF):
            routines.insert(0, HALF)
        batched: list[bool] = [False]
        if self._single_batch_axis(problem) and self._library.find(f"{LETTER.get(routines[0], '?')}gemm_batch_strided"):
            batched.insert(0, True)
        found = []
        for routine, in_library, n in itertools.product(routines, batched, threads):
            knobs: list[tuple[str, Any]] = [("threads", n)]
            if narrow:
                knobs.append(("product", routine))
            if len(batched) > 1:
                knobs.append(("batch", "library" if in_library else "loop"))
            found.append(Algorithm(self.name, tuple(knobs)))
        packed = [
            Algorithm(self.name, (("threads", n), ("packed", name)))
            for name in problem.constant
            for n in threads
            if self._can_pack(problem, name)
        ]
        return packed + found

    def _keeps_subnormals(self, routine: str) -> bool:
        """Whether a narrow routine gets subnormal numbers right."""
        dtype = "bfloat16" if routine == NARROW["bfloat16"] else "float16"
        return _keeps_subnormals(self._library.find(routine), dtype, "float16" if routine == HALF else "float32")

    def _can_pack(self, problem: MatmulProblem, name: str) -> bool:
        """Whether the library has a form of its own for this operand, the same for the whole batch."""
        matrix = getattr(problem, name)
        letter = LETTER.get(matrix.dtype, "?")
        return self._library.find(f"{letter}gemm_pack") != 0 and not matrix.conjugate and not any(matrix.batch)

    def lingers(self, algorithm: Algorithm) -> float:
        return self._spin if algorithm.get("threads") > 1 else 0.0

    def prepare(self, problem: MatmulProblem, algorithm: Algorithm) -> Prepared:
        problem = folded(problem)
        work = WORK_DTYPE[problem.a.dtype]
        pipeline = MatmulPipeline(problem, work)
        routine = algorithm.get("product")
        native = routine in (*NARROW.values(), HALF)
        product = "float16" if routine == HALF else work
        operands = []
        for name in "ab":
            matrix = getattr(problem, name)
            region = pipeline.region(name, matrix)
            # a product conjugates what it transposes; which operands that are depends on the result's order
            transposes = matrix.leading[0] != problem.d.leading[0]
            conjugate = matrix.conjugate and not transposes
            if problem.narrow is not None:
                region = pipeline.operand(name, "bfloat16" if native else work)
            elif not native:
                region = pipeline.staged(region, conjugate=conjugate)
            operands.append(region)
        d = pipeline.region("d", problem.d)
        if problem.d.dtype != product:
            d = pipeline.whole(problem.d, product)
        pipeline.load_c(d)
        library, threads = self._library, algorithm.get("threads")
        setter = library.threads_setter
        # others may change what the library does by itself, so what was planned for is said where it matters
        differs = library.sets_locally or threads != library.max_threads()
        limited = setter and problem.work >= library.threaded_work and differs
        if limited:
            pipeline.calls.append(Call(setter, [threads], name="thread limit"))
        self._product(pipeline, algorithm, operands[0], operands[1], d)
        if limited:
            pipeline.calls.append(Call(setter, [0], name="thread limit"))
        if EPILOGS[problem.epilog] != EPILOGS[problem.epilog.DEFAULT]:
            d = pipeline.staged(d)
            pipeline.epilog(d)
        pipeline.finish(d)
        program = Program(pipeline.calls, release_gil=problem.work > SMALL_WORK)
        prologue = Program(pipeline.prologue) if pipeline.prologue else None
        watched = tuple(pipeline.slot(name).operand for name in "ab" if name == algorithm.get("packed"))
        return Prepared({None: program}, pipeline.workspace_size, prologue, watched)

    def _single_batch_axis(self, problem: MatmulProblem) -> bool:
        problem = folded(problem)
        matrices = (problem.a, problem.b, problem.d)
        steps = [m.batch or (0,) * len(problem.batch) for m in matrices]
        loops = batch_loops(problem.batch, steps)
        # steps have 32 bits, and matrices may neither overlap nor interleave, though one may serve all
        return len(loops) == 1 and all(
            step == 0 or matrix.span <= step < 2**31 for matrix, step in zip(matrices, loops[0][1], strict=True)
        )

    def _product(self, pipeline: MatmulPipeline, algorithm: Algorithm, a: Region, b: Region, d: Region) -> None:
        """d = alpha a b + beta d, by the algorithm's routine; some would read a and b where alpha is 0."""
        problem = pipeline.problem
        unless: dict[str, Any] = {"unless_zero": pipeline.nonzero("alpha"), "if_zero": pipeline.without_product(d)}
        row_major, ldd = d.matrix.leading
        first, second, (m, n) = (a, b, (problem.m, problem.n))
        if row_major:  # BLAS writes columns: of the transposed result, which is the product of the transposed operands
            first, second, (m, n) = (b, a, (problem.n, problem.m))
        regions = [first, second, d]
        letters, leading = [], []
        for region in (first, second):
            by_rows, ld = region.matrix.leading
            transposes = by_rows != row_major
            conjugate = region.matrix.conjugate and region.slot in (pipeline.slot("a"), pipeline.slot("b"))
            letters.append(b"C" if transposes and conjugate else b"T" if transposes else b"N")
            leading.append(ld)
        values = [INTEGER(x) for x in (m, n, problem.k, leading[0], leading[1], ldd)]
        flags = [ctypes.c_char(x) for x in letters]
        address = ctypes.addressof
        pm, pn, pk, plda, pldb, pldd = map(address, values)
        alpha, beta = pipeline.alpha.slot, pipeline.slot("beta")
        scalars = [Region(Matrix(pipeline.work, 1, 1, 1, 1), slot) for slot in (alpha, beta)]
        routine = algorithm.get("product", pipeline.work)
        name = f"{LETTER[routine]}gemm" if routine in LETTER else routine
        if routine == HALF:
            halves = [pipeline.temporary(scalar.matrix, "float16") for scalar in scalars]
            for scalar, half in zip(scalars, halves, strict=True):
                pipeline.convert(scalar, half)
            scalars = halves
            alpha, beta = scalars[0].slot, scalars[1].slot
        keep = (values, flags)
        if algorithm.get("batch") == "library":
            ((count, steps),) = batch_loops(
                problem.batch, [r.matrix.batch or (0,) * len(problem.batch) for r in regions]
            )
            sizes = [INTEGER(x) for x in (*steps, count)]
            s1, s2, s3, size = map(address, sizes)
            arguments = [
                *map(address, flags), pm, pn, pk, alpha, first.slot, plda, s1, second.slot, pldb, s2, beta, d.slot,
                pldd, s3, size,
            ]  # fmt: skip
            call = Call(
                self._library.find(f"{name}_batch_strided"), arguments, name=f"{name}_batch_strided",
                keep=(keep, sizes), **unless,
            )  # fmt: skip
            pipeline.calls.append(call)
            return
        if algorithm.get("packed"):
            which = (first, second).index(a if algorithm.get("packed") == "a" else b)
            self._pack(pipeline, f"{name}_pack", which, flags[which], (first, second)[which], (pm, pn, pk), values)
            arguments = [*map(address, flags), pm, pn, pk, first.slot, plda, second.slot, pldb, beta, d.slot, pldd]
            flag = ctypes.c_char(b"P")
            arguments[which] = address(flag)
            arguments[5 + 2 * which] = pipeline.packed.slot
            in_order = [first, second, scalars[1], d]
            in_order[which] = pipeline.packed
            name = f"{name}_compute"
            pipeline.call(self._library.find(name), name, arguments, in_order, keep=(keep, flag), **unless)
            return
        arguments = [*map(address, flags), pm, pn, pk, alpha, first.slot, plda, second.slot, pldb, beta, d.slot, pldd]
        in_order = [scalars[0], first, second, scalars[1], d]
        pipeline.call(self._library.find(name), name, arguments, in_order, keep=keep, **unless)

    def _pack(
        self, pipeline: MatmulPipeline, name: str, which: int, flag: ctypes.c_char, operand: Region,
        sizes: tuple[int, int, int], values: list[ctypes.c_int64],
    ) -> None:  # fmt: skip
        """Let the library bring a constant operand, scaled by alpha, into its own form before the first product."""
        identifier = ctypes.c_char(b"AB"[which : which + 1])
        size = ctypes.CFUNCTYPE(ctypes.c_size_t, *[ctypes.c_void_p] * 4)(self._library.find(f"{name}_get_size"))
        pipeline.reserve_packed(size(ctypes.addressof(identifier), *sizes), operand.matrix)
        address = ctypes.addressof
        arguments = [
            address(identifier), address(flag), *sizes, pipeline.slot("alpha"), operand.slot,
            address(values[3 + which]), pipeline.packed.slot,
        ]  # fmt: skip
        pipeline.prologue.append(Call(self._library.find(name), arguments, name=name, keep=(identifier, flag, values)))
