"""How accurate a solution is, and what is done about one that is not: the decisions, wherever the work is done."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from planmath.sparse.advanced.information import DirectSolverSolutionInfo
from planmath.sparse.advanced.kernels import largest_errors
from planmath.sparse.advanced.options import TOLERANCE

#: An unknown with a larger relative error than this is not solved for.
MOST_UNCERTAIN = 0.01
#: Steps of refinement at most, where none are asked for; it ends sooner when a step does not halve the error.
MOST_STEPS = 5


class Request(enum.IntEnum):
    """What a decision needs to have done, in the order in which it is done for a batch."""

    RESIDUAL = 0
    """Find the residual of x; answered by its backward error and growth."""
    REFINE = 1
    """Solve for the residual, and add the correction to x, which stays; answered likewise for the sum."""
    KEEP = 2
    """Put the sum of the step before in x's place."""
    DISCARD = 3
    """Forget that sum."""
    FORWARD = 4
    """Estimate the largest relative error of an unknown; answered by it."""
    START_OVER = 5
    """Analyse and factorize anew for the present values, and solve."""


#: Gives requests, is sent their answers, and ends with what is known of the solution.
Decisions = Generator[Request, Any, DirectSolverSolutionInfo]


class Judge:
    """Decides for one linear system whether its solutions are accurate.

    Parameters
    ----------
    dtype : str
        Of its values.
    """

    perturbed: int = 0
    """Pivots that its factorization replaced."""
    may_start_over: bool = False
    """Whether to analyse anew may help: scaling and matching of the analysis may not suit the present values, or the
    matrix was taken for a special one."""

    def __init__(self, dtype: str):
        self.tolerance = TOLERANCE[dtype]
        self._limits = self.tolerance**0.25, self.tolerance**0.5
        self.norm = 0.0

    def error(self, sizes: np.ndarray) -> tuple[float, float]:
        """The largest backward error and growth of the columns, of each of which the sizes of r, x and b are given."""
        return largest_errors(sizes, self.norm)

    def satisfied(self, error: float, growth: float) -> bool:
        """Whether there is nothing to be done about a solution."""
        return error <= self.tolerance and not self.suspicious(error, growth)

    def suspicious(self, error: float, growth: float) -> bool:
        """Whether the matrix may be singular, or its factorization that of another matrix.

        It may be singular where a solution is larger than any matrix with a condition number of a tenth of the
        reciprocal rounding unit allows. It may be another one where the residual is not small beside b; still less
        should it be where pivots are known to have been replaced.
        """
        if growth * self.tolerance > 6.4:
            return True
        return not error * (growth + 1) <= self._limits[self.perturbed > 0]

    def info(
        self, error: float, estimated: bool, steps: int, growth: float, forward: float | None = None
    ) -> DirectSolverSolutionInfo:  # fmt: skip
        accurate = error <= self.tolerance and (forward <= MOST_UNCERTAIN if forward is not None else True)
        return DirectSolverSolutionInfo(
            error, estimated, steps, self.perturbed, growth, accurate, self.tolerance, forward
        )

    def decide(self, wanted: int | None) -> Decisions:
        """Refine as long as that helps, or as often as wanted, and find out how good the solution is."""
        error, growth = yield Request.RESIDUAL
        steps = 0
        while steps < (MOST_STEPS if wanted is None else wanted) and 0 < error < np.inf:
            if wanted is None and self.satisfied(error, growth):
                break
            new_error, new_growth = yield Request.REFINE
            steps += 1
            if not new_error < error:
                yield Request.DISCARD
                break
            slow = new_error > error / 2
            yield Request.KEEP
            error, growth = new_error, new_growth
            if slow and wanted is None:
                break
        forward = None
        if self.suspicious(error, growth):
            forward = yield Request.FORWARD
        info = self.info(error, False, steps, growth, forward)
        if not info.accurate and self.may_start_over:
            yield Request.START_OVER
            again = yield from self.decide(wanted)
            return again._replace(refinement_steps=steps + again.refinement_steps)
        return info


def carry_out(decisions: Decisions, actions: dict[Request, Callable[[], Any]]) -> DirectSolverSolutionInfo:
    """Do what the decisions on one system ask for."""
    answer = None
    while True:
        try:
            request = decisions.send(answer)
        except StopIteration as end:
            return end.value
        answer = actions[request]()
