"""What type checkers know of planmath."""

import subprocess
import sys
from pathlib import Path

import pytest

WRONG = """
import numpy as np
import planmath
options: planmath.fft.options.FFTOptionsDict = {"norm": "largest"}
planmath.fft.fft(np.ones(8, complex), axis=0)
planmath.fft.FFT(np.ones(8, complex), options={"provided": "mkl"}).plan(5)
"""


def mypy(program: Path, folder: Path) -> tuple[int, str]:
    pytest.importorskip("mypy", reason="mypy is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(folder / "cache"),
         "--config-file", "", str(program)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_programs_pass_or_fail_as_they_should(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    status, output = mypy(Path(__file__).with_name("program.py"), tmp_path)
    assert status == 0, output
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    status, output = mypy(wrong, tmp_path)
    assert status == 1
    for line in (4, 5, 6):
        assert f"wrong.py:{line}: error" in output, output
