"""The specification of a product of two dense arrays of which only what a sparse tensor stores is computed."""

from __future__ import annotations

from typing import Any, NamedTuple

from planmath.core.arrays import Layout
from planmath.sparse.product.problem import Given, Sparse, Steps, is_plain, shared, steps_of


class SampledProblem(NamedTuple):
    """A product of two dense arrays, for the entries of c alone, which are replaced.

    `pattern` is what planning finds out of the positions of all entries; without it nothing can be prepared.
    """

    sparse: Sparse
    """c without its values."""
    dtypes: tuple[str, str]
    """Of a and b."""
    dtype: str
    """Of c."""
    work: str
    """In which it is computed."""
    batch: tuple[int, ...]
    rows: int
    summed: int
    columns: int
    transposed: tuple[bool, bool]
    conjugate: tuple[bool, bool]
    a: Steps
    """By rows, and by what is summed."""
    b: Steps
    """By what is summed, and by columns."""
    vectors: tuple[bool, bool]
    """Whether a and b are vectors."""
    semiring: Any
    """The name of one, or a semiring of the user's own."""
    functions: tuple[tuple[str, Any], ...]
    """The user's functions: of the elements of 'a' and 'b', and of the entries of the result, 'epilog'."""
    constant: bool
    package: str
    execution: tuple[str, int]
    pattern: Any = None
    """An `EntriesPattern`, equal to itself alone."""

    @property
    def kind(self) -> str:
        """Which of the products it is, for the tables of providers."""
        return "sampled"

    @property
    def inplace(self) -> bool:
        return True

    @property
    def work_amount(self) -> int:
        """Multiplications."""
        return self.sparse.nse * self.summed

    @property
    def plain(self) -> bool:
        """Whether the operands can be multiplied as they are."""
        return is_plain(self, *self.dtypes)


def specify_sampled(
    given: Given, package: str, execution: tuple[str, int], *, compute_type: int | None, constant: bool
) -> SampledProblem:
    """The problem of a product that is computed for what c stores, still without its pattern.

    Raises
    ------
    TypeError, ValueError
        If the operands do not describe a product.
    """
    every, _ = shared(given, package, execution, compute_type=compute_type, constant=constant)
    assert isinstance(given.a, Layout)
    assert isinstance(given.b, Layout)
    assert isinstance(given.c, Sparse)
    return SampledProblem(
        sparse=given.c, dtypes=(given.a.dtype, given.b.dtype),
        a=steps_of(given.a, given.transposed[0], vector_is_row=True),
        b=steps_of(given.b, given.transposed[1], vector_is_row=False),
        vectors=(len(given.a.shape) == 1, len(given.b.shape) == 1), **every,
    )  # fmt: skip
