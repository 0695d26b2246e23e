"""Arrays on the rank's device, of CuPy, of PyTorch, or of the stand-in for CuPy."""

import os
import sys

import numpy as np
import pytest

import planmath.distributed as distributed
from planmath.bindings import runtime
from planmath.core.cuda import devices

STANDIN = "PLANMATH_TEST_STANDIN" in os.environ
#: The packages to test with.
PACKAGES = ["cupy"] if STANDIN else ["cupy", "torch"]
PROVIDERS = ["ipc", "nccl", "mpi", "broadcast"]


def checked(provider):
    """The name of a transport, if the ranks have it: that of NCCL needs a device for each."""
    nranks = distributed.get_context().process_group.nranks
    if provider == "nccl" and nranks > devices.count():
        pytest.skip("NCCL does not connect two ranks on one device")
    return "copy" if nranks == 1 else provider


def module(package="cupy"):
    __import__(package)
    return sys.modules[package]


def device_id():
    return distributed.get_context().device_id


def on_device(array, package="cupy"):
    """A copy on this rank's device with the same strides."""
    of = module(package)
    runtime.set_device(device_id())
    if package == "torch":
        return of.from_numpy(array).to(f"cuda:{device_id()}")
    return of.asarray(array)


def on_host(array):
    """What an array on the device has, when all work is done."""
    runtime.device_synchronize()
    return array.cpu().numpy() if hasattr(array, "cpu") else array.get()


def assert_equal(found, expected):
    np.testing.assert_array_equal(on_host(found), expected)


def assert_close(found, expected, tolerance):
    difference = np.abs(on_host(found) - expected).max(initial=0)
    assert difference <= tolerance * np.abs(expected).max(initial=1e-30), difference
