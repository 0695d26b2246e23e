"""The sparse solver's kernels for devices: on one, and compiled for the host on the stand-in for the CUDA runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planmath.bindings import nvrtc
from planmath.core.cuda import device_code, devices
from planmath.sparse.advanced import device_kernels
from tests.core.standin_kernels import COMPILER, ON_THE_STAND_IN
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.processes import run_python
from tests.sparse import device_checks
from tests.sparse.matrices import DTYPES

ROOT = Path(__file__).parents[2]
PROGRAM = f"{ON_THE_STAND_IN}\nfrom tests.sparse import device_checks\n"
on_device = pytest.mark.skipif(devices.missing() is not None, reason=str(devices.missing()))
with_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler")
with_nvrtc = pytest.mark.skipif(nvrtc.LIBRARY.missing is not None, reason=str(nvrtc.LIBRARY.missing))


@pytest.fixture
def run(standin):  # noqa: F811
    return lambda program: run_python(PROGRAM + program, standin, ROOT, timeout=300)


@with_compiler
@pytest.mark.parametrize("number", range(len(device_checks.KINDS)))
def test_on_the_stand_in(run, number):
    """One process for all shapes and checks of a kind: what takes the time is compiling."""
    run(f"""
for shape in device_checks.SHAPES:
    for name in device_checks.CHECKS:
        device_checks.check(shape, {number}, name)
assert STANDIN.standinBlocks() == 0, "memory that was not given back"
""")


@with_compiler
def test_extreme_sizes_and_tables_on_the_stand_in(run):
    run("""
device_checks.check_extreme_sizes()
device_checks.check_tables()
assert STANDIN.standinBlocks() == 0, "memory that was not given back"
""")


@on_device
@pytest.mark.parametrize("check", device_checks.CHECKS)
@pytest.mark.parametrize("number", range(len(device_checks.KINDS)))
@pytest.mark.parametrize("shape", device_checks.SHAPES)
def test_on_a_device(shape, number, check):
    device_checks.check(shape, number, check)


@on_device
def test_extreme_sizes():
    device_checks.check_extreme_sizes()


@on_device
def test_tables():
    device_checks.check_tables()


@on_device
@pytest.mark.alone
def test_memory_is_given_back():
    device_checks.check_memory_is_given_back()


@with_nvrtc
@pytest.mark.parametrize("triangle", [False, True])
@pytest.mark.parametrize("together", [1, device_kernels.TOGETHER])
@pytest.mark.parametrize("index", device_kernels.INDICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_compile_without_a_device(dtype, index, together, triangle):
    definitions = device_kernels._definitions(dtype, index, triangle, together)
    source = device_code._PRELUDE + device_kernels._source()
    assert device_code.machine_code(source, (9, 0), definitions).startswith(b"\x7fELF")


def test_pieces_have_equal_work():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 5000)
    lengths[[17, 18, 4000]] = 3000, 900, 2500
    starts = np.concatenate([[0], np.cumsum(lengths)])
    division = device_kernels.divide(starts, 40, 1)
    work = np.diff(starts[division.cuts] + device_kernels.ROW * division.cuts)
    assert work.sum() == starts[-1] + device_kernels.ROW * 5000
    assert work.max() <= starts[-1] / 40 + device_kernels.ROW * 5000 / 40 + 3004
    assert division.long_rows.tolist() == [17, 18, 4000]
    pieces = division.pieces(3, 1000)
    assert pieces["n_long_rows"].sum() == 3
    assert (pieces["system"] == 3).all()
    for piece in pieces[pieces["n_long_rows"] > 0]:
        first = division.long_rows[(piece["long_rows"] - 1000) // 8]
        assert piece["first"] <= first < piece["last"]
