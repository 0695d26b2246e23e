"""Products by ScaLAPACK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from planmath.bindings.scalapack import LETTER
from planmath.core.collective.bench import Bench
from planmath.core.executor import Program
from planmath.core.provider import Algorithm, Prepared
from planmath.distributed.linalg.advanced.problem import MatmulProblem, Side
from planmath.distributed.linalg.advanced.stages import Run, Stages
from planmath.distributed.linalg.providers import Blocked, Grid, ScaLAPACKProvider, blocked, descriptor, grids
from planmath.native.call import invoke


def stored(side: Side) -> tuple[tuple[Any, Any], ...]:
    """What every rank has of a factor as it is stored."""
    return tuple([(of[1], of[0]) if side.transposed else (of[0], of[1]) for of in side.placed])


def on_grid(problem: MatmulProblem) -> tuple[Grid, list[Blocked]] | None:
    """The grid on which all three matrices are in blocks, if there is one."""
    for grid in grids(len(problem.a.placed)):
        found = [blocked(stored(side), grid) for side in (problem.a, problem.b, problem.d)]
        if None not in found:
            return grid, found  # type: ignore[return-value]
    return None


class Pgemm(Stages):
    """A product by ``p?gemm``."""

    library: ScaLAPACKProvider

    def _plan(self, a: Any, b: Any) -> None:
        p = self.problem
        found = on_grid(p)
        assert found is not None
        grid, matrices = found
        where = self.library.context(grid)
        letter = LETTER[p.a.dtype]
        self._function = self.library.library.address(f"p{letter}gemm_")
        d = self._empty_result()
        self._descriptors = [
            descriptor(of, where, self._leading(array)) for of, array in zip(matrices, (a, b, d), strict=True)
        ]
        (m, k), n = p.a.shape, p.b.shape[1]
        self._integers = np.array([1, m, n, k], np.int32)
        self._factors = np.zeros(2, p.a.dtype)
        self._letters = np.frombuffer(
            b"".join(b"C" if side.conjugate else b"T" if side.transposed else b"N" for side in (p.a, p.b)), np.uint8
        )
        self.reset({}, {}, None)

    def _leading(self, array: Any) -> int:
        rows, columns = array.shape
        return max(self.package.layout(array, "a matrix").strides[1] if columns > 1 else rows, rows)

    def run(self, a: Any, b: Any, d: Any, auxiliary: dict[str, Any]) -> None:
        letters, factors = self._letters.ctypes.data, self._factors.ctypes.data
        one, *sizes = [self._integers.ctypes.data + 4 * k for k in range(4)]
        words = [letters, letters + 1, *sizes, factors]
        for array, of in zip((a, b, d), self._descriptors, strict=True):
            of[8] = max(self._leading(array), 1)
            words += [self.package.address(array), one, one, of.ctypes.data]
        words.insert(-4, factors + self._factors.itemsize)
        invoke(self._function, *words)

    def reset(self, scalars: dict[str, Any], inputs: dict[str, Any], scales: Any) -> None:
        self.scalars |= scalars
        self._factors[:] = self.scalars["alpha"], self._beta


class ScaLAPACKMatmul(ScaLAPACKProvider):
    """Products of matrices in blocks on one grid."""

    package: Any
    build: Any

    def unsupported(self, problem: MatmulProblem) -> str | None:
        sides = problem.a, problem.b, problem.d
        if {side.dtype for side in sides} - LETTER.keys() or len({side.dtype for side in sides}) > 1:
            return "it has float32, float64, complex64 and complex128, the same for all matrices"
        if problem.epilog is not None or problem.compute is not None or problem.scale is not None:
            return "it has no epilogs, and no types of computation to choose"
        if any(side.conjugate and not side.transposed for side in sides):
            return "it conjugates what it transposes"
        if on_grid(problem) is None:
            return "the matrices are not in blocks, or in blocks in turn, on one grid of processes"
        return None

    def algorithms(self, problem: MatmulProblem) -> Sequence[Algorithm]:
        return [Algorithm(self.name)]

    def prepare(self, problem: MatmulProblem, algorithm: Algorithm) -> Prepared:
        way = type("Pgemm", (Pgemm,), {"library": self})
        stages = self.build(way, problem, None, Bench(self.package, self.space))
        return Prepared({None: Program(function=Run(stages))})
