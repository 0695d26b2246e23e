"""Pictures of what was measured, by matplotlib: the extra ``plot``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Colours for situations and points that all eyes tell apart (Okabe and Ito).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

#: Rows and columns of the cells that a large pattern is drawn in.
CELLS = 200


def figure(rows: int, columns: int) -> tuple[Any, list[Any]]:
    """A figure with so many pictures beside each other, high enough for so many rows of bars.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plot=True needs matplotlib: pip install 'planmath[plot]'") from None
    made = Figure(figsize=(5.5 * columns, max(2.8, 0.9 + 0.32 * rows)), layout="constrained")
    axes = made.subplots(1, columns, squeeze=False)[0]
    return made, list(axes)


def candidates(axes: Any, names: Sequence[str], seconds: Sequence[Mapping[str, float]]) -> None:
    """Bars of the times of candidates in each situation, the first one on top."""
    situations = list(dict.fromkeys(name for times in seconds for name in times))
    height = 0.8 / len(situations)
    for s, situation in enumerate(situations):
        have = [i for i, times in enumerate(seconds) if situation in times]
        axes.barh([i + (s - (len(situations) - 1) / 2) * height for i in have],
                  [seconds[i][situation] for i in have], height, label=situation,
                  color=COLOURS[s % len(COLOURS)])  # fmt: skip
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("seconds")
    axes.set_title("candidates")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def roofline(axes: Any, flops: float, bandwidth: float, points: Sequence[tuple[str, float, float]]) -> None:
    """The machine's limits over FLOPs per byte, and points with their name, FLOPs per byte and FLOPs per second."""
    ridge = flops / bandwidth
    intensities = [x for _, x, _ in points] + [ridge]
    low, high = min(intensities) / 4, max(intensities) * 4
    axes.plot([low, ridge, high], [bandwidth * low, flops, flops], color="#333333", linewidth=1.5)
    for i, (name, intensity, reached) in enumerate(points):
        share = reached / min(flops, bandwidth * intensity)
        axes.scatter([intensity], [reached], s=60, color=COLOURS[i % len(COLOURS)], zorder=3,
                     label=f"{name}: {share:.0%} of the limit")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("FLOPs for each byte of operands and results")
    axes.set_ylabel("FLOPs per second")
    axes.set_title(f"roofline: {flops:.2g} FLOPs, {bandwidth:.2g} bytes per second")
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def pattern(axes: Any, starts: Any, columns: Any, title: str) -> None:
    """Where a sparse matrix of compressed rows has entries: as points, or of a large one how many in each cell."""
    import numpy as np

    n = len(starts) - 1
    cells = min(n, CELLS)
    rows = np.repeat(np.arange(n), np.diff(starts))
    counts = np.zeros((cells, cells))
    np.add.at(counts, (rows * cells // n, np.asarray(columns, np.int64) * cells // n), 1)
    counts[counts == 0] = np.nan
    axes.imshow(counts, cmap="viridis_r", interpolation="nearest", extent=(0, n, n, 0))
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("column")
    axes.set_ylabel("row")


def tree(axes: Any, names: Mapping[int, str], steps: Sequence[tuple[str, Sequence[int], float, float]]) -> None:
    """Steps that make one tensor of others: each above the ones that it takes.

    Parameters
    ----------
    names : mapping
        What is there in the beginning, by number.
    steps : sequence of (text, numbers of what it takes, FLOPs, bytes)
        The result of the first has the next number, and so on.
    """
    takes = {len(names) + i: tuple(factors) for i, (_, factors, _, _) in enumerate(steps)}
    places: dict[int, tuple[float, int]] = {}

    def put(number: int) -> tuple[float, int]:
        """Leaves stand beside each other, a step above the middle of what it takes."""
        if number not in places:
            below = [put(factor) for factor in takes.get(number, ())]
            leaves = sum(n not in takes for n in places)
            x = sum(x for x, _ in below) / len(below) if below else float(leaves)
            places[number] = (x, 1 + max((y for _, y in below), default=-1))
        return places[number]

    put(len(names) + len(steps) - 1)
    for number, factors in takes.items():
        for factor in factors:
            axes.plot(*zip(places[number], places[factor], strict=True), color="#999999", linewidth=1, zorder=1)
    for number, (x, y) in places.items():
        if number in takes:
            text, _, flops, moved = steps[number - len(names)]
            label = f"{text}\n{flops:.3g} FLOPs, {moved:.3g} bytes"
        else:
            label = names[number]
        axes.text(x, y, label, ha="center", va="center", fontsize=7, zorder=2,
                  bbox={"boxstyle": "round", "facecolor": "#eef5fb" if number in takes else "white",
                        "edgecolor": COLOURS[0]})  # fmt: skip
    width, height = (max(place[i] for place in places.values()) for i in (0, 1))
    axes.set_xlim(-1, width + 1)
    axes.set_ylim(-0.6, height + 0.6)
    axes.axis("off")
