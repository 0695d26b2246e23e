"""How one contraction of two operands becomes matrix products: the ways there are, and what each should cost.

The modes have roles: those of the batch are in both operands and in the result, the rows in the first operand and in
the result, the columns in the second and in the result, and what is summed is in both operands only. Modes of one role
that lie behind each other in memory, in every tensor that has them, are one. What is left over of rows, columns and
sums where there is more than one, and the batch, are loops over products. Copying a tensor into temporary memory of the
right order frees it from its strides, so that more becomes one; each of the eight choices of tensors to copy gives
other products. Where that is not worth it, kernels pack both factors straight from their strides (gett), or multiply
element by element.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import planmath.tensor.kernels as kernels
from planmath.core.arrays import ITEMSIZE, contiguous_strides
from planmath.tensor.enums import Operator
from planmath.tensor.problem import Tensor

Modes = tuple[int, ...]

#: Multiplications and additions of float64 that one core makes in a second, and how much other dtypes take.
CORE_FLOPS = 50e9
COST_OF = {"float32": 0.5, "float64": 1.0, "complex64": 2.0, "complex128": 4.0}
#: Extents at which a product reaches half of that speed, about.
HALF_SPEED = {"m": 6, "n": 6, "k": 12}
#: Seconds that a product of no size takes.
PRODUCT_CALL = 0.25e-6
#: Bytes that a core moves in a second: reading and writing along the same loop, transposing, and inside of products.
COPY_SPEED, TRANSPOSE_SPEED, PRODUCT_SPEED = 22e9, 12e9, 30e9
#: Bytes of a transposed factor for which a product takes a second more: 6 to 11 % of one of 96 by 96 elements.
TRANSPOSED_SPEED = 50e9
#: Seconds that a copy takes before its first element.
COPY_CALL = 0.1e-6
#: Seconds for each multiplication, and for each row of them, where elements are multiplied without a product.
DIRECT_ELEMENT, DIRECT_STRIDED, DIRECT_ROW = 0.25e-9, 1.5e-9, 15e-9
#: Where both factors are packed (gett.h): the terms of a sum that are at a time, the rows and columns of a tile (most
#: instruction sets), the multiplications and additions of float64 that a core makes in a second, and the seconds that a
#: contraction and a tile take before their first.
GETT_TERMS, TILE, GETT_FLOPS, GETT_CALL, TILE_CALL = 512, (12, 4), 46e9, 0.5e-6, 30e-9
#: Seconds for each float64 that is packed, contiguous along rows (which were fetched before), along columns, or along
#: the sum; more for each whose next term is far; and for each that is added to a result, contiguous along rows or along
#: columns.
PACKED_ROW, PACKED_COLUMN, PACKED_TURNED, FAR, PUT, PUT_TURNED = 0.5e-9, 0.9e-9, 0.9e-9, 0.5e-9, 0.1e-9, 0.8e-9
#: The same where nothing is contiguous.
SCATTERED = 2e-9
#: Groups of modes of one role that are tried in the place of the matrix, those with the largest extents.
MOST_GROUPS = 3
#: Addresses of temporary memory are multiples of this many bytes: a cache line.
LINE = 64
#: The largest integer that BLAS takes.
LARGEST = 2**31 - 1


class Roles(NamedTuple):
    """The modes of two operands and a result by what happens to them."""

    batch: Modes
    rows: Modes
    columns: Modes
    summed: Modes
    a_alone: Modes
    """In the first operand only: summed before anything else."""
    b_alone: Modes


class ProductCall(NamedTuple):
    """How BLAS, which writes columns, is to be called: on a b, or for a result by rows on its transpose."""

    factors: str
    """The first and the second factor."""
    letters: tuple[int, int]
    """Whether each is transposed (T), also conjugated (C), or neither (N)."""
    leading: tuple[int, int, int]

    @property
    def by_rows(self) -> bool:
        return self.factors == "ba"

    @property
    def transposed(self) -> list[str]:
        """Which of the factors it transposes."""
        return [name for name, letter in zip(self.factors, self.letters, strict=True) if letter != ord("N")]


class Strategy(NamedTuple):
    """One way to contract two operands."""

    copies: str
    """Which of a, b and d are copied into temporary memory, or from there."""
    m: Modes
    """The modes that are the rows of the products, the slowest first."""
    n: Modes
    k: Modes
    result_loops: tuple[Modes, ...]
    """What the products are repeated over, the slowest first."""
    summed_loops: tuple[Modes, ...]
    call: ProductCall | None = None
    """The product; None where there is none."""
    gett: str = ""
    """Where both factors are packed straight from their strides instead, the one whose modes are a tile's rows, and the
    other."""
    cost: float = 0.0
    """Seconds on one core, as far as can be said without measuring."""
    along: bool = False
    """Of elements without a product: whether the innermost loop is summed."""

    @property
    def kind(self) -> str:
        """What multiplies: products, kernels that pack both factors (gett), or loops over elements."""
        return "products" if self.call else "gett" if self.gett else "elements"

    @property
    def direct(self) -> bool:
        """Whether elements are multiplied one by one."""
        return self.kind == "elements"


def roles_of(a: Tensor, b: Tensor, d: Tensor) -> Roles:
    both = [mode for mode in a.modes if mode in b.modes]
    return Roles(
        batch=tuple(mode for mode in both if mode in d.modes),
        rows=tuple(mode for mode in a.modes if mode in d.modes and mode not in b.modes),
        columns=tuple(mode for mode in b.modes if mode in d.modes and mode not in a.modes),
        summed=tuple(mode for mode in both if mode not in d.modes),
        a_alone=tuple(mode for mode in a.modes if mode not in b.modes and mode not in d.modes),
        b_alone=tuple(mode for mode in b.modes if mode not in a.modes and mode not in d.modes),
    )


def strategies(a: Tensor, b: Tensor, d: Tensor, extents: Sequence[int], work: str) -> list[Strategy]:
    """All ways to contract a and b into d in the dtype `work`, the one expected to be fastest first."""
    roles = roles_of(a, b, d)
    forced = "".join(
        name for name, tensor, alone in (("a", a, roles.a_alone), ("b", b, roles.b_alone), ("d", d, ()))
        if tensor.dtype != work or alone or tensor.operator not in (Operator.OP_IDENTITY, Operator.OP_CONJ)
    )  # fmt: skip
    found: list[Strategy] = []
    tensors = {"a": a, "b": b, "d": d}
    for size in range(4):
        for names in itertools.combinations("abd", size):
            if set(forced) <= set(names):
                found += _products(tensors, "".join(names), roles, extents, work)
                if size <= len(forced) + 1 and all(extents):
                    found += _gett(tensors, "".join(names), roles, extents, work)
    conjugated = "".join(x for x in "ab" if tensors[x].operator != Operator.OP_IDENTITY)
    found.append(_direct(tensors, "".join(sorted({*forced, *conjugated})), roles, extents, work))
    best: dict[tuple[str, str], Strategy] = {}
    for strategy in sorted(found, key=lambda strategy: strategy.cost):
        best.setdefault((strategy.copies, strategy.kind), strategy)
    return list(best.values())


def groups(modes: Iterable[int], extents: Sequence[int], steps: Sequence[Mapping[int, int]]) -> list[Modes]:
    """Modes that are one in every tensor whose steps are given, each with its slowest first, the slowest ones first."""
    modes = list(modes)
    if not steps:
        return [tuple(modes)] if modes else []
    modes.sort(key=lambda mode: [abs(of[mode]) for of in steps], reverse=True)
    found: list[Modes] = []
    for mode in modes:
        if found and all(of[found[-1][-1]] == extents[mode] * of[mode] for of in steps):
            found[-1] += (mode,)
        else:
            found.append((mode,))
    return found


def leading(p: tuple[int, int], q: tuple[int, int]) -> list[tuple[bool, int]]:
    """The ways in which a matrix with axes of these (extent, step) is one to BLAS.

    Each is whether p is the fast axis, and the leading dimension.
    """
    ways = []
    for p_fast, (fast, step), (slow, lead) in ((True, p, q), (False, q, p)):
        if (step == 1 or fast == 1) and (slow == 1 or fast <= lead <= LARGEST):
            ways.append((p_fast, max(lead if slow > 1 else fast, 1)))
    return ways


def extent_of(modes: Modes, extents: Sequence[int]) -> int:
    return math.prod(extents[mode] for mode in modes)


def dense(order: Sequence[int], extents: Sequence[int]) -> dict[int, int]:
    """Steps of a dense tensor with its modes in this order, the slowest first."""
    strides = contiguous_strides(tuple(extents[mode] for mode in order))
    return dict(zip(order, strides, strict=True))


def copy_order(name: str, tensor: Tensor, strategy: Strategy) -> list[int]:
    """The order of the modes of a copy, the slowest first: loops, then the matrix.

    The copy of a factor has what was fastest as the fastest; that of the result lies as the product writes it.
    """
    loops = [m for group in (*strategy.result_loops, *strategy.summed_loops) for m in group if m in tensor.modes]
    first, second = matrix_of(name, strategy)
    if name == "d" and not strategy.direct:
        swapped = not strategy.call.by_rows if strategy.call else strategy.gett == "ab"
    else:
        swapped = first_is_fast(name, tensor, strategy)
    return [*loops, *second, *first] if swapped else [*loops, *first, *second]


def first_is_fast(name: str, tensor: Tensor, strategy: Strategy) -> bool:
    """Whether the first axis of a tensor's matrices has the fastest mode."""
    steps = tensor.steps
    first, second = (min((abs(steps[m]) for m in modes), default=1 << 62) for modes in matrix_of(name, strategy))
    return first < second


