"""Temporary memory: what algorithms say they take, and limits that are kept; many threads at once."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.core.tuning import clocks, company
from planmath.tensor import BinaryContraction, binary_contraction, contract
from planmath.tensor.options import bytes_of_limit
from planmath.tensor.providers.gemm import build, every_way
from tests.linalg.operands import place, random_values
from tests.tensor.reference import assert_near, reference
from tests.tensor.test_conformance import BINARY


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_algorithms_take_what_they_say(kind, dtype):
    expr, *shapes = BINARY[kind]
    a, b = (place(random_values(shape, dtype, i), dtype, "numpy") for i, shape in enumerate(shapes))
    with BinaryContraction(expr, a, b) as contraction:
        contraction.plan()
        problem = contraction._plan_made.problem
        for way in every_way(problem):
            assert build(problem, way.algorithm).workspace_size == way.memory


def test_limits_are_kept():
    a, b = np.random.default_rng(0).random((2, 6, 6, 6, 6))
    expected = reference("abcd,dbea->ec", [a, b])
    for limit in (0, 6**4 * 8 + 64, "1 MiB"):
        with BinaryContraction("abcd,dbea->ec", a, b, options={"memory_limit": limit}) as contraction:
            contraction.plan()
            plan = contraction._plan_made
            for algorithm in [algorithm for algorithm in plan.algorithms if algorithm.provider == "gemm"]:
                assert build(plan.problem, algorithm).workspace_size <= bytes_of_limit(limit, 0)
            assert_near(contraction.execute(), expected)


def test_candidates_share_their_memory(monkeypatch):
    """Autotuning takes what the largest candidate takes, and not what all of them do."""
    monkeypatch.setattr(clocks, "FLUSH", 1)
    monkeypatch.setattr(company, "neighbours", dict)  # what other libraries multiply takes memory, too
    a, b = np.random.default_rng(0).random((2, 20, 20, 20, 20))
    with BinaryContraction("abcd,dbea->ec", a, b, options={"provider": "gemm"}) as contraction:
        contraction.plan()
        problem = contraction._plan_made.problem
        sizes = [build(problem, algorithm).workspace_size for algorithm in contraction._plan_made.algorithms]
        assert sum(sizes) > 3 * max(sizes)
        tracemalloc.start()
        try:
            contraction.autotune(iterations=1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert max(sizes) <= peak < 1.5 * max(sizes)
        assert_near(contraction.execute(), reference("abcd,dbea->ec", [a, b]))


def test_what_has_to_be_summed_first_takes_memory():
    a, b = np.ones((3, 4)), np.ones(5)
    with pytest.raises(UnavailableError, match="needs at least 64 bytes"):
        binary_contraction("ij,k->ik", a, b, options={"memory_limit": 63})
    np.testing.assert_array_equal(
        binary_contraction("ij,k->ik", a, b, options={"memory_limit": 64}), np.full((3, 5), 4.0)
    )


@pytest.mark.parametrize("num_threads", [1, 2])
def test_many_threads_at_once(num_threads):
    """Each object has temporary memory of its own, and limits to the libraries' threads do not disturb the others."""
    start = threading.Barrier(6)
    execution = {"name": "cpu", "num_threads": num_threads}

    def work(number):
        start.wait()
        rng = np.random.default_rng(number)
        a, b = rng.integers(-3, 4, (20, 12 + number, 9, 11)) * 1.0, rng.integers(-3, 4, (11, 12 + number, 30, 20)) * 1.0
        expected = np.einsum("abcd,dbea->ec", a, b)
        with BinaryContraction("abcd,dbea->ec", a, b, execution=execution) as contraction:
            contraction.plan()
            for algorithm in contraction._plan_made.algorithms:
                contraction._make_plan(contraction._plan_made.problem, contraction._slots, [algorithm])
                for _ in range(3):
                    np.testing.assert_array_equal(contraction.execute(), expected)
        x, y = a[0, :, :, 0], b[0, :, :, 0]
        for _ in range(20):
            np.testing.assert_array_equal(binary_contraction("ij,ik->jk", x, y), x.T @ y)
            np.testing.assert_array_equal(contract("ij,ik,kl->jl", x, y, y.T), x.T @ y @ y.T)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
