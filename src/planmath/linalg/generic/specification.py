"""From a user's arguments to the specification of a generic product."""

from __future__ import annotations

import math

import numpy as np

from planmath.core.arrays import Layout, overlaps_itself
from planmath.core.errors import nearest
from planmath.core.execution import Execution, ExecutionCPU
from planmath.linalg.generic.problem import ProductProblem, result_order
from planmath.linalg.generic.qualifiers import structure_of
from planmath.linalg.product.matrix import Matrix, dense_result
from planmath.linalg.product.structure import KINDS, Structure, Structured

#: What operands may be of.
DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")


def specify(
    layouts: dict[str, Layout], qualifiers: np.ndarray, inplace: bool, execution: Execution, package: str
) -> ProductProblem:
    """The problem that a user's arguments describe.

    Parameters
    ----------
    layouts : dict
        Of a, b and, where it is given, c.
    qualifiers : numpy.ndarray
        Of `matrix_qualifiers_dtype`: for a and b, and for the result where anything is known of it.
    inplace : bool
    execution : ExecutionCPU or ExecutionCUDA
    package : str

    Raises
    ------
    ValueError
        If they do not describe one.
    """
    for name, layout in layouts.items():
        if not layout.shape or 0 in layout.shape:
            raise ValueError(f"{name} has the shape {layout.shape}; expected at least one axis, and no extent of 0")
        if layout.dtype not in DTYPES:
            raise ValueError(f"{name} has the dtype {layout.dtype}; {nearest(layout.dtype, DTYPES)}: convert it")
        if layout.dtype != layouts["a"].dtype:
            raise ValueError(
                f"{name} has the dtype {layout.dtype} and a {layouts['a'].dtype}; expected equal ones: convert one"
            )
    operands = [_operand(name, layouts[name], element) for name, element in zip("ab", qualifiers[:2], strict=True)]
    a, b = (operand for operand, _ in operands)
    if a.cols != b.rows:
        raise ValueError(
            f"a has the shape {layouts['a'].shape}, which stands for {a.rows} by {a.cols}, and b "
            f"{layouts['b'].shape}, for {b.rows} by {b.cols}; the columns of a must be as many as the rows of b"
        )
    shapes = [shape for _, shape in operands]
    try:
        batch = np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"a has the batch shape {shapes[0]} and b {shapes[1]}; expected shapes that NumPy broadcasts: equal "
            "extents, or 1"
        ) from None
    m, n = a.rows, b.cols
    c = None
    if "c" in layouts:
        c, batch = _addend(layouts["c"], batch, (m, n), squeezed(layouts, qualifiers), inplace)
    elif inplace:
        raise ValueError("options.inplace is set, but c was not given; the result replaces c: pass c and beta")
    a, b = (Structured(_broadcast(x.matrix, own, batch), x.structure) for x, own in zip((a, b), shapes, strict=True))
    d = c if inplace and c is not None else dense_result(a.matrix.dtype, batch, m, n, result_order(a, b, c))
    limit = execution.threads if isinstance(execution, ExecutionCPU) else execution.device_id
    result = "ge" if len(qualifiers) == 2 else str(qualifiers[2]["abbreviation"])
    if result != "ge" and m != n:
        raise ValueError(
            f"qualifiers says that the result is {KINDS[result]}, and it has {m} rows and {n} columns; expected as "
            "many rows as columns: set the third element to GeneralMatrixQualifier.create()"
        )
    if not d.dtype.startswith("complex"):
        result = result.replace("he", "sy")
    return ProductProblem(m, n, a.cols, batch, a, b, c, d, inplace, (execution.space, limit), package, result)


def squeezed(layouts: dict[str, Layout], qualifiers: np.ndarray) -> tuple[bool, bool]:
    """Whether the result lacks the axis of rows, because a is a vector, and that of columns, because b is one."""
    return tuple(
        len(layouts[name].shape) == 1 and not _is_vector(structure_of(element))
        for name, element in zip("ab", qualifiers[:2], strict=True)
    )  # type: ignore[return-value]


def _is_vector(structure: Structure) -> bool:
    """Whether a matrix is given as a vector."""
    return structure.kind == "dg" or structure.storage == "packed"