def matrix_of(name: str, strategy: Strategy) -> tuple[Modes, Modes]:
    """The modes that are the first and the second axis of a tensor's matrices."""
    return {"a": (strategy.m, strategy.k), "b": (strategy.k, strategy.n), "d": (strategy.m, strategy.n)}[name]


def _products(
    tensors: Mapping[str, Tensor], copies: str, roles: Roles, extents: Sequence[int], work: str
) -> Iterable[Strategy]:
    """The products that remain once some tensors are copied."""
    steps = {name: tensor.steps for name, tensor in tensors.items()}

    def of(*names: str) -> list[Mapping[int, int]]:
        return [steps[name] for name in names if name not in copies]

    batch = groups(roles.batch, extents, of("d", "a", "b"))
    rows, columns = groups(roles.rows, extents, of("d", "a")), groups(roles.columns, extents, of("d", "b"))
    summed = groups(roles.summed, extents, of("a", "b"))
    copying = sum(copy_cost(tensors[name], extents, work) for name in copies)
    conjugate = {name for name in "ab" if name not in copies and tensors[name].operator == Operator.OP_CONJ}
    for m, n, k in itertools.product(*(_candidates(found, extents) for found in (rows, columns, summed))):
        result_loops = tuple(batch) + tuple(g for g in rows if g != m) + tuple(g for g in columns if g != n)
        summed_loops = tuple(g for g in summed if g != k)
        strategy = Strategy(copies, m, n, k, result_loops, summed_loops)
        ways = {name: matrix_ways(name, tensors[name], strategy, extents) for name in "abd"}
        sizes = {name: extent_of((*first, *second), extents) for name, first, second in (("a", m, k), ("b", k, n))}
        call = call_of(ways, conjugate, sizes)
        if call is not None:
            strategy = strategy._replace(call=call)
            yield strategy._replace(cost=copying + product_cost(strategy, sizes, extents, work))


