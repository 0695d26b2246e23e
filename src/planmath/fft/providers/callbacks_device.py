"""Transforms with callbacks by cuFFT: in kernels around its transforms, or in its own kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from planmath.bindings import cufft, nvjitlink, nvrtc
from planmath.core.arrays import ITEMSIZE
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.fft.jit import SYMBOLS
from planmath.fft.problem import FFTProblem
from planmath.fft.providers import callback_kernels
from planmath.fft.providers.cufft import NAMES, CuFFTProvider, NativePlan
from planmath.fft.providers.cufft_stages import Stage, divisions
from planmath.fft.providers.tiles import Cut, Dimension, Tile, cut, rounded, slowest_first, tile_of
from planmath.native.call import Call, Slot

KERNELS, LIBRARY = "kernels", "linked by the library"
#: Bytes of a tile that should stay in the second-level cache of a device between a kernel and the transform; from the
#: first on that was not measured. And the most tiles, since each takes two launches.
TILES = (16 << 20, 8 << 20, 32 << 20)
MOST_TILES = 64
#: cuFFT takes the symbol's name since this version.
SINCE = 12000
#: With larger prime factors some versions compute callbacks wrongly.
LARGEST_PRIME = 127
TYPE = {
    ("prolog", "complex64"): cufft.XtCallbackType.LD_COMPLEX,
    ("prolog", "complex128"): cufft.XtCallbackType.LD_COMPLEX_DOUBLE,
    ("prolog", "float32"): cufft.XtCallbackType.LD_REAL,
    ("prolog", "float64"): cufft.XtCallbackType.LD_REAL_DOUBLE,
    ("epilog", "complex64"): cufft.XtCallbackType.ST_COMPLEX,
    ("epilog", "complex128"): cufft.XtCallbackType.ST_COMPLEX_DOUBLE,
    ("epilog", "float32"): cufft.XtCallbackType.ST_REAL,
    ("epilog", "float64"): cufft.XtCallbackType.ST_REAL_DOUBLE,
}


class DeviceCallbacks(Provider):
    """cuFFT as a provider that computes transforms with callbacks as well."""

    def __init__(self, inner: CuFFTProvider):
        self.name, self.inner = inner.name, inner

    def unavailable(self) -> str | None:
        return self.inner.unavailable()

    def version(self) -> str:
        return self.inner.version()

    def path(self) -> str | None:
        return self.inner.path()

    def unsupported(self, problem: FFTProblem) -> str | None:
        if problem.execution[0] != "cuda" or not problem.callbacks:
            return self.inner.unsupported(problem.plain)
        missing = nvrtc.LIBRARY.missing or nvjitlink.LIBRARY.missing
        return missing or self.inner.unsupported(_tile(problem, problem.batch()).problem)

    def algorithms(self, problem: FFTProblem) -> Sequence[Algorithm]:
        if not problem.callbacks:
            return self.inner.algorithms(problem)
        ways = []
        for size in _tile_sizes(problem):
            tile = _tile(problem, _cut(problem, size).full)
            for algorithm in self.inner.algorithms(tile.problem):
                knobs = (("tiles", f"{size >> 10} KiB"),) if size else ()
                ways.append(Algorithm(self.name, (("callbacks", KERNELS), *knobs, *algorithm.knobs)))
        if _single_stage(problem) is not None:
            ways.append(Algorithm(self.name, (("callbacks", LIBRARY),)))
        return ways

    def prepare(self, problem: FFTProblem, algorithm: Algorithm) -> Prepared:
        if not problem.callbacks:
            return self.inner.prepare(problem, algorithm)
        if algorithm.get("callbacks") == LIBRARY:
            return _linked_by_library(problem)
        knobs = dict(algorithm.knobs)
        del knobs["callbacks"]
        size = int(knobs.pop("tiles", "0 KiB").split()[0]) << 10
        divided = _cut(problem, size)
        parts = [divided.full] if divided.rest is None else [divided.full, divided.rest]
        tiles = [_tile(problem, part) for part in parts]
        made = [self.inner.prepare(tile.problem, Algorithm(self.name, tuple(knobs.items()))) for tile in tiles]
        programs: dict[object, Program] = {}
        for direction in problem.directions:
            program = Program(_calls(problem, divided, tiles, made, direction))
            programs[direction] = programs[NAMES[direction]] = program
        programs[None] = programs[problem.directions[0]]
        sizes = [
            _scratch(tile) + prepared.workspace_size for tile, prepared in zip(tiles, made, strict=True)
        ]
        return Prepared(programs, max(sizes))


def _tile(problem: FFTProblem, batch: Sequence[Dimension]) -> Tile:
    return tile_of(problem, batch, even=True)


def _scratch(tile: Tile) -> int:
    """Where in the workspace, behind what is loaded and stored, the library has its own."""
    return rounded(tile.loaded) + rounded(tile.stored)


def _cut(problem: FFTProblem, size: int) -> Cut:
    """Tiles of so many bytes; 0 for one that has all."""
    batch = slowest_first(problem.batch())
    if not size:
        return Cut((), tuple(batch), None)
    each = math.prod(problem.real_shape[axis] for axis in problem.axes) * ITEMSIZE[problem.result_dtype]
    return cut(batch, max(1, size // each))


def _tile_sizes(problem: FFTProblem) -> list[int]:
    """The sizes of tiles worth trying, the one to expect most of first."""
    total = math.prod(problem.real_shape) * ITEMSIZE[problem.result_dtype]
    fitting = [size for size in TILES if 1 < _cut(problem, size).tiles <= MOST_TILES and _keeps_even(problem, size)]
    large = total > devices.device(problem.execution[1]).l2_size // 2
    return [*fitting, 0] if large else [0, *fitting]


def _keeps_even(problem: FFTProblem, size: int) -> bool:
    """Whether real elements that the library reads or writes where they are begin at even ones in each tile."""
    real = {"R2C": (1, problem.prolog), "C2R": (2, problem.epilog)}.get(problem.kind)
    return real is None or real[1] is not None or all(axis[real[0]] % 2 == 0 for axis in _cut(problem, size).loops)


def _calls(
    problem: FFTProblem, divided: Cut, tiles: Sequence[Tile], made: Sequence[Prepared], direction: int
) -> list[Call]:
    """For each tile: the prolog's kernel, the transform, the epilog's kernel."""
    result = 0 if problem.inplace else 1
    workspace, stream, device_id = result + 1, Slot(result + 2), problem.execution[1]
    itemsizes = ITEMSIZE[problem.dtype], ITEMSIZE[problem.result_dtype]
    calls: list[Call] = []
    for position in product(*(range(n) for n, _, _ in divided.loops)):
        read, written = (
            sum(i * axis[side] for i, axis in zip(position, divided.loops, strict=True)) for side in (1, 2)
        )
        kind = 1 if divided.rest is not None and position[-1] == divided.loops[-1][0] - 1 else 0
        tile = tiles[kind]
        source, target = Slot(0, read * itemsizes[0]), Slot(result, written * itemsizes[1])
        if tile.loads is not None:
            source = Slot(workspace)
            calls += callback_kernels.calls(problem.prolog, tile.loads, Slot(0), read, source, stream, device_id)
        if tile.stores is not None:
            target = Slot(workspace, 0 if tile.problem.inplace else rounded(tile.loaded))
        scratch = Slot(workspace, _scratch(tile))
        arrays = [source] if tile.problem.inplace else [source, target]
        places = dict(enumerate([*arrays, scratch, stream]))
        calls += [call.redirected(places) for call in made[kind].programs[direction].calls]
        if tile.stores is not None:
            calls += callback_kernels.calls(
                problem.epilog, tile.stores, Slot(result), written, target, stream, device_id
            )
    return calls


def _single_stage(problem: FFTProblem) -> Stage | None:
    """The one stage that cuFFT can compute with the callbacks in its own kernels, if it can."""
    if problem.kind == "C2R" or not problem.aligned or not cufft.LIBRARY.has("cufftXtSetJITCallback"):
        return None
    if cufft.get_version() < SINCE:
        return None
    if any(_largest_prime(problem.real_shape[axis]) > LARGEST_PRIME for axis in problem.axes):
        return None
    for stages in divisions(problem.plain).values():
        if len(stages) == 1 and stages[0].kind == problem.kind and not stages[0].loops:
            return stages[0]
    return None


def _largest_prime(n: int) -> int:
    largest, p = 1, 2
    while p * p <= n:
        if n % p == 0:
            largest, n = p, n // p
        else:
            p += 1
    return max(largest, n)


def _linked_by_library(problem: FFTProblem) -> Prepared:
    """One plan, into whose kernels cuFFT links the callbacks."""
    stage = _single_stage(problem)
    assert stage is not None
    device_id = problem.execution[1]
    try:
        capability = devices.device(device_id).compute_capability
        pieces = [callback.for_device(capability) for callback in problem.callbacks]
    except RuntimeError as error:
        raise UnavailableError(f"a callback has no code for CUDA device {device_id}: {error}") from error
    addresses = np.array([callback.address for callback in problem.callbacks], np.uintp)

    def set_callbacks(handle: int) -> None:
        for number, (callback, piece) in enumerate(zip(problem.callbacks, pieces, strict=True)):
            code = np.frombuffer(piece, np.uint8)
            usual = callback.symbol == SYMBOLS[callback.phase, callback.element]
            name = 0 if usual else callback.symbol  # 0: the names under which cuFFT looks for callbacks
            try:
                cufft.xt_set_jit_callback(
                    handle, name, code.ctypes.data, code.size, TYPE[callback.phase, callback.element],
                    addresses[number:].ctypes.data,
                )  # fmt: skip
            except cufft.cuFFTError as error:
                raise UnavailableError(f"cuFFT does not take {callback.name}: {error}") from error

    plan = NativePlan(stage, problem.plain, set_callbacks)
    plan.keep = (pieces, addresses, problem.callbacks)
    _, slots = CuFFTProvider.places(problem.plain, [stage], [plan.work_size])
    prepare = plan.preparing(slots["workspace"], slots["stream"])
    programs: dict[object, Program] = {}
    for direction in problem.directions:
        program = Program([*prepare, plan.executing(stage, problem.plain, slots, direction)])
        programs[direction] = programs[NAMES[direction]] = program
    programs[None] = programs[problem.directions[0]]
    return Prepared(programs, plan.work_size)
