"""The calls around a product: operands staged where they have to be, conversions, and element-wise work on results.

A BLAS product takes operands of one dtype, without conjugation unless it transposes, and writes over its c. Whatever a
problem asks beyond that becomes a call before or after the product, on temporary memory where the user's own must not
change. Each call covers the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import planmath.linalg.product.kernels as kernels
from planmath.core.arrays import ITEMSIZE, contiguous_strides
from planmath.linalg.product.matrix import Matrix, batch_loops, bytes_of
from planmath.native.call import Call, Slot

ACTIVATIONS = {
    "identity": kernels.IDENTITY, "relu": kernels.RELU, "gelu": kernels.GELU, "drelu": kernels.DRELU,
    "dgelu": kernels.DGELU,
}  # fmt: skip


class Region(NamedTuple):
    """Where the elements of a matrix, or of a batch of them, are when a program runs."""

    matrix: Matrix
    slot: Slot


class Places:
    """Where operands, results and temporary memory are, as programs number them.

    Parameters
    ----------
    numbers : mapping of str to int
        The arrays of a program, by name.
    batch : tuple of int
        Extents of the batch that each call covers.

    Attributes
    ----------
    workspace_size : int
    """

    #: Addresses of temporary memory are multiples of this many bytes: a cache line.
    LINE = 64

    def __init__(self, numbers: Mapping[str, int], batch: tuple[int, ...]):
        self.batch = batch
        self.workspace_size = 0
        self._numbers = numbers
        self._workspace = max(numbers.values()) + 1

    def region(self, name: str, matrix: Matrix) -> Region:
        """An operand's or a result's elements."""
        return Region(matrix, self.slot(name))

    def slot(self, name: str) -> Slot:
        return Slot(self._numbers[name])

    def is_temporary(self, region: Region) -> bool:
        """Whether a region is in temporary memory."""
        return region.slot.operand == self._workspace

    @property
    def stream(self) -> Slot:
        """The CUDA stream, where there are streams."""
        return Slot(self._workspace + 1)

    def temporary(self, like: Matrix, dtype: str) -> Region:
        """Dense temporary memory for a matrix and its batch, in the same order of rows and columns."""
        rows, cols = like.rows, like.cols
        row_major, _ = like.leading
        batch = tuple(step * rows * cols for step in contiguous_strides(self.batch))
        if like.batch and not any(like.batch):
            batch = like.batch  # broadcast: one matrix serves the whole batch
        elif not like.batch:
            batch = ()
        matrix = Matrix(dtype, rows, cols, cols if row_major else 1, 1 if row_major else rows, batch)
        return Region(matrix, self.reserve(bytes_of(matrix, self.batch if any(batch) else ())))

    def reserve(self, size: int) -> Slot:
        """Temporary memory of so many bytes."""
        offset = self.workspace_size
        self.workspace_size += -(-size // self.LINE) * self.LINE
        return Slot(self._workspace, offset)


class Pipeline(Places):
    """Collects the calls of a product.

    Parameters
    ----------
    numbers, batch
        As for `Places`.
    work : str
        The dtype in which the product is computed.

    Attributes
    ----------
    calls : list of Call
    prologue : list of Call
        What has to be done once for the values of a constant operand.
    packed : Region
        Where that puts the operand.
    """

    def __init__(self, numbers: Mapping[str, int], batch: tuple[int, ...], work: str):
        super().__init__(numbers, batch)
        self.work = work
        self.calls: list[Call] = []
        self.prologue: list[Call] = []
        #: the number that decides whether calls are made, and its dtype
        self.condition: tuple[Slot, str] | None = None
        self.packed: Region

    def temporary(self, like: Matrix, dtype: str | None = None) -> Region:
        """As `Places.temporary`; in the dtype of the work where none is given."""
        return super().temporary(like, dtype or self.work)

    def reserve_packed(self, size: int, matrix: Matrix) -> None:
        """Temporary memory for an operand in the library's own form."""
        self.packed = Region(matrix._replace(batch=()), self.reserve(size))

    # Calls.

    def call(
        self, function: int, name: str, arguments: Sequence[Any], regions: Sequence[Region], **options: Any
    ) -> None:
        """Add a call that is repeated over the batch; `regions` are those of the slots in the arguments, in order."""
        steps = [
            tuple(s * ITEMSIZE[r.matrix.dtype] for s in (r.matrix.batch or (0,) * len(self.batch))) for r in regions
        ]
        if self.condition is not None:
            options = {"unless_zero": self.condition, **options}
        self.calls.append(Call(function, arguments, name=name, loops=batch_loops(self.batch, steps), **options))

    def convert(self, source: Region, target: Region, *, conjugate: bool = False, **options: Any) -> None:
        """Copy elements, with another dtype or conjugated; a column or row of one element is broadcast."""
        s, t = source.matrix, target.matrix
        function = kernels.CONVERT[s.dtype, t.dtype, conjugate]
        row, col = (s.row if s.rows == t.rows else 0), (s.col if s.cols == t.cols else 0)
        arguments = [t.rows, t.cols, row, col, t.row, t.col, source.slot, target.slot]
        if (row, col) == (t.row, t.col) and t.has_leading and t.span == t.rows * t.cols:  # one run of memory
            arguments[:6] = 1, t.span, 0, 1, t.span, 1
        self.call(function, "conversion", arguments, [source, target], **options)

    def nonzero(self, scalar: str) -> tuple[Slot, str]:
        """The condition that a scale factor is not 0."""
        return self.slot(scalar), self.work

    def without_product(self, d: Region, scalar: str = "beta", **options: Any) -> Call:
        """What takes a product's place where alpha is 0: d = beta d, whatever the operands hold."""
        row_major, ld = d.matrix.leading
        inner, outer = (d.matrix.cols, d.matrix.rows) if row_major else (d.matrix.rows, d.matrix.cols)
        step = tuple(s * ITEMSIZE[d.matrix.dtype] for s in (d.matrix.batch or (0,) * len(self.batch)))
        loops = batch_loops(self.batch, [(0,) * len(self.batch), step])
        arguments = [inner, outer, ld, self.slot(scalar), d.slot]
        return Call(kernels.SCALE[d.matrix.dtype], arguments, name="scaling", loops=loops, **options)

    def staged(self, source: Region, *, conjugate: bool = False, dtype: str | None = None) -> Region:
        """The elements in a dtype, by default that of the work: where they are, or converted into temporary memory."""
        if source.matrix.dtype == (dtype or self.work) and not conjugate:
            return source
        target = self.temporary(source.matrix, dtype)
        self.convert(source, target, conjugate=conjugate)
        return target

    def activate(
        self,
        activation: str,
        d: Region,
        bias: Region | None = None,
        mask: Region | None = None,
        sums: Region | None = None,
    ) -> None:
        """One pass over a product in the work dtype: bias, activation, its mask, and sums over columns."""
        row_major, ld = d.matrix.leading
        inner, outer = (d.matrix.cols, d.matrix.rows) if row_major else (d.matrix.rows, d.matrix.cols)
        step = bias.matrix.row if bias else 0
        regions = [d, bias, mask, sums]
        arguments = [
            ACTIVATIONS[activation], inner, outer, ld, mask.matrix.col if mask else 0,
            *((0, step) if row_major else (step, 0)),
            *[region.slot if region else 0 for region in regions],
        ]  # fmt: skip
        self.call(kernels.EPILOG[self.work], "epilog", arguments, [region for region in regions if region])

    def row_sums(self, operand: Region, total: Region) -> None:
        """Sum each row."""
        sums = total if total.matrix.dtype == self.work else self.temporary(total.matrix)
        m = operand.matrix
        arguments = [m.rows, m.cols, m.row, m.col, operand.slot, sums.slot]
        self.call(kernels.ROW_SUMS[self.work], "sums of rows", arguments, [operand, sums])
        if sums is not total:
            self.convert(sums, total)

    # Operands and results of 8 and 4 bits.

    def factor(self, alpha: Region, a: Slot, b: Slot) -> Region:
        """The factor of a product: alpha times the scales of its operands."""
        target = self.temporary(alpha.matrix)
        self.calls.append(Call(kernels.FACTOR, [alpha.slot, a, b, target.slot], name="factor"))
        return target

    def _count(self, region: Region) -> int:
        """Numbers of temporary memory, which has no gaps."""
        return region.matrix.rows * region.matrix.cols * (math.prod(self.batch) if any(region.matrix.batch) else 1)

    def scale(self, region: Region, factor: Slot) -> None:
        """Multiply temporary memory by one number."""
        self.calls.append(Call(kernels.MULTIPLY, [self._count(region), factor, region.slot], name="scaling"))

    def largest(self, region: Region, target: Slot) -> None:
        """The largest magnitude in temporary memory."""
        self.calls.append(Call(kernels.AMAX, [self._count(region), region.slot, target], name="largest magnitude"))

    def dequantized(self, source: Region, scales: Region, target: Region) -> Region:
        """A matrix times the scales of its blocks, which lie along its memory."""
        rows, n, ld = _along_memory(target.matrix)
        _, _, step = _along_memory(source.matrix)
        arguments = [rows, n, step, ld, source.slot, scales.slot, target.slot]
        self.call(kernels.DEQUANTIZE[source.matrix.dtype], "dequantization", arguments, [source, scales, target])
        return target

    def quantize(self, source: Region, target: Region, scales: Region) -> None:
        """Numbers of temporary memory in few bits, and the scales of their blocks."""
        rows, n, ld = _along_memory(source.matrix)
        _, _, step = _along_memory(target.matrix)
        arguments = [rows, n, ld, step, source.slot, target.slot, scales.slot]
        self.call(kernels.QUANTIZE[target.matrix.dtype], "quantization", arguments, [source, target, scales])


def _along_memory(matrix: Matrix) -> tuple[int, int, int]:
    """How many rows or columns lie one after the other, the elements of each, and the steps between them."""
    row_major, step = matrix.leading
    return (matrix.rows, matrix.cols, step) if row_major else (matrix.cols, matrix.rows, step)
