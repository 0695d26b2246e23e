"""From a user's arguments to the specification of dense systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import Layout, contiguous_strides, overlaps_itself, package_of
from planmath.core.errors import nearest
from planmath.core.factorization import names, result_layout
from planmath.linalg.generic.qualifiers import (
    GeneralMatrixQualifier,
    check_qualifier,
    matrix_qualifiers_dtype,
    structure_of,
)
from planmath.linalg.product.matrix import Matrix
from planmath.linalg.solver.problem import (
    BANDS,
    KINDS,
    MIXED,
    RECTANGULAR,
    SINGLE,
    DenseProblem,
    Form,
    LinearSystem,
    may_be_mixed,
)

#: What operands may be of.
DTYPES = ("float32", "float64", "complex64", "complex128")
STRUCTURES = (None, "auto", "positive definite", "least squares")
#: What else a matrix may be, and how that is said.
SAID_OTHERWISE = {
    "general": "no structure and no qualifiers",
    **{name: f"qualifiers={name.capitalize()}MatrixQualifier.create()" for name in (
        "symmetric", "hermitian", "triangular", "diagonal",
    )},
    "banded": "bandwidths=(below, above), for a matrix in LAPACK's band storage",
    "tridiagonal": "bandwidths=(1, 1), for a matrix in LAPACK's band storage",
}  # fmt: skip


class Operands(NamedTuple):
    """The arrays of a and b, and whether they came as sequences."""

    a: tuple[Any, ...]
    b: tuple[Any, ...]
    explicit: tuple[bool, bool]

    @property
    def named(self) -> list[tuple[str, Any]]:
        titles = [*names("a", len(self.a), self.explicit[0]), *names("b", len(self.b), self.explicit[1])]
        return list(zip(titles, (*self.a, *self.b), strict=True))


class Specification(NamedTuple):
    """What operands describe."""

    systems: tuple[LinearSystem, ...]
    x: list[Layout]
    batch: tuple[int, ...] | None
    """None for one system."""


def as_operands(a: Any, b: Any) -> Operands:
    """The arrays of a and b. Raises where a sequence is empty."""
    found = []
    for name, given in (("a", a), ("b", b)):
        if isinstance(given, list | tuple):
            if not given:
                raise ValueError(f"{name} is an empty {type(given).__name__}; expected at least one array")
            found.append(tuple(given))
        else:
            found.append((given,))
    explicit = isinstance(a, list | tuple), isinstance(b, list | tuple)
    return Operands(found[0], found[1], explicit)


def layouts_of(operands: Operands) -> dict[str, Layout]:
    """The layout of each array. Raises where they do not belong together, or are of a dtype that has no solver."""
    found: dict[str, Layout] = {}
    first: Any = None
    for name, array in operands.named:
        package = package_of(array, name)
        first = first or (name, package, package.layout(array, name))
        layout = package.layout(array, name)
        if package is not first[1]:
            raise TypeError(
                f"{name} is a {package.name} array and {first[0]} a {first[1].name} one; all operands must belong to "
                "the same package"
            )
        if layout.dtype not in DTYPES:
            raise ValueError(f"{name} has the dtype {layout.dtype}; {nearest(layout.dtype, DTYPES)}: convert it")
        if layout.dtype != first[2].dtype:
            raise ValueError(
                f"{name} has the dtype {layout.dtype} and {first[0]} {first[2].dtype}; expected equal ones: convert one"
            )
        if layout.device_id != first[2].device_id:
            raise ValueError(f"{name} and {first[0]} are in different places; move all operands to the same one")
        if not layout.shape or 0 in layout.shape:
            raise ValueError(f"{name} has the shape {layout.shape}; expected at least one axis, and no extent of 0")
        found[name] = layout
    return found


def form_of(
    qualifiers: Any, structure: str | None, bandwidths: Any, dtype: str
) -> tuple[Form, bool, bool, bool]:  # fmt: skip
    """What the matrices are said to be, whether that is to be found out, whether they are conjugated, and whether a
    diagonal is read backwards."""
    if not (structure is None or isinstance(structure, str)) or structure not in STRUCTURES:
        otherwise = SAID_OTHERWISE.get(structure.lower()) if isinstance(structure, str) else None
        mend = f": that is said by {otherwise} instead" if otherwise else ""
        raise ValueError(f"structure is {structure!r}; expected one of {', '.join(map(repr, STRUCTURES))}{mend}")
    element = _element(qualifiers)
    known, conjugate = structure_of(element), bool(element["conjugate"])
    is_complex = dtype.startswith("complex")
    if conjugate and not is_complex:
        raise ValueError(f"qualifiers conjugates a, which is {dtype}; only complex operands can be: leave it away")
    kind = "sy" if known.kind == "he" and not is_complex else known.kind
    form = Form(kind, known.upper, known.unit)
    if bandwidths is not None:
        form = _banded(bandwidths, form, structure)
    if structure == "auto" and form.kind != "ge":
        raise ValueError(f"structure is 'auto', and a is said to be {form}; leave one of the two away")
    if structure == "least squares":
        if form.kind != "ge":
            raise ValueError(f"structure is 'least squares', and a is said to be {form}; leave one of the two away")
        form = Form("rr")
    if structure == "positive definite":
        if form.kind not in ("ge", "sy", "he", "pb") or (form.kind == "sy" and is_complex):
            raise ValueError(
                f"structure is 'positive definite', and qualifiers says that a is {form}; expected a "
                f"{'Hermitian' if is_complex else 'symmetric'} one: pass a HermitianMatrixQualifier, or no qualifiers"
            )
        form = form if form.kind == "pb" else Form("po", form.upper)
    return form, structure == "auto", conjugate, known.backwards


def _element(qualifiers: Any) -> np.ndarray:
    """The one qualifier that a user's argument stands for."""
    if qualifiers is None:
        return GeneralMatrixQualifier.create()
    given = np.asarray(qualifiers)
    if given.dtype != matrix_qualifiers_dtype or given.size != 1:
        raise ValueError(
            f"qualifiers has the dtype {given.dtype} and the shape {given.shape}; expected one element of "
            "matrix_qualifiers_dtype, for a: what SymmetricMatrixQualifier.create() or another qualifier's returns"
        )
    element = given.reshape(())
    check_qualifier("a", element)
    kind = str(element["abbreviation"])
    if kind not in ("ge", "sy", "he", "tr", "dg"):
        raise ValueError(
            f"qualifiers has the kind {kind!r}; expected one of 'ge', 'sy', 'he', 'tr', 'dg', what a qualifier's "
            "create() returns: for banded matrices pass bandwidths, and unpack packed ones"
        )
    return element


