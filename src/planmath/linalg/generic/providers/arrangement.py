"""A generic product in BLAS's terms: by columns, one structured factor at most, each operand where BLAS can read it.

A row-major result is the transposed product of the transposed operands, so that every result is written by columns.
What is then still in the way of the routine (another order of the general operand, a conjugation that the routine does
not make, strides that are no leading dimension, a narrow dtype, a second structure) has a copy in temporary memory.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import planmath.linalg.product.structure_kernels as kernels
from planmath.core.arrays import ITEMSIZE
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.product.matrix import Matrix
from planmath.linalg.product.pipeline import Pipeline, Region
from planmath.linalg.product.structure import GENERAL, KINDS, Structure
from planmath.native.call import Call, Slot

#: Rows and columns, at least, of the squares in which a triangle is mirrored; and how many are side by side, at most.
MIRRORED, MOST_MIRRORED = 64, 32


class Factor(NamedTuple):
    """A factor of a product: its elements, where they are, and what is known of it."""

    region: Region
    structure: Structure

    @property
    def T(self) -> Factor:
        return Factor(self.region._replace(matrix=self.structure.turn(self.region.matrix)), self.structure.T)


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

    #: whether what computes the product writes any dtype and strides
    any_result = False

    def __init__(self, problem: ProductProblem):
        super().__init__(problem.numbers(), problem.batch, self._work_of(problem))
        self.problem = problem
        left, right = (Factor(self.region(name, getattr(problem, name).matrix), getattr(problem, name).structure)
                       for name in "ab")  # fmt: skip
        d = self.region("d", problem.d)
        self._target = d
        if not self.any_result and (problem.d.dtype != self.work or not problem.d.has_leading):
            d = self.temporary(problem.d)
        self.transposed = d.matrix.leading[0]
        if self.transposed:
            left, right, d = right.T, left.T, turned(d)
        self.left, self.right, self.result = left, right, d

    def _work_of(self, problem: ProductProblem) -> str:
        """The dtype of what a routine reads and writes."""
        return problem.work_dtype

    def nonzero(self, scalar: str) -> tuple[Slot, str]:
        return self.slot(scalar), self.problem.work_dtype

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
        structure, source = factor.structure, self.staged(factor.region)
        n, steps = source.matrix.rows, (source.matrix.row, source.matrix.col)
        target = self.temporary(source.matrix._replace(cols=n, row=1, col=n))
        if structure.kind == "dg":
            source, step = self._diagonal(Factor(source, structure))
            steps = step, 0
        source = source._replace(matrix=source.matrix._replace(row=steps[0], col=steps[1]))
        self.expand(structure, source, target, conjugate=factor.region.matrix.conjugate)
        return Factor(target, GENERAL)

    def unpack(self) -> None:
        """Bring factors in packed or band storage to matrices in temporary memory."""
        self.left, self.right = (self.unpacked(f) if f.structure.storage else f for f in (self.left, self.right))

    def unpacked(self, factor: Factor) -> Factor:
        structure, source = factor.structure, factor.region
        n, step, col = source.matrix.rows, source.matrix.row, source.matrix.col
        target = self.temporary(source.matrix._replace(row=1, col=n), source.matrix.dtype)
        size = ITEMSIZE[source.matrix.dtype]
        if structure.storage == "packed":
            function, arguments = kernels.UNPACK, [int(structure.upper), n, step]
        else:
            reach = [n - 1, n - 1] if structure.kind == "ge" else [0, n - 1] if structure.upper else [n - 1, 0]
            function, arguments = kernels.UNBAND, [n, structure.below, structure.above, *reach, step, col]
        self.call(function[size], "expansion", [*arguments, source.slot, target.slot], [source, target])
        matrix = target.matrix._replace(conjugate=source.matrix.conjugate)
        found = Factor(target._replace(matrix=matrix), structure.unpacked)
        return found.T if structure.turned else found

    def one_structure(self) -> None:
        """Leave at most one structured factor: of two, one with a triangle of zeros or a diagonal stays as it is."""
        self.unpack()
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
        general, c, d = self.staged(general), self.addend, self.result
        c = self.staged(c) if c else None
        if not left:
            general, c, d = turned(general), turned(c) if c else None, turned(d)
        self.combine(x, step, general, c, d)

    def add_c(self, product: Region) -> None:
        """result = product + beta c, where the routine could not add c."""
        assert self.addend is not None
        self.combine(None, 0, product, self.staged(self.addend), self.result)

    # What is done element by element.

    def expand(self, structure: Structure, source: Region, target: Region, *, conjugate: bool) -> None:
        """All elements of matrices with a structure."""
        s, t = source.matrix, target.matrix
        flags = kernels.CONJUGATE if conjugate else 0
        if structure.kind == "dg":
            function, arguments = kernels.SPREAD, [flags, t.rows, s.row, t.row, t.col]
        else:
            flags |= (kernels.UPPER if structure.upper else 0) | (kernels.UNIT if structure.unit else 0)
            kind = kernels.KIND[structure.kind]
            function, arguments = kernels.EXPAND, [kind, flags, t.rows, s.row, s.col, t.row, t.col]
        self.call(function[self.work], "expansion", [*arguments, source.slot, target.slot], [source, target])

    def decide(self, left: Region, right: Region) -> list[tuple[Slot, str]]:
        """Numbers of which one is not 0: where the factors are one matrix still, where not, and where alpha is 0."""
        size, parts = ITEMSIZE[self.work], 2 if self.work.startswith("complex") else 1
        flags = self.reserve(3 * 8)
        arguments = [size // parts, parts, int(self.problem.twice == "he"), self.slot("alpha"), self.slot("beta"),
                     left.slot, right.slot, flags]  # fmt: skip
        self.calls.append(Call(kernels.DECIDE, arguments, name="comparison of addresses"))
        return [(flags._replace(offset=flags.offset + 8 * i), "float64") for i in range(3)]

    def mirror(self, structure: Structure, d: Region, *, conjugate: bool = False) -> None:
        """Replace one triangle by the mirror image of the other, which lies below the diagonal of d by columns, and
        conjugate both where that is asked for.

        By squares, of which what is read and what is written fit into the cache.
        """
        n = d.matrix.rows
        side = max(MIRRORED, -(-n // MOST_MIRRORED))
        edges = [*range(0, n, side), n]
        squares = list(pairwise(edges))
        for column, (first, last) in enumerate(squares):
            diagonal = part(d, first, last, first, last)
            self.expand(structure, diagonal, diagonal, conjugate=conjugate)
            for begin, end in squares[column + 1 :]:
                below, above = part(d, begin, end, first, last), part(d, first, last, begin, end)
                self.convert(turned(below), above, conjugate=(structure.kind == "he") != conjugate)
                if conjugate:
                    self.convert(below, below, conjugate=True)

    def combine(self, x: Region | None, step: int, general: Region, c: Region | None, d: Region) -> None:
        """d = alpha diag(x) g + beta c; without x, alpha is 1 as well."""
        alpha, beta = self.scalars()
        one = np.ones(1, self.work)
        factors: list[Any] = [one.ctypes.data] * 2 if x is None else [alpha.slot, x.slot]
        flags = (kernels.CONJUGATE_X if x and x.matrix.conjugate else 0) | (
            kernels.CONJUGATE_G if general.matrix.conjugate else 0
        )
        arguments = [
            flags, d.matrix.rows, d.matrix.cols, step, general.matrix.row, general.matrix.col,
            *((c.matrix.row, c.matrix.col) if c else (0, 0)), d.matrix.row, d.matrix.col,
            factors[0], beta.slot, factors[1], general.slot, c.slot if c else 0, d.slot,
        ]  # fmt: skip
        moving = [beta, general, c, d] if x is None else [alpha, beta, x, general, c, d]
        self.call(kernels.SCALE[self.work], "scaling", arguments, [region for region in moving if region], keep=one)

    def _diagonal(self, factor: Factor) -> tuple[Region, int]:
        """Where a diagonal's first element is, in the work dtype, and the step to the next in elements."""
        x = self.staged(factor.region)
        x = x._replace(matrix=x.matrix._replace(conjugate=factor.region.matrix.conjugate))
        if not factor.structure.backwards:
            return x, x.matrix.row
        offset = (x.matrix.rows - 1) * x.matrix.row * ITEMSIZE[x.matrix.dtype]
        return x._replace(slot=Slot(x.slot.operand, x.slot.offset + offset)), -x.matrix.row

    def scalars(self) -> tuple[Region, Region]:
        """alpha and beta."""
        single = Matrix(self.problem.work_dtype, 1, 1, 1, 1)
        return Region(single, self.slot("alpha")), Region(single, self.slot("beta"))


def turned(region: Region) -> Region:
    """The transposed matrix in the same memory."""
    return region._replace(matrix=region.matrix.T)


def part(region: Region, row: int, last_row: int, col: int, last_col: int) -> Region:
    """Some rows and columns of a matrix."""
    m = region.matrix
    offset = region.slot.offset + (row * m.row + col * m.col) * ITEMSIZE[m.dtype]
    matrix = m._replace(rows=last_row - row, cols=last_col - col)
    return Region(matrix, region.slot._replace(offset=offset))
