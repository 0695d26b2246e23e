"""What users say about the matrices of a generic product: arrays with one element for each operand."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import numpy as np

from planmath.linalg.generic.enums import DiagType, FillMode
from planmath.linalg.product.structure import GENERAL, HALVES, KINDS, Structure

#: Element type of the `qualifiers` array: one element for each of a, b and, where it is given, c.
matrix_qualifiers_dtype = np.dtype(
    [("abbreviation", "<U2"), ("conjugate", "?"), ("uplo", "<i8"), ("diag", "<i8"), ("incx", "<i8")]
)

#: What the letters of an element stand for: the kind of the matrix, and how it is stored. Those of BLAS.
ABBREVIATIONS = {kind: (kind, "") for kind in KINDS} | {
    "gb": ("ge", "banded"), "sb": ("sy", "banded"), "hb": ("he", "banded"), "tb": ("tr", "banded"),
    "sp": ("sy", "packed"), "hp": ("he", "packed"), "tp": ("tr", "packed"),
}  # fmt: skip

#: What a result can be said to be.
RESULTS = ("ge", "sy", "he")

#: An array of `matrix_qualifiers_dtype`.
MatrixQualifier: TypeAlias = np.ndarray


class _Qualifier:
    """Makes and recognizes the qualifiers of one kind of matrix; there are no objects of it."""

    abbreviation: ClassVar[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"{cls.__name__} has no objects; {cls.__name__}.create() makes a qualifier")

    @classmethod
    def is_valid(cls, other: Any) -> np.bool_:
        """Whether all elements of an array of qualifiers are of this kind.

        Parameters
        ----------
        other : numpy.ndarray
            Of `matrix_qualifiers_dtype`.
        """
        return np.all(_checked(other)["abbreviation"] == cls.abbreviation)

    @classmethod
    def to_string(cls, other: Any) -> str:
        """One line about a qualifier of this kind, for people.

        Parameters
        ----------
        other : numpy.ndarray
            One element of `matrix_qualifiers_dtype`.
        """
        element = _checked(other)
        if element.shape != () or not cls.is_valid(element):
            raise ValueError(f"other is {other!r}; expected one qualifier that {cls.__name__}.create() made")
        conjugated = ", conjugated" if element["conjugate"] else ""
        backwards = ", read backwards" if element["incx"] == -1 else ""
        return f"{structure_of(element)}{conjugated}{backwards}"


def _checked(qualifiers: Any) -> np.ndarray:
    array = np.asarray(qualifiers)
    if array.dtype != matrix_qualifiers_dtype:
        raise ValueError(f"a qualifier has the dtype {array.dtype}; expected matrix_qualifiers_dtype")
    return array


def _element(
    abbreviation: str, conjugate: Any, uplo: int = FillMode.FULL, diag: int = DiagType.NON_UNIT, incx: int = 0
) -> np.ndarray:
    return np.array((abbreviation, bool(conjugate), int(uplo), int(diag), incx), dtype=matrix_qualifiers_dtype)


def _triangle(uplo: Any) -> FillMode:
    if uplo not in (FillMode.LOWER, FillMode.UPPER):
        raise ValueError(f"uplo is {uplo!r}; expected FillMode.LOWER or FillMode.UPPER, the triangle that is stored")
    return FillMode(uplo)


class GeneralMatrixQualifier(_Qualifier):
    """Matrices of which nothing is known."""

    abbreviation = "ge"

    @classmethod
    def create(cls, conjugate: bool = False) -> np.ndarray:
        """A qualifier.

        Parameters
        ----------
        conjugate : bool
            Whether the product takes the complex conjugate of the operand.

        Examples
        --------
        >>> GeneralMatrixQualifier.to_string(GeneralMatrixQualifier.create(conjugate=True))
        'general, conjugated'
        """
        return _element(cls.abbreviation, conjugate)


class SymmetricMatrixQualifier(_Qualifier):
    """Symmetric matrices, of which one triangle is read."""

    abbreviation = "sy"

    @classmethod
    def create(cls, conjugate: bool = False, uplo: FillMode = FillMode.LOWER) -> np.ndarray:
        """A qualifier.

        Parameters
        ----------
        conjugate : bool
            Whether the product takes the complex conjugate of the operand.
        uplo : FillMode
            The triangle that is read.

        Examples
        --------
        >>> SymmetricMatrixQualifier.to_string(SymmetricMatrixQualifier.create(uplo=FillMode.UPPER))
        'upper symmetric'
        """
        return _element(cls.abbreviation, conjugate, _triangle(uplo))


class HermitianMatrixQualifier(_Qualifier):
    """Hermitian matrices, of which one triangle is read, and the real part of the diagonal."""

    abbreviation = "he"

    @classmethod
    def create(cls, conjugate: bool = False, uplo: FillMode = FillMode.LOWER) -> np.ndarray:
        """A qualifier, with the parameters of `SymmetricMatrixQualifier.create`."""
        return _element(cls.abbreviation, conjugate, _triangle(uplo))


class TriangularMatrixQualifier(_Qualifier):
    """Triangular matrices, of which the other triangle is zero, whatever is stored there."""

    abbreviation = "tr"

    @classmethod
    def create(
        cls, conjugate: bool = False, uplo: FillMode = FillMode.LOWER, diag: DiagType = DiagType.NON_UNIT
    ) -> np.ndarray:
        """A qualifier.

        Parameters
        ----------
        conjugate : bool
            Whether the product takes the complex conjugate of the operand.
        uplo : FillMode
            The triangle that is read.
        diag : DiagType
            Whether the diagonal is read, or consists of ones.

        Examples
        --------
        >>> TriangularMatrixQualifier.to_string(TriangularMatrixQualifier.create(diag=DiagType.UNIT))
        'unit lower triangular'
        """
        if diag not in (DiagType.NON_UNIT, DiagType.UNIT):
            raise ValueError(f"diag is {diag!r}; expected DiagType.NON_UNIT or DiagType.UNIT")
        return _element(cls.abbreviation, conjugate, _triangle(uplo), diag)


class DiagonalMatrixQualifier(_Qualifier):
    """Diagonal matrices, each given as its diagonal: a vector of n elements stands for n rows and columns."""

    abbreviation = "dg"

    @classmethod
    def create(cls, conjugate: bool = False, incx: int = 1) -> np.ndarray:
        """A qualifier.

        Parameters
        ----------
        conjugate : bool
            Whether the product takes the complex conjugate of the operand.
        incx : {1, -1}
            Whether the vector is read forwards or backwards.

        Examples
        --------
        >>> DiagonalMatrixQualifier.to_string(DiagonalMatrixQualifier.create(incx=-1))
        'diagonal, read backwards'
        """
        if incx not in (1, -1):
            raise ValueError(f"incx is {incx!r}; expected 1, or -1 to read the diagonal backwards")
        return _element(cls.abbreviation, conjugate, incx=int(incx))


class BandedMatrixQualifier(_Qualifier):
    """Square matrices with elements near the diagonal alone, in LAPACK's band storage.

    The operand has a row for each diagonal, the uppermost first, so that element (i, j) is in row ``above + i - j`` of
    column j, where `above` is the number of rows less `below` and 1.
    """

    abbreviation = "gb"

    @classmethod
    def create(cls, below: int, conjugate: bool = False) -> np.ndarray:
        """A qualifier.

        Parameters
        ----------
        below : int
            How many diagonals there are below the main one; the others are that and those above it.
        conjugate : bool
            Whether the product takes the complex conjugate of the operand.

        Examples
        --------
        >>> BandedMatrixQualifier.to_string(BandedMatrixQualifier.create(below=1))
        'banded general'
        """
        if isinstance(below, bool) or not isinstance(below, (int, np.integer)) or below < 0:
            raise ValueError(f"below is {below!r}; expected how many diagonals there are below the main one, from 0 on")
        return _element(cls.abbreviation, conjugate, incx=int(below))


class SymmetricBandedMatrixQualifier(SymmetricMatrixQualifier):
    """Symmetric matrices of which the diagonals of one triangle are stored, as those of `BandedMatrixQualifier`."""

    abbreviation = "sb"


class HermitianBandedMatrixQualifier(HermitianMatrixQualifier):
    """Hermitian matrices of which the diagonals of one triangle are stored, as those of `BandedMatrixQualifier`."""

    abbreviation = "hb"


class TriangularBandedMatrixQualifier(TriangularMatrixQualifier):
    """Triangular matrices whose diagonals are stored, as those of `BandedMatrixQualifier`."""

    abbreviation = "tb"


class SymmetricPackedMatrixQualifier(SymmetricMatrixQualifier):
    """Symmetric matrices of which one triangle is stored, its columns one behind the other: n (n + 1) / 2 elements."""

    abbreviation = "sp"


class HermitianPackedMatrixQualifier(HermitianMatrixQualifier):
    """Hermitian matrices of which one triangle is stored, its columns one behind the other: n (n + 1) / 2 elements."""

    abbreviation = "hp"


class TriangularPackedMatrixQualifier(TriangularMatrixQualifier):
    """Triangular matrices whose triangle is stored, its columns one behind the other: n (n + 1) / 2 elements."""

    abbreviation = "tp"


def structure_of(element: np.ndarray) -> Structure:
    """The structure that one qualifier stands for."""
    kind, storage = ABBREVIATIONS[str(element["abbreviation"])]
    if kind == "ge":
        return GENERAL if not storage else Structure(kind, storage=storage, below=int(element["incx"]))
    if kind == "dg":
        return Structure(kind, backwards=int(element["incx"]) == -1)
    unit = kind == "tr" and int(element["diag"]) == DiagType.UNIT
    return Structure(kind, int(element["uplo"]) == FillMode.UPPER, unit, storage=storage)


def check_qualifier(name: str, element: np.ndarray) -> None:
    """Raise where an element for an operand is none that a `create` returns."""
    abbreviation = str(element["abbreviation"])
    if abbreviation not in ABBREVIATIONS:
        raise ValueError(
            f"qualifiers has the kind {abbreviation!r} for {name}; expected one of {', '.join(ABBREVIATIONS)}: assign "
            "what GeneralMatrixQualifier.create() or another qualifier's returns"
        )
    kind, _ = ABBREVIATIONS[abbreviation]
    fits = {
        "uplo": (kind not in HALVES or element["uplo"] in (0, 1), "0 (lower) or 1 (upper)"),
        "diag": (kind != "tr" or element["diag"] in (0, 1), "0 (as it is stored) or 1 (ones)"),
        "incx": (kind != "dg" or element["incx"] in (1, -1), "1, or -1 for a diagonal that is read backwards"),
    }
    if abbreviation == "gb":
        fits["incx"] = bool(element["incx"] >= 0), "how many diagonals there are below the main one, from 0 on"
    for field, (is_fine, expected) in fits.items():
        if not is_fine:
            raise ValueError(f"qualifiers has the {field} {element[field]} for {name}; expected {expected}")


def as_qualifiers(qualifiers: Any, with_c: bool) -> np.ndarray:
    """The qualifiers of a and b, and of the result where that is given, that a user's argument stands for.

    Raises
    ------
    ValueError
        If it is not an array of two elements, or three for a, b and c, or one of them does not exist.
    """
    if qualifiers is None:
        return np.full(2, GeneralMatrixQualifier.create(), dtype=matrix_qualifiers_dtype)
    given = np.asarray(qualifiers)
    lengths = (3,) if with_c else (2, 3)
    if given.dtype != matrix_qualifiers_dtype or given.ndim != 1 or len(given) not in lengths:
        expected = "three elements, for a, b and c" if with_c else "two elements, for a and b"
        raise ValueError(
            f"qualifiers has the dtype {given.dtype} and the shape {given.shape}; expected an array of "
            f"matrix_qualifiers_dtype with {expected}: numpy.full({lengths[0]}, GeneralMatrixQualifier.create(), "
            "dtype=matrix_qualifiers_dtype) makes one"
        )
    for name, element in zip("abc", given, strict=False):
        check_qualifier(name, element)
    if len(given) == 3 and (str(given[2]["abbreviation"]) not in RESULTS or given[2]["conjugate"]):
        raise ValueError(
            "qualifiers says that c is triangular, diagonal or conjugated; the result, and c with it, may be general, "
            "symmetric or Hermitian: set the third element to GeneralMatrixQualifier.create()"
        )
    return given.copy()
