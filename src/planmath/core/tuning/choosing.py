"""Which of the measured algorithms to choose.

What counts is regret: a program may be in another situation than the one in which an algorithm is the fastest. So one
is chosen only where it takes in no situation longer than the one that was expected to be the fastest, which a plan
without measurements takes, and in one of them less, by more than two measurements of one algorithm differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planmath.core.provider import Algorithm
from planmath.core.tuning.record import Measurement

#: What to call, and for how many seconds its library's threads keep a CPU busy afterwards.
Candidate = tuple[Algorithm, Callable[[], Any], float]

#: Times nearer to each other than this are equal: two measurements of one algorithm differ by as much. Where each
#: execution has to be timed by itself, so many seconds are no difference either.
TIE, RESOLUTION = 1.02, 0.5e-6
#: What a way that leaves threads behind which look for work has to be faster by than one that leaves none, if it saves
#: more time than they look; and if it does not.
WORTH_SPINNING, WORTH_DISTURBING = 1.2, 2.0


def never_worse(
    measured: Sequence[Measurement], expected: Algorithm, noise: Mapping[str, float] | None = None
) -> list[Measurement]:
    """The measurements of what may be chosen, the best first: with the least mean of the ratios to the expected one.

    Parameters
    ----------
    measured : sequence of Measurement
        One of them of the expected algorithm. Who was not measured in all the situations that it was is left out.
    expected : Algorithm
        It may be chosen itself.
    noise : mapping, optional
        The ratio of two measurements of the expected one, by situation.
    """
    usual = next(m for m in measured if m.algorithm == expected)
    ratios = {m.algorithm: 1.0 if m is usual else _ratio(m, usual, noise or {}) for m in measured}
    return sorted((m for m in measured if ratios[m.algorithm] < math.inf), key=lambda m: ratios[m.algorithm])


def _ratio(m: Measurement, usual: Measurement, noise: Mapping[str, float]) -> float:
    """The geometric mean of the ratios of the times in all situations; infinity for what may not be chosen.

    Where two measurements of one algorithm differ by more than a tie, only more than that is a gain, and what is slower
    by a tie is out.
    """
    its, mine = usual.seconds, m.seconds
    unsure = {name: max(TIE, noise.get(name, 1.0)) for name in its}
    if not its.keys() <= mine.keys() or not any(unsure[name] * mine[name] < its[name] for name in its):
        return math.inf
    for name in its:
        allowed = TIE if unsure[name] <= TIE else 1.0
        if mine[name] > allowed * its[name] and (name == "warm" or mine[name] - its[name] > RESOLUTION):
            return math.inf
    return math.exp(math.fsum(math.log(mine[name] / its[name]) for name in its) / len(its))


def prefer_quiet(
    measured: Sequence[Measurement], candidates: Sequence[Candidate], usual: tuple[str, str | None]
) -> list[Measurement]:
    """The measurements, the one to choose first, for operations of which programs make many different ones in turn.

    Threads that look for work after a call are in the way of all others: products took twice as long after one of
    another library, and so did what planmath's own threads share, which end with the call (2 CPUs). So what leaves such
    threads behind is chosen only where it saves more time than they look, or where it belongs to the usual library,
    whose products may come next, and is twice as fast.

    Parameters
    ----------
    measured : sequence of Measurement
        The best first.
    candidates : sequence of (algorithm, run, lingers)
    usual : (str, str or None)
        The library: the provider, and which of several libraries.
    """
    lingering = {algorithm: lingers for algorithm, _, lingers in candidates if lingers}
    quiet = next((m for m in measured if m.algorithm not in lingering), None)
    if quiet is None:
        return sorted(measured, key=lambda m: library_of(m.algorithm) != usual)

    def worth_it(m: Measurement) -> bool:
        saves = quiet.warm - m.warm > lingering.get(m.algorithm, 0.0)
        disturbs = WORTH_DISTURBING if library_of(m.algorithm) == usual else math.inf
        return quiet.warm > (WORTH_SPINNING if saves else disturbs) * m.warm

    chosen = next(filter(worth_it, measured), quiet)
    return [chosen, *(m for m in measured if m is not chosen)]


def library_of(algorithm: Algorithm) -> tuple[str, str | None]:
    """What tells apart the libraries whose threads an algorithm uses: a provider may have products of several."""
    return algorithm.provider, algorithm.get("product")
