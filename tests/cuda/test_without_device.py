"""What a machine says that has no CUDA device, no driver, or one too old. These tests need no device."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from planmath.bindings import runtime
from planmath.core.cuda import devices
from planmath.fft import ExecutionCUDA
from planmath.native.library import MissingLibraryError
from tests.cuda.work import WORKS

pytestmark = pytest.mark.without_device

#: One of these is in every message: what would help.
REMEDIES = r"planmath\[cu1[23]\]|driver|CUDA_VISIBLE_DEVICES|nvidia-smi"


@pytest.mark.skipif(devices.missing() is None, reason="there is a CUDA device")
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
@pytest.mark.parametrize("execution", ["cuda", {"name": "cuda"}, ExecutionCUDA(device_id=0)], ids=repr)
def test_execution_on_cuda(work, execution):
    arrays = work.operands_of(1)
    with pytest.raises(RuntimeError, match=r"CUDA") as caught, work.create(*arrays, execution=execution) as operation:
        operation.plan()
    assert devices.missing() in str(caught.value)
    with pytest.raises(RuntimeError, match=REMEDIES):
        work.stateless(*arrays, execution=execution)
    work.check(work.stateless(*arrays, execution="cpu"), 1)


HIDDEN = """
    import numpy as np
    import planmath
    from planmath.core.cuda import devices

    x, a = np.ones(8, np.complex64), np.ones((4, 4), np.float32)
    for run in (planmath.fft.fft, lambda x, execution: planmath.linalg.advanced.matmul(a, a, execution=execution)):
        try:
            run(x, execution="cuda")
        except RuntimeError as error:
            print(error)
        else:
            raise AssertionError("there is no device, and work was done on it")
        run(x, execution="cpu")
"""


def test_no_visible_device():
    """Also on a machine that has some: the variable hides them."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HIDDEN)], env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    messages = done.stdout.splitlines()
    assert len(messages) == 2
    for message in messages:
        assert message.startswith("execution on a CUDA device is not possible")
        assert any(word in message for word in ("CUDA_VISIBLE_DEVICES", "driver", "planmath[cu13]"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("INSUFFICIENT_DRIVER", r"driver is missing, or older.*install a newer.*planmath\[cu12\]"),
        ("NO_DEVICE", r"no CUDA device.*nvidia-smi and CUDA_VISIBLE_DEVICES"),
        ("SYSTEM_DRIVER_MISMATCH", r"cudaErrorSystemDriverMismatch.*nvidia-smi"),
        ("COMPAT_NOT_SUPPORTED_ON_DEVICE", r"cudaErrorCompatNotSupportedOnDevice.*nvidia-smi"),
    ],
)
def test_what_the_runtime_reports(monkeypatch, name, says):
    def count() -> int:
        raise runtime.CUDARuntimeError(runtime.Error[name], "cudaGetDeviceCount")

    monkeypatch.setattr(runtime, "get_device_count", count)
    reason = devices.missing.__wrapped__()
    assert reason
    assert re.search(says, reason)


def test_no_runtime_library(monkeypatch):
    def count() -> int:
        raise MissingLibraryError("the CUDA runtime is not installed: pip install 'planmath[cu13]'")

    monkeypatch.setattr(runtime, "get_device_count", count)
    assert "planmath[cu13]" in devices.missing.__wrapped__()


def test_no_device_is_counted(monkeypatch):
    monkeypatch.setattr(runtime, "get_device_count", lambda: 0)
    assert "CUDA_VISIBLE_DEVICES" in devices.missing.__wrapped__()


@pytest.mark.parametrize("execution", [{"name": "cuda", "device": 0}, "gpu", {"device_id": 0}], ids=repr)
def test_what_is_no_execution(execution):
    with pytest.raises((TypeError, ValueError), match=r"cuda"):
        WORKS[0].create(np.ones((5, 1000), np.complex64), execution=execution)
