"""What a distributed product is, as a value."""

from __future__ import annotations

from typing import NamedTuple

from planmath.core.collective import sections
from planmath.core.collective.sections import Section
from planmath.distributed.linalg.advanced.enums import MatmulEpilog

#: What every rank has.
Placed = tuple[Section, ...]


class Side(NamedTuple):
    """A matrix as a factor or the result: with rows and columns after transposition."""

    shape: tuple[int, int]
    """Global."""
    placed: Placed
    strides: tuple[int, int]
    """Of this rank's part, in elements."""
    dtype: str
    transposed: bool = False
    """Whether it is stored transposed, so that rows are contiguous."""
    conjugate: bool = False

    @property
    def order(self) -> tuple[int, int]:
        """The axes from the slowest to the fastest in memory."""
        return (0, 1) if self.transposed else (1, 0)


class MatmulProblem(NamedTuple):
    """A product as this rank sees it: d = epilog(alpha * a @ b + beta * c)."""

    a: Side
    b: Side
    d: Side
    rank: int
    has_c: bool
    inplace: bool
    compute: int | None
    scale: int | None
    epilog: MatmulEpilog | None
    execution: tuple[str, int]

    @property
    def rows(self) -> Placed:
        """Of the factor a, what each rank needs to compute its part of the result from whole rows."""
        return tuple([(of[0], sections.interval(0, self.a.shape[1])) for of in self.d.placed])

    @property
    def columns(self) -> Placed:
        """Of the factor b, what each rank needs to compute its part of the result from whole columns."""
        return tuple([(sections.interval(0, self.b.shape[0]), of[1]) for of in self.d.placed])

    @property
    def sums_partial(self) -> bool:
        """Whether each rank has all rows of a and columns of b for the same part of k, and no other rank has that."""
        m, n = self.d.shape
        return (
            all(
                a[0] == sections.interval(0, m) and b[1] == sections.interval(0, n) and a[1] == b[0]
                for a, b in zip(self.a.placed, self.b.placed, strict=True)
            )
            and sum(sections.extent_of(a[1]) for a in self.a.placed) == self.a.shape[1]
        )

    @property
    def local_shape(self) -> tuple[int, ...]:
        """Of this rank's part of the result."""
        return sections.shape_of(self.d.placed[self.rank])
