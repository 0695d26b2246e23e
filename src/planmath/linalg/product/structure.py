"""What is known of a matrix beside its elements: which of them are stored, and what the others are."""

from __future__ import annotations

from typing import NamedTuple

from planmath.linalg.product.matrix import Matrix

#: What matrices are, by the letters that BLAS has for them; those of a diagonal are planmath's own.
KINDS = {
    "ge": "general", "sy": "symmetric", "he": "Hermitian", "tr": "triangular", "dg": "diagonal",
}  # fmt: skip
#: Those of which one triangle is read.
HALVES = ("sy", "he", "tr")


class Structure(NamedTuple):
    """What is known of a matrix."""

    kind: str = "ge"
    upper: bool = False
    """Of symmetric, Hermitian and triangular ones: whether the upper triangle is the one that is read."""
    unit: bool = False
    """Whether ones stand on the diagonal of a triangular matrix, whatever is stored there."""
    backwards: bool = False
    """Whether a stored diagonal is read from its end."""
    inverse: bool = False
    """Whether a product has the inverse of a triangular matrix in its place."""
    storage: str = ""
    """Where elements are that are no matrix in memory: 'banded', in LAPACK's band storage, or 'packed', the columns of
    a triangle one behind the other."""
    below: int = 0
    """Of banded ones: how many diagonals are stored below the main one,"""
    above: int = 0
    """and above it."""
    turned: bool = False
    """Whether the matrix is the transpose of what is so stored."""

    @property
    def plain(self) -> bool:
        """Whether nothing is known."""
        return self.kind == "ge" and not self.storage

    @property
    def unpacked(self) -> Structure:
        """What is known of the stored matrix when it is one in memory."""
        return self._replace(storage="", below=0, above=0, turned=False)

    def turn(self, matrix: Matrix) -> Matrix:
        """The transposed matrix in the same memory."""
        return matrix if self.kind == "dg" or self.storage else matrix.T

    @property
    def T(self) -> Structure:
        """That of the transposed matrix: the same memory with the roles of rows and columns exchanged."""
        if self.storage:
            return self._replace(turned=not self.turned)
        return self._replace(upper=not self.upper) if self.kind in HALVES else self

    def __str__(self) -> str:
        triangle = ("upper" if self.upper else "lower",) if self.kind in HALVES else ()
        inverse = ("inverse of",) if self.inverse else ()
        storage = (self.storage,) if self.storage else ()
        return " ".join((*inverse, *(("unit",) if self.unit else ()), *triangle, *storage, KINDS[self.kind]))


GENERAL = Structure()


class Structured(NamedTuple):
    """A matrix, or a batch of them, in memory, and what is known of it.

    A diagonal one is stored as its diagonal: a column. Of banded ones the strides are those of the stored array, of
    packed ones `row` is the step from one element to the next.
    """

    matrix: Matrix
    structure: Structure = GENERAL

    @property
    def rows(self) -> int:
        return self.matrix.rows

    @property
    def cols(self) -> int:
        """Columns of the matrix that is meant, which of a diagonal one are not stored."""
        return self.matrix.rows if self.structure.kind == "dg" else self.matrix.cols

    @property
    def T(self) -> Structured:
        """The transposed matrix, in the same memory."""
        return Structured(self.structure.turn(self.matrix), self.structure.T)

    def __str__(self) -> str:
        conjugated = "conjugated " if self.matrix.conjugate else ""
        return f"{conjugated}{self.structure} ({self.rows}, {self.cols})"
