"""Transforms by the FFTW3 interface: MKL, NVPL FFT and FFTW itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

import planmath.fft.kernels as kernels
from planmath.bindings import fftw3, mkl
from planmath.bindings.fftw3 import ALIGNMENT, DESTROY_INPUT, ESTIMATE, MEASURE, PRESERVE_INPUT, UNALIGNED
from planmath.core.arrays import ITEMSIZE
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.core.tuning import budget, wisdom
from planmath.core.tuning.budget import OutOfTimeError
from planmath.fft.problem import FFTProblem, fuse, only_on_devices
from planmath.fft.providers.sharing import may_be_shared, parts_of_one, shared
from planmath.native.call import MAX_LOOPS, Call, Slot
from planmath.native.team import LINGER
from planmath.native.threads import Threads, gnu_openmp_spin, openmp_threads

Dimensions = Sequence[tuple[int, int, int]]

#: Below this much work (elements times the logarithm of the length) the Python lock is kept: about 5 µs.
SMALL_WORK = 30_000
#: Below the first, more than one thread was never measured to pay (2 CPUs, MKL 2026.0): about 50 µs. From the second on
#: it is what to expect without measuring; of MKL's transforms that are several, from the first on: 64x256 took 63 µs on
#: two threads and 113 on one, where a single one of 44,100 took 391 and 307.
THREADED_WORK, SURELY_THREADED_WORK = 200_000, 2_000_000

#: From this on FFTW measures, for a second at most, also where nobody tunes: what it estimates takes up to seven times
#: as long (96x96x96).
MEASURED_WORK = 2_000_000
#: Of so many plans it is remembered that measuring them takes too long.
MOST_GIVEN_UP = 1000
#: From so many transforms on a call is long, and which of them lie next to each other matters more than how many more
#: there are: 100x100x100 along the second axis took 1.9 ms with the last one in the call, and 3.2 with the first.
MANY_TRANSFORMS = 64

#: What tells that planmath's threads share a transform, and not the library's.
SHARED = ("sharing", "planmath")

#: With ESTIMATE, planners look at addresses only to see whether the transform is in place and memory aligned.
OPERAND_STAND_IN, RESULT_STAND_IN = 1 << 20, 1 << 21


class FFTW3Provider(Provider):
    """One library's FFTW3 interface as a provider.

    Parameters
    ----------
    name : str
    interface : bindings.fftw3.Interface
    version : callable
    spin : float, optional
        Seconds that the library's threads keep a CPU busy after a call. Default: as long as those of GNU's OpenMP do.
    """

    def __init__(
        self, name: str, interface: fftw3.Interface, version: Callable[[], str], spin: float | None = None
    ):  # fmt: skip
        self.name, self._version = name, version
        self._interface, self._spin = interface, spin
        #: The most seconds in which it had not done measuring.
        self._gave_up: dict[tuple[FFTProblem, Algorithm], float] = {}
        #: FFTW takes batches of any rank and measures; the other two have one batch axis and no use for measuring.
        self._is_fftw = interface.needs_alignment
        self._is_mkl = interface is fftw3.MKL

    def unavailable(self) -> str | None:
        return self._interface.missing()

    def version(self) -> str:
        return self._version()

    def path(self) -> str | None:
        return self._interface.libraries["float64"][0].path

    def threads(self) -> Threads:
        return mkl.threads() if self._is_mkl else openmp_threads()

    def unsupported(self, problem: FFTProblem) -> str | None:
        if problem.execution[0] != "cpu":
            return "it computes on the CPU only"
        if problem.precision not in fftw3.PREFIX:
            return only_on_devices(problem.dtype)
        if not self._is_fftw and any(s == 0 and n > 1 for n, s, _ in problem.transformed()):
            return "it cannot transform an axis along which the operand is broadcast (stride 0)"
        if self._is_fftw and problem.inplace and any(s < 0 and n > 1 for n, s, _ in problem.transformed()):
            return "it cannot transform in place along an axis of negative stride"  # FFTW 3.3.5's planner crashes
        return None

    def algorithms(self, problem: FFTProblem) -> Sequence[Algorithm]:
        shared = self._is_mkl and is_several(problem)
        threads = thread_counts(problem, THREADED_WORK if shared else SURELY_THREADED_WORK)
        rigors: tuple[str | None, ...] = ("estimate", "measure") if self._is_fftw else (None,)
        if problem.work >= MEASURED_WORK:
            rigors = rigors[::-1]
        found = [
            Algorithm(self.name, (("threads", n), *((("rigor", rigor),) if rigor else ())))
            for rigor in rigors
            for n in threads
        ]
        if len(threads) > 1 and may_be_shared(problem):
            shared_by_threads = Algorithm(
                self.name, (("threads", max(threads)), *([("rigor", "measure")] if self._is_fftw else []), SHARED)
            )
            if self._is_fftw:  # whose planner takes long where its own threads meet others
                place = 1 + next(i for i, one in enumerate(found) if one.get("rigor") == "measure")
            else:
                place = 0 if self._is_mkl and gains_by_parts(problem) else len(found)
            found.insert(place, shared_by_threads)
        return found

    def lingers(self, algorithm: Algorithm) -> float:
        if SHARED in algorithm.knobs:
            return LINGER
        if algorithm.get("threads") == 1:
            return 0.0
        return gnu_openmp_spin() if self._spin is None else self._spin

    def prepare(self, problem: FFTProblem, algorithm: Algorithm) -> Prepared:
        programs: dict[object, Program] = {}
        workspace = 0
        if budget.for_planner() <= self._gave_up.get((problem, algorithm), 0.0):
            raise OutOfTimeError(f"{self._interface.name} had not done measuring in that time before")
        for direction in problem.directions:
            try:
                calls, workspace = self._calls(problem, algorithm, direction)
            except OutOfTimeError:
                if len(self._gave_up) >= MOST_GIVEN_UP:
                    self._gave_up.clear()
                self._gave_up[problem, algorithm] = budget.for_planner()
                raise
            calls += scaling(problem, direction, Slot(0 if problem.inplace else 1))
            program = Program(calls, release_gil=problem.work > SMALL_WORK)
            programs[direction] = programs[fftw3_name(direction)] = program
        programs[None] = programs[problem.directions[0]]
        return Prepared(programs, workspace)

    def _calls(self, problem: FFTProblem, algorithm: Algorithm, direction: int) -> tuple[list[Call], int]:
        """The native calls that compute the transform, and the bytes of workspace they need."""
        if SHARED in algorithm.knobs:
            return self._shared(problem, algorithm, direction), 0
        batch, transformed = problem.batch(), problem.transformed()
        leading, last = [dim for dim in transformed[:-1] if dim[0] > 1], transformed[-1]
        if problem.kind == "C2C":
            result = 0 if problem.inplace else 1
            return self._complex(problem, algorithm, direction, transformed, batch, Slot(0), Slot(result)), 0
        if problem.kind == "R2C" or not leading:
            return [self._transform(problem, algorithm, direction, transformed, batch, Slot(0), Slot(1))], 0
        # The definition of C2R with several axes. As one transform MKL gives something else where the operand is not
        # Hermitian, and FFTW destroys the operand. The last axis is the fastest of the intermediate.
        spectrum = (problem.shape[problem.axes[-1]], last[1], last[2])
        dense = _dense([n for n, _, _ in (*batch, *leading, spectrum)])
        read = [(n, s, d) for (n, s, _), d in zip((*batch, *leading, spectrum), dense, strict=True)]
        written = fuse((n, d, r) for (n, _, r), d in zip((*batch, *leading), dense, strict=False))
        outer, others = read[len(batch) : -1], fuse([*read[: len(batch)], read[-1]])
        return [
            *self._complex(problem._replace(kind="C2C"), algorithm, direction, outer, others, Slot(0), Slot(2)),
            self._transform(
                problem, algorithm, direction, [(last[0], 1, last[2])], written, Slot(2), Slot(1), destroy=True
            ),
        ], math.prod(n for n, _, _ in read) * ITEMSIZE[problem.dtype]

    def _shared(self, problem: FFTProblem, algorithm: Algorithm, direction: int) -> list[Call]:
        """The calls of a transform that planmath's threads share."""
        alone = Algorithm(self.name, (("threads", 1), ("rigor", algorithm.get("rigor"))))
        apart = parts_of_one(problem) > 0  # parts begin at any element

        def transforms(
            kind: str, axes: Dimensions, batch: Dimensions, operand: Slot, result: Slot
        ) -> list[Call]:
            of = problem._replace(kind=kind)
            if kind == "C2C" and not apart:
                return self._complex(of, alone, direction, axes, batch, operand, result)
            return [self._transform(of, alone, direction, axes, batch, operand, result, often_unaligned=apart)]

        result = Slot(0 if problem.inplace else 1)
        return shared(problem, direction, Slot(0), result, transforms, plans_of_their_own=not self._is_fftw)

    def _complex(
        self, problem: FFTProblem, algorithm: Algorithm, direction: int, transformed: Dimensions, batch: Dimensions,
        operand: Slot, result: Slot,
    ) -> list[Call]:  # fmt: skip
        """A C2C transform: one call, or two where the library must not be given all axes at once."""
        if self._is_mkl and operand != result and has_gaps(transformed):
            # MKL 2026.2 gathers such an operand into a buffer of its own, and writes beyond it where few rows are long
            # (Valgrind: mkl_dft_avx2_gather_z_z, called by xzdft2d_out). A transform of one axis does not, nor one in
            # place.
            first = min((dim for dim in transformed if dim[0] > 1), key=lambda dim: abs(dim[1]))
            rest = [dim for dim in transformed if dim is not first]
            following = [(n, r, r) for n, _, r in rest], fuse((n, r, r) for n, _, r in [*batch, first])
            return [
                self._transform(problem, algorithm, direction, [first], fuse([*batch, *rest]), operand, result),
                self._transform(problem, algorithm, direction, *following, result, result, destroy=True),
            ]
        return [self._transform(problem, algorithm, direction, transformed, batch, operand, result)]

    def _transform(
        self, problem: FFTProblem, algorithm: Algorithm, direction: int, transformed: Dimensions, batch: Dimensions,
        operand: Slot, result: Slot, *, destroy: bool = False, often_unaligned: bool = False,
    ) -> Call:  # fmt: skip
        """One transform with its batch; batch axes that the library does not take become loops around it.

        What is made where an address is not aligned is estimated, unless that is to happen often.
        """
        interface, kind, precision = self._interface, problem.kind, problem.precision
        native, looped = (list(batch), []) if self._is_fftw else _one_batch_axis(batch)
        in_place = operand.operand == result.operand
        flags = DESTROY_INPUT if destroy or in_place else PRESERVE_INPUT
        itemsizes = (ITEMSIZE[problem.dtype], ITEMSIZE[problem.result_dtype])
        loops = [(n, (s * itemsizes[0], r * itemsizes[1])) for n, s, r in looped]
        if len(loops) > MAX_LOOPS:
            raise UnavailableError(f"{interface.name} would need {len(loops)} loops around it; {MAX_LOOPS} can nest")
        execute = interface.execute_address(precision, kind)
        arguments: dict[str, object] = {"sign": direction, "threads": algorithm.get("threads")}

        def call(rigor: int, **alternative: object) -> Call:
            limit = math.inf if rigor & ESTIMATE else budget.for_planner()
            with _memory(rigor, transformed, native, itemsizes, in_place) as addresses:
                start = time.perf_counter()
                plan = interface.plan(
                    precision, kind, transformed, native, addresses, flags=flags | rigor, limit=limit, **arguments  # type: ignore[arg-type]
                )  # fmt: skip
                took = time.perf_counter() - start
            if took >= limit:
                raise OutOfTimeError(f"{interface.name} had not done measuring after {limit:.2g} s")
            if plan is None:
                raise UnavailableError(
                    f"{interface.name} has no plan for {len(transformed)} transformed axes with these strides"
                )
            return Call(
                execute, [plan.address, operand, result], name=f"{interface.name} {kind} execution", loops=loops,
                keep=plan, **alternative,
            )  # fmt: skip

        if not interface.needs_alignment:
            return call(ESTIMATE)
        def both(rigor: int, rigor_of_unaligned: int) -> Call:
            return call(rigor, unaligned=call(rigor_of_unaligned | UNALIGNED), alignment=ALIGNMENT)

        if algorithm.get("rigor") != "measure":
            return both(ESTIMATE, ESTIMATE)
        title = interface.wisdom_title(precision)
        with interface.taught(precision, wisdom.known(title)) as lesson:
            made = both(MEASURE, MEASURE if often_unaligned else ESTIMATE)
        wisdom.learned(title, lesson.lines, refused=lesson.refused)
        return made


