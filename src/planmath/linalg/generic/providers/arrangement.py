"""A generic product in BLAS's terms: by columns, one structured factor at most, each operand where BLAS can read it.

A row-major result is the transposed product of the transposed operands, so that every result is written by columns.
What is then still in the way of the routine (another order of the general operand, a conjugation that the routine does
not make, strides that are no leading dimension, a narrow dtype, a second structure) has a copy in temporary memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import planmath.linalg.product.structure_kernels as kernels
from planmath.core.arrays import ITEMSIZE
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.product.matrix import Matrix
from planmath.linalg.product.pipeline import Pipeline, Region
from planmath.linalg.product.structure import GENERAL, KINDS, Structure
from planmath.native.call import Slot


class Factor(NamedTuple):
    """A factor of a product: its elements, where they are, and what is known of it."""

    region: Region
    structure: Structure

    @property
    def T(self) -> Factor:
        transposed = self.region.matrix if self.structure.kind == "dg" else self.region.matrix.T
        return Factor(self.region._replace(matrix=transposed), self.structure.T)


class ProductPipeline(Pipeline):
    """Collects the calls of a generic product, as one whose result lies by columns.

    Parameters
    ----------
    problem : ProductProblem

    Attributes
    ----------
    left, right : Factor
        The factors in the order in which they are multiplied: exchanged and transposed where the result is row-major.
    result : Region
        Where the product is to be put: the result, or memory in its place that BLAS can write to.
    """

    def __init__(self, problem: ProductProblem):
        super().__init__(problem.numbers(), problem.batch, problem.work_dtype)
        self.problem = problem
        left, right = (Factor(self.region(name, getattr(problem, name).matrix), getattr(problem, name).structure)
                       for name in "ab")  # fmt: skip
        d = self.region("d", problem.d)
        self._target = d
        if problem.d.dtype != self.work or not problem.d.has_leading:
            d = self.temporary(problem.d)
        self.transposed = d.matrix.leading[0]
        if self.transposed:
            left, right, d = right.T, left.T, turned(d)
        self.left, self.right, self.result = left, right, d

    def finish(self) -> None:
        """Bring the result to where it belongs."""
        result = turned(self.result) if self.transposed else self.result
        if result.slot != self._target.slot:
            self.convert(result, self._target)

    @property
    def addend(self) -> Region | None:
        """c, as the result lies."""
        if self.problem.c is None:
            return None
        region = self.region("c", self.problem.c)
        return turned(region) if self.transposed else region

    def load_c(self) -> None:
        """Put c where the product will be added to it, unless beta is 0."""
        c = self.addend
        if c is not None and (c.slot, c.matrix) != (self.result.slot, self.result.matrix):
            self.convert(c, self.result, unless_zero=self.nonzero("beta"))

    def by_columns(self, factor: Factor) -> Region:
        """A general factor in the work dtype, not conjugated and by columns; a copy where it is otherwise."""
        matrix = factor.region.matrix
        if matrix.dtype == self.work and not matrix.conjugate and matrix.has_leading and not matrix.leading[0]:
            return factor.region
        return self.copied(factor.region)

    def readable(self, region: Region, *, conjugates: bool = False) -> Region:
        """A matrix in the work dtype where a routine can read it; a copy where it is otherwise.

        `conjugates` says whether the routine makes the conjugation of a matrix that is marked so.
        """
        matrix = region.matrix
        if matrix.dtype == self.work and matrix.has_leading and (conjugates or not matrix.conjugate):
            return region
        return self.copied(region)

    def copied(self, region: Region) -> Region:
        """A dense copy by columns in the work dtype, conjugated where the matrix is to be."""
        matrix = region.matrix
        target = self.temporary(matrix._replace(row=1, col=matrix.rows))
        self.convert(region, target, conjugate=matrix.conjugate)
        return target

    def expanded(self, factor: Factor) -> Factor:
        """All elements of a factor of which BLAS would read a triangle, or of a diagonal one, by columns."""
        structure = factor.structure
        source = self.staged(factor.region)
        s, n = source.matrix, source.matrix.rows
        target = self.temporary(s._replace(cols=n, row=1, col=n))
        t = target.matrix
        flags = kernels.CONJUGATE if factor.region.matrix.conjugate else 0
        if structure.kind == "dg":
            source, step = self._diagonal(Factor(source, structure))
            function, arguments = kernels.SPREAD, [flags, n, step, t.row, t.col]
        else:
            flags |= (kernels.UPPER if structure.upper else 0) | (kernels.UNIT if structure.unit else 0)
            function, arguments = kernels.EXPAND, [kernels.KIND[structure.kind], flags, n, s.row, s.col, t.row, t.col]
        self.call(function[self.work], "expansion", [*arguments, source.slot, target.slot], [source, target])
        return Factor(target, GENERAL)

    def one_structure(self) -> None:
        """Leave at most one structured factor: of two, one with a triangle of zeros or a diagonal stays as it is."""
        kinds = (self.left.structure.kind, self.right.structure.kind)
        if "ge" in kinds:
            return
        keeps_left = max(kinds, key=list(KINDS).index) == kinds[0]
        if keeps_left:
            self.right = self.expanded(self.right)
        else:
            self.left = self.expanded(self.left)

    def scale_by(self, factor: Factor, general: Region, *, left: bool) -> None:
        """result = alpha diag(x) g + beta c, or with the diagonal on the right, element by element."""
        x, step = self._diagonal(factor)
        alpha, beta = self.scalars()
        self._scale(alpha, x, step, self.staged(general), beta, left=left)

    def add_c(self, product: Region) -> None:
        """result = product + beta c, where the routine could not add c."""
        one = np.ones(1, self.work)
        constant = Region(Matrix(self.work, 1, 1, 1, 1), Slot(0))
        self._scale(constant, constant, 0, product, self.scalars()[1], constant=one)

    def _scale(
        self,
        alpha: Region,
        x: Region,
        step: int,
        general: Region,
        beta: Region,
        *,
        left: bool = True,
        constant: np.ndarray | None = None,
    ) -> None:
        """Element by element; with a `constant`, this is what alpha and x are."""
        c, d = self.addend, self.result
        if c is not None:
            c = self.staged(c)
        if not left:
            general, c, d = turned(general), turned(c) if c else None, turned(d)
        flags = (kernels.CONJUGATE_X if x.matrix.conjugate else 0) | (
            kernels.CONJUGATE_G if general.matrix.conjugate else 0
        )
        moving = [*([alpha] if constant is None else []), beta, *([x] if constant is None else []), general, c, d]
        address = None if constant is None else constant.ctypes.data
        arguments = [
            flags, d.matrix.rows, d.matrix.cols, step, general.matrix.row, general.matrix.col,
            *((c.matrix.row, c.matrix.col) if c else (0, 0)), d.matrix.row, d.matrix.col,
            address or alpha.slot, beta.slot, address or x.slot, general.slot, c.slot if c else 0, d.slot,
        ]  # fmt: skip
        self.call(
            kernels.SCALE[self.work], "scaling", arguments, [region for region in moving if region], keep=constant
        )

    def _diagonal(self, factor: Factor) -> tuple[Region, int]:
        """Where a diagonal's first element is, in the work dtype, and the step to the next in elements."""
        x = self.staged(factor.region)
        x = x._replace(matrix=x.matrix._replace(conjugate=factor.region.matrix.conjugate))
        if not factor.structure.backwards:
            return x, x.matrix.row
        offset = (x.matrix.rows - 1) * x.matrix.row * ITEMSIZE[self.work]
        return x._replace(slot=Slot(x.slot.operand, x.slot.offset + offset)), -x.matrix.row

    def scalars(self) -> tuple[Region, Region]:
        """alpha and beta."""
        single = Matrix(self.work, 1, 1, 1, 1)
        return Region(single, self.slot("alpha")), Region(single, self.slot("beta"))


def turned(region: Region) -> Region:
    """The transposed matrix in the same memory."""
    return region._replace(matrix=region.matrix.T)