def _candidates(found: list[Modes], extents: Sequence[int]) -> list[Modes]:
    """Which groups of one role may be the matrix's."""
    if not found:
        return [()]
    return sorted(found, key=lambda group: -extent_of(group, extents))[:MOST_GROUPS] + [()] * (len(found) > 1)


def matrix_ways(name: str, tensor: Tensor, strategy: Strategy, extents: Sequence[int]) -> dict[bool, int]:
    """The ways in which a tensor or its copy is a matrix to BLAS, the better one first: whether the first axis is the
    fast one, and the leading dimension. A copy of the result can be either."""
    first, second = (extent_of(modes, extents) for modes in matrix_of(name, strategy))
    if max(first, second) > LARGEST:
        return {}
    if name == "d" and name in strategy.copies:
        ways = {True: first, False: second}
        return ways if first_is_fast(name, tensor, strategy) else dict(reversed(ways.items()))
    order = copy_order(name, tensor, strategy) if name in strategy.copies else ()
    steps = dense(order, extents) if order else tensor.steps
    p, q = (steps[modes[-1]] if modes else 1 for modes in matrix_of(name, strategy))
    return dict(leading((first, p), (second, q)))


def call_of(
    ways: Mapping[str, Mapping[bool, int]], conjugate: Iterable[str], sizes: Mapping[str, int]
) -> ProductCall | None:
    """The call that transposes the fewest elements, or None where none is possible: a product conjugates only what it
    transposes."""
    calls = []
    for natural, ldd in ways["d"].items():
        factors = "ab" if natural else "ba"
        options = []
        for name in factors:
            letters = {natural: b"N", not natural: b"T"} if name not in conjugate else {not natural: b"C"}
            options.append([(letters[way], ld) for way, ld in ways[name].items() if way in letters])
        for (x, lda), (y, ldb) in itertools.product(*options):
            calls.append(ProductCall(factors, (x[0], y[0]), (lda, ldb, ldd)))
    return min(calls, key=lambda call: sum(sizes[name] for name in call.transposed), default=None)


