"""What products of sparse tensors share, and the specification of those with a dense one."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import Layout, contiguous_strides
from planmath.sparse.product.options import WORK_OF, ComputeType
from planmath.sparse.ust.conversion import bounds_of
from planmath.sparse.ust.expressions import Dimension, LevelExpr, Operator
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.levels import LevelFormat as F
from planmath.sparse.ust.tensor import Tensor

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
HALVES = ("float16", "bfloat16")
INDEX_TYPES = ("int32", "int64")


class Sparse(NamedTuple):
    """The sparse operand without its values: all that matters of it for planning."""

    format: TensorFormat
    extents: tuple[int, ...]
    index_type: str
    dtype: str
    nse: int
    arrays: tuple[tuple[bool, bool], ...]
    """Of each level, whether it has pos and crd."""

    @property
    def slots(self) -> int:
        """How many arrays it has, the values included."""
        return sum(map(sum, self.arrays)) + 1


class Steps(NamedTuple):
    """How a dense operand is walked: elements from one to the next in each batch dimension, by the summed or the
    result's index, and by columns."""

    batch: tuple[int, ...]
    row: int
    column: int


class MatmulProblem(NamedTuple):
    """A product of a sparse tensor with a dense one, in which the sparse one stands first.

    A product of a dense one with a sparse one is the transposed product. Columns are those of the dense operand that it
    shares with the result.
    """

    sparse: Sparse
    dense_dtype: str
    dtype: str
    """Of the result."""
    work: str
    """In which it is computed."""
    batch: tuple[int, ...]
    sparse_batched: bool
    dense_batched: bool
    rows: int
    summed: int
    columns: int
    transposed: bool
    """Whether the result's index is the last but one of the sparse operand's (False), or the last (True)."""
    vector: bool
    """Whether the sparse operand is a vector."""
    swapped: bool
    """Whether it stood second."""
    dense_transposed: bool
    """Whether the dense operand has its columns before what is summed."""
    conjugate: tuple[bool, bool]
    """Of the sparse operand, and of the dense one."""
    b: Steps
    c: Steps
    inplace: bool
    semiring: Any
    """The name of one, or a semiring of the user's own."""
    functions: tuple[tuple[str, Any], ...]
    """The user's functions: of the elements of 'a' and 'b', and of the result, 'epilog'."""
    constant: bool
    package: str
    execution: tuple[str, int]

    @property
    def kind(self) -> str:
        """Which of the products it is, for the tables of providers."""
        return "dense"

    @property
    def work_amount(self) -> int:
        """Multiplications."""
        repeats = 1 if self.sparse_batched else math.prod(self.batch)
        return self.sparse.nse * self.columns * repeats

    @property
    def plain(self) -> bool:
        """Whether the operands can be multiplied as they are."""
        return is_plain(self, self.sparse.dtype, self.dense_dtype)


def summary(tensor: Tensor) -> Sparse:
    """What matters of a sparse tensor for planning."""
    arrays = tuple((level.format.has_positions, level.format.has_coordinates) for level in tensor.tensor_format.stored)
    return Sparse(tensor.tensor_format, tuple(tensor.extents), tensor.index_type, tensor.dtype, tensor.nse, arrays)


class Given(NamedTuple):
    """Operands of a product as specified by the user: of sparse ones all but the values, of dense ones the layout."""

    a: Sparse | Layout
    b: Sparse | Layout
    c: Sparse | Layout | None
    transposed: tuple[bool, bool]
    """Of a and b."""
    conjugated: tuple[bool, bool]

    @property
    def kind(self) -> str:
        """What the product is of: 'dense' if one operand is, 'pair' if a and b are sparse, 'sampled' if c alone is."""
        if isinstance(self.a, Sparse) and isinstance(self.b, Sparse):
            return "pair"
        return "sampled" if isinstance(self.c, Sparse) else "dense"

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        a, b = (x.extents if isinstance(x, Sparse) else x.shape for x in (self.a, self.b))
        return a, b


