"""What transforms are planned as where nobody has measured: threads, batches, and FFTW's short measurement."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.bindings.fftw3 import FFTW, MKL
from planmath.core.tuning import budget, record
from planmath.fft import FFT
from planmath.fft.providers import PLAIN, fftw3_interface

NEEDS_FFTW = pytest.mark.skipif(FFTW.missing() is not None, reason=str(FFTW.missing()))
NEEDS_MKL = pytest.mark.skipif(MKL.missing() is not None, reason=str(MKL.missing()))
TWO_THREADS = {"name": "cpu", "num_threads": 2}


@pytest.fixture
def measured(monkeypatch):
    """The limits with which FFTW was asked to measure, where even small arrays are large enough for it."""
    monkeypatch.setattr(fftw3_interface, "MEASURED_WORK", 1)
    limits = []
    plan = type(FFTW).plan

    def watched(interface, *arguments, limit, **keywords):
        if limit < float("inf"):
            limits.append(limit)
        return plan(interface, *arguments, limit=limit, **keywords)

    monkeypatch.setattr(type(FFTW), "plan", watched)
    (provider,) = (p for p in PLAIN if p.name == "fftw")
    monkeypatch.setattr(provider, "_gave_up", {})
    return limits


def planned(operand, **options):
    with FFT(operand, options={"provider": "fftw", **options}, execution=TWO_THREADS) as transform:
        transform.plan()
        np.testing.assert_allclose(transform.execute(), np.fft.fftn(operand), atol=1e-9)
        return transform._plan_made


@NEEDS_FFTW
def test_fftw_measures_where_nobody_tuned(measured, tuning_record):
    operand = np.arange(6 * 50).reshape(6, 50) + 0j
    plan = planned(operand)
    assert plan.origin == "the heuristic"
    assert plan.chosen.get("rigor") == "measure"
    assert set(measured) == {budget.UNTRIED}
    assert record.wisdom_path().exists(), "the next process has it"


@NEEDS_FFTW
def test_fftw_estimates_where_measuring_takes_too_long(measured, monkeypatch, tuning_record):
    monkeypatch.setattr(budget, "UNTRIED", 1e-9)
    operand = np.arange(6 * 70).reshape(6, 70) + 0j
    plan = planned(operand)
    assert plan.chosen.get("rigor") == "estimate"
    assert all("had not done measuring after 1e-09 s" in reason for reason in plan.passed_over)
    assert plan.passed_over
    tried = len(measured)
    assert planned(operand).chosen == plan.chosen
    assert len(measured) == tried, "it is not tried again in the same time"
    monkeypatch.setattr(budget, "UNTRIED", 1.0)
    assert planned(operand).chosen.get("rigor") == "measure"


@NEEDS_FFTW
def test_small_transforms_are_estimated(tuning_record):
    assert planned(np.ones(64, complex)).chosen.get("rigor") == "estimate"
    assert not record.wisdom_path().exists()


@NEEDS_MKL
@pytest.mark.parametrize(
    ("shape", "axes", "threads"),
    [
        ((16,), (0,), 1),
        ((44_100,), (0,), 2),  # made of two
        ((44_101,), (0,), 1),
        ((1_000_000,), (0,), 2),
        ((1 << 20,), (0,), 2),
        ((64, 256), (0, 1), 2),
        ((64, 64), (0, 1), 1),
        ((1000, 100), (0,), 2),
        ((32, 48, 64), (1,), 1),  # a loop of small calls
        ((100, 100, 100), (1,), 2),
    ],
)
def test_threads_to_expect_most_of(shape, axes, threads, eight_cpus, tuning_record):
    with FFT(np.ones(shape, complex), axes=axes, options={"provider": "mkl"}, execution=TWO_THREADS) as transform:
        transform.plan()
        assert transform._plan_made.chosen.get("threads") == threads


@NEEDS_MKL
@pytest.mark.parametrize(
    ("n", "is_shared"), [(8192, False), (16384, True), (44_100, True), (44_101, False), (1 << 20, True), (10**6, False)]
)
def test_a_single_transform_is_expected_to_gain_by_parts(n, is_shared, eight_cpus, tuning_record):
    with FFT(np.ones(n, complex), options={"provider": "mkl"}, execution=TWO_THREADS) as transform:
        transform.plan()
        assert (fftw3_interface.SHARED in transform._plan_made.chosen.knobs) == is_shared


@pytest.mark.parametrize(
    ("batch", "chosen"),
    [
        ([(100, 10_000, 10_000), (100, 1, 1)], (100, 1, 1)),
        ([(1000, 300, 300), (3, 1, 1)], (1000, 300, 300)),
        ([(1000, 6400, 6400), (64, 1, 1)], (64, 1, 1)),
        ([(8, 0, 64), (4, 1, 1)], (4, 1, 1)),  # not along an axis that is broadcast
        ([(100, -1, 1), (100, 100, 100)], (100, -1, 1)),
    ],
)
def test_transforms_next_to_each_other_are_made_by_one_call(batch, chosen):
    native, looped = fftw3_interface._one_batch_axis(batch)
    assert native == [chosen]
    assert looped == [axis for axis in batch if axis != chosen]
