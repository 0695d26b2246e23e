"""Transforms of powers of two on CUDA devices by one or two kernels of planmath's own, with the callbacks inside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import COMPLEX_OF, ITEMSIZE
from planmath.core.cuda import device_code, devices
from planmath.core.errors import UnavailableError
from planmath.fft.problem import FFTProblem
from planmath.fft.providers.callback_kernels import ELEMENTS, access
from planmath.fft.providers.tiles import Dimension
from planmath.native.call import Call, Slot

MOST_AXES = 16
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
#: The kernel counts transforms in 32 bits.
MOST = 1 << 31

#: What the kernel is given, as its source declares it. Axes are ordered from the innermost to the outermost.
PARAMETERS = np.dtype(
    [
        ("operand", np.uintp), ("result", np.uintp), ("loaded", np.uintp), ("stored", np.uintp),
        ("scale", np.float64), ("count", np.int64), ("read_step", np.int64), ("written_step", np.int64),
        ("axes", np.int64), ("extents", np.int64, MOST_AXES), ("read", np.int64, MOST_AXES),
        ("written", np.int64, MOST_AXES),
    ]
)  # fmt: skip


class Step(NamedTuple):
    """One kernel: a batch of transforms along one axis."""

    kind: str
    precision: str
    points: int
    """Complex elements of a transform; a real one has twice as many real ones."""
    steps: tuple[int, int]
    """Elements between those of a transform, in what is read and in what is written."""
    batch: tuple[Dimension, ...]
    """From the slowest axis to the fastest."""
    prolog: Any = None
    epilog: Any = None
    turn: int = 1
    """Elements of the transform that this is the first half of."""

    @property
    def side_by_side(self) -> bool:
        """Whether neighbouring threads have neighbouring transforms."""
        return self.steps != (1, 1)

    @property
    def threads(self) -> int:
        """Of a transform."""
        return self.points // EACH[self.precision]

    @property
    def shared(self) -> int:
        """Bytes of shared memory for a transform."""
        room = self.points + self.points // EACH[self.precision] + 1
        return room * ITEMSIZE[COMPLEX_OF[self.precision]]

    @property
    def per_block(self) -> int:
        usual = max(1, THREADS // self.threads)
        if not self.side_by_side:
            return usual
        fitting = min(MOST_THREADS // self.threads, MOST_SHARED // self.shared)
        return max(1, min(max(usual, SIDE_BY_SIDE), fitting))

    @property
    def transforms(self) -> int:
        return math.prod(n for n, _, _ in self.batch)

    @property
    def elements(self) -> tuple[str, str]:
        """The dtypes of what is loaded and stored."""
        complex_ = COMPLEX_OF[self.precision]
        return (
            self.precision if self.kind == "R2C" else complex_,
            self.precision if self.kind == "C2R" else complex_,
        )

    def definitions(self, direction: int) -> tuple[str, ...]:
        """The macros that fit the kernel to it."""
        each = EACH[self.precision]
        passes = radices(self.points, each)
        part, sincospi = ("float", "sincospif") if self.precision == "float32" else ("double", "sincospi")
        return (
            "C2C=0", "R2C=1", "C2R=2", f"KIND={self.kind}", f"ELEMENT={ELEMENTS[COMPLEX_OF[self.precision]]}",
            f"OUT={ELEMENTS[self.elements[1]]}", f"PART={part}", f"SINCOSPI={sincospi}", f"SIGN={direction}",
            f"THREADS={self.threads}", f"EACH={each}", f"RADICES={','.join(map(str, passes))}",
            f"FIRST_RADIX={passes[0]}", f"LAST_RADIX={passes[-1]}", f"PER_BLOCK={self.per_block}",
            f"MOST_AXES={MOST_AXES}", f"SIDE_BY_SIDE={int(self.side_by_side)}", f"TURN={self.turn}",
        )  # fmt: skip

    def source(self, capability: tuple[int, int]) -> tuple[str, tuple[bytes, ...]]:
        """The kernel's source, and the LTO-IR that has to be linked to it."""
        pairs = zip(("prolog", "epilog"), (self.prolog, self.epilog), self.elements, strict=True)
        texts, pieces = zip(*(access(*each, capability) for each in pairs), strict=True)
        return "".join(texts) + Path(__file__).with_suffix(".cu").read_text(), pieces[0] + pieces[1]


