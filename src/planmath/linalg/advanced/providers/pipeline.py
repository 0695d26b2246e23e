"""A matrix multiplication as native calls: operands staged where they have to be, the product, the epilog, the results.

A BLAS product takes operands of one dtype, without conjugation unless it transposes, and writes over its c. Whatever a
problem asks beyond that becomes a call before or after the product, on temporary memory where the user's own must not
change. Each call covers the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import planmath.linalg.advanced.kernels as kernels
from planmath.core.arrays import ITEMSIZE, contiguous_strides
from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.problem import MatmulProblem, Matrix, bytes_of
from planmath.native.call import Call, Slot

ACTIVATIONS = {
    "identity": kernels.IDENTITY, "relu": kernels.RELU, "gelu": kernels.GELU, "drelu": kernels.DRELU,
    "dgelu": kernels.DGELU,
}  # fmt: skip


class Region(NamedTuple):
    """Where the elements of a matrix, or of a batch of them, are when a program runs."""

    matrix: Matrix
    slot: Slot


def operand_names(problem: MatmulProblem) -> list[str]:
    """The operands as programs see them: the user's, then the scale factors, which are arrays of one element."""
    return [*problem.operand_names, "alpha", "beta"]


class Places:
    """Where a problem's operands, results and temporary memory are, as programs number them.

    Parameters
    ----------
    problem : MatmulProblem

    Attributes
    ----------
    workspace_size : int
    """

    #: Addresses of temporary memory are multiples of this many bytes: a cache line.
    LINE = 64

    def __init__(self, problem: MatmulProblem):
        self.problem = problem
        self.workspace_size = 0
        names = [*operand_names(problem), *([] if problem.inplace else ["d"]), *problem.auxiliary()]
        self._index = {name: i for i, name in enumerate(names)}
        if problem.inplace:
            self._index["d"] = self._index["c"]
        self._workspace = len(names)

    def region(self, name: str, matrix: Matrix) -> Region:
        """An operand's or a result's elements."""
        return Region(matrix, self.slot(name))

    def slot(self, name: str) -> Slot:
        return Slot(self._index[name])

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
        batch = tuple(step * rows * cols for step in contiguous_strides(self.problem.batch))
        if like.batch and not any(like.batch):
            batch = like.batch  # broadcast: one matrix serves the whole batch
        elif not like.batch:
            batch = ()
        matrix = Matrix(dtype, rows, cols, cols if row_major else 1, 1 if row_major else rows, batch)
        return Region(matrix, self.reserve(bytes_of(matrix, self.problem.batch if any(batch) else ())))

    def reserve(self, size: int) -> Slot:
        """Temporary memory of so many bytes."""
        offset = self.workspace_size
        self.workspace_size += -(-size // self.LINE) * self.LINE
        return Slot(self._workspace, offset)


class Pipeline(Places):
    """Collects the calls of a problem.

    Parameters
    ----------
    problem : MatmulProblem
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

    def __init__(self, problem: MatmulProblem, work: str):
        super().__init__(problem)
        self.work = work
        self.calls: list[Call] = []
        self.prologue: list[Call] = []
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
            tuple(s * ITEMSIZE[r.matrix.dtype] for s in (r.matrix.batch or (0,) * len(self.problem.batch)))
            for r in regions
        ]
        self.calls.append(Call(function, arguments, name=name, loops=batch_loops(self.problem.batch, steps), **options))

    def convert(self, source: Region, target: Region, *, conjugate: bool = False) -> None:
        """Copy elements, with another dtype or conjugated; a column or row of one element is broadcast."""
        s, t = source.matrix, target.matrix
        function = kernels.CONVERT[s.dtype, t.dtype, conjugate]
        row, col = (s.row if s.rows == t.rows else 0), (s.col if s.cols == t.cols else 0)
        arguments = [t.rows, t.cols, row, col, t.row, t.col, source.slot, target.slot]
        self.call(function, "conversion", arguments, [source, target])

    def staged(self, source: Region, *, conjugate: bool = False) -> Region:
        """The elements in the work dtype: where they are, or converted into temporary memory."""
        if source.matrix.dtype == self.work and not conjugate:
            return source
        target = self.temporary(source.matrix)
        self.convert(source, target, conjugate=conjugate)
        return target

    def load_c(self, d: Region) -> None:
        """Put c where the product will be added to it."""
        if self.problem.c is not None and not (self.problem.inplace and d.matrix == self.problem.d):
            self.convert(self.region("c", self.problem.c), d, conjugate=self.problem.c.conjugate)

    def epilog(self, d: Region) -> None:
        """The element-wise work on the product, and the sums for bias gradients."""
        problem = self.problem
        epilog = EPILOGS[problem.epilog]
        auxiliary = problem.auxiliary()
        inputs = dict(zip(epilog.inputs, problem.inputs, strict=True))
        if epilog.sums in ("bgrada", "bgradb"):
            # the sums run over k: a's rows, or b's columns
            operand = self.region("a", problem.a) if epilog.sums == "bgrada" else self.region("b", problem.b.T)
            self._row_sums(self.staged(operand), self.region(epilog.sums, auxiliary[epilog.sums]))
        if epilog.activation == "identity" and not epilog.inputs:
            return
        none = Region(Matrix(self.work, 0, 0, 0, 0), Slot(0))
        bias = self.staged(self.region("bias", inputs["bias"])) if "bias" in inputs else none
        given = epilog.mask in inputs
        mask = none
        if epilog.mask:
            matrix = inputs[epilog.mask] if given else auxiliary[epilog.mask]
            mask = self.region(epilog.mask, matrix)
            if matrix.dtype not in ("uint8", self.work):
                by_columns = self.temporary(matrix._replace(row=1, col=matrix.rows))
                if given:
                    self.convert(mask, by_columns)
                mask = by_columns
        total = self.region(epilog.sums, auxiliary[epilog.sums]) if epilog.sums else none
        sums = self.temporary(total.matrix) if epilog.sums and total.matrix.dtype != self.work else total
        row_major, ld = d.matrix.leading
        inner, outer = (problem.n, problem.m) if row_major else (problem.m, problem.n)
        step = bias.matrix.row
        used = [d, bias, mask, sums]
        arguments = [
            ACTIVATIONS[epilog.activation],
            inner,
            outer,
            ld,
            mask.matrix.col,
            *((0, step) if row_major else (step, 0)),
        ]
        arguments += [region.slot if region is not none else 0 for region in used]
        self.call(kernels.EPILOG[self.work], "epilog", arguments, [region for region in used if region is not none])
        if epilog.mask and not given and mask.matrix.dtype != auxiliary[epilog.mask].dtype:
            self.convert(mask, self.region(epilog.mask, auxiliary[epilog.mask]))
        if sums is not total:
            self.convert(sums, total)

    def _row_sums(self, operand: Region, total: Region) -> None:
        sums = total if total.matrix.dtype == self.work else self.temporary(total.matrix)
        m = operand.matrix
        arguments = [m.rows, m.cols, m.row, m.col, operand.slot, sums.slot]
        self.call(kernels.ROW_SUMS[self.work], "sums of rows", arguments, [operand, sums])
        if sums is not total:
            self.convert(sums, total)


def batch_loops(batch: tuple[int, ...], steps: Sequence[tuple[int, ...]]) -> list[tuple[int, tuple[int, ...]]]:
    """Loops over a batch for a prepared call: adjacent axes that are one in memory for every slot are fused.

    Parameters
    ----------
    batch : tuple of int
        Extents.
    steps : sequence of tuple of int
        For each slot, the strides of the batch axes in bytes.
    """
    loops: list[tuple[int, tuple[int, ...]]] = []
    for axis, count in enumerate(batch):
        if count == 1:
            continue
        step = tuple(slot[axis] for slot in steps)
        if loops and all(outer == count * inner for outer, inner in zip(loops[-1][1], step, strict=True)):
            loops[-1] = (loops[-1][0] * count, step)
        else:
            loops.append((count, step))
    return loops


def folded(problem: MatmulProblem) -> MatmulProblem:
    """The same products as fewer, larger ones: a batch that multiplies one and the same matrix is a taller matrix.

    Only where the batch continues the rows (of a and d) or the columns (of b and d) in memory, and no epilog tells the
    matrices of the batch apart.
    """
    count = math.prod(problem.batch)
    if count == 1 or (problem.c is not None and not problem.inplace) or EPILOGS[problem.epilog].column_major:
        return problem

    def continues(matrix: Matrix, extent: int, step: int) -> bool:
        loops = batch_loops(problem.batch, [matrix.batch or (0,) * len(problem.batch)])
        return len(loops) == 1 and loops[0][1] == (extent * step,)

    if (
        not any(problem.b.batch)
        and continues(problem.a, problem.m, problem.a.row)
        and continues(problem.d, problem.m, problem.d.row)
    ):
        m = problem.m * count
        parts = {name: matrix._replace(rows=m, batch=()) for name in "acd" if (matrix := getattr(problem, name))}
        candidate = problem._replace(m=m, batch=(), b=problem.b._replace(batch=()), **parts)
    elif (
        not any(problem.a.batch)
        and continues(problem.b, problem.n, problem.b.col)
        and continues(problem.d, problem.n, problem.d.col)
    ):
        n = problem.n * count
        parts = {name: matrix._replace(cols=n, batch=()) for name in "bcd" if (matrix := getattr(problem, name))}
        candidate = problem._replace(n=n, batch=(), a=problem.a._replace(batch=()), **parts)
    else:
        return problem
    fits = all(_has_leading(matrix) for matrix in (candidate.a, candidate.b, candidate.d))
    return candidate if fits else problem


def _has_leading(matrix: Matrix) -> bool:
    row_major, ld = matrix.leading
    unit, other = (matrix.col, matrix.cols) if row_major else (matrix.row, matrix.rows)
    return (unit == 1 or other == 1) and ld >= other
