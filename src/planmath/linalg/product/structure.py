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

    @property
    def T(self) -> Structure:
        """That of the transposed matrix: the same memory with the roles of rows and columns exchanged."""
        return self._replace(upper=not self.upper) if self.kind in HALVES else self

    def __str__(self) -> str:
        triangle = ("upper" if self.upper else "lower",) if self.kind in HALVES else ()
        inverse = ("inverse of",) if self.inverse else ()
        return " ".join((*inverse, *(("unit",) if self.unit else ()), *triangle, KINDS[self.kind]))


GENERAL = Structure()


class Structured(NamedTuple):
    """A matrix, or a batch of them, in memory, and what is known of it.

    A diagonal one is stored as its diagonal: a column.
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
        return self if self.structure.kind == "dg" else Structured(self.matrix.T, self.structure.T)

    def __str__(self) -> str:
        conjugated = "conjugated " if self.matrix.conjugate else ""
        return f"{conjugated}{self.structure} ({self.rows}, {self.cols})"