def _banded(bandwidths: Any, form: Form, structure: str | None) -> Form:
    if form.kind != "ge":
        raise ValueError(f"bandwidths is given, and qualifiers says that a is {form}; leave one of the two away")
    whole = isinstance(bandwidths, list | tuple) and len(bandwidths) == 2
    if not whole or not all(isinstance(n, int | np.integer) and n >= 0 for n in bandwidths):
        raise ValueError(
            f"bandwidths is {bandwidths!r}; expected two integers: the diagonals below the main one, and those above it"
        )
    below, above = map(int, bandwidths)
    if structure == "positive definite":
        if below and above:
            raise ValueError(
                f"bandwidths is {bandwidths!r}, and structure 'positive definite'; of such a matrix one triangle is "
                f"stored: pass ({below}, 0) with the diagonals from the main one down, or (0, {above})"
            )
        return Form("pb", above > 0, False, below, above)
    return Form("gt" if below == above == 1 else "gb", False, False, below, above)


def specify(
    operands: Operands, layouts: dict[str, Layout], form: Form, conjugate: bool, backwards: bool,
    inplace: tuple[bool, bool],
) -> tuple[Specification, Form]:  # fmt: skip
    """The systems that arrays describe, and what their matrices are.

    Raises
    ------
    ValueError
        If they do not describe systems.
    """
    a_names = names("a", len(operands.a), operands.explicit[0])
    b_names = names("b", len(operands.b), operands.explicit[1])
    matrices = [_matrix(name, layouts[name], form, conjugate, backwards) for name in a_names]
    rectangular = any(matrix.rows != matrix.cols for matrix, _, _ in matrices)
    if rectangular and form.kind != "rr":
        if form.kind != "ge":
            name, shape = a_names[0], layouts[a_names[0]].shape
            raise ValueError(f"{name} has the shape {shape}, and is said to be {form}; expected square matrices")
        form = Form("ls")
    if any(inplace) and form.kind in RECTANGULAR:
        raise ValueError(
            f"a is {KINDS[form.kind]}, and inplace_a or inplace_b is set; only square systems that are solved exactly "
            "are solved in place: leave the option away"
        )
    if any(operands.explicit):
        found = _explicit(operands, a_names, b_names, matrices, layouts, inplace[1])
    else:
        found = _implicit(layouts, matrices[0], inplace[1])
    for replaced, letter in zip(inplace, (a_names, b_names), strict=True):
        for name in letter if replaced else ():
            if overlaps_itself(layouts[name].shape, layouts[name].strides):
                shape, strides = layouts[name].shape, layouts[name].strides
                raise ValueError(
                    f"{name} has the shape {shape} and the strides {strides} (in elements), so that "
                    "elements share memory and cannot be replaced; copy it, or leave the option away"
                )
    if inplace[0] and form.kind in ("dg", *BANDS):
        raise ValueError(f"inplace_a is set, and a is {KINDS[form.kind]}; its factors do not fit a: leave it away")
    return found, form


