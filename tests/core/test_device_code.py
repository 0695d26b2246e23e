"""Kernels of planmath's own: compiling and launching."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planmath.core.cuda.queue import Queue

from planmath.bindings import nvrtc, runtime
from planmath.core.arrays import package_named
from planmath.core.cuda import device_code, devices
from planmath.core.cuda.device_arrays import pinned, upload
from planmath.core.errors import UnavailableError
from tests.core.standin_kernels import COMPILER, ON_THE_STAND_IN
from tests.core.test_cuda import standin  # noqa: F401 (a fixture)
from tests.processes import run_python

ROOT = Path(__file__).parents[2]
SOURCE = """
struct parameters { pointer<const double> x; pointer<double> y; long long n; };
extern "C" __global__ void twice(const parameters p) {
    __shared__ double shared[64];
    const int i = blockIdx.x * 64 + threadIdx.x;
    shared[threadIdx.x] = i < p.n ? p.x[i] : 0;
    __syncthreads();
    const double other = shared[63 - threadIdx.x];
    if (i < p.n) p.y[i] = FACTOR * shared[threadIdx.x] + 0 * other;
}
"""
with_nvrtc = pytest.mark.skipif(nvrtc.LIBRARY.missing is not None, reason=str(nvrtc.LIBRARY.missing))


@with_nvrtc
def test_compilers_complaints_are_shown():
    with pytest.raises(nvrtc.NVRTCError, match=r"NVRTC_ERROR_COMPILATION\n(.|\n)*expected an expression"):
        nvrtc.compile_to_cubin("__device__ int x = ;", ["--gpu-architecture=sm_90"])


def test_why_there_are_no_kernels(monkeypatch):
    def fail(*given: object) -> None:
        raise nvrtc.NVRTCError("not today")

    monkeypatch.setattr(device_code.devices, "device", lambda number: devices.Device(number, "", (9, 0), 1, 1, 1))
    monkeypatch.setattr(device_code, "machine_code", fail)
    with pytest.raises(UnavailableError, match="planmath's own kernels cannot be used on CUDA device 1: not today"):
        device_code.kernel("source", "name", 1)


@pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler")
def test_launches_on_the_stand_in(standin):  # noqa: F811
    """With parameters that change; and the double of a device finds addresses of the host, and missing threads."""
    program = f"""
{ON_THE_STAND_IN}
from tests.core import test_device_code
test_device_code.SOURCE = {SOURCE!r}.replace(*sys.argv[3:5])
test_device_code.check_launch(host=sys.argv[5] == "host")
"""
    arguments = (standin, ROOT)
    run_python(program, *arguments, "", "", "")
    with pytest.raises(AssertionError, match="an address of the host in the place of one of the device"):
        run_python(program, *arguments, "", "", "host")
    with pytest.raises(AssertionError, match="threads that do not arrive at a barrier"):
        run_python(program, *arguments, "__syncthreads()", "if (i < 100) __syncthreads()", "")


@pytest.mark.skipif(devices.missing() is not None, reason=str(devices.missing()))
def test_launches():
    check_launch()


def check_launch(*, host: bool = False) -> None:
    """A kernel, launched twice with other parameters."""
    queue, x, result = Queue(0, package_named("numpy")), np.arange(150.0), pinned((150,))
    assert (result == 0).all()
    owner, (of_x, of_y) = upload([x, np.zeros(150)], queue)
    parameters = np.zeros(1, [("changing", np.int64, 2), ("n", np.int64)])
    parameters["n"] = 150
    kernel = device_code.kernel(SOURCE, "twice", 0, ("FACTOR=2",))
    launch = device_code.Launch(kernel, (3, 1), 64, parameters, "changing")
    launch(queue.stream, (x.ctypes.data if host else of_x, of_y))
    launch(queue.stream, (of_y, of_y))
    runtime.memcpy_async(result.ctypes.data, of_y, x.nbytes, runtime.MemcpyKind.DEVICE_TO_HOST, queue.stream)
    runtime.stream_synchronize(queue.stream)
    np.testing.assert_array_equal(result, 4 * x)
    del owner
