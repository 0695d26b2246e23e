"""Contractions that pack both factors straight from their strides (gett.h)."""

from __future__ import annotations

import itertools

import numpy as np
import planmath.tensor.kernels as kernels
import pytest

from planmath.tensor import BinaryContraction
from planmath.tensor.providers import gemm
from planmath.tensor.providers.gemm import every_way
from planmath.tensor.providers.strategy import packing_of
from tests.tensor.reference import reference

#: Rows, columns and terms around the tiles of every instruction set, and more than are packed at a time.
SIZES = [
    (1, 1, 1), (5, 3, 2), (6, 4, 3), (7, 5, 1), (11, 9, 30), (12, 4, 33), (13, 517, 31), (24, 1040, 5), (25, 17, 600),
    (49, 8, 1100), (97, 50, 2100), (50, 530, 520),
]  # fmt: skip
EXPRESSIONS = {
    "several of each role": ("ambn,cmdn->abcd", (5, 7, 6, 9), (3, 7, 11, 9)),
    "rows last": ("mk,nk->nm", (61, 130), (45, 130)),
    "columns last": ("mk,nk->mn", (61, 130), (45, 130)),
    "nothing contiguous": ("ambn,nmcd->bcad", (6, 7, 13, 5), (5, 7, 4, 14)),
    "few threads' batch": ("mbk,kbn->bnm", (40, 3, 20), (20, 3, 30)),
    "several batches": ("bmck,kcbn->mnbc", (4, 60, 2, 20), (20, 2, 4, 50)),
    "threads share the batch": ("mbk,kbn->bnm", (20, 60, 20), (20, 60, 30)),
    "no sum": ("abc,de->dbeac", (5, 6, 7), (8, 9)),
    "no columns": ("bkm,bk->bm", (4, 60, 70), (4, 60)),
    "no rows and columns": ("abc,abc->", (9, 10, 11), (9, 10, 11)),
    "summed in one": ("amz,mb->ab", (30, 20, 5), (20, 40)),
    "a diagonal": ("iaj,jbi->ab", (6, 17, 8), (8, 19, 6)),
}


def values(shape, dtype, seed):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def close(result, expected):
    assert np.all(np.abs(result - expected.values) <= expected.bound)


@pytest.fixture
def each(monkeypatch):
    """The object planned for each way of packing in turn, also those that are far behind."""

    def planned(contraction):
        contraction.plan()
        problem = contraction._plan_made.problem
        found = [way.algorithm for way in every_way(problem) if way.algorithm.get("by") == "gett"]
        assert found
        monkeypatch.setattr(gemm, "ways", lambda problem: found)
        for algorithm in found:
            contraction._make_plan(problem, contraction._slots, [algorithm])
            yield algorithm
        monkeypatch.undo()

    return planned


@pytest.mark.parametrize("dtype", kernels.GETT)
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_all_sizes(each, m, n, k, dtype):
    a, b, c = (values(shape, dtype, i) for i, shape in enumerate([(m, k), (k, n), (m, n)]))
    layouts = itertools.product((a, np.asfortranarray(a)), (b, np.asfortranarray(b)), (c, np.asfortranarray(c)))
    expected = reference("mk,kn->mn", (a, b), c, alpha=-2.0, beta=0.5)
    for x, y, z in layouts:
        with BinaryContraction("mk,kn->mn", x, y, c=z) as contraction:
            for _ in each(contraction):
                close(contraction.execute(alpha=-2.0, beta=0.5), expected)


@pytest.mark.parametrize("dtype", kernels.GETT)
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_all_roles(each, name, dtype):
    expr, *shapes = EXPRESSIONS[name]
    a, b = (values(shape, dtype, i) for i, shape in enumerate(shapes))
    expected = reference(expr, (a, b))
    with BinaryContraction(expr, a, b) as contraction:
        for _ in each(contraction):
            close(contraction.execute(), expected)