def _matrix_shape(name: str, shape: tuple[int, ...], transposed: bool) -> tuple[tuple[int, ...], int, int]:
    """Batch, rows and columns as they count in the product; of a vector both are its length."""
    if not shape:
        raise ValueError(f"{name} is a number; expected a vector or a matrix")
    if len(shape) == 1:
        return (), shape[0], shape[0]
    *batch, rows, columns = shape
    return (tuple(batch), columns, rows) if transposed else (tuple(batch), rows, columns)


class Sizes(NamedTuple):
    """Batch, rows, sums and columns of a product, and the shape of its result."""

    batch: tuple[int, ...]
    rows: int
    summed: int
    columns: int
    shape: tuple[int, ...]


def sizes_of(given: Given) -> Sizes:
    """The sizes of a product.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    a, b = given.shapes
    a_batch, m, k = _matrix_shape("a", a, given.transposed[0])
    b_batch, k2, n = _matrix_shape("b", b, given.transposed[1])
    if k != k2:
        raise ValueError(f"a has the shape {a} and b {b}: the sums are over {k} elements of a and {k2} of b")
    if a_batch and b_batch and a_batch != b_batch:
        raise ValueError(f"a has the batch {a_batch} and b {b_batch}; expected the same, or one of them without")
    batch = a_batch or b_batch
    shape = (*batch, *((m,) if len(a) > 1 else ()), *((n,) if len(b) > 1 else ()))
    if given.c is not None:
        found = given.c.extents if isinstance(given.c, Sparse) else given.c.shape
        if found != shape:
            raise ValueError(f"c has the shape {found}; expected that of the product, {shape}")
    return Sizes(batch, m if len(a) > 1 else 1, k, n if len(b) > 1 else 1, shape)


def work_dtype(given: Given, compute_type: int | None) -> tuple[str, str]:
    """The result's dtype, and that of the arithmetic.

    Raises
    ------
    TypeError, ValueError
        If there is none, or there are other indices than int32 and int64.
    """
    for name, operand in (("a", given.a), ("b", given.b), ("c", given.c)):
        if operand is None:
            continue
        if name != "c" and operand.dtype not in DTYPES:
            raise TypeError(f"{name} has the dtype {operand.dtype}; expected one of {', '.join(DTYPES)}: convert it")
        if isinstance(operand, Sparse) and operand.index_type not in INDEX_TYPES and operand.slots > 1:
            raise TypeError(f"{name} has indices of {operand.index_type}; convert them to int32 or int64")
    found = _promoted(given.a.dtype, given.b.dtype)
    if given.c is not None:
        if given.c.dtype not in DTYPES or _promoted(found, given.c.dtype) != given.c.dtype:
            raise ValueError(f"c has the dtype {given.c.dtype}, which does not hold a product of {found}; convert it")
        found = given.c.dtype
    work = "float32" if found in HALVES else found
    if compute_type is not None:
        wanted = WORK_OF[ComputeType(compute_type)]
        if wanted.startswith("complex") != work.startswith("complex"):
            raise ValueError(
                f"options.compute_type is {ComputeType(compute_type).name}, and the product is of {found}; choose one "
                f"for {'complex' if work.startswith('complex') else 'real'} numbers"
            )
        work = _promoted(work, wanted)
    return found, work


def conjugates(given: Given) -> tuple[bool, bool]:
    """Which of a and b are conjugated, and are not the same without."""
    a, b = (
        flag and operand.dtype.startswith("complex")
        for flag, operand in zip(given.conjugated, (given.a, given.b), strict=True)
    )
    return a, b


def is_plain(problem: Any, *dtypes: str) -> bool:
    """Whether operands of these dtypes can be multiplied as they are."""
    converts = {*dtypes, problem.work} != {problem.dtype}
    return not (converts or any(problem.conjugate) or problem.functions)


def shared(
    given: Given, package: str, execution: tuple[str, int], *, compute_type: int | None, constant: bool
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What problems with a pattern have in common, by its names, and the shape of the result.

    Raises
    ------
    TypeError, ValueError
        If the operands do not describe a product.
    """
    sizes = sizes_of(given)
    dtype, work = work_dtype(given, compute_type)
    found = sizes._asdict() | {
        "dtype": dtype, "work": work, "transposed": given.transposed, "conjugate": conjugates(given),
        "semiring": "plus_times", "functions": (), "constant": constant, "package": package, "execution": execution,
    }  # fmt: skip
    return found, found.pop("shape")


