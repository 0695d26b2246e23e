"""`FFT` in the simulator: the library's distribution of elements over threads, and SciPy's transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft as scipy_fft

from planmath.device.simulator import SimulationError
from planmath.device.simulator.memory import check_written
from planmath.device.value_types import half2, half4, host_dtype, value_type_number

if TYPE_CHECKING:
    from planmath.device.fft import FFT


def execute(thread: Any, fft: FFT, first: Any, second: Any = None) -> None:
    """Transform registers, or shared memory, of this thread or of its block."""
    dtype = host_dtype(fft.value_type)
    check_array("FFT.execute", first, dtype, fft.value_type)
    if (second is not None or fft.execution == "Thread") and first.size < fft.storage_size:
        raise SimulationError(
            f"FFT.execute needs {fft.storage_size} elements in registers (storage_size), and has {first.size}"
        )
    if fft.execution == "Thread":
        if second is not None:
            raise SimulationError("FFT.execute takes the registers alone for execution='Thread'")
        _transform_registers(fft, [first], 1)
        return
    name = "FFT.execute"
    check_block(thread, fft.block_dim, name)
    scratch = first if second is None else second
    if scratch.nbytes < fft.shared_memory_size:
        raise SimulationError(
            f"{name} needs {fft.shared_memory_size} bytes of shared memory (shared_memory_size), "
            f"and has {scratch.nbytes}"
        )
    if second is None:
        place = first.__array_interface__["data"][0]
        thread.together(name, (fft.key, place), None, lambda _: _transform_shared(fft, first))
    else:
        thread.together(
            name, (fft.key, "registers"), first, lambda all_: _transform_registers(fft, all_, fft.block_dim.y)  # type: ignore[union-attr]
        )


def check_array(name: str, array: Any, dtype: np.dtype, told: Any) -> None:
    if not isinstance(array, np.ndarray):
        raise SimulationError(f"{name} takes an array, not {type(array).__name__}")
    if np.dtype(array.dtype) != dtype and not (dtype.names and array.dtype.names == dtype.names):
        raise SimulationError(f"{name} takes an array of {told!r}, not of {array.dtype}")


def check_block(thread: Any, wanted: Any, name: str) -> None:
    if wanted is not None and thread.block.extents != tuple(wanted):
        raise SimulationError(f"{name} is for a block of {tuple(wanted)} (block_dim), not of {thread.block.extents}")


# One side of a transform: what its elements are, and how many.


def _side(fft: FFT, output: bool) -> tuple[bool, int, int]:
    """Whether an element of the registers is one real number, how many elements there are, and how many of a thread."""
    kind = fft.output_type if output else fft.input_type
    real = kind in (np.float32, np.float64) or kind == half2
    length = fft.output_length if output else fft.input_length
    return real, length, fft.output_elements_per_thread if output else fft.input_elements_per_thread


def _transform_registers(fft: FFT, registers: Sequence[np.ndarray], groups: int) -> None:
    if len({each.__array_interface__["data"][0] for each in registers}) < len(registers):
        raise SimulationError("FFT.execute got the same registers from several threads: take cuda.local.array")
    stack = np.stack([np.asarray(each) for each in registers]).reshape(groups, -1, len(registers[0]))
    real, length, count = _side(fft, False)
    values = _elements(fft, stack, real)[..., :count]  # (part, group, thread, register)
    values = np.moveaxis(values, -1, -2)
    values = values.reshape(*values.shape[:2], -1)[..., :length]
    check_written("FFT.execute", "registers", values)
    result = _transform(fft, values)
    real, length, count = _side(fft, True)
    threads = stack.shape[1]
    padded = np.zeros((*result.shape[:2], count * threads), result.dtype)
    padded[..., :length] = result[..., : count * threads]
    dealt = np.moveaxis(padded.reshape(*padded.shape[:2], count, threads), -1, -2)
    _store(fft, registers, dealt.reshape(dealt.shape[0], -1, count), real)


def _elements(fft: FFT, stack: np.ndarray, real: bool) -> np.ndarray:
    """Elements of registers, as numbers: half precision holds two transforms, which are the first axis."""
    if fft.value_type == half4:
        halves = np.ascontiguousarray(stack).view(np.float16)
        if real:
            return np.moveaxis(halves.reshape(*stack.shape[:-1], -1, 2), -1, 0).astype(np.float32)
        parts = np.moveaxis(halves.reshape(*stack.shape, 4), -1, 0).astype(np.float32)
        return parts[:2] + 1j * parts[2:]
    return (stack.view(fft.precision) if real else stack)[None]


def _store(fft: FFT, registers: Sequence[np.ndarray], values: np.ndarray, real: bool) -> None:
    count = values.shape[-1]
    for number, each in enumerate(registers):
        if fft.value_type == half4:
            target = np.asarray(each).view(np.float16)
            if real:
                target[: 2 * count].reshape(count, 2)[:] = values[:, number].T
            else:
                parts = np.concatenate([values[:, number].real, values[:, number].imag])
                target[: 4 * count].reshape(count, 4)[:] = parts.T
        else:
            target = np.asarray(each)
            (target.view(fft.precision) if real else target)[:count] = values[0, number]


def _transform_shared(fft: FFT, shared: np.ndarray) -> None:
    groups = fft.ffts_per_block // fft.implicit_type_batching
    flat = np.asarray(shared)
    real, length, _ = _side(fft, False)
    values = _elements(fft, flat[None], real)[:, 0]
    if values.shape[-1] < groups * length:
        raise SimulationError(
            f"FFT.execute transforms {groups} x {length} elements in shared memory, which has {values.shape[-1]}"
        )
    values = values[:, : groups * length].reshape(-1, groups, length)
    check_written("FFT.execute", "shared memory", values)
    result = _transform(fft, values)
    real = _side(fft, True)[0]
    _store(fft, [flat], result.reshape(len(result), 1, -1), real)


# The transforms themselves, along the last axis.


def _transform(fft: FFT, x: np.ndarray) -> np.ndarray:
    n = fft.size
    options = fft.real_fft_options or {"complex_layout": "natural", "real_mode": "normal"}
    layout, folded = options["complex_layout"], options["real_mode"] == "folded"
    if fft.fft_type == "c2c":
        transform = scipy_fft.fft if fft.direction == "forward" else scipy_fft.ifft
        return transform(x, norm="backward" if fft.direction == "forward" else "forward")
    if fft.fft_type == "r2c":
        if folded:
            x = np.ascontiguousarray(x).view(x.real.dtype)
        found = scipy_fft.rfft(x)
        if layout == "packed":
            packed = found[..., : n // 2].copy()
            packed[..., 0] = found[..., 0].real + 1j * found[..., n // 2].real
            return packed
        return scipy_fft.fft(x) if layout == "full" else found
    if layout == "packed":
        whole = np.concatenate([x, x[..., :1].imag + 0j], axis=-1).astype(x.dtype)
        whole[..., 0] = x[..., 0].real
        x = whole
    found = scipy_fft.irfft(x[..., : n // 2 + 1], n, norm="forward")
    return found.view(_complex_of(found.dtype)) if folded else found


def _complex_of(dtype: np.dtype) -> Any:
    return np.complex64 if dtype == np.float32 else np.complex128


# Where there is no libmathdx to ask.


def traits(fft: FFT, chosen: Mapping[str, int]) -> dict[str, Any]:
    """Traits by a rule of the simulator's: as many threads as leave at most 16 elements to each."""
    from planmath.device.value_types import Complex, complex32

    half = fft.precision is np.float16
    options = fft.real_fft_options or {"complex_layout": "natural", "real_mode": "normal"}
    folded = options["real_mode"] == "folded" and fft.fft_type != "c2c"
    elements = fft.size if fft.execution == "Thread" else chosen.get("elements_per_thread") or min(16, max(2, fft.size))
    points = fft.size // 2 if folded else fft.size
    per_thread = -(-elements // 2) if folded else elements
    stride = 1 if fft.execution == "Thread" else -(-points // per_thread)
    value = half4 if half else Complex(fft.precision)
    real = value if folded else (half2 if half else fft.precision)
    kinds = {"c2c": (value, value), "r2c": (real, value), "c2r": (value, real)}[fft.fft_type]
    spectrum = {"natural": fft.size // 2 + 1, "packed": fft.size // 2, "full": fft.size}[options["complex_layout"]]
    lengths = {"c2c": (fft.size,) * 2, "r2c": (points, spectrum), "c2r": (spectrum, points)}[fft.fft_type]
    counts = [-(-length // stride) for length in lengths]
    size = host_dtype(value).itemsize
    storage = max(-(-count * host_dtype(kind).itemsize // size) for count, kind in zip(counts, kinds, strict=True))
    ffts = chosen.get("ffts_per_block") or (2 if half else 1)
    numbers = [8 if kind is complex32 else value_type_number(kind) for kind in (value, *kinds)]
    return {
        "VALUE_TYPE": numbers[0], "INPUT_TYPE": numbers[1], "OUTPUT_TYPE": numbers[2],
        "IMPLICIT_TYPE_BATCHING": 1 + half, "ELEMENTS_PER_THREAD": elements, "STORAGE_SIZE": storage, "STRIDE": stride,
        "INPUT_LENGTH": lengths[0], "OUTPUT_LENGTH": lengths[1], "INPUT_ELEMENTS_PER_THREAD": counts[0],
        "OUTPUT_ELEMENTS_PER_THREAD": counts[1], "BLOCK_DIM": [stride, ffts // (1 + half), 1],
        "SHARED_MEMORY_SIZE": ffts // (1 + half) * fft.size * size, "FFTS_PER_BLOCK": ffts,
    }  # fmt: skip


def valid(fft: FFT, knobs: Sequence[str], fixed: Mapping[str, int]) -> list[tuple[int, ...]]:
    """Combinations of knobs by the simulator's rule."""
    least = 2 if fft.precision is np.float16 else 1
    choices = {"elements_per_thread": (16, 8, 4, 2, 32), "ffts_per_block": (4, 2, 8) if least == 2 else (4, 1, 2, 8)}
    every = [
        {"elements_per_thread": elements, "ffts_per_block": ffts}
        for ffts in choices["ffts_per_block"]
        for elements in choices["elements_per_thread"]
        if elements <= fft.size and -(-fft.size // elements) * ffts <= 1024
    ]
    fitting = [each for each in every if all(each[name] == value for name, value in fixed.items())]
    return list(dict.fromkeys(tuple(each[knob] for knob in knobs) for each in fitting))
