"""What a redistribution is, as a value."""

from __future__ import annotations

from typing import NamedTuple

from planmath.core.collective.exchange import Moves, Traffic


class RedistributeProblem(NamedTuple):
    """A redistribution as this rank sees it: the moves are the same on all ranks."""

    moves: Moves
    global_shape: tuple[int, ...]
    dtype: str
    rank: int
    strides: tuple[int, ...]
    """Of this rank's operand, in elements."""
    execution: tuple[str, int]

    @property
    def traffic(self) -> Traffic:
        return Traffic(self.moves, self.rank, self.strides)
