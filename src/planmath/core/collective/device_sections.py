"""Copies of any products of runs on a CUDA device, by a kernel that looks up where each index of an axis is."""

from __future__ import annotations

from math import prod

import numpy as np

from planmath.core.collective.exchange import Copying
from planmath.core.cuda import device_code, devices
from planmath.core.cuda.device_arrays import upload
from planmath.core.cuda.queue import Queue
from planmath.core.cuda.strided_copy import BLOCKS, ELEMENTS, FEW, THREADS
from planmath.native.call import Call, Slot

#: The most axes of more than one index.
MOST_AXES = 16
#: What the kernel is given, as `_SOURCE` declares it. Axes are ordered from the innermost to the outermost.
PARAMETERS = np.dtype([
    ("source", np.uintp), ("target", np.uintp), ("places", np.uintp), ("count", np.int64), ("axes", np.int64),
    ("extents", np.int64, MOST_AXES), ("starts", np.int64, MOST_AXES),
])  # fmt: skip
_SOURCE = """
struct parameters {
    pointer<const char> source;
    pointer<char> target;
    pointer<const long long> places; // of each index of each axis: the bytes from the beginning of source and target
    long long count, axes, extents[MOST_AXES], starts[MOST_AXES];
};

extern "C" __global__ void section_copy(const parameters p) {
    const INDEX step = (INDEX)gridDim.x * blockDim.x;
    const long long *places = p.places;
    for (INDEX i = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; i < (INDEX)p.count; i += step) {
        const char *source = p.source;
        char *target = p.target;
        INDEX rest = i;
        for (int axis = 0; axis < (int)p.axes; axis++) {
            const INDEX extent = (INDEX)p.extents[axis], next = rest / extent;
            const long long *place = places + p.starts[axis] + 2 * (long long)(rest - next * extent);
            source += place[0];
            target += place[1];
            rest = next;
        }
        *(ELEMENT *)target = *(const ELEMENT *)source;
    }
}
"""


def calls(copying: Copying, source: Slot, target: Slot, stream: Slot, queue: Queue) -> list[Call]:
    """What to call for a copy of something. The table of places is put on the queue's stream now."""
    axes = []
    for runs, read, written in zip(copying.axes, copying.source_strides, copying.target_strides, strict=True):
        where = [(np.arange(s, s + n) * read, np.arange(t, t + n) * written) for s, t, n in runs]
        axes.append(np.stack([np.concatenate(of) for of in zip(*where, strict=True)], axis=1) * copying.itemsize)
    steps = [abs(step) for step in copying.target_strides]
    axes = [axes[k] for k in sorted(range(len(axes)), key=lambda k: steps[k])]  # the innermost first
    single, axes = [of for of in axes if len(of) == 1], [of for of in axes if len(of) > 1]
    if not axes:
        axes = [np.zeros((1, 2), np.int64)]
    axes[0] = axes[0] + sum(of[0] for of in single)
    parameters = np.zeros(1, PARAMETERS)
    count = prod(map(len, axes))
    extents = [len(of) for of in axes]
    starts = [0, *np.cumsum([2 * n for n in extents]).tolist()]
    parameters["count"], parameters["axes"] = count, len(axes)
    parameters["extents"][0, : len(axes)], parameters["starts"][0, : len(axes)] = extents, starts[:-1]
    owner, (parameters["places"],) = upload([np.concatenate(axes).astype(np.int64)], queue)
    device = devices.device(queue.device_id)
    index = "unsigned int" if count < FEW else "unsigned long long"
    definitions = f"ELEMENT={ELEMENTS[copying.itemsize]}", f"INDEX={index}", f"MOST_AXES={MOST_AXES}"
    kernel = device_code.kernel(_SOURCE, "section_copy", queue.device_id, definitions)
    blocks = min(-(-count // THREADS), device.multiprocessors * BLOCKS)
    return [
        device_code.store(parameters, "source", source),
        device_code.store(parameters, "target", target),
        device_code.launch(kernel, (blocks, 1), THREADS, parameters, stream, owner),
    ]
