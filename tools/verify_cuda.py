"""Run the tests and the benchmark about CUDA on this machine, and keep what came out: ``make verify-cuda``.

Writes to a folder, docs/verification unless another one is named:

- ``cuda-tests.txt``: pytest's summary, with how tests failed and why others were skipped, on what machine, and of which
  commit;
- ``cuda-bench.txt``: the benchmark's table;
- ``cuda-bench.json``: all of its figures.

A copy of the repository without git's folder cannot tell its commit: name it in the variable COMMIT. Nothing is written
of a commit that nobody knows, or of files that were changed since, unless ``--draft`` says that it is no record.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import report

from planmath.core.cuda import devices

ROOT = Path(__file__).parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.verify_cuda", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "verification", metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=8, help="of pytest-xdist, where it is installed; default: 8")
    parser.add_argument("--draft", action="store_true", help="also where the commit is not known or not what is run")
    parser.add_argument("--only", choices=("tests", "bench"), help="half of it")
    arguments = parser.parse_args()
    commit = report.commit()
    if not arguments.draft and (commit is None or commit.endswith("+")):
        reason = "files were changed since the last commit" if commit else "the commit is not known: set COMMIT"
        raise SystemExit(f"{reason}; commit first, or try with --draft")
    if reason := devices.missing():
        raise SystemExit(reason)
    os.environ["COMMIT"] = commit or "unknown"
    arguments.into.mkdir(parents=True, exist_ok=True)
    failed = 0
    if arguments.only != "bench":
        failed |= tests(arguments.into, arguments.workers)
    if arguments.only != "tests":
        failed |= benchmark(arguments.into)
    return failed


def tests(folder: Path, workers: int) -> int:
    """Run them; write pytest's summary."""
    from bench import cuda_device

    command = ["-m", "pytest", "-p", "no:benchmark", "-rfEs", "--tb=short"]
    together = ["-n", str(workers)] if cuda_device.module_version("xdist") else []
    os.environ["OMP_NUM_THREADS"] = "1"  # cuDSS's threads would spin beside those of all the other workers
    failed, summaries = 0, []
    for which in (["-m", "cuda and not alone", *together], ["-m", "cuda and alone"]):
        output, status = run([*command, *which])
        summaries.append(summary(output))
        failed |= status
    del os.environ["OMP_NUM_THREADS"]
    text = header(cuda_device.facts(), f"python {' '.join([*command, '-m', 'cuda', *together])}") + "\n".join(summaries)
    write(folder / "cuda-tests.txt", text)
    return failed


def summary(output: str) -> str:
    """Of what pytest printed: how tests failed, if some did, and its summary."""
    starts = [output.find(f"= {title} =") for title in ("ERRORS", "FAILURES", "short test summary info")]
    start = min((start for start in starts if start >= 0), default=None)
    return output.splitlines()[-1] + "\n" if start is None else output[output.rfind("\n", 0, start) + 1 :]


def benchmark(folder: Path) -> int:
    """Run it; write its figures and, from what it prints, the table."""
    from bench import cuda_device

    command = ["-m", "bench", "--cuda", "--json", str(folder / "cuda-bench.json")]
    output, status = run(command)
    if status == 0:
        lines = output[output.index("\nrow ") + 1 :].splitlines()
        table = "\n".join(lines[:-1]) + "\n"  # without the line about where the figures are
        write(folder / "cuda-bench.txt", header(cuda_device.facts(), "python -m bench --cuda") + table)
    return status


def run(command: list[str]) -> tuple[str, int]:
    """Run Python, show what it prints, and return that with the exit status."""
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    return "".join(lines), process.wait()


def header(facts: dict[str, Any], command: str) -> str:
    """When, on what, of which commit."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    versions = [f"{name} {version}" for name in report.PACKAGES if (version := report.version(name))]
    return "\n".join([
        f"{date}, commit {os.environ['COMMIT']}",
        f"$ {command}",
        ", ".join(f"{name}: {value}" for name, value in facts.items()),
        f"Python {platform.python_version()}, {', '.join(versions)}",
        "", "",
    ])  # fmt: skip


def write(path: Path, text: str) -> None:
    path.write_text(text)
    print(f"written: {path}")


if __name__ == "__main__":
    sys.exit(main())