def placed(shape: tuple[int, ...], dtype: str, like: Layout, by_columns: bool = False) -> Layout:
    """A new dense result, in the place of an operand."""
    order = tuple(range(len(shape)))
    if by_columns and len(shape) >= 2:
        order = (*order[:-2], order[-1], order[-2])
    return Layout(shape, contiguous_strides(shape, order), dtype, like.memory_space, like.device_id)


def result_steps(result: Layout, a_vector: bool, b_vector: bool) -> Steps:
    """Steps of a dense result in batches, rows and columns."""
    steps = list(result.strides)
    column = 0 if b_vector else steps.pop()
    row = 0 if a_vector else steps.pop()
    return Steps(tuple(steps), row, column)


def _promoted(a: str, b: str) -> str:
    if a == b:
        return a
    a, b = ("float32" if name == "bfloat16" else name for name in (a, b))
    return np.result_type(a, b).name


def steps_of(layout: Layout, transposed: bool, vector_is_row: bool) -> Steps:
    """Steps of an array as batch, rows and columns."""
    if len(layout.shape) == 1:
        return Steps((), *((0, layout.strides[0]) if vector_is_row else (layout.strides[0], 0)))
    *batch, row, column = layout.strides
    return Steps(tuple(batch), *((column, row) if transposed else (row, column)))


def specify(
    given: Given, package: str, execution: tuple[str, int], *, compute_type: int | None, constant: bool
) -> tuple[MatmulProblem, Layout]:
    """The problem of a product with a dense operand, and the layout of its result.

    Raises
    ------
    TypeError, ValueError
        If the operands do not describe a product.
    """
    batch, m, k, n, shape = sizes_of(given)
    dtype, work = work_dtype(given, compute_type)
    swapped = isinstance(given.a, Layout)
    sparse, dense = (given.b, given.a) if swapped else (given.a, given.b)
    assert isinstance(sparse, Sparse)
    assert isinstance(dense, Layout)
    if isinstance(given.c, Layout):
        result = given.c
    else:  # by columns, as the dense operand
        by_columns = len(dense.shape) >= 2 and abs(dense.strides[-2]) < abs(dense.strides[-1])
        result = placed(shape, dtype, dense, by_columns)
    sparse_vector, dense_vector = len(sparse.extents) == 1, len(dense.shape) == 1
    a_vector, b_vector = (dense_vector, sparse_vector) if swapped else (sparse_vector, dense_vector)
    c = result_steps(result, a_vector, b_vector)
    flags = conjugates(given)
    if swapped:
        at = steps_of(dense, given.transposed[0], vector_is_row=True)
        b, c = Steps(at.batch, at.column, at.row), Steps(c.batch, c.column, c.row)
        rows, columns, transposed = n, m, not given.transposed[1]
        flags = flags[::-1]
    else:
        b = steps_of(dense, given.transposed[1], vector_is_row=False)
        rows, columns, transposed = m, n, given.transposed[0]
    problem = MatmulProblem(
        sparse, dense.dtype, dtype, work, batch, len(sparse.extents) > 2, len(dense.shape) > 2, rows, k,
        columns, transposed, sparse_vector, swapped, swapped != given.transposed[not swapped], flags,
        b, c, given.c is not None, "plus_times", (), constant, package, execution,
    )  # fmt: skip
    return problem, result._replace(dtype=dtype)


