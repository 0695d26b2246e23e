"""Kernels on CUDA devices that call a user's callback for each element: the callback is linked into them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from planmath.core.arrays import ITEMSIZE
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
#: From so many elements on a thread reads some before it writes one.
MANY = 1 << 20
ELEMENTS = {"float32": "float", "float64": "double", "complex64": "float2", "complex128": "double2"}

#: What the kernel is given, as `_SOURCE` declares it. Axes are ordered from the innermost to the outermost.
PARAMETERS = np.dtype(
    [
        ("array", np.uintp), ("tile", np.uintp), ("data", np.uintp), ("scale", np.float64), ("count", np.int64),
        ("axes", np.int64),
        ("extents", np.int64, MOST_AXES), ("steps", np.int64, MOST_AXES), ("tile_steps", np.int64, MOST_AXES),
    ]
)  # fmt: skip
_SOURCE = """
static __device__ float scaled(float a, double by) { return a * (float)by; }
static __device__ double scaled(double a, double by) { return a * by; }
static __device__ float2 scaled(float2 a, double by) { return float2{a.x * (float)by, a.y * (float)by}; }
static __device__ double2 scaled(double2 a, double by) { return double2{a.x * by, a.y * by}; }

struct parameters {
    void *array;
    ELEMENT *tile;
    void *data;
    double scale;
    long long count, axes, extents[MOST_AXES], steps[MOST_AXES], tile_steps[MOST_AXES];
};

extern "C" __global__ void call_back(const __grid_constant__ parameters p) {
    const INDEX step = (INDEX)gridDim.x * blockDim.x * EACH;
    for (INDEX first = (INDEX)blockIdx.x * blockDim.x * EACH + threadIdx.x; first < (INDEX)p.count; first += step) {
        ELEMENT elements[EACH]; // all are read before one is written
        long long offsets[EACH], places[EACH];
#pragma unroll
        for (int n = 0; n < EACH; n++) {
            long long offset = 0, place = 0;
            INDEX rest = first + (INDEX)n * blockDim.x;
            if (rest >= (INDEX)p.count) break;
            const int last = (int)p.axes - 1;
            for (int axis = 0; axis < last; axis++) {
                const INDEX extent = (INDEX)p.extents[axis], next = rest / extent;
                const long long position = (long long)(rest - next * extent);
                offset += position * p.steps[axis];
                place += position * p.tile_steps[axis];
                rest = next;
            }
            offsets[n] = offset += (long long)rest * p.steps[last];
            places[n] = place += (long long)rest * p.tile_steps[last];
            elements[n] = scaled(READ, p.scale);
        }
#pragma unroll
        for (int n = 0; n < EACH; n++) {
            if (first + (INDEX)n * blockDim.x >= (INDEX)p.count) break;
            const long long offset = offsets[n], place = places[n];
            const ELEMENT element = elements[n];
            WRITE;
        }
    }
}
"""
#: How the kernel reads and writes an element.
_READ = {"prolog": "load(p.array, (unsigned long long)offset, p.data)", "epilog": "p.tile[place]"}
_WRITE = {
    "prolog": "(void)offset, p.tile[place] = element",
    "epilog": "(void)place, store(p.array, (unsigned long long)offset, element, p.data)",
}

#: How kernels load and store: through a callback that gets the element by its address, or by value, or without one.
#: Numba takes complex numbers to be aligned as their parts are; what is said of the addresses lets both parts of one be
#: loaded and stored at a time.
_BY_ADDRESS = {
    "prolog": """
extern "C" __device__ void SYMBOL(void *, unsigned long long, ELEMENT *, void *);
static __device__ ELEMENT load(void *array, unsigned long long offset, void *data) {
    ELEMENT element;
    SYMBOL(__builtin_assume_aligned(array, ARRAY_AT), offset, &element, __builtin_assume_aligned(data, DATA_AT));
    return element;
}
""",
    "epilog": """
extern "C" __device__ void SYMBOL(void *, unsigned long long, ELEMENT *, void *);
static __device__ void store(void *array, unsigned long long offset, ELEMENT element, void *data) {
    SYMBOL(__builtin_assume_aligned(array, ARRAY_AT), offset, &element, __builtin_assume_aligned(data, DATA_AT));
}
""",
}
#: Bytes to which an address is at most said to be aligned: those of the largest elements.
LARGEST = 16
_BY_VALUE = {
    "prolog": """
extern "C" __device__ ELEMENT SYMBOL(void *, unsigned long long, void *, void *);
static __device__ ELEMENT load(void *array, unsigned long long offset, void *data) {
    return SYMBOL(array, offset, data, nullptr);
}
""",
    "epilog": """
