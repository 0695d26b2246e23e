"""How a level follows from the dimensions: a dimension itself, or a sum, difference, quotient or remainder of such."""

from __future__ import annotations

import enum
from collections.abc import MutableSequence, Sequence
from typing import Any


class Operator(enum.Enum):
    """What combines the two sides of a `LevelExpr`."""

    ADD = "+"
    SUBTRACT = "-"
    DIVIDE = "//"
    REMAINDER = "%"

    @property
    def is_sum(self) -> bool:
        """Whether it combines two dimensions, rather than a dimension and a number."""
        return self in (Operator.ADD, Operator.SUBTRACT)


class _Expression:
    """What dimensions and expressions of them can be combined to."""

    def __add__(self, other: Any) -> LevelExpr:
        return _combined(self, Operator.ADD, other)

    def __sub__(self, other: Any) -> LevelExpr:
        return _combined(self, Operator.SUBTRACT, other)

    def __floordiv__(self, other: Any) -> LevelExpr:
        return _combined(self, Operator.DIVIDE, other)

    def __mod__(self, other: Any) -> LevelExpr:
        return _combined(self, Operator.REMAINDER, other)

    __radd__ = __rsub__ = __rfloordiv__ = __rmod__ = None


def _combined(left: Any, operator: Operator, right: Any) -> LevelExpr:
    if not isinstance(right, (_Expression, int)):
        return NotImplemented
    return LevelExpr(expression1=left, operator=operator, expression2=right)


class Dimension(_Expression):
    """A dimension of a tensor, one of its logical indices.

    Two dimensions are equal only if they are the same object, whatever their names.

    Parameters
    ----------
    dimension_name : str

    Examples
    --------
    >>> i, j = Dimension(dimension_name="i"), Dimension(dimension_name="j")
    >>> str(i), str(j - i), str(i // 2)
    ('i', '(j - i)', '(i // 2)')
    """

    def __init__(self, *, dimension_name: str):
        if not isinstance(dimension_name, str):
            raise TypeError(f"dimension_name is a {type(dimension_name).__name__}; expected a str")
        self._name = dimension_name

    @property
    def name(self) -> str:
        return self._name

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return self._name

    def evaluate(self, dimensions: Sequence[Dimension], dim_indices: Sequence[Any], as_size: bool) -> Any:
        """The index of a level that is this dimension, or its size.

        Parameters
        ----------
        dimensions : sequence of Dimension
        dim_indices : sequence
            An index, or with `as_size` an extent, for each of them: integers or arrays of such.
        as_size : bool
        """
        return dim_indices[dimensions.index(self)]

    def invert(
        self,
        dimensions: Sequence[Dimension],
        levels: Sequence[Dimension | LevelExpr],
        dim_indices: MutableSequence[Any],
        lvl_indices: Sequence[Any],
        idx: int,
    ) -> None:
        """Put what level number `idx` says of the dimensions into `dim_indices`, which begins with zeros."""
        dim_indices[dimensions.index(self)] = lvl_indices[idx]


class LevelExpr(_Expression):
    """A sum, difference, quotient or remainder of a dimension; ``i // 2`` and ``j - i`` make such.

    Expressions are equal if they are alike and of the same dimensions.

    Parameters
    ----------
    expression1 : Dimension or LevelExpr
    operator : Operator
    expression2 : Dimension, LevelExpr or int
    """

    def __init__(self, *, expression1: Any, operator: Any, expression2: Any):
        for name, value, kinds, words in (
            ("expression1", expression1, _Expression, "a Dimension or a LevelExpr"),
            ("operator", operator, Operator, "an operator, as + - // % make it"),
            ("expression2", expression2, (_Expression, int), "a Dimension, a LevelExpr or an int"),
        ):
            if not isinstance(value, kinds):
                raise TypeError(f"{name} is a {type(value).__name__}; expected {words}")
        self.expression1, self.operator, self.expression2 = expression1, operator, expression2

    def __str__(self) -> str:
        return f"({self.expression1} {self.operator.value} {self.expression2})"

    __repr__ = __str__

    def _structure(self) -> tuple[Any, ...]:
        return self.expression1, self.operator, self.expression2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LevelExpr) and self._structure() == other._structure()

    def __hash__(self) -> int:
        return hash(self._structure())

    def evaluate(self, dimensions: Sequence[Dimension], dim_indices: Sequence[Any], as_size: bool) -> Any:
        """The index of a level with this expression, or its size.

        Parameters
        ----------
        dimensions : sequence of Dimension
        dim_indices : sequence
            An index, or with `as_size` an extent, for each of them: integers or arrays of such.
        as_size : bool

        Raises
        ------
        NotImplementedError
            If an extent is no multiple of its divisor.
        """
        a, b = (
            part if isinstance(part, int) else part.evaluate(dimensions, dim_indices, as_size)
            for part in (self.expression1, self.expression2)
        )
        if self.operator.is_sum and as_size:
            return a + b - 1
        if self.operator is Operator.ADD:
            return a + b
        if self.operator is Operator.SUBTRACT:
            return a - b
        if self.operator is Operator.REMAINDER:
            return b if as_size else a % b
        if as_size and a % b:
            raise NotImplementedError(
                f"the extent {a} of {self.expression1} is no multiple of {b}; pad the tensor, or choose other blocks"
            )
        return a // b

    def invert(
        self,
        dimensions: Sequence[Dimension],
        levels: Sequence[Dimension | LevelExpr],
        dim_indices: MutableSequence[Any],
        lvl_indices: Sequence[Any],
        idx: int,
    ) -> None:
        """Put what level number `idx` says of the dimensions into `dim_indices`, which begins with zeros."""
        index = lvl_indices[idx]
        if not self.operator.is_sum:
            place = dimensions.index(self.expression1)
            scale = self.expression2 if self.operator is Operator.DIVIDE else 1
            dim_indices[place] = dim_indices[place] + index * scale
            return
        ranged = self.ranged(levels)
        known = lvl_indices[list(levels).index(ranged)]
        if self.operator is Operator.ADD:
            other, value = (self.expression2 if ranged is self.expression1 else self.expression1), index - known
        elif ranged is self.expression1:
            other, value = self.expression2, known - index
        else:
            other, value = self.expression1, index + known
        dim_indices[dimensions.index(other)] = value

    def ranged(self, levels: Sequence[Dimension | LevelExpr]) -> Dimension:
        """Of a sum or difference, the dimension that has a level of its own; the other one follows from both."""
        return self.expression1 if any(level is self.expression1 for level in levels) else self.expression2
