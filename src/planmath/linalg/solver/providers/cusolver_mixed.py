"""Factors in single precision on a device, and solutions that are refined with them to double precision, as on the CPU
(`mixed`). After each step the host looks at the residuals' norms: what is solved is waited for in any case."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.bindings import runtime
from planmath.core.accuracy import limits_of
from planmath.core.arrays import ITEMSIZE
from planmath.core.cuda.device_arrays import pinned
from planmath.linalg.solver import device_kernels
from planmath.linalg.solver.device_kernels import NARROWING, Kernels, record
from planmath.linalg.solver.problem import SINGLE
from planmath.linalg.solver.providers.cusolver_group import Group
from planmath.linalg.solver.providers.cusolver_routines import (
    NO_TRANSPOSE,
    TRANSPOSE,
    Routine,
    blas_call,
    routine_of,
    runtime_call,
)
from planmath.linalg.solver.providers.mixed import MOST_STEPS
from planmath.native.call import Call

RUNNING, DONE, FAILED = range(3)
#: The backward error that no step makes smaller.
ENOUGH = float(np.finfo("float64").eps)


class SingleView:
    """The matrices of a group in single precision, as routines ask for them."""

    def __init__(self, group: Group):
        self._group = group
        self.dtype, self.rows, self.cols = SINGLE[group.dtype], group.rows, group.cols
        self.count, self.columns, self.form, self.band = group.count, group.columns, group.form, group.band
        self.handles, self.queue, self.tolerance = group.handles, group.queue, group.tolerance
        self.kernels = Kernels(self.dtype, self.rows, self.cols, group.queue.device_id)

    def reserve(self, name: str, size: int) -> None:
        """Ask for so many bytes of device memory."""
        self._group.reserve(f"single {name}", size)

    def reserve_table(self, name: str, region: str, step: int) -> None:
        """Ask for a table of addresses of each matrix's part of a region."""
        self._group.reserve_table(f"single {name}", f"single {region}", step)

    def at(self, name: str, offset: int = 0) -> int:
        """Where that is, once it is there."""
        return self._group.at(name if name == "status" else f"single {name}", offset)