def product_cost(strategy: Strategy, sizes: Mapping[str, int], extents: Sequence[int], work: str) -> float:
    """Seconds that the products take on one core; `sizes` are the elements of the matrices of a and b."""
    m, n, k = (extent_of(modes, extents) for modes in (strategy.m, strategy.n, strategy.k))
    count = math.prod(extent_of(g, extents) for g in (*strategy.result_loops, *strategy.summed_loops))
    speed = CORE_FLOPS / COST_OF[work]
    for name, extent in (("m", m), ("n", n), ("k", k)):
        speed *= extent / (extent + HALF_SPEED[name])
    assert strategy.call is not None
    moved = sum(sizes.values()) + (1 + bool(strategy.summed_loops)) * m * n
    transposed = sum(sizes[name] for name in strategy.call.transposed)
    moving = (moved / PRODUCT_SPEED + transposed / TRANSPOSED_SPEED) * ITEMSIZE[work]
    return count * (PRODUCT_CALL + 2 * m * n * k / speed + moving)


def copy_size(name: str, tensor: Tensor, roles: Roles, extents: Sequence[int]) -> int:
    """Elements of a copy: without the modes that are summed on the way."""
    alone = {"a": roles.a_alone, "b": roles.b_alone, "d": ()}[name]
    return extent_of(tuple(m for m in tensor.modes if m not in alone), extents)


def copy_cost(tensor: Tensor, extents: Sequence[int], work: str) -> float:
    size = extent_of(tensor.modes, extents) * (ITEMSIZE[tensor.dtype] + ITEMSIZE[work])
    return COPY_CALL + size / (COPY_SPEED if len(tensor.modes) < 2 else TRANSPOSE_SPEED)


def shared_sum(strategy: Strategy) -> Modes:
    """The modes whose sum threads can share: those of the slowest summed loop, or else of the products."""
    return strategy.summed_loops[0] if strategy.summed_loops else strategy.k


def parts_of(strategy: Strategy, extents: Sequence[int], threads: int) -> int:
    """Into how many equal parts that sum is cut, so that each thread has as many; 1 where that is not possible."""
    extent = extent_of(shared_sum(strategy), extents)
    return next((parts for parts in range(threads, 4 * threads + 1, threads) if extent % parts == 0), 1)


def _gett(
    tensors: Mapping[str, Tensor], copies: str, roles: Roles, extents: Sequence[int], work: str
) -> Iterable[Strategy]:
    """The ways to pack both factors, in the orders that one of the tensors has its modes in."""
    steps = {name: tensor.steps for name, tensor in tensors.items() if name not in copies}
    if work not in kernels.GETT or any(tensors[x].operator != Operator.OP_IDENTITY for x in "ab" if x in steps):
        return
    batch = groups(roles.batch, extents, [steps[name] for name in "dab" if name in steps])
    copying = sum(copy_cost(tensors[name], extents, work) for name in copies)
    count = extent_of(roles.batch, extents)
    sides = {"a": roles.rows, "b": roles.columns}

    def order(modes: Modes, *names: str) -> Modes:
        kept = [steps[name] for name in names if name in steps]
        return tuple(sorted(modes, key=lambda mode: [abs(of[mode]) for of in kept], reverse=True))

    for row, column in ("ab", "ba"):
        columns = order(sides[column], column, "d")
        all_rows = dict.fromkeys((order(sides[row], row, "d"), order(sides[row], "d", row)))
        all_sums = dict.fromkeys((order(roles.summed, row, column), order(roles.summed, column, row)))
        for rows, summed in itertools.product(all_rows, all_sums):
            m, n = (rows, columns) if row == "a" else (columns, rows)
            each = GETT_CALL + COST_OF[work] * gett_cost(steps, row, column, rows, columns, summed, extents)
            yield Strategy(copies, m, n, summed, tuple(batch), (), None, row + column, copying + count * each)


