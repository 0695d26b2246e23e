"""What type checkers know of planmath."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import is_typeddict

import pytest

import planmath

WRONG = """
import numpy as np
import planmath
options: planmath.fft.options.FFTOptionsDict = {"norm": "largest"}
planmath.fft.fft(np.ones(8, complex), axis=0)
planmath.fft.FFT(np.ones(8, complex), options={"provided": "mkl"}).plan(5)
planmath.linalg.advanced.matmul(np.eye(2), np.eye(2), epilogue=None)
planmath.linalg.direct_solver(np.eye(2))
planmath.tensor.contract("ij,jk", np.eye(2), np.eye(2), optimise="greedy")
text: str = planmath.linalg.triangular_solve(np.eye(2), np.ones(2))
planmath.fft.FFT(np.ones(8, complex)).execute(axis=0)
layer: planmath.linalg.advanced.Matmul[str] = planmath.linalg.advanced.Matmul(np.eye(2), np.eye(2))
number: int = planmath.linalg.DirectSolver(np.eye(2), np.ones(2)).solve()
"""


def mypy(program: Path, folder: Path) -> tuple[int, str]:
    pytest.importorskip("mypy", reason="mypy is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(folder / "cache"),
         "--config-file", "", str(program)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def option_classes():
    """Every class of options, and the dictionary of its fields."""
    pairs = []
    for module in pkgutil.walk_packages(planmath.__path__, "planmath.", onerror=lambda name: None):
        if module.name.endswith(".options") and module.name != "planmath.core.options":
            found = vars(importlib.import_module(module.name))
            for name, dictionary in found.items():
                if name.endswith("Dict") and is_typeddict(dictionary) and dictionary.__module__ == module.name:
                    pairs.append(pytest.param(found[name.removesuffix("Dict")], dictionary, id=f"{module.name}.{name}"))
    return pairs


@pytest.mark.parametrize(("options", "dictionary"), option_classes())
def test_dictionaries_have_the_fields_of_options(options, dictionary):
    fields = {field.name: field.type for field in dataclasses.fields(options)}
    given = {name: getattr(kind, "__forward_arg__", kind) for name, kind in dictionary.__annotations__.items()}
    assert list(given) == list(fields)
    for name, kind in fields.items():
        assert given[name] == kind or given[name].replace("MatmulEpilogPreferencesDict | ", "") == kind


def test_every_operation_has_such_a_dictionary():
    assert len(option_classes()) == 17


def test_pyright_agrees():
    pyright = Path(sys.executable).with_name("pyright")
    if not pyright.exists():
        pytest.skip("pyright is not installed")
    pytest.importorskip("torch", reason="torch is not installed")
    program = Path(__file__).with_name("program.py")
    done = subprocess.run(
        [pyright, "--pythonpath", sys.executable, program], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_programs_pass_or_fail_as_they_should(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    status, output = mypy(Path(__file__).with_name("program.py"), tmp_path)
    assert status == 0, output
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    status, output = mypy(wrong, tmp_path)
    assert status == 1
    for line in range(4, 14):
        assert f"wrong.py:{line}: error" in output, output
