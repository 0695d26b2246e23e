"""What a distributed transform is, as a value."""

from __future__ import annotations

from typing import NamedTuple

from planmath.core.arrays import COMPLEX_OF, ITEMSIZE
from planmath.core.collective import sections
from planmath.distributed.fft.route import Placed


class FFTProblem(NamedTuple):
    """A transform as this rank sees it."""

    kind: str
    precision: str
    """The dtype of real and imaginary parts."""
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Global ones, of operand and result."""
    axes: tuple[int, ...]
    """The last one is real on one side of R2C and C2R."""
    source: Placed
    target: Placed
    rank: int
    strides: tuple[int, ...]
    """Of this rank's operand, in elements."""
    result_strides: tuple[int, ...]
    execution: tuple[str, int]

    @property
    def dtypes(self) -> tuple[str, str]:
        """Of operand and result."""
        wide = COMPLEX_OF[self.precision]
        return self.precision if self.kind == "R2C" else wide, self.precision if self.kind == "C2R" else wide

    @property
    def local_shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of this rank's operand and result."""
        return sections.shape_of(self.source[self.rank]), sections.shape_of(self.target[self.rank])

    @property
    def capacity(self) -> int:
        """Bytes that the buffer of this rank's operand must have, to hold operand and result."""
        spans = []
        for shape, strides, dtype in zip(
            self.local_shapes, (self.strides, self.result_strides), self.dtypes, strict=True
        ):
            last = sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if 0 not in shape else -1
            spans.append((last + 1) * ITEMSIZE[dtype])
        return max(spans)
