"""`FFT`: Fourier transforms inside kernels, by cuFFTDx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from planmath.core.cuda.mathdx import descriptors
from planmath.core.cuda.mathdx.descriptors import Description
from planmath.device import inside
from planmath.device.function import Choice, DeviceFunction, choose, positive
from planmath.device.targets import Code, CodeType, Dim3, check_code_type, target
from planmath.device.value_types import PRECISION, precision, value_type

DIRECTIONS = ("forward", "inverse")
TYPES = ("c2c", "r2c", "c2r")
LAYOUTS = ("natural", "packed", "full")
MODES = ("normal", "folded")
EXECUTIONS = ("Block", "Thread")
KNOBS = {"elements_per_thread": "ELEMENTS_PER_THREAD", "ffts_per_block": "FFTS_PER_BLOCK"}
APIS = {"register_memory": "LMEM", "shared_memory": "SMEM"}

#: What is asked of libmathdx.
_TRAITS = {
    "VALUE_TYPE": "type", "INPUT_TYPE": "type", "OUTPUT_TYPE": "type", "IMPLICIT_TYPE_BATCHING": "int",
    "ELEMENTS_PER_THREAD": "int", "STORAGE_SIZE": "int", "STRIDE": "int", "INPUT_LENGTH": "int",
    "OUTPUT_LENGTH": "int", "INPUT_ELEMENTS_PER_THREAD": "int", "OUTPUT_ELEMENTS_PER_THREAD": "int",
}  # fmt: skip
_BLOCK_TRAITS = {"BLOCK_DIM": "int3", "SHARED_MEMORY_SIZE": "int", "FFTS_PER_BLOCK": "int"}


class FFT(DeviceFunction):
    """A transform that threads of a kernel execute, together or each its own.

    Parameters
    ----------
    size : int
        Points of a transform.
    precision : {numpy.float16, numpy.float32, numpy.float64}
    fft_type : {'c2c', 'r2c', 'c2r'}
    execution : {'Block', 'Thread'}
        Whether all threads of a block execute the transforms of the block together, or each thread one.
    sm : ComputeCapability or int, optional
        What code is made for; the current device's by default.
    direction : {'forward', 'inverse'}, optional
        May be left out for real transforms.
    ffts_per_block : int or 'suggested', optional
        Transforms of a block: 1 by default, and 2 in half precision, where a register holds two.
    elements_per_thread : int or 'suggested', optional
        By default what the library prefers.
    real_fft_options : dict, optional
        ``complex_layout`` ('natural', 'packed' or 'full') and ``real_mode`` ('normal' or 'folded').

    Attributes
    ----------
    value_type, input_type, output_type
        The elements of the registers, and of what they are filled with and hold afterwards.
    storage_size : int
        Elements of `value_type` for a thread's local array.
    stride : int
        Register i of thread t holds element t + i * stride.
    block_dim : Dim3 or None
        The block that executes; None for 'Thread'.
    shared_memory_size : int or None
        Bytes of dynamic shared memory that ``execute(registers, shared)`` needs, 0 where threads need not exchange
        anything; None for 'Thread'. ``execute(shared)`` needs room for the transforms of the block at least.
    implicit_type_batching : int
        Transforms in one register.

    Raises
    ------
    ValueError
        For what the library does not have, with the nearest that it has.

    Notes
    -----
    Nothing is scaled. In a kernel, ``fft.execute(registers, shared)`` transforms registers, with shared memory for
    scratch, ``fft.execute(shared)`` what lies in shared memory, transform behind transform, and, for 'Thread',
    ``fft.execute(registers)`` the thread's own.
    """

    def __init__(
        self,
        size: int,
        precision: Any,
        fft_type: str,
        execution: str,
        *,
        sm: Any = None,
        direction: str | None = None,
        ffts_per_block: int | str | None = None,
        elements_per_thread: int | str | None = None,
        real_fft_options: Mapping[str, str] | None = None,
    ):
        self.size = positive("size", size)
        self.precision = _precision(precision)
        self.fft_type = choose("fft_type", fft_type, TYPES)
        self.execution = choose("execution", execution, EXECUTIONS)
        self.direction = _direction(self.fft_type, direction)
        self.sm = target(sm)
        self.real_fft_options = _real_options(self.fft_type, real_fft_options)
        if self.real_fft_options and self.size % 2 and set(self.real_fft_options.values()) & {"packed", "folded"}:
            raise ValueError(f"packed and folded layouts are for even sizes, not {self.size}")
        for name, value in (("ffts_per_block", ffts_per_block), ("elements_per_thread", elements_per_thread)):
            if value is not None and value != "suggested":
                positive(name, value)
        if ffts_per_block is not None and self.execution == "Thread":
            raise ValueError("ffts_per_block is for execution='Block': a thread executes one transform")
        if isinstance(ffts_per_block, int) and self.precision is np.float16 and ffts_per_block % 2:
            raise ValueError(
                f"ffts_per_block is even in half precision, where a register holds two, not {ffts_per_block}"
            )
        self._asked = {"ffts_per_block": ffts_per_block, "elements_per_thread": elements_per_thread}
        self._resolve()

    def _resolve(self) -> None:
        elements, ffts = self._asked["elements_per_thread"], self._asked["ffts_per_block"]
        if elements == "suggested" or ffts == "suggested":
            knobs = [name for name, value in self._asked.items() if value == "suggested"]
            fixed = {name: value for name, value in self._asked.items() if isinstance(value, int)}
            first = next((each for each in self._valid(tuple(KNOBS), {}) if all(
                each[list(KNOBS).index(name)] == value for name, value in fixed.items())), None)  # fmt: skip
            if first is None:
                raise ValueError(f"no {' and '.join(knobs)} can be suggested for {self._spelled()} with {fixed}")
            suggested = dict(zip(KNOBS, first, strict=True))
            elements = suggested["elements_per_thread"] if elements == "suggested" else elements
            ffts = suggested["ffts_per_block"] if ffts == "suggested" else ffts
        self._chosen: dict[str, Any] = {
            name: value for name, value in (("elements_per_thread", elements), ("ffts_per_block", ffts)) if value
        }
        traits = self._traits(self._chosen)
        self.value_type = value_type(traits["VALUE_TYPE"])
        self.input_type, self.output_type = value_type(traits["INPUT_TYPE"]), value_type(traits["OUTPUT_TYPE"])
        self.implicit_type_batching = traits["IMPLICIT_TYPE_BATCHING"]
        self.elements_per_thread, self.storage_size = traits["ELEMENTS_PER_THREAD"], traits["STORAGE_SIZE"]
        self.stride = traits["STRIDE"]
        self.input_length, self.output_length = traits["INPUT_LENGTH"], traits["OUTPUT_LENGTH"]
        self.input_elements_per_thread = traits["INPUT_ELEMENTS_PER_THREAD"]
        self.output_elements_per_thread = traits["OUTPUT_ELEMENTS_PER_THREAD"]
        block = self.execution == "Block"
        self.ffts_per_block = traits["FFTS_PER_BLOCK"] if block else None
        self.block_dim = Dim3(*traits["BLOCK_DIM"]) if block else None
        self.shared_memory_size = traits["SHARED_MEMORY_SIZE"] if block else None

    def valid(self, *knobs: str) -> list[tuple[int, ...]]:
        """What combinations of knobs there are, the suggested one first.

        Parameters
        ----------
        *knobs : {'ffts_per_block', 'elements_per_thread'}
            In the order in which the tuples have them.
        """
        for knob in knobs:
            choose("a knob", knob, tuple(KNOBS))
        if not knobs or len(set(knobs)) < len(knobs):
            raise ValueError(f"name each knob once, of {', '.join(KNOBS)}, not {knobs!r}")
        fixed = {name: value for name, value in self._asked.items() if name not in knobs and isinstance(value, int)}
        return self._valid(knobs, fixed)

    # What libmathdx is told and asked.

    def _description(self, chosen: Mapping[str, int], api: str = "LMEM") -> Description:
        operators: dict[str, descriptors.Value] = {
            "SIZE": self.size,
            "DIRECTION": DIRECTIONS.index(self.direction),
            "TYPE": TYPES.index(self.fft_type),
            "PRECISION": _number(self.precision),
            "SM": self.sm.integer,
            "EXECUTION": Choice.EXECUTION[self.execution],
            "API": list(APIS.values()).index(api),
        }
        if self.real_fft_options:
            layout, mode = self.real_fft_options["complex_layout"], self.real_fft_options["real_mode"]
            operators["REAL_FFT_OPTIONS"] = (LAYOUTS.index(layout), MODES.index(mode))
        operators |= {KNOBS[name]: value for name, value in chosen.items()}
        return Description("cufftdx", tuple(operators.items()))

    def _traits(self, chosen: Mapping[str, int]) -> dict[str, Any]:
        from planmath.bindings import mathdx

        if inside.simulating() and descriptors.missing():
            from planmath.device.simulator import transforms

            return transforms.traits(self, chosen)
        descriptors.require()
        wanted = _TRAITS | (_BLOCK_TRAITS if self.execution == "Block" else {})
        try:
            return self._description(chosen).traits(kept=False, **wanted)
        except mathdx.LibMathDxError:
            raise ValueError(self._not_there(chosen)) from None

    def _valid(self, knobs: Sequence[str], fixed: Mapping[str, int]) -> list[tuple[int, ...]]:
        if self.execution == "Thread":
            return [(self._traits({})["ELEMENTS_PER_THREAD"],)] if tuple(knobs) == ("elements_per_thread",) else []
        if inside.simulating() and descriptors.missing():
            from planmath.device.simulator import transforms

            return transforms.valid(self, knobs, fixed)
        descriptors.require()
        try:
            return descriptors.knob_values(self._description(fixed), [KNOBS[knob] for knob in knobs])
        except RuntimeError:
            return []

    def _not_there(self, chosen: Mapping[str, int]) -> str:
        said = f"libmathdx {descriptors.library_version()} has no {self._spelled()}"
        if chosen and self._is_there({}):
            said += " with " + ", ".join(f"{name}={value}" for name, value in chosen.items())
            if self.execution == "Thread":
                return f"{said}: leave it out"
            there = self._valid(tuple(chosen), {})
            nearest = sorted(
                there, key=lambda each: sum(abs(a - b) for a, b in zip(each, chosen.values(), strict=True))
            )
            return f"{said}: the nearest {tuple(chosen)} are {', '.join(map(str, nearest[:4]))}"
        near: list[int] = []
        candidates = {*range(max(2, self.size - 64), self.size + 65), *_smooth(1 << 17)}
        for larger in (False, True):
            sizes = (n for n in sorted(candidates, key=lambda n: abs(n - self.size)) if (n > self.size) is larger)
            near += [found] if (found := next((n for n in sizes if self._is_there({}, n)), 0)) else []
        return said + (f": the nearest sizes are {' and '.join(map(str, sorted(near)))}" if near else "")

    def _is_there(self, chosen: Mapping[str, int], size: int | None = None) -> bool:
        description = self._description(chosen)
        with description(**({"SIZE": size} if size else {})).handle() as handle:
            return bool(description.function("is_supported")(handle))

    def _spelled(self) -> str:
        return f"{self.direction} {self.fft_type} transform of {self.size} {self.precision.__name__} for {self.sm}"

    # Code, and calls in kernels.

    @cached_property
    def key(self) -> tuple[Any, ...]:
        return ("FFT", self._description(self._chosen), str(self.sm))

    def execute(self, *args: Any) -> None:
        """Transform, in a kernel: ``(registers, shared)`` or ``(shared)`` for 'Block', ``(registers)`` for 'Thread'.

        Raises
        ------
        RuntimeError
            Outside of kernels.
        """
        thread = inside.thread("FFT.execute")
        from planmath.device.simulator import transforms

        transforms.execute(thread, self, *args)

    def _compile(self, code_type: CodeType, api: str) -> tuple[Code, str]:
        description = self._description(self._chosen, APIS[api])
        symbol = description.symbol("fft", code_type)
        return description.compile(code_type, symbol), symbol

    def __repr__(self) -> str:
        return f"<FFT: {self._spelled()}, {self.execution}, {self.elements_per_thread} elements a thread>"


def compile_fft_execute(fft: FFT, code_type: CodeType, execute_api: str | None = None) -> tuple[Code, str]:
    """The code of a transform for another compiler, and the name of its C function.

    Parameters
    ----------
    fft : FFT
    code_type : CodeType
    execute_api : {'register_memory', 'shared_memory'}, optional
        The function ``void (value *registers, void *shared)``, or ``void (value *shared)``. For 'Thread' it is
        ``void (value *registers)``.
    """
    api = choose("execute_api", execute_api or "register_memory", tuple(APIS))
    if api == "shared_memory" and fft.execution == "Thread":
        raise ValueError("execute_api='shared_memory' is for execution='Block'")
    return fft._compile(check_code_type(code_type), api)


def _smooth(limit: int) -> list[int]:
    """Numbers without prime factors above 7."""
    found = [1]
    for prime in (2, 3, 5, 7):
        for n in found:  # which grows meanwhile
            if n * prime <= limit:
                found.append(n * prime)  # noqa: PERF401
    return found


def _precision(given: Any) -> type:
    return precision("precision", given)


def _number(precision: type) -> int:
    from planmath.bindings import mathdx

    return int(mathdx.CommondxPrecision[PRECISION[precision]])


def _direction(fft_type: str, direction: str | None) -> str:
    implied = {"r2c": "forward", "c2r": "inverse"}.get(fft_type)
    if direction is None:
        if implied is None:
            raise ValueError("a complex transform has a direction: direction='forward' or 'inverse'")
        return implied
    choose("direction", direction, DIRECTIONS)
    if implied not in (None, direction):
        raise ValueError(f"the direction of a {fft_type} transform is {implied!r}, not {direction!r}")
    return direction


def _real_options(fft_type: str, given: Mapping[str, str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    if fft_type == "c2c":
        raise ValueError("real_fft_options are for real transforms")
    if set(given) != {"complex_layout", "real_mode"}:
        raise ValueError(f"real_fft_options has both complex_layout and real_mode, and no other key, not {given!r}")
    choose("complex_layout", given["complex_layout"], LAYOUTS)
    choose("real_mode", given["real_mode"], MODES)
    return dict(given)
