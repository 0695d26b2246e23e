"""What a machine can reach: floating-point operations and bytes of memory per second, measured once and kept.

The two lines of a roofline (Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009): an operation with
so many FLOPs for each byte that it has to move takes at least the time of the slower of the two. They are measured with
the package of the operands, by its product of large matrices and by a copy, and kept by machine in ``limits.json``
beside the tuning record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import ITEMSIZE, REAL_OF, Package, contiguous_strides
from planmath.core.execution import available_cpus
from planmath.core.tuning import files, record
from planmath.core.tuning.clocks import Clock

#: Rows of the matrices that are multiplied, and bytes that are copied: on the CPU, and on a device.
EXTENT, BYTES = {"cpu": 1536, "cuda": 8192}, {"cpu": 256 << 20, "cuda": 1 << 30}
REPEATS = 5
#: What NumPy's library has no products of is summed in single precision.
ON_CPU = {"float16": "float32", "bfloat16": "float32", "int8": "float32"}


class Work(NamedTuple):
    """What an execution has to do, at least."""

    flops: float
    """A multiplication and an addition are two; of complex numbers six and two."""
    moved: float
    """Bytes of operands that are read and of results that are written, each once."""
    dtype: str


class Limits(NamedTuple):
    """What the machine reaches, in FLOPs and in bytes per second."""

    flops: float
    bandwidth: float

    def of(self, work: Work) -> float:
        """FLOPs per second that work with so many bytes can reach."""
        return min(self.flops, self.bandwidth * work.flops / work.moved)


def limits(package: Package, work: Work, device_id: int | None, machine: str, clock: Clock) -> Limits:
    """The machine's limits for a dtype, from the file or measured now, which takes about a second."""
    dtype = REAL_OF.get(work.dtype, work.dtype)
    if device_id is None:
        dtype = ON_CPU.get(dtype, dtype)
    path = record.path().with_name("limits.json")
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, *files.DAMAGE):
        known = dict(files.read(path))
        found = known[machine][dtype]
        return Limits(float(found["flops"]), float(found["bandwidth"]))
    measured = _measure(package, dtype, device_id, clock)
    known.setdefault(machine, {})[dtype] = measured._asdict()
    with contextlib.suppress(OSError):
        files.write(known, path)
    return measured


def _measure(package: Package, dtype: str, device_id: int | None, clock: Clock) -> Limits:
    space = "cpu" if device_id is None else "cuda"
    n, count = EXTENT[space], BYTES[space] // ITEMSIZE[dtype]
    a, b = (_ones(package, (n, n), dtype, device_id) for _ in range(2))
    flops = 2 * n**3 / _best(lambda: a @ b, clock)
    x, y = (_ones(package, (count,), dtype, device_id) for _ in range(2))
    parts = available_cpus() if isinstance(x, np.ndarray) else 1  # NumPy copies on one thread
    pieces = list(zip(np.array_split(x, parts), np.array_split(y, parts), strict=True)) if parts > 1 else [(x, y)]
    with ThreadPoolExecutor(parts) as pool:
        return Limits(flops, 2 * BYTES[space] / _best(lambda: list(pool.map(_copy, pieces)), clock))


def _copy(pair: tuple[Any, Any]) -> None:
    pair[1][...] = pair[0]


def _ones(package: Package, shape: tuple[int, ...], dtype: str, device_id: int | None) -> Any:
    array = package.empty(shape, contiguous_strides(shape), package.dtype(dtype), device_id)
    array[...] = 1
    return array


def _best(work: Callable[[], Any], clock: Clock) -> float:
    """The least time of a few executions after one that does not count."""
    clock.time(work, 1)
    return min(clock.time(work, 1) for _ in range(REPEATS))
