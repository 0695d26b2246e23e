"""The facts on a library as they stand in a file: written so that a reader can follow a change of the headers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "interfaces"


def load(module: str) -> dict[str, Any]:
    return json.loads(path(module).read_text())


def path(module: str) -> Path:
    return FOLDER / f"{module}.json"


def dump(facts: dict[str, Any]) -> str:
    """JSON with one line for each function, enum, struct and constant."""
    sections = []
    for section, content in facts.items():
        if isinstance(content, dict) and content:
            lines = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
            sections.append(f"  {json.dumps(section)}: {{\n{lines}\n  }}")
        else:
            sections.append(f"  {json.dumps(section)}: {json.dumps(content)}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def add_history(facts: dict[str, Any], earlier: Iterable[dict[str, Any]]) -> None:
    """Note for each function the first of the versions read that has it as it is now.

    A function that is in all of them is not noted. One that an earlier version has under the same symbol but with other
    parameters, or with a struct of another layout, is noted as changed: calling that one would corrupt memory.
    """
    versions = [facts, *sorted(earlier, key=_version, reverse=True)]
    since, changed = {}, []
    for symbol in facts["functions"]:
        first = facts["version"]
        for version in versions[1:]:
            if not _can_be_called_as_now(symbol, version, facts):
                if symbol in version["functions"] or f"{symbol}_v2" in version["functions"]:
                    changed.append(symbol)
                break
            first = version["version"]
        if first != versions[-1]["version"]:
            since[symbol] = first
    facts["oldest"], facts["since"], facts["changed"] = versions[-1]["version"], since, changed


def _version(facts: dict[str, Any]) -> list[int]:
    return [int(n) for n in facts["version"].split(".")]


def _can_be_called_as_now(symbol: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a version has the function with the same parameters, and structs whose fields have stayed in place."""
    declarations = before["functions"].get(symbol, []), now["functions"][symbol]
    if len(declarations[0]) != len(declarations[1]):
        return False
    return all(_passes_as(code(d), before, code(e), now) for d, e in zip(*declarations, strict=True))


def _passes_as(old: str, before: dict[str, Any], new: str, now: dict[str, Any]) -> bool:
    name = new.strip("<>{}")
    if name in now["structs"] and "Opaque" not in name:
        if name not in before["structs"] or old != new:
            return False
        fields = _layout(now["structs"][name])
        grown = before["structs"][name]["size"] <= now["structs"][name]["size"]
        return grown and all(field in fields for field in _layout(before["structs"][name]))
    if new[0] in "<>P":
        return old[0] in "<>P"
    return old.replace("I", "i") == new.replace("I", "i")  # an enum becomes signed with its first negative member


def _layout(struct: dict[str, Any]) -> list[list[Any]]:
    return [[name, kind if isinstance(kind, str) else kind["size"], offset]
            for name, kind, offset, _ in struct["fields"] if not name.startswith("reserved")]  # fmt: skip


def code(declaration: str) -> str:
    """The code of the type in a declaration of the facts."""
    return declaration.rpartition("; ")[2]


def declared(declaration: str) -> str:
    """A declaration without the code."""
    return declaration.rpartition("; ")[0]
