"""Kernels of planmath's own on CUDA devices: compiled by NVRTC when first needed, and launched by prepared calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np

from planmath.bindings import nvjitlink, nvrtc, runtime
from planmath.core import code_cache
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.native.call import STORE, Call, Slot
from planmath.native.library import MissingLibraryError

#: Stands before every source. Kernels are given addresses as `pointer`: for tests, where they run on the host, that is
#: a type that tells addresses of the device from others.
_PRELUDE = """
#ifndef PM_ON_HOST
template <class T> using pointer = T *;
#endif
"""

#: What elements are to kernels that have `numbers` in their source.
ELEMENTS = {
    "float16": "float16", "bfloat16": "bfloat16", "float32": "float", "float64": "double",
    "complex64": "complex<float>", "complex128": "complex<double>",
}  # fmt: skip


@cache
def numbers() -> str:
    """The source of these types, of what reads and writes them, and of their arithmetic."""
    return Path(__file__).with_name("numbers.cu").read_text()


@cache
def kernel(source: str, name: str, device_id: int, definitions: tuple[str, ...] = ()) -> int:
    """A kernel, ready to be launched; it stays loaded.

    Parameters
    ----------
    source : str
        CUDA C++, in which the kernel is ``extern "C"``.
    name : str
    device_id : int
    definitions : tuple of str
        Macros, as in ``INDEX=int``.

    Raises
    ------
    UnavailableError
        If NVRTC, or a runtime of CUDA 12.9 or newer, is missing.
    """
    return _ready(name, device_id, lambda capability: _load(source, capability, definitions))


@cache
def linked_kernel(
    source: str, name: str, device_id: int, definitions: tuple[str, ...], pieces: tuple[bytes, ...]
) -> int:  # fmt: skip
    """A kernel that calls functions of the user's.

    Parameters are those of `kernel`, and `pieces` of LTO-IR that have these functions. What was linked is kept on disk.
    """
    return _ready(name, device_id, lambda capability: _load_linked(source, capability, definitions, pieces))


def _ready(name: str, device_id: int, load: Callable[[tuple[int, int]], int]) -> int:
    try:
        return runtime.library_get_kernel(load(devices.device(device_id).compute_capability), name)
    except (MissingLibraryError, nvrtc.NVRTCError, nvjitlink.NvJitLinkError, runtime.CUDARuntimeError) as error:
        raise UnavailableError(f"planmath's own kernels cannot be used on CUDA device {device_id}: {error}") from error


@cache
def _load(source: str, capability: tuple[int, int], definitions: tuple[str, ...]) -> int:
    return _loaded(machine_code(_PRELUDE + source, capability, definitions))


@cache
def _load_linked(
    source: str, capability: tuple[int, int], definitions: tuple[str, ...], pieces: tuple[bytes, ...]
) -> int:  # fmt: skip
    return _loaded(linked_code(_PRELUDE + source, capability, definitions, pieces))


def _loaded(code: bytes) -> int:
    return runtime.library_load_data(np.frombuffer(code, np.uint8).ctypes.data, 0, 0, 0, 0, 0, 0)


def linked_code(
    source: str, capability: tuple[int, int], definitions: tuple[str, ...], pieces: tuple[bytes, ...]
) -> bytes:  # fmt: skip
    """Machine code of a source and pieces of LTO-IR: from disk, or linked now."""
    versions = nvrtc.version(), nvjitlink.version()
    name = code_cache.digest(source, capability, definitions, [sha256(piece).hexdigest() for piece in pieces], versions)
    architecture = f"sm_{capability[0]}{capability[1]}"

    def make() -> bytes:
        options = [f"--gpu-architecture={architecture}", "-dlto", *(f"-D{each}" for each in definitions)]
        own = nvrtc.compile_to_ltoir(source, options)
        return nvjitlink.link([own, *pieces], [f"-arch={architecture}", "-lto", "-O3"])

    return code_cache.get(name, make)


def machine_code(source: str, capability: tuple[int, int], definitions: tuple[str, ...]) -> bytes:
    """What NVRTC makes of a source: in up to a second the first time, but it keeps what it made on disk."""
    options = [f"--gpu-architecture=sm_{capability[0]}{capability[1]}", *(f"-D{each}" for each in definitions)]
    return nvrtc.compile_to_cubin(source, options)


#: Bytes of dynamic shared memory that a block may have without more ado.
USUAL_SHARED = 48 << 10


def allow_shared(kernel: int, size: int, device_id: int) -> None:
    """Let a kernel's blocks have so many bytes of dynamic shared memory.

    Raises
    ------
    UnavailableError
        If the device has less.
    """
    if size <= USUAL_SHARED:
        return
    attribute = runtime.FuncAttribute.MAX_DYNAMIC_SHARED_MEMORY_SIZE
    try:
        runtime.kernel_set_attribute_for_device(kernel, attribute, size, device_id)
    except (MissingLibraryError, runtime.CUDARuntimeError) as error:
        raise UnavailableError(
            f"CUDA device {device_id} cannot give a block {size} bytes of shared memory: {error}"
        ) from error


def launch(
    kernel: int, blocks: tuple[int, int], threads: int | tuple[int, int], parameters: np.ndarray, stream: Slot,
    keep: object = None, shared: int = 0, **options: Any,
) -> Call:  # fmt: skip
    """The launch of a kernel.

    Parameters
    ----------
    kernel : int
    blocks : tuple of int
        The extents of the grid in x and y.
    threads : int or tuple of int
        Of a block, in x, or in x and y.
    parameters : numpy.ndarray
        One record: the kernel's only parameter, which is read anew at each launch.
    stream : Slot
    keep : object
        Owns what else the kernel reads.
    shared : int
        Bytes of dynamic shared memory; see `allow_shared`.
    **options
        Of the `Call`.
    """
    width, height = threads if isinstance(threads, tuple) else (threads, 1)
    pointers = np.array([parameters.ctypes.data], np.uintp)
    return Call(
        # a dim3 by value takes two words: x and y, and z
        runtime.LIBRARY.address("cudaLaunchKernel"),
        [kernel, blocks[0] | blocks[1] << 32, 1, width | height << 32, 1, pointers.ctypes.data, shared, stream],
        name="cudaLaunchKernel", returns_status=True, error=runtime.CUDARuntimeError, keep=(parameters, pointers, keep),
        **options,
    )  # fmt: skip


class Launch:
    """A kernel that is launched again and again, with parameters of which some change from time to time.

    Parameters
    ----------
    kernel, blocks, threads, parameters
        As of `launch`.
    changing : str
        The field of the parameters, of 64-bit integers, that each launch gives anew.
    """

    def __init__(self, kernel: int, blocks: tuple[int, int], threads: int, parameters: np.ndarray, changing: str):
        self._made = kernel, blocks, threads, parameters, changing
        self._call = launch(kernel, blocks, threads, parameters, Slot(0))
        fields = parameters.dtype.fields
        assert fields is not None
        self._changing = memoryview(parameters.view(np.uint8))[fields[changing][1] :]  # type: ignore[arg-type]
        self._given: tuple[int, ...] = ()

    def __call__(self, stream: int, changing: tuple[int, ...]) -> None:
        if changing != self._given:
            _words(len(changing)).pack_into(self._changing, 0, *changing)
            self._given = changing
        if status := self._call(stream):
            raise runtime.CUDARuntimeError(status, "cudaLaunchKernel")

    def prepared(self, stream: Slot, changing: tuple[int | Slot, ...]) -> list[Call]:
        """The launch as prepared calls, with slots in place of parameters that each execution gives."""
        kernel, blocks, threads, parameters, field = self._made
        own = parameters.copy()
        words = own[field].reshape(-1)
        calls = []
        for place, word in enumerate(changing):
            if isinstance(word, Slot):
                calls.append(Call(STORE, [words[place:].ctypes.data, word], name="store", keep=own))
            else:
                words[place] = word
        return [*calls, launch(kernel, blocks, threads, own, stream)]


@cache
def _words(count: int) -> Struct:
    return Struct(f"{count}q")


def store(parameters: np.ndarray, field: str, slot: Slot) -> Call:
    """What leaves an operand's address in a field of a kernel's parameters."""
    fields = parameters.dtype.fields
    assert fields is not None
    return Call(STORE, [parameters.ctypes.data + fields[field][1], slot], name="store", keep=parameters)
