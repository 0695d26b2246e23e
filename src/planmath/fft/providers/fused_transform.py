"""Transforms of powers of two on CUDA devices by one kernel of planmath's own, with the callbacks inside."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from planmath.core.cuda import device_code, devices
from planmath.core.errors import UnavailableError
from planmath.fft.problem import FFTProblem
from planmath.fft.providers.callback_kernels import ELEMENTS, access
from planmath.native.call import Call, Slot

MOST_AXES = 16
#: Elements that a thread has in registers, and the shortest and longest transform: what shared memory has room for.
EACH = {"float32": 16, "float64": 8}
SHORTEST, LONGEST = 64, {"float32": 4096, "float64": 2048}
#: Threads of a block, where a transform does not need more.
THREADS = 128
#: The kernel counts transforms in 32 bits.
MOST = 1 << 31

#: What the kernel is given, as its source declares it. Axes are ordered from the innermost to the outermost.
PARAMETERS = np.dtype(
    [
        ("operand", np.uintp), ("result", np.uintp), ("loaded", np.uintp), ("stored", np.uintp), ("count", np.int64),
        ("axes", np.int64), ("extents", np.int64, MOST_AXES), ("read", np.int64, MOST_AXES),
        ("written", np.int64, MOST_AXES),
    ]
)  # fmt: skip


def suits(problem: FFTProblem) -> bool:
    """Whether the kernel can compute it: a batch of complex transforms along one axis without gaps."""
    lengths = [axis for axis in problem.transformed() if axis[0] > 1]
    if problem.kind != "C2C" or problem.precision not in EACH or len(lengths) != 1:
        return False
    n, read, written = lengths[0]
    batch = problem.batch()
    return (
        SHORTEST <= n <= LONGEST[problem.precision] and n & (n - 1) == 0 and read == written == 1
        and len(batch) <= MOST_AXES and math.prod(m for m, _, _ in batch) < MOST
        and (problem.aligned or problem.prolog is not None)
    )  # fmt: skip


def radices(length: int, each: int) -> list[int]:
    """The radices of the passes, which multiply to the length; none is larger than what a thread has."""
    found = []
    while length > 1:
        found.append(min(each, length))
        length //= found[-1]
    return found


def definitions(problem: FFTProblem, direction: int) -> tuple[str, ...]:
    """The macros that fit the kernel to a problem."""
    n = max(axis[0] for axis in problem.transformed())
    each = EACH[problem.precision]
    passes = radices(n, each)
    part, sincospi = ("float", "sincospif") if problem.precision == "float32" else ("double", "sincospi")
    return (
        f"ELEMENT={ELEMENTS[problem.dtype]}", f"PART={part}", f"SINCOSPI={sincospi}", f"SIGN={direction}",
        f"THREADS={n // each}", f"EACH={each}", f"RADICES={','.join(map(str, passes))}", f"FIRST_RADIX={passes[0]}",
        f"LAST_RADIX={passes[-1]}", f"PER_BLOCK={max(1, THREADS * each // n)}", f"MOST_AXES={MOST_AXES}",
    )  # fmt: skip


def source(problem: FFTProblem, capability: tuple[int, int]) -> tuple[str, tuple[bytes, ...]]:
    """The kernel's source, and the LTO-IR that has to be linked to it."""
    load, loading = access("prolog", problem.prolog, capability)
    store, storing = access("epilog", problem.epilog, capability)
    return load + store + Path(__file__).with_suffix(".cu").read_text(), loading + storing


def calls(problem: FFTProblem, direction: int) -> list[Call]:
    """What to call for the whole transform."""
    if not suits(problem):
        raise UnavailableError("planmath's own kernel has no transform of this length and layout")
    device_id = problem.execution[1]
    text, pieces = source(problem, devices.device(device_id).compute_capability)
    kernel = device_code.linked_kernel(text, "fused_transform", device_id, definitions(problem, direction), pieces)
    batch = problem.batch() or [(1, 0, 0)]
    parameters = np.zeros(1, PARAMETERS)
    parameters["count"], parameters["axes"] = math.prod(n for n, _, _ in batch), len(batch)
    for callback, field in ((problem.prolog, "loaded"), (problem.epilog, "stored")):
        parameters[field] = callback.address if callback is not None else 0
    for place, axis in enumerate(reversed(batch)):
        parameters["extents"][0, place], parameters["read"][0, place], parameters["written"][0, place] = axis
    n, each = max(axis[0] for axis in problem.transformed()), EACH[problem.precision]
    per_block = max(1, THREADS * each // n)
    blocks = -(-int(parameters["count"][0]) // per_block)
    result = 0 if problem.inplace else 1
    return [
        device_code.store(parameters, "operand", Slot(0)),
        device_code.store(parameters, "result", Slot(result)),
        device_code.launch(
            kernel, (blocks, 1), per_block * n // each, parameters, Slot(result + 2), problem.callbacks
        ),
    ]
