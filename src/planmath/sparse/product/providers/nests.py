"""The entries of a row of the result, as loops of CUDA C++ over the levels of the sparse operand."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from planmath.sparse.product.problem import MatmulProblem, result_dimensions
from planmath.sparse.ust.conversion import bounds_of
from planmath.sparse.ust.expressions import Dimension, LevelExpr, Operator
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.levels import LevelFormat as F


class Nest(NamedTuple):
    """Loops that call ``use(place, index)`` for each entry of a row: its value's place, and what is summed over."""

    code: str
    arrays: tuple[tuple[str, int], ...]
    """The arrays that they read: 'pos' or 'crd', and the level."""
    lanes: bool
    """Whether threads that follow each other are best at entries that do, and not at rows."""
    inner: int
    """How many entries there are in one turn of the loop that threads share."""


#: The loops over entries that were gathered row by row.
GATHERED = """
        const AT line = matrix * p.rows + row;
        for (AT q = starts[line] + lane; q < starts[line + 1]; q += LANES) use({place}, indices[q]);
"""


def nest_of(problem: MatmulProblem) -> Nest | None:
    """The loops over a format in which the entries of a row can be found one after the other, or None.

    That is where all that the row says of a level is a place in it, so that nothing has to be searched for.
    """
    form, extents = problem.sparse.format, problem.sparse.extents
    if any(level.format is F.DELTA for level in form.stored):
        return None  # coordinates that follow from those before are decoded once
    made = _Maker(problem)
    for number, (level, bound) in enumerate(zip(form.stored, bounds_of(form, extents), strict=True)):
        if not made.add(number, level, *bound):
            return None
    return made.finished()


