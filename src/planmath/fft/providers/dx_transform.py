"""Transforms on CUDA devices by one kernel around a function of cuFFTDx's, with the callbacks inside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from planmath.bindings import mathdx
from planmath.core.cuda import device_code, devices
from planmath.core.cuda.mathdx import descriptors
from planmath.core.cuda.mathdx.codes import CodeType, ComputeCapability
from planmath.core.cuda.mathdx.descriptors import Description
from planmath.core.errors import UnavailableError
from planmath.fft.options import FFTDirection
from planmath.fft.problem import FFTProblem
from planmath.fft.providers.lines import Lines, lines_of
from planmath.native.call import Call, Slot

_PRECISIONS = {"float32": mathdx.CommondxPrecision.F32, "float64": mathdx.CommondxPrecision.F64}
_TRAITS = {
    "STORAGE_SIZE": "int", "STRIDE": "int", "SHARED_MEMORY_SIZE": "int", "FFTS_PER_BLOCK": "int", "INPUT_LENGTH": "int",
    "OUTPUT_LENGTH": "int", "INPUT_ELEMENTS_PER_THREAD": "int", "OUTPUT_ELEMENTS_PER_THREAD": "int",
}  # fmt: skip


def suits(problem: FFTProblem) -> bool:
    """Whether there is a function for it: of a batch of transforms along one axis without gaps."""
    lines = lines_of(problem)
    if lines is None or lines.steps != (1, 1) or descriptors.missing():
        return False
    return _traits(described(lines, problem.directions[0], _capability(problem))) is not None


def described(lines: Lines, direction: int, capability: tuple[int, int]) -> Description:
    """The function as libmathdx is told of it, with the number of transforms a block that it suggests."""
    operators: dict[str, Any] = {
        "SIZE": lines.length,
        "DIRECTION": mathdx.CufftdxDirection["FORWARD" if direction == FFTDirection.FORWARD else "INVERSE"],
        "TYPE": mathdx.CufftdxType[lines.kind],
        "PRECISION": _PRECISIONS[lines.precision],
        "SM": ComputeCapability(*capability).integer,
        "EXECUTION": mathdx.CommondxExecution.BLOCK,
        "API": mathdx.CufftdxApi.LMEM,
    }
    if lines.kind != "C2C":
        operators["REAL_FFT_OPTIONS"] = (int(mathdx.CufftdxComplexLayout.NATURAL), int(mathdx.CufftdxRealMode.NORMAL))
    numbers = ((name, value if isinstance(value, tuple) else int(value)) for name, value in operators.items())
    return Description("cufftdx", tuple(numbers))


@cache
def _traits(description: Description) -> tuple[Description, dict[str, Any]] | None:
    """The function with as many transforms a block as are suggested, and its traits; None where there is none."""
    try:
        per_block = descriptors.knob_values(description, ["FFTS_PER_BLOCK"])[0][0]
        chosen = description(FFTS_PER_BLOCK=per_block)
        return chosen, chosen.traits(kept=False, **_TRAITS)
    except (mathdx.LibMathDxError, IndexError):
        return None


def _capability(problem: FFTProblem) -> tuple[int, int]:
    return devices.device(problem.execution[1]).compute_capability


class Kernel:
    """The kernel for one direction.

    Parameters
    ----------
    lines : Lines
    direction : int
    capability : tuple of int
    """

    def __init__(self, lines: Lines, direction: int, capability: tuple[int, int]):
        found = _traits(described(lines, direction, capability))
        if found is None:
            raise UnavailableError("cuFFTDx has no transform of this length")
        self.lines, self.capability = lines, capability
        self.description, self.traits = found
        self.code_type = CodeType("lto", ComputeCapability(*capability))
        self.symbol = self.description.symbol("fft", self.code_type)

    @property
    def definitions(self) -> tuple[str, ...]:
        """The macros that fit the source to it."""
        of = self.traits
        return (
            *self.lines.definitions, f"FUNCTION={self.symbol}", f"LENGTH={self.lines.length}",
            f"THREADS={of['STRIDE']}", f"PER_BLOCK={of['FFTS_PER_BLOCK']}", f"STORAGE={of['STORAGE_SIZE']}",
            f"LOADED={of['INPUT_LENGTH']}", f"LOADED_EACH={of['INPUT_ELEMENTS_PER_THREAD']}",
            f"STORED={of['OUTPUT_LENGTH']}", f"STORED_EACH={of['OUTPUT_ELEMENTS_PER_THREAD']}",
        )  # fmt: skip

    def source(self) -> tuple[str, tuple[bytes, ...]]:
        """The source, and the LTO-IR that has to be linked to it: the function, which takes seconds to compile where it
        is not on disk, and callbacks."""
        before, pieces = self.lines.source(self.capability)
        try:
            function = self.description.compile(self.code_type, self.symbol).data
        except RuntimeError as error:
            raise UnavailableError(f"cuFFTDx's function cannot be compiled: {error}") from error
        return before + Path(__file__).with_suffix(".cu").read_text(), (*pieces, function)

    def calls(self, scale: float, operand: Slot, result: Slot, stream: Slot, device_id: int) -> list[Call]:
        text, pieces = self.source()
        kernel = device_code.linked_kernel(text, "dx_transform", device_id, self.definitions, pieces)
        per_block = self.traits["FFTS_PER_BLOCK"]
        return self.lines.launch(
            kernel, per_block, (self.traits["STRIDE"], per_block), self.traits["SHARED_MEMORY_SIZE"], scale, operand,
            result, stream, device_id,
        )  # fmt: skip


def calls(problem: FFTProblem) -> dict[int, list[Call]]:
    """What to call for each direction; the functions are compiled side by side."""
    lines = lines_of(problem)
    if lines is None:
        raise UnavailableError("one kernel of cuFFTDx's transforms along one axis")
    kernels = [Kernel(lines, direction, _capability(problem)) for direction in problem.directions]
    with ThreadPoolExecutor(len(kernels)) as pool:
        list(pool.map(Kernel.source, kernels))
    result = 0 if problem.inplace else 1
    return {
        direction: kernel.calls(
            problem.factor(direction), Slot(0), Slot(result), Slot(result + 2), problem.execution[1]
        )
        for direction, kernel in zip(problem.directions, kernels, strict=True)
    }
