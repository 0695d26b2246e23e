"""The providers of tensor contractions, in order of preference."""

from collections.abc import Sequence

from planmath.core.provider import Provider
from planmath.tensor.providers.einsum import EinsumProvider
from planmath.tensor.providers.gemm import GemmProvider, least_workspace

__all__ = ["PROVIDERS", "least_workspace"]

#: One for each execution space comes first; the last one serves what no other can.
PROVIDERS: Sequence[Provider] = (GemmProvider(), EinsumProvider())