def gett_cost(
    steps: Mapping[str, Mapping[int, int]], row: str, column: str, rows: Modes, columns: Modes, summed: Modes,
    extents: Sequence[int],
) -> float:  # fmt: skip
    """Seconds that packing and contracting float64 takes on one core, the modes of `row` and `column` in these orders.

    What `steps` lacks is a copy, which has the best order.
    """
    m, n, k = (extent_of(modes, extents) for modes in (rows, columns, summed))
    parts, tiles = -(-k // GETT_TERMS), -(-m // TILE[0]) * -(-n // TILE[1])

    def along(name: str, modes: Modes, among: Iterable[int] | None = None) -> bool:
        """Whether the last of the modes is the fastest one of a tensor."""
        of = steps.get(name)
        found = [mode for mode in of if extents[mode] > 1 and (among is None or mode in among)] if of else []
        return not found or modes[-1:] == (min(found, key=lambda mode: abs(of[mode])),)  # type: ignore[index]

    packed = [
        (straight if along(name, modes) else PACKED_TURNED if along(name, summed) else SCATTERED)
        + (0 if along(name, summed, summed) else FAR)
        for name, modes, straight in ((row, rows, PACKED_ROW), (column, columns, PACKED_COLUMN))
    ]
    put = PUT if along("d", rows) else PUT_TURNED if along("d", columns) else SCATTERED
    moving = m * k * -(-n // kernels.PACKED_COLUMNS) * packed[0] + n * k * packed[1] + m * n * parts * put
    return moving + tiles * (2 * math.prod(TILE) * k / GETT_FLOPS + parts * TILE_CALL)


class Packing(NamedTuple):
    """How threads share a contraction whose factors are packed, and the bytes that this takes."""

    share: str
    """The loops over the 'batch', or the 'rows' or 'columns' of each contraction."""
    each: int
    """Temporary memory of each thread."""
    together: int
    """Temporary memory of all: what threads that share rows pack for each other, in two places."""


def packing_of(strategy: Strategy, extents: Sequence[int], work: str, threads: int) -> Packing:
    """Threads share the batch if each has enough of it, else the longer side."""
    sides = {"a": strategy.m, "b": strategy.n}
    rows, columns = (extent_of(sides[name], extents) for name in strategy.gett)
    wide = kernels.COLUMNS_OF_A_TILE
    packed = min(-(-columns // wide) * wide, kernels.PACKED_COLUMNS)
    terms = min(extent_of(strategy.k, extents), kernels.PACKED_TERMS[work])
    size = -(-packed * terms * ITEMSIZE[work] // LINE) * LINE
    if threads == 1 or any(extent_of(group, extents) >= 4 * threads for group in strategy.result_loops):
        return Packing("batch", kernels.PACKED_BYTES + size, 0)
    if rows >= columns:
        return Packing("rows", kernels.PACKED_BYTES, 2 * size)
    return Packing("columns", kernels.PACKED_BYTES + size, 0)


def _direct(tensors: Mapping[str, Tensor], copies: str, roles: Roles, extents: Sequence[int], work: str) -> Strategy:
    """The contraction element by element."""
    steps = {name: tensor.steps for name, tensor in tensors.items()}
    d = steps["d"]

    def of(*names: str) -> list[Mapping[int, int]]:
        return [steps[name] for name in names if name not in copies]

    outer = [
        *groups(roles.batch, extents, of("d", "a", "b")), *groups(roles.rows, extents, of("d", "a")),
        *groups(roles.columns, extents, of("d", "b")),
    ]  # fmt: skip
    if "d" not in copies:
        outer.sort(key=lambda group: -abs(d[group[-1]]))
    inner = groups(roles.summed, extents, of("a", "b"))
    strategy = Strategy(copies, (), (), (), tuple(outer), tuple(inner))
    copying = sum(copy_cost(tensors[name], extents, work) for name in copies)
    count = extent_of(roles.summed, extents) * extent_of(tuple(d), extents)

    def cost(along: bool) -> float:
        loops = inner if along else outer
        last = loops[-1] if loops else ()
        unit = not last or all(
            name in copies or steps[name].get(last[-1], 0) in (0, 1) for name in ("ab" if along else "abd")
        )
        each = (DIRECT_ELEMENT if unit else DIRECT_STRIDED) * COST_OF[work]
        return copying + count / (extent_of(last, extents) or 1) * DIRECT_ROW + count * each

    along = bool(inner) and (not outer or cost(True) < cost(False))
    return strategy._replace(along=along, cost=cost(along))
