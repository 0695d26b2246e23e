"""Transforms with callbacks on the CPU, by any of its libraries: in tiles, or in passes over the whole arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import count, product
from threading import Thread
from typing import Any

import numpy as np

from planmath.core.arrays import ITEMSIZE, as_numpy
from planmath.core.errors import UnavailableError
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared, Provider
from planmath.core.tiles import (
    COPY_ROWS,
    FIRST,
    FIRST_AT,
    FIRST_OFFSET,
    MOST_LOOPS,
    MOST_THREADS,
    SECOND,
    SECOND_AT,
    SECOND_OFFSET,
    WORKSPACE,
    Tiles,
    Walk,
)
from planmath.fft.callbacks import Callback
from planmath.fft.jit import FAILED
from planmath.fft.problem import FFTProblem
from planmath.fft.providers.tiles import Cut, Dimension, Tile, cut, rounded, slowest_first, tile_of
from planmath.native.call import Call, Slot
from planmath.native.team import LINGER
from planmath.native.threads import Threads

#: Bytes of a tile: it should stay in the second-level cache. From 64 KiB down calls cost more than caches save.
TILE = 1 << 19
#: The largest transforms that are worth a tile of their own.
LARGEST = 4 << 20
#: From so many bytes on transforms are copied into their tile where no prolog loads them.
LONG = 2 << 10
#: Passes give threads pieces of at least so many bytes, and so many pieces each.
PIECE, PIECES = 1 << 17, 4
#: Below this much work the Python lock is kept, and threads do not pay.
SMALL_WORK, THREADED_WORK = 30_000, 200_000
TILES, PASSES = "tiles", "passes"


class HostCallbacks(Provider):
    """A provider of the CPU that computes transforms with callbacks as well.

    Parameters
    ----------
    inner : Provider
        Computes transforms without.
    rows : int
        The fewest transforms in a tile: more than one where the library makes vectors of several transforms.
    """

    def __init__(self, inner: Provider, rows: int = 1):
        self.name, self.inner, self._rows = inner.name, inner, rows

    def unavailable(self) -> str | None:
        return self.inner.unavailable()

    def version(self) -> str:
        return self.inner.version()

    def path(self) -> str | None:
        return self.inner.path()

    def threads(self) -> Threads | None:
        return self.inner.threads()

    def lingers(self, algorithm: Algorithm) -> float:
        if algorithm.get("callbacks") == TILES:
            return LINGER if algorithm.get("threads") > 1 else 0.0
        return self.inner.lingers(algorithm)

    def unsupported(self, problem: FFTProblem) -> str | None:
        if problem.execution[0] != "cpu" or not problem.callbacks:
            return self.inner.unsupported(problem.plain)
        return self.inner.unsupported(tile_of(problem, problem.batch()).problem)

    def algorithms(self, problem: FFTProblem) -> Sequence[Algorithm]:
        if not problem.callbacks:
            return self.inner.algorithms(problem)
        ways: list[Algorithm] = []
        if (divided := self._cut(problem, 1)).tiles > 1 or problem.threads == 1 or problem.work < THREADED_WORK:
            several = problem.threads > 1 and problem.work >= THREADED_WORK and divided.tiles > 1
            inner = self._single(tile_of(problem, divided.full).problem)
            ways += [
                Algorithm(self.name, (("callbacks", TILES), *load, ("threads", n), *_without_threads(algorithm)))
                for load in _loads(problem)
                for algorithm in self.inner.algorithms(inner)
                for n in ([min(problem.threads, MOST_THREADS), 1] if several else [1])
            ]
        if divided.tiles > 1 or not ways:
            whole = tile_of(problem, problem.batch()).problem
            ways += [
                Algorithm(self.name, (("callbacks", PASSES), *algorithm.knobs))
                for algorithm in self.inner.algorithms(whole)
            ]
        if not self._suits_tiles(problem):
            ways.sort(key=lambda algorithm: algorithm.get("callbacks") == TILES)
        return ways

    def prepare(self, problem: FFTProblem, algorithm: Algorithm) -> Prepared:
        if not problem.callbacks:
            return self.inner.prepare(problem, algorithm)
        threads = algorithm.get("threads")
        knobs = dict(algorithm.knobs)
        by_tiles, copied = knobs.pop("callbacks") == TILES, knobs.pop("load", None) is not None
        if by_tiles:
            knobs["threads"] = 1
        divided = self._cut(problem, threads) if by_tiles else Cut((), tuple(slowest_first(problem.batch())), None)
        inner = Algorithm(self.name, tuple(knobs.items()))
        parts = [divided.full] if divided.rest is None else [divided.full, divided.rest]
        tiles = [tile_of(problem, part, copied=copied) for part in parts]
        made = [
            self.inner.prepare(self._single(tile.problem) if by_tiles else tile.problem, inner) for tile in tiles
        ]
        steps = [_Steps(problem, tile, prepared) for tile, prepared in zip(tiles, made, strict=True)]
        size = rounded(max(each.size for each in steps))
        programs: dict[object, Program] = {}
        release = problem.work > SMALL_WORK
        for direction in problem.directions:
            if steps[0].in_python(direction):
                runner = _InPython(problem, divided, steps, direction, threads, by_tiles)
                program = Program(function=runner)
            elif by_tiles:
                program = Program([_by_tiles(problem, divided, steps, direction, threads, size)], release_gil=release)
            else:
                program = Program(_by_passes(problem, steps[0], direction, threads), release_gil=release)
            for key, other in made[0].programs.items():
                if key is not None and other is made[0].programs[direction]:
                    programs[key] = program
        programs[None] = programs[problem.directions[0]]
        in_python = programs[None].function is not None
        return Prepared(programs, 0 if in_python else size * threads if by_tiles else size)

    def _cut(self, problem: FFTProblem, threads: int) -> Cut:
        """Tiles of the batch, at least some for each thread."""
        rows = max(TILE // _transform_bytes(problem), self._rows)
        batch = problem.batch()
        if threads > 1:
            total = math.prod(n for n, _, _ in batch)
            rows = max(min(rows, -(-total // (threads * PIECES))), self._rows)
        return cut(slowest_first(batch), rows)

    def _suits_tiles(self, problem: FFTProblem) -> bool:
        return _transform_bytes(problem) * self._rows <= LARGEST

    @staticmethod
    def _single(problem: FFTProblem) -> FFTProblem:
        return problem._replace(execution=("cpu", 1))


def _loads(problem: FFTProblem) -> list[tuple[tuple[str, str], ...]]:
    """The ways to load a tile where no prolog does, the one to expect most of first.

    A library transforms in place in the cache faster than from elsewhere, but for short transforms that it reads at the
    speed of the memory.
    """
    copied, direct = (("load", "copied"),), ()
    if problem.prolog is not None or problem.kind != "C2C":
        return [direct]
    return [copied, direct] if _transform_bytes(problem) >= LONG else [direct, copied]


def _without_threads(algorithm: Algorithm) -> tuple[tuple[str, Any], ...]:
    return tuple(knob for knob in algorithm.knobs if knob[0] != "threads")


def _transform_bytes(problem: FFTProblem) -> int:
    """Bytes of one transform on its larger side."""
    sides = ((problem.shape, problem.dtype), (problem.result_shape, problem.result_dtype))
    return max(math.prod(shape[axis] for axis in problem.axes) * ITEMSIZE[dtype] for shape, dtype in sides)


class _Steps:
    """What is done with a tile: load, transform, store."""

    def __init__(self, problem: FFTProblem, tile: Tile, prepared: Prepared):
        self.problem, self.tile, self.prepared = problem, tile, prepared
        self.target = rounded(tile.loaded)
        self.scratch = self.target + rounded(tile.stored)
        self.size = self.scratch + prepared.workspace_size

    def in_python(self, direction: int) -> bool:
        return self.prepared.programs[direction].function is not None

    def load(self, axes: Sequence[Dimension], array: Slot, offset: Slot | int, tile: Slot) -> Call:
        if self.problem.prolog is None:
            dtype = self.problem.dtype
            walk = Walk(COPY_ROWS[dtype], 0, axes, ITEMSIZE[dtype], None)
            return walk.call(array, offset, tile, name="copy", error=_failure)
        return _walking(self.problem.prolog, axes, array, offset, tile)

    def store(self, axes: Sequence[Dimension], array: Slot, offset: Slot | int, tile: Slot) -> Call:
        return _walking(self.problem.epilog, axes, array, offset, tile)

    def transforms(self, direction: int, operand: Slot, result: Slot, workspace: Slot, base: int) -> list[Call]:
        """The library's calls on a tile that starts `base` bytes into the workspace, or on the user's arrays."""
        tile = self.tile
        source = Slot(workspace.operand, base) if tile.loads is not None else operand
        target = Slot(workspace.operand, base + self.target) if tile.stores is not None else result
        scratch = Slot(workspace.operand, base + self.scratch)
        places = {0: source, 1: scratch} if tile.problem.inplace else {0: source, 1: target, 2: scratch}
        return [call.redirected(places) for call in self.prepared.programs[direction].calls]

    @property
    def stored_at(self) -> int:
        """Where in a tile is what the epilog stores."""
        return 0 if self.tile.problem.inplace else self.target


def _walking(
    callback: Callback, axes: Sequence[Dimension], array: Slot, offset: Slot | int, tile: Slot
) -> Call:  # fmt: skip
    if len(axes) > MOST_LOOPS:
        raise UnavailableError(f"callbacks would need {len(axes)} loops; {MOST_LOOPS} can nest")
    loops = callback.code.loops
    walk = Walk(loops.address, callback.address, axes, ITEMSIZE[callback.element], (loops, callback.owner))
    return walk.call(array, offset, tile, name=callback.phase, error=_failure)


def _failure(status: int, function: str) -> Exception:
    phase = next((phase for phase, failed in FAILED.items() if failed == status), function)
    return RuntimeError(f"the {phase} callback raised an exception; the result is not complete")


def _by_tiles(
    problem: FFTProblem, divided: Cut, steps: Sequence[_Steps], direction: int, threads: int, size: int
) -> Call:
    """One call that does everything, tile by tile."""

    def calls(of: _Steps, thread: int) -> list[Call]:
        base = thread * size
        made = of.transforms(direction, FIRST_AT, SECOND_AT, WORKSPACE, base)
        if of.tile.loads is not None:
            made.insert(0, of.load(of.tile.loads, FIRST, FIRST_OFFSET, Slot(WORKSPACE.operand, base)))
        if of.tile.stores is not None:
            made.append(of.store(of.tile.stores, SECOND, SECOND_OFFSET, Slot(WORKSPACE.operand, base + of.stored_at)))
        return made

    groups = [[calls(of, thread) for thread in range(threads)] for of in steps]
    sizes = ITEMSIZE[problem.dtype], ITEMSIZE[problem.result_dtype]
    tiles = Tiles(divided.loops, sizes, *groups)
    result = 0 if problem.inplace else 1
    return tiles.call(Slot(0), Slot(result), Slot(result + 1), name="callbacks", error=_failure)


def _by_passes(problem: FFTProblem, of: _Steps, direction: int, threads: int) -> list[Call]:
    """A pass that loads everything, the transform, a pass that stores everything; each by all threads."""
    result = 0 if problem.inplace else 1
    workspace = Slot(result + 1)
    calls = of.transforms(direction, Slot(0), Slot(result), workspace, 0)
    if of.tile.loads is not None:
        calls.insert(0, _pass(of.load, of.tile.loads, ITEMSIZE[problem.dtype], Slot(0), workspace, threads))
    if of.tile.stores is not None:
        stored = Slot(workspace.operand, of.stored_at)
        calls.append(_pass(of.store, of.tile.stores, ITEMSIZE[problem.result_dtype], Slot(result), stored, threads))
    return calls


def _pass(
    walking: Callable[..., Call], axes: Sequence[Dimension], size: int, array: Slot, tile: Slot, threads: int
) -> Call:
    """A callback for all elements of an array, and of a copy that lies otherwise."""
    elements = math.prod(n for n, _, _ in axes)
    pieces = max(1, min(threads * PIECES, elements * size // PIECE))
    divided = cut(axes, -(-elements // pieces))
    members = max(1, min(threads, divided.tiles, MOST_THREADS))
    parts = [divided.full] if divided.rest is None else [divided.full, divided.rest]
    groups = [[[walking(part, FIRST, FIRST_OFFSET, SECOND_AT)]] * members for part in parts]
    return Tiles(divided.loops, (size, size), *groups).call(array, tile, 0, name="callbacks", error=_failure)


class _InPython:
    """The same for a library that is called in Python: on arrays over the tiles, which are made once."""

    def __init__(
        self, problem: FFTProblem, divided: Cut, steps: Sequence[_Steps], direction: int, threads: int, by_tiles: bool
    ):
        self._problem, self._steps, self._direction = problem, steps, direction
        self._sizes = ITEMSIZE[problem.dtype], ITEMSIZE[problem.result_dtype]
        self._threads = threads if by_tiles else 1
        self._offsets = list(_offsets(divided.loops))
        self._last = divided.loops[-1][0] if divided.loops else 1
        self._made = [[self._calls(of, by_tiles, threads) for of in steps] for _ in range(self._threads)]
        self._memory = [self._room() for _ in range(self._threads)]

    def _calls(self, of: _Steps, by_tiles: bool, threads: int) -> tuple[Call | None, Call | None]:
        load = store = None
        stored = Slot(WORKSPACE.operand, of.stored_at)
        if (loads := of.tile.loads) is not None:
            load = (
                of.load(loads, FIRST, FIRST_OFFSET, WORKSPACE) if by_tiles
                else _pass(of.load, loads, self._sizes[0], FIRST, WORKSPACE, threads)
            )  # fmt: skip
        if (stores := of.tile.stores) is not None:
            store = (
                of.store(stores, SECOND, SECOND_OFFSET, stored) if by_tiles
                else _pass(of.store, stores, self._sizes[1], SECOND, stored, threads)
            )  # fmt: skip
        return load, store

    def _room(self) -> tuple[np.ndarray, int]:
        memory = np.empty(max(of.size for of in self._steps) + 64, np.uint8)
        return memory, memory.ctypes.data + -memory.ctypes.data % 64

    def __call__(self, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        first = as_numpy(operands[0]).__array_interface__["data"][0]
        second = as_numpy(results[0]).__array_interface__["data"][0] if results else first
        turns = count()
        failures: list[BaseException] = []

        def work(member: int) -> None:
            try:
                while not failures and (number := next(turns)) < len(self._offsets):
                    self._tile(member, number, first, second)
            except BaseException as error:
                failures.append(error)

        helpers = [Thread(target=work, args=(member,)) for member in range(1, min(self._threads, len(self._offsets)))]
        for helper in helpers:
            helper.start()
        work(0)
        for helper in helpers:
            helper.join()
        if failures:
            raise failures[0]

    def _tile(self, member: int, number: int, first: int, second: int) -> None:
        offsets = self._offsets[number]
        kind = 1 if len(self._steps) > 1 and number % self._last == self._last - 1 else 0
        of, (load, store) = self._steps[kind], self._made[member][kind]
        memory, room = self._memory[member]
        at = [base + offset * size for base, offset, size in zip((first, second), offsets, self._sizes, strict=True)]
        addresses = first, second, room, *offsets, *at
        _check(load, addresses)
        inner = of.tile.problem
        source = room if of.tile.loads is not None else at[0]
        operand = _array_at(source, inner.shape, inner.strides, inner.dtype, memory)
        results: tuple[np.ndarray, ...] = ()
        if not inner.inplace:
            target = room + of.target if of.tile.stores is not None else at[1]
            results = (_array_at(target, inner.result_shape, inner.result_strides, inner.result_dtype, memory),)
        program = of.prepared.programs[self._direction]
        assert program.function is not None
        program.function((operand,), results)
        _check(store, addresses)


def _check(call: Call | None, addresses: Sequence[int]) -> None:
    if call is not None and (status := call(*addresses)):
        raise _failure(status, call.name)


def _offsets(loops: Sequence[Dimension]) -> list[tuple[int, int]]:
    """How many elements into both arrays each tile starts, the innermost loop fastest."""
    return [
        (sum(i * s for i, (_, s, _) in zip(position, loops, strict=True)),
         sum(i * r for i, (_, _, r) in zip(position, loops, strict=True)))
        for position in product(*(range(n) for n, _, _ in loops))
    ]  # fmt: skip


class _Memory:
    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, owner: Any):
        self.owner = owner
        self.__array_interface__ = {
            "version": 3, "typestr": dtype.str, "data": (address, False), "shape": shape,
            "strides": tuple(step * dtype.itemsize for step in strides),
        }  # fmt: skip


def _array_at(address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str, owner: Any) -> np.ndarray:
    return np.asarray(_Memory(address, shape, strides, np.dtype(dtype), owner))