@pytest.mark.parametrize("dtype", kernels.GETT)
def test_strides_of_every_kind(each, dtype):
    """Backwards, with gaps, and of elements that stand for many."""
    a = values((40, 3, 50), dtype, 0)[::-1, 1, ::2]
    b = np.broadcast_to(values((25, 1), dtype, 1), (25, 30))
    out = np.full((30, 2, 80), 7, dtype)
    with BinaryContraction("mk,kn->nm", a, b, out=out[:, 1, ::2]) as contraction:
        for _ in each(contraction):
            contraction.execute()
            close(out[:, 1, ::2].T, reference("mk,kn->mn", (a, b)))
            assert np.all(out[:, 0] == 7)
            assert np.all(out[:, 1, 1::2] == 7)


@pytest.mark.parametrize("dtype", kernels.GETT)
def test_what_was_in_the_results_place_does_not_count(each, dtype):
    a, b = values((30, 1200), dtype, 0), values((1200, 20), dtype, 1)
    out = np.empty((30, 20), dtype)
    with BinaryContraction("mk,kn->mn", a, b, out=out) as contraction:
        for _ in each(contraction):
            out[:] = np.nan
            contraction.execute()
            close(out, reference("mk,kn->mn", (a, b)))


def test_what_is_not_a_number_stays_in_its_row(each):
    """The rows and columns that fill up a tile take part in its arithmetic."""
    a, b = values((31, 9), "float64", 0), values((9, 21), "float64", 1)
    a[30, 4], b[3, 20] = np.nan, np.inf
    with BinaryContraction("mk,kn->mn", a, b) as contraction:
        for _ in each(contraction):
            result = contraction.execute()
            assert np.isfinite(result[:30, :20]).all()
            assert not np.isfinite(result[30]).any()
            assert not np.isfinite(result[:, 20]).any()


#: What threads share; the last mode of the result makes the rows of tiles.
SHARED = {
    "rows, more columns and terms than are packed at a time": ("rows", "mk,kn->mn", (600, 1100), (1100, 700)),
    "rows, fewer panels than threads, in a batch": ("rows", "mbk,bkn->mbn", (8, 3, 1700), (3, 1700, 30)),
    "columns": ("columns", "mk,kn->mn", (3000, 600), (600, 60)),
    "the batch": ("batch", "bmk,bkn->bmn", (40, 30, 700), (40, 700, 30)),
}


@pytest.mark.parametrize("key", SHARED)
def test_results_are_the_same_whoever_makes_which_part(each, eight_cpus, key):
    """To the last bit: each element's sum is made in one order, however many threads there are."""
    share, expr, *shapes = SHARED[key]
    a, b = (values(shape, "float64", i) for i, shape in enumerate(shapes))
    results: list[np.ndarray] = []
    for threads in (1, 2, 3, 8):
        with BinaryContraction(expr, a, b, execution={"name": "cpu", "num_threads": threads}) as contraction:
            for algorithm in each(contraction):
                if algorithm.get("threads") == threads and algorithm.get("copies") == "none":
                    problem = contraction._plan_made.problem
                    ((_, strategy),) = gemm._picked(problem, algorithm)
                    packing = packing_of(strategy, problem.extents, "float64", threads)
                    assert packing.share == (share if threads > 1 else "batch")
                    results += [contraction.execute() for _ in range(5)]
    assert len(results) == 20
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    close(results[0], reference(expr, (a, b)))


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_memory_of_the_packed_parts_is_counted(each, eight_cpus, threads):
    """Those who share rows pack the columns for each other, in two places."""
    a, b = values((100, 300), "float64", 0), values((300, 200), "float64", 1)
    with BinaryContraction("mk,kn->mn", a, b, execution={"name": "cpu", "num_threads": threads}) as contraction:
        for algorithm in each(contraction):
            if algorithm.get("threads") == threads and algorithm.get("copies") == "none":
                columns = min(300, kernels.PACKED_TERMS["float64"]) * 100 * 8
                packed = threads * kernels.PACKED_BYTES + columns * (1 if threads == 1 else 2)
                assert contraction._executor.workspace_size == packed


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_are_multiplied_by_libraries(dtype):
    a = values((20, 20), dtype, 0)
    with BinaryContraction("ij,jk->ik", a, a) as contraction:
        contraction.plan()
        assert not any("gett" in str(way.algorithm) for way in every_way(contraction._plan_made.problem))
