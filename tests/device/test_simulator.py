"""Kernels in Numba's simulator, which is chosen by the environment: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")
ROOT = Path(__file__).parents[2]


def simulated(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python under the simulator, on one thread."""
    surroundings = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=surroundings | environment, capture_output=True, text=True, timeout=300
    )


def test_all_checks() -> None:
    done = simulated(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/device/simulated_checks.py"
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


#: libmathdx is not found, as on a machine without it.
WITHOUT = """
import sys
from planmath.core.cuda.mathdx import descriptors
descriptors.missing = lambda: "it is not installed"
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/device/simulated_checks.py"]))
"""


def test_all_checks_without_libmathdx() -> None:
    done = simulated("-c", WITHOUT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
