"""The checks of kernels, on a device."""

import pytest

from planmath.core.cuda import devices

pytest.importorskip("numba_cuda")
if devices.missing():
    pytest.skip("there is no CUDA device", allow_module_level=True)

from tests.device.checks import *  # noqa: F403
