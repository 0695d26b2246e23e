"""Formats of tensors as data: which levels store which dimensions, and what a format may not be."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from planmath.sparse.ust.expressions import Dimension, LevelExpr, Operator
from planmath.sparse.ust.levels import Level, LevelFormat, read_level

#: What a format may not be: functions that yield what is wrong, in words. They are asked in this order.
Rule = Callable[[tuple[Dimension, ...], tuple[Any, ...], tuple[Level, ...]], Iterator[str]]


class TensorFormat:
    """How a tensor is stored: which levels, outermost first, hold which of its dimensions, and how.

    Formats are equal if they have the same structure: dimensions count by position, names do not.

    Parameters
    ----------
    dimensions : sequence of Dimension
    levels : dict
        From a Dimension, or an expression of dimensions, to a `LevelFormat`, or to a pair of it and a
        `LevelProperty`, a sequence of such, or an int: the bits of a DELTA level, the entries of a STRUCTURED one.
    name : str, optional
        Default: `levels` as text.

    Raises
    ------
    TypeError, ValueError
        If that is no format; the message says why.

    Examples
    --------
    >>> i, j = Dimension(dimension_name="i"), Dimension(dimension_name="j")
    >>> rows = TensorFormat([i, j], {i: LevelFormat.DENSE, j: LevelFormat.COMPRESSED}, name="rows")
    >>> print(rows)
    [i, j] -> (i: <LevelFormat.DENSE>, j: <LevelFormat.COMPRESSED>)
    >>> TensorFormat.parse(str(rows)) == rows
    True
    >>> blocks = TensorFormat.parse("[i, j] -> (i // 2: dense, j // 3: compressed, i % 2: dense, j % 3: dense)")
    >>> blocks.dim2lvl([4, 6], as_size=True), blocks.dim2lvl([3, 4])
    ([2, 2, 2, 3], [1, 1, 1, 1])
    """

    def __init__(self, dimensions: Sequence[Dimension], levels: Mapping[Any, Any], *, name: str | None = None):
        if not isinstance(dimensions, list | tuple) or not all(isinstance(d, Dimension) for d in dimensions):
            raise TypeError(f"dimensions is {dimensions!r}; expected a list or tuple of Dimension")
        if len(set(dimensions)) < len(dimensions):
            raise TypeError(f"dimensions is {dimensions!r}, in which one is repeated; make each anew")
        if not isinstance(levels, dict):
            raise TypeError(f"levels is a {type(levels).__name__}; expected a dict from expressions to level formats")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name is a {type(name).__name__}; expected a str")
        self._dimensions = tuple(dimensions)
        self._levels = dict(levels)
        self._expressions = tuple(levels)
        for expression in self._expressions:
            if not isinstance(expression, Dimension | LevelExpr):
                raise TypeError(f"levels has the key {expression!r}; expected a Dimension or an expression of such")
        self._stored = tuple(read_level(level, expression) for expression, level in levels.items())
        for rule in RULES:
            for complaint in rule(self._dimensions, self._expressions, self._stored):
                raise TypeError(f"this is no format of levels: {complaint}")
        self._name = repr(self._levels) if name is None else name
        places = {dimension: place for place, dimension in enumerate(self._dimensions)}
        self._key: tuple[int, tuple[tuple[Hashable, Level], ...]] = (
            len(places),
            tuple((_positions(e, places), level) for e, level in zip(self._expressions, self._stored, strict=True)),
        )

    @classmethod
    def parse(cls, text: str, *, name: str | None = None) -> TensorFormat:
        """A format from what `str` makes of one, or from its short form.

        Parameters
        ----------
        text : str
            Such as ``"[i, j] -> (j - i: compressed, i: range)"``: names in brackets, then expressions with level
            formats; properties as in ``(compressed, nonunique)``, several in brackets, a number as in ``(delta, 4)``.
        name : str, optional
            As for the constructor.

        Raises
        ------
        ValueError
            If the text cannot be read.
        """
        from planmath.sparse.ust.notation import read_format

        return cls(*read_format(text), name=name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        return self._dimensions

    @property
    def levels(self) -> dict[Any, Any]:
        """The levels as they were passed in."""
        return self._levels

    @property
    def num_dimensions(self) -> int:
        return len(self._dimensions)

    @property
    def num_levels(self) -> int:
        return len(self._stored)

    @property
    def expressions(self) -> tuple[Dimension | LevelExpr, ...]:
        """The expression of each level."""
        return self._expressions

    @property
    def stored(self) -> tuple[Level, ...]:
        """How each level is stored, as values."""
        return self._stored

    @property
    def key(self) -> Hashable:
        """The structure as a value: formats with equal ones are equal."""
        return self._key

    @property
    def storage(self) -> Hashable:
        """The structure without what is promised of coordinates: which arrays there are, and what they hold."""
        return self._key[0], tuple((expression, level.format, level.number) for expression, level in self._key[1])

    def is_loose_of(self, other: TensorFormat) -> bool:
        """Whether it is another format with no more promised of its coordinates."""
        return self.storage == other.storage and all(
            mine.unique <= its.unique and mine.ordered <= its.ordered
            for mine, its in zip(self._stored, other._stored, strict=True)
        )

    @property
    def is_identity(self) -> bool:
        """Whether level number l is dimension number l, for all of them."""
        return self._expressions == self._dimensions

    @property
    def is_ordered(self) -> bool:
        """Whether the coordinates of all levels ascend."""
        return all(level.ordered for level in self._stored)

    @property
    def is_unique(self) -> bool:
        """Whether any level is unique, which makes all below it distinct; False without levels."""
        return any(level.unique for level in self._stored)

    def dim2lvl(self, dim_indices: Sequence[Any], as_size: bool = False) -> list[Any]:
        """The index of each level from that of each dimension, or its size from the extents.

        Parameters
        ----------
        dim_indices : sequence of int or of arrays
        as_size : bool

        Raises
        ------
        NotImplementedError
            If an extent is no multiple of its divisor.
        """
        self._check_count("dim_indices", dim_indices, self.num_dimensions)
        return [expression.evaluate(self._dimensions, dim_indices, as_size) for expression in self._expressions]

    def lvl2dim(self, lvl_indices: Sequence[Any]) -> list[Any]:
        """The index of each dimension from that of each level."""
        self._check_count("lvl_indices", lvl_indices, self.num_levels)
        found: list[Any] = [0] * self.num_dimensions
        for number, expression in enumerate(self._expressions):
            expression.invert(self._dimensions, self._expressions, found, lvl_indices, number)
        return found

    def _check_count(self, name: str, indices: Sequence[Any], count: int) -> None:
        if len(indices) != count:
            raise ValueError(f"{name} has {len(indices)} elements; expected {count} for the format {self._name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorFormat) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        levels = ", ".join(
            f"{expression}: {level}"
            for expression, level in zip(self._expressions, self._stored, strict=True)
        )
        return f"[{', '.join(map(str, self._dimensions))}] -> ({levels})"

    def __repr__(self) -> str:
        return f"<TensorFormat {self._name}>" if self._name != repr(self._levels) else f"<TensorFormat {self}>"


def _positions(expression: Any, places: Mapping[Dimension, int]) -> Hashable:
    """An expression with dimensions by their places."""
    if isinstance(expression, Dimension):
        return places[expression]
    right = expression.expression2
    return (
        places[expression.expression1],
        expression.operator.value,
        right if isinstance(right, int) else (places[right],),
    )


def _dimensions_of(expression: Any) -> tuple[Dimension, ...]:
    if isinstance(expression, Dimension):
        return (expression,)
    if isinstance(expression, LevelExpr):
        return (*_dimensions_of(expression.expression1), *_dimensions_of(expression.expression2))
    return ()


def _simple(dimensions: Any, expressions: Any, levels: Any) -> Iterator[str]:
    for e in expressions:
        if isinstance(e, Dimension):
            continue
        if isinstance(e.expression1, LevelExpr) or isinstance(e.expression2, LevelExpr):
            yield f"{e} is nested; an expression is of dimensions and numbers alone"
        elif e.operator.is_sum and not isinstance(e.expression2, Dimension):
            yield f"{e} has a number; a sum or difference is of two dimensions"
        elif e.operator.is_sum and e.expression1 is e.expression2:
            yield f"{e} has the same dimension twice"
        elif not e.operator.is_sum and (
            not isinstance(e.expression2, int) or isinstance(e.expression2, bool) or e.expression2 < 1
        ):
            yield f"{e} has no positive int on the right"


def _known(dimensions: Any, expressions: Any, levels: Any) -> Iterator[str]:
    used = [d for e in expressions for d in _dimensions_of(e)]
    yield from (f"{d} is none of its dimensions" for d in used if d not in dimensions)
    yield from (f"no level has the dimension {d}" for d in dimensions if d not in used)


def _divided(dimensions: Any, expressions: Any, levels: Any) -> Iterator[str]:
    quotients: dict[Dimension, int] = {}
    remainders: set[Dimension] = set()
    for e in expressions:
        if not isinstance(e, LevelExpr) or e.operator.is_sum:
            continue
        d, n = e.expression1, e.expression2
        if e.operator is Operator.DIVIDE:
            if d in quotients:
                yield f"{d} is divided twice"
            quotients[d] = n
        elif quotients.get(d) != n:
            yield f"{e} does not follow a level {d} // {n}"
        else:
            remainders.add(d)
    yield from (f"{d} // {n} is not followed by a level {d} % {n}" for d, n in quotients.items() if d not in remainders)


def _summed(dimensions: Any, expressions: Any, levels: Any) -> Iterator[str]:
    of_sums: set[Dimension] = set()
    for number, e in enumerate(expressions):
        if levels[number].format is LevelFormat.RANGE:
            if not isinstance(e, Dimension):
                yield f"{e} is RANGE, which is for a dimension alone"
            elif e not in of_sums:
                yield f"{e} is RANGE, and no sum or difference with it comes before"
        if not isinstance(e, LevelExpr) or not e.operator.is_sum:
            continue
        both = (e.expression1, e.expression2)
        yield from (f"{d} is in two sums or differences" for d in both if d in of_sums)
        of_sums.update(both)
        below = zip(expressions[number + 1 :], levels[number + 1 :], strict=True)
        if not any(level.format is LevelFormat.RANGE and other in both for other, level in below):
            yield f"neither {both[0]} nor {both[1]} is a RANGE level below {e}"


def _determined_once(dimensions: Any, expressions: Any, levels: Any) -> Iterator[str]:
    for d in dimensions:
        plain = any(e is d for e in expressions)
        divided = any(isinstance(e, LevelExpr) and not e.operator.is_sum and e.expression1 is d for e in expressions)
        if plain and divided:
            yield f"{d} is both divided and a level of its own"
    for e in expressions:
        if isinstance(e, LevelExpr) and e.operator.is_sum:
            others = {d for x in expressions if x is not e for d in _dimensions_of(x)}
            own = [d for d in (e.expression1, e.expression2) if d in others]
            if len(own) != 1:
                yield f"{e} and other levels say where both {e.expression1} and {e.expression2} are"


def _batched(dimensions: Any, expressions: Any, levels: Any) -> Iterator[str]:
    formats = [level.format for level in levels]
    count = formats.count(LevelFormat.BATCH)
    if not count:
        return
    if tuple(expressions[:count]) != tuple(dimensions[:count]) or set(formats[:count]) != {LevelFormat.BATCH}:
        yield "BATCH levels are not the first dimensions, in their order, at the front"
    elif formats[count : count + 1] != [LevelFormat.DENSE]:
        yield "BATCH levels are not followed by a DENSE one"


def _structured(dimensions: Any, expressions: Any, levels: Any) -> Iterator[str]:
    for e, level in zip(expressions, levels, strict=True):
        strip = e.expression2 if isinstance(e, LevelExpr) and e.operator is Operator.REMAINDER else None
        if level.format is LevelFormat.STRUCTURED and strip is not None and level.number > strip:
            yield f"{e} is STRUCTURED with {level.number} entries, more than a strip has"


RULES: tuple[Rule, ...] = (_simple, _known, _divided, _summed, _determined_once, _batched, _structured)