def _matrix(
    name: str, layout: Layout, form: Form, conjugate: bool, backwards: bool
) -> tuple[Matrix, tuple[int, ...], int]:
    """The matrices of an operand, the shape of their batch, and the elements before the first."""
    shape, strides = layout.shape, layout.strides
    if form.kind == "dg":
        n, step = shape[-1], strides[-1]
        start, step = ((n - 1) * step, -step) if backwards else (0, step)
        return Matrix(layout.dtype, n, n, step, 0, strides[:-1], conjugate), shape[:-1], start
    if len(shape) < 2:
        raise ValueError(f"{name} has the shape {shape}; expected matrices, (..., n, n)")
    (rows, cols), (row, col) = shape[-2:], strides[-2:]
    if form.kind in BANDS:
        stored = form.below + form.above + 1
        if rows != stored:
            raise ValueError(
                f"{name} has the shape {shape}, and bandwidths is ({form.below}, {form.above}); expected "
                f"(..., {stored}, n), a row for each diagonal, the uppermost first (LAPACK's band storage)"
            )
        return Matrix(layout.dtype, cols, cols, row, col - row, strides[:-2], conjugate), shape[:-2], form.above * row
    if form.kind not in ("ge", "rr") and rows != cols:
        raise ValueError(f"{name} has the shape {shape}, and is said to be {form}; expected square ones, (..., n, n)")
    return Matrix(layout.dtype, rows, cols, row, col, strides[:-2], conjugate), shape[:-2], 0


