"""How accurate a solution is, and what is done about one that is not: the decisions, wherever the work is done."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np

from planmath.report.pages import of_fields

#: The largest backward error that counts as accurate, by dtype: 64 units of its rounding.
TOLERANCE = {
    dtype: 64 * float(np.finfo(dtype).eps) for dtype in ("float32", "float64", "complex64", "complex128")
}  # fmt: skip
#: Solutions larger than this, times the tolerance, allow a matrix with a condition number of more than a tenth of the
#: reciprocal rounding unit.
MOST_GROWTH = 6.4

#: An unknown with a larger relative error than this is not solved for.
MOST_UNCERTAIN = 0.01
#: Steps of refinement at most, where none are asked for; it ends sooner when a step does not halve the error.
MOST_STEPS = 5


class SolutionInfo(NamedTuple):
    """How good a solution is.

    Parameters
    ----------
    backward_error : float
        ``||b - A x|| / (||A|| ||x|| + ||b||)`` (Rigal and Gaches, 1967), the largest of all columns and, for a batch,
        of all systems: the size of the smallest relative change of A and b for which x is exact. Vectors are measured
        by the 2-norm, a sparse A by its largest row sum, a dense one by the root of its sum of squares.
    estimated : bool
        Whether it was estimated by a random projection of the residual (``options.backward_error``).
    refinement_steps : int
        Steps of iterative refinement that were made; for a batch the most of any system.
    perturbed_pivots : int
        How many pivots of the factorization were replaced because they were too small, in all systems.
    growth : float
        ``||A|| ||x|| / ||b||``, which the condition number of A is not smaller than.
    accurate : bool
        Whether the backward error is within `tolerance`, and the forward error, where it was estimated, within 1
        per cent.
    tolerance : float
        The largest backward error that counts as accurate, by the dtype: 64 units of its rounding.
    forward_error : float or None
        The largest relative error of an unknown, estimated. That takes another solution, and is done only where the
        growth exceeds a tenth of the reciprocal rounding unit, or pivots were replaced and the residual is not small
        beside b: where the matrix may be singular.
    systems : tuple of SolutionInfo
        For a batch, the same of each system.
    """

    backward_error: float
    estimated: bool
    refinement_steps: int
    perturbed_pivots: int
    growth: float
    accurate: bool
    tolerance: float
    forward_error: float | None = None
    systems: tuple[SolutionInfo, ...] = ()

    def _repr_html_(self) -> str:
        facts = self._asdict()
        return of_fields(type(self).__name__, facts | {"systems": len(self.systems) or 1})


def summary(infos: tuple[SolutionInfo, ...]) -> SolutionInfo:
    """That of a batch."""
    worst = max(infos, key=lambda info: (not info.accurate, info.backward_error))
    return SolutionInfo(
        worst.backward_error,
        worst.estimated,
        max(info.refinement_steps for info in infos),
        sum(info.perturbed_pivots for info in infos),
        max(info.growth for info in infos),
        all(info.accurate for info in infos),
        worst.tolerance,
        max((info.forward_error for info in infos if info.forward_error is not None), default=None),
        infos,
    )


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
Decisions = Generator[Request, Any, SolutionInfo]


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

    def satisfied(self, error: float, growth: float) -> bool:
        """Whether there is nothing to be done about a solution."""
        return error <= self.tolerance and not self.suspicious(error, growth)

    def suspicious(self, error: float, growth: float) -> bool:
        """Whether the matrix may be singular, or its factorization that of another matrix.

        It may be singular where a solution is larger than any matrix with a condition number of a tenth of the
        reciprocal rounding unit allows. It may be another one where the residual is not small beside b; still less
        should it be where pivots are known to have been replaced.
        """
        if growth * self.tolerance > MOST_GROWTH:
            return True
        return not error * (growth + 1) <= self._limits[self.perturbed > 0]

    def info(
        self, error: float, estimated: bool, steps: int, growth: float, forward: float | None = None
    ) -> SolutionInfo:  # fmt: skip
        accurate = error <= self.tolerance and (forward <= MOST_UNCERTAIN if forward is not None else True)
        return SolutionInfo(
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


def carry_out(decisions: Decisions, actions: dict[Request, Callable[[], Any]]) -> SolutionInfo:
    """Do what the decisions on one system ask for."""
    answer = None
    while True:
        try:
            request = decisions.send(answer)
        except StopIteration as end:
            return end.value
        answer = actions[request]()


def limits_of(dtype: str) -> np.ndarray:
    """What satisfies a `Judge` without replaced pivots: the error, error times growth plus one, and the growth."""
    tolerance = TOLERANCE[dtype]
    return np.array([tolerance, tolerance**0.25, MOST_GROWTH / tolerance])
