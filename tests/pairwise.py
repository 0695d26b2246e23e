"""Which of a test's combinations to run where all of them prove little more: each pair of values meets in some.

A test with ``@pytest.mark.pairwise`` runs on enough of its parameters that every two values of two parameters which
occur together at all occur together in one combination; with ``pairwise(times=2)`` in two, where tests find out only
when they run that there is no such case. `tests.conftest` marks the others ``exhaustive``, and ``make test-all`` runs
them too.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pytest


def covering(cases: Sequence[Sequence[Hashable]], times: int) -> list[int]:
    """The numbers of cases in which every pair that occurs in any occurs, so often if there are as many.

    Parameters
    ----------
    cases : sequence of sequences of hashable
        The values of each case; those of different parameters differ.
    times : int

    Examples
    --------
    >>> cases = [(f"a{i}", f"b{j}", f"c{k}") for i in range(4) for j in range(4) for k in range(4)]
    >>> len(cases), len(covering(cases, 1)), len(covering(cases, 2))
    (64, 16, 32)
    """
    pairs = [list(combinations(case, 2)) for case in cases]
    wanted = Counter(pair for of in pairs for pair in of)
    for pair, count in wanted.items():
        wanted[pair] = min(count, times)
    chosen = []
    # what a case adds only falls, so the first whose number is still right adds most; of equal ones the first counts
    queue = [(-len(of), number) for number, of in enumerate(pairs)]
    heapq.heapify(queue)
    while queue:
        added, number = heapq.heappop(queue)
        now = sum(wanted[pair] > 0 for pair in pairs[number])
        if now and now == -added:
            chosen.append(number)
            wanted.subtract(pairs[number])
        elif now:
            heapq.heappush(queue, (-now, number))
    return sorted(chosen)


def choose(items: Sequence[pytest.Item]) -> None:
    """Mark what of a test's items `covering` leaves out; those that this machine skips cover nothing for others."""
    (marker, *_) = items[0].iter_markers("pairwise")
    times = marker.kwargs.get("times", 1)
    for group in ([item for item in items if is_skipped(item) is skipped] for skipped in (False, True)):
        cases = [list(_values(item.callspec.params)) for item in group]  # type: ignore[attr-defined]
        kept = set(covering(cases, times))
        for number, item in enumerate(group):
            if number not in kept:
                item.add_marker("exhaustive")


def is_skipped(item: pytest.Item) -> bool:
    return any(mark.args[0] for mark in item.iter_markers("skipif"))


def _values(parameters: Mapping[str, Any]) -> Iterator[Hashable]:
    """The values of parameters with their names; a tuple with names counts as several parameters."""
    for name, value in parameters.items():
        if hasattr(value, "_asdict"):
            yield from _values({f"{name}.{field}": part for field, part in value._asdict().items()})
        else:
            yield name, value if _can_be_hashed(value) else id(value)


def _can_be_hashed(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