def _explicit(
    operands: Operands, a_names: Sequence[str], b_names: Sequence[str],
    matrices: list[tuple[Matrix, tuple[int, ...], int]], layouts: dict[str, Layout], inplace: bool,
) -> Specification:  # fmt: skip
    """Systems of which a or b is a sequence."""
    count = len(operands.a) if operands.explicit[0] else len(operands.b)
    a_places: list[tuple[Matrix, int, int]] = []
    found = []
    if operands.explicit[0]:
        for name, (matrix, batch, start) in zip(a_names, matrices, strict=True):
            if batch:
                raise ValueError(f"{name} has the shape {layouts[name].shape}; expected single matrices in a sequence")
            a_places.append((matrix, len(a_places), start))
    else:
        matrix, batch, start = matrices[0]
        if batch not in ((count,), ()):
            raise ValueError(f"a has the batch shape {batch}, and b {count} members; expected ({count},) or ()")
        step = matrix.batch[0] if batch else 0
        a_places = [(matrix._replace(batch=()), 0, start + i * step) for i in range(count)]
    sides = [layouts[name] for name in b_names]
    if operands.explicit[1]:
        if len(sides) != count:
            raise ValueError(f"a has {count} members and b {len(sides)}; expected as many")
        x = []
        for i, (name, layout) in enumerate(zip(b_names, sides, strict=True)):
            matrix, number, start = a_places[i]
            b = _side(name, layout.shape, layout.strides, matrix, layouts[a_names[number]].shape)
            x.append(layout if inplace else _result(layout, (), matrix, vector=len(layout.shape) == 1))
            places = (number, start), (i, 0), (i, 0)
            found.append(LinearSystem(matrix, b, _column(x[-1]), (), (), places))
        return Specification(tuple(found), x, (count,))
    (layout,) = sides
    if layout.shape[0] != count or len(layout.shape) not in (2, 3):
        expected = f"({count}, n) or ({count}, n, k)"
        raise ValueError(f"b has the shape {layout.shape}, and a {count} members; expected {expected}")
    if len({(matrix.rows, matrix.cols) for matrix, _, _ in a_places}) > 1:
        raise ValueError("b is one array, and the matrices of a differ in shape; pass b as a sequence")
    result = layout if inplace else _result(layout, (count,), a_places[0][0], vector=len(layout.shape) == 2)
    for i, (matrix, number, start) in enumerate(a_places):
        b = _side("b", layout.shape[1:], layout.strides[1:], matrix, layouts[a_names[number]].shape)
        x_one = result._replace(shape=result.shape[1:], strides=result.strides[1:])
        places = (number, start), (0, i * layout.strides[0]), (0, i * result.strides[0])
        found.append(LinearSystem(matrix, b, _column(x_one), (), (), places))
    return Specification(tuple(found), [result], (count,))


def _side(
    name: str, shape: tuple[int, ...], strides: tuple[int, ...], matrix: Matrix, a_shape: tuple[int, ...]
) -> Matrix:  # fmt: skip
    """One system's right-hand sides."""
    if len(shape) not in (1, 2) or shape[0] != matrix.rows:
        raise ValueError(
            f"{name} has the shape {shape} for a matrix of {matrix.rows} rows (a: {a_shape}); expected "
            f"({matrix.rows},) or ({matrix.rows}, k)"
        )
    cols, col = (shape[1], strides[1]) if len(shape) == 2 else (1, shape[0])
    return Matrix(matrix.dtype, shape[0], cols, strides[0], col)


def _column(layout: Layout) -> Matrix:
    shape, strides = layout.shape, layout.strides
    cols, col = (shape[1], strides[1]) if len(shape) == 2 else (1, shape[0])
    return Matrix(layout.dtype, shape[0], cols, strides[0], col)


