"""Kernels are built for several instruction sets: those that processors of today do not pick compute the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import planmath.linalg.product.kernels as kernels
import pytest

ROOT = Path(__file__).parents[2]
BUILT = ["baseline", "avx2", "avx512"]
#: Tests of kernels by their addresses; all kernels of a module are in the same table.
OF_KERNELS = ["tests/linalg/test_narrow_kernels.py", "tests/generic/test_small.py"]


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PLANMATH_INSTRUCTION_SET": name}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def missing(name: str) -> bool:
    done = run(name, "-c", "import planmath.linalg.product.kernels as kernels; print(kernels.INSTRUCTION_SET)")
    if done.returncode:
        assert f"PLANMATH_INSTRUCTION_SET is '{name}'; this processor has kernels for" in done.stderr
        assert kernels.INSTRUCTION_SET in done.stderr.splitlines()[-1]
        return True
    assert done.stdout.strip() == name
    return False


@pytest.mark.parametrize("name", [name for name in BUILT if name != kernels.INSTRUCTION_SET])
def test_kernels_of_another_instruction_set(name):
    if missing(name):
        assert BUILT.index(name) > BUILT.index(kernels.INSTRUCTION_SET) or kernels.INSTRUCTION_SET == "baseline"
        return
    done = run(name, "-m", "pytest", "-q", "-p", "no:cacheprovider", *OF_KERNELS)
    assert done.returncode == 0, done.stdout


def test_an_instruction_set_that_is_none():
    assert missing("sse9")
