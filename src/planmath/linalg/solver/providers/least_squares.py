"""Solutions in the sense of least squares: by a factorization into an orthogonal and a triangular matrix."""

from __future__ import annotations

import numpy as np

import planmath.linalg.solver.kernels as kernels
from planmath.core.arrays import ITEMSIZE
from planmath.linalg.solver.providers.assembly import Assembly, Place, Sides
from planmath.linalg.solver.providers.routine import LibraryRoutine
from planmath.native.call import Slot


def rounding(dtype: str, rows: int) -> float:
    """The part of a column that is what rounding leaves of it where it depends on others."""
    return float(np.finfo(dtype).eps) * rows


#: Columns that are eliminated at once: LAPACK's choice for these.
BLOCK = 64


class QR(LibraryRoutine):
    """Rectangular matrices: geqrf of the matrix, or of its transpose where that is the tall one, ormqr, trsm."""

    def memory(self, part: Assembly) -> None:
        part.add("pivots", part.cols, part.dtype)
        part.work = part.reserve.region((1, max(part.cols, part.system.columns) * BLOCK), part.dtype)

    def factorize(self, part: Assembly) -> None:
        work = Place(Slot(part.problem.memory, part.work.offset))
        arguments = [part.rows, part.cols, part.f, part.leading, part.place("pivots"), work, part.work.shape[1],
                     part.place("status")]  # fmt: skip
        self.run(part, "geqrf", arguments, part.system.matrices)
        part.keep.append(tolerance := np.array([rounding(part.dtype, part.rows)]))
        arguments = [part.cols, part.leading, part.f, tolerance.ctypes.data, part.place("status")]
        part.call(kernels.DEFICIENT[part.dtype], "search for dependent columns", arguments, part.system.matrices)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        adjoint = b"C" if part.is_complex else b"T"
        if transposed:  # of the least norm: y = Q R⁻ᴴ b
            arguments = [sides.matrix.col, part.cols, part.rows, part.system.columns, ITEMSIZE[part.dtype], sides.place]
            part.call(kernels.WIPE, "zeros below", arguments, part.system.batch)
            self.triangular(part, sides, True, adjoint, False)
            self._reflect(part, sides, b"N")
        else:
            self._reflect(part, sides, adjoint)
            self.triangular(part, sides, True, b"N", False)

    def _reflect(self, part: Assembly, sides: Sides, trans: bytes) -> None:
        work = Place(Slot(part.problem.memory, part.work.offset))
        arguments = [b"L", trans, part.rows, part.system.columns, part.cols, part.f, part.leading, part.place("pivots"),
                     sides.place, sides.matrix.col, work, part.work.shape[1], part.ignored]  # fmt: skip
        self.run(part, "unmqr" if part.is_complex else "ormqr", arguments, part.system.batch)


class PivotedQR(LibraryRoutine):
    """Matrices of any rank: geqp3, and of its leading rows tzrzf, so that a P is the product of Q, a triangle, and Z.

    The rank is the number of rows before the first one whose diagonal element is not more than a part of the first
    one's. It is known only when the factorization is made, and routines read it from the plan's memory.
    """

    def memory(self, part: Assembly) -> None:
        least, most = min(part.rows, part.cols), max(part.rows, part.cols)
        part.add("tau", least, part.dtype)
        part.add("zeta", least, part.dtype)
        part.add("pivots", part.cols, "int32")
        part.add("rank", 2, "int32")
        if part.is_complex:
            part.add("sizes", 2 * part.cols, part.real)
        wide = max(most, part.system.columns)
        part.work = part.reserve.region((1, (wide + BLOCK) * (BLOCK + 2)), part.dtype)
        self._tolerance(part)

    def _tolerance(self, part: Assembly) -> int:
        part.keep.append(tolerance := np.array([part.problem.rank_tolerance]))
        return tolerance.ctypes.data

    def _work(self, part: Assembly) -> list[object]:
        return [Place(Slot(part.problem.memory, part.work.offset)), part.work.shape[1]]

    def factorize(self, part: Assembly) -> None:
        pivots, status, matrices = part.place("pivots"), part.place("status"), part.system.matrices
        work, size = self._work(part)
        part.call(kernels.WIPE, "free columns", [0, 0, part.cols, 1, 4, pivots], matrices)
        sizes = [part.place("sizes")] if part.is_complex else []
        arguments = [part.rows, part.cols, part.f, part.leading, pivots, part.place("tau"), work, size, *sizes, status]
        self.run(part, "geqp3", arguments, matrices)
        rank, _ = self._ranks(part)
        part.call(
            kernels.RANK[part.dtype], "rank",
            [min(part.rows, part.cols), part.cols, part.leading + 1, part.f, self._tolerance(part), rank], matrices,
        )  # fmt: skip
        arguments = [rank, part.cols, part.f, part.leading, part.place("zeta"), work, size, status]
        self.run(part, "tzrzf", arguments, matrices)

    def _ranks(self, part: Assembly) -> tuple[Place, Place]:
        """The rank, and how many columns there are beyond it."""
        return part.place("rank"), part.place("rank").behind(4)

    def solve(self, part: Assembly, transposed: bool, sides: Sides) -> None:
        adjoint, batch = b"C" if part.is_complex else b"T", part.system.batch
        k, x, ld, least = part.system.columns, sides.place, sides.matrix.col, min(part.rows, part.cols)
        rank, rest = self._ranks(part)
        one = np.ones(1, part.dtype)
        multiply = "unm" if part.is_complex else "orm"
        arguments = [b"L", adjoint, part.rows, k, least, part.f, part.leading, part.place("tau"), x, ld,
                     *self._work(part), part.ignored]  # fmt: skip
        self.run(part, f"{multiply}qr", arguments, batch)
        arguments = [b"L", b"U", b"N", b"N", rank, k, one, part.f, part.leading, x, ld]
        self.run(part, "trsm", arguments, batch)
        itemsize = ITEMSIZE[part.dtype]
        part.call(kernels.WIPE_BEHIND, "zeros behind", [ld, rank, part.cols, k, itemsize, x], batch)
        arguments = [b"L", adjoint, part.cols, k, rank, rest, part.f, part.leading, part.place("zeta"), x, ld,
                     *self._work(part), part.ignored]  # fmt: skip
        self.run(part, f"{multiply}rz", arguments, batch)
        work, _ = self._work(part)
        arguments = [part.cols, k, ld, part.place("pivots"), x, work]
        part.call(kernels.PERMUTE[part.dtype], "order of columns", arguments, batch)