class _Maker:
    def __init__(self, problem: MatmulProblem):
        self.problem = problem
        form: TensorFormat = problem.sparse.format
        self.form, self.extents = form, problem.sparse.extents
        result = result_dimensions(problem)
        (self.summed,) = set(range(len(self.extents))) - result
        batches = len(problem.batch) if problem.sparse_batched else 0
        self.known = {d: f"batch[{d}]" if d < batches else "row" for d in sorted(result)}
        self.lines: list[str] = []
        self.arrays: list[tuple[str, int]] = []
        self.depth = 0
        self.place = "0"
        self.quotient = ""
        self.index = ""
        self.inner = 1
        self.by_rows = False
        stored = form.stored
        self.batches = math.prod(
            b.size for level, b in zip(stored, bounds_of(form, self.extents), strict=True) if level.format is F.BATCH
        )
        self.has_batches = any(level.format is F.BATCH for level in stored)

    def add(self, number: int, level: Any, low: int, size: int) -> bool:
        """Add a level; False where it would have to be searched."""
        expression = self.form.expressions[number]
        if isinstance(expression, LevelExpr) and expression.operator.is_sum:
            return self._add_sum(number, level, low, size, expression)
        dimension, divisor, operator = expression, 0, None
        if isinstance(expression, LevelExpr):
            dimension, divisor, operator = expression.expression1, expression.expression2, expression.operator
        assert isinstance(dimension, Dimension)
        of = self.form.dimensions.index(dimension)
        self.by_rows = of != self.summed
        if of != self.summed:
            if level.format not in (F.DENSE, F.BATCH, F.RANGE):
                return False
            value = self.known[of]
            if operator is not None:
                value = f"{value} {'/' if operator is Operator.DIVIDE else '%'} {divisor}"
            self._step(number, f"{self.place} * {size} + {value}")
            return True
        if level.format is F.RANGE:
            self._step(number, f"{self.place} * {size} + {self.index}")
            return True
        self._loop(number, level, 0, size)
        if operator is Operator.DIVIDE:
            self.quotient = f"x{number} * {divisor}"
        elif operator is Operator.REMAINDER:
            self.index = f"({self.quotient} + x{number})"
        else:
            self.index = f"x{number}"
        return True

    def _add_sum(self, number: int, level: Any, low: int, size: int, expression: LevelExpr) -> bool:
        first, second = (self.form.dimensions.index(d) for d in (expression.expression1, expression.expression2))
        if self.summed not in (first, second) or level.format not in (F.COMPRESSED, F.DENSE):
            return False
        other = self.known[second if first == self.summed else first]
        self._loop(number, level, low, size)
        if expression.operator is Operator.ADD:
            value = f"x{number} - {other}"
        else:
            value = f"x{number} + {other}" if first == self.summed else f"{other} - x{number}"
        self._line(f"const AT k{number} = {value};")
        self._line(f"if (k{number} < 0 || k{number} >= {self.extents[self.summed]}) continue;")
        self.index = f"k{number}"
        return True

    def _loop(self, number: int, level: Any, low: int, size: int) -> None:
        """A loop over what is summed, with the coordinate x and the place behind it."""
        first, step = ("lane", "LANES") if self.depth == 0 else ("0", "1")
        if level.format is F.SINGLETON:
            self._step(number, self.place)
            self._line(f"const AT x{number} = {self._array('crd', number)}[p{number}];")
            return
        self.depth += 1
        if level.format is F.DENSE:
            self._line(f"for (AT n{number} = {first}; n{number} < {size}; n{number} += {step}) {{")
            self._step(number, f"{self.place} * {size} + n{number}")
            self._line(f"const AT x{number} = n{number} + {low};")
            self.inner *= size if self.depth > 1 else 1
            return
        if level.format is F.STRUCTURED:
            self._line(f"for (AT n{number} = {first}; n{number} < {level.number}; n{number} += {step}) {{")
            self._step(number, f"{self.place} * {level.number} + n{number}")
            self.inner *= level.number if self.depth > 1 else 1
        else:
            pos, base = self._array("pos", number), ""
            line = self.place
            if self.has_batches:  # each batch has its own starts, from 0
                below = math.prod(
                    bound.size if stored.format is not F.STRUCTURED else stored.number or 1
                    for stored, bound in list(zip(self.form.stored, bounds_of(self.form, self.extents), strict=True))[
                        number + 1 :
                    ]
                )
                entries = self.problem.sparse.nse // max(1, self.batches * below)
                base = f"matrix * (AT){entries} + "
                line = f"{self.place} + matrix"
            self._line(f"const AT l{number} = {line}, e{number} = {base}{pos}[l{number} + 1];")
            self._line(
                f"for (AT q{number} = {base}{pos}[l{number}] + {first}; q{number} < e{number}; q{number} += {step}) {{"
            )
            self._step(number, f"q{number}")
        self._line(f"const AT x{number} = {self._array('crd', number)}[p{number}];")

    def _array(self, kind: str, number: int) -> str:
        if (kind, number) not in self.arrays:
            self.arrays.append((kind, number))
        return f"{kind}{number}"

    def _step(self, number: int, place: str) -> None:
        self._line(f"const AT p{number} = {place};")
        self.place = f"p{number}"

    def _line(self, text: str) -> None:
        self.lines.append("        " + text)

    def finished(self) -> Nest:
        self._line(f"use({self.place}, {self.index});")
        self._line("}" * self.depth)
        # what lies along diagonals follows its neighbours from row to row
        apart = any(level.format is F.RANGE for level in self.form.stored)
        return Nest("\n".join(self.lines), tuple(self.arrays), not (self.by_rows or apart), self.inner)


def in_row_order(problem: MatmulProblem) -> bool:
    """Whether entries are stored row by row of the result, each once, as the format alone promises it."""
    form = problem.sparse.format
    if any(level.format is F.RANGE for level in form.stored):
        return False
    rows = sorted(result_dimensions(problem))
    wanted = list(rows)
    for number, (expression, level) in enumerate(zip(form.expressions, form.stored, strict=True)):
        if not wanted:
            break
        if not level.ordered or (level.format is F.SINGLETON and number > 1):
            return False
        dimension, operator = expression, None
        if isinstance(expression, LevelExpr):
            if expression.operator.is_sum:
                return False
            dimension, operator = expression.expression1, expression.operator
        assert isinstance(dimension, Dimension)
        if form.dimensions.index(dimension) != wanted[0]:
            return False
        if operator is not Operator.DIVIDE:
            wanted.pop(0)
    return not wanted
