"""Tables that line up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Text in aligned columns; a column whose cells all start with a digit is aligned right."""
    cells = [[str(cell) for cell in row] for row in rows]
    columns = list(zip(header, *cells, strict=True)) if cells else [(name,) for name in header]
    widths = [max(map(len, column)) for column in columns]
    right = [
        all(cell[:1].isdigit() or cell in ("", "-") for cell in column[1:]) and len(column) > 1 for column in columns
    ]

    def line(row: Sequence[str]) -> str:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *map(line, cells)])