def steps(problem: FFTProblem) -> tuple[Step, ...]:
    """The kernels that compute it, one or two, or none where they cannot.

    They can compute a batch of transforms along one axis whose elements, or whose neighbours', are next to each other.
    """
    lengths = [axis for axis in problem.transformed() if axis[0] > 1]
    if problem.precision not in EACH or len(lengths) != 1 or not (problem.aligned or problem.prolog is not None):
        return ()
    n, read, written = lengths[0]
    points = n if problem.kind == "C2C" else n // 2
    batch = problem.batch()
    most = MOST // (1 if points <= LONGEST[problem.precision] else points)
    if points < SHORTEST or n & (n - 1) or math.prod(m for m, _, _ in batch) >= most:
        return ()
    if (read, written) != (1, 1) and not (batch and batch[-1][1:] == (1, 1)):
        return ()
    alone = Step(problem.kind, problem.precision, points, (read, written), (*batch,), problem.prolog, problem.epilog)
    if points <= LONGEST[problem.precision]:
        return (alone,) if len(batch) <= MOST_AXES else ()
    if problem.kind != "C2C" or points > LONGEST_OF_TWO or len(batch) >= MOST_AXES or alone.side_by_side:
        return ()
    second = 1 << (n.bit_length() - 1) // 2
    first = n // second
    between = [math.prod(m for m, _, _ in batch[place + 1 :]) * n for place in range(len(batch))]
    reading = [(m, step, to) for (m, step, _), to in zip(batch, between, strict=True)]
    writing = [(m, of, step) for (m, _, step), of in zip(batch, between, strict=True)]
    return (
        alone._replace(points=first, steps=(second * read, second), batch=(*reading, (second, read, 1)),
                       epilog=None, turn=n),
        alone._replace(points=second, steps=(1, first * written), batch=(*writing, (first, second, written)),
                       prolog=None),
    )  # fmt: skip


def suits(problem: FFTProblem) -> bool:
    """Whether there are kernels for it."""
    return bool(steps(problem))


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
    return made[0].transforms * made[0].points * ITEMSIZE[problem.dtype] if len(made) > 1 else 0


def calls(problem: FFTProblem, direction: int) -> list[Call]:
    """What to call for the whole transform."""
    made = steps(problem)
    if not made:
        raise UnavailableError("planmath's own kernel has no transform of this length and layout")
    result = 0 if problem.inplace else 1
    places = [Slot(0), *([Slot(result + 1)] if len(made) > 1 else []), Slot(result)]
    found: list[Call] = []
    for number, step in enumerate(made):
        scale = problem.factor(direction) if number == len(made) - 1 else 1.0
        found += _launch(
            step, direction, scale, places[number], places[number + 1], Slot(result + 2), problem.execution[1]
        )
    return found


def _launch(
    step: Step, direction: int, scale: float, operand: Slot, result: Slot, stream: Slot, device_id: int
) -> list[Call]:  # fmt: skip
    text, pieces = step.source(devices.device(device_id).compute_capability)
    kernel = device_code.linked_kernel(text, "fused_transform", device_id, step.definitions(direction), pieces)
    batch = step.batch or ((1, 0, 0),)
    parameters = np.zeros(1, PARAMETERS)
    parameters["count"], parameters["axes"], parameters["scale"] = step.transforms, len(batch), scale
    parameters["read_step"], parameters["written_step"] = step.steps
    for callback, field in ((step.prolog, "loaded"), (step.epilog, "stored")):
        parameters[field] = callback.address if callback is not None else 0
    for place, axis in enumerate(reversed(batch)):
        parameters["extents"][0, place], parameters["read"][0, place], parameters["written"][0, place] = axis
    shared = step.per_block * step.shared
    device_code.allow_shared(kernel, shared, device_id)
    return [
        device_code.store(parameters, "operand", operand),
        device_code.store(parameters, "result", result),
        device_code.launch(
            kernel, (-(-step.transforms // step.per_block), 1), step.per_block * step.threads, parameters, stream,
            (step.prolog, step.epilog), shared,
        ),
    ]  # fmt: skip
