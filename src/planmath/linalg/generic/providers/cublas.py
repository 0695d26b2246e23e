"""Products by cuBLAS, on CUDA devices: general ones, and those with a factor of which a triangle is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from planmath import bindings
from planmath.bindings.blas import LETTER
from planmath.core.arrays import ITEMSIZE
from planmath.core.cuda import devices
from planmath.core.executor import Lock, Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.device_pipeline import DevicePipeline
from planmath.linalg.generic.providers.routines import (
    ROUTINE,
    SOLVES,
    TRIANGLE,
    Routine,
    multiply,
    routines_of,
    too_many_loops,
)
from planmath.linalg.generic.providers.stored import (
    VectorRoutine,
    call_for_columns,
    multiply_by_vectors,
    routine_of,
)
from planmath.linalg.product.matrix import batch_loops
from planmath.linalg.product.pipeline import Region
from planmath.native.call import GIVE, HANDLE_WORDS, Call, Slot

#: What the letters of BLAS are to cuBLAS: ``cublasOperation_t``, and by their places those of structured routines.
OPERATION = {"N": 0, "T": 1, "C": 2}
LETTERS = ({"L": 0, "R": 1}, {"L": 0, "U": 1}, OPERATION, {"N": 0, "U": 1})
PLACES = {
    "gemm": (OPERATION, OPERATION), "syrk": (LETTERS[1], OPERATION), "herk": (LETTERS[1], OPERATION),
    "gbmv": (OPERATION,),
}  # fmt: skip
#: The narrow dtypes of which it has general products, from which compute capability on; its numbers for them, for sums
#: in single precision (``CUBLAS_COMPUTE_32F``), and for an algorithm of its choice.
LEAST_CAPABILITY = {"float16": (5, 3), "bfloat16": (8, 0)}
DATA_TYPE = {"float16": 2, "bfloat16": 14}
COMPUTE, DEFAULT_ALGORITHM = 68, -1
#: Bytes of temporary memory that cuBLAS wants, on compute capability 9.0 and later, and before (cuBLAS documentation,
#: "cublasSetWorkspace").
WORKSPACE, WORKSPACE_BEFORE = 32 << 20, 4 << 20
#: And what is enough where results are small: for so many partial results, at least so many bytes.
PARTIAL_RESULTS, LEAST_WORKSPACE = 64, 1 << 19
#: What is said of a way that begins with bringing a matrix in band or packed storage to all of its elements.
EXPANDED = {True: (("storage", "expanded"),), False: ()}
#: Products of a batch with more multiplications than this take longer than the launch of a routine for each of them.
LARGE_WORK = 1 << 26


class Handle(NamedTuple):
    """The library's handle for a device. Who uses it says on which stream, and holds the lock meanwhile."""

    address: int
    lock: Lock
    given: np.ndarray
    """What it was given last, as `native.call.GIVE` has it."""


@cache
def _shared_handle(device_id: int, process: int) -> Handle:
    address, given = bindings.cublas.create(), np.zeros(HANDLE_WORDS, np.intp)
    functions = [bindings.cublas.LIBRARY.address(f"cublasSet{what}_v2") for what in ("Stream", "Workspace")]
    given[:3] = address, *functions
    return Handle(address, Lock(), given)


class CublasProvider(Provider):
    """cuBLAS as a provider."""

    name = "cublas"

    def unavailable(self) -> str | None:
        return bindings.cublas.LIBRARY.missing or devices.missing()

    def version(self) -> str:
        return str(bindings.cublas._api.loaded_version)

    def path(self) -> str | None:
        return bindings.cublas.LIBRARY.path

    def unsupported(self, problem: ProductProblem) -> str | None:
        if problem.execution[0] != "cuda":
            return "it computes on CUDA devices only"
        if "dg" in problem.kinds:
            return "its products with a diagonal matrix have neither alpha nor c"
        return too_many_loops(problem)

    def algorithms(self, problem: ProductProblem) -> Sequence[Algorithm]:
        """Routines for vectors where these are few, the structured routine, and a general product of an expanded copy,
        which narrow dtypes have alone.

        cuBLAS has batches of general products only; the others are launched one by one.
        """
        routines = routines_of(problem)
        if _computes_narrow(problem):
            routines = [name for name in routines if name in ("gemm", TRIANGLE)]
        if any(extent > 1 for extent in problem.batch) and problem.m * problem.n * problem.k < LARGE_WORK:
            routines.reverse()
        by_vectors, _ = routine_of(problem)
        return [
            Algorithm(self.name, (("product", name), *EXPANDED[problem.stored_apart and name != by_vectors]))
            for name in routines
        ]

    def prepare(self, problem: ProductProblem, algorithm: Algorithm) -> Prepared:
        name = algorithm.get("product")
        by_vectors = name == routine_of(problem)[0]
        pipeline = DevicePipeline(problem, _computes_narrow(problem), halves=name in (ROUTINE["tr"], SOLVES))
        if not by_vectors:
            pipeline.one_structure()
        handle = begin(pipeline)
        if by_vectors:
            multiply_by_vectors(pipeline, name, lambda routine: _add_for_columns(pipeline, handle.address, routine))
        else:
            multiply(pipeline, name, lambda routine: _add(pipeline, handle.address, routine), in_place=False)
        pipeline.finish()
        return Prepared({None: Program(pipeline.calls, lock=handle.lock)}, pipeline.workspace_size)


