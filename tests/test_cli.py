"""The command line."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from planmath.report.info import OPERATIONS


@pytest.fixture
def planmath(tmp_path):
    """Runs ``python -m planmath`` in an empty folder with an empty tuning record."""

    def run(*arguments, status=0):
        environment = os.environ | {"PLANMATH_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "120"}
        done = subprocess.run(
            [sys.executable, "-m", "planmath", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


def test_help(planmath):
    out = planmath("--help").stdout
    for command in ("info", "demo", "run", "bench"):
        assert f"    {command} " in out
        assert planmath(command, "--help").stdout.startswith(f"usage: planmath {command}")
    assert "planmath info" in out


def test_without_a_command(planmath):
    assert planmath(status=2).stdout == planmath("--help").stdout


def test_version(planmath):
    import planmath as package

    assert planmath("--version").stdout == f"planmath {package.__version__}\n"


def test_unknown_command(planmath):
    assert "invalid choice: 'fly'" in planmath("fly", status=2).stderr


def test_info(planmath, tmp_path):
    out = planmath("info").stdout
    lines = out.splitlines()
    assert lines[0].startswith("planmath ")
    assert "numpy " in out
    assert "scipy " in out
    assert not find_spec("torch") or "\nPyTorch's tensors are read by " in out
    header = next(line for line in lines if line.startswith("operation"))
    column = header.index("library")
    rows = {tuple(line.split()[:2]): line[column:].strip() for line in lines if line.startswith(OPERATIONS)}
    assert {operation for operation, _ in rows} == set(OPERATIONS)
    assert os.path.isfile(rows["fft", "pocketfft"])
    for where in rows.values():
        assert os.path.isfile(where) or "not" in where or "missing" in where
    assert str(tmp_path / "cache" / "tuning.json") in out
    assert "nothing measured on this machine yet" in out


def test_info_counts_what_was_measured(planmath, tmp_path):
    (tmp_path / "tune.py").write_text(
        "import numpy, nvmath\n"
        "with nvmath.fft.FFT(numpy.ones(8) + 0j) as transform:\n"
        "    transform.plan()\n"
        "    transform.autotune(iterations=1)\n"
    )
    planmath("run", "tune.py")
    assert "1 problem measured on this machine" in planmath("info").stdout


def test_info_tells_of_compiled_code(planmath, tmp_path):
    assert "nothing kept" in planmath("info").stdout
    code = tmp_path / "cache" / "code"
    code.mkdir(parents=True, exist_ok=True)
    (code / "one").write_bytes(b"1234567")
    out = planmath("info").stdout
    assert f"compiled code {code}" in out.replace("\n", "")
    assert "1 file, 7 bytes" in out
    (code / "two").write_bytes(bytes(2041))
    assert "2 files, 2.00 KiB" in planmath("info").stdout


def test_info_as_json(planmath):
    facts = json.loads(planmath("info", "--json").stdout)
    assert facts["cpus"] >= 1
    libraries = {(f["operation"], f["provider"]): f for f in facts["libraries"]}
    assert libraries["fft", "pocketfft"]["missing"] is None
    for found in libraries.values():
        if found["missing"]:
            assert found["path"] is found["version"] is None
        else:
            assert found["version"]


SCRIPT = """
import sys
import nvmath
import beside
print(sys.argv, __name__, nvmath.__name__, beside.there)
if "raise" in sys.argv:
    raise ValueError("from the script")
if "exit" in sys.argv:
    sys.exit(7)
"""


@pytest.fixture
def script(tmp_path):
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "beside.py").write_text("there = True")
    (folder / "program.py").write_text(SCRIPT)
    return os.path.join("programs", "program.py")


def test_run_script(planmath, script):
    out = planmath("run", script, "-x", "--help", "-m", "1").stdout
    assert out == f"{[script, '-x', '--help', '-m', '1']} __main__ planmath True\n"


def test_run_module(planmath, tmp_path):
    (tmp_path / "beside.py").write_text("there = True")
    (tmp_path / "program.py").write_text(SCRIPT)
    out = planmath("run", "-m", "program", "a", "--b").stdout
    assert out == f"{[str(tmp_path / 'program.py'), 'a', '--b']} __main__ planmath True\n"


def test_run_passes_errors_on(planmath, script):
    stderr = planmath("run", script, "raise", status=1).stderr
    assert "ValueError: from the script" in stderr
    assert "program.py" in stderr
    planmath("run", script, "exit", status=7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "run needs a script"),
        (["run", "-m"], "-m needs a module"),
        (["run", "absent.py"], "there is no file 'absent.py'"),
        (["run", "-m", "absent_module"], "there is no module 'absent_module'"),
    ],
)
def test_run_without_a_program(planmath, arguments, message):
    done = planmath(*arguments, status=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_option(planmath):
    assert "unrecognized arguments: --jsn" in planmath("info", "--jsn", status=2).stderr


def test_bench_passes_arguments_on(planmath):
    done = planmath("bench", "--only", "nothing-of-this-name", status=1)
    assert "make bench" in done.stdout
    assert "no row is called nothing-of-this-name" in done.stderr


def test_demo(tmp_path, capsys):
    """The demo without its timings, which are the longest part."""
    from PIL import Image

    from planmath import demo

    demo.filter_photograph(tmp_path)
    with Image.open(tmp_path / "photograph.png") as picture:
        assert picture.width > 3 * 640
        original, blurred, edges = (
            np.asarray(picture.crop((8 + place * 648, 24, 648 + place * 648, 451)), float) for place in range(3)
        )
    contrast = [np.abs(np.diff(image, axis=1)).mean() for image in (original, blurred)]
    assert contrast[1] < contrast[0] / 3
    assert abs(original.mean() - blurred.mean()) < 2
    assert edges[:50, 300:].mean() < edges[100:300, 100:250].mean() / 5, "the sky has no edges, the roof has"

    demo.classify_digits()
    accuracy = float(re.search(r"accuracy ([\d.]+)%", capsys.readouterr().out)[1])
    assert accuracy > 95


def test_demo_compares_ways(capsys):
    from planmath import demo

    for ways in (demo.products(3, 12, 5, 7), demo.transforms(3, 16)):
        with ways.tune() as operation:
            for call in (ways.numpy, ways.stateless, ways.stateful):
                call()
            ways.tuned(operation)
            assert "chosen by autotuning" in operation.report()


def test_demo_without_its_packages(monkeypatch, tmp_path, capsys):
    from planmath import __main__

    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert __main__.main(["demo", "--output", str(tmp_path)]) == 2
    assert "pip install 'planmath[demo]'" in capsys.readouterr().err
