"""Products by cuBLAS, on CUDA devices: general ones, and those with a factor of which a triangle is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from planmath import bindings
from planmath.bindings.blas import LETTER
from planmath.core.arrays import ITEMSIZE
from planmath.core.cuda import devices
from planmath.core.executor import Lock, Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.device_pipeline import DevicePipeline
from planmath.linalg.generic.providers.routines import Routine, multiply, routines_of, too_many_loops
from planmath.linalg.product.matrix import batch_loops
from planmath.linalg.product.pipeline import Region
from planmath.native.call import Call

#: What the letters of BLAS are to cuBLAS: ``cublasOperation_t``, and by their places those of structured routines.
OPERATION = {"N": 0, "T": 1, "C": 2}
LETTERS = ({"L": 0, "R": 1}, {"L": 0, "U": 1}, OPERATION, {"N": 0, "U": 1})
#: Bytes of temporary memory that cuBLAS wants, on compute capability 9.0 and later, and before (cuBLAS documentation,
#: "cublasSetWorkspace").
WORKSPACE, WORKSPACE_BEFORE = 32 << 20, 4 << 20
#: And what is enough where results are small: for so many partial results, at least so many bytes.
PARTIAL_RESULTS, LEAST_WORKSPACE = 64, 1 << 19
#: Products of a batch with more multiplications than this take longer than the launch of a routine for each of them.
LARGE_WORK = 1 << 26


class Handle(NamedTuple):
    """The library's handle for a device. Who uses it says on which stream, and holds the lock meanwhile."""

    address: int
    lock: Lock


@cache
def _shared_handle(device_id: int, process: int) -> Handle:
    return Handle(bindings.cublas.create(), Lock())


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
        if problem.stored_apart:
            return "it has no routine for band and packed storage: pass execution='cpu', and operands are copied"
        if "dg" in problem.kinds:
            return "its products with a diagonal matrix have neither alpha nor c"
        return too_many_loops(problem)

    def algorithms(self, problem: ProductProblem) -> Sequence[Algorithm]:
        """The structured routine, and a general product of an expanded copy.

        cuBLAS has batches of general products only; the others are launched one by one.
        """
        routines = routines_of(problem)
        if any(extent > 1 for extent in problem.batch) and problem.m * problem.n * problem.k < LARGE_WORK:
            routines.reverse()
        return [Algorithm(self.name, (("product", routine),)) for routine in routines]

    def prepare(self, problem: ProductProblem, algorithm: Algorithm) -> Prepared:
        pipeline = DevicePipeline(problem)
        pipeline.one_structure()
        handle = _shared_handle(problem.execution[1], os.getpid())
        size = workspace_size(problem)
        workspace = pipeline.reserve(size)
        for function, arguments in (
            ("cublasSetStream_v2", [handle.address, pipeline.stream]),
            ("cublasSetWorkspace_v2", [handle.address, workspace, size]),  # the stream took the one before away
        ):
            pipeline.calls.append(_call(function, arguments))
        multiply(
            pipeline, algorithm.get("product"), lambda routine: _add(pipeline, handle.address, routine), in_place=False
        )
        pipeline.finish()
        return Prepared({None: Program(pipeline.calls, lock=handle.lock)}, pipeline.workspace_size)


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
    d = routine.result
    rest = [alpha, *routine.factors, *([beta] if routine.adds else []), d]
    regions = [region for region in rest if isinstance(region, Region)]
    places = [OPERATION] * 2 if routine.name == "gemm" else LETTERS
    numbers = [place[letter] for place, letter in zip(places, routine.letters, strict=False)]
    steps = [region.matrix.batch or (0,) * len(pipeline.batch) for region in regions]
    loops = batch_loops(pipeline.batch, steps)
    together = _longest(loops) if routine.name == "gemm" else None
    arguments: list = [handle, *numbers, *routine.extents]
    for position, region in enumerate(regions):
        arguments.append(region.slot)
        if region is not alpha and region is not beta:
            arguments.append(region.matrix.leading[1])
            if together is not None:
                arguments.append(together[1][position])
    name = f"cublas{LETTER[pipeline.work].upper()}{routine.name}"
    if together is not None:
        loops.remove(together)
        arguments.append(together[0])
        name += "StridedBatched_64"
    else:
        name += "_v2_64"
    sizes = [ITEMSIZE[region.matrix.dtype] for region in regions]
    pipeline.calls.append(
        _call(
            name, arguments, loops=[(count, [n * size for n, size in zip(by, sizes, strict=True)])
            for count, by in loops], unless_zero=pipeline.nonzero("alpha"),
            if_zero=pipeline.without_product(d, "beta" if routine.adds else "alpha"),
        )
    )  # fmt: skip


def _longest(loops: list[tuple[int, tuple[int, ...]]]) -> tuple[int, tuple[int, ...]] | None:
    """The loop over a batch that one call of the library makes: the longest one in which nothing runs backwards."""
    possible = [loop for loop in loops if min(loop[1]) >= 0]
    return max(possible, key=lambda loop: loop[0], default=None)


def _call(function: str, arguments: list, **options: object) -> Call:
    address = bindings.cublas.LIBRARY.address(function)
    return Call(address, arguments, name=function, returns_status=True, error=bindings.cublas.cuBLASError, **options)
