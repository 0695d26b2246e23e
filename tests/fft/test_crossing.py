"""Operands that are not where the work is done: host arrays for cuFFT, device arrays for the libraries of the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from planmath.fft import FFT, fft, irfft, rfft
from planmath.fft.providers import PROVIDERS
from tests.arrays import package_of, strides_of, to_numpy, to_package
from tests.fft.operands import INEXPRESSIBLE, LAYOUTS, memory_of, poisoned, random_operand
from tests.fft.reference import FORWARD, INVERSE, assert_accurate
from tests.providers import foreign_packages, pairs, space_of

KINDS = pytest.mark.parametrize(
    ("kind", "parity", "direction"),
    [("C2C", "even", FORWARD), ("R2C", "even", FORWARD), ("C2R", "even", INVERSE), ("C2R", "odd", INVERSE)],
)


@pytest.fixture(params=pairs(PROVIDERS, foreign_packages))
def pair(request):
    """A library, and a package whose arrays are elsewhere."""
    return request.param


@pytest.mark.pairwise(times=2)
@KINDS
@pytest.mark.parametrize("layout", ["dense", "sliced", "rotated", "backwards", "broadcast"])
@pytest.mark.parametrize("axes", [(1, 2), (1,)], ids=lambda axes: "".join(map(str, axes)))
def test_memory_layouts(package, provider, kind, parity, direction, layout, axes):
    if (package, layout) in INEXPRESSIBLE:
        pytest.skip(f"{package} has no such arrays")
    array = LAYOUTS[layout](random_operand(kind, "float32", (3, 4, 6), axes, parity))
    values, operand = array.copy(), to_package(array, package)
    before = memory_of(to_numpy(operand))
    options = {"fft_type": kind, "last_axis_parity": parity, "provider": provider}
    with FFT(operand, axes=axes, options=options, execution=space_of(provider)) as transform:
        transform.plan()
        assert transform.report().splitlines()[0].endswith(f"on {space_of(provider)}")
        result = transform.execute()
        assert package_of(result) == package
        assert (tuple(result.shape), strides_of(result)) == transform.get_output_layout()
        assert_accurate(to_numpy(result), kind, values, axes, direction, parity)
        out = to_package(poisoned(to_numpy(result)), package)
        if strides_of(out) == strides_of(result):
            assert transform.execute(out=out) is out
            assert_accurate(to_numpy(out), kind, values, axes, direction, parity)
    assert memory_of(to_numpy(operand)) == before


@pytest.mark.parametrize("layout", ["dense", "sliced"])
def test_in_place(package, provider, layout):
    array = LAYOUTS[layout](random_operand("C2C", "float64", (4, 6), (0, 1)))
    values, operand = array.copy(), to_package(array, package)
    options = {"inplace": True, "provider": provider}
    with FFT(operand, options=options, execution=space_of(provider)) as transform:
        transform.plan()
        assert transform.execute() is operand
        assert_accurate(to_numpy(operand), "C2C", values, (0, 1), FORWARD)
        transform.execute("inverse")
    np.testing.assert_allclose(to_numpy(operand), values * values.size, rtol=1e-12, atol=1e-12)


def test_other_operands_and_autotuning(package, provider):
    first, second = (random_operand("R2C", "float32", (5, 12), (1,), seed=seed) for seed in (1, 2))
    options = {"provider": provider, "tuning": False}
    with FFT(to_package(first, package), axes=[1], options=options, execution=space_of(provider)) as transform:
        transform.plan()
        for reset in (transform.reset_operand, transform.reset_operand_unchecked):
            for values in (second, first):
                reset(to_package(values, package))
                assert_accurate(to_numpy(transform.execute()), "R2C", values, (1,), FORWARD)
        transform.autotune(iterations=1)
        assert_accurate(to_numpy(transform.execute(release_workspace=True)), "R2C", first, (1,), FORWARD)
        assert_accurate(to_numpy(transform.execute()), "R2C", first, (1,), FORWARD)


def test_functions(package, provider):
    execution = space_of(provider)
    values = random_operand("C2C", "float64", (4, 9), (1,))
    for _ in range(2):  # the second time with what is remembered
        result = fft(to_package(values, package), axes=[1], execution=execution)
        assert package_of(result) == package
        assert_accurate(to_numpy(result), "C2C", values, (1,), FORWARD)
    reals = random_operand("R2C", "float64", (4, 9), (1,))
    spectrum = rfft(to_package(reals, package), axes=[1], execution=execution)
    assert_accurate(to_numpy(spectrum), "R2C", reals, (1,), FORWARD)
    back = irfft(spectrum, axes=[1], execution=execution, options={"last_axis_parity": "odd"})
    np.testing.assert_allclose(to_numpy(back) / 9, reals, atol=1e-14)
