"""How accurate a solution of a sparse system is: the decisions are `core.accuracy`'s."""

from __future__ import annotations

import numpy as np

from planmath.core import accuracy
from planmath.core.accuracy import Decisions, Request, carry_out
from planmath.sparse.advanced.kernels import largest_errors

__all__ = ["Decisions", "Judge", "Request", "carry_out"]


class Judge(accuracy.Judge):
    """Decides for one sparse system whether its solutions are accurate."""

    def error(self, sizes: np.ndarray) -> tuple[float, float]:
        """The largest backward error and growth of the columns, of each of which the sizes of r, x and b are given."""
        return largest_errors(sizes, self.norm)
