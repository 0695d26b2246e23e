"""The notebook on stateful APIs and autotuning, as it was written for nvmath-python, on CuPy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook_stateful_autotuning.py"
CHECKED = [
    "one product", "stateless sequence", "stateful sequence", "in-place update", "batch dimension", "batch sequence",
    "autotuned sequence",
]  # fmt: skip
PHASES = ("SPECIFICATION", "PLANNING", "EXECUTION", "RESOURCE RELEASE")


@pytest.mark.skipif(find_spec("cupy") is None, reason="cupy is not installed")
def test_notebook(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-m", "planmath", "run", str(NOTEBOOK)],
        cwd=tmp_path, env=os.environ | {"PLANMATH_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "d type = <class 'cupy.ndarray'>" in done.stdout
    assert "d shape = (124, 10)" in done.stdout
    assert re.findall("^checked: (.*)$", done.stdout, re.MULTILINE) == CHECKED
    ratios = [float(ratio) for ratio in re.findall(r"^Speedup = ([0-9.]+)x$", done.stdout, re.MULTILINE)]
    assert len(ratios) == 4
    assert ratios[2] > 1, "the batch as a dimension beside a sequence"

    # The log tells the notebook's story: all phases for each stateless product, planning once for stateful ones.
    one, _, rest = done.stderr.partition("Completed matmul() call")
    stateless, _, stateful = rest.partition("Stateful API")
    assert [one.count(f"= {noun}") for noun in phases()] == [1, 1, 1, 1]
    assert [stateless.count(f"= {noun}") for noun in phases()] == [8, 8, 8, 8]
    assert [stateful.count(f"= {noun}") for noun in phases()] == [1, 1, 8, 1]


def phases() -> list[str]:
    return [f"Matmul {phase}" for phase in PHASES]
