"""How a level is stored, and what is promised of its coordinates."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, NamedTuple


class LevelFormat(enum.IntEnum):
    """How a level is stored.

    ============ ======== ===================================================================================
    format       arrays   for the parent position p
    ============ ======== ===================================================================================
    DENSE        none     position p * size + i, for all i
    BATCH        none     as DENSE; pos and crd of the levels below have this axis
    COMPRESSED   pos, crd positions pos[p] to pos[p + 1], each with the coordinate crd[q]
    SINGLETON    crd      one position with the coordinate crd[p]
    RANGE        none     as DENSE, for those i for which the other index of the sum or difference exists
    DELTA        pos, crd as COMPRESSED; crd[q] is how many coordinates are skipped since the entry before
    STRUCTURED   crd      positions p * N to (p + 1) * N, each with the coordinate crd[q]
    ============ ======== ===================================================================================
    """

    DENSE = 0
    BATCH = 1
    COMPRESSED = 2
    SINGLETON = 3
    RANGE = 4
    DELTA = 5
    STRUCTURED = 6

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}>"

    @property
    def has_positions(self) -> bool:
        """Whether it has an array pos."""
        return self in (LevelFormat.COMPRESSED, LevelFormat.DELTA)

    @property
    def has_coordinates(self) -> bool:
        """Whether it has an array crd."""
        return self.has_positions or self in (LevelFormat.SINGLETON, LevelFormat.STRUCTURED)


#: What the number beside a level format means, where it means something.
NUMBER_OF = {LevelFormat.DELTA: "the bits of a difference", LevelFormat.STRUCTURED: "the entries of a strip"}


class LevelProperty(enum.IntEnum):
    """What is promised of the coordinates below one parent position."""

    UNIQUE = 0
    NONUNIQUE = 1
    ORDERED = 2
    UNORDERED = 3

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}>"


def _holds(prop: Any, wanted: LevelProperty) -> bool:
    parts = prop if isinstance(prop, list | tuple | set | frozenset) else (prop,)
    return any(part is wanted for part in parts)


def is_ordered(prop: Any) -> bool:
    """Whether coordinates ascend: unless the property, or one of a sequence of them, is UNORDERED.

    Examples
    --------
    >>> is_ordered(None), is_ordered([LevelProperty.UNIQUE, LevelProperty.UNORDERED])
    (True, False)
    """
    return not _holds(prop, LevelProperty.UNORDERED)


def is_unique(prop: Any) -> bool:
    """Whether no coordinate comes twice: unless the property, or one of a sequence of them, is NONUNIQUE.

    Examples
    --------
    >>> is_unique(None), is_unique(LevelProperty.NONUNIQUE)
    (True, False)
    """
    return not _holds(prop, LevelProperty.NONUNIQUE)


class Level(NamedTuple):
    """A level's format as a value, without its expression."""

    format: LevelFormat
    unique: bool = True
    ordered: bool = True
    number: int | None = None

    def __str__(self) -> str:
        properties: list[Any] = []
        if not self.unique:
            properties.append(LevelProperty.NONUNIQUE)
        if not self.ordered:
            properties.append(LevelProperty.UNORDERED)
        if self.number is not None:
            properties.append(self.number)
        if not properties:
            return repr(self.format)
        return f"({', '.join(map(repr, [self.format, properties[0] if len(properties) == 1 else properties]))})"


def read_level(level: Any, expression: Any) -> Level:
    """A level as a user wrote it: a format, or a pair of one and a property, several properties, or a number.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    form, prop = level, None
    if isinstance(level, tuple):
        if len(level) != 2:
            raise ValueError(
                f"the level {expression} is {level!r}; expected a LevelFormat, or a pair of one and its property: put "
                "several properties into a list"
            )
        form, prop = level
    if not isinstance(form, LevelFormat):
        raise TypeError(f"the level {expression} has the format {form!r}; expected a LevelFormat")
    number = prop if isinstance(prop, int) and not isinstance(prop, LevelProperty | bool) else None
    properties: Iterable[Any] = ()
    if number is None and prop is not None:
        properties = prop if isinstance(prop, list | tuple) else (prop,)
    for each in properties:
        if not isinstance(each, LevelProperty):
            raise TypeError(f"the level {expression} has the property {each!r}; expected a LevelProperty")
    P = LevelProperty
    for yes, no in ((P.UNIQUE, P.NONUNIQUE), (P.ORDERED, P.UNORDERED)):
        if _holds(prop, yes) and _holds(prop, no):
            raise TypeError(f"the level {expression} is {yes.name} and {no.name}; choose one of them")
    if form in NUMBER_OF and (number is None or number < 1):
        raise TypeError(
            f"the level {expression} is {form.name} with {number!r}; expected a pair of the format and a positive "
            f"int, {NUMBER_OF[form]}"
        )
    return Level(form, is_unique(prop), is_ordered(prop), number if form in NUMBER_OF else None)
