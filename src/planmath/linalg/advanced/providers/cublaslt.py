"""Products by cuBLASLt, on CUDA devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath import bindings
from planmath.bindings import runtime
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.linalg.advanced.capabilities import AlgorithmCapabilities
from planmath.linalg.advanced.enums import MatmulComputeType, MatmulNumericalImplFlags, MatmulReductionScheme
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.problem import BLOCK_SCALING, FP4, NARROW, SCALED, SINGLE, MatmulProblem
from planmath.linalg.advanced.providers import cublaslt_algorithm
from planmath.linalg.advanced.providers.arrangement import (
    Arrangement,
    Clear,
    Copy,
    by_columns,
    transfer,
)
from planmath.linalg.advanced.providers.cublaslt_description import Description, DescriptionOfZeros, Transform
from planmath.linalg.product.matrix import ALIGNED
from planmath.linalg.product.pipeline import Region
from planmath.native.call import FAIL, MAX_LOOPS, Call, Slot

#: As many candidates as the library's heuristics ever return.
CANDIDATES = 8
#: Bytes of temporary memory that a kernel is offered: twice what cuBLAS takes by default on compute capability 9.0.
WORKSPACE = 64 << 20
ALL_IMPLEMENTATIONS, ALL_REDUCTIONS = int(MatmulNumericalImplFlags.ALL), int(MatmulReductionScheme.MASK)
#: Products with fewer multiplications may take the device no longer than launching them takes the host.
SMALL_WORK = 1 << 28
#: Microseconds that launches take the host more than the least (cuBLASLt 13.1, H100): where a second kernel adds up
#: what a first one left, and by the library's number of the algorithm.
SECOND_KERNEL, SLOW_LAUNCH = 3.0, {43: 4.5, 54: 2.3, 55: 2.3, 66: 1.5}
#: Microseconds by which a small product is expected to take the device longer with each next proposal of the
#: heuristics; and how many of them are looked at.
NEXT_PROPOSAL, PROPOSALS = 1.0, 3
#: The library's number of the algorithm that the heuristics propose for a c of one column, and that does not run there.
NO_SINGLE_COLUMN = {10}
#: And of those whose sums of int8 products end at the largest int32; others are modulo 2^32 (all: 13.1, H100).
SATURATING = {64}
#: Terms whose sum, of int8, int32 holds whatever they are.
SAFE_TERMS = (1 << 17) - 1
#: The compute capability that has products of these dtypes.
NEEDS_CAPABILITY = dict.fromkeys(NARROW, (8, 9)) | {"bfloat16": (8, 0), FP4: BLOCK_SCALING}


class CublasLtProvider(Provider):
    """cuBLASLt as a provider."""

    name = "cublaslt"

    def unavailable(self) -> str | None:
        return bindings.cublasLt.LIBRARY.missing or devices.missing()

    def version(self) -> str:
        return str(bindings.cublasLt.get_version())

    def path(self) -> str | None:
        return bindings.cublasLt.LIBRARY.path

    def unsupported(self, problem: MatmulProblem) -> str | None:
        if problem.execution[0] != "cuda" or problem.cuda is None:
            return "it computes on CUDA devices only"
        device = devices.device(problem.execution[1])
        needed = max(NEEDS_CAPABILITY.get(m.dtype, (0, 0)) for m in (problem.a, problem.b, problem.d))
        if device.compute_capability < needed:
            return (
                f"products of {problem.a.dtype} with results of {problem.d.dtype} need a device of compute capability "
                f"{_dotted(needed)} or later, and {device.name} has {_dotted(device.compute_capability)}"
            )
        blocks = problem.narrow is not None and bool(problem.narrow.blocks)
        if blocks and problem.d.dtype in SCALED and problem.d.leading[0] and EPILOGS[problem.epilog].column_major:
            return (
                f"c is row-major, and with {problem.epilog.name} it computes a column-major result, whose blocks with "
                "scales lie along its columns: pass a column-major copy of c"
            )
        loops = len(Arrangement(problem).walk.loops)
        if loops > MAX_LOOPS and not blocks:
            return f"it repeats a product over {MAX_LOOPS} batch axes that are not one in memory; these are {loops}"
        return None

    def algorithms(self, problem: MatmulProblem) -> Sequence[Algorithm]:
        """What the library's heuristics propose, in their order; of a small product, the first may be another one.

        Raises
        ------
        UnavailableError
            If that is nothing.
        """
        description = Description(problem, Arrangement(problem))
        found = description.heuristics(CANDIDATES, WORKSPACE, aligned=description.arrangement.aligned)
        algorithms = list(dict.fromkeys(cublaslt_algorithm.algorithm_of(self.name, result) for result in found))
        unfit = NO_SINGLE_COLUMN if description.arrangement.addend.leading == 0 else set()
        if problem.a.dtype == "int8" and problem.k > SAFE_TERMS:
            unfit = unfit | SATURATING
        algorithms = [algorithm for algorithm in algorithms if algorithm.get("id") not in unfit]
        if not algorithms:
            raise UnavailableError(_nothing_for(problem, description.arrangement))
        return sooner_first(algorithms) if problem.work < SMALL_WORK else algorithms

    def checked(self, problem: MatmulProblem, algorithm: Algorithm) -> Algorithm:
        """An algorithm that this problem's heuristics did not propose, with the temporary memory that it needs.

        Raises
        ------
        ValueError
            If it cannot compute the product.
        """
        description = Description(problem, Arrangement(problem))
        try:
            result = description.check(cublaslt_algorithm.struct_of(algorithm))
        except bindings.cublasLt.cuBLASLtError as error:
            raise ValueError(f"the algorithm {algorithm} cannot compute this product: {error}") from None
        assert problem.cuda is not None
        if result["workspace_size"] > problem.cuda.memory:
            raise ValueError(
                f"the algorithm {algorithm} needs {result['workspace_size']} bytes of temporary memory, and "
                f"options.memory_limit allows {problem.cuda.memory}"
            )
        return cublaslt_algorithm.algorithm_of(self.name, result)

    def algorithm_ids(self, problem: MatmulProblem, limit: int) -> tuple[int, ...]:
        """The library's numbers of at most `limit` algorithms for products of these dtypes."""
        return Description(problem, Arrangement(problem)).algorithm_ids(limit)

    def capabilities(self, algorithm: Algorithm) -> AlgorithmCapabilities:
        """What the algorithm's knobs can be set to."""
        return cublaslt_algorithm.capabilities(algorithm)

    def configured(self, algorithm: Algorithm, knob: str, value: Any) -> Algorithm:
        """The algorithm with another value of a knob. Raises ValueError where it cannot have it."""
        return cublaslt_algorithm.configured(algorithm, knob, value)

    def prepare(self, problem: MatmulProblem, algorithm: Algorithm) -> Prepared:
        arrangement = Arrangement(problem)
        description = Description(problem, arrangement)
        chosen = cublaslt_algorithm.struct_of(algorithm)
        size = algorithm.get("_workspace")
        other = None
        if arrangement.aligned:  # later operands, and results that the user passes in, may be anywhere
            others = description.heuristics(1, WORKSPACE, aligned=False)
            if len(others):
                size = max(size, int(others[0]["workspace_size"]))
                other = others[:1]["algo"].copy()
        if arrangement.zeros_size <= description.choices.memory:
            size = max(size, arrangement.zeros_size)
        workspace = arrangement.reserve(size) if size else 0
        calls = [self._around(arrangement, step) for step in arrangement.before]
        unless: dict[str, Any] = {}
        if arrangement.zeros_size:
            nonzero = (arrangement.slot("alpha"), description.choices.scale)
            clear, of_zeros = self._where_alpha_is_zero(description, workspace, size)
            unless = {"unless_zero": nonzero, "if_zero": of_zeros}
            calls.append(description.instead(clear, nonzero))
        for moved in arrangement.rounds():
            offsets = dict(zip(arrangement.moving_pointers, moved[len(arrangement.factors) :], strict=True))
            for name, region in arrangement.pointers.items():
                calls += self._pointer(description, name, _moved(region, offsets.get(name, 0)))
            second = None if other is None else self._product(description, other, workspace, size, moved)
            calls.append(self._product(description, chosen, workspace, size, moved, second, **unless))
        calls += [self._around(arrangement, step) for step in arrangement.after]
        return Prepared({None: Program(calls)}, arrangement.workspace_size)

    def _pointer(self, description: Description, name: str, region: Region) -> list[Call]:
        """Calls that leave an address in the description.

        Kernels load several numbers of a bias or an auxiliary matrix at a time, wherever these are: of a bias that is
        not aligned they get a copy; a matrix that is not, or scales of blocks, are an error before they do harm.
        """
        arrangement = description.arrangement
        if arrangement.is_temporary(region) or region.matrix is SINGLE:
            return description.set_pointer(name, region.slot)
        if "bias" not in arrangement.epilog.inputs or name != "BIAS_POINTER":
            return description.set_pointer(name, region.slot, description.refusal())
        copy = Copy(region, arrangement.temporary(by_columns(region.matrix), region.matrix.dtype))
        return [
            description.when_unaligned(region.slot, self._around(arrangement, copy)),
            *description.set_pointer(name, region.slot, copy.target.slot),
        ]

    def _product(
        self, description: Description, struct: np.ndarray, workspace: Slot | int, size: int, moved: tuple[int, ...],
        other: Call | None = None, **options: Any,
    ) -> Call:  # fmt: skip
        """The call of ``cublasLtMatmul``; `other` is made in its place where an address is not aligned."""
        arrangement = description.arrangement
        (first, a), (second, b), (addend, c), (result, d) = (
            (_moved(factor.region, offset).slot, layout.address)
            for factor, layout, offset in zip(arrangement.factors, description.layouts, moved, strict=False)
        )
        arguments = [
            description.handle, description.address, arrangement.slot("alpha"), first, a, second, b,
            arrangement.slot("beta"), addend, c, result, d, struct.ctypes.data, workspace, size, arrangement.stream,
        ]  # fmt: skip
        walking = {3: 0, 5: 1, 8: 2, 10: 3}  # which participant of the walk is at which argument
        slots = [place for place, argument in enumerate(arguments) if isinstance(argument, Slot)]
        loops = [
            (count, [by[walking[place]] if place in walking else 0 for place in slots])
            for count, by in ([] if arrangement.one_by_one else arrangement.walk.loops)
        ]
        return Call(
            bindings.cublasLt.LIBRARY.address("cublasLtMatmul"), arguments, name="cublasLtMatmul", returns_status=True,
            error=_failure, loops=loops, keep=(description, struct), unaligned=other,
            alignment=ALIGNED if other is not None else 1, aligned_slots=len(slots) - 1,  # the last one is the stream's
            **options,
        )  # fmt: skip

    def _where_alpha_is_zero(self, description: Description, zeros: Slot | int, size: int) -> tuple[Call, Call]:
        """Zeros, and their product, in the product's place: kernels would multiply by alpha whatever a and b hold."""
        arrangement = description.arrangement
        if not isinstance(zeros, Slot) or size < arrangement.zeros_size:
            return (_no_zeros(f"it needs {arrangement.zeros_size} bytes, more than options.memory_limit allows"),) * 2
        of_zeros = DescriptionOfZeros(description, zeros)
        found = of_zeros.heuristics(1, 0, aligned=False)
        if not len(found) and arrangement.aligned:  # as for FP8
            found = of_zeros.heuristics(1, 0, aligned=True)
        if not len(found):
            return (_no_zeros("cuBLASLt has no kernel that does without them"),) * 2
        moved = (0,) * len(arrangement.walk.steps)
        clear = self._around(arrangement, Clear(zeros, arrangement.zeros_size))
        return clear, self._product(of_zeros, found[:1]["algo"].copy(), 0, 0, moved)

    def _around(self, arrangement: Arrangement, step: Copy | Clear) -> Call:
        """A call before or after the product."""
        if isinstance(step, Clear):
            return Call(
                runtime.LIBRARY.address("cudaMemsetAsync"), [step.slot, 0, step.size, arrangement.stream],
                name="cudaMemsetAsync", returns_status=True, error=runtime.CUDARuntimeError,
            )  # fmt: skip
        made = transfer(arrangement.problem.batch, step)
        transform = Transform(arrangement.problem, step.source.matrix.dtype, made)
        source, target = (layout.address for layout in transform.layouts)
        arguments = [
            transform.handle, transform.address, transform.one, step.source.slot, source, transform.zero, 0, 0,
            step.target.slot, target, arrangement.stream,
        ]  # fmt: skip
        function = "cublasLtMatrixTransform"
        loops = [(count, [*by, 0]) for count, by in made.walk.loops]
        return Call(
            bindings.cublasLt.LIBRARY.address(function), arguments, name=function, returns_status=True,
            error=bindings.cublasLt.cuBLASLtError, loops=loops, keep=transform,
        )  # fmt: skip


