"""Transforms that planmath's threads share."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from planmath.fft import FFT
from planmath.fft.providers import PLAIN
from planmath.fft.providers.fftw3_interface import SHARED

LIBRARIES = [provider for provider in PLAIN if provider.name in ("mkl", "fftw") and provider.unavailable() is None]
RANDOM = np.random.default_rng(5)
#: Shape, axes, kind.
TRANSFORMS = {
    "rows": ((2001, 32), (1,), "C2C"), "columns": ((64, 501), (0,), "C2C"), "middle": ((41, 30, 52), (1,), "C2C"),
    "image": ((150, 211), (0, 1), "C2C"), "grid": ((40, 36, 50), (0, 1, 2), "C2C"),
    "other order": ((40, 36, 50), (2, 0), "C2C"), "images": ((7, 3, 50, 60), (2, 3), "C2C"),
    "one along": ((300, 1, 200), (0, 1), "C2C"), "real": ((150, 211), (0, 1), "R2C"),
    "real batch": ((501, 100), (1,), "R2C"), "to real": ((501, 51), (1,), "C2R"),
}  # fmt: skip


@pytest.fixture(params=LIBRARIES, ids=lambda provider: provider.name)
def provider(request):
    return request.param


def operand(shape, kind):
    x = RANDOM.standard_normal(shape)
    if kind == "R2C":
        return x
    x = x + 1j * RANDOM.standard_normal(shape)
    if kind == "C2R":
        x[..., 0] = x[..., 0].real
        x[..., -1] = x[..., -1].real
    return x


def shared_algorithm(provider, problem):
    return next(a for a in provider.algorithms(problem) if SHARED in a.knobs)


def planned(transform, provider):
    algorithm = shared_algorithm(provider, transform.get_key())
    transform._make_plan(transform.get_key(), transform._slots, given=[algorithm])
    assert SHARED in transform._plan_made.chosen.knobs
    assert provider.lingers(algorithm) == 0


@pytest.mark.parametrize("name", TRANSFORMS)
def test_results(monkeypatch, provider, tuning_record, name):
    monkeypatch.setattr("planmath.fft.providers.fftw3_interface.THREADED_WORK", 1)
    shape, axes, kind = TRANSFORMS[name]
    x = operand(shape, kind)
    options = {"provider": provider.name, "fft_type": kind}
    with FFT(x, axes=axes, options=options, execution={"name": "cpu", "num_threads": 3}) as transform:
        planned(transform, provider)
        y = transform.execute()
        again = transform.execute()
    function = {"C2C": scipy.fft.fftn, "R2C": scipy.fft.rfftn, "C2R": scipy.fft.irfftn}[kind]
    expected = function(x, axes=axes) * (np.prod([100]) if kind == "C2R" else 1)
    np.testing.assert_allclose(y, expected, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_array_equal(again, y)


@pytest.mark.parametrize("inplace", [False, True])
def test_strided_operands_in_both_directions(monkeypatch, provider, tuning_record, inplace):
    monkeypatch.setattr("planmath.fft.providers.fftw3_interface.THREADED_WORK", 1)
    x = operand((70, 44, 90), "C2C").transpose(2, 0, 1)[::3]
    before = x.copy()
    options = {"provider": provider.name, "inplace": inplace, "norm": "ortho"}
    with FFT(x, axes=(1, 2), options=options, execution={"name": "cpu", "num_threads": 2}) as transform:
        planned(transform, provider)
        y = transform.execute(direction="inverse")
    expected = scipy.fft.ifft2(before, axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_what_is_one_transform_is_not_shared(provider):
    x = operand((2**17,), "C2C")
    key = FFT.create_key(x, execution={"name": "cpu", "num_threads": 2})
    assert not any(SHARED in a.knobs for a in provider.algorithms(key))
