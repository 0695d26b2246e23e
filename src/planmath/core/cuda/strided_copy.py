"""Copies between any two memory layouts on a CUDA device, by a kernel that is compiled when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from planmath.core.cuda import device_code, devices
from planmath.core.errors import UnavailableError
from planmath.native.call import Call, Slot

#: The most axes that a copy may have: as many as arrays of NumPy and of PyTorch.
MOST_AXES = 64
#: Threads of a block, and the most blocks for each multiprocessor.
THREADS, BLOCKS = 256, 32
#: Below this many elements, the kernel counts them in 32 bits, whose divisions are several times faster.
FEW = 1 << 31
#: What the kernel copies at a time, by size in bytes. CUDA reads and writes these at multiples of their size.
ELEMENTS = {
    1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long", 16: "ulonglong2"
}  # fmt: skip

#: What the kernel is given, as `_SOURCE` declares it. Axes are ordered from the innermost to the outermost.
PARAMETERS = np.dtype(
    [
        ("source", np.uintp), ("target", np.uintp), ("count", np.int64), ("axes", np.int64),
        ("extents", np.int64, MOST_AXES), ("read", np.int64, MOST_AXES), ("written", np.int64, MOST_AXES),
    ]
)  # fmt: skip
_SOURCE = """
struct parameters {
    pointer<const char> source;
    pointer<char> target;
    long long count, axes, extents[MOST_AXES], read[MOST_AXES], written[MOST_AXES];
};

extern "C" __global__ void strided_copy(const parameters p) {
    const INDEX step = (INDEX)gridDim.x * blockDim.x;
    for (INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; i < (INDEX)p.count; i += step) {
        const char *source = p.source;
        char *target = p.target;
        INDEX rest = i;
        for (int axis = 0; axis < (int)p.axes; axis++) {
            const INDEX extent = (INDEX)p.extents[axis], next = rest / extent;
            const long long position = (long long)(rest - next * extent);
            source += position * p.read[axis];
            target += position * p.written[axis];
            rest = next;
        }
        *(ELEMENT *)target = *(const ELEMENT *)source;
    }
}
"""


@cache
def available(device_id: int) -> bool:
    """Whether kernels can be compiled and loaded here.

    Who copies where they cannot takes the driver's copies, of rows of elements, and more of them.
    """
    try:
        return _kernel(device_id, 8, "unsigned int") != 0
    except UnavailableError:
        return False


def calls(
    axes: Sequence[tuple[int, int, int]], size: int, source: Slot, target: Slot, stream: Slot, device_id: int
) -> list[Call]:
    """What to call for a copy.

    Parameters
    ----------
    axes : sequence of (extent, bytes between what is read, bytes between what is written)
        At most `MOST_AXES`, from the outermost to the innermost.
    size : int
        Bytes of an element. The addresses and all steps are multiples of it.
    """
    count = int(np.prod([n for n, _, _ in axes], dtype=np.int64))
    parameters = np.zeros(1, PARAMETERS)
    parameters["count"], parameters["axes"] = count, len(axes)
    for place, axis in enumerate(reversed(axes)):
        parameters["extents"][0, place], parameters["read"][0, place], parameters["written"][0, place] = axis
    blocks = min(-(-count // THREADS), devices.device(device_id).multiprocessors * BLOCKS)
    kernel = _kernel(device_id, size, "unsigned int" if count < FEW else "unsigned long long")
    return [
        device_code.store(parameters, "source", source),
        device_code.store(parameters, "target", target),
        device_code.launch(kernel, (blocks, 1), THREADS, parameters, stream),
    ]


def _kernel(device_id: int, size: int, index: str) -> int:
    """The kernel for elements of a size."""
    definitions = f"ELEMENT={ELEMENTS[size]}", f"INDEX={index}", f"MOST_AXES={MOST_AXES}"
    return device_code.kernel(_SOURCE, "strided_copy", device_id, definitions)
