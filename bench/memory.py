"""Memory that grows with use: a million executes, ten thousand lives of an object, each in a process of its own.

``python -m bench.memory WORK LIBRARY COUNT`` is one such process; it prints the growth in bytes.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from bench.comparison import Row, Settings
from bench.contender import PLANMATH
from bench.verdict import Outcome, Verdict

ROOT = Path(__file__).parents[1]  # where `python -m bench.memory` finds itself
LIMIT = 1_000_000  # bytes
EXECUTES, LIVES = 1_000_000, 10_000

# library: the modules of its classes FFT and Matmul
MODULES = {
    "planmath": ("planmath.fft", "planmath.linalg.advanced"),
    "nvmath-python": ("nvmath.fft", "nvmath.linalg"),
}


def fft(library: str) -> Any:
    return import_module(MODULES[library][0]).FFT(np.ones(8, np.complex128))


def matmul(library: str) -> Any:
    return import_module(MODULES[library][1]).Matmul(np.ones((8, 8)), np.ones((8, 8)))


def executes(make: Callable[[str], Any], library: str) -> Callable[[int], None]:
    operation = make(library)
    operation.plan()

    def run(count: int) -> None:
        for _ in repeat(None, count):
            operation.execute()

    return run


def lives(make: Callable[[str], Any], library: str) -> Callable[[int], None]:
    def run(count: int) -> None:
        for _ in repeat(None, count):
            operation = make(library)
            operation.plan()
            operation.execute()
            operation.free()

    return run


# work: what to repeat, on what, how often
WORKS = {
    "fft-executes": (executes, fft, EXECUTES),
    "fft-lives": (lives, fft, LIVES),
    "matmul-executes": (executes, matmul, EXECUTES),
    "matmul-lives": (lives, matmul, LIVES),
}


def growth(work: str, library: str, count: int) -> int:
    """Bytes by which this process grows over `count` repetitions, after a tenth as many to warm up."""
    kind, make, _ = WORKS[work]
    run = kind(make, library)
    run(count // 10)
    before = resident()
    run(count)
    return resident() - before


def resident() -> int:
    """Resident memory of this process in bytes. Garbage that waits for its collection is no growth: it goes first."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def rows(settings: Settings) -> dict[str, Row]:
    return {(name := f"memory/{work}"): partial(row, name, work) for work in WORKS}


def row(name: str, work: str, settings: Settings) -> Outcome:
    outcome = Outcome(name, "B")
    count = WORKS[work][2] // (10 if settings.quick else 1)
    for library in settings.libraries(*MODULES):
        command = [sys.executable, "-m", "bench.memory", work, library, str(count)]
        process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if process.returncode:
            outcome.notes.append(f"{library}: left out, {process.stderr.strip().splitlines()[-1]}")
            outcome.unjudged += library == PLANMATH
            continue
        label = f"{library} {count} times"
        outcome.figures[label] = outcome.raw[label] = int(process.stdout)
        if library == PLANMATH:
            grown = outcome.figures[label]
            target = "growth under 1 MB" if count == WORKS[work][2] else "growth under 1 MB (fewer times)"
            outcome.verdicts.append(Verdict(label, "", f"{grown / LIMIT:.2f}", target, grown < LIMIT))
    return outcome


if __name__ == "__main__":
    print(growth(sys.argv[1], sys.argv[2], int(sys.argv[3])))
