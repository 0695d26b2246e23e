"""The specification of a generic product."""

from __future__ import annotations

import math
from typing import NamedTuple

from planmath.linalg.product.matrix import WORK_DTYPE, Matrix
from planmath.linalg.product.structure import Structured


class ProductProblem(NamedTuple):
    """What to multiply: all that matters for planning. The values of alpha and beta are not part of it."""

    m: int
    n: int
    k: int
    batch: tuple[int, ...]
    a: Structured
    b: Structured
    c: Matrix | None
    d: Matrix
    inplace: bool
    execution: tuple[str, int]
    package: str
    result: str = "ge"
    """The kind of the result."""
    twice: str = ""
    """What the result is where both factors are one matrix in memory, which the other one is the transpose of."""

    @property
    def operand_names(self) -> tuple[str, ...]:
        """The user's operands in their order."""
        return ("a", "b", *(["c"] if self.c else []))

    @property
    def work_dtype(self) -> str:
        """The dtype of the computation, and of alpha and beta."""
        return WORK_DTYPE[self.d.dtype]

    @property
    def threads(self) -> int:
        return self.execution[1]

    @property
    def work(self) -> int:
        """Multiplications of a general product of these extents: m n k for each matrix of the batch."""
        return self.m * self.n * self.k * math.prod(self.batch)

    @property
    def kinds(self) -> tuple[str, str]:
        """What a and b are."""
        return self.a.structure.kind, self.b.structure.kind

    @property
    def stored_apart(self) -> bool:
        """Whether a factor is in packed or band storage."""
        return bool(self.a.structure.storage or self.b.structure.storage)

    def numbers(self) -> dict[str, int]:
        """The numbers that programs have for operands and result, by name."""
        names = [*self.operand_names, "alpha", "beta", *([] if self.inplace else ["d"])]
        numbers = {name: i for i, name in enumerate(names)}
        return numbers | {"d": numbers["c"]} if self.inplace else numbers


class ListProblem(NamedTuple):
    """Products that are planned together."""

    members: tuple[ProductProblem, ...]
    lengths: tuple[tuple[str, int], ...]
    """Of the lists of operands and of factors, in the order in which programs see them."""
    execution: tuple[str, int]

    @property
    def work(self) -> int:
        """Multiplications of the largest product."""
        return max(member.work for member in self.members)

    @property
    def arrays(self) -> int:
        """How many arrays programs have, with the results."""
        return sum(length for _, length in self.lengths) + len(self.members)

    def numbers_of(self, member: int) -> dict[str, int]:
        """The numbers that programs have for a product's operands and its result, by name."""
        numbers, first = {}, 0
        for name, length in self.lengths:
            numbers[name] = first + (member if length > 1 else 0)
            first += length
        return numbers | {"d": first + member}


def kind_of_square(problem: ProductProblem) -> str:
    """What the result is where a and b have the same address: the product of a matrix with its transpose, or adjoint.

    Returns
    -------
    str
        'sy' or 'he'; '' where it is nothing special, or no routine computes it from where the matrix is.
    """
    a, b = problem.a.matrix, problem.b.matrix
    general = problem.a.structure.plain and problem.b.structure.plain and problem.n > 1
    is_one = general and a.T._replace(conjugate=False) == b._replace(conjugate=False)
    if not is_one or a.dtype != problem.work_dtype or not a.has_leading:
        return ""
    if a.conjugate and b.conjugate:
        return ""
    found = "he" if a.conjugate != b.conjugate else "sy"
    # c is added to one triangle, of which the other one is a mirror image
    return found if problem.result == found or (problem.result == "ge" and problem.c is None) else ""


def result_order(a: Structured, b: Structured, c: Matrix | None) -> bool:
    """Whether the result is row-major: it has c's order, else that of the general operand beside a structured one.

    Of two general operands, or two structured ones, both have to be row-major.
    """
    if c is not None:
        return c.cols > 1 and c.leading[0]
    by_rows = [x.matrix.col == 1 for x in (a, b) if x.structure.plain]
    if not by_rows:
        by_rows = [x.matrix.col == 1 for x in (a, b) if x.structure.kind != "dg" and x.structure.storage != "packed"]
    return all(by_rows)
