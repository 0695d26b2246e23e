"""Formats: the rules, their maps, equality and text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from planmath.sparse.ust import (
    Dimension,
    LevelExpr,
    LevelFormat,
    LevelProperty,
    NamedFormats,
    TensorFormat,
    is_ordered,
    is_unique,
)

i, j, k = (Dimension(dimension_name=name) for name in "ijk")
D, B, C, S = LevelFormat.DENSE, LevelFormat.BATCH, LevelFormat.COMPRESSED, LevelFormat.SINGLETON
R, DELTA, STRUCTURED = LevelFormat.RANGE, LevelFormat.DELTA, LevelFormat.STRUCTURED
U, NU, OR, UO = LevelProperty
N = NamedFormats

#: What is no format: dimensions, levels, and words of the message.
REFUSED: list[tuple[Any, Any, str]] = [
    ("ij", {i: D}, "list or tuple of Dimension"),
    ([i, i], {i: D}, "repeated"),
    ([i], [(i, D)], "a list; expected a dict"),
    ([i], {"i": D}, "'i'"),
    ([i], {i: D, j: D}, "j is none of its dimensions"),
    ([i, j], {i: D}, "no level has the dimension j"),
    ([i, j], {(i + j) // 2: D, i: R}, "nested"),
    ([i], {i + 1: D}, "of two dimensions"),
    ([i], {i - i: C}, "twice"),
    ([i], {i // 0: D, i % 0: D}, "positive int"),
    ([i, j], {i // j: D, j: D}, "positive int"),
    ([i], {i // 2: D, i // 3: D, i % 2: D}, "divided twice"),
    ([i], {i // 2: D}, "not followed"),
    ([i], {i % 2: D, i // 2: D}, "does not follow"),
    ([i], {i // 2: D, i % 3: D}, "does not follow"),
    ([i, j], {j - i: C, i: D}, "RANGE level below"),
    ([i, j], {i: R, j - i: C}, "RANGE"),
    ([i, j], {j - i: R, i: R}, "for a dimension alone"),
    ([i, j], {i: R, j: D}, "no sum or difference"),
    ([i, j, k], {i + j: C, i: R, i + k: C}, "two sums"),
    ([i, j], {j - i: C, i: R, j: D}, "where both"),
    ([i], {i: D, i // 2: D, i % 2: D}, "both divided and a level of its own"),
    ([i, j], {i: D, j: B}, "front"),
    ([i, j, k], {j: B, i: B, k: D}, "front"),
    ([i, j], {i: B, j: C}, "followed by a DENSE"),
    ([i], {i: "dense"}, "LevelFormat"),
    ([i], {i: (C, "unique")}, "LevelProperty"),
    ([i], {i: (C, [U, NU])}, "UNIQUE and NONUNIQUE"),
    ([i], {i: (C, [OR, UO])}, "ORDERED and UNORDERED"),
    ([i], {i: DELTA}, "positive int, the bits"),
    ([i], {i: (STRUCTURED, 0)}, "positive int, the entries"),
    ([i], {i // 2: D, i % 2: (STRUCTURED, 3)}, "more than a strip has"),
]


@pytest.mark.parametrize(("dimensions", "levels", "words"), REFUSED, ids=lambda x: x if isinstance(x, str) else None)
def test_what_is_no_format(dimensions: Any, levels: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        TensorFormat(dimensions, levels)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: TensorFormat([i], {i: (C, U, OR)}), ValueError),
        (lambda: TensorFormat([i], {i: D}, name=3), TypeError),  # type: ignore[arg-type]
        (lambda: Dimension(dimension_name=1), TypeError),  # type: ignore[arg-type]
        (lambda: 1 + i, TypeError),  # type: ignore[operator]
        (lambda: i * 2, TypeError),  # type: ignore[operator]
        (lambda: i + "j", TypeError),
        (lambda: LevelExpr(expression1=1, operator=(i + j).operator, expression2=j), TypeError),
        (lambda: LevelExpr(expression1=i, operator="+", expression2=j), TypeError),
        (lambda: N.DELTA(0), ValueError),
        (lambda: N.Structured(3, 2), ValueError),
        (lambda: N.Structured(0, 2), ValueError),
        (lambda: N.BSRRight((2,)), ValueError),
        (lambda: N.BSRRight((2, 3)).dim2lvl([5, 6], as_size=True), NotImplementedError),
        (lambda: N.CSR.dim2lvl([1]), ValueError),
        (lambda: N.CSR.lvl2dim([1, 2, 3]), ValueError),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


def test_properties() -> None:
    assert [is_ordered(p) for p in (None, UO, [U, UO], 3, NU)] == [True, False, False, True, True]
    assert (is_unique(None), is_unique(NU), is_unique((NU, OR)), is_unique(UO)) == (True, False, False, True)
    assert (N.COO.is_unique, N.Scalar.is_unique, N.CSR.is_identity, N.CSC.is_identity) == (True, False, True, False)
    assert not TensorFormat([i], {i: (C, UO)}).is_ordered
    assert (repr(D), str(D), repr(NU)) == ("<LevelFormat.DENSE>", "0", "<LevelProperty.NONUNIQUE>")


def every() -> list[TensorFormat]:
    fixed = [value for value in vars(N).values() if isinstance(value, TensorFormat)]
    return [
        *fixed, N.BlockVector(3), N.BSRRight((2, 3)), N.BSRLeft((2, 3)), N.BSCRight((2, 3)), N.BSCLeft((2, 3)),
        N.BSR3((2, 3, 4)), N.DELTA(3), N.Structured(2, 4), N.DensedRight(3), N.DensedLeft(3), N.COOd(1), N.COOd(3),
        N.COOd(2, 1), N.CSRd(1, 1), N.CSCd(2), N.BSRRightd((2, 2), 1, 1), N.BSCRightd((2, 2), 1), N.CSFd(4),
    ]  # fmt: skip


@pytest.mark.parametrize("form", every(), ids=lambda f: f.name[:30])
def test_indices_there_and_back(form: TensorFormat) -> None:
    extents = [12, 24, 36, 48][: form.num_dimensions]
    indices = [np.arange(5) % n for n in extents]
    back = form.lvl2dim(form.dim2lvl(indices))
    for given, found in zip(indices, back, strict=True):
        np.testing.assert_array_equal(found, given)
    sizes = form.dim2lvl(extents, as_size=True)
    assert len(sizes) == form.num_levels
    again = TensorFormat.parse(str(form), name="another")
    assert again == form
    assert hash(again) == hash(form)


def test_structure_not_names() -> None:
    different = {form.key for form in every()}
    same = [N.DensedRight(2), N.CSRd(), N.CSCd(), N.COOd(2), N.CSFd(1), N.CSFd(2)]
    assert {form.key for form in same} <= different
    assert len(different) == len(every()) - 1  # COO1 is a SparseVector
    assert TensorFormat([j, i], {j: D, i: C}, name="CSC") == N.CSR
    assert TensorFormat([i, j], {j: D, i: C}, name="CSR") != N.CSR
    half = i // 2
    assert half == i // 2
    assert i // 2 != j // 2
    assert Dimension(dimension_name="i") != i


UNREADABLE = (
    "", "[i] -> (i: dense", "[i] -> (j: dense)", "[i] -> (i: thick)", "[i] -> (i: dense) x", "[i] -> (2 + i: dense)",
    "[i] -> (i; dense)",
)  # fmt: skip


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        TensorFormat.parse(text)


def test_names() -> None:
    assert [f.name for f in (N.CSRd(0, 1), N.CSRd(1), N.CSRd(1, 1), N.BSCRight((2, 3)), N.BSCLeft((2, 3)))] == [
        "CSR-d1", "CSR-b1", "CSR-b1-d1", "BSCRow2x3", "BSCCol2x3",
    ]  # fmt: skip
    assert N.BSRRight((2, 2)).dim2lvl([2, 1]) == [1, 0, 0, 1]
    assert N.DIAI.dim2lvl([6, 8], as_size=True) == [13, 6]