def _stored(name: str, layout: Layout, structure: Structure) -> tuple[tuple[int, ...], tuple[int, ...], Structure]:
    """Rows and columns of a matrix in packed or band storage, the strides of what is stored, and its structure."""
    shape, strides = layout.shape, layout.strides
    if structure.storage == "packed":
        n = (math.isqrt(8 * shape[-1] + 1) - 1) // 2
        if n * (n + 1) // 2 != shape[-1]:
            raise ValueError(
                f"{name} has the shape {shape}, and qualifiers says that it is {structure}; expected "
                f"(..., n (n + 1) / 2), such as {n * (n + 1) // 2} or {(n + 1) * (n + 2) // 2}: the columns of a "
                "triangle one behind the other"
            )
        return (n, n), (strides[-1], 0), structure
    if len(shape) < 2:
        raise ValueError(
            f"{name} has the shape {shape}, and qualifiers says that it is {structure}; expected (..., k, n), a row "
            "for each of k diagonals, the uppermost first (LAPACK's band storage)"
        )
    rows, n = shape[-2:]
    if structure.kind == "ge":
        below = structure.below
        if below >= rows:
            raise ValueError(
                f"qualifiers says that {name} has {below} diagonals below the main one, and its shape {shape} has room "
                f"for {rows} in all; expected at most {rows - 1}: pass BandedMatrixQualifier.create(below=...)"
            )
    else:
        below = 0 if structure.upper else rows - 1
    return (n, n), strides[-2:], structure._replace(below=below, above=rows - 1 - below)


def _operand(name: str, layout: Layout, element: np.ndarray) -> tuple[Structured, tuple[int, ...]]:
    """The matrices of an operand, and the shape of their batch."""
    structure, conjugate = structure_of(element), bool(element["conjugate"])
    dtype = layout.dtype
    if conjugate and not dtype.startswith("complex"):
        raise ValueError(
            f"qualifiers conjugates {name}, which is {dtype}; only complex operands can be conjugated: "
            "leave conjugate away"
        )
    conjugate = conjugate != layout.conjugate
    if structure.kind == "he" and not dtype.startswith("complex"):
        structure = structure._replace(kind="sy")  # a real Hermitian matrix is a symmetric one
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    if structure.storage:
        shape, strides, structure = _stored(name, layout, structure)
        cut = 1 if structure.storage == "packed" else 2
    elif structure.kind == "dg":
        (extent, step), cut = (layout.shape[-1], layout.strides[-1]), 1
        shape, strides = (extent, 1), (step, extent)
    elif len(layout.shape) == 1:
        (extent,), (step,), cut = layout.shape, layout.strides, 1
        shape, strides = ((1, extent), (extent, step)) if name == "a" else ((extent, 1), (step, extent))
    else:
        shape, strides, cut = layout.shape[-2:], layout.strides[-2:], 2
    in_memory = structure.kind not in ("ge", "dg") and not structure.storage
    if in_memory and (len(layout.shape) == 1 or shape[0] != shape[1]):
        raise ValueError(
            f"{name} has the shape {layout.shape}, and qualifiers says that it is {KINDS[structure.kind]}; expected "
            f"square matrices, (..., n, n): pass such a matrix, or a GeneralMatrixQualifier for {name}"
        )
    batch = layout.shape[:-cut]
    (rows, cols), (row, col) = shape, strides
    return Structured(Matrix(dtype, rows, cols, row, col, layout.strides[:-cut], conjugate), structure), batch


def _broadcast(matrix: Matrix, own: tuple[int, ...], batch: tuple[int, ...]) -> Matrix:
    """The matrix with a step for each axis of the product's batch."""
    steps = [0 if extent == 1 else step for extent, step in zip(own, matrix.batch, strict=True)]
    return matrix._replace(batch=(*(0,) * (len(batch) - len(own)), *steps))


def _addend(
    layout: Layout, batch: tuple[int, ...], extents: tuple[int, int], squeeze: tuple[bool, bool], inplace: bool
) -> tuple[Matrix, tuple[int, ...]]:
    """c's matrices, and the batch of a product with c, which has the axes that the result has."""
    shape = tuple(extent for extent, dropped in zip(extents, squeeze, strict=True) if not dropped)
    cut = len(layout.shape) - len(shape)
    own = layout.shape[:cut] if cut >= 0 else ()
    try:
        whole = np.broadcast_shapes(batch, own)
        fits = cut >= 0 and layout.shape[cut:] == shape and (not inplace or own == whole)
    except ValueError:
        fits = False
    if not fits:
        expected = f"{(*batch, *shape)}" + ("" if inplace or not batch else f" or {shape}")
        raise ValueError(f"c has the shape {layout.shape}; expected {expected}, the shape of a @ b")
    if inplace and overlaps_itself(layout.shape, layout.strides):
        raise ValueError(
            f"c has the shape {layout.shape} and the strides {layout.strides} (in elements), so that elements share "
            "memory and cannot be replaced by the result; copy c, or leave options.inplace away"
        )
    (m, n), steps = extents, iter(layout.strides[cut:])
    row, col = n if squeeze[0] else next(steps), m if squeeze[1] else next(steps)
    matrix = Matrix(layout.dtype, m, n, row, col, layout.strides[:cut])
    return _broadcast(matrix, own, whole), whole
