"""Transforms that planmath's threads share, with each part a library's transform on one thread.

Threads of the libraries look for work for a while after a call, and meet those of the library that is called next.
These look for some microseconds, and who calls does what they come too late for. A transform of several axes is made in
two passes: over all axes but the first, and along the first one, in place in the result. A single one of one axis is
made of two or four, of every second or fourth element, which are then put together (decimation in time).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from planmath.core.arrays import ITEMSIZE
from planmath.core.errors import UnavailableError
from planmath.core.tiles import FIRST_AT, MOST_LOOPS, MOST_THREADS, SECOND_AT, SECOND_OFFSET, Tiles
from planmath.fft.kernels import COMBINE
from planmath.fft.problem import FFTProblem, fuse
from planmath.fft.providers.tiles import Dimension, cut
from planmath.native.call import Call, Slot

#: Parts for each thread: one that comes late finds some left.
PARTS = 2
#: Transforms of a part, at least, along an axis whose elements are apart: as many lie in a few lines of the caches.
LEAST = 16

#: Makes the calls for some transforms: of this kind, over these axes, with this batch, from one slot to another.
Transforms = Callable[[str, Sequence[Dimension], Sequence[Dimension], Slot, Slot], list[Call]]


def may_be_shared(problem: FFTProblem) -> bool:
    """Whether a transform consists of several, none of which is most of the work, or can be made of such."""
    if problem.threads < 2 or (problem.kind == "C2R" and sum(n > 1 for n, _, _ in problem.transformed()) > 1):
        return False
    if parts_of_one(problem):
        return True
    return all(math.prod(n for n, _, _ in batch) >= problem.threads for _, _, batch, _ in passes(problem))


def parts_of_one(problem: FFTProblem) -> int:
    """Of how many transforms a single one of one axis is made; 0 for what is no such."""
    along = [axis for axis in problem.transformed() if axis[0] > 1]
    if problem.kind != "C2C" or problem.inplace or problem.batch() or len(along) != 1 or along[0][2] != 1:
        return 0
    return next((parts for parts in (4, 2) if parts <= problem.threads and along[0][0] % parts == 0), 0)


def passes(problem: FFTProblem) -> list[tuple[str, list[Dimension], list[Dimension], bool]]:
    """The kind, the axes and the batch of each pass, and whether it is in place in the result."""
    batch, axes = problem.batch(), problem.transformed()
    first, *rest = [axis for axis in axes[:-1] if axis[0] > 1] + axes[-1:]
    if parts := parts_of_one(problem):
        n, step, _ = max(axes)
        return [("C2C", [(n // parts, parts * step, 1)], [(parts, step, n // parts)], False)]
    if not rest:
        return [(problem.kind, [first], batch, problem.inplace)]
    along = first[2]
    written = zip(problem.result_shape, problem.result_strides, strict=True)
    others = fuse((n, r, r) for n, r in written if n > 1 and r != along)
    return [
        (problem.kind, rest, fuse([*batch, first]), problem.inplace),
        ("C2C", [(first[0], along, along)], others, True),
    ]


def shared(
    problem: FFTProblem, direction: int, operand: Slot, result: Slot, transforms: Transforms, plans_of_their_own: bool
) -> list[Call]:
    """The calls that do the passes, each by all threads, which share the plans or have some of their own."""
    calls = []
    for kind, axes, batch, in_place in passes(problem):
        count = math.prod(n for n, _, _ in batch)
        most = -(-count // (PARTS * problem.threads))
        if axes[-1][1] != 1:
            most = max(most, min(LEAST, count // problem.threads))
        divided = cut(batch, most)
        if len(divided.loops) > MOST_LOOPS:
            raise UnavailableError(f"sharing would need {len(divided.loops)} loops over parts; {MOST_LOOPS} can nest")
        threads = max(1, min(problem.threads, divided.tiles, MOST_THREADS))
        pieces = [divided.full] if divided.rest is None else [divided.full, divided.rest]
        source = SECOND_AT if in_place else FIRST_AT
        made = [
            [transforms(kind, axes, piece, source, SECOND_AT) for _ in range(threads if plans_of_their_own else 1)]
            for piece in pieces
        ]
        groups = [plans if plans_of_their_own else plans * threads for plans in made]
        sizes = ITEMSIZE[problem.dtype], ITEMSIZE[problem.result_dtype]
        call = Tiles(divided.loops, sizes, *groups).call(result if in_place else operand, result, 0, name="sharing")
        calls.append(call)
    if parts_of_one(problem):
        calls.append(_combined(problem, direction, result))
    return calls


def _combined(problem: FFTProblem, direction: int, result: Slot) -> Call:
    """The call that puts a single transform together from its parts, of n elements each."""
    parts = parts_of_one(problem)
    n = max(n for n, _, _ in problem.transformed()) // parts
    roots = np.array([_roots(direction * part, parts * n, n) for part in range(1, parts)], problem.result_dtype)
    divided = cut([(n, 1, 1)], -(-n // (PARTS * problem.threads)))
    threads = min(problem.threads, divided.tiles, MOST_THREADS)
    groups = [
        [[
            Call(
                COMBINE[parts, problem.precision], [size, n, direction, roots.ctypes.data, SECOND_OFFSET, SECOND_AT],
                name="combining", keep=roots,
            )
        ]] * threads
        for ((size, _, _),) in ([divided.full] if divided.rest is None else [divided.full, divided.rest])
    ]  # fmt: skip
    sizes = (ITEMSIZE[problem.result_dtype],) * 2
    return Tiles(divided.loops, sizes, *groups).call(result, result, 0, name="sharing")


def _roots(power: int, n: int, count: int) -> np.ndarray:
    """The first numbers exp(2πi power k / n), as products of a coarse step and a fine one, of which there are few."""
    fine = math.isqrt(count)
    steps = np.arange(fine), fine * np.arange(-(-count // fine))
    near, far = (np.exp(2j * np.pi * power / n * k) for k in steps)
    return (far[:, None] * near).reshape(-1)[:count]
