"""Factors in single precision, and solutions that are refined with them to double precision.

A factorization takes most of its time in products that are twice as fast in single precision. Its copy of the matrix
stays, and each solution is corrected by what the factors make of its residual, until the backward error is a unit of
rounding or does not become half as large any more (N. Higham, "Accuracy and Stability of Numerical Algorithms", 12).
Steps are calls that are made as long as one of the systems needs another one; matrix and residuals are scaled by powers
of two, so that the range of single precision is no limit.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import planmath.linalg.solver.kernels as kernels
from planmath.core.accuracy import limits_of
from planmath.linalg.product.matrix import Matrix
from planmath.linalg.solver.problem import SINGLE, Region, Unusual
from planmath.linalg.solver.providers.assembly import Assembly, Place, Sides
from planmath.native.call import COPY, Slot

#: Steps of refinement at most: of a matrix for which more are needed, factors in double precision are the better ones.
MOST_STEPS = 10


class MixedAssembly(Assembly):
    """The calls on systems of one form whose factors are in single precision."""

    solves_alone = False

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        n, k, system = self.rows, self.system.columns, self.system
        self.add("scale", 1, "float64")
        self._single = copy.copy(self)
        self._single.dtype = SINGLE[self.dtype]
        self._single.regions = dict(self.regions)
        self._single.add("factors", n * n, self._single.dtype)

        def each(elements: int, dtype: str) -> Region:
            return self.reserve.region((system.solutions, elements), dtype)

        self._b, self._r, self._x = (each(n * k, self.dtype) for _ in range(3))
        self._y = each(n * k, self._single.dtype)
        self._facts = each(kernels.SCALES + k, "float64")
        self._active = self.reserve.region((MOST_STEPS + 2,), "float64")
        self._first = np.array([1.0] + [0.0] * (MOST_STEPS + 1))
        self.keep.append(self._first)

    @property
    def factored(self) -> Assembly:
        return self._single

    def factorize(self) -> None:
        reach = self.form.reach(self.rows, self.cols)
        single = self._single
        self.call(
            kernels.DEMOTE[self.dtype], "copy in single precision",
            [self.rows, self.cols, *reach, self.f, single.f, self.place("squares"), self.place("scale")],
            self.system.matrices,
        )  # fmt: skip
        single.calls = self.calls
        self.routine.factorize(single)

    def solution(self, trans: str) -> list[Any]:
        self.calls = []
        system, batch, n, k = self.system, self.system.batch, self.rows, self.system.columns
        transposed, conjugate = self.turned(trans)
        flag = kernels.CONJUGATE if conjugate else 0
        regions = self._b, self._r, self._x, self._y, self._facts
        b, r, x, y, facts = (self._in_memory(region, batch) for region in regions)
        projections = self._in_memory(self._projections, batch)
        scale, squares = self.place("scale"), self.place("squares")
        limits = limits_of(self.dtype)
        self.keep.append(limits)
        self.call(
            kernels.GIVE[self.dtype], "copy of b",
            [flag, n, k, system.b.row, system.b.col, 1, n, self.probe.ctypes.data, self.operand(1, system.b), b,
             projections],
            batch,
        )  # fmt: skip
        self.call(COPY, "begin", [self._step(0), self._first.ctypes.data, self._first.nbytes], ())
        self.call(kernels.BEGIN[self.dtype], "begin", [n, k, b, x, y, scale, facts], batch)
        single, matrix = self._single, Matrix(self._single.dtype, n, k, 1, n)
        for step in range(MOST_STEPS + 1):
            self.unless_zero = single.unless_zero = (self._step(step).slot, "float64")
            single.calls = self.calls
            self.routine.solve(single, transposed, Sides(y, matrix, False))
            self.call(kernels.CORRECT[self.dtype], "correction", [n, k, y, b, x, r, facts], batch)
            self._subtract_product(transposed, x, r)
            self.call(
                kernels.LOOK[self.dtype], "residual",
                [n, k, step, MOST_STEPS, b, r, x, y, squares, scale, facts, self._step(step + 1), limits.ctypes.data],
                batch,
            )  # fmt: skip
        self.unless_zero = single.unless_zero = None
        weights = self.place("u" if transposed else "w")
        self.call(
            kernels.JUDGE[self.dtype], "copy to x",
            [flag, n, k, 1, n, system.x.row, system.x.col, weights, x, self.operand(2, system.x), squares, projections,
             0],
            batch,
        )  # fmt: skip
        every = Place(Slot(self.problem.memory, self._facts.offset))
        self.call(
            kernels.UNREFINED, "refinement", [system.solutions, self._facts.shape[1], every], (), returns_status=True,
            goes_on=True, error=Unusual,
        )  # fmt: skip
        return self.calls

    def _step(self, number: int) -> Place:
        """The number of systems that take part in a step."""
        return Place(Slot(self.problem.memory, self._active.offset + 8 * number))

    def _subtract_product(self, transposed: bool, x: Place, r: Place) -> None:
        """r = r - a x, with the copy of a."""
        n, k, kind = self.rows, self.system.columns, self.form.kind
        minus, one = -np.ones(1, self.dtype), np.ones(1, self.dtype)
        triangle = b"U" if self.form.upper else b"L"
        hermitian = kind != "sy" and self.is_complex
        arguments: list[Any]
        if kind == "ge" and k == 1:
            name, arguments = "gemv", [b"T" if transposed else b"N", n, n, minus, self.f, n, x, 1, one, r, 1]
        elif kind == "ge":
            letters = [b"T" if transposed else b"N", b"N"]
            name, arguments = "gemm", [*letters, n, k, n, minus, self.f, n, x, n, one, r, n]
        elif k == 1 and (hermitian or not self.is_complex):
            name, arguments = "hemv" if hermitian else "symv", [triangle, n, minus, self.f, n, x, 1, one, r, 1]
        else:
            letters = [b"L", triangle]
            name, arguments = "hemm" if hermitian else "symm", [*letters, n, k, minus, self.f, n, x, n, one, r, n]
        self.routine.run(self, name, arguments, self.system.batch)

    def refinement(self, memory: np.ndarray) -> np.ndarray:
        """What is known of each solution: its backward error, growth, steps and state."""
        return self._facts.view(memory)[:, : kernels.SCALES]
