"""The arrangement of a generic product on a CUDA device: what is done element by element, planmath's kernels do."""

from __future__ import annotations

from typing import Any

import numpy as np

import planmath.linalg.product.structure_kernels as kernels
from planmath.core.arrays import ITEMSIZE
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.arrangement import Factor, ProductPipeline, turned
from planmath.linalg.product import device_kernels
from planmath.linalg.product.pipeline import Region
from planmath.linalg.product.structure import GENERAL, Structure
from planmath.native.call import Call, Slot

#: Dtypes of which devices compute general products as they are, and sum in single precision.
NARROW = ("float16", "bfloat16")


class DevicePipeline(ProductPipeline):
    """Collects the calls of a generic product on a device.

    Parameters
    ----------
    problem : ProductProblem
        Executed on a device.
    narrow : bool
        Whether routines read and write narrow dtypes as they are.
    halves : bool
        Whether triangular matrices in band or packed storage are to be one triangle in memory, and not all of a
        general matrix.
    """

    #: Libraries' kernels are the fastest at multiples of it, and cuBLAS wants its own temporary memory there.
    LINE = 256

    def __init__(self, problem: ProductProblem, narrow: bool = False, halves: bool = False):
        self._device_id, self._narrow, self._halves = problem.execution[1], narrow, halves
        super().__init__(problem)

    def _work_of(self, problem: ProductProblem) -> str:
        return problem.d.dtype if self._narrow else problem.work_dtype

    def staged(self, source: Region, *, conjugate: bool = False, dtype: str | None = None) -> Region:
        """What planmath's kernels read, which is any dtype."""
        return super().staged(source, conjugate=conjugate, dtype=dtype) if conjugate or dtype else source

    def convert(self, source: Region, target: Region, *, conjugate: bool = False, **options: Any) -> None:
        self._launch(self._expansion(GENERAL, source, target, conjugate=conjugate, **options))

    def expand(self, structure: Structure, source: Region, target: Region, *, conjugate: bool) -> None:
        self._launch(self._expansion(structure, source, target, conjugate=conjugate))

    def mirror(self, structure: Structure, d: Region, *, conjugate: bool = False) -> None:
        self._launch(self._expansion(structure, d, d, conjugate=conjugate, both=True))

    def unpacked(self, factor: Factor) -> Factor:
        """All elements, by one kernel, but for triangular ones where a routine wants a triangle."""
        structure, source = factor.structure, factor.region
        target = self.temporary(source.matrix._replace(row=1, col=source.matrix.rows, conjugate=False))
        self.expand(structure, source, target, conjugate=source.matrix.conjugate)
        known = structure.unpacked if self._halves and structure.kind == "tr" else GENERAL
        found = Factor(target, known)
        return found.T if structure.turned else found

    def combine(self, x: Region | None, step: int, general: Region, c: Region | None, d: Region) -> None:
        alpha, beta = self.slot("alpha"), self.slot("beta")
        self._launch(
            device_kernels.combine(
                d, self.batch, self.stream, self._device_id, alpha=None if x is None else alpha, x=x, x_step=step,
                general=general, beta=beta, addend=c,
            )
        )  # fmt: skip

    def multiply_band(self, factor: Factor, general: Region, *, left: bool) -> None:
        """result = alpha a g + beta c for a matrix in band storage, or with that on the right."""
        c, d = self.addend, self.result
        if not left:
            factor, general, c, d = factor.T, turned(general), turned(c) if c else None, turned(d)
        self._launch(
            device_kernels.multiply_band(
                factor.structure, factor.region, general, d, self.batch, self.stream, self._device_id,
                alpha=self.slot("alpha"), beta=self.slot("beta"), addend=c,
            )
        )  # fmt: skip

    def decide(self, left: Region, right: Region) -> list[tuple[int, str]]:
        """As on the CPU, by numbers in the host's memory."""
        call, conditions = decision(
            self.problem.work_dtype, self.problem.twice, self.slot("alpha"), self.slot("beta"), left.slot, right.slot
        )
        self.calls.append(call)
        return conditions

    def without_product(self, d: Region, scalar: str = "beta", **options: Any) -> Call:
        preparations, launch = device_kernels.combine(
            d, self.batch, self.stream, self._device_id, beta=self.slot(scalar), addend=d, **options
        )
        self.calls += preparations
        return launch

    def _expansion(self, structure: Structure, source: Region, target: Region, **options: Any) -> Any:
        if self.condition is not None:
            options = {"unless_zero": self.condition, **options}
        return device_kernels.expand(structure, source, target, self.batch, self.stream, self._device_id, **options)

    def _launch(self, made: tuple[list[Call], Call]) -> None:
        preparations, launch = made
        self.calls += [*preparations, launch]


def decision(
    dtype: str, twice: str, alpha: Slot, beta: Slot, left: Slot, right: Slot
) -> tuple[Call, list[tuple[int, str]]]:
    """What decides how a product is computed, and the numbers of which it sets one: where the factors are one matrix,
    where they are not, and where alpha is 0."""
    flags = np.zeros(3)
    parts = 2 if dtype.startswith("complex") else 1
    arguments = [ITEMSIZE[dtype] // parts, parts, int(twice == "he"), alpha, beta, left, right, flags.ctypes.data]
    call = Call(kernels.DECIDE, arguments, name="comparison of addresses", keep=flags)
    return call, [(flags[i:].ctypes.data, "float64") for i in range(3)]


class ElementPipeline(DevicePipeline):
    """Collects the calls of a product that planmath's own kernels compute, which write any dtype and strides."""

    any_result = True


def pipeline_for(problem: ProductProblem) -> ProductPipeline:
    """An empty pipeline for planmath's own kernels, where the problem is executed."""
    return ElementPipeline(problem) if problem.execution[0] == "cuda" else ProductPipeline(problem)
