"""The checks of kernels, in the simulator: run by `test_simulator.py` in a process of their own."""

from tests.device.checks import *  # noqa: F403
