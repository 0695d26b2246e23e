"""What a distributed system of equations is, as a value."""

from __future__ import annotations

from typing import NamedTuple

from planmath.core.collective import sections
from planmath.core.collective.sections import Section

#: What every rank has.
Placed = tuple[Section, ...]


class Blocks(NamedTuple):
    """A square matrix in blocks on a grid of processes, in which it is factorized."""

    n: int
    size: int
    """Rows and columns of a block."""
    grid: tuple[int, int]
    places: tuple[tuple[int, int], ...]
    """Of each rank in the grid."""

    @property
    def placed(self) -> Placed:
        return tuple([
            (sections.cyclic(self.n, self.size, self.grid[0], p), sections.cyclic(self.n, self.size, self.grid[1], q))
            for p, q in self.places
        ])  # fmt: skip

    def bounds(self) -> list[tuple[int, int]]:
        """The first index of each diagonal block, and the one behind its last."""
        return [(start, min(start + self.size, self.n)) for start in range(0, self.n, self.size)]

    def owner(self, number: int) -> tuple[int, int]:
        """Where in the grid a diagonal block is."""
        return number % self.grid[0], number % self.grid[1]


class SolverProblem(NamedTuple):
    """A system as this rank sees it."""

    blocks: Blocks
    """As the matrix is factorized."""
    a: Placed
    """As the user has it."""
    b: Placed
    nrhs: int
    rank: int
    dtype: str
    leading_dimension: int
    """Of this rank's a, in elements."""
    b_strides: tuple[int, int]
    x_strides: tuple[int, int]
    inplace_a: bool
    structure: str | None
    execution: tuple[str, int]

    @property
    def is_native(self) -> bool:
        """Whether the user's matrix is factorized where it is."""
        return self.inplace_a and self.a == self.blocks.placed
