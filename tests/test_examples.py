"""Every example runs by itself, and its own checks hold; so does the code in the README."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Needs a CUDA device and `planmath run`: tests/cuda/test_notebook.py runs it.
ON_A_DEVICE = ROOT / "examples" / "notebook_stateful_autotuning.py"


def run(file, folder):
    environment = os.environ | {"PLANMATH_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(file)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).strip(), "an example shows something"


@pytest.mark.parametrize(
    "file", sorted({*(ROOT / "examples").glob("*.py")} - {ON_A_DEVICE}), ids=lambda file: file.stem
)
def test_example(file, tmp_path):
    run(file, tmp_path)


def test_readme(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    program = tmp_path / "readme.py"
    program.write_text("\n".join(blocks))
    run(program, tmp_path)