def scaling(problem: FFTProblem, direction: int, result: Slot) -> list[Call]:
    """What multiplies the result of a direction by its factor, as these libraries do not."""
    factor = problem.factor(direction)
    if factor == 1:
        return []
    numbers = 1 if problem.kind == "C2R" else 2
    size = ITEMSIZE[problem.precision]
    elements = fuse((n, r, r) for n, r in zip(problem.result_shape, problem.result_strides, strict=True) if n > 1)
    row = 1
    if elements and elements[-1][2] == 1:
        row, *_ = elements.pop()
    if len(elements) > MAX_LOOPS:
        raise UnavailableError(f"scaling the result would need {len(elements)} loops; {MAX_LOOPS} can nest")
    held = np.array(factor)
    return [
        Call(
            kernels.SCALE[problem.precision], [row * numbers, held.ctypes.data, result], name="scaling",
            loops=[(n, (step * numbers * size,)) for n, _, step in elements], keep=held,
        )
    ]  # fmt: skip


def has_gaps(transformed: Dimensions) -> bool:
    """Whether there are several axes, and the operand's elements follow each other along none of them."""
    steps = [step for n, step, _ in transformed if n > 1]
    return len(steps) > 1 and 1 not in steps


def is_several(problem: FFTProblem) -> bool:
    """Whether a transform is made of several that one call has, so that threads have one each."""
    axes = sum(n > 1 for n, _, _ in problem.transformed())
    return len(problem.batch()) <= 1 and axes + len(problem.batch()) > 1


