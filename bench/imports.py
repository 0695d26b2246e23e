"""How long an import takes, in processes that have imported nothing yet."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from statistics import median

from bench.comparison import Row, Settings
from bench.verdict import Outcome, at_most

# row: library: what a program imports of it
MODULES = {
    "import": {"planmath": "planmath", "SciPy": "scipy.fft", "nvmath-python": "nvmath"},
    "import/fft": {"planmath": "planmath.fft", "SciPy": "scipy.fft", "nvmath-python": "nvmath.fft"},
}
#: Of SciPy's time, at most: operations are imported when they are used.
MOST = {"import": 1.0, "import/fft": 1.0}
PROCESSES = 11

# Timed inside the process: the interpreter's own start is no part of an import, and would flatter the slower one.
PROGRAM = """
from time import perf_counter
start = perf_counter()
import {module}
print(perf_counter() - start)
"""


def rows(settings: Settings) -> dict[str, Row]:
    return {name: partial(row, name) for name in MODULES}


def row(name: str, settings: Settings) -> Outcome:
    outcome = Outcome(name, "s")
    modules = MODULES[name]
    libraries = settings.libraries(*modules)
    taken: dict[str, list[float]] = {}
    for _ in range(1 + (PROCESSES // 2 if settings.quick else PROCESSES)):
        for library in libraries:
            command = [sys.executable, "-c", PROGRAM.format(module=modules[library])]
            process = subprocess.run(command, capture_output=True, text=True)
            if process.returncode:
                outcome.notes.append(f"{library}: left out, {process.stderr.strip().splitlines()[-1]}")
                libraries = [other for other in libraries if other != library]
            else:
                taken.setdefault(label(name, library), []).append(float(process.stdout))
    for key, (_, *seconds) in taken.items():  # the first import reads from disk and writes the byte code
        outcome.figures[key] = median(seconds)
        outcome.raw[key] = seconds
    if not settings.peers_only:
        outcome.judge([at_most(MOST[name], label(name, "planmath"), label(name, "SciPy"))], {})
    return outcome


def label(name: str, library: str) -> str:
    return f"{library} import {MODULES[name][library]}"
