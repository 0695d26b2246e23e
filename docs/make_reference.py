"""The pages of the reference: one for each public module, with a page for each name in its `__all__`."""

from __future__ import annotations

import enum
import importlib
import inspect
from pathlib import Path

#: Pages, and the modules whose names they list; a name that two of them have stands with the first.
PAGES = {
    "planmath": ("planmath",),
    "fft": ("planmath.fft",),
    "linalg.advanced": ("planmath.linalg.advanced",),
    "linalg": ("planmath.linalg",),
    "tensor": ("planmath.tensor",),
    "sparse.advanced": ("planmath.sparse.advanced",),
    "sparse": ("planmath.sparse", "planmath.sparse.ust"),
    "distributed": (
        "planmath.distributed", "planmath.distributed.distribution", "planmath.distributed.fft",
        "planmath.distributed.linalg.advanced", "planmath.distributed.linalg.solver",
    ),
    "tuning": ("planmath.tuning", "planmath.memory"),
}


def kind_of(value: object) -> str | None:
    """Under which heading a name stands; None for what has a page of its own."""
    if inspect.ismodule(value):
        return None
    if isinstance(value, type):
        if issubclass(value, BaseException):
            return "Exceptions and warnings"
        return "Constants" if issubclass(value, enum.Enum) else "Classes"
    return "Functions" if callable(value) else "Data"


def page(title: str, modules: tuple[str, ...], places: dict[int, str]) -> str:
    """A page in reStructuredText, which autosummary reads.

    `places` has the names that stand on earlier pages by their objects' identities, and gets those of this page.
    """
    lines = [title, "=" * len(title), ""]
    for name in modules:
        module = importlib.import_module(name)
        lines += [f".. module:: {name}", "", inspect.getdoc(module) or "", ""]
        sections: dict[str, list[str]] = {}
        elsewhere = []
        for public in module.__all__:
            value = getattr(module, public)
            kind = kind_of(value)
            if kind is None:
                continue
            if id(value) in places:
                elsewhere.append(f":py:obj:`{public} <{places[id(value)]}>`")
            else:
                places[id(value)] = f"{name}.{public}"
                sections.setdefault(kind, []).append(public)
        for kind in ("Functions", "Classes", "Constants", "Data", "Exceptions and warnings"):
            if kind in sections:
                lines += [kind, "-" * len(kind), "", f".. currentmodule:: {name}", ""]
                if kind == "Data":
                    for public in sections[kind]:
                        lines += [f".. py:data:: {public}", "", f"   ``{getattr(module, public)}``", ""]
                    continue
                lines += [".. autosummary::", "   :toctree: generated", ""]
                lines += [f"   {public}" for public in sections[kind]] + [""]
        if elsewhere:
            lines += [f"Under the same names as elsewhere: {', '.join(elsewhere)}.", ""]
    return "\n".join(lines)


def make(folder: Path) -> None:
    """Write the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    places: dict[int, str] = {}
    for title, modules in PAGES.items():
        file, text = folder / f"{title}.rst", page(modules[0], modules, places)
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