def gains_by_parts(problem: FFTProblem) -> bool:
    """Whether a transform is a single one with which MKL's threads are of little help: of a power of two, or short.

    2^20 in complex64 took 5.4 ms on one thread, 5.1 on two, and 2.3 made of two parts; 10^6 in complex128 16.5, 7.6 and
    8.8.
    """
    length = max(n for n, _, _ in problem.transformed())
    return parts_of_one(problem) > 0 and (length & (length - 1) == 0 or problem.work < SURELY_THREADED_WORK)


def thread_counts(problem: FFTProblem, surely: int = SURELY_THREADED_WORK) -> list[int]:
    """The numbers of threads worth trying, the one to expect most of first; from how much work on that is all."""
    if problem.threads == 1 or problem.work < THREADED_WORK:
        return [1]
    return [problem.threads, 1] if problem.work >= surely else [1, problem.threads]


def fftw3_name(direction: int) -> str:
    """The direction as users may write it."""
    return "forward" if direction == fftw3.FORWARD else "inverse"


def _one_batch_axis(batch: Dimensions) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """A long batch axis that is not broadcast, for the library, and the others, for loops."""
    candidates = [dim for dim in batch if dim[1] != 0]
    if not candidates:
        return [], list(batch)
    chosen = max(candidates, key=lambda dim: (min(dim[0], MANY_TRANSFORMS), -abs(dim[1])))
    return [chosen], [dim for dim in batch if dim is not chosen]


