"""Expressions in einsum notation: read, and checked against the operands' shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

Mode = Hashable
#: From here on every character is a letter, as `opt_einsum.get_symbol` has it; before, the alphabet is.
MORE_LETTERS = "\u00c0"


class Expression(NamedTuple):
    """The modes of the operands and of the result, and the extents of all."""

    inputs: tuple[tuple[Mode, ...], ...]
    output: tuple[Mode, ...]
    extents: dict[Mode, int]
    """Of every mode; an operand may have 1 in its place, and is repeated along that mode then."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The result's."""
        return tuple(self.extents[mode] for mode in self.output)


class _Term(NamedTuple):
    """The modes of one operand or of the result, where each stands in the text; `...` is the mode Ellipsis."""

    modes: tuple[Mode, ...]
    places: tuple[int, ...]
    begin: int
    end: int


def read(expr: Any, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Expression:
    """Read an expression for operands of these shapes.

    Parameters
    ----------
    expr : str, or sequence of sequences of hashable
        ``'ij,jk->ik'``, with any letters that `opt_einsum.get_symbol` has; or the modes of each operand, and of the
        result if the order of its modes should not be the sorted one: ``[('i', 'j'), ('j', 'k'), ('i', 'k')]``.
    names : sequence of str
        What messages call the operands.
    shapes : sequence of tuple of int

    Raises
    ------
    TypeError, ValueError
        If the expression is not well formed, or does not fit the shapes. Where it is text, a mark shows the place.

    Examples
    --------
    >>> read("ijk,jkl->il", "ab", [(2, 3, 4), (3, 4, 5)]).shape
    (2, 5)
    >>> read([(0, 1), (1, "x")], "ab", [(2, 3), (3, 5)]).output
    (0, 'x')
    >>> read("ij,j-i", "ab", [(2, 3), (3,)])
    Traceback (most recent call last):
    ...
    ValueError: expr has a '-' that is no '->':
        ij,j-i
            ^
    """
    if isinstance(expr, str):
        terms, output = _scan(expr)
    elif isinstance(expr, Sequence):
        terms, output = _interleaved(expr, len(names))
    else:
        raise TypeError(
            f"expr is a {type(expr).__name__}; expected text such as 'ij,jk->ik', or the sequences of modes of the "
            "operands and of the result"
        )
    if len(terms) != len(names):
        place = terms[len(names)].begin if len(terms) > len(names) else terms[-1].end
        raise _error(expr, place, f"has {len(terms)} terms for {len(names)} operands ({', '.join(names)})")
    rank = 0  # of what `...` stands for
    for name, term, shape in zip(names, terms, shapes, strict=True):
        named = sum(mode is not Ellipsis for mode in term.modes)
        if len(shape) != named if named == len(term.modes) else len(shape) < named:
            least = "" if named == len(term.modes) else "at least "
            raise _error(expr, term.begin, f"has {least}{named} modes for {name}, whose shape is {shape}")
        if named != len(term.modes):
            rank = max(rank, len(shape) - named)
    dots = tuple(f"...[{i - rank}]" for i in range(rank))
    inputs = tuple(_expand(term, dots, len(shape)) for term, shape in zip(terms, shapes, strict=True))
    extents = _extents(expr, names, shapes, terms, inputs)
    if output is None:
        return Expression(inputs, _implied(inputs, dots), extents)
    for position, mode in enumerate(output.modes):
        if output.modes.count(mode) > 1:
            again = len(output.modes) - 1 - output.modes[::-1].index(mode)
            raise _error(expr, output.places[again], f"has the mode {_shown(mode)} twice in the result")
        if mode is Ellipsis and not any(Ellipsis in term.modes for term in terms):
            raise _error(expr, output.places[position], "has '...' in the result, and no operand has it")
        if mode is not Ellipsis and mode not in extents:
            raise _error(
                expr, output.places[position], f"has the mode {_shown(mode)} in the result, and no operand has it"
            )
    expanded = _expand(output, dots, len(output.modes) - 1 + rank)
    return Expression(inputs, expanded, extents)


def _expand(term: _Term, dots: tuple[str, ...], rank: int) -> tuple[Mode, ...]:
    """The term's modes, with those that `...` stands for in an array of this rank."""
    if Ellipsis not in term.modes:
        return term.modes
    at, count = term.modes.index(Ellipsis), rank - len(term.modes) + 1
    return (*term.modes[:at], *dots[len(dots) - count :], *term.modes[at + 1 :])


def _extents(
    expr: Any, names: Sequence[str], shapes: Sequence[tuple[int, ...]], terms: Sequence[_Term],
    inputs: Sequence[tuple[Mode, ...]],
) -> dict[Mode, int]:  # fmt: skip
    extents: dict[Mode, int] = {}
    owner: dict[Mode, str] = {}
    for name, shape, term, modes in zip(names, shapes, terms, inputs, strict=True):
        if 0 in shape:
            raise ValueError(f"{name} has the shape {shape}; expected no extent of 0")
        within: dict[Mode, int] = {}
        for mode, extent in zip(modes, shape, strict=True):
            if within.setdefault(mode, extent) != extent:
                raise _error(
                    expr,
                    term.begin,
                    f"has the mode {_shown(mode)} twice in {name}, with the extents {within[mode]} and "
                    f"{extent}, which have no diagonal",
                )
            known = extents.setdefault(mode, extent)
            owner.setdefault(mode, name)
            if known == 1 != extent:
                extents[mode], owner[mode] = extent, name
            elif extent not in (1, known):
                place = term.places[term.modes.index(mode)] if mode in term.modes else term.begin
                raise _error(
                    expr,
                    place,
                    f"has the mode {_shown(mode)} with the extent {extent} in {name} and {known} in {owner[mode]}",
                )
    return extents


def _implied(inputs: Sequence[tuple[Mode, ...]], dots: tuple[str, ...]) -> tuple[Mode, ...]:
    """The result's modes where an expression leaves them out: what `...` stands for, then the others that occur once,
    sorted, or as they come where they cannot be compared."""
    counts = Counter(mode for modes in inputs for mode in modes)
    once = [mode for mode, count in counts.items() if count == 1 and mode not in dots]
    with suppress(TypeError):
        once.sort(key=_itself)
    return (*dots, *once)


def _itself(mode: Any) -> Any:
    return mode


def _shown(mode: Mode) -> str:
    return "'...'" if mode is Ellipsis else repr(mode)


def _error(expr: Any, place: int, what: str) -> ValueError:
    """What is wrong with the expression, and where."""
    if not isinstance(expr, str):
        return ValueError(f"expr {what}: {expr!r}")
    return ValueError(f"expr {what}:\n    {expr}\n    {' ' * place}^")


def _interleaved(expr: Sequence[Any], operands: int) -> tuple[list[_Term], _Term | None]:
    terms = []
    for position, modes in enumerate(expr):
        if isinstance(modes, str) or not isinstance(modes, Sequence):
            raise TypeError(
                f"expr[{position}] is a {type(modes).__name__}; expected a sequence of modes, such as ('i', 'j')"
            )
        for mode in modes:
            try:
                hash(mode)
            except TypeError:
                raise TypeError(f"expr[{position}] has {mode!r}, which cannot be hashed, as a mode has to be") from None
        terms.append(_Term(tuple(modes), tuple(range(len(modes))), 0, 0))
        if modes.count(Ellipsis) > 1:
            raise ValueError(f"expr[{position}] has Ellipsis twice: {modes!r}")
    if len(terms) not in (operands, operands + 1):
        raise ValueError(
            f"expr has {len(terms)} sequences of modes for {operands} operands; expected {operands}, or one more for "
            "the result"
        )
    return terms[:operands], terms[operands] if len(terms) > operands else None


@lru_cache(256)
def _scan(expr: str) -> tuple[list[_Term], _Term | None]:
    """The terms of a text, and the result's if it is there."""
    parts = list(_parts(expr))
    if "->" not in (end for *_, end in parts):
        return [_term(expr, begin, end) for begin, end, _ in parts], None
    arrow = next(i for i, (*_, end) in enumerate(parts) if end == "->")
    if arrow < len(parts) - 2:
        _, end, mark = parts[arrow + 1]
        raise _error(expr, end, "has a second '->'" if mark == "->" else "has more than one term after the '->'")
    *inputs, output = [_term(expr, begin, end) for begin, end, _ in parts]
    return inputs, output


def _parts(expr: str) -> Iterator[tuple[int, int, str]]:
    """Begin and end of each term, and what ends it."""
    begin = 0
    for i, character in enumerate(expr):
        if character == ",":
            yield begin, i, ","
            begin = i + 1
        elif character == "-" and expr[i + 1 : i + 2] == ">":
            yield begin, i, "->"
            begin = i + 2
        elif character == "-" or (character == ">" and expr[i - 1 : i] != "-"):
            raise _error(expr, i, f"has a {character!r} that is no '->'")
    yield begin, len(expr), ""


def _term(expr: str, begin: int, end: int) -> _Term:
    modes: list[Mode] = []
    places: list[int] = []
    i = begin
    while i < end:
        character = expr[i]
        if character == ".":
            if expr[i : min(i + 3, end)] != "...":
                raise _error(expr, i, "has dots that are no '...'")
            if Ellipsis in modes:
                raise _error(expr, i, "has '...' twice in one term")
            modes.append(Ellipsis)
            places.append(i)
            i += 2
        elif character.isalpha() or character >= MORE_LETTERS:
            modes.append(character)
            places.append(i)
        elif not character.isspace():
            raise _error(
                expr, i, f"has {character!r}, which is no letter; modes other than letters can be given as sequences"
            )
        i += 1
    return _Term(tuple(modes), tuple(places), begin, end)
