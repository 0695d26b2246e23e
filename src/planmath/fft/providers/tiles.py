"""How a transform with callbacks is divided: tiles that stay in a cache, and what is loaded and stored of each.

A tile is some transforms of the batch. The prolog loads it into memory of its own, a library transforms it there, and
the epilog stores it. What has no callback the library reads or writes where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from planmath.core.arrays import ITEMSIZE, contiguous_strides, spanned
from planmath.fft.problem import FFTProblem, fuse

Dimension = tuple[int, int, int]
"""An axis: its extent, and its strides in two arrays, in elements."""

#: Regions of the workspace start at multiples of so many bytes.
ALIGNMENT = 256


class Cut(NamedTuple):
    """Axes divided into tiles."""

    loops: tuple[Dimension, ...]
    """Loops over tiles, outermost first: how many, and elements between them in both arrays."""
    full: tuple[Dimension, ...]
    """The axes of a tile, outermost first."""
    rest: tuple[Dimension, ...] | None
    """Those of the last tile of the innermost loop, where that is smaller."""

    @property
    def tiles(self) -> int:
        return math.prod(count for count, _, _ in self.loops)


def cut(axes: Sequence[Dimension], most: int) -> Cut:
    """Tiles of at most so many elements of axes that are given from the outermost to the innermost.

    Examples
    --------
    >>> cut([(3, 20, 20), (10, 2, 2)], 4)
    Cut(loops=((3, 20, 20), (3, 8, 8)), full=((4, 2, 2),), rest=((2, 2, 2),))
    """
    inner: list[Dimension] = []
    outer = list(axes)
    while outer:
        n, first, second = outer.pop()
        if n <= most:
            inner.insert(0, (n, first, second))
            most //= n
            continue
        count = -(-n // max(most, 1))
        size = -(-n // count)
        count = -(-n // size)
        rest = n - (count - 1) * size
        return Cut(
            (*outer, (count, size * first, size * second)),
            ((size, first, second), *inner),
            None if rest == size else ((rest, first, second), *inner),
        )
    return Cut((), tuple(inner), None)


class Tile(NamedTuple):
    """Some of a problem's transforms, as a library computes them."""

    problem: FFTProblem
    """Without callbacks, and with the layouts of a tile where there are callbacks."""
    loads: list[Dimension] | None
    """The axes that are loaded, with their strides in the operand and in the tile."""
    stores: list[Dimension] | None
    """The axes that the epilog stores, with their strides in the result and in the tile."""
    loaded: int
    """Bytes of what is loaded."""
    stored: int
    """Bytes of what the epilog stores, where it is not in the same place."""


def tile_of(
    problem: FFTProblem, batch: Sequence[Dimension], *, even: bool = False, copied: bool = False, within: bool = False
) -> Tile:  # fmt: skip
    """Transforms of a problem with callbacks that a part of its batch has, in tiles without gaps.

    Parameters
    ----------
    problem : FFTProblem
    batch : sequence of Dimension
    even : bool
        Whether rows of real elements begin at even ones, as devices need it.
    copied : bool
        Whether a tile is loaded also where there is no prolog, so that a complex transform is in place.
    within : bool
        Whether what a prolog loads goes to where the result is to be, and a complex transform is in place there.
    """
    axes = problem.axes
    outer = [n for n, _, _ in batch]
    read = (*outer, *(problem.shape[axis] for axis in axes))
    written = (*outer, *(problem.result_shape[axis] for axis in axes))
    read_steps = (*(s for _, s, _ in batch), *(problem.strides[axis] for axis in axes))
    written_steps = (*(r for _, _, r in batch), *(problem.result_strides[axis] for axis in axes))
    order = tuple(sorted(range(len(read)), key=lambda axis: (-abs(read_steps[axis]), axis)))

    def dense(shape: tuple[int, ...], real: bool) -> tuple[int, ...]:
        if not (even and real):
            return contiguous_strides(shape, order)
        fastest = order[-1]
        padded = tuple(n + n % 2 if axis == fastest else n for axis, n in enumerate(shape))
        return contiguous_strides(padded, order)

    loaded = problem.prolog is not None or copied
    source = dense(read, problem.kind == "R2C") if loaded else read_steps
    inplace = problem.kind == "C2C" and loaded and (problem.epilog is not None or within)
    target = written_steps
    if within:
        source = target
    if problem.epilog:
        target = source if inplace else dense(written, problem.kind == "C2R")
    inner = problem.plain._replace(
        shape=read, strides=source, result_shape=written, result_strides=target, inplace=inplace,
        axes=tuple(range(len(outer), len(read))), aligned=problem.aligned or (loaded and not within),
    )  # fmt: skip
    sizes = [
        spanned(shape, steps)[1] * ITEMSIZE[dtype]
        for shape, steps, dtype in ((read, source, inner.dtype), (written, target, inner.result_dtype))
    ]
    return Tile(
        inner,
        _walked(read, read_steps, source) if loaded else None,
        _walked(written, written_steps, target) if problem.epilog else None,
        sizes[0] if loaded and not within else 0,
        sizes[1] if problem.epilog and not inplace else 0,
    )


def _walked(shape: Sequence[int], steps: Sequence[int], tile: Sequence[int]) -> list[Dimension]:
    """The axes of an array and a tile by which all elements are visited, outermost first."""
    return fuse((n, s, t) for n, s, t in zip(shape, steps, tile, strict=True) if n > 1)


def slowest_first(batch: Sequence[Dimension]) -> list[Dimension]:
    """The axes of a batch, from the slowest in the operand to the fastest."""
    return sorted(batch, key=lambda axis: -abs(axis[1]))


def rounded(size: int) -> int:
    """Bytes of a region of the workspace, so that the next one is aligned."""
    return -(-size // ALIGNMENT) * ALIGNMENT
