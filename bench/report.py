"""What comes out: a table to read and JSON to keep."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.comparison import CORES
from bench.verdict import Outcome, Verdict

PACKAGES = ("planmath", "nvmath-python", "pyFFTW", "mkl_fft", "mkl", "torch", "scipy", "numpy")
HEADINGS = ("row", "planmath", "", "against", "", "ratio", "target", "", "the others, fastest first")
SCALES = {"s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")), "B": ((1e6, "MB"), (1e3, "kB"), (1, "B"))}


def table(outcomes: Sequence[Outcome]) -> str:
    """The targets as aligned text, one a line; the figures of a row without any, on a line of its own."""
    lines: list[tuple[str, ...]] = [HEADINGS]
    for outcome in outcomes:
        verdicts: Sequence[Verdict | None] = outcome.verdicts or [None]
        lines += [(outcome.name, *cells(outcome, verdict)) for verdict in verdicts]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    justified = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in justified)


def cells(outcome: Outcome, verdict: Verdict | None) -> tuple[str, ...]:
    if verdict is None:
        return ("", "", "", "", "", "", "", figures(outcome))
    return (
        verdict.ours.removeprefix("planmath "),
        quantity(outcome.figures[verdict.ours], outcome.unit),
        verdict.against,
        quantity(outcome.figures[verdict.against], outcome.unit) if verdict.against else "",
        verdict.ratio,
        verdict.target,
        "met" if verdict.met else "NOT MET",
        figures(outcome, without=(verdict.ours, verdict.against)),
    )


def figures(outcome: Outcome, without: Sequence[str] = ()) -> str:
    """Every contender's figure, smallest first."""
    ranked = sorted(outcome.figures.items(), key=lambda item: item[1])
    return ", ".join(f"{label} {quantity(value, outcome.unit)}" for label, value in ranked if label not in without)


def quantity(value: float, unit: str) -> str:
    """Seconds or bytes with three digits, in the unit that suits their size."""
    scales = SCALES[unit]
    scale, name = next((pair for pair in scales if abs(value) >= pair[0]), scales[-1])
    scaled = value / scale
    digits = 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0
    return f"{scaled:.{digits}f} {name}"


def document(outcomes: Sequence[Outcome], options: dict[str, object]) -> dict[str, object]:
    """Everything measured, and on what, ready for JSON."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "options": options,
        "rows": [asdict(outcome) for outcome in outcomes],
    }


def machine() -> dict[str, object]:
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return {"cpu": cpu_model(), "cores": CORES, "system": platform.platform(terse=True), "load average": load}


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def save(path: Path, outcomes: Sequence[Outcome], options: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(outcomes, options), indent=1, ensure_ascii=False) + "\n")
