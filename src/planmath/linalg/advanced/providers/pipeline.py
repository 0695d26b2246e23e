"""A `MatmulProblem` as native calls: c loaded, the product, the epilog, the results."""

from __future__ import annotations

import math

from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.problem import (
    AUXILIARY_AMAX,
    AUXILIARY_SCALE,
    RESULT_AMAX,
    RESULT_SCALES,
    SCALED,
    MatmulProblem,
    numbers_of,
    scale_slot,
)
from planmath.linalg.product.matrix import Matrix, batch_loops
from planmath.linalg.product.pipeline import Pipeline, Region


def operand_names(problem: MatmulProblem) -> list[str]:
    """The operands as programs see them: the user's, then the scale factors, which are arrays of one element."""
    return [*problem.operand_names, "alpha", "beta"]


def array_numbers(problem: MatmulProblem) -> dict[str, int]:
    """The numbers that programs have for a problem's operands and results, by name."""
    names = [*operand_names(problem), *([] if problem.inplace else ["d"]), *problem.auxiliary()]
    numbers = {name: i for i, name in enumerate(names)}
    if problem.inplace:
        numbers["d"] = numbers["c"]
    return numbers


class MatmulPipeline(Pipeline):
    """Collects the calls of a problem.

    Parameters
    ----------
    problem : MatmulProblem
    work : str
        The dtype in which the product is computed.
    """

    def __init__(self, problem: MatmulProblem, work: str):
        super().__init__(array_numbers(problem), problem.batch, work)
        self.problem = problem
        #: The factor of the product.
        self.alpha = Region(Matrix(work, 1, 1, 1, 1), self.slot("alpha"))
        if problem.narrow is not None and not problem.narrow.blocks:
            self.alpha = self.factor(self.alpha, *(self.slot(scale_slot(name)) for name in "ab"))

    def operand(self, name: str, dtype: str | None = None) -> Region:
        """a or b in a dtype, by default that of the work; times the scales of its blocks, where these have some."""
        matrix, narrow = getattr(self.problem, name), self.problem.narrow
        if narrow is None or not narrow.blocks:
            return self.staged(self.region(name, matrix), dtype=dtype)
        scales = self.region(scale_slot(name), narrow.blocks["ab".index(name)])
        return self.dequantized(self.region(name, matrix), scales, self.temporary(numbers_of(matrix)))

    def whole(self, matrix: Matrix, dtype: str) -> Region:
        """Temporary memory for as many numbers as a matrix has."""
        return self.temporary(numbers_of(matrix), dtype)

    def load_c(self, d: Region) -> None:
        """Put c where the product will be added to it, unless beta is 0."""
        if self.problem.c is not None and not (self.problem.inplace and d.matrix == self.problem.d):
            c = self.region("c", self.problem.c)
            self.convert(c, d, conjugate=self.problem.c.conjugate, unless_zero=self.nonzero("beta"))

    def epilog(self, d: Region) -> None:
        """The element-wise work on the product, and the sums for bias gradients."""
        problem = self.problem
        epilog = EPILOGS[problem.epilog]
        auxiliary = problem.auxiliary()
        inputs = dict(zip(problem.input_names, problem.inputs, strict=True))
        if epilog.sums in ("bgrada", "bgradb"):
            self._operand_sums(epilog.sums[-1], self.region(epilog.sums, auxiliary[epilog.sums]))
        if epilog.activation == "identity" and not epilog.inputs:
            return
        bias = self.staged(self.region("bias", inputs["bias"])) if "bias" in inputs else None
        given = epilog.mask in inputs
        mask = None
        if epilog.mask:
            matrix = inputs[epilog.mask] if given else auxiliary[epilog.mask]
            mask = self.region(epilog.mask, matrix)
            if matrix.dtype not in ("uint8", self.work):
                by_columns = self.temporary(matrix._replace(row=1, col=matrix.rows))
                if given:
                    self.convert(mask, by_columns)
                mask = by_columns
        total = self.region(epilog.sums, auxiliary[epilog.sums]) if epilog.sums else None
        sums = self.temporary(total.matrix) if total and total.matrix.dtype != self.work else total
        self.activate(epilog.activation, d, bias, mask, sums)
        if epilog.mask and mask and not given and mask.matrix.dtype != auxiliary[epilog.mask].dtype:
            self._narrow(mask, auxiliary[epilog.mask].dtype, AUXILIARY_AMAX, AUXILIARY_SCALE)
            self.convert(mask, self.region(epilog.mask, auxiliary[epilog.mask]))
        if total and sums and sums is not total:
            self.convert(sums, total)

    def _operand_sums(self, name: str, total: Region) -> None:
        """The sums over k: of a's rows, or of b's columns."""
        operand = self.operand(name)
        operand = operand if name == "a" else operand._replace(matrix=operand.matrix.T)
        if self.problem.narrow is None or self.problem.narrow.blocks:
            self.row_sums(operand, total)
            return
        sums = self.temporary(total.matrix)
        self.row_sums(operand, sums)
        self.scale(sums, self.slot(scale_slot(name)))
        self.convert(sums, total)

    def finish(self, d: Region) -> None:
        """Bring the product to where the result is."""
        problem = self.problem
        if d.slot == self.slot("d"):
            return
        result = self.region("d", problem.d)
        narrow = problem.narrow
        if narrow is None or problem.d.dtype not in SCALED:
            self.convert(d, result)
            return
        self._narrow(d, problem.d.dtype, RESULT_AMAX, scale_slot("d"))
        if narrow.blocks:
            self.quantize(d, result, self.region(RESULT_SCALES, problem.auxiliary()[RESULT_SCALES]))
        else:
            self.convert(d, result)

    def _narrow(self, region: Region, dtype: str, amax: str, scale: str) -> None:
        """What is done to temporary memory before its numbers are brought into 8 or 4 bits, where the user wants it."""
        if amax in self.problem.auxiliary():
            self.largest(region, self.slot(amax))
        if dtype in SCALED and scale in self.problem.operand_names:
            self.scale(region, self.slot(scale))


def folded(problem: MatmulProblem) -> MatmulProblem:
    """The same products as fewer, larger ones: a batch that multiplies one and the same matrix is a taller matrix.

    Only where the batch continues the rows (of a and d) or the columns (of b and d) in memory, and no epilog tells the
    matrices of the batch apart. Scales of blocks do.
    """
    count = math.prod(problem.batch)
    if count == 1 or (problem.c is not None and not problem.inplace) or EPILOGS[problem.epilog].column_major:
        return problem
    if problem.narrow is not None and problem.narrow.blocks:
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
    fits = all(matrix.has_leading for matrix in (candidate.a, candidate.b, candidate.d))
    return candidate if fits else problem
