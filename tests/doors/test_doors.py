"""Each door has a program that works, or says what to do."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith(("test_", "__")))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_door(program, tmp_path):
    if program.stem == "pytorch" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(program)],
        cwd=tmp_path, env=os.environ | {"PLANMATH_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "a program shows something"
