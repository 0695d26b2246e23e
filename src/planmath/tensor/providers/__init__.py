"""The providers of tensor contractions, in order of preference."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from planmath.core.provider import Algorithm, Provider
from planmath.tensor.problem import ContractionProblem
from planmath.tensor.providers import gemm
from planmath.tensor.providers.cutensor import CuTensorProvider
from planmath.tensor.providers.einsum import EinsumProvider


@runtime_checkable
class Dividing(Protocol):
    """A provider whose library may multiply by an alpha of 0, so that it has another way for that."""

    def without_product(self, adds: bool) -> Algorithm: ...


#: One for each execution space comes first; the last one serves what no other can.
PROVIDERS: Sequence[Provider] = (CuTensorProvider(), gemm.GemmProvider(), EinsumProvider())


def least_workspace(problem: ContractionProblem) -> int:
    """Bytes of temporary memory without which a contraction is not possible."""
    if problem.execution[0] == "cuda":
        return CuTensorProvider().least_workspace(problem)
    return gemm.least_workspace(problem)


def usual_library() -> tuple[str, str | None]:
    """The provider and the library whose threads contractions on the CPU should use one after the other."""
    return gemm.GemmProvider.name, gemm.usual_library()
