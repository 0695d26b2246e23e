"""The tests in `devices` on all ranks of a launcher, with the stand-in for CUDA; where there are devices, on those."""

from __future__ import annotations

import sys

import pytest

from planmath.core.cuda import devices
from tests.core.standin_kernels import COMPILER, ON_THE_STAND_IN
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.distributed.test_on_ranks import SESSION, check_session, launched
from tests.processes import run_python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nranks", "chosen", "least"),
    [(2, "", 50), pytest.param(3, "pairs or there_and_back or gathered", 18, marks=pytest.mark.exhaustive)],
)
def test_stand_in(nranks, chosen, least, tmp_path, standin):  # noqa: F811
    more = {"PLANMATH_TEST_RANKS": "mpi", "PLANMATH_CACHE_DIR": str(tmp_path), "PLANMATH_TEST_STANDIN": str(standin)}
    check_session(launched(nranks, *SESSION, "-k", chosen, "tests/distributed/devices", **more), least)


@pytest.mark.cuda
@pytest.mark.skipif(devices.missing() is not None, reason=str(devices.missing()))
def test_devices(tmp_path):
    """As many ranks as there are devices; two on one, where there is no other."""
    more = {"PLANMATH_TEST_RANKS": "mpi", "PLANMATH_CACHE_DIR": str(tmp_path)}
    nranks = max(2, devices.count())
    chosen = "" if devices.count() > 1 else "not nccl"
    check_session(launched(nranks, *SESSION, "-k", chosen, "tests/distributed/devices", **more), 30)


COPIES = """
import numpy as np
from planmath.core.collective.device_space import DeviceSpace
from planmath.core.collective.exchange import Copying
from planmath.core.collective.spaces import HOST
from planmath.core.arrays import package_named
from planmath.core.cuda.queue import Queue
from planmath.core.cuda.device_arrays import upload
space = DeviceSpace(Queue(0, package_named("numpy")))
cases = [  # runs, strides of source and target in elements, bytes of an element
    ([[(1, 2, 5)], [(0, 0, 6)]], (7, 1), (9, 1), 8),              # short rows
    ([[(0, 0, 2), (4, 2, 2), (8, 4, 2)], [(0, 3, 32)]], (40, 1), (48, 1), 4),  # blocks in turn, of rows of 16 bytes
    ([[(0, 0, 4)], [(0, 0, 3)], [(2, 1, 5)]], (24, 8, 1), (1, 4, 12), 16),     # transposed
    ([[(0, 0, 3), (7, 3, 1), (9, 5, 2)], [(0, 0, 300)]], (300, 1), (300, 1), 2),  # long rows
    ([[(3, 4, 1)]], (1,), (1,), 1),
    ([[(1, 0, 2), (4, 2, 3), (9, 5, 1), (11, 6, 2), (20, 8, 1), (30, 9, 5)], [(2, 1, 1)], [(0, 0, 7), (9, 7, 2)]],
     (1, 40, 40), (1, 20, 20), 8),  # some rows of a matrix
    ([[(0, 0, 0)]], (1,), (1,), 4),
]
for number, (axes, read, written, size) in enumerate(cases):
    copying = Copying(axes, read, written, size)
    source = np.random.default_rng(number).integers(0, 255, 16384, np.uint8)
    expected, found = np.zeros(16384, np.uint8), np.zeros(16384, np.uint8)
    for shift in (0, size):  # addresses that are multiples of 16, and others
        owner, (a, b) = upload([source, np.zeros(16384, np.uint8)], space.queue)
        HOST.copy(copying).run(source.ctypes.data + shift, expected.ctypes.data + shift)
        space.copy(copying).run(a + shift, b + shift)
        runtime.memcpy_async(found.ctypes.data, b, found.nbytes, 2, 0)
        np.testing.assert_array_equal(found, expected, str(number))
        expected[:] = 0
# rows farther apart than the copy engines take
far, near = np.zeros((1 << 31) + 4096, np.uint8), np.zeros(600, np.uint8)
for k in range(2):
    far[k << 31 : (k << 31) + 300] = k + 1
owner, (b,) = upload([near], space.queue)
space.copy(Copying([[(0, 0, 2)], [(0, 0, 300)]], (1 << 31, 1), (300, 1), 1)).run(far.ctypes.data | 1 << 56, b)
runtime.memcpy_async(near.ctypes.data, b, 600, 2, 0)
np.testing.assert_array_equal(near, np.repeat(np.uint8([1, 2]), 300))
STANDIN.standinJournal.restype = ctypes.c_char_p
assert ("launch" in STANDIN.standinJournal().decode()) == WITH_KERNELS
"""


@pytest.mark.parametrize("kernels", [True, False])
def test_copies_on_the_stand_in(standin, kernels):  # noqa: F811
    """By kernels where rows are short, and by the copy engines alone where there are none."""
    if kernels and not COMPILER:
        pytest.skip("there is no C++ compiler")
    without = "from planmath.core.cuda import strided_copy; strided_copy.available = lambda device_id: False; "
    begin = ON_THE_STAND_IN + "; " + ("" if kernels else without) + f"WITH_KERNELS = {kernels}"
    run_python(f"{begin}\n{COPIES}", standin, sys.path[0] or ".")
