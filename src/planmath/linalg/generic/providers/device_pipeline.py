"""The arrangement of a generic product on a CUDA device: what is done element by element, planmath's kernels do."""

from __future__ import annotations

from typing import Any

from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.providers.arrangement import ProductPipeline
from planmath.linalg.product import device_kernels
from planmath.linalg.product.pipeline import Region
from planmath.linalg.product.structure import GENERAL, Structure
from planmath.native.call import Call


class DevicePipeline(ProductPipeline):
    """Collects the calls of a generic product on a device.

    Parameters
    ----------
    problem : ProductProblem
        Executed on a device.
    """

    #: Libraries' kernels are the fastest at multiples of it, and cuBLAS wants its own temporary memory there.
    LINE = 256

    def __init__(self, problem: ProductProblem):
        self._device_id = problem.execution[1]
        super().__init__(problem)

    def convert(self, source: Region, target: Region, *, conjugate: bool = False, **options: Any) -> None:
        self._launch(self._expansion(GENERAL, source, target, conjugate=conjugate, **options))

    def expand(self, structure: Structure, source: Region, target: Region, *, conjugate: bool) -> None:
        self._launch(self._expansion(structure, source, target, conjugate=conjugate))

    def mirror(self, structure: Structure, d: Region, *, conjugate: bool = False) -> None:
        self.expand(structure, d, d, conjugate=conjugate)

    def combine(self, x: Region | None, step: int, general: Region, c: Region | None, d: Region) -> None:
        alpha, beta = self.slot("alpha"), self.slot("beta")
        self._launch(
            device_kernels.combine(
                d, self.batch, self.stream, self._device_id, alpha=None if x is None else alpha, x=x, x_step=step,
                general=general, beta=beta, addend=c,
            )
        )  # fmt: skip

    def without_product(self, d: Region, scalar: str = "beta", **options: Any) -> Call:
        preparations, launch = device_kernels.combine(
            d, self.batch, self.stream, self._device_id, beta=self.slot(scalar), addend=d
        )
        self.calls += preparations
        return launch

    def _expansion(self, structure: Structure, source: Region, target: Region, **options: Any) -> Any:
        return device_kernels.expand(structure, source, target, self.batch, self.stream, self._device_id, **options)

    def _launch(self, made: tuple[list[Call], Call]) -> None:
        preparations, launch = made
        self.calls += [*preparations, launch]


def pipeline_for(problem: ProductProblem) -> ProductPipeline:
    """An empty pipeline where the problem is executed."""
    return DevicePipeline(problem) if problem.execution[0] == "cuda" else ProductPipeline(problem)
