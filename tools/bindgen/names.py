"""How C's names become Python's."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from tools.bindgen.libraries import ENUM_NAMES, WORDS, Library


def snake(name: str) -> str:
    """``MatmulAlgoGetHeuristic`` to ``matmul_algo_get_heuristic``."""
    for word, replacement in WORDS.items():
        name = name.replace(word, replacement)
    name = re.sub(r"^([A-Z]{2})(?=[a-z])", lambda match: f"{match[1].lower()}_", name)  # ZCgesv: two precisions
    name = re.sub(r"([^\d_])([A-Z][a-z]+)", r"\1_\2", name)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return f"{name}_" if keyword.iskeyword(name) else name


def function_name(symbol: str, library: Library) -> str:
    """The library's prefix and the number of the C function's revision are dropped."""
    return snake(re.sub(r"_v\d+(?=_64$|$)", "", _without(library.prefix, symbol)))


def enum_name(name: str, library: Library) -> str:
    if name in ENUM_NAMES:
        return ENUM_NAMES[name]
    name = _without(library.prefix, re.sub(r"_(t|enum|st)$", "", name))
    if name.islower():
        name = "".join(word.capitalize() for word in name.split("_"))
    return re.sub(r"Attributes$", "Attribute", name[0].upper() + name[1:])


def struct_name(name: str, library: Library) -> str:
    return f"{snake(_without(library.prefix, re.sub(r'_(t|st)$', '', name)))}_dtype"


def constant_name(name: str, library: Library) -> str:
    return _upper(_without(library.prefix, name))


def member_names(enum: str, members: Sequence[str], library: Library) -> list[str]:
    """What the members lose is what they all begin with, or else what the reviewed table says."""
    if enum in library.member_prefixes:
        return [_upper(_without(library.member_prefixes[enum], member)) for member in members]
    words = [_words(member) for member in members]
    if len(members) > 1:
        alike = [len(set(column)) == 1 for column in zip(*words, strict=False)]
        count = min([*(len(word) - 1 for word in words), *([alike.index(False)] if False in alike else [])])
    else:
        count, of_type = 0, [word.lower() for word in _words(enum)]
        while count < len(words[0]) - 1 and words[0][count].lower() in of_type:
            count += 1
    while any(word[count][0].isdigit() for word in words):
        count -= 1
    return ["_".join(word[count:]) if "_" in member else _upper("".join(word[count:]))
            for word, member in zip(words, members, strict=True)]  # fmt: skip


def _words(name: str) -> list[str]:
    if "_" in name and name.split("_")[0].isupper():
        return name.split("_")
    return re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+|[A-Z]", name)


def _upper(name: str) -> str:
    """Upper case with underscores, unless it has them: what C writes in two cases (``TILE_8x8``) stays."""
    return name if name.isupper() or "_" in name else snake(name).upper().rstrip("_")


def _without(prefixes: Sequence[str], name: str) -> str:
    for prefix, _, replacement in (prefix.partition("=") for prefix in prefixes):
        if name.startswith(prefix) and name != prefix:
            return replacement + name[len(prefix) :]
    return name
