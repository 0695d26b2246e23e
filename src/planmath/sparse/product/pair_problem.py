"""The specification of a product of two sparse tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

from planmath.core.arrays import Layout
from planmath.sparse.product.problem import Given, Sparse, Steps, is_plain, result_steps, shared
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.levels import LevelFormat as F
from planmath.sparse.ust.named import NamedFormats as N
from planmath.sparse.ust.named import dimensions


class PairProblem(NamedTuple):
    """A product of two sparse tensors, whose result is sparse, or replaces what is in c.

    `pattern` is what planning finds out of the positions of all entries; without it nothing can be prepared.
    """

    a: Sparse
    b: Sparse
    result: Sparse | None
    """Of a sparse result; None where it is dense. Its number of entries is known with the pattern."""
    dtype: str
    """Of the result."""
    work: str
    """In which it is computed."""
    batch: tuple[int, ...]
    rows: int
    summed: int
    columns: int
    transposed: tuple[bool, bool]
    conjugate: tuple[bool, bool]
    c: Steps | None
    """Of a dense result."""
    inplace: bool
    """Whether c is replaced: where it is sparse, the product is computed for what it stores alone."""
    semiring: Any
    """The name of one, or a semiring of the user's own."""
    functions: tuple[tuple[str, Any], ...]
    """The user's functions: of the entries of 'a' and 'b', and of those of the result, 'epilog'."""
    constant: bool
    package: str
    execution: tuple[str, int]
    pattern: Any = None
    """A `ProductPattern`, equal to itself alone."""

    @property
    def kind(self) -> str:
        """Which of the products it is, for the tables of providers."""
        return "pair"

    @property
    def work_amount(self) -> int:
        """Multiplications."""
        return 0 if self.pattern is None else self.pattern.products

    @property
    def plain(self) -> bool:
        """Whether values can be multiplied as they are."""
        return is_plain(self, self.a.dtype, self.b.dtype)


def lies_by_columns(sparse: Sparse, transposed: bool) -> bool:
    """Whether an operand is stored by the columns of the matrix that it is in the product."""
    return sparse.format.storage == (N.CSR if transposed else N.CSC).storage


def result_format(given: Given, batch: tuple[int, ...], rank: int, as_tensor: bool) -> TensorFormat:
    """The format of a new sparse result: CSR, but CSC or a list where both operands are, and lists of vectors for
    packages that lack batches of other ones.
    """
    assert isinstance(given.a, Sparse)
    assert isinstance(given.b, Sparse)
    operands = (given.a, given.b)
    if rank == 1:
        return N.SparseVector
    are_lists = all(o.format.storage == N.COOd(len(o.extents)).storage for o in operands if len(o.extents) > 1)
    if batch and not as_tensor and rank == len(batch) + 2 and not are_lists:
        return N.CSRd(len(batch))
    if batch and (are_lists or not as_tensor):
        return N.COOd(rank)
    if batch:
        every = dimensions(rank)
        return TensorFormat(every, {**dict.fromkeys(every[:-1], F.DENSE), every[-1]: F.COMPRESSED})
    if are_lists:
        return N.COO
    by_columns = all(lies_by_columns(*pair) for pair in zip(operands, given.transposed, strict=True))
    return N.CSC if by_columns else N.CSR


def specify_pair(
    given: Given, package: str, execution: tuple[str, int], *, compute_type: int | None, constant: bool,
    as_tensor: bool,
) -> PairProblem:  # fmt: skip
    """The problem of a product of two sparse tensors, still without its pattern.

    Parameters
    ----------
    given : Given
    package : str
    execution : tuple
    compute_type : ComputeType, optional
    constant : bool
    as_tensor : bool
        Whether a sparse result is a `ust.Tensor`, of which there are all formats.

    Raises
    ------
    TypeError, ValueError
        If the operands do not describe a product.
    """
    every, shape = shared(given, package, execution, compute_type=compute_type, constant=constant)
    assert isinstance(given.a, Sparse)
    assert isinstance(given.b, Sparse)
    a_vector, b_vector = len(given.a.extents) == 1, len(given.b.extents) == 1
    result, steps = None, None
    if isinstance(given.c, Layout):
        steps = result_steps(given.c, a_vector, b_vector)
    elif given.c is not None:
        result = given.c
    elif not shape:
        raise ValueError("the product of two sparse vectors is a number; make one of them dense, or pass c for it")
    else:
        form = result_format(given, every["batch"], len(shape), as_tensor)
        wide = "int64" in (given.a.index_type, given.b.index_type)
        arrays = tuple((level.format.has_positions, level.format.has_coordinates) for level in form.stored)
        result = Sparse(form, shape, "int64" if wide else "int32", every["dtype"], 0, arrays)
    return PairProblem(a=given.a, b=given.b, result=result, c=steps, inplace=given.c is not None, **every)
