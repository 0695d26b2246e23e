"""A `MatmulProblem` as native calls: c loaded, the product, the epilog, the results."""

from __future__ import annotations

import math

from planmath.linalg.advanced.epilog import EPILOGS
from planmath.linalg.advanced.problem import MatmulProblem
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
        inputs = dict(zip(epilog.inputs, problem.inputs, strict=True))
        if epilog.sums in ("bgrada", "bgradb"):
            # the sums run over k: a's rows, or b's columns
            operand = self.region("a", problem.a) if epilog.sums == "bgrada" else self.region("b", problem.b.T)
            self.row_sums(self.staged(operand), self.region(epilog.sums, auxiliary[epilog.sums]))
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
            self.convert(mask, self.region(epilog.mask, auxiliary[epilog.mask]))
        if total and sums and sums is not total:
            self.convert(sums, total)


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