def _implicit(
    layouts: dict[str, Layout], given: tuple[Matrix, tuple[int, ...], int], inplace: bool
) -> Specification:
    """Systems of one array a and one array b, whose batches broadcast as in `numpy.linalg.solve`."""
    matrix, a_batch, start = given
    side = layouts["b"]
    n, shape = matrix.rows, side.shape
    batch, vector = _batch_of(shape, a_batch, n)
    if batch is None:
        a_shape = layouts["a"].shape
        raise ValueError(
            f"b has the shape {shape}, and a {a_shape}; expected ({n},), (..., {n}, k) with a batch shape that "
            f"broadcasts with {a_batch}, or {(*a_batch, n)}, a vector for each matrix"
        )
    cut = len(shape) - (1 if vector else 2)
    own, strides = shape[:cut], side.strides
    cols, col = (1, n) if vector else (shape[-1], strides[-1])
    b = Matrix(matrix.dtype, n, cols, strides[cut], col, _steps(own, strides[:cut], batch))
    if inplace and own != batch:
        raise ValueError(f"inplace_b is set, and b has the batch shape {own}; expected {batch}, that of the solutions")
    result = side if inplace else _result(side, batch, matrix, vector=vector)
    at = len(batch)
    x = Matrix(
        matrix.dtype, matrix.cols, cols, result.strides[at], matrix.cols if vector else result.strides[-1],
        result.strides[:at],
    )  # fmt: skip
    a = matrix._replace(batch=_steps(a_batch, matrix.batch, batch))
    count = (*(1,) * (at - len(a_batch)), *a_batch)
    system = LinearSystem(a, b, x, batch, count, ((0, start), (0, 0), (0, 0)))
    return Specification((system,), [result], batch or None)


def _batch_of(shape: tuple[int, ...], a_batch: tuple[int, ...], n: int) -> tuple[tuple[int, ...] | None, bool]:
    """The batch shape of the systems, and whether b consists of vectors; None where b does not fit."""
    if len(shape) == 1:
        return (a_batch, True) if shape[0] == n else (None, True)
    if shape[-2] == n:
        try:
            return np.broadcast_shapes(a_batch, shape[:-2]), False
        except ValueError:
            pass
    if shape == (*a_batch, n):
        return a_batch, True
    return None, False


def _steps(own: tuple[int, ...], strides: tuple[int, ...], batch: tuple[int, ...]) -> tuple[int, ...]:
    """A step for each axis of the whole batch."""
    steps = [0 if extent == 1 else step for extent, step in zip(own, strides, strict=True)]
    return (*(0,) * (len(batch) - len(own)), *steps)


def _result(side: Layout, batch: tuple[int, ...], matrix: Matrix, *, vector: bool) -> Layout:
    """The layout of the solutions: b's order in memory if b has all axes, else b's order of rows and columns."""
    shape = (*batch, matrix.cols) if vector else (*batch, matrix.cols, side.shape[-1])
    if shape == side.shape:
        return result_layout(side)
    by_columns = not vector and abs(side.strides[-2]) < abs(side.strides[-1])
    axes = list(range(len(shape)))
    if by_columns:
        axes[-2:] = axes[-1], axes[-2]
    return side._replace(shape=shape, strides=contiguous_strides(shape, tuple(axes)))


def rank_tolerance(given: float | None, systems: Sequence[LinearSystem], form: Form) -> float:
    """The part of R's first diagonal element that counts as zero, where the rank is found out."""
    if form.kind != "rr":
        if given is not None:
            raise ValueError(f"options.rank_tolerance is {given!r}, and structure is not 'least squares': pass both")
        return 0.0
    if given is not None:
        return float(given)
    return float(np.finfo(systems[0].a.dtype).eps) * max(max(system.a.rows, system.a.cols) for system in systems)


def check_precision(problem: DenseProblem) -> None:
    """Raise where factors in single precision are asked for, and make no sense."""
    if problem.precision != "mixed" or may_be_mixed(problem):
        return
    if problem.dtype not in SINGLE:
        why = f"the operands are {problem.dtype}; expected float64 or complex128"
    elif problem.inplace[0]:
        why = "inplace_a is set, and factors of another dtype do not fit a"
    else:
        expected = ", ".join(KINDS[kind] for kind in MIXED)
        why = f"a is {KINDS[problem.form.kind]}; expected one of: {expected}"
    raise ValueError(f"options.precision is 'mixed', and {why}: leave one of the two away, or pass 'auto'")
