"""What comes out: a table to read and JSON to keep."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.comparison import CORES
from bench.verdict import Outcome, Verdict

PACKAGES = (
    "planmath", "nvmath-python", "pyFFTW", "mkl_fft", "mkl", "pypardiso", "torch", "scipy", "numpy", "opt_einsum",
)  # fmt: skip
HEADINGS = ("row", "planmath", "", "against", "", "ratio", "target", "", "the other libraries' best")
SCALES = {
    "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((1e6, "MB"), (1e3, "kB"), (1, "B")),
    "": ((1, ""),),
}


def table(outcomes: Sequence[Outcome]) -> str:
    """The targets as aligned text, one a line; the figures of a row without any, on a line of its own."""
    lines: list[tuple[str, ...]] = [HEADINGS]
    for outcome in outcomes:
        lines += [judged(outcome, verdict) for verdict in outcome.verdicts]
        if outcome.unjudged or not outcome.verdicts:
            lines.append(unjudged(outcome))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    justified = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in justified)


def judged(outcome: Outcome, verdict: Verdict) -> tuple[str, ...]:
    against = quantity(outcome.figures[verdict.against], outcome.unit) if verdict.against else ""
    return (
        outcome.name,
        verdict.ours.removeprefix("planmath "),
        quantity(outcome.figures[verdict.ours], outcome.unit),
        verdict.against,
        against,
        verdict.ratio,
        verdict.target,
        "met" if verdict.met else "NOT MET",
        figures(outcome, of=best_of_each_library(outcome, without=(verdict.ours, verdict.against))),
    )


def unjudged(outcome: Outcome) -> tuple[str, ...]:
    met = "NOT JUDGED" if outcome.unjudged else ""
    return (outcome.name, "", "", "", "", "", "", met, figures(outcome, of=best_of_each_library(outcome)))


def summary(outcomes: Sequence[Outcome]) -> str:
    verdicts = [verdict for outcome in outcomes for verdict in outcome.verdicts]
    met = sum(verdict.met for verdict in verdicts)
    missing = sum(outcome.unjudged for outcome in outcomes)
    return f"{met} of {len(verdicts) + missing} targets met" + (f", {missing} could not be judged" if missing else "")


def figures(outcome: Outcome, of: Iterable[str] | None = None) -> str:
    """The figures of the contenders, or of some of them, smallest first."""
    labels = sorted(outcome.figures if of is None else of, key=outcome.figures.__getitem__)
    return ", ".join(f"{label} {quantity(outcome.figures[label], outcome.unit)}" for label in labels)


def best_of_each_library(outcome: Outcome, without: Sequence[str] = ()) -> list[str]:
    """The label of each library's best contender, libraries with a label in `without` left out."""
    best = {
        library_of(label): label for label in sorted(outcome.figures, key=outcome.figures.__getitem__, reverse=True)
    }
    told = {library_of(label) for label in without}
    return [label for library, label in best.items() if library not in told]


def library_of(label: str) -> str:
    return label.partition(" ")[0]


def quantity(value: float, unit: str) -> str:
    """Seconds, bytes or a ratio with three digits, in the unit that suits their size."""
    scales = SCALES[unit]
    scale, name = next((pair for pair in scales if abs(value) >= pair[0]), scales[-1])
    scaled = value / scale
    digits = 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0
    return f"{scaled:.{digits}f} {name}".rstrip()


def document(outcomes: Sequence[Outcome], facts: dict[str, Any]) -> dict[str, Any]:
    """Everything measured, and on what, ready for JSON."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        **facts,
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


def commit() -> str | None:
    """The commit of this checkout, with a plus where its files were changed; or what the variable COMMIT says.

    The variable is for a copy without git's folder.
    """
    if named := os.environ.get("COMMIT"):
        return named
    root = Path(__file__).resolve().parent.parent
    try:
        top, head, changed = (
            subprocess.run(
                ["git", "-C", str(root), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (("rev-parse", "--show-toplevel"), ("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    if Path(top).resolve() != root:
        return None  # a copy inside of another repository
    return head + "+" * bool(changed)


#: A list of numbers, as JSON with indentation has it.
NUMBERS = re.compile(r"\[([-+.,\deE\s]*)\]")


def save(path: Path, outcomes: Sequence[Outcome], facts: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rounded(document(outcomes, facts)), indent=1, ensure_ascii=False)
    path.write_text(NUMBERS.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", text) + "\n")


def rounded(value: Any) -> Any:
    """The same with four significant digits, which is more than a repeat is good for."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value
