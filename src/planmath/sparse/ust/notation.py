"""Formats as text, read back."""

from __future__ import annotations

import re
from typing import Any

from planmath.core.errors import nearest
from planmath.sparse.ust.expressions import Dimension, LevelExpr, Operator
from planmath.sparse.ust.levels import LevelFormat, LevelProperty

_TOKEN = re.compile(r"\s*(//|->|[-+%()\[\]:,]|\d+|\w+|<\w+\.\w+>)")
_WORDS: dict[str, Any] = {word.name.lower(): word for word in (*LevelFormat, *LevelProperty)}


class _Text:
    """What is left of a text, in tokens."""

    def __init__(self, text: str):
        self.text = text
        self.tokens: list[str] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise self.error(f"{text[at:].strip()[:10]!r} is not understood")
            self.tokens.append(found.group(1))
            at = found.end()
        self.tokens.reverse()

    def error(self, why: str) -> ValueError:
        return ValueError(
            f"the format {self.text!r} cannot be read: {why}; expected such as '[i, j] -> (i: dense, j: compressed)'"
        )

    def peek(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def take(self, wanted: str | None = None) -> str:
        if not self.tokens or wanted not in (None, self.tokens[-1]):
            raise self.error(f"{self.peek() or 'its end'!r} comes where {wanted or 'more'!r} is expected")
        return self.tokens.pop()

    def taken(self, wanted: str) -> bool:
        if self.peek() != wanted:
            return False
        self.tokens.pop()
        return True

    def many(self, end: str, read: Any) -> list[Any]:
        found: list[Any] = []
        while not self.taken(end):
            if found:
                self.take(",")
            found.append(read())
        return found


def read_format(text: str) -> tuple[list[Dimension], dict[Any, Any]]:
    """The dimensions and the levels that a text describes.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    rest = _Text(text)
    rest.take("[")
    named = {name: Dimension(dimension_name=name) for name in rest.many("]", rest.take)}
    rest.take("->")
    rest.take("(")
    levels: dict[Any, Any] = {}

    def operand() -> Any:
        token = rest.take()
        if token.isdecimal():
            return int(token)
        if token not in named:
            raise rest.error(f"{token!r} is none of its dimensions")
        return named[token]

    def expression() -> Any:
        closed = rest.taken("(")
        found = operand()
        if rest.peek() in [operator.value for operator in Operator]:
            operator = Operator(rest.take())
            if isinstance(found, int):
                raise rest.error(f"{found} is no dimension")
            found = LevelExpr(expression1=found, operator=operator, expression2=operand())
        if closed:
            rest.take(")")
        return found

    def word() -> Any:
        if rest.taken("["):
            return rest.many("]", word)
        token = rest.take()
        if token.isdecimal():
            return int(token)
        key = token.strip("<>").rpartition(".")[2].lower()
        if key not in _WORDS:
            raise rest.error(f"{token!r} is no level format or property ({nearest(key, _WORDS)})")
        return _WORDS[key]

    def level() -> None:
        key = expression()
        rest.take(":")
        levels[key] = tuple(rest.many(")", word)) if rest.taken("(") else word()

    rest.many(")", level)
    if rest.tokens:
        raise rest.error(f"{rest.peek()!r} comes after its end")
    return list(named.values()), levels