class MixedGroup(Group):
    """Systems whose factors are in single precision, with a copy of the matrices, all of their elements, in double
    precision beside them."""

    def _routine_of(self, settings: tuple[bool, bool, bool]) -> Routine:
        single = SingleView(self)
        itemsize = ITEMSIZE[single.dtype]
        single.reserve("factors", self.count * self.rows * self.rows * itemsize)
        single.reserve("y", self.solutions * self.k * self.rows * itemsize)
        for name in ("side", "solution", "residual"):
            self.reserve(name, self.sides)
        self.reserve("scales", 8 * self.solutions * self.k)
        self._single = single
        self._sizes, self._squares = pinned((self.solutions * self.k, 3)), pinned((self.count,))
        self._takes_part = pinned((self.solutions,), "int64")
        #: of each solution: whether it is refined, the steps that took, its backward error and growth
        self.states = np.full(self.solutions, DONE)
        self.steps = np.zeros(self.solutions, np.int64)
        self.errors, self.growths = np.zeros(self.solutions), np.zeros(self.solutions)
        return routine_of(single, *settings)

    def _narrowing(self, **fields: Any) -> np.ndarray:
        return record(
            NARROWING, squares=self.at("squares"), scales=self.at("scales"), n=self.rows, k=self.k,
            columns_of_matrix=self.columns, **fields,
        )  # fmt: skip

    def _before_factors(self) -> list[Call]:
        elements = self.count * self.rows * self.rows
        parameters = self._narrowing(
            source=self.at("factors"), target=self._single.at("factors"), count=elements, columns=0
        )
        return [self.kernels.launch("demote", elements, parameters)]

    # Solutions: the beginning, steps as long as they help, and the end.

    def solution(self, trans: str) -> tuple[list[Call], tuple[np.ndarray, np.ndarray]]:
        _, conjugate = self.turned(trans)
        nowhere = (0, 0, 0, 0, 0)
        transposed, _ = self.turned(trans)
        first, after = (device_kernels.FIRST, device_kernels.AFTER) if conjugate else (0, 0)
        giving = self.moving(
            nowhere, self.packed(self.at("side")), device_kernels.PROJECTS | first, weights=self.at("v")
        )
        judging = self.moving(
            self.packed(self.at("solution")), nowhere, device_kernels.PROJECTS | after,
            weights=self.at("u" if transposed else "w"), weights_step=self.rows, part=1,
        )  # fmt: skip
        to_device, to_host = runtime.MemcpyKind.DEVICE_TO_DEVICE, runtime.MemcpyKind.DEVICE_TO_HOST
        calls = [
            *self._keeping(trans), self.kernels.move(giving),
            runtime_call("cudaMemsetAsync", self.at("solution"), 0, self.sides),
            runtime_call("cudaMemcpyAsync", self.at("residual"), self.at("side"), self.sides, int(to_device)),
            runtime_call(
                "cudaMemcpyAsync", self._squares.ctypes.data, self.at("squares"), self._squares.nbytes, int(to_host),
                keep=self._squares,
            ),
        ]  # fmt: skip
        return calls, (giving, judging)

    def begin(self) -> None:
        """Forget the last solutions."""
        self.states[...], self.errors[...], self.steps[...], self._takes_part[...] = RUNNING, np.inf, 0, 1

    def step(self, trans: str) -> list[Call]:
        """What solves for the residuals, corrects the solutions, and forms and measures the residuals of these."""
        transposed, _ = self.turned(trans)
        columns = self.solutions * self.k
        y, x, r, b = self._single.at("y"), self.at("solution"), self.at("residual"), self.at("side")
        scaling = self._narrowing(
            source=r, target=y, columns=columns, count=columns * self.rows,
            takes_part=self._takes_part.ctypes.data,
        )  # fmt: skip
        correcting = self._narrowing(target=y, x=x, r=r, b=b, columns=columns, count=columns * self.rows)
        measuring = self.refining.copy()
        for name, value in {"x": x, "b": b, "r": r, "found": self._sizes.ctypes.data}.items():
            measuring[name] = value
        return [
            self.kernels.launch_blocks("demote_sides", columns, scaling), *self.routine.solve(transposed),
            self.kernels.launch("correct", columns * self.rows, correcting), self._subtract_product(transposed),
            self.kernels.launch_blocks("norms", columns, measuring),
        ]  # fmt: skip

    def _subtract_product(self, transposed: bool) -> Call:
        """r = r - a x, with the copy of a."""
        minus, one = -np.ones(1, self.dtype), np.ones(1, self.dtype)
        n, columns = self.rows, self.columns
        operands = [(self.at("factors"), n, n * n), (self.at("solution"), n, n * columns),
                    (self.at("residual"), n, n * columns)]  # fmt: skip
        several = self.count > 1
        a, x, r = (operand if several else operand[:2] for operand in operands)
        name = f"cublas{self.routine_letter}gemm" + ("StridedBatched" if several else "_v2")
        return blas_call(
            name, self.handles.blas, TRANSPOSE if transposed else NO_TRANSPOSE, NO_TRANSPOSE, n, columns, n,
            minus.ctypes.data, *a, *x, one.ctypes.data, *r, *([self.count] if several else []), keep=(minus, one),
        )  # fmt: skip

    @property
    def routine_letter(self) -> str:
        return {"float64": "D", "complex128": "Z"}[self.dtype]

    @np.errstate(all="ignore")
    def look(self, steps: int) -> bool:
        """Look at the residuals after some steps, which were waited for: whether another one is to be made.

        The decisions are those of the CPU's kernel (`mixed_typed.h`).
        """
        limits = limits_of(self.dtype)
        tolerance, most_product, most_growth = limits
        norms = np.repeat(np.sqrt(self._squares), self.per_matrix)[:, None]
        r, x, b = (self._sizes[:, i].reshape(self.solutions, self.k) for i in range(3))
        products = norms * x
        sizes = products + b
        errors = np.where(sizes > 0, r / sizes, r)
        growths = np.where(products > 0, products / b, products)
        error, growth = errors.max(axis=1), growths.max(axis=1)
        doubt = (errors * (growths + 1)).max(axis=1)
        running = self.states == RUNNING
        halved = error <= self.errors / 2
        goes_on = running & (error > ENOUGH) & halved & (steps < MOST_STEPS)
        self.errors[running], self.growths[running], self.steps[running] = error[running], growth[running], steps
        fine = (error <= tolerance) & (doubt <= most_product) & (growth <= most_growth)
        self.states[running & ~goes_on] = np.where(fine, DONE, FAILED)[running & ~goes_on]
        self._takes_part[...] = goes_on
        return bool(goes_on.any())

    def unrefined(self) -> bool:
        """Whether a solution for finite numbers could not be refined."""
        finite = (self._sizes[:, 2] < np.inf).reshape(self.solutions, self.k).all(axis=1)
        return bool(((self.states == FAILED) & finite).any())
