"""Transforms that planmath's threads share, with each part a library's transform on one thread.

Threads of the libraries look for work for a while after a call, and meet those of the library that is called next.
These end with the call. A transform of several axes is made in two passes: over all axes but the first, and along the
first one, in place in the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from planmath.core.arrays import ITEMSIZE
from planmath.core.errors import UnavailableError
from planmath.core.tiles import FIRST_AT, MOST_LOOPS, MOST_THREADS, SECOND_AT, Tiles
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
    """Whether a transform consists of several, none of which is most of the work."""
    if problem.threads < 2 or (problem.kind == "C2R" and sum(n > 1 for n, _, _ in problem.transformed()) > 1):
        return False
    return all(math.prod(n for n, _, _ in batch) >= problem.threads for _, _, batch, _ in passes(problem))


def passes(problem: FFTProblem) -> list[tuple[str, list[Dimension], list[Dimension], bool]]:
    """The kind, the axes and the batch of each pass, and whether it is in place in the result."""
    batch, axes = problem.batch(), problem.transformed()
    first, *rest = [axis for axis in axes[:-1] if axis[0] > 1] + axes[-1:]
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
    problem: FFTProblem, operand: Slot, result: Slot, transforms: Transforms, plans_of_their_own: bool
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
        parts = [divided.full] if divided.rest is None else [divided.full, divided.rest]
        source = SECOND_AT if in_place else FIRST_AT
        made = [
            [transforms(kind, axes, part, source, SECOND_AT) for _ in range(threads if plans_of_their_own else 1)]
            for part in parts
        ]
        groups = [plans if plans_of_their_own else plans * threads for plans in made]
        sizes = ITEMSIZE[problem.dtype], ITEMSIZE[problem.result_dtype]
        call = Tiles(divided.loops, sizes, *groups).call(result if in_place else operand, result, 0, name="sharing")
        calls.append(call)
    return calls
