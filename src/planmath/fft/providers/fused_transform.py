"""Transforms of powers of two on CUDA devices by one or two kernels of planmath's own, with the callbacks inside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from planmath.core.arrays import COMPLEX_OF, ITEMSIZE
from planmath.core.cuda import device_code, devices
from planmath.core.errors import UnavailableError
from planmath.fft.problem import FFTProblem
from planmath.fft.providers.lines import MOST, MOST_AXES, Lines, lines_of
from planmath.native.call import Call, Slot

#: Elements that a thread has in registers; the least and most complex elements of one kernel, of which a real transform
#: has half as many: what shared memory has room for; and of two kernels.
EACH = {"float32": 16, "float64": 8}
SHORTEST, LONGEST = 64, {"float32": 8192, "float64": 4096}
LONGEST_OF_TWO = 1 << 24
#: Threads of a block, where a transform does not need more; what it may have where transforms lie side by side, and
#: how many of these there are at most, so that each access is to whole sectors of memory.
THREADS, MOST_THREADS = 128, 512
SIDE_BY_SIDE = 8
#: Bytes of shared memory for transforms side by side.
MOST_SHARED = 72 << 10


class Step(NamedTuple):
    """One kernel."""

    lines: Lines
    turn: int = 1
    """Elements of the transform that this is the first half of."""

    @property
    def points(self) -> int:
        """Complex elements of a transform; a real one has twice as many real ones."""
        return self.lines.length // (1 if self.lines.kind == "C2C" else 2)

    @property
    def each(self) -> int:
        return EACH[self.lines.precision]

    @property
    def side_by_side(self) -> bool:
        """Whether neighbouring threads have neighbouring transforms."""
        return self.lines.steps != (1, 1)

    @property
    def threads(self) -> int:
        """Of a transform."""
        return self.points // self.each

    @property
    def shared(self) -> int:
        """Bytes of shared memory for a transform."""
        return (self.points + self.threads + 1) * ITEMSIZE[COMPLEX_OF[self.lines.precision]]

    @property
    def per_block(self) -> int:
        usual = max(1, THREADS // self.threads)
        if not self.side_by_side:
            return usual
        fitting = min(MOST_THREADS // self.threads, MOST_SHARED // self.shared)
        return max(1, min(max(usual, SIDE_BY_SIDE), fitting))

    def definitions(self, direction: int) -> tuple[str, ...]:
        """The macros that fit the kernel to it."""
        passes = radices(self.points, self.each)
        return (
            *self.lines.definitions, f"SINCOSPI={'sincospif' if self.lines.precision == 'float32' else 'sincospi'}",
            f"SIGN={direction}", f"THREADS={self.threads}", f"EACH={self.each}",
            f"RADICES={','.join(map(str, passes))}", f"FIRST_RADIX={passes[0]}", f"LAST_RADIX={passes[-1]}",
            f"PER_BLOCK={self.per_block}", f"SIDE_BY_SIDE={int(self.side_by_side)}", f"TURN={self.turn}",
        )  # fmt: skip

    def source(self, capability: tuple[int, int]) -> tuple[str, tuple[bytes, ...]]:
        """The kernel's source, and the LTO-IR that has to be linked to it."""
        before, pieces = self.lines.source(capability)
        return before + Path(__file__).with_suffix(".cu").read_text(), pieces


def steps(problem: FFTProblem) -> tuple[Step, ...]:
    """The kernels that compute it, one or two, or none where they cannot.

    They can compute a batch of transforms along one axis whose elements, or whose neighbours', are next to each other.
    """
    lines = lines_of(problem)
    if lines is None:
        return ()
    n, (read, written), batch = lines.length, lines.steps, lines.batch
    alone = Step(lines)
    if alone.points < SHORTEST or n & (n - 1):
        return ()
    if alone.side_by_side and not (batch and batch[-1][1:] == (1, 1)):
        return ()
    if alone.points <= LONGEST[lines.precision]:
        return (alone,)
    if lines.kind != "C2C" or n > LONGEST_OF_TWO or alone.side_by_side or len(batch) == MOST_AXES:
        return ()
    if lines.transforms * n >= MOST:
        return ()
    second = 1 << (n.bit_length() - 1) // 2
    first = n // second
    between = [math.prod(m for m, _, _ in batch[place + 1 :]) * n for place in range(len(batch))]
    reading = [(m, step, to) for (m, step, _), to in zip(batch, between, strict=True)]
    writing = [(m, of, step) for (m, _, step), of in zip(batch, between, strict=True)]
    columns = lines._replace(
        length=first, steps=(second * read, second), batch=(*reading, (second, read, 1)), epilog=None
    )
    rows = lines._replace(
        length=second, steps=(1, first * written), batch=(*writing, (first, second, written)), prolog=None
    )
    return Step(columns, n), Step(rows)


def suits(problem: FFTProblem) -> bool:
    """Whether there are kernels for it."""
    return bool(steps(problem))


def preferred(problem: FFTProblem) -> bool:
    """Whether to expect more of them than of a kernel before and after cuFFT's: not where two kernels read and write
    fewer than `SIDE_BY_SIDE` elements in a row."""
    made = steps(problem)
    return len(made) == 1 or all(step.per_block >= SIDE_BY_SIDE for step in made)


def radices(length: int, each: int) -> list[int]:
    """The radices of the passes, which multiply to the length; none is larger than what a thread has."""
    found = []
    while length > 1:
        found.append(min(each, length))
        length //= found[-1]
    return found


def scratch(problem: FFTProblem) -> int:
    """Bytes of the workspace: what is between two kernels."""
    made = steps(problem)
    return made[0].lines.transforms * made[0].points * ITEMSIZE[problem.dtype] if len(made) > 1 else 0


def calls(problem: FFTProblem, direction: int) -> list[Call]:
    """What to call for the whole transform."""
    made = steps(problem)
    if not made:
        raise UnavailableError("planmath's own kernel has no transform of this length and layout")
    device_id, result = problem.execution[1], 0 if problem.inplace else 1
    places = [Slot(0), *([Slot(result + 1)] if len(made) > 1 else []), Slot(result)]
    found: list[Call] = []
    for number, step in enumerate(made):
        text, pieces = step.source(devices.device(device_id).compute_capability)
        kernel = device_code.linked_kernel(text, "fused_transform", device_id, step.definitions(direction), pieces)
        found += step.lines.launch(
            kernel, step.per_block, (step.per_block * step.threads, 1), step.per_block * step.shared,
            problem.factor(direction) if number == len(made) - 1 else 1.0, places[number], places[number + 1],
            Slot(result + 2), device_id,
        )  # fmt: skip
    return found
