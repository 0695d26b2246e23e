"""Kernels on CUDA devices that call a user's callback for each element: the callback is linked into them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from planmath.core.cuda import device_code, devices
from planmath.core.errors import UnavailableError
from planmath.fft import jit
from planmath.fft.callbacks import Callback, CallbackCode
from planmath.fft.providers.tiles import Dimension
from planmath.native.call import Call, Slot

#: The most axes: as many as arrays of NumPy and of PyTorch have.
MOST_AXES = 64
THREADS = 256
#: Below this many elements, the kernel counts them in 32 bits, whose divisions are several times faster.
FEW = 1 << 31
MOST_BLOCKS = FEW - 1
ELEMENTS = {"float32": "float", "float64": "double", "complex64": "float2", "complex128": "double2"}

#: What the kernel is given, as `_SOURCE` declares it. Axes are ordered from the innermost to the outermost.
PARAMETERS = np.dtype(
    [
        ("array", np.uintp), ("tile", np.uintp), ("data", np.uintp), ("offset", np.int64), ("count", np.int64),
        ("axes", np.int64), ("extents", np.int64, MOST_AXES), ("steps", np.int64, MOST_AXES),
        ("tile_steps", np.int64, MOST_AXES),
    ]
)  # fmt: skip
_SOURCE = """
struct parameters {
    void *array;
    ELEMENT *tile;
    void *data;
    long long offset, count, axes, extents[MOST_AXES], steps[MOST_AXES], tile_steps[MOST_AXES];
};

#if BY_ADDRESS
extern "C" __device__ void SYMBOL(void *, unsigned long long, ELEMENT *, void *);
#elif IS_PROLOG
extern "C" __device__ ELEMENT SYMBOL(void *, unsigned long long, void *, void *);
#else
extern "C" __device__ void SYMBOL(void *, unsigned long long, ELEMENT, void *, void *);
#endif

extern "C" __global__ void call_back(const __grid_constant__ parameters p) {
    const INDEX step = (INDEX)gridDim.x * blockDim.x;
    for (INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; i < (INDEX)p.count; i += step) {
        long long offset = p.offset, place = 0;
        INDEX rest = i;
        const int last = (int)p.axes - 1;
        for (int axis = 0; axis < last; axis++) {
            const INDEX extent = (INDEX)p.extents[axis], next = rest / extent;
            const long long position = (long long)(rest - next * extent);
            offset += position * p.steps[axis];
            place += position * p.tile_steps[axis];
            rest = next;
        }
        offset += (long long)rest * p.steps[last];
        place += (long long)rest * p.tile_steps[last];
#if BY_ADDRESS && IS_PROLOG
        ELEMENT element;
        SYMBOL(p.array, (unsigned long long)offset, &element, p.data);
        p.tile[place] = element;
#elif BY_ADDRESS
        ELEMENT element = p.tile[place];
        SYMBOL(p.array, (unsigned long long)offset, &element, p.data);
#elif IS_PROLOG
        p.tile[place] = SYMBOL(p.array, (unsigned long long)offset, p.data, nullptr);
#else
        SYMBOL(p.array, (unsigned long long)offset, p.tile[place], p.data, nullptr);
#endif
    }
}
"""


def definitions(callback: Callback, by_address: bool, index: str = "unsigned int") -> tuple[str, ...]:
    """The macros that fit the kernel to a callback."""
    return (
        f"ELEMENT={ELEMENTS[callback.element]}", f"SYMBOL={jit.BY_ADDRESS if by_address else callback.symbol}",
        f"BY_ADDRESS={int(by_address)}", f"IS_PROLOG={int(callback.phase == 'prolog')}", f"INDEX={index}",
        f"MOST_AXES={MOST_AXES}",
    )  # fmt: skip


def linkable(callback: Callback, capability: tuple[int, int]) -> tuple[bytes, bool]:
    """A callback's code to be linked into the kernel, and whether it gets elements by their addresses."""
    if isinstance(callback.code, CallbackCode):
        return jit.code_by_address(callback.code.description, capability), True
    return callback.for_device(capability), False


def calls(
    callback: Callback, axes: Sequence[Dimension], array: Slot, offset: int, tile: Slot, stream: Slot, device_id: int
) -> list[Call]:
    """What to call for all elements of some axes, given from the outermost to the innermost.

    Parameters
    ----------
    callback : Callback
    axes : sequence of Dimension
        With the strides in the user's array and in the tile.
    array, tile, stream : Slot
    offset : int
        Elements from the array's first one to the first of these.
    device_id : int
    """
    axes = list(axes) or [(1, 0, 0)]
    count = math.prod(n for n, _, _ in axes)
    parameters = np.zeros(1, PARAMETERS)
    parameters["data"], parameters["offset"] = callback.address, offset
    parameters["count"], parameters["axes"] = count, len(axes)
    for place, axis in enumerate(reversed(axes)):
        parameters["extents"][0, place], parameters["steps"][0, place], parameters["tile_steps"][0, place] = axis
    index = "unsigned int" if count < FEW else "unsigned long long"
    try:
        code, by_address = linkable(callback, devices.device(device_id).compute_capability)
    except RuntimeError as error:
        raise UnavailableError(f"{callback.name} has no code for CUDA device {device_id}: {error}") from error
    made = definitions(callback, by_address, index)
    kernel = device_code.linked_kernel(_SOURCE, "call_back", device_id, made, (code,))
    blocks = min(-(-count // THREADS), MOST_BLOCKS)
    return [
        device_code.store(parameters, "array", array),
        device_code.store(parameters, "tile", tile),
        device_code.launch(kernel, (blocks, 1), THREADS, parameters, stream, callback),
    ]
