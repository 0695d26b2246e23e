"""Which other format of the sparse operand would make a product faster, and when converting it pays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from planmath.core.log import format_seconds
from planmath.report.pages import Table
from planmath.sparse.ust.format import TensorFormat
from planmath.sparse.ust.named import NamedFormats as N
from planmath.sparse.ust.tensor import Tensor

#: Extents of square blocks that are tried, and the share of them that has to be filled.
BLOCKS, LEAST_FILL = (2, 3, 4, 8), 0.6
#: The most that diagonals may be larger than the entries they hold, and the least share of rows without entries.
MOST_PADDING, LEAST_EMPTY = 2.0, 0.3


class FormatTime(NamedTuple):
    """What a product takes with its sparse operand in a format."""

    format: TensorFormat
    seconds: float
    """Of an execution."""
    conversion: float
    """Seconds that converting takes."""
    pays_after: float
    """Executions after which converting has saved more than it took; infinite where it never does."""


def checked(formats: Any, tensor: Tensor | None) -> list[TensorFormat]:
    """The formats that a user wants to have compared.

    Raises
    ------
    TypeError
        If they are no sequence of formats with as many dimensions as the sparse operand.
    """
    rank = None if tensor is None else tensor.num_dimensions
    wanted = "expected True, False, or a sequence of TensorFormat such as [NamedFormats.CSR, NamedFormats.DIAI]"
    if isinstance(formats, str | TensorFormat) or not isinstance(formats, Sequence):
        raise TypeError(f"formats is {formats if isinstance(formats, TensorFormat) else repr(formats)}; {wanted}")
    for number, form in enumerate(formats):
        if not isinstance(form, TensorFormat):
            raise TypeError(f"formats[{number}] is {form!r}; {wanted}")
        if rank is not None and form.num_dimensions != rank:
            raise TypeError(
                f"formats[{number}] is {form.name} with {form.num_dimensions} dimensions; expected {rank}, as of the "
                "sparse operand"
            )
    return list(formats)


def candidates(tensor: Tensor) -> list[TensorFormat]:
    """The formats that may suit a sparse matrix, found by counting."""
    if tensor.num_dimensions != 2 or not tensor.nse:
        return []
    rows = tensor.convert(tensor_format=N.CSR)
    listed = rows.convert(tensor_format=N.COO)
    row, column = (np.asarray(listed.crd(n), np.int64) for n in (0, 1))
    m, n = tensor.extents
    found = [N.CSR]
    for size in BLOCKS:
        if m % size == 0 and n % size == 0:
            count = len(np.unique(row // size * (n // size) + column // size))
            if len(row) >= LEAST_FILL * size * size * count:
                found.append(N.BSRRight((size, size)))
    if len(np.unique(column - row)) * n <= MOST_PADDING * len(row):
        found.append(N.DIAI)
    if len(np.unique(row)) <= (1 - LEAST_EMPTY) * m:
        found.append(N.DCSR)
    return [form for form in found if form != tensor.tensor_format]


def measured(
    tensor: Tensor, formats: Sequence[TensorFormat], planned: Callable[[Tensor], Any], seconds: float
) -> list[FormatTime]:
    """What executions take with a tensor in its format and in others, by turns.

    Parameters
    ----------
    tensor : Tensor
    formats : sequence of TensorFormat
    planned : callable
        Makes a planned product with a tensor in the place of the sparse operand.
    seconds : float
        How long all may take, conversions not counted.
    """
    products, conversions = [(tensor.tensor_format, planned(tensor))], [0.0]
    for form in formats:
        begin = time.perf_counter()
        converted = tensor.convert(tensor_format=form)
        conversions.append(time.perf_counter() - begin)
        products.append((form, planned(converted)))
    best = [math.inf] * len(products)
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 3 or (time.perf_counter() < end and rounds < 1000):
        for number, (_, product) in enumerate(products):
            begin = time.perf_counter()
            product._executor.execute(None, None)
            best[number] = min(best[number], time.perf_counter() - begin)
        rounds += 1
    for _, product in products:
        product.free()
    return [
        FormatTime(form, mine, conversion, conversion / (best[0] - mine) if mine < best[0] else math.inf)
        for (form, _), mine, conversion in zip(products, best, conversions, strict=True)
    ]


def as_table(times: Sequence[FormatTime]) -> Table:
    """The formats, the present one first."""
    rows = [
        [
            t.format.name, format_seconds(t.seconds), format_seconds(t.conversion) if number else "",
            "" if not number else "never" if math.isinf(t.pays_after) else f"{math.ceil(t.pays_after)} executions",
        ]
        for number, t in enumerate(times)
    ]  # fmt: skip
    return Table(["format", "an execution", "converting", "pays after"], rows, [t.seconds for t in times])
