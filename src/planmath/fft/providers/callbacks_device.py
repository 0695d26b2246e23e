"""Transforms with callbacks on devices: in a kernel of planmath's own, in kernels around cuFFT's, or in cuFFT's."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from planmath.bindings import cufft, nvjitlink, nvrtc
from planmath.core.cuda import devices
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.fft.jit import SYMBOLS
from planmath.fft.problem import FFTProblem
from planmath.fft.providers import callback_kernels, fused_transform
from planmath.fft.providers.cufft import NAMES, CuFFTProvider
from planmath.fft.providers.cufft_stages import REAL, Stage, divisions
from planmath.fft.providers.tiles import Tile, rounded, slowest_first, tile_of
from planmath.native.call import Call, Slot

FUSED, KERNELS, DX, LIBRARY = "fused", "kernels", "cuFFTDx", "linked by the library"
#: A prolog's kernel writes to where the result is to be, and not to temporary memory.
WITHIN = ("load", "result")
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
        return missing or self.inner.unsupported(_whole(problem).problem)

    def algorithms(self, problem: FFTProblem) -> Sequence[Algorithm]:
        if not problem.callbacks:
            return self.inner.algorithms(problem)
        ways = [
            Algorithm(self.name, (("callbacks", KERNELS), *load, *algorithm.knobs))
            for load in self._loads(problem)
            for algorithm in self.inner.algorithms(_whole(problem, bool(load)).problem)
        ]
        if fused_transform.suits(problem):
            place = 0 if fused_transform.preferred(problem) else len(ways)
            ways.insert(place, Algorithm(self.name, (("callbacks", FUSED),)))
        if not fused_transform.suits(problem) and _cufftdx().suits(problem):
            ways.append(Algorithm(self.name, (("callbacks", DX),)))
        if _library_stages(problem):
            ways.append(Algorithm(self.name, (("callbacks", LIBRARY),)))
        return ways

    def _loads(self, problem: FFTProblem) -> list[tuple[tuple[str, str], ...]]:
        """Where a prolog's kernel may load to, what to expect most of first.

        Into the result not where something is read from there, or the library is not in place. Then the cache has less
        to hold, which pays for one transform of a power of two; others cuFFT computes faster to elsewhere.
        """
        beside, within = (), (WITHIN,)
        if problem.kind != "C2C" or problem.prolog is None or problem.epilog is not None or problem.inplace:
            return [beside]
        if self.inner.unsupported(_whole(problem, True).problem) is not None:
            return [beside]
        alone = math.prod(n for n, _, _ in problem.batch()) == 1
        powers = all(n & (n - 1) == 0 for n, _, _ in problem.transformed())
        return [within, beside] if alone and powers else [beside, within]

    def prepare(self, problem: FFTProblem, algorithm: Algorithm) -> Prepared:
        if not problem.callbacks:
            return self.inner.prepare(problem, algorithm)
        if algorithm.get("callbacks") == LIBRARY:
            return _linked_by_library(problem, self.inner)
        if algorithm.get("callbacks") == FUSED:
            programs = _programs(problem, lambda direction: fused_transform.calls(problem, direction))
            return Prepared(programs, fused_transform.scratch(problem))
        if algorithm.get("callbacks") == DX:
            made_for = _cufftdx().calls(problem)
            return Prepared(_programs(problem, made_for.__getitem__))
        tile = _whole(problem, WITHIN in algorithm.knobs)
        knobs = tuple(knob for knob in algorithm.knobs if knob[0] not in ("callbacks", "load"))
        made = self.inner.prepare(tile.problem, Algorithm(self.name, knobs))
        programs = _programs(problem, lambda direction: _calls(problem, tile, made, direction))
        return Prepared(programs, _scratch(tile) + made.workspace_size)


def _cufftdx() -> Any:
    """The module about cuFFTDx, with libmathdx's binding, which few processes need."""
    return import_module("planmath.fft.providers.dx_transform")