extern "C" __device__ void SYMBOL(void *, unsigned long long, ELEMENT, void *, void *);
static __device__ void store(void *array, unsigned long long offset, ELEMENT element, void *data) {
    SYMBOL(array, offset, element, data, nullptr);
}
""",
}
_WITHOUT = {
    "prolog": """
static __device__ ELEMENT load(const void *array, unsigned long long offset, void *) {
    return ((const ELEMENT *)array)[offset];
}
""",
    "epilog": """
static __device__ void store(void *array, unsigned long long offset, ELEMENT element, void *) {
    ((ELEMENT *)array)[offset] = element;
}
""",
}


def access(
    phase: str, callback: Callback | None, element: str, capability: tuple[int, int], aligned: bool
) -> tuple[str, tuple[bytes, ...]]:  # fmt: skip
    """How a kernel loads or stores an element of a dtype, as source, and the LTO-IR that has to be linked to it.

    The array is said to be `aligned` or not: at a multiple of an element's size.

    Raises
    ------
    UnavailableError
        If there is no compiler for it.
    """
    if callback is None:
        return _WITHOUT[phase].replace("ELEMENT", ELEMENTS[element]), ()
    try:
        if isinstance(callback.code, CallbackCode):
            text, symbol, code = _BY_ADDRESS, jit.BY_ADDRESS[phase], callback.code.by_address(capability)
        else:
            text, symbol, code = _BY_VALUE, callback.symbol, callback.for_device(capability)
        numbers = ITEMSIZE[element] if aligned else 1, math.gcd(callback.address, LARGEST)
        said = text[phase].replace("ARRAY_AT", str(numbers[0])).replace("DATA_AT", str(numbers[1]))
        return said.replace("SYMBOL", symbol).replace("ELEMENT", ELEMENTS[element]), (code,)
    except RuntimeError as error:
        raise UnavailableError(f"{callback.name} has no code for CUDA devices: {error}") from error


def source(callback: Callback, capability: tuple[int, int], aligned: bool = True) -> tuple[str, tuple[bytes, ...]]:
    """The kernel's source, and what has to be linked to it."""
    text, pieces = access(callback.phase, callback, callback.element, capability, aligned)
    return text + _SOURCE.replace("READ", _READ[callback.phase]).replace("WRITE", _WRITE[callback.phase]), pieces


def definitions(callback: Callback, count: int) -> tuple[str, ...]:
    """The macros that fit the kernel to a callback and a number of elements."""
    index = "unsigned int" if count < FEW else "unsigned long long"
    return f"ELEMENT={ELEMENTS[callback.element]}", f"INDEX={index}", f"MOST_AXES={MOST_AXES}", f"EACH={_each(count)}"


def _each(count: int) -> int:
    """Elements that a thread has at a time: some where there are enough of them for all multiprocessors."""
    return 4 if count >= MANY else 1


def calls(
    callback: Callback, axes: Sequence[Dimension], array: Slot, tile: Slot, stream: Slot, device_id: int,
    scale: float = 1.0, aligned: bool = True,
) -> list[Call]:  # fmt: skip
    """What to call for all elements of some axes, given from the outermost to the innermost.

    Parameters
    ----------
    callback : Callback
    axes : sequence of Dimension
        With the strides in the user's array and in the tile.
    array, tile, stream : Slot
    device_id : int
    scale : float
        What elements are multiplied by: behind a prolog, before an epilog.
    aligned : bool
        Whether the array is at a multiple of an element's size.
    """
    axes = list(axes) or [(1, 0, 0)]
    count = math.prod(n for n, _, _ in axes)
    parameters = np.zeros(1, PARAMETERS)
    parameters["data"], parameters["count"], parameters["axes"] = callback.address, count, len(axes)
    parameters["scale"] = scale
    for place, axis in enumerate(reversed(axes)):
        parameters["extents"][0, place], parameters["steps"][0, place], parameters["tile_steps"][0, place] = axis
    text, pieces = source(callback, devices.device(device_id).compute_capability, aligned)
    kernel = device_code.linked_kernel(text, "call_back", device_id, definitions(callback, count), pieces)
    blocks = min(-(-count // (THREADS * _each(count))), MOST_BLOCKS)
    return [
        device_code.store(parameters, "array", array),
        device_code.store(parameters, "tile", tile),
        device_code.launch(kernel, (blocks, 1), THREADS, parameters, stream, callback),
    ]
