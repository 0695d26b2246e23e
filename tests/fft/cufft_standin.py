"""What cuFFT does, done by NumPy on memory of the host, with the limits that cuFFT has.

It takes the library's place in planmath's provider, so that whatever the provider makes of a problem can be executed
where there is no device. The limits were found with cuFFT 12.0 on an H200.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from planmath.bindings import cufft, library_types, runtime
from planmath.core.cuda import device_code, devices, strided_copy
from planmath.fft.providers import cufft as provider
from tests.arrays import COMPLEX32, as_complex, as_complex32

INVALID_VALUE, INVALID_SIZE, NOT_SUPPORTED = (
    int(cufft.Result[name]) for name in ("INVALID_VALUE", "INVALID_SIZE", "NOT_SUPPORTED")
)
DTYPES = {
    int(library_types.CudaDataType[f"CUDA_{name}"]): np.dtype(dtype)
    for name, dtype in (
        ("R_16F", np.float16), ("R_32F", np.float32), ("R_64F", np.float64),
        ("C_16F", COMPLEX32), ("C_32F", np.complex64), ("C_64F", np.complex128),
    )
}  # fmt: skip
#: A stream and the size of every plan's work area.
STREAM, WORK_SIZE = 0x5EED, 48


class Side(NamedTuple):
    """The array that a plan reads or writes."""

    dtype: np.dtype
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    def at(self, address: int) -> np.ndarray:
        return array_at(address, self.dtype, self.shape, [step * self.dtype.itemsize for step in self.steps])


def array_at(address: int, dtype: np.dtype, shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    low = address + sum(min(0, (n - 1) * step) for n, step in zip(shape, strides, strict=True))
    span = dtype.itemsize + sum((n - 1) * abs(step) for n, step in zip(shape, strides, strict=True))
    memory = (ctypes.c_char * span).from_address(low)
    return np.ndarray(tuple(shape), dtype, memory, address - low, tuple(strides))


class Plan:
    """Refuses what cuFFT refuses."""

    def __init__(self, lengths: list[int], sides: list[tuple[list[int], int, int, int]], batch: int):
        self.lengths, self.stream, self.area = lengths, 0, 0
        self.sides = []
        types = [DTYPES[side[3]] for side in sides]
        self.kind = {(True, True): "C2C", (False, True): "R2C", (True, False): "C2R"}[
            tuple(dtype.kind in "cV" for dtype in types)  # type: ignore[index]
        ]
        if COMPLEX32 in types and any(n & (n - 1) for n in lengths):
            raise cufft.cuFFTError(NOT_SUPPORTED)
        for which, (embed, factor, distance, _) in enumerate(sides):
            if factor <= 0 or (batch > 1 and distance <= 0) or len(lengths) > 3:
                raise cufft.cuFFTError(INVALID_VALUE)
            if min(embed) < 0:
                raise cufft.cuFFTError(INVALID_SIZE)
            shape = list(lengths)
            if self.kind == ("C2R", "R2C")[which]:
                shape[-1] = shape[-1] // 2 + 1
            steps = [factor]
            for larger in reversed(embed[1:]):
                steps.insert(0, steps[0] * larger)
            self.sides.append(Side(types[which], (batch, *shape), (distance, *steps)))

    def execute(self, source: int, target: int, direction: int) -> int:
        read, written = self.sides
        complex_size = max(read.dtype.itemsize, written.dtype.itemsize)
        if source % complex_size or target % complex_size:
            return INVALID_VALUE
        assert self.stream == STREAM, "executed before the stream was set"
        assert self.area, "executed before the work area was set"
        array = read.at(source)
        values, axes = (
            as_complex(array).astype(complex if self.kind != "R2C" else float),
            tuple(range(1, len(self.lengths) + 1)),
        )
        if self.kind == "R2C":
            values = np.fft.rfftn(values, axes=axes)
        elif self.kind == "C2R":
            # What cuFFT makes of a spectrum that is not Hermitian is its affair, for some lengths of one axis as well.
            assert len(self.lengths) == 1, "several axes at once"
            ignored = values.imag[:, [0, -1] if self.lengths[0] % 2 == 0 else [0]]
            assert not ignored.any(), "not the spectrum of anything real"
            values = np.fft.irfftn(values, self.lengths, axes=axes, norm="forward")
            if read.steps[-1] != 1:
                array[...] = as_complex32(np.full(array.shape, np.nan)) if array.dtype == COMPLEX32 else np.nan
        elif direction < 0:
            values = np.fft.fftn(values, axes=axes)
        else:
            values = np.fft.ifftn(values, axes=axes, norm="forward")
        written.at(target)[...] = as_complex32(values) if written.dtype == COMPLEX32 else values
        array_at(self.area, np.dtype(np.uint8), [WORK_SIZE], [1])[...] = 0xAA
        return 0


class Standin:
    """Has what the provider uses of `planmath.bindings.cufft` and of `planmath.bindings.runtime`."""

    cuFFTError, Result, Type = cufft.cuFFTError, cufft.Result, cufft.Type
    MemcpyKind, CUDARuntimeError = runtime.MemcpyKind, runtime.CUDARuntimeError

    def __init__(self) -> None:
        self.plans: dict[int, Plan | None] = {}
        self.numbers = itertools.count(1)
        self.failure: BaseException | None = None
        integer, pointer, size = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
        self.functions = {
            name: ctypes.CFUNCTYPE(integer, *types)(self.guarded(function))
            for name, function, types in (
                ("cufftSetStream", self.set_stream, [integer, pointer]),
                ("cufftSetWorkArea", self.set_work_area, [integer, pointer]),
                ("cufftXtExec", self.execute, [integer, pointer, pointer, integer]),
                ("cudaMemcpy2DAsync", self.copy, [pointer, size, pointer, size, size, size, integer, pointer]),
                ("cudaMemset2DAsync", self.clear, [pointer, size, integer, size, size, pointer]),
                ("cudaLaunchKernel", self.launch, [size, size, size, size, size, pointer, size, pointer]),
            )
        }
        self.LIBRARY = self

    def address(self, name: str) -> int:
        return ctypes.cast(self.functions[name], ctypes.c_void_p).value or 0

    def guarded(self, function: Any) -> Any:
        """C cannot pass exceptions on: keep them for later."""

        def call(*arguments: int) -> int:
            try:
                return function(*arguments)
            except BaseException as error:
                self.failure = error
                return -1

        return call

    # What planning calls.

    def create(self) -> int:
        handle = next(self.numbers)
        self.plans[handle] = None
        return handle

    def set_auto_allocation(self, handle: int, auto: int) -> None:
        assert handle in self.plans
        assert auto == 0

    def xt_make_plan_many(
        self, handle: int, rank: int, lengths: list[int], inembed: list[int], istride: int, idist: int, itype: int,
        onembed: list[int], ostride: int, odist: int, otype: int, batch: int, execution: int,
    ) -> int:  # fmt: skip
        assert rank == len(lengths) == len(inembed) == len(onembed)
        assert DTYPES[int(execution)].kind in "cV"
        sides = [(inembed, istride, idist, int(itype)), (onembed, ostride, odist, int(otype))]
        self.plans[handle] = Plan(lengths, sides, batch)
        return WORK_SIZE

    def destroy(self, handle: int) -> None:
        del self.plans[handle]

    # What executing calls.

    def planned(self, handle: int) -> Plan:
        plan = self.plans[handle]
        assert plan is not None
        return plan

    def set_stream(self, handle: int, stream: int) -> int:
        self.planned(handle).stream = stream
        return 0

    def set_work_area(self, handle: int, area: int) -> int:
        self.planned(handle).area = area
        return 0

    def execute(self, handle: int, source: int, target: int, direction: int) -> int:
        return self.planned(handle).execute(source, target, direction)

    def copy(
        self, target: int, target_pitch: int, source: int, pitch: int, width: int, height: int, kind: int, stream: int
    ) -> int:
        assert kind == runtime.MemcpyKind.DEVICE_TO_DEVICE
        assert stream == STREAM
        if width > min(pitch, target_pitch) or max(pitch, target_pitch) >= 1 << 31:
            return 1
        byte = np.dtype(np.uint8)
        array_at(target, byte, [height, width], [target_pitch, 1])[...] = array_at(
            source, byte, [height, width], [pitch, 1]
        )
        return 0

    def clear(self, target: int, pitch: int, value: int, width: int, height: int, stream: int) -> int:
        assert stream == STREAM
        if height > 1 and not width <= pitch < 1 << 31:
            return 1
        array_at(target, np.dtype(np.uint8), [height, width], [pitch, 1])[...] = value
        return 0

    def launch(
        self, kernel: int, grid: int, grid_z: int, block: int, block_z: int, arguments: int, shared: int | None,
        stream: int,
    ) -> int:  # fmt: skip
        """The only kernel is `strided_copy`'s, which stands for itself by the size of its elements."""
        assert (grid >> 32, grid_z, block >> 32, block_z, shared or 0, stream) == (1, 1, 1, 1, 0, STREAM)
        assert 1 <= grid % 2**32 <= DEVICE.multiprocessors * strided_copy.BLOCKS
        at = array_at(arguments, np.dtype(np.uintp), [1], [8])[0]
        given = array_at(int(at), strided_copy.PARAMETERS, [1], [1])[0]
        axes = int(given["axes"])
        extents, read, written = ([int(n) for n in given[name][:axes]] for name in ("extents", "read", "written"))
        assert given["count"] == np.prod(extents, dtype=np.int64)
        for numbers in ([given["source"], *read], [given["target"], *written]):
            assert all(int(number) % kernel == 0 for number in numbers), "elements at no multiple of their size"
        element = np.dtype(f"V{kernel}")
        array_at(int(given["target"]), element, extents, written)[...] = array_at(
            int(given["source"]), element, extents, read
        )
        return 0


DEVICE = devices.Device(0, "stand-in", (9, 0), 4, 1 << 30, 1 << 20)


@contextmanager
def in_place_of_cufft(monkeypatch: Any, *, kernels: bool = True) -> Iterator[Standin]:
    """The provider with the stand-in for a library, and without devices; with kernels or only the driver's copies."""
    standin = Standin()
    with monkeypatch.context() as patch:
        patch.setattr(provider, "cufft", standin)
        patch.setattr(provider, "runtime", standin)
        patch.setattr(provider, "devices", _NoDevices)
        patch.setattr(strided_copy, "devices", _NoDevices)
        patch.setattr(device_code, "runtime", standin)
        patch.setattr(strided_copy, "available", lambda device_id: kernels)
        patch.setattr(strided_copy, "_kernel", lambda device_id, size, index: size)
        yield standin


class _NoDevices:
    @staticmethod
    def device(device_id: int) -> devices.Device:
        return DEVICE

    @staticmethod
    @contextmanager
    def on(device_id: int) -> Iterator[None]:
        yield