def _dense(shape: Sequence[int]) -> list[int]:
    """C-order strides."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


class _memory:
    """Addresses for planning: real memory where the planner measures, stand-ins where it only looks at them."""

    def __init__(
        self, rigor: int, transformed: Dimensions, batch: Dimensions, itemsizes: tuple[int, int], in_place: bool
    ):
        self._addresses = (OPERAND_STAND_IN, OPERAND_STAND_IN if in_place else RESULT_STAND_IN)
        self._arrays: list[np.ndarray] = []
        if rigor & ESTIMATE:
            return
        for side, itemsize in ((1, itemsizes[0]), (2, itemsizes[1]))[: 1 if in_place else 2]:
            steps = [(dim[0], dim[side]) for dim in (*transformed, *batch)]
            span = 1 + sum((n - 1) * abs(step) for n, step in steps)
            start = -sum((n - 1) * step for n, step in steps if step < 0)
            memory = np.zeros(span * itemsize + 64, np.uint8)
            offset = -(memory.ctypes.data + start * itemsize) % 64
            self._arrays.append(memory)
            address = memory.ctypes.data + offset + start * itemsize
            self._addresses = (address, address) if side == 1 else (self._addresses[0], address)

    def __enter__(self) -> tuple[int, int]:
        return self._addresses

    def __exit__(self, *exception: object) -> None:
        self._arrays.clear()
