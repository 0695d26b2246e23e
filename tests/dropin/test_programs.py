"""Programs written for nvmath-python run unchanged, and compute the right thing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGES = ["numpy", "torch"]


def run(program, package, tmp_path, **environment):
    """The program's printed facts, and what it wrote to the log."""
    variables = {"ARRAYS": package, "PLANMATH_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(HERE), **environment}
    done = subprocess.run(
        [sys.executable, "-m", "planmath", "run", str(HERE / program)],
        cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    facts = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    return facts, done.stderr


@pytest.mark.parametrize("package", [pytest.param("numpy", marks=pytest.mark.exhaustive), "torch"])
def test_notebook(package, tmp_path):
    facts, log = run("notebook_stateful.py", package, tmp_path, BATCH="6", LARGE="62,128,94")
    assert facts.pop("type") == "True"
    assert facts.pop("shape") == "(124, 10)"
    ratios = {name: facts.pop(name) for name in list(facts) if name.startswith("speedup")}
    assert len(ratios) == 2
    assert all(float(ratio.removesuffix("x")) > 0 for ratio in ratios.values())
    assert facts == dict.fromkeys(
        ["one product", "stateless sequence", "stateful sequence", "changed in place", "autotuned sequence"], "True"
    )

    # The log has the story that the notebook tells: all phases for each stateless product, planning once when stateful.
    one, stateless, stateful = (
        re.split(f"{start}|{end}", log)[1]
        for start, end in (
            ("before the stateless product", "after the stateless product"),
            ("stateless sequence", "stateful sequence"),
            ("stateful sequence", "end of the sequences"),
        )
    )
    phases = ["SPECIFICATION", "PLANNING", "EXECUTION", "RESOURCE RELEASE"]
    assert [one.count(phase) for phase in phases] == [1, 1, 1, 1]
    assert [stateless.count(phase) for phase in phases] == [8, 8, 8, 8]
    assert [stateful.count(phase) for phase in phases] == [1, 1, 8, 1]


@pytest.mark.parametrize("package", PACKAGES)
def test_exercise(package, tmp_path):
    facts, _ = run("notebook_exercise.py", package, tmp_path, BATCH="12")
    assert facts["type"] == facts["batch dimension"] == facts["batch sequence"] == "True"


@pytest.mark.parametrize("package", PACKAGES)
def test_overview(package, tmp_path):
    facts, log = run("overview.py", package, tmp_path)
    for name in ("type", "transform", "with a logger", "product", "callback"):
        assert facts[name] == "True"
    assert "epilog" in facts["callback without code"]
    own = [line for line in log.splitlines() if line.startswith("USER INFO")]
    everyone = [line for line in log.splitlines() if line.startswith("GLOBAL")]
    assert sum("PLANNING" in line for line in own) == 2
    assert sum("PLANNING" in line for line in everyone) == 1


@pytest.mark.parametrize("package", PACKAGES)
def test_stateful_design(package, tmp_path):
    facts, _ = run("stateful_design.py", package, tmp_path)
    errors = {name: facts.pop(name) for name in list(facts) if facts[name] != "True"}
    assert errors == {
        "execute before plan": "InvalidFFTState",
        "another shape": "ValueError",
        "another package": "TypeError",
        "execute after release": "InvalidFFTState",
        "execute after free": "InvalidFFTState",
        "one operand after release": "ValueError",
    }
    assert len(facts) == 7


def test_fp8(tmp_path):
    facts, _ = run("fp8.py", "torch", tmp_path)
    assert len(facts) == 8
    assert set(facts.values()) == {"True"}


@pytest.mark.parametrize("package", PACKAGES)
def test_settings(package, tmp_path):
    facts, log = run("settings.py", package, tmp_path)
    assert len(facts) == 13
    assert set(facts.values()) == {"True"}
    for hint in ("plan_preference.jit=DEFAULT", "plan_config.nd_min_levels=3"):
        assert f"Hint: {hint} is without effect: " in log