def _programs(problem: FFTProblem, calls: Callable[[int], list[Call]]) -> dict[Hashable, Program]:
    """A program for each direction, under all the names that users may give it."""
    programs: dict[Hashable, Program] = {}
    for direction in problem.directions:
        programs[direction] = programs[NAMES[direction]] = Program(calls(direction))
    programs[None] = programs[problem.directions[0]]
    return programs


def _whole(problem: FFTProblem, within: bool = False) -> Tile:
    """All transforms as one tile: smaller ones, to stay in a device's cache, cost more launches than that saves."""
    return tile_of(problem._replace(norm=None), slowest_first(problem.batch()), even=True, within=within)


def _scratch(tile: Tile) -> int:
    """Where in the workspace, behind what is loaded and stored, the library has its own."""
    return rounded(tile.loaded) + rounded(tile.stored)


def _calls(problem: FFTProblem, tile: Tile, made: Prepared, direction: int) -> list[Call]:
    """The prolog's kernel, the transform, the epilog's kernel; the scale goes into the last of the two kernels."""
    result = 0 if problem.inplace else 1
    workspace, stream, device_id = result + 1, Slot(result + 2), problem.execution[1]
    source, target, scratch = Slot(0), Slot(result), Slot(workspace, _scratch(tile))
    scale = problem.factor(direction)
    before: list[Call] = []
    after: list[Call] = []
    if tile.loads is not None:
        source = Slot(workspace) if tile.loaded else Slot(result)
        by = 1.0 if tile.stores is not None else scale
        before = callback_kernels.calls(
            problem.prolog, tile.loads, Slot(0), source, stream, device_id, by, problem.aligned
        )
    if tile.stores is not None:
        target = Slot(workspace, 0 if tile.problem.inplace else rounded(tile.loaded))
        after = callback_kernels.calls(
            problem.epilog, tile.stores, Slot(result), target, stream, device_id, scale, problem.result_aligned
        )
    places = dict(enumerate([*([source] if tile.problem.inplace else [source, target]), scratch, stream]))
    return [*before, *(call.redirected(places) for call in made.programs[direction].calls), *after]


def _library_stages(problem: FFTProblem) -> Sequence[Stage]:
    """The stages that cuFFT can compute with the callbacks in its own kernels, if it can: one, but for C2R.

    There the operand is copied first, and an epilog belongs to the last stage. A prolog is not possible: of what it
    loads, cuFFT would have to ignore imaginary parts.
    """
    if any(problem.factor(direction) != 1 for direction in problem.directions):
        return ()  # it does not scale
    if not problem.aligned or not cufft.LIBRARY.has("cufftXtSetJITCallback") or cufft.get_version() < SINCE:
        return ()
    if any(_largest_prime(problem.real_shape[axis]) > LARGEST_PRIME for axis in problem.axes):
        return ()
    if problem.kind == "C2R" and problem.prolog is not None:
        return ()
    for stages in divisions(problem.plain).values():
        last, alone = stages[-1], len(stages) == 1
        if (alone or problem.kind == "C2R") and last.kind == problem.kind and last.target != REAL and not last.loops:
            return stages
    return ()


def _largest_prime(n: int) -> int:
    largest, p = 1, 2
    while p * p <= n:
        if n % p == 0:
            largest, n = p, n // p
        else:
            p += 1
    return max(largest, n)


def _linked_by_library(problem: FFTProblem, provider: CuFFTProvider) -> Prepared:
    """Plans of which the last is one into whose kernels cuFFT links the callbacks."""
    stages = _library_stages(problem)
    device_id = problem.execution[1]
    try:
        capability = devices.device(device_id).compute_capability
        pieces = [callback.for_device(capability) for callback in problem.callbacks]
    except RuntimeError as error:
        raise UnavailableError(f"a callback has no code for CUDA device {device_id}: {error}") from error
    addresses = np.array([callback.address for callback in problem.callbacks], np.uintp)

    def set_callbacks(handle: int) -> None:  # which the plan keeps, and so the code and the data
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

    return provider.prepare_stages(problem.plain, stages, {len(stages) - 1: set_callbacks})
