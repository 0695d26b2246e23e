"""Transforms that planmath's threads share."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from planmath.native.team import LINGER

from planmath.fft import FFT
from planmath.fft.providers import PLAIN
from planmath.fft.providers.fftw3_interface import SHARED
from planmath.fft.providers.sharing import parts_of_one

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
    assert provider.lingers(algorithm) == LINGER


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


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(("n", "threads", "parts"), [(4090, 5, 2), (4100, 3, 2), (4100, 4, 4), (4, 2, 2)])
def test_one_transform_of_parts(monkeypatch, provider, tuning_record, n, threads, parts, dtype):
    monkeypatch.setattr("planmath.fft.providers.fftw3_interface.THREADED_WORK", 1)
    x = operand((1, 3 * n), "C2C").astype(dtype)[:, 1::3]
    options = {"provider": provider.name, "norm": "ortho"}
    with FFT(x, axes=(1,), options=options, execution={"name": "cpu", "num_threads": 1}) as transform:
        problem = transform.get_key()._replace(execution=("cpu", threads))  # of a machine that has so many
        assert parts_of_one(problem) == parts
        transform._make_plan(problem, transform._slots, given=[shared_algorithm(provider, problem)])
        there, back = (transform.execute(direction=direction) for direction in ("forward", "inverse"))
        again = transform.execute(direction="forward")
    wide = x.astype(complex)
    for y, expected in ((there, scipy.fft.fft(wide, norm="ortho")), (back, scipy.fft.ifft(wide, norm="ortho"))):
        error = np.linalg.norm(y - expected) / np.linalg.norm(expected)
        assert error < 4 * np.finfo(dtype).eps
    np.testing.assert_array_equal(again, there)


def test_one_transform_of_parts_at_any_address(monkeypatch, provider, tuning_record):
    monkeypatch.setattr("planmath.fft.providers.fftw3_interface.THREADED_WORK", 1)
    memory = operand((2049,), "C2C").astype("complex64")
    options = {"provider": provider.name}
    with FFT(memory[1:], options=options, execution={"name": "cpu", "num_threads": 2}) as transform:
        planned(transform, provider)
        for x in (memory[1:], memory[:-1]):
            transform.reset_operand(x)
            expected = scipy.fft.fft(x.astype(complex))
            np.testing.assert_allclose(transform.execute(), expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("shape", "kind", "options"),
    [((2**17 + 1,), "C2C", {}), ((2**17,), "C2C", {"inplace": True}), ((2**17,), "R2C", {}), ((2**16,), "C2R", {})],
    ids=["odd", "in place", "real", "to real"],
)
def test_one_transform_that_cannot_be_made_of_parts(provider, shape, kind, options):
    options = {**options, "fft_type": kind}
    key = FFT.create_key(operand(shape, kind), options=options, execution={"name": "cpu", "num_threads": 2})
    assert not any(SHARED in a.knobs for a in provider.algorithms(key))
