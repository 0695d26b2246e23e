"""``python -m bench``: measure planmath against its peers, print a table, keep the figures as JSON."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import report
from bench.comparison import Row, Settings, reason
from bench.native import load_in_order
from bench.verdict import Outcome

RESULTS = Path(__file__).parent / "results"
# The modules with the rows, imported when they are asked for: those about CUDA need its bindings.
SUITES = {
    "cpu": (
        "imports", "memory", "fft_call", "doors", "interfaces", "matmul", "generic", "tensor", "dense", "sparse",
        "sparse_product", "callbacks", "fft_sweep", "sweep", "matrices", "company",
    ),
    "cuda": (
        "cuda_call", "cuda_batch", "cuda_gemm", "cuda_contraction", "cuda_sparse", "cuda_sparse_product",
        "cuda_generic", "cuda_dense", "cuda_callbacks", "cuda_interfaces", "cuda_situations",
    ),
}
PEERS = "peers"
FULL_ROUNDS, QUICK_ROUNDS = 6, 3


def main() -> None:
    arguments = parsed()
    rounds = QUICK_ROUNDS if arguments.quick else FULL_ROUNDS
    settings = Settings(
        rounds, quick=arguments.quick, peers_only=PEERS in arguments.only, matrices=arguments.matrices
    )
    space = "cuda" if arguments.cuda else "cpu"
    rows = selected(space, settings, [pattern for pattern in arguments.only if pattern != PEERS])
    device = device_facts() if arguments.cuda else {}
    for missing in [] if arguments.cuda else load_in_order():
        print(f"not measured: {missing}")
    outcomes: dict[str, Outcome] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as cache:
        # Neither use what an earlier run has tuned, nor leave behind what this one tunes.
        os.environ["PLANMATH_CACHE_DIR"] = cache
        try:
            for place, (name, row) in enumerate(rows.items(), start=1):
                print(f"[{place}/{len(rows)}, {time.monotonic() - started:.0f} s] {name}", flush=True)
                outcomes[name] = shown(measured(name, row, settings))
            for name in missed(outcomes.values()) if not arguments.quick else []:
                print(f"[once more, {time.monotonic() - started:.0f} s] {name}", flush=True)
                again = shown(measured(name, rows[name], replace(settings, earlier=outcomes)))
                if again.verdicts:
                    outcomes[name] = again
        except KeyboardInterrupt:
            print("interrupted: what follows is what was measured until then")
    print("\n" + report.table([*outcomes.values()]))
    print("\n" + report.summary([*outcomes.values()]))
    path = arguments.json or RESULTS / f"{space}.json"
    facts = {"commit": report.commit(), "options": {"quick": arguments.quick, "only": arguments.only}, **device}
    report.save(path, [*outcomes.values()], facts)
    print(f"{time.monotonic() - started:.0f} s; all figures are in {path}")


def measured(name: str, row: Row, settings: Settings) -> Outcome:
    """The outcome of a row; of one that fails, why: the others are still measured."""
    try:
        return row(settings)
    except Exception as error:
        return Outcome(name, "s", notes=[f"not measured, {reason(error)}"], unjudged=1)


def shown(outcome: Outcome) -> Outcome:
    """The outcome, once it was printed."""
    print("    " + report.figures(outcome), *outcome.notes, sep="\n    ", flush=True)
    return outcome


def missed(outcomes: Iterable[Outcome]) -> list[str]:
    """The rows to be measured once more, at a later time: those of timed contenders that missed a target."""
    return [
        outcome.name for outcome in outcomes
        if not all(verdict.met for verdict in outcome.verdicts)
        and outcome.unit == "s" and any(isinstance(raw, dict) for raw in outcome.raw.values())
    ]  # fmt: skip


def device_facts() -> dict[str, Any]:
    """What the rows about CUDA run on. Ends the program where there is no device."""
    from planmath.core.cuda import devices

    if reason := devices.missing():
        raise SystemExit(reason)
    from bench import cuda_device

    return {"cuda": cuda_device.facts()}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure planmath against its peers.")
    only = f"rows whose name begins with this pattern (fft, 'fft/*/c64'); the word {PEERS} leaves planmath out"
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help=only)
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds, about ten minutes")
    parser.add_argument("--cuda", action="store_true", help="the rows about CUDA, which need a device")
    matrices = "folder of matrices (*.mtx) for sweep/sparse, in the place of generated ones"
    parser.add_argument("--matrices", type=Path, metavar="PATH", help=matrices)
    parser.add_argument("--json", type=Path, metavar="PATH", help="default: bench/results/cpu.json, or cuda.json")
    return parser.parse_args()


def selected(space: str, settings: Settings, patterns: Sequence[str]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for suite in SUITES[space]:
        rows |= import_module(f"bench.{suite}").rows(settings)
    chosen = {
        name: row
        for name, row in rows.items()
        if not patterns or any(fnmatch(name, pattern + "*") for pattern in patterns)
    }
    if not chosen:
        raise SystemExit(f"no row is called {' or '.join(patterns)}; the rows are: {', '.join(rows)}")
    return chosen


if __name__ == "__main__":
    main()
