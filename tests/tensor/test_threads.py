"""The number of threads that the user allows is what an execution uses."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.tensor import BinaryContraction, TernaryContraction
from tests.threads import other_threads


@pytest.mark.parametrize(
    ("expr", "shapes"),
    [
        ("ij,jk->ik", ((50, 50), (50, 50))),
        ("ij,jk->ik", ((300, 300), (300, 300))),
        ("bij,bjk->bik", ((6, 60, 60), (6, 60, 60))),
        ("abcd,dbea->ec", ((20, 15, 12, 16), (16, 15, 14, 20))),
    ],
)
def test_one_thread(expr, shapes):
    a, b = (np.ones(shape) for shape in shapes)
    execution = {"name": "cpu", "num_threads": 1}
    with BinaryContraction(expr, a, b, options={"provider": "gemm"}, execution=execution) as contraction:
        contraction.plan()
        plan = contraction._plan_made
        for algorithm in plan.algorithms:
            contraction._make_plan(plan.problem, contraction._slots, [algorithm])
            out = contraction.empty_result()
            assert other_threads(lambda out=out: contraction.execute(out=out)) < 0.2, algorithm


@pytest.mark.parametrize(("size", "expected"), [(24, 1), (400, 2)])
def test_threads_of_three_operands(size, expected):
    """What counts is the work of the two steps, not that of contracting all three at once."""
    operands = [np.ones((size, size)) for _ in "abc"]
    execution = {"name": "cpu", "num_threads": 2}
    options = {"provider": "gemm", "tuning": False}
    with TernaryContraction("ij,jk,kl->il", *operands, options=options, execution=execution) as contraction:
        contraction.plan()
        assert contraction._plan_made.chosen.get("threads") == expected