class LoopLevel(NamedTuple):
    """A level of the sparse operand as a loop: how it moves in the dense operand and in the result."""

    kind: int
    low: int
    size: int
    strip: int
    b: int
    c: int
    sum: int = 0
    sum_sign: int = 0
    own_sign: int = 0
    extent: int = 0


def roles(problem: MatmulProblem) -> tuple[tuple[int, int], ...]:
    """Of each dimension of the sparse operand: how it moves in the dense operand and in the result."""
    b_batch = problem.b.batch if problem.dense_batched else (0,) * len(problem.batch)
    found = [*zip(b_batch, problem.c.batch, strict=True)] if problem.sparse_batched else []
    row, summed = (0, problem.c.row), (problem.b.row, 0)
    if problem.vector:
        return (*found, summed)
    return (*found, *((summed, row) if problem.transposed else (row, summed)))


def loop_levels(problem: MatmulProblem, repeat: int) -> list[LoopLevel]:
    """The loops of the product, outermost first; `repeat` is the kind of those over batches that the sparse lacks."""
    form, extents = problem.sparse.format, problem.sparse.extents
    steps = roles(problem)
    levels: list[LoopLevel] = []
    if problem.dense_batched and not problem.sparse_batched:
        levels = [
            LoopLevel(repeat, 0, size, 0, b, c)
            for size, b, c in zip(problem.batch, problem.b.batch, problem.c.batch, strict=True)
        ]
    before = len(levels)
    multiples = [form.lvl2dim([int(n == m) for n in range(form.num_levels)]) for m in range(form.num_levels)]
    for number, (level, (low, size)) in enumerate(zip(form.stored, bounds_of(form, extents), strict=True)):
        b, c = (sum(multiples[number][d] * steps[d][which] for d in range(len(steps))) for which in (0, 1))
        loop = LoopLevel(int(level.format), low, size, level.number or 0, b, c)
        if level.format is F.RANGE:
            above, other = _sum_of(form, number)
            loop = loop._replace(
                sum=before + above, sum_sign=multiples[above][other], own_sign=multiples[number][other],
                extent=extents[other],
            )  # fmt: skip
        levels.append(loop)
    return levels


def _sum_of(form: TensorFormat, number: int) -> tuple[int, int]:
    """Of a RANGE level, the level of the sum that it belongs to, and the other dimension of that."""
    own = form.expressions[number]
    for above, expression in enumerate(form.expressions[:number]):
        if isinstance(expression, LevelExpr) and expression.operator.is_sum:
            both = (expression.expression1, expression.expression2)
            if own in both:
                return above, form.dimensions.index(both[0] if both[1] is own else both[1])
    raise AssertionError("a RANGE level has a sum above")


def result_dimensions(problem: MatmulProblem) -> set[int]:
    """The dimensions of the sparse operand that the result has."""
    count = len(problem.sparse.extents)
    summed = count - 1 if problem.vector or not problem.transposed else count - 2
    return set(range(count)) - {summed}


def divides_result(problem: MatmulProblem, number: int) -> bool:
    """Whether different indices of a level belong to different elements of the result."""
    form = problem.sparse.format
    expression: Any = form.expressions[number]
    if isinstance(expression, LevelExpr) and expression.operator is Operator.DIVIDE:
        expression = expression.expression1
    return isinstance(expression, Dimension) and form.dimensions.index(expression) in result_dimensions(problem)


def meets_once(problem: MatmulProblem) -> bool:
    """Whether the loops reach each row of the result once, at a segment of entries with its sum."""
    form = problem.sparse.format
    stored, count = form.stored, form.num_levels
    if count < 2 or stored[-1].format not in (F.COMPRESSED, F.DELTA, F.STRUCTURED):
        return False
    wanted = result_dimensions(problem)
    places = [
        form.dimensions.index(e) if isinstance(e, Dimension) else -1
        for e in form.expressions
    ]
    dense = all(level.format in (F.DENSE, F.BATCH) for level in stored[:-1])
    return dense and set(places[:-1]) == wanted and places[-1] not in (-1, *wanted)
