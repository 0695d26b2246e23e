"""A transform as a sequence of stages, each of which one cuFFT plan computes, repeated in loops where it must be.

A plan transforms up to three axes, and repeats that along one batch axis. Its axes are those of an array in C order,
embedded in a larger one: each axis's stride is a multiple of the next one's, in the operand and in the result
("Advanced Data Layout" in cuFFT's documentation). Other layouts, and more axes, take several stages; more batch axes
are loops. What no plan can read or write is copied into a dense intermediate first, or from one at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise, permutations, product
from typing import NamedTuple

from planmath.core.arrays import ITEMSIZE
from planmath.fft.problem import FFTProblem, fuse

Dimension = tuple[int, int, int]
"""An axis: its extent, and its strides in what is read and in what is written, in elements."""

#: The most axes of one plan.
MOST_AXES = 3
#: What stages read and write. Intermediates are dense arrays in the workspace.
OPERAND, RESULT, COMPLEX, REAL = "operand", "result", "complex intermediate", "real intermediate"
#: The ways to divide the work: as few stages as possible; the last axis of R2C and C2R, along which one side is real,
#: by itself; each axis by itself. Where the transformed axes are not the fastest in memory, also with a copy in which
#: they are. C2R always has its last axis by itself, which is its definition: what one plan of several axes makes of
#: operands that are not Hermitian is the library's affair.
TOGETHER, LAST_APART, ONE_BY_ONE = WAYS = ("together", "last apart", "one by one")
WAYS_OF = {"C2C": (TOGETHER, ONE_BY_ONE), "R2C": WAYS, "C2R": (LAST_APART, ONE_BY_ONE)}
COPIED = "together, copied"
#: The order of axes that suits any plan: the transformed ones fastest.
FASTEST = "transformed axes fastest"
#: Seconds that a launch and reading or writing a byte take, to compare ways that were not measured: measured for
#: cufftXtExec on an H200, and the bandwidth of its memory.
LAUNCH, BYTE = 3e-6, 1 / 3.5e12


class Stage(NamedTuple):
    """A transform with its batch or, with the kind 'copy', a copy."""

    kind: str
    transformed: tuple[Dimension, ...]
    """From the outermost to the innermost; extents are those of the side that has all elements."""
    batch: tuple[Dimension, ...]
    """All other axes; no two of them are one in memory."""
    source: str
    target: str

    @property
    def extents(self) -> tuple[list[int], list[int]]:
        """Extents of the transformed axes in what is read, and in what is written."""
        full = [n for n, _, _ in self.transformed]
        half = [*full[:-1], full[-1] // 2 + 1] if full else []
        return half if self.kind == "C2R" else full, half if self.kind == "R2C" else full

    @property
    def native(self) -> Dimension:
        """The batch axis that goes into the plan: the longest one that can, if the loops over the others can be."""
        possible = [dim for dim in self.batch if dim[1] > 0 and dim[2] > 0 and self._aligned(dim)]
        return max(possible, key=lambda dim: dim[0], default=(1, 1, 1))

    @property
    def loops(self) -> list[Dimension]:
        """The other batch axes."""
        return [dim for dim in self.batch if dim is not self.native]

    def _aligned(self, native: Dimension) -> bool:
        """Whether loops over all but this axis keep real elements at addresses of complex ones, as cuFFT needs them."""
        real_side = {"R2C": 1, "C2R": 2}.get(self.kind, 0)
        return not real_side or all(dim[real_side] % 2 == 0 for dim in self.batch if dim is not native)

    @property
    def possible(self) -> bool:
        """Whether cuFFT can compute it, and leaves the user's operand as it is.

        Before C2R the imaginary parts that it should ignore become zero, and it overwrites what it reads.
        """
        if self.kind == "copy":
            return True
        if self.kind == "C2R" and self.source == OPERAND:
            return False
        sides = ([dim[side] for dim in self.transformed] for side in (1, 2))
        return all(map(nested, sides)) and self._aligned(self.native)

    @property
    def launches(self) -> int:
        each = 1 if self.kind != "C2R" else 3 - self.transformed[-1][0] % 2
        return 1 if self.kind == "copy" else each * math.prod(n for n, _, _ in self.loops)

    @property
    def ignored(self) -> list[int]:
        """Where in each row that it reads C2R has elements whose imaginary parts have to be ignored.

        cuFFT's documentation promises it nowhere, and for some lengths the imaginary part of the first one counts.
        """
        n, step, _ = self.transformed[-1]
        return [0, n // 2 * step] if n % 2 == 0 else [0]

    def embedding(self, side: int) -> tuple[list[int], int]:
        """cuFFT's description of what is read (1) or written (2): extents of the larger array, and a factor."""
        steps = [dim[side] for dim in self.transformed]
        larger = [outer // inner if inner else 1 for outer, inner in pairwise(steps)]
        return [self.extents[side - 1][0], *larger], steps[-1]


def nested(steps: Sequence[int]) -> bool:
    """Whether these are strides of the axes of an array in C order that is embedded in a larger one."""
    return steps[-1] > 0 and all(
        outer >= 0 and (outer % inner == 0 if inner else outer == 0) for outer, inner in pairwise(steps)
    )


def intermediate_elements(stages: Iterable[Stage]) -> dict[str, int]:
    """How many elements each intermediate needs."""
    sizes: dict[str, int] = {}
    for stage in stages:
        for side, place in ((1, stage.source), (2, stage.target)):
            if place in (COMPLEX, REAL):
                extents = [*stage.extents[side - 1], *(n for n, _, _ in stage.batch)]
                axes = zip(extents, [*stage.transformed, *stage.batch], strict=True)
                sizes[place] = max(sizes.get(place, 0), 1 + sum((n - 1) * dim[side] for n, dim in axes))
    return sizes


@lru_cache
def divisions(problem: FFTProblem) -> Mapping[str, Sequence[Stage]]:
    """The ways to divide the problem, where they differ, the one to expect most of first."""
    several = sum(problem.real_shape[axis] > 1 for axis in problem.axes) > 1
    ways = WAYS_OF[problem.kind] if several else (TOGETHER,)
    found: dict[str, list[Stage]] = {}
    for way in ways:
        best = _best(problem, way)
        if best not in found.values():
            found[way] = best
    if not _fastest(found[ways[0]]):
        copied = _best(problem, TOGETHER, copied=True)
        if copied and copied not in found.values():
            found[COPIED] = copied
    return dict(sorted(found.items(), key=lambda item: cost(item[1], problem)))


def _best(problem: FFTProblem, way: str, copied: bool = False) -> list[Stage]:
    """The stages of a way, with the copies it needs; with `copied`, those after which transformed axes are fastest."""
    possible: list[list[Stage]] = []
    for gather, scatter in product((False, True), repeat=2):
        for order in (FASTEST,) if copied else (OPERAND, RESULT, FASTEST):
            stages = _divide(problem, way, gather, scatter, order)
            if all(_possible(stage, problem) for stage in stages) and (_fastest(stages) or not copied):
                possible.append(stages)
                if not (gather or scatter) and all(stage.launches == 1 for stage in stages):
                    return stages
    return min(possible, key=lambda stages: cost(stages, problem), default=[])


def _fastest(stages: Sequence[Stage]) -> bool:
    """Whether all transforms have their innermost axis without gaps in what they read and write."""
    return all(stage.transformed[-1][1:] == (1, 1) for stage in stages if stage.kind != "copy")


def _possible(stage: Stage, problem: FFTProblem) -> bool:
    """Whether it is possible with an operand where this one is: only copies take it from any address."""
    return stage.possible and (problem.aligned or stage.kind == "copy" or OPERAND not in (stage.source, stage.target))


def cost(stages: Sequence[Stage], problem: FFTProblem) -> float:
    """Seconds to expect: for launching, and for all stages to read and write all elements."""
    elements = math.prod(problem.real_shape) * ITEMSIZE[problem.precision]
    return LAUNCH * sum(stage.launches for stage in stages) + BYTE * 2 * elements * len(stages)


class _Axis(NamedTuple):
    extent: int
    spectrum: int
    """The extent in what is complex: less, for the last axis of R2C and C2R."""
    steps: Mapping[str, int]
    """The strides in operand, result and intermediates."""


#: Makes another axis an outer one: only outer axes can have a stride of 0.
NO_AXIS = _Axis(1, 1, dict.fromkeys((OPERAND, RESULT, COMPLEX, REAL), 1))


def _divide(problem: FFTProblem, way: str, gather: bool, scatter: bool, order: str) -> list[Stage]:
    """The stages of one way.

    Parameters
    ----------
    gather, scatter : bool
        Whether the operand is copied into an intermediate first, and the result from one at the end.
    order : str
        The order of the intermediates' axes: OPERAND's, RESULT's, or FASTEST.
    """
    kind = problem.kind
    axes = _axes_of(problem, order)
    last = axes[problem.axes[-1]]
    leading = [axes[axis] for axis in problem.axes[:-1] if axes[axis].extent > 1]
    batch = [axis for number, axis in enumerate(axes) if number not in problem.axes and axis.extent > 1]
    source, target = OPERAND, OPERAND if problem.inplace else RESULT
    before, after = [], []
    if gather:
        place = REAL if kind == "R2C" else COMPLEX
        before = [_stage("copy", (), [*batch, *leading, last], source, place)]
        source = place
    if scatter:
        place = REAL if kind == "C2R" else COMPLEX
        after = [_stage("copy", (), [*batch, *leading, last], place, target)]
        target = place
    if kind == "C2C":
        between = _complex([*leading, *([last] if last.extent > 1 else [])], batch, source, target, way)
    elif kind == "R2C":
        group, rest = _group(leading, [last], source, target, way)
        between = [_stage(kind, group, [*batch, *rest], source, target)]
        between += _complex(rest, [*batch, *group], target, target, way) if rest else []
    else:
        between = []
        if leading:
            between = _complex(leading, [*batch, last], source, COMPLEX, way)
            source = COMPLEX
        between.append(_stage(kind, [last], [*batch, *leading], source, target))
    return [*before, *between, *after]


def _axes_of(problem: FFTProblem, order: str) -> list[_Axis]:
    """All axes. Intermediates are dense, but for a gap that keeps the rows of real ones at even elements."""
    spectrum = problem.shape if problem.kind == "C2R" else problem.result_shape
    steps = {OPERAND: problem.strides, RESULT: problem.result_strides}
    slowest_first = sorted(range(len(spectrum)), key=lambda axis: -abs(steps.get(order, problem.strides)[axis]))
    if order == FASTEST:
        slowest_first = [*(axis for axis in slowest_first if axis not in problem.axes), *problem.axes]
    for place, shape in ((COMPLEX, spectrum), (REAL, problem.real_shape)):
        found, step = [0] * len(shape), 1
        for axis in reversed(slowest_first):
            found[axis] = step
            step *= shape[axis]
            step += step % 2 if place == REAL else 0
        steps[place] = tuple(found)
    return [
        _Axis(n, m, {place: of[axis] for place, of in steps.items()})
        for axis, (n, m) in enumerate(zip(problem.real_shape, spectrum, strict=True))
    ]


def _complex(axes: Sequence[_Axis], batch: Sequence[_Axis], source: str, target: str, way: str) -> list[Stage]:
    """Complex transforms: the first stage from source to target, the others in the target."""
    group, rest = _group(axes, [], source, target, way)
    first = _stage("C2C", group, [*batch, *rest], source, target)
    return [first, *(_complex(rest, [*batch, *group], target, target, way) if rest else [])]


def _group(
    axes: Sequence[_Axis], innermost: list[_Axis], source: str, target: str, way: str
) -> tuple[list[_Axis], list[_Axis]]:
    """As many of the axes as one plan can have, in its order, before those that must be the innermost; and the rest."""
    most = 1 if way == ONE_BY_ONE or (way == LAST_APART and innermost) else MOST_AXES
    for end in [innermost] if innermost else [[], [NO_AXIS]]:
        sizes = range(min(most - len(innermost), MOST_AXES - len(end), len(axes)), -1, -1)
        for chosen in (chosen for size in sizes for chosen in permutations(axes, size)):
            group = [*chosen, *end]
            if (chosen or innermost or not axes) and group and _nested(group, source) and _nested(group, target):
                return group, [axis for axis in axes if axis not in chosen]
    return [*axes[:1], *innermost], list(axes[1:])  # no plan's: the stage will say that it is not possible


def _nested(group: Sequence[_Axis], place: str) -> bool:
    return nested([axis.steps[place] for axis in group])


def _stage(kind: str, group: Sequence[_Axis], others: Sequence[_Axis], source: str, target: str) -> Stage:
    def dimensions(axes: Sequence[_Axis], full: bool) -> list[Dimension]:
        found = [(a.extent if full else a.spectrum, a.steps[source], a.steps[target]) for a in axes]
        return [dim for dim in found if dim[0] > 1 or axes is group]

    real = kind == "copy" and REAL in (source, target)
    transformed = tuple(dimensions(group, kind != "C2C"))
    return Stage(kind, transformed, tuple(fuse(dimensions(others, real))), source, target)
