"""The specification of a product of a sparse tensor with a dense one."""

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
    semiring: str
    functions: tuple[tuple[str, Any], ...]
    """The user's functions: of the elements of 'a' and 'b', and of the result, 'epilog'."""
    constant: bool
    package: str
    execution: tuple[str, int]

    @property
    def work_amount(self) -> int:
        """Multiplications."""
        repeats = 1 if self.sparse_batched else math.prod(self.batch)
        return self.sparse.nse * self.columns * repeats

    @property
    def plain(self) -> bool:
        """Whether the operands can be multiplied as they are."""
        dtypes = {self.sparse.dtype, self.dense_dtype, self.dtype, self.work}
        return len(dtypes) == 1 and not any(self.conjugate) and not self.functions


def summary(tensor: Tensor) -> Sparse:
    """What matters of a sparse tensor for planning."""
    arrays = tuple((tensor.pos(n) is not None, tensor.crd(n) is not None) for n in range(tensor.num_levels))
    return Sparse(tensor.tensor_format, tuple(tensor.extents), tensor.index_type, tensor.dtype, tensor.nse, arrays)


class Given(NamedTuple):
    """Operands of a product as specified by the user."""

    sparse: Sparse
    dense: Layout
    c: Layout | None
    swapped: bool
    """Whether the dense one stands first."""
    transposed: tuple[bool, bool]
    """Of a and b."""
    conjugated: tuple[bool, bool]


def _matrix_shape(name: str, shape: tuple[int, ...], transposed: bool) -> tuple[tuple[int, ...], int, int]:
    """Batch, rows and columns as they count in the product; of a vector both are its length."""
    if not shape:
        raise ValueError(f"{name} is a number; expected a vector or a matrix")
    if len(shape) == 1:
        return (), shape[0], shape[0]
    *batch, rows, columns = shape
    return (tuple(batch), columns, rows) if transposed else (tuple(batch), rows, columns)


def result_shape(given: Given) -> tuple[tuple[int, ...], int, int, int, tuple[int, ...]]:
    """Batch, rows, sums and columns of the product, and the shape of the result.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    shapes = [given.sparse.extents, given.dense.shape]
    a, b = shapes[::-1] if given.swapped else shapes
    a_batch, m, k = _matrix_shape("a", a, given.transposed[0])
    b_batch, k2, n = _matrix_shape("b", b, given.transposed[1])
    if k != k2:
        raise ValueError(f"a has the shape {a} and b {b}: the sums are over {k} elements of a and {k2} of b")
    if a_batch and b_batch and a_batch != b_batch:
        raise ValueError(f"a has the batch {a_batch} and b {b_batch}; expected the same, or one of them without")
    batch = a_batch or b_batch
    shape = (*batch, *((m,) if len(a) > 1 else ()), *((n,) if len(b) > 1 else ()))
    return batch, m if len(a) > 1 else 1, k, n if len(b) > 1 else 1, shape


def work_dtype(given: Given, compute_type: int | None) -> tuple[str, str]:
    """The result's dtype, and that of the arithmetic.

    Raises
    ------
    TypeError, ValueError
        If there is none.
    """
    named = {"the sparse operand": given.sparse.dtype, "the dense operand": given.dense.dtype}
    for name, dtype in named.items():
        if dtype not in DTYPES:
            raise TypeError(f"{name} has the dtype {dtype}; expected one of {', '.join(DTYPES)}: convert it")
    found = _promoted(*named.values())
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


def _promoted(a: str, b: str) -> str:
    if a == b:
        return a
    a, b = ("float32" if name == "bfloat16" else name for name in (a, b))
    return np.result_type(a, b).name


def _steps(layout: Layout, transposed: bool, vector_is_row: bool) -> Steps:
    """Steps of an array as batch, rows and columns."""
    if len(layout.shape) == 1:
        return Steps((), *((0, layout.strides[0]) if vector_is_row else (layout.strides[0], 0)))
    *batch, row, column = layout.strides
    return Steps(tuple(batch), *((column, row) if transposed else (row, column)))


def specify(
    given: Given, package: str, execution: tuple[str, int], *, compute_type: int | None, constant: bool
) -> tuple[MatmulProblem, Layout]:
    """The problem, and the layout of its result.

    Raises
    ------
    TypeError, ValueError
        If the operands do not describe a product.
    """
    batch, m, k, n, shape = result_shape(given)
    dtype, work = work_dtype(given, compute_type)
    dense = given.dense
    if given.sparse.index_type not in INDEX_TYPES and given.sparse.slots > 1:
        raise TypeError(f"the sparse operand has indices of {given.sparse.index_type}; convert them to int32 or int64")
    if given.c is not None:
        result = given.c
        if result.shape != shape:
            raise ValueError(f"c has the shape {result.shape}; expected that of the product, {shape}")
    else:
        order = tuple(range(len(shape)))
        if len(shape) >= 2 and len(dense.shape) >= 2 and abs(dense.strides[-2]) < abs(dense.strides[-1]):
            order = (*order[:-2], order[-1], order[-2])  # by columns, as the dense operand
        result = Layout(shape, contiguous_strides(shape, order), dtype, dense.memory_space, dense.device_id)
    sparse_vector, dense_vector = len(given.sparse.extents) == 1, len(dense.shape) == 1
    a_vector, b_vector = (dense_vector, sparse_vector) if given.swapped else (sparse_vector, dense_vector)
    c_steps = list(result.strides)
    c_column = 0 if b_vector else c_steps.pop()
    c_row = 0 if a_vector else c_steps.pop()
    c = Steps(tuple(c_steps), c_row, c_column)
    if given.swapped:
        at = _steps(dense, given.transposed[0], vector_is_row=True)
        b, c = Steps(at.batch, at.column, at.row), Steps(c.batch, c.column, c.row)
        rows, columns, transposed = n, m, not given.transposed[1]
        conjugate = given.conjugated[::-1]
    else:
        b = _steps(dense, given.transposed[1], vector_is_row=False)
        rows, columns, transposed = m, n, given.transposed[0]
        conjugate = given.conjugated
    is_complex = (given.sparse.dtype.startswith("complex"), dense.dtype.startswith("complex"))
    flags = (conjugate[0] and is_complex[0], conjugate[1] and is_complex[1])
    problem = MatmulProblem(
        given.sparse, dense.dtype, dtype, work, batch, len(given.sparse.extents) > 2, len(dense.shape) > 2, rows, k,
        columns, transposed, sparse_vector, given.swapped, given.swapped != given.transposed[not given.swapped], flags,
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