def sooner_first(algorithms: list[Algorithm]) -> list[Algorithm]:
    """The heuristics' proposals for a small product, with the one first that is expected to be done first.

    The heuristics rank by the device's time. Executions that follow each other wait for the host where launching takes
    longer than that, and the result of a single one is there after the sum of both.
    """

    def cost(place: int) -> float:
        algorithm = algorithms[place]
        adds_up = algorithm.get("reduction_scheme") > MatmulReductionScheme.INPLACE
        return NEXT_PROPOSAL * place + SECOND_KERNEL * adds_up + SLOW_LAUNCH.get(algorithm.get("id"), 0.0)

    best = min(range(len(algorithms[:PROPOSALS])), key=cost)
    return [algorithms[best], *algorithms[:best], *algorithms[best + 1 :]]


def _moved(region: Region, offset: int) -> Region:
    """The region so many bytes further."""
    return region._replace(slot=region.slot._replace(offset=region.slot.offset + offset))


def _failure(status: int, function: str) -> Exception:
    error = bindings.cublasLt.cuBLASLtError(status, function)
    if status == bindings.cublasLt.Status.NOT_SUPPORTED:
        error.add_note(
            f"Nothing was launched. Products of FP8 and int8 need operands, and out, at multiples of {ALIGNED} bytes "
            "in memory, as those were that the plan was made for: copy what is not."
        )
    return error


