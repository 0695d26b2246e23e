"""A picture of recorded figures: how long the other libraries take for the same work.

``python -m bench.picture docs/verification/cuda-bench.json picture.svg [ROW ...]`` draws the rows whose names begin
so, or all that are about time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.report import library_of

#: The libraries' colours (those of Okabe and Ito, which all eyes tell apart), in the order of the legend.
COLOURS = {
    "NumPy": "#E69F00", "SciPy": "#D55E00", "mkl_fft": "#009E73", "pyFFTW": "#CC79A7", "MKL": "#56B4E9",
    "torch": "#F0E442", "CuPy": "#E69F00", "nvmath-python": "#000000", "bare": "#999999", "opt_einsum": "#009E73",
}  # fmt: skip
FURTHER = "#777777"
#: Other names that rows have for them.
ALIASES = {"mkl": "MKL", "scipy": "SciPy", "PyTorch": "torch"}
#: Contenders that are no other library.
OWN = ("candidate", "product")


def relative(row: dict[str, Any]) -> dict[str, float]:
    """Each other library's best time over planmath's best, by the library's name; empty where there is none.

    Candidates of planmath's own are no library.
    """
    best: dict[str, float] = {}
    for label, figure in row["figures"].items():
        if ", then " in label:  # what comes after: no time of its own
            continue
        library = library_of(label).rstrip(",")
        library = ALIASES.get(library, library)
        best[library] = min(figure, best.get(library, figure))
    ours = best.pop("planmath", None)
    if not ours or row["unit"] != "s":
        return {}
    return {library: time / ours for library, time in best.items() if library not in OWN}


def draw(document: dict[str, Any], file: Path, names: Sequence[str] = ("",)) -> int:
    """Draw the rows whose names begin with one of `names`; how many there are.

    Parameters
    ----------
    document : dict
        What ``python -m bench --json`` writes.
    file : Path
        Where to put the picture; its ending says of what kind.
    names : sequence of str
        In this order.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "planmath"  # the same figures make the same file
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    rows = [(row["name"], times) for name in names for row in document["rows"]
            if row["name"].startswith(name) and (times := relative(row))]  # fmt: skip
    if not rows:
        return 0
    figure, axes = pyplot.subplots(figsize=(8, 1.1 + 0.27 * len(rows)), layout="constrained")
    seen = {library for _, times in rows for library in times}
    for library in [*(name for name in COLOURS if name in seen), *sorted(seen - COLOURS.keys())]:
        points = [(times[library], -i) for i, (_, times) in enumerate(rows) if library in times]
        axes.scatter(*zip(*points, strict=True), s=42, label=library, color=COLOURS.get(library, FURTHER), zorder=3,
                     edgecolors="#333333", linewidths=0.5)  # fmt: skip
    axes.axvline(1, color="#0072B2", linewidth=2, label="planmath", zorder=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.set_yticks([-i for i in range(len(rows))], [name for name, _ in rows], fontsize=8)
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.set_xlabel("their time over planmath's; right of the line planmath is faster")
    axes.grid(axis="both", color="#dddddd", linewidth=0.6, zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=6, fontsize=8, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=150)
    pyplot.close(figure)
    return len(rows)


def main(arguments: Sequence[str]) -> int:
    source, target, *names = arguments
    count = draw(json.loads(Path(source).read_text()), Path(target), names or ("",))
    print(f"{count} rows in {target}" if count else f"{source} has no such rows")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
