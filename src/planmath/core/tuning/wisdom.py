"""What planners of libraries have learned by measuring, kept beside the record for the next process.

FFTW calls it wisdom: lines of text below a title that names the library and all its solvers. They are kept by machine
and title in ``wisdom.json``, and serve the same plans only: who does not use the record gets none, and leaves none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from typing import Any

from planmath.core.errors import warn
from planmath.core.tuning import files, record

FORMAT = 1

Lines = dict[str, dict[str, list[str]]]
"""Of each machine, by title."""


class _News:
    """What is learned by title, and the titles of which nothing known is of use."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.refused: set[str] = set()


#: While plans are made that use the record; None while others are.
_news: ContextVar[_News | None] = ContextVar("news", default=None)


@contextlib.contextmanager
def kept(wanted: bool) -> Iterator[None]:
    """Let planners use, for a while, what was learned before, and keep what they learn, also when interrupted."""
    news = _News()
    token = _news.set(news if wanted else None)
    try:
        yield
    finally:
        _news.reset(token)
        if any(news.lines.values()):
            _store(news)


def known(title: str) -> list[str]:
    """Lines that were learned on this machine under a title."""
    return [] if _news.get() is None else _read().get(record.machine(), {}).get(title, [])


def learned(title: str, lines: Collection[str], *, refused: bool) -> None:
    """Take what a planner learned; `refused` says that it could make nothing of what was known."""
    news = _news.get()
    if news is None:
        return
    if refused:
        _warn(ValueError("the library does not take it"))
        news.refused.add(title)
    news.lines.setdefault(title, []).extend(lines)


_loaded: tuple[Any, Lines] | None = None


def _read() -> Lines:
    """The file's content, read again when it has changed."""
    global _loaded
    file = record.wisdom_path()
    stamp = files.stamp(file)
    loaded = _loaded
    if loaded is None or loaded[0] != stamp:
        loaded = _loaded = (stamp, _parse())
    return loaded[1]


def _parse() -> Lines:
    try:
        content = files.read(record.wisdom_path())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, this version of planmath reads {FORMAT}")
        return {
            name: {title: [str(line) for line in lines] for title, lines in titles.items()}
            for name, titles in content["machines"].items()
        }
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, *files.DAMAGE) as error:
        _warn(error)
        return {}


def _store(news: _News) -> None:
    file = record.wisdom_path()
    try:
        with files.locked(file.parent):
            machines = {name: dict(titles) for name, titles in _read().items()}
            titles = machines.setdefault(record.machine(), {})
            for title, lines in news.lines.items():
                before = [] if title in news.refused else titles.get(title, [])
                titles[title] = list(dict.fromkeys([*before, *lines]))
            files.write({"format": FORMAT, "machines": machines}, file)
    except OSError as error:
        warn(
            f"what a planner learned is not kept for the next process: {error}; set PLANMATH_CACHE_DIR to a directory "
            "that can be written to, or use the option tuning=False",
            record.TuningRecordWarning,
        )


def _warn(error: Exception) -> None:
    warn(
        f"what planners learned, in {record.wisdom_path()}, cannot be used ({type(error).__name__}: {error}), and is "
        "measured anew and replaced; or remove it with planmath.tuning.clear()",
        record.TuningRecordWarning,
    )