def _no_zeros(reason: str) -> Call:
    """A call that fails, in place of a product with an alpha of 0."""

    def error(status: int, name: str) -> UnavailableError:
        return UnavailableError(
            f"alpha is 0, and this product cannot be computed without its operands: {reason}; reset alpha, or scale c "
            "by itself"
        )

    return Call(FAIL, [1], name="alpha of 0", returns_status=True, error=error)


def _nothing_for(problem: MatmulProblem, arrangement: Arrangement) -> str:
    """Why there is no kernel, as far as can be told."""
    device = devices.device(problem.execution[1])
    assert problem.cuda is not None
    what = f"{problem.a.dtype} with results of {problem.d.dtype}, {MatmulComputeType(problem.cuda.compute_type).name}"
    if EPILOGS[problem.epilog] != EPILOGS[problem.epilog.DEFAULT]:
        what += f" and the epilog {problem.epilog.name}"
    reasons = []
    if not arrangement.aligned:
        reasons.append(f"an operand is not at a multiple of {ALIGNED} bytes in memory: copy it")
    if problem.cuda != problem.cuda._replace(implementations=ALL_IMPLEMENTATIONS, reductions=ALL_REDUCTIONS, waves=0.0):
        reasons.append("preferences restrict the choice: leave them away")
    return (
        f"cuBLASLt {bindings.cublasLt.get_version()} has no kernel for products of {what}, on {device.name} of compute "
        f"capability {_dotted(device.compute_capability)}{'; ' * bool(reasons)}{'; '.join(reasons)}"
    )


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
