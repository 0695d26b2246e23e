"""What routines of one library share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import planmath.linalg.solver.kernels as kernels
from planmath.bindings import lapack
from planmath.bindings.blas import LETTER
from planmath.linalg.solver.providers.assembly import Assembly, Place, Sides


class LibraryRoutine:
    """How one library factorizes matrices of one form, and solves with the factors."""

    most_by_rows = 0

    def __init__(self, library: lapack.LAPACK):
        self.library = library

    def memory(self, part: Assembly) -> None:
        part.add("pivots", part.cols, "int32")

    def run(self, part: Assembly, name: str, arguments: Sequence[Any], batch: tuple[int, ...]) -> None:
        full = LETTER[part.dtype] + name
        part.fortran(self.library.find(full), full, arguments, batch)

    def triangular(
        self, part: Assembly, sides: Sides, upper: bool, trans: bytes, unit: bool, f: Place | None = None
    ) -> None:  # fmt: skip
        """Solve with a triangle of the factors, from the left, or from the right where rows follow each other."""
        matrix, factors = sides.matrix, part.f if f is None else f
        letters = b"U" if upper else b"L", trans, b"U" if unit else b"N"
        k, n = part.system.columns, part.cols
        if k == 1 and not sides.by_rows:
            arguments = [*letters, n, factors, part.leading, sides.place, 1]
            self.run(part, "trsv", arguments, part.system.batch)
            return
        one = np.ones(1, part.dtype)
        side, extents, ld = (b"R", (k, n), matrix.row) if sides.by_rows else (b"L", (n, k), matrix.col)
        arguments = [side, *letters, *extents, one, factors, part.leading, sides.place, ld]
        self.run(part, "trsm", arguments, part.system.batch)


def find_zeros(part: Assembly, step: int) -> None:
    """Let the status say where the first zero on the diagonal is; there is none where the step is 0."""
    arguments = [part.cols if step else 0, step, part.f, part.place("status")]
    part.call(kernels.ZEROS[part.dtype], "search for zeros", arguments, part.system.matrices)