def begin(pipeline: DevicePipeline) -> Handle:
    """The handle, which is given the stream and temporary memory first."""
    size = workspace_size(pipeline.problem)
    handle, call = prelude(pipeline.problem.execution[1], pipeline.stream, pipeline.reserve(size), size)
    pipeline.calls.append(call)
    return handle


def prelude(device_id: int, stream: Slot, workspace: Slot, size: int) -> tuple[Handle, Call]:
    """A device's handle, and what gives it a stream and temporary memory where it has others."""
    handle = _shared_handle(device_id, os.getpid())
    call = Call(
        GIVE, [handle.given.ctypes.data, stream, workspace, size], name="cublasSetStream, cublasSetWorkspace",
        returns_status=True, error=bindings.cublas.cuBLASError, keep=handle.given,
    )  # fmt: skip
    return handle, call


def _computes_narrow(problem: ProductProblem) -> bool:
    """Whether the library computes with the dtype of the operands, which is narrower than that of the factors.

    Its batches of such products ask for alignments that not every operand has; of small ones in single precision many
    are one launch.
    """
    least = LEAST_CAPABILITY.get(problem.d.dtype)
    if least is None or problem.a.structure.inverse:
        return False
    many = any(extent > 1 for extent in problem.batch) and problem.m * problem.n * problem.k < LARGE_WORK
    return not many and devices.device(problem.execution[1]).compute_capability >= least


def workspace_size(problem: ProductProblem) -> int:
    """Bytes of temporary memory for the library itself.

    Each plan has its own: executions on several streams, and graphs, must not share it.
    """
    most = WORKSPACE if devices.device(problem.execution[1]).compute_capability >= (9, 0) else WORKSPACE_BEFORE
    wanted = PARTIAL_RESULTS * problem.m * problem.n * ITEMSIZE[problem.work_dtype]
    return min(most, max(LEAST_WORKSPACE, -(-wanted // DevicePipeline.LINE) * DevicePipeline.LINE))


def _add(pipeline: DevicePipeline, handle: int, routine: Routine) -> None:
    """Add a routine to the calls; where alpha is 0, scaling takes its place."""
    alpha, beta = pipeline.scalars()
    d, is_general = routine.result, routine.name == ROUTINE["ge"]
    narrow = DATA_TYPE.get(pipeline.work)
    rest = [alpha, *routine.factors, *([beta] if routine.adds else []), d]
    regions = [region for region in rest if isinstance(region, Region)]
    places = PLACES.get(routine.name, LETTERS)
    numbers = [place[letter] for place, letter in zip(places, routine.letters, strict=False)]
    steps = [region.matrix.batch or (0,) * len(pipeline.batch) for region in regions]
    loops = batch_loops(pipeline.batch, steps)
    together = _longest(loops) if is_general and narrow is None else None
    arguments: list = [handle, *numbers, *routine.extents]
    for position, region in enumerate(regions):
        arguments.append(region.slot)
        if region is not alpha and region is not beta:
            arguments += [] if narrow is None else [narrow]
            arguments.append(region.matrix.leading[1])
            if together is not None:
                arguments.append(together[1][position])
    name = "Gemm" if narrow is not None else LETTER[pipeline.work].upper() + routine.name
    if together is not None:
        loops.remove(together)
        arguments.append(together[0])
        name += "StridedBatched"
    if narrow is not None:
        arguments += [COMPUTE, DEFAULT_ALGORITHM]
        name += "Ex"
    elif together is None:
        name += "_v2"
    sizes = [ITEMSIZE[region.matrix.dtype] for region in regions]
    decided = {"unless_zero": pipeline.condition} if pipeline.condition else {
        "unless_zero": pipeline.nonzero("alpha"),
        "if_zero": pipeline.without_product(d, "beta" if routine.adds else "alpha"),
    }  # fmt: skip
    in_bytes = [(count, [n * size for n, size in zip(by, sizes, strict=True)]) for count, by in loops]
    pipeline.calls.append(call_of(f"cublas{name}_64", arguments, loops=in_bytes, **decided))


def _add_for_columns(pipeline: DevicePipeline, handle: int, routine: VectorRoutine) -> None:
    """Add a routine for vectors to the calls, for each column of the result."""
    places = iter(PLACES.get(routine.name, LETTERS[1:]))

    def call(arguments: list, **options: object) -> None:
        words = [next(places)[x] if isinstance(x, str) else x for x in arguments]
        name = f"cublas{LETTER[pipeline.work].upper()}{routine.name}_v2_64"
        pipeline.calls.append(call_of(name, [handle, *words], **options))

    call_for_columns(pipeline, routine, call)


def _longest(loops: list[tuple[int, tuple[int, ...]]]) -> tuple[int, tuple[int, ...]] | None:
    """The loop over a batch that one call of the library makes: the longest one in which nothing runs backwards."""
    possible = [loop for loop in loops if min(loop[1]) >= 0]
    return max(possible, key=lambda loop: loop[0], default=None)


def call_of(function: str, arguments: list, **options: object) -> Call:
    address = bindings.cublas.LIBRARY.address(function)
    return Call(address, arguments, name=function, returns_status=True, error=bindings.cublas.cuBLASError, **options)
