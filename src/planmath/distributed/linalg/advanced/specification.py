"""What the arguments of all ranks describe together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from planmath.core.arrays import REAL_OF, Layout, contiguous_strides
from planmath.core.collective import sections
from planmath.core.datatypes import DTYPE_OF, CudaDataType
from planmath.distributed.distribution import placement
from planmath.distributed.distribution.distributions import Distribution
from planmath.distributed.linalg.advanced.options import MatmulOptions, matrix_qualifiers_dtype
from planmath.distributed.linalg.advanced.problem import Side


class Qualifier(NamedTuple):
    transposed: bool = False
    conjugate: bool = False


def as_qualifiers(qualifiers: Any, layouts: Mapping[str, Layout]) -> tuple[Qualifier, Qualifier]:
    """Those of a and b. Raises where there is something that a product does not have."""
    if qualifiers is None:
        found = [Qualifier(), Qualifier(), Qualifier()]
    else:
        if (
            not isinstance(qualifiers, np.ndarray)
            or qualifiers.dtype != matrix_qualifiers_dtype
            or qualifiers.size != 3
        ):
            raise ValueError(
                "qualifiers are no array of three elements of matrix_qualifiers_dtype: "
                "numpy.zeros(3, dtype=matrix_qualifiers_dtype)"
            )
        found = [Qualifier(bool(q["is_transpose"]), bool(q["is_conjugate"])) for q in qualifiers.reshape(-1)]
    if any(found[2]):
        raise ValueError("qualifiers[2] is set, but c is neither transposed nor conjugated; leave it away")
    checked = []
    for name, qualifier in zip("ab", found, strict=False):
        layout = layouts[name]
        conjugate = qualifier.conjugate != layout.conjugate
        if qualifier.conjugate and layout.dtype not in REAL_OF:
            raise ValueError(f"qualifiers conjugate {name}, whose dtype is {layout.dtype}; only complex ones can be")
        if conjugate and not qualifier.transposed:
            raise ValueError(f"qualifiers conjugate {name} without transposing it; set is_transpose as well")
        checked.append(Qualifier(qualifier.transposed, conjugate))
    return checked[0], checked[1]


def check_layout(name: str, layout: Layout) -> None:
    """Raise unless an operand is a dense column-major matrix."""
    if len(layout.shape) != 2:
        raise ValueError(f"{name} has the shape {layout.shape}; expected a matrix of two axes")
    dense = contiguous_strides(layout.shape, (1, 0))
    if 0 not in layout.shape and any(
        step != of for n, step, of in zip(layout.shape, layout.strides, dense, strict=True) if n > 1
    ):
        raise ValueError(
            f"{name} has the strides {layout.strides} (in elements); expected a column-major matrix without gaps, with "
            f"{dense}: for example numpy.asfortranarray({name})"
        )


def as_distributions(distributions: Any) -> list[Distribution]:
    """Copies of the three distributions of a user."""
    if not isinstance(distributions, Sequence) or len(distributions) != 3:
        raise ValueError("distributions is not a sequence of three; expected those of a, b and the result")
    return [placement.checked(f"distributions[{k}]", of, 2) for k, of in enumerate(distributions)]


def result_dtype(layouts: Mapping[str, Layout], options: MatmulOptions) -> str:
    if options.result_type is not None:
        number = CudaDataType(options.result_type)
        if number not in DTYPE_OF:
            raise ValueError(f"options.result_type is {number.name}, which no package has")
        wanted = DTYPE_OF[number]
        if "c" in layouts and layouts["c"].dtype != wanted:
            raise ValueError(f"options.result_type is {number.name}, and c has the dtype {layouts['c'].dtype}")
        return wanted
    if "c" in layouts:
        return layouts["c"].dtype
    a = layouts["a"].dtype
    return "int32" if a == "int8" else a


def sides(
    distributions: Sequence[Distribution], qualifiers: Sequence[Qualifier], dtypes: Sequence[str], has_c: bool,
    is_summed: bool, everybody: Sequence[Sequence[int]], rank: int,
) -> tuple[Side, Side, Side]:  # fmt: skip
    """Both factors and the result of the product as this rank sees it. Equal on all ranks but for strides.

    Parameters
    ----------
    distributions : sequence of Distribution
    qualifiers : sequence of Qualifier
    dtypes : sequence of str
    has_c : bool
    is_summed : bool
        Whether every rank gets the whole result.
    everybody : sequence of sequence of int
        Of each rank the local shapes of a, b and c, and the corners of their boxes.
    rank : int

    Raises
    ------
    ValueError, BindDistributionError
        If they do not fit together.
    """
    factors = []
    for k, (name, qualifier) in enumerate(zip("ab", qualifiers, strict=True)):
        shapes = [tuple(words[2 * k : 2 * k + 2]) for words in everybody]
        corners = [tuple(words[6 + 4 * k : 10 + 4 * k]) for words in everybody]
        placed = placement.place(name, distributions[k], shapes, corners)
        stored, mine = contiguous_strides(shapes[rank], (1, 0)), placed.sections
        shape = placed.global_shape
        if qualifier.transposed:
            shape, stored, mine = shape[::-1], stored[::-1], tuple([of[::-1] for of in mine])
        factors.append(Side(shape, mine, stored, dtypes[k], *qualifier))  # type: ignore[arg-type]
    a, b = factors
    if a.shape[1] != b.shape[0]:
        raise ValueError(f"a is a matrix of {a.shape} and b of {b.shape}; expected as many columns of a as rows of b")
    m, n = a.shape[0], b.shape[1]
    if 0 in (m, n, a.shape[1]):
        raise ValueError(f"a is a matrix of {a.shape} and b of {b.shape}; expected at least one row and column")
    if is_summed:
        placed_d = tuple([sections.whole((m, n)) for _ in everybody])
    else:
        corners = [tuple(words[14:18]) for words in everybody]
        placed_d = placement.target("distributions[2]", distributions[2], (m, n), corners).sections
    shapes = [tuple(words[4:6]) for words in everybody]
    for number, (shape, section) in enumerate(zip(shapes, placed_d, strict=True)):
        if has_c and shape != sections.shape_of(section):
            raise ValueError(
                f"c of rank {number} has the shape {shape}; expected {sections.shape_of(section)}, its part of a "
                f"result of {(m, n)}"
            )
    here = sections.shape_of(placed_d[rank])
    return a, b, Side((m, n), placed_d, contiguous_strides(here, (1, 0)), dtypes[2])  # type: ignore[arg-type]
