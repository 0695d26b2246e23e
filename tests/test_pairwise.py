"""That what `make test` runs of a test's combinations has every pair of values."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import pytest

from tests.pairwise import covering

FULL = [tuple(enumerate(values)) for values in product(range(5), range(4), range(3), range(2))]
TRIANGLE = [case for case in FULL if case[0][1] >= case[1][1]]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("cases", [FULL, TRIANGLE, FULL[:1], []])
def test_every_pair_that_occurs_is_covered(cases, times):
    chosen = covering(cases, times)
    there = Counter(pair for case in cases for pair in combinations(case, 2))
    kept = Counter(pair for number in chosen for pair in combinations(cases[number], 2))
    assert all(kept[pair] >= min(count, times) for pair, count in there.items())
    assert len(chosen) <= max(1, len(cases) * times // 4, 5 * 4 * times + 8)
    assert chosen == sorted(set(chosen))


def test_it_is_the_same_each_time():
    assert covering(FULL, 1) == covering(FULL, 1)
