"""What planmath tells, as text for terminals and as HTML for notebooks and pages."""

from __future__ import annotations

import html
import io
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planmath.report.tables import table

_STYLE = (
    "<style>.planmath{font-size:90%;line-height:1.4}.planmath table{border-collapse:collapse;margin:.5em 0}"
    ".planmath td,.planmath th{text-align:left;padding:.15em .8em .15em 0;vertical-align:top}"
    ".planmath th{border-bottom:1px solid #8888}.planmath .bar{display:inline-block;height:.7em;background:#0072b2;"
    "border-radius:2px}.planmath svg{max-width:100%;height:auto}</style>"
)
#: Characters of the longest bar, and of the narrowest column that is cut.
WIDTH, NARROWEST = 12, 24


@dataclass(frozen=True)
class Table:
    """Rows under a header, and perhaps a number for each row that a bar shows."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    bars: Sequence[float] | None = None
    shorten: int | None = None
    """The column whose cells are cut where a terminal is too narrow."""

    def __str__(self) -> str:
        whole = table(self.header, self.rows)
        if self.shorten is None or not _is_terminal():
            return whole
        cells = [str(row[self.shorten]) for row in self.rows]
        widest = max(map(len, whole.splitlines()))
        room = max(map(len, cells)) - (widest - shutil.get_terminal_size().columns)
        if room >= max(map(len, cells)):
            return whole
        rows = [list(row) for row in self.rows]
        for row, cell in zip(rows, cells, strict=True):
            row[self.shorten] = _cut(cell, max(room, NARROWEST))
        return table(self.header, rows)

    def html(self) -> str:
        longest = max(self.bars or (), default=0) or 1
        head = "".join(f"<th>{html.escape(str(name))}</th>" for name in self.header)
        lines = [f"<tr>{head}{'<th></th>' if self.bars else ''}</tr>"]
        for i, row in enumerate(self.rows):
            cells = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row)
            if self.bars:
                width = WIDTH * self.bars[i] / longest
                cells += f'<td><span class="bar" style="width:{max(width, 0.1):.2f}em"></span></td>'
            lines.append(f"<tr>{cells}</tr>")
        return f"<table>{''.join(lines)}</table>"


class Report(str):
    """A text of lines and tables; a notebook shows it as HTML, with bars, and with its figure if it has one.

    Parameters
    ----------
    parts : iterable of str or Table
    figure : matplotlib.figure.Figure, optional
    """

    parts: tuple[str | Table, ...]
    figure: Any

    def __new__(cls, parts: Iterable[str | Table], figure: Any = None) -> Report:
        parts = tuple(parts)
        made = super().__new__(cls, "\n".join(map(str, parts)))
        made.parts, made.figure = parts, figure
        return made

    def _repr_html_(self) -> str:
        title, *rest = self.parts
        lines = [f"<b>{html.escape(str(title))}</b>"]
        lines += [part.html() if isinstance(part, Table) else f"<div>{html.escape(part)}</div>" for part in rest]
        return framed("".join(lines) + (svg(self.figure) if self.figure is not None else ""))


def of_fields(title: str, values: Mapping[str, Any]) -> str:
    """Names and values as HTML."""
    return framed(f"<b>{html.escape(title)}</b>{Table(('', ''), list(values.items())).html()}")


def _is_terminal() -> bool:
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:  # it is closed
        return False


def _cut(text: str, width: int) -> str:
    """Beginning and end of a text that is too long."""
    half = (width - 1) // 2
    return text if len(text) <= width else f"{text[: width - 1 - half]}…{text[len(text) - half :]}"


def framed(body: str) -> str:
    """A piece of HTML with its style."""
    return f'{_STYLE}<div class="planmath">{body}</div>'


def page(title: str, bodies: Iterable[str]) -> str:
    """A whole page."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{html.escape(title)}</title>"
    style = "<style>body{font-family:system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em}</style>"
    return f"<!doctype html><html><head>{head}{style}</head><body>{''.join(bodies)}</body></html>\n"


def svg(figure: Any) -> str:
    """A figure of matplotlib's as part of a page."""
    memory = io.StringIO()
    figure.savefig(memory, format="svg", bbox_inches="tight")
    text = memory.getvalue()
    return text[text.index("<svg") :]
