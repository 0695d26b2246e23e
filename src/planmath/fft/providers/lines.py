"""Kernels of planmath's own that compute a batch of transforms along one axis: what they are given, and launched by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import COMPLEX_OF
from planmath.core.cuda import device_code
from planmath.fft.problem import FFTProblem
from planmath.fft.providers.callback_kernels import ELEMENTS, access
from planmath.fft.providers.tiles import Dimension
from planmath.native.call import Call, Slot

MOST_AXES = 16
#: Kernels count transforms in 32 bits.
MOST = 1 << 31
PRECISIONS = ("float32", "float64")

#: What a kernel is given, as `SOURCE` declares it. Axes are ordered from the innermost to the outermost.
PARAMETERS = np.dtype(
    [
        ("operand", np.uintp), ("result", np.uintp), ("loaded", np.uintp), ("stored", np.uintp),
        ("scale", np.float64), ("count", np.int64), ("axes", np.int64), ("extents", np.int64, MOST_AXES),
        ("read", np.int64, MOST_AXES), ("written", np.int64, MOST_AXES),
    ]
)  # fmt: skip
SOURCE = Path(__file__).with_suffix(".cu").read_text()


class Lines(NamedTuple):
    """A batch of transforms along one axis."""

    kind: str
    precision: str
    length: int
    """Elements of a transform, real ones of a real one."""
    steps: tuple[int, int]
    """Elements between those of a transform, in what is read and in what is written."""
    batch: tuple[Dimension, ...]
    """From the slowest axis to the fastest."""
    prolog: Any = None
    epilog: Any = None
    aligned: tuple[bool, bool] = (True, True)
    """Whether what is read, and what is written, is at a multiple of the size of its elements."""

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

    @property
    def definitions(self) -> tuple[str, ...]:
        """The macros that sources depend on."""
        loaded, stored = (ELEMENTS[dtype] for dtype in self.elements)
        return (
            "C2C=0", "R2C=1", "C2R=2", f"KIND={self.kind}", f"ELEMENT={ELEMENTS[COMPLEX_OF[self.precision]]}",
            f"PART={ELEMENTS[self.precision]}", f"IN={loaded}", f"OUT={stored}", f"MOST_AXES={MOST_AXES}",
            f"READ_STEP={self.steps[0]}", f"WRITTEN_STEP={self.steps[1]}",
        )  # fmt: skip

    def source(self, capability: tuple[int, int]) -> tuple[str, tuple[bytes, ...]]:
        """What stands before a kernel, `load` and `store` among it, and the LTO-IR that has to be linked to it."""
        sides = zip(("prolog", "epilog"), (self.prolog, self.epilog), self.elements, self.aligned, strict=True)
        texts, pieces = zip(
            *(access(phase, callback, element, capability, aligned) for phase, callback, element, aligned in sides),
            strict=True,
        )
        return "".join(texts) + SOURCE, pieces[0] + pieces[1]

    def launch(
        self, kernel: int, per_block: int, threads: tuple[int, int], shared: int, scale: float, operand: Slot,
        result: Slot, stream: Slot, device_id: int,
    ) -> list[Call]:  # fmt: skip
        """The launch of a kernel that computes so many transforms a block."""
        batch: Sequence[Dimension] = self.batch or ((1, 0, 0),)
        parameters = np.zeros(1, PARAMETERS)
        parameters["count"], parameters["axes"], parameters["scale"] = self.transforms, len(batch), scale
        for callback, field in ((self.prolog, "loaded"), (self.epilog, "stored")):
            parameters[field] = callback.address if callback is not None else 0
        for place, axis in enumerate(reversed(batch)):
            parameters["extents"][0, place], parameters["read"][0, place], parameters["written"][0, place] = axis
        device_code.allow_shared(kernel, shared, device_id)
        return [
            device_code.store(parameters, "operand", operand),
            device_code.store(parameters, "result", result),
            device_code.launch(
                kernel, (-(-self.transforms // per_block), 1), threads, parameters, stream,
                (self.prolog, self.epilog), shared,
            ),
        ]  # fmt: skip


def lines_of(problem: FFTProblem) -> Lines | None:
    """The problem as a batch of transforms along one axis, if it is one that kernels can be given."""
    lengths = [axis for axis in problem.transformed() if axis[0] > 1]
    if problem.precision not in PRECISIONS or len(lengths) != 1 or not (problem.aligned or problem.prolog is not None):
        return None
    (n, read, written), batch = lengths[0], tuple(problem.batch())
    if len(batch) > MOST_AXES or math.prod(m for m, _, _ in batch) >= MOST:
        return None
    aligned = problem.aligned, problem.result_aligned
    return Lines(problem.kind, problem.precision, n, (read, written), batch, problem.prolog, problem.epilog, aligned)
